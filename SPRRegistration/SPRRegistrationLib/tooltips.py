"""The tool tips of both faces."""

# ruff: noqa: RUF001  # the letters of the paper

from __future__ import annotations

from functools import cache

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene.snapshots import NAMES
from SPRRegistrationLib.sliders import FIELDS


@cache
def tooltips() -> dict[str, str]:
    """Return the tool tips by the fields that the widgets change, or by the names of widgets that change none."""
    return {
        **_inputs(),
        **_region(),
        **_task_model(),
        **_regularization(),
        **_choices(),
        **_run(),
        **_show(),
        **_results(),
        **_comparison_and_export(),
        **_outputs(),
        **{f"{field}TunedButton": recommended() for field in FIELDS},
        **{f"store{name}Button": _("Keep the setting and its measures as snapshot {name}, saved with the scene.")
           .format(name=name) for name in NAMES},
        **{f"show{name}Button": _("Return to the setting of snapshot {name}.").format(name=name) for name in NAMES},
    }  # fmt: skip


def recommended(value: float | None = None) -> str:
    """Return the tool tip of the button that sets a slider to its recommended value, with the value if it is known."""
    if value is None:
        return _("Back to the recommended value. Double-clicking the slider does the same.")
    return _("Back to the recommended value, {value:g}. Double-clicking the slider does the same.").format(value=value)


def _inputs() -> dict[str, str]:
    return {
        "registrationSelector": _(
            "A scene can hold several registrations, each with its own images, settings and results. Choose one here, "
            "or create another."
        ),
        "fixedVolume": _("The image that stays as it is. The moving image is deformed onto it."),
        "movingVolume": _("The image that is deformed until it matches the fixed image. The original is not changed."),
        "swapButton": _("Exchange the fixed and the moving image, with their segments and landmarks."),
        "guardLabel": _(
            "Comparison of the two images: whether they overlap, how they are oriented, and whether they suit the task "
            "model."
        ),
        "alignRigidButton": _(
            "Translate and rotate the moving image before it is deformed. For the same patient at two times."
        ),
        "alignAffineButton": _(
            "Translate, rotate, scale and shear the moving image before it is deformed. For two patients, or an atlas."
        ),
        "alignment": _(
            "Alignment before the deformation. Choose none if both images come from one session and match already."
        ),
        "measuresGroup": _("Organs and points that measure how good the registration is."),
        "fixedLabels": _(
            "Organs segmented in the fixed image. They measure the overlap; they never change the registration."
        ),
        "movingLabels": _("The same organs, with the same names, segmented in the moving image."),
        "fixedLandmarks": _(
            "Points that can be found in both images, such as vessel bifurcations. They measure the remaining distance "
            "in mm; they never change the registration."
        ),
        "movingLandmarks": _("The same points, in the same order, in the moving image."),
    }


def _region() -> dict[str, str]:
    return {
        "regionGroup": _(
            "Masks restrict what is compared, second channels are compared as well, and an initial transform puts the "
            "images onto each other."
        ),
        "fixedMask": _(
            "Where the fixed image is compared: all segments together, or all labels. Outside, the deformation is "
            "continued smoothly. None: everywhere."
        ),
        "movingMask": _("Where the moving image is compared. None: everywhere."),
        "fixedChannel": _(
            "A second image of the fixed side in the same position, such as the PET of a CT. It counts as much as the "
            "fixed image. None: one image on each side."
        ),
        "movingChannel": _("The second image of the moving side, of the same kind."),
        "initialTransform": _(
            "A linear transform that puts the moving image onto the fixed one. It is used instead of the alignment, "
            "and is part of the resulting deformation."
        ),
    }


def _task_model() -> dict[str, str]:
    return {
        "modelSelector": _(
            "How the deformation is computed. The instance optimization needs no training and works for any pair; a "
            "task model was trained for one kind of image and takes less than a second."
        ),
        "modelSearchBox": _("Type a part of the body, a kind of image or a name to shorten the list of task models."),
        "sampleButton": _(
            "Create a small pair of images of a chest, breathed out and breathed in, and select it. Nothing is "
            "downloaded."
        ),
        "importButton": _(
            "Add a task model from a file (.sprmodel.safetensors). It is checked and copied; no code in it is executed."
        ),
        "cardGroup": _("What the task model is made for, and the compute device."),
        "cardLabel": _(
            "The card of the task model: what it is made for, the images it was trained on, and its accuracy."
        ),
        "refine": _(
            "Largest number of steps of the instance optimization that improve the exact result of a task model for "
            "this pair; 0 for none."
        ),
        "device": _("Compute device. Automatic uses a graphics card if there is a suitable one."),
    }


def _regularization() -> dict[str, str]:
    return {
        "anatomy": _(
            "Set the kind of stiffness, the sliders and the start to values measured for this part of the body; None "
            "returns to the general ones. You can still change them."
        ),
        "start": _(
            "Start of the optimization. Rest suits most images. The search tries displacements of small blocks, for "
            "large motion that differs between neighboring organs, such as the liver in breathing; it takes some "
            "seconds, once for each pair."
        ),
        "similarity": _(
            "What makes the images alike. Local correlation: images of one contrast, such as two CT scans. MIND: "
            "different contrasts, such as T1 and T2, or CT and MR. Mean squares: images of one scanner and protocol, "
            "such as the frames of a series. Task models have that of their training."
        ),
        "prior": _("Whether the stiffness of the deformation varies over the image, and how."),
        "alpha": _(
            "How even the stiffness is (spatial coherence, α′). Left: some regions become free, so that organs can "
            "slide along each other. Right: nearly the same stiffness everywhere."
        ),
        "lambdaMax": _(
            "Stiffness of the stiffest regions (λ max). Left: every detail is followed, and tissue may fold. Right: "
            "only smooth, small deformations."
        ),
        "sigma": _("How far the stiffness of a region may be from the mean (σ)."),
        "lambdaMean": _("The mean stiffness (λ mean)."),
        "tv": _(
            "Cost of a jump of the displacement (t). Left: organs slide along each other, and details are followed. "
            "Right: large regions move together."
        ),
        "tvLambdaMax": _(
            "Stiffness of the stiffest regions (λ max). The larger, the smaller the changes of the displacement that "
            "count as a jump."
        ),
        "strength": _("The stiffness, the same everywhere (λ)."),
    }


def _choices() -> dict[str, str]:
    return {
        "suggestButton": _(
            "Choose a setting for this pair, without segments, in the background: some blocks of the image are left "
            "out of the optimization, and the setting whose deformation matches them best is marked on the sliders and "
            "on the settings map. If none is clearly better, the recommended setting is marked."
        ),
        "takeButton": _("Set the kind of stiffness and the sliders to the suggested setting."),
        "moreGroup": _("Saved presets, the kind of stiffness, the start of the optimization, and the similarity."),
        "presetSelector": _(
            "Settings that you have saved, for all scenes. Choose one to set method, kind of stiffness, sliders, start "
            "and similarity; type a name to save the current ones."
        ),
        "savePresetButton": _(
            "Save method, kind of stiffness, sliders, start and similarity under the name on the left."
        ),
        "deletePresetButton": _("Delete the saved preset with the name on the left. The sliders stay."),
        "live": _(
            "Show the deformation while a slider moves. If the computer is too slow, turn it off and press Apply."
        ),
        "latencyLabel": _("Computing time of the result on the screen, and whether it is exact or a preview."),
        "stiffnessGroup": _("Make bones stiffer, or let organs slide."),
        "stiffnessSegments": _("Segments of the fixed image that get a stiffness of their own, such as bones."),
        "stiffnessTable": _(
            "Type a factor for a segment: 10 makes it ten times stiffer (bone), 0.1 ten times more flexible (a surface "
            "along which organs slide), 1 leaves it unchanged."
        ),
    }


def _run() -> dict[str, str]:
    return {
        "applyButton": _("Compute the exact deformation, its inverse, the deformed image and all measures."),
        "cancelButton": _("Cancel the computation. The result on the screen stays."),
        "restartButton": _("Restart the computation with the same images and settings."),
        "offlineButton": _("Install the required software from a folder of wheels, without the internet."),
        "progressBar": _("Progress of the computation."),
        "statusLabel": _("State of the computation, or what is missing."),
    }


def _show() -> dict[str, str]:
    return {
        "showDeformed": _("Overlay the deformed moving image on the fixed one in the slice views."),
        "deformedOpacity": _("Blend: 0 shows only the fixed image, 1 only the deformed image."),
        "flicker": _("Alternate between the fixed and the deformed image twice a second. What jumps does not match."),
        "showWeight": _("Overlay the stiffness as colors: bright is free to move, transparent is stiff."),
        "weightOpacity": _("Opacity of the map: 0 invisible, 1 opaque."),
        "weightLimit": _("Hide the map where the relative stiffness is above this value; 1 is the stiffest."),
        "showJacobian": _(
            "Overlay the change of volume instead of the stiffness: 1 unchanged, 2 doubled, 0.5 halved. 0 or below is "
            "folded, which is impossible for tissue."
        ),
        "showUncertainty": _(
            "Uncertainty: one standard deviation of the displacement, in mm. It does not cover a wrong match. It is "
            "computed when the sliders rest, for a preview at first, and shown instead of the other maps."
        ),
        "uncertaintyOpacity": _("Opacity of the map of the uncertainty: 0 invisible, 1 opaque."),
        "hatchAboveMm": _("Draw gray lines over the images where the uncertainty is above this value in mm; 0 is off."),
        "uncertaintyLabel": _(
            "Uncertainty of the deformation on the screen. After a change of the setting the map is removed until the "
            "new one is computed."
        ),
        "showLegend": _("Show the color bar with its numbers in the views."),
        "showDisplacement": _("Draw the deformation of the moving image in the slice views."),
        "displacementStyle": _("Draw the displacement as a deformed grid, as arrows, or as contours of its length."),
        "showDisplacement3D": _("Draw the displacement in the 3-D view, too."),
        "gridSpacingMm": _("Distance between the grid lines or arrows, in mm."),
        "originalAnatomy": _(
            "Show the moving image undeformed in its own views, with a cursor that follows the mouse in the fixed "
            "image. The registration has changed nothing in these views."
        ),
    }


def _outputs() -> dict[str, str]:
    return {
        "deformedVolume": _(
            "The moving image on the grid of the fixed one. The content of the chosen node is replaced, by previews, "
            "too. None: a new node with the next result."
        ),
        "displacementTransform": _(
            "The deformation, pre-alignment included. The content of the chosen node is replaced, by previews, too. "
            "None: a new node with the next result."
        ),
        "weightVolume": _(
            "The stiffness map, 0 (free) to 1 (stiff). The content of the chosen node is replaced. None: a new node "
            "with the next result."
        ),
        "nodeToWarp": _(
            "Another image, a label map, a segmentation, markups or a model in the space of the moving image, such as "
            "organs drawn in it."
        ),
        "warpButton": _(
            "Make a copy that is deformed in the same way as the moving image. The original is not changed."
        ),
        "warpLabel": _("What was made."),
    }


def _results() -> dict[str, str]:
    return {
        "badgeLabel": _("Assessment of the deformation. It warns of folding and of very large changes of volume."),
        "measuresLabel": _("Measures of the deformation on the screen."),
        "cursorLabel": _("Stiffness and displacement under the mouse in a slice view."),
        "contrastLabel": _("Whether the stiffness map tells anatomy apart, and the setting at which it should."),
        "contrastButton": _("Set the slider to this value; the estimate is from the present deformation."),
        "histogramButton": _("Show the histogram of the stiffness in a chart beside the views."),
        "segmentTableButton": _(
            "List stiffness, displacement, change of volume and overlap of each segment of the fixed image."
        ),
        "slidingButton": _(
            "Show in 3-D how far tissue slides along the surface of each segment of the fixed image, in mm. Takes some "
            "seconds."
        ),
        "segmentTableView": _("Measures of each segment."),
        "landmarkTableButton": _(
            "List the distance of each pair of landmarks after the deformation, with the uncertainty of the "
            "displacement."
        ),
        "landmarkTableView": _("Distance of each pair of landmarks."),
    }


def _comparison_and_export() -> dict[str, str]:
    return {
        "sweep": _(
            "Compute previews for a grid of settings in the background and show their measures below. Any other "
            "computation goes first."
        ),
        "mapMeasure": _(
            "The measure that the map shows. Overlap needs segments, distance needs landmarks, of both images."
        ),
        "mapTable": _("Each cell is a setting. Click it, or press Enter, to set the sliders. The best one has a star."),
        "differenceButton": _("Create and show an image of the distance between the displacements of A and B."),
        "undoButton": _("Return to the setting before the last change."),
        "redoButton": _("Return to the setting that was undone."),
        "exportFormatSelector": _(
            "File format. The file holds the total deformation from the fixed to the moving image in mm."
        ),
        "exportDirectionSelector": _("The transform that deforms the moving image onto the fixed one, or its inverse."),
        "exportTransformButton": _("Save the deformation to a file."),
        "exportUncertaintyButton": _(
            "Save the uncertainty as an image: one standard deviation of the displacement, in mm, on a coarse grid."
        ),
        "exportReportButton": _("Save settings, measures and versions. No names of patients, no paths."),
        "helpLabel": _("Pages in the internet; they open in your browser."),
        "logText": _("Messages of the registration program. Names of the images are left out."),
        "copyLogButton": _("Copy the messages, for instance into a report of a problem."),
    }
