"""Arguments of `SPRCore.register` and its relatives, called from Python."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
import torch
from table import Row, refused, warned

import SPRCore
from SPRCore import Annotations, RegistrationOptions, Volume
from SPRCore.live import LiveSession
from SPRCore.registration import InstanceConfig

TAKEN, REFUSED = "Python: taken", "Python: refused"
X = np.random.default_rng(0).normal(size=(8, 9, 10)).astype(np.float32)
AFFINE = np.array([[-1.5, 0, 0, 3], [0, -2, 0, 4], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
IMAGE = Volume(X, AFFINE)
QUICK = {"init": "none", "config": InstanceConfig.refining(1), "device": "cpu"}
POINTS = np.array([[1.0, 1, 7], [0, -1, 9]])


def run(fixed: Any = IMAGE, moving: Any = IMAGE, **given: Any) -> SPRCore.registration.RegistrationResult:
    given = QUICK | given
    options = {field.name: given.pop(field.name) for field in fields(RegistrationOptions) if field.name in given}
    annotations = {field.name: given.pop(field.name) for field in fields(Annotations) if field.name in given}
    options = RegistrationOptions(**options)
    return SPRCore.register(fixed, moving, options=options, annotations=annotations, **given)


@functools.cache
def usual() -> SPRCore.registration.RegistrationResult:
    return run()


def same(result: Any) -> None:
    """The result is that of the usual pair."""
    np.testing.assert_array_equal(result.displacement.array, usual().displacement.array)
    np.testing.assert_allclose(result.displacement.affine, usual().displacement.affine)


def check_paths(folder: Path) -> None:
    SPRCore.write_volume(IMAGE, folder / "image.nii.gz")
    same(run(str(folder / "image.nii.gz"), folder / "image.nii.gz"))


def check_nibabel(folder: Path) -> None:
    same(run(nibabel.Nifti1Image(X, AFFINE), nibabel.Nifti1Image(X[..., None], AFFINE)))


def check_sheared(folder: Path) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 0.8
    with warned("fixed image has axes that are not at right angles", "moving image has axes that are not"):
        result = run(Volume(X, sheared), Volume(X, sheared))
    SPRCore.write_volume(result.warped, folder / "warped.nii.gz")
    assert sitk.ReadImage(str(folder / "warped.nii.gz")).GetSize() == result.warped.shape


def check_microns(folder: Path) -> None:
    image = nibabel.Nifti1Image(X, np.diag([1e3, 1e3, 1e3, 1]) @ AFFINE)
    image.header.set_xyzt_units("micron")
    np.testing.assert_allclose(Volume.from_nibabel(image).affine, AFFINE)


def check_itk(folder: Path) -> None:
    SPRCore.write_volume(IMAGE, folder / "image.nrrd")
    same(run(sitk.ReadImage(str(folder / "image.nrrd"))))


def check_marks(folder: Path) -> None:
    labels = Volume(np.digitize(X, [0.0]), AFFINE)
    SPRCore.write_volume(labels, folder / "labels.nii.gz")
    (folder / "points.csv").write_text("x,y,z\n1,1,7\n0,-1,9\n")
    given = {"fixed_labels": str(folder / "labels.nii.gz"), "moving_labels": labels}
    points = {"fixed_points": folder / "points.csv", "moving_points": POINTS.tolist()}
    before = run(**given, **points, fixed_mask=folder / "labels.nii.gz").report["metrics"]["before"]
    assert before["dice_mean"] == 1
    assert before["tre_mm"]["mean"] == 0


def check_values(change: Callable[[np.ndarray], np.ndarray], folder: Path) -> None:
    changed = Volume(change(X), AFFINE)
    expected = Volume(np.ascontiguousarray(np.asarray(changed.array, np.float32)), AFFINE)
    np.testing.assert_array_equal(run(changed, changed).warped.array, run(expected, expected).warped.array)


def check_labels_of(kind: str, folder: Path) -> None:
    labels = Volume((X > 0).astype(kind), AFFINE)
    assert run(fixed_labels=labels, moving_labels=labels).report["metrics"]["before"]["dice_mean"] == 1


def check_big_endian_file(suffix: str, folder: Path) -> None:
    SPRCore.write_volume(Volume(X.astype(">f4"), AFFINE), folder / f"image{suffix}")
    np.testing.assert_array_equal(SPRCore.read_volume(folder / f"image{suffix}").array, X)


def check_within(context: Callable[[], Any], folder: Path) -> None:
    with context():
        same(run())


def check_default_dtype(folder: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        same(run())
    finally:
        torch.set_default_dtype(torch.float32)


def check_thread(folder: Path) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(run()))
    thread.start()
    thread.join()
    same(found[0])


def check_auto(folder: Path) -> None:
    with warned("the default setting was used"):
        result = run(prior="auto")
    assert result.report["prior"]["chosen_by"] == "default"
    same(result)


def check_prior(name: str, folder: Path) -> None:
    assert run(prior=name).report["hyperparameters"]["prior"] == name


def check_from_array(folder: Path) -> None:
    volume = Volume.from_array(X, (1, 2, 3), origin=(4, 5, 6))
    np.testing.assert_array_equal(volume.affine, [[1, 0, 0, 4], [0, 2, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]])


def check_refused(call: Callable[[], object], said: tuple[str, ...], folder: Path) -> None:
    refused(call, *said, error=SPRCore.errors.InputError)


def taken(what: str, happens: str, check: Callable[[Path], None]) -> Row:
    return Row(TAKEN, what, happens, check)


def bad(what: str, happens: str, call: Callable[[], object], *said: str) -> Row:
    return Row(REFUSED, what, f"refused: {happens}", partial(check_refused, call, said))


def points(fixed: Any) -> object:
    return run(fixed_points=fixed, moving_points=POINTS)


ROWS = [
    taken("paths of files instead of volumes", "read", check_paths),
    taken("images of nibabel, one with a fourth axis of length 1", "taken with their affine", check_nibabel),
    taken(
        "volumes whose axes are not at right angles",
        "resampled to right angles as files are, with a warning; results can be opened by ITK and 3D Slicer",
        check_sheared,
    ),
    taken("an image of nibabel in micrometers", "its spacing turned into mm", check_microns),
    taken("an image of SimpleITK", "taken with its geometry", check_itk),
    taken("labels, mask and landmarks as paths and lists", "read and used", check_marks),
    taken("an image of truth values", "taken as 0 and 1", partial(check_values, lambda x: x > 0)),
    taken("big-endian numbers", "taken", partial(check_values, lambda x: x.astype(">f8"))),
    taken("numbers of float16", "taken", partial(check_values, lambda x: x.astype(np.float16))),
    taken("a view: mirrored, not contiguous", "taken", partial(check_values, lambda x: x[::-1, ::-1])),
    taken(
        "a tensor that wants a gradient",
        "its values",
        partial(check_values, lambda x: torch.tensor(x).requires_grad_()),
    ),
    *(taken(f"labels of type {kind}", "taken", partial(check_labels_of, kind)) for kind in ("bool", "float64", ">i2")),
    *(
        taken(f"big-endian numbers written as `{suffix}`", "written", partial(check_big_endian_file, suffix))
        for suffix in (".nrrd", ".mha", ".nii.gz")
    ),
    taken("called in `torch.inference_mode()`", "the usual result", partial(check_within, torch.inference_mode)),
    taken("called in `torch.no_grad()`", "the usual result", partial(check_within, torch.no_grad)),
    taken(
        "called in autocast to bfloat16",
        "the usual result, in single precision",
        partial(check_within, lambda: torch.autocast("cpu", dtype=torch.bfloat16)),
    ),
    taken(
        "called with another default device",
        "the usual result",
        partial(check_within, lambda: torch.device("meta")),
    ),
    taken("called with a default type of float64", "the usual result", check_default_dtype),
    taken("called in a thread", "the usual result", check_thread),
    *(
        taken(f'`prior="{name}"`', "that prior with its defaults", partial(check_prior, name))
        for name in ("beta", "gaussian", "tv", "uniform")
    ),
    taken('`prior="auto"` for a pair with hardly a block to hold out', "the default, and a warning", check_auto),
    taken("`Volume.from_array(array, spacing, origin)`", "axes to the right, front and head", check_from_array),
    bad(
        "an array of NumPy",
        "it has no spacing; how to give one is stated",
        lambda: run(X),
        "fixed image",
        "no spacing",
        "Volume.from_array(",
    ),
    bad(
        "a tensor",
        "it has no spacing; how to give one is stated",
        lambda: run(IMAGE, torch.zeros(9, 9, 9)),
        "moving image",
        "torch.Tensor",
        "Volume(",
    ),
    bad("an array as a mask", "it has no spacing", lambda: run(fixed_mask=X > 0), "fixed mask", "Volume("),
    bad(
        "a pre-alignment that mirrors",
        "the form of a matrix is told",
        lambda: run(init=np.diag([-1.0, 1, 1, 1])),
        "init",
        "mirrors",
        "shape (4, 4)",
    ),
    bad(
        "a pre-alignment in the wrong direction, by far",
        "which points it maps is told",
        lambda: run(init=np.array([[1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
        "no overlap after the given alignment",
        "points of the fixed",
    ),
    bad("None as an image", "the accepted types are listed", lambda: run(None), "fixed image", "None"),
    bad(
        "a file that is not there", "the path is stated", lambda: run("nowhere/image.nii.gz"), "nowhere", "no such file"
    ),
    bad(
        "a 4-D image of nibabel",
        "three axes are asked for",
        lambda: run(nibabel.Nifti1Image(np.zeros((4, 4, 4, 3)), AFFINE)),
        "(4, 4, 4, 3)",
    ),
    bad(
        "a color image of SimpleITK",
        "one number per voxel is asked for",
        lambda: run(sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3)),
        "3 values per voxel",
    ),
    bad("a 2-D image of SimpleITK", "a 3-D one is asked for", lambda: run(sitk.Image([4, 4], sitk.sitkUInt8)), "2-D"),
    bad(
        "a masked array", "it must be filled", lambda: Volume(np.ma.masked_less(X, 0), AFFINE), "masked array", "filled"
    ),
    bad("complex numbers", "real ones are asked for", lambda: Volume(X + 1j, AFFINE), "complex"),
    bad(
        "nested lists of unequal lengths",
        "they make no array",
        lambda: Volume([[[1, 2], [3]]], AFFINE),
        "makes no array",
    ),
    bad("text as an affine", "numbers are asked for", lambda: Volume(X, "RAS"), "affine"),
    bad("one number as a spacing", "three are asked for", lambda: Volume.from_array(X, 1.0), "spacing", "three"),
    bad("a spacing of 0", "above 0", lambda: Volume.from_array(X, (1, 0, 1)), "spacing", "above 0"),
    bad(
        "labels with fractions",
        "their number is stated",
        lambda: run(fixed_labels=IMAGE, moving_labels=IMAGE),
        "fixed labels",
        "not whole",
    ),
    bad(
        "landmarks with NaN",
        "the index is stated",
        lambda: points([[1, 2, 3], [1, np.nan, 3]]),
        "fixed landmarks",
        "1 of 2 points",
        "index 1",
    ),
    bad(
        "annotations under an unknown name",
        "the known ones are named",
        lambda: SPRCore.register(IMAGE, IMAGE, annotations={"fixed_label": IMAGE}),
        "annotations",
        "'fixed_label'",
        "fixed_labels",
    ),
    bad(
        "a list as `annotations`",
        "the accepted types are listed",
        lambda: SPRCore.register(IMAGE, IMAGE, annotations=[POINTS]),
        "annotations",
        "a list",
        "Annotations",
    ),
    bad("one landmark as a flat list", "the shape is stated", lambda: points([1, 2, 3]), "(3,)", "(N, 3)"),
    bad("landmarks that are words", "numbers are asked for", lambda: points([["a", "b", "c"]]), "fixed landmarks"),
    bad("landmarks of one image only", "both are asked for", lambda: run(fixed_points=POINTS), "one image only"),
    bad(
        "an unknown prior",
        "the known ones are named",
        lambda: run(prior="bta"),
        "'bta'",
        "beta, gaussian, tv, uniform",
    ),
    bad("an unknown anatomy", "the known ones are named", lambda: run(anatomy="knee"), "'knee'", "brain, heart, liver"),
    bad(
        "an anatomy beside a prior",
        "one of the two is asked for",
        lambda: run(anatomy="brain", prior="auto"),
        "anatomy",
        "together with a prior",
    ),
    bad(
        '`prior="auto"` with a model',
        "the solver is asked for",
        lambda: run(prior="auto", method="general-hyper-spr"),
        "prior auto",
        "the method instance",
    ),
    bad("a number as a prior", "the known ones are named", lambda: run(prior=0.1), "prior", "'beta'"),
    bad("`device=None`", "the known ones are named", lambda: run(device=None), "device", "auto"),
    bad("`method=None`", "the known ones are named", lambda: run(method=None), "method", "instance"),
    bad("`seed=None`", "a whole number is asked for", lambda: run(seed=None), "seed", "whole number"),
    bad('`refine="many"`', "a whole number is asked for", lambda: run(refine="many"), "refine", "whole number"),
    bad("a dictionary as `config`", "its class is stated", lambda: run(config={}), "config", "InstanceConfig"),
    bad("a number as `progress`", "a function is asked for", lambda: run(progress=3), "progress", "function"),
    bad("a number as `stiffness`", "a volume is asked for", lambda: run(stiffness=2.0), "stiffness", "Volume"),
    bad("`read_volume(None)`", "a path is asked for", lambda: SPRCore.read_volume(None), "path"),
    bad('`read_landmarks("")`', "a path is asked for", lambda: SPRCore.read_landmarks(""), "path"),
    bad(
        "an array to `write_volume`",
        "a volume is asked for",
        lambda: SPRCore.write_volume(X, "image.nii.gz"),
        "a Volume",
    ),
    bad("`load_model(None)`", "the known models are listed", lambda: SPRCore.load_model(None), "model"),
    bad(
        "arrays to `LiveSession.open`", "they have no spacing", lambda: LiveSession.open(X, X), "fixed image", "Volume("
    ),
]
