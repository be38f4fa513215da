"""Choices and results of one registration, kept in a parameter node and saved with the scene.

A scene may hold several registrations. Results are referenced as nodes, so that they can be renamed.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Union

from slicer import (
    vtkMRMLColorTableNode,
    vtkMRMLGridTransformNode,
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsAngleNode,
    vtkMRMLMarkupsCurveNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsLineNode,
    vtkMRMLMarkupsPlaneNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLModelNode,
    vtkMRMLPlotChartNode,
    vtkMRMLPlotSeriesNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from SPRCore.regularization.hyperparameters import HYPERPARAMETERS as TABLE

_DEFAULTS = {item.node_field: item.default for items in TABLE.values() for item in items.values()}

INSTANCE = "instance"
"""The method that needs no training."""

# Slicer 5.10 does not take `A | B`.
Labels = Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
Deformable = Union[  # noqa: UP007
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLModelNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsLineNode,
    vtkMRMLMarkupsAngleNode,
    vtkMRMLMarkupsCurveNode,
    vtkMRMLMarkupsPlaneNode,
    vtkMRMLMarkupsROINode,
    None,
]
"""What the panel offers to deform, with the classes derived from these, such as label maps and closed curves."""


class PriorChoice(Enum):
    """How the stiffness may vary over the image; the value is the name that the worker knows."""

    BETA = "beta"
    GAUSSIAN = "gaussian"
    TOTAL_VARIATION = "tv"
    UNIFORM = "uniform"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            PriorChoice.BETA: _("Varies, mostly stiff (Beta prior)"),
            PriorChoice.GAUSSIAN: _("Varies about a mean (Gaussian prior)"),
            PriorChoice.TOTAL_VARIATION: _("Varies, free at edges (total variation)"),
            PriorChoice.UNIFORM: _("The same everywhere (uniform)"),
        }[self]


class AnatomyChoice(Enum):
    """Anatomy preset; the value is the name that `SPRCore` knows."""

    NONE = "none"
    BRAIN = "brain"
    HEART = "heart"
    LUNG = "lung"
    LIVER = "liver"
    PELVIS = "pelvis"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            AnatomyChoice.NONE: _("None"),
            AnatomyChoice.BRAIN: _("Brain"),
            AnatomyChoice.HEART: _("Heart"),
            AnatomyChoice.LUNG: _("Lung"),
            AnatomyChoice.LIVER: _("Liver"),
            AnatomyChoice.PELVIS: _("Pelvis"),
        }[self]


class StartChoice(Enum):
    """Start of the instance optimization; the value is the name that the worker knows."""

    REST = "rest"
    SEARCH = "search"

    def label(self) -> str:
        """Return the name that is shown."""
        return {StartChoice.REST: _("From rest"), StartChoice.SEARCH: _("From a search")}[self]


class SimilarityChoice(Enum):
    """What makes the images alike; the value is the name that the worker knows."""

    CORRELATION = "lncc"
    MIND = "mind"
    MEAN_SQUARES = "mse"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            SimilarityChoice.CORRELATION: _("Local correlation (same contrast)"),
            SimilarityChoice.MIND: _("MIND (different contrast)"),
            SimilarityChoice.MEAN_SQUARES: _("Mean squares (same scanner)"),
        }[self]


class Alignment(Enum):
    """Affine pre-alignment; the value is the name that the worker knows."""

    NONE = "none"
    AUTO = "auto"
    CENTER = "center"
    RIGID = "rigid"
    AFFINE = "affine"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            Alignment.NONE: _("None: the images are already aligned"),
            Alignment.AUTO: _("Automatic: only if it helps"),
            Alignment.CENTER: _("Centers of the images"),
            Alignment.RIGID: _("Rigid: shift and rotate"),
            Alignment.AFFINE: _("Affine: shift, rotate, scale and shear"),
        }[self]


class Device(Enum):
    """Compute device; the value is the name that the worker knows."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            Device.AUTO: _("Automatic"),
            Device.CPU: _("Processor (CPU)"),
            Device.CUDA: _("NVIDIA graphics card (CUDA)"),
            Device.MPS: _("Apple graphics (MPS)"),
        }[self]


class DisplacementStyle(Enum):
    """Representation of the displacement."""

    GRID = "grid"
    ARROWS = "glyph"
    CONTOURS = "contour"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            DisplacementStyle.GRID: _("Grid"),
            DisplacementStyle.ARROWS: _("Arrows"),
            DisplacementStyle.CONTOURS: _("Contours"),
        }[self]


class MapMeasure(Enum):
    """Measure of the settings map; the value is its name in `protocol.SweepPoint`."""

    SIMILARITY = "similarity"
    FOLDING = "folding_percent"
    DISPLACEMENT = "max_displacement_mm"
    OVERLAP = "dice_mean"
    LANDMARKS = "tre_mm"

    def label(self) -> str:
        """Return the name that is shown."""
        return {
            MapMeasure.SIMILARITY: _("Similarity on the coarse grid"),
            MapMeasure.FOLDING: _("Folding (percent of the voxels)"),
            MapMeasure.DISPLACEMENT: _("Largest displacement on the coarse grid (mm)"),
            MapMeasure.OVERLAP: _("Overlap of the segments (Dice)"),
            MapMeasure.LANDMARKS: _("Distance of the landmarks (mm)"),
        }[self]


@parameterNodeWrapper
class SPRRegistrationParameters:
    """One registration.

    Attributes:
        fixedVolume: Image that stays as it is.
        movingVolume: Image that is deformed onto it.
        fixedLabels: Segments of the fixed image, to measure the overlap; they never change the registration.
        movingLabels: Segments of the moving image, with the same names or numbers.
        fixedLandmarks: Points in the fixed image, to measure the distance.
        movingLandmarks: The same points, in the same order, in the moving image.
        fixedMask: Where the fixed image is compared: any segment, or any label above 0; the whole image without one.
        movingMask: Where the moving image is compared.
        fixedChannel: Second channel of the fixed image, such as the PET of a CT; it counts as much as the image.
        movingChannel: Second channel of the moving image.
        initialTransform: Linear transform that puts the moving image onto the fixed one, used instead of `alignment`.
        method: "instance", the name of a task model, or the path of its file.
        refine: Most steps of the instance solver after a task model, for exact results.
        device: Compute device.
        alignment: Affine pre-alignment.
        anatomy: Chosen anatomy preset; its values may have been changed since.
        start: Start of the instance optimization.
        similarity: What makes the images alike; task models have that of their training.
        prior: How the stiffness may vary.
        alpha: Setting of the Beta prior: evenness of the stiffness.
        lambdaMax: Setting of the Beta prior: largest stiffness.
        sigma: Setting of the Gaussian prior: how far the stiffness spreads.
        lambdaMean: Setting of the Gaussian prior: mean stiffness.
        tv: Setting of the total-variation prior: cost of a jump.
        tvLambdaMax: Setting of the total-variation prior: largest stiffness.
        strength: Setting of the uniform prior: the stiffness.
        live: Whether the deformation follows the sliders.
        stiffnessSegments: Segmentation whose segments have stiffness factors.
        stiffnessFactors: Stiffness factors by the identifiers of the segments, as JSON; 1 for those left out.
        showDeformed: Whether the deformed image is overlaid on the fixed one.
        deformedOpacity: Its opacity, 0 to 1.
        showDisplacement: Whether the displacement is drawn in the slices.
        showDisplacement3D: Whether it is drawn in the 3-D view.
        displacementStyle: Representation of the displacement.
        gridSpacingMm: Distance of its lines, in mm.
        showWeight: Whether the stiffness map is overlaid on the images.
        weightOpacity: Its opacity, 0 to 1.
        weightLimit: Where the relative stiffness is above this, the map is transparent; 0 to 1.
        showJacobian: Whether the volume change map is overlaid on the images, instead of the stiffness.
        showUncertainty: Whether the uncertainty of the displacement is computed, and overlaid instead of other maps.
        uncertaintyOpacity: Its opacity, 0 to 1.
        hatchAboveMm: Where the uncertainty is above this, in mm, the images are hatched; 0 for nowhere.
        showLegend: Whether the map has its legend.
        originalAnatomy: Whether a linked cursor is shown in the undeformed moving image.
        flicker: Whether fixed and deformed image alternate.
        nodeToWarp: What is to be deformed in the same way: image, label map, segmentation, markups or model in the
            space of the moving image.
        displacementTransform: Result: the deformation, total pull map from the fixed to the moving image. Results that
            are not chosen by the user are new nodes.
        inverseTransform: Result: its inverse.
        deformedVolume: Result: the moving image on the grid of the fixed one.
        weightVolume: Result: the relative stiffness, 0 (free) to 1 (stiff).
        jacobianVolume: Result: factor of the change of volume.
        uncertaintyVolume: Result: one standard deviation of the displacement, in mm, on a coarse grid; empty until it
            is computed for the deformation that is shown.
        weightColors: Colors of the stiffness.
        jacobianColors: Colors of the change of volume.
        uncertaintyColors: Colors of the uncertainty.
        linkedCursor: Point of the linked cursor.
        histogramTable: Numbers of the histogram of the stiffness.
        histogramSeries: The histogram.
        histogramChart: Its chart.
        mapTable: Numbers of the settings map.
        segmentTable: Stiffness, displacement and overlap of each segment.
        landmarkTable: Distance of each pair of landmarks.
        sweep: Whether the settings map is computed while the worker is idle.
        mapMeasure: Measure of the settings map.
        suggestion: Suggested setting, with the pair that it belongs to, as JSON.
        snapshots: Snapshots A, B, C, as JSON.
        history: Settings to which undo goes back, as JSON.
        quality: Measures of the last result, as JSON.
        report: Report of the last exact result, as JSON.
    """

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    fixedLabels: Labels
    movingLabels: Labels
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode
    fixedMask: Labels
    movingMask: Labels
    fixedChannel: vtkMRMLScalarVolumeNode
    movingChannel: vtkMRMLScalarVolumeNode
    initialTransform: vtkMRMLTransformNode

    method: str = INSTANCE
    refine: Annotated[int, WithinRange(0, 10000)] = 0
    device: Device = Device.AUTO
    alignment: Alignment = Alignment.AUTO

    anatomy: AnatomyChoice = AnatomyChoice.NONE
    start: StartChoice = StartChoice.REST
    similarity: SimilarityChoice = SimilarityChoice.CORRELATION
    # Widest of all ranges; the sliders take those of the task model.
    prior: PriorChoice = PriorChoice.BETA
    alpha: Annotated[float, WithinRange(0.0, 100.0)] = _DEFAULTS["alpha"]
    lambdaMax: Annotated[float, WithinRange(0.0, 100.0)] = _DEFAULTS["lambdaMax"]
    sigma: Annotated[float, WithinRange(0.0, 100.0)] = _DEFAULTS["sigma"]
    lambdaMean: Annotated[float, WithinRange(0.0, 100.0)] = _DEFAULTS["lambdaMean"]
    tv: Annotated[float, WithinRange(0.0, 100.0)] = _DEFAULTS["tv"]
    tvLambdaMax: Annotated[float, WithinRange(0.0, 1000.0)] = _DEFAULTS["tvLambdaMax"]
    strength: Annotated[float, WithinRange(0.0, 100.0)] = _DEFAULTS["strength"]
    live: bool = True
    stiffnessSegments: vtkMRMLSegmentationNode
    stiffnessFactors: str = ""

    showDeformed: bool = True
    deformedOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    showDisplacement: bool = False
    showDisplacement3D: bool = False
    displacementStyle: DisplacementStyle = DisplacementStyle.GRID
    gridSpacingMm: Annotated[float, WithinRange(1.0, 100.0)] = 10.0
    showWeight: bool = True
    weightOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
    weightLimit: Annotated[float, WithinRange(0.0, 1.0)] = 0.9
    showJacobian: bool = False
    showUncertainty: bool = False
    uncertaintyOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
    hatchAboveMm: Annotated[float, WithinRange(0.0, 100.0)] = 0.0
    showLegend: bool = True
    originalAnatomy: bool = False
    flicker: bool = False

    nodeToWarp: Deformable
    displacementTransform: vtkMRMLGridTransformNode
    inverseTransform: vtkMRMLGridTransformNode
    deformedVolume: vtkMRMLScalarVolumeNode
    weightVolume: vtkMRMLScalarVolumeNode
    jacobianVolume: vtkMRMLScalarVolumeNode
    uncertaintyVolume: vtkMRMLScalarVolumeNode
    weightColors: vtkMRMLColorTableNode
    jacobianColors: vtkMRMLColorTableNode
    uncertaintyColors: vtkMRMLColorTableNode
    linkedCursor: vtkMRMLMarkupsFiducialNode
    histogramTable: vtkMRMLTableNode
    histogramSeries: vtkMRMLPlotSeriesNode
    histogramChart: vtkMRMLPlotChartNode
    mapTable: vtkMRMLTableNode
    segmentTable: vtkMRMLTableNode
    landmarkTable: vtkMRMLTableNode

    sweep: bool = False
    mapMeasure: MapMeasure = MapMeasure.SIMILARITY
    suggestion: str = ""
    snapshots: str = ""
    history: str = ""
    quality: str = ""
    report: str = ""


HYPERPARAMETERS = {
    PriorChoice(name): {key: item.node_field for key, item in items.items()} for name, items in TABLE.items()
}
"""For each prior, its hyperparameters by the worker's names, and the fields that hold them."""


def setting_of(parameters: SPRRegistrationParameters) -> dict[str, float]:
    """Return the hyperparameters of the chosen prior, by the names that the worker knows."""
    fields = HYPERPARAMETERS[parameters.prior]
    return {name: getattr(parameters, field) for name, field in fields.items()}


def apply_setting(parameters: SPRRegistrationParameters, setting: dict[str, float]) -> None:
    """Store hyperparameters, as one change of the parameter node.

    Args:
        parameters: Where to store them.
        setting: Values by the names that the worker knows; the prior to which they belong is chosen.
    """
    was_modifying = parameters.StartModify()
    try:
        for prior, fields in HYPERPARAMETERS.items():
            if setting.keys() <= fields.keys():
                parameters.prior = prior
                for name, value in setting.items():
                    setattr(parameters, fields[name], value)
                break
    finally:
        parameters.EndModify(was_modifying)
