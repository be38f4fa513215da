"""Outputs that would take the place of inputs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from commands import MODEL, Check, listed, no, pair, recipe, refuses, register, warp

from SPRCore.io import find_bundle, write_landmarks

INPUTS = "Outputs that are inputs"


def input_under_the_name_of_a_result(folder: Path) -> None:
    pair(folder)
    (folder / "moving.nii.gz").rename(folder / "warped.nii.gz")
    refuses(folder, register(folder, moving=folder / "warped.nii.gz"), "warped.nii.gz", "input", "--out")


def another_spelling(folder: Path) -> None:
    pair(folder)
    (folder / "sub").mkdir()
    (folder / "moving.nii.gz").rename(folder / "warped.nii.gz")
    refuses(folder, register(folder, moving=folder / "sub" / ".." / "warped.nii.gz"), "written over the input")


def a_linked_folder(folder: Path) -> None:
    (folder / "data").mkdir()
    pair(folder / "data")
    (folder / "data" / "moving.nii.gz").rename(folder / "data" / "warped.nii.gz")
    (folder / "link").symlink_to("data", target_is_directory=True)
    moved = folder / "data" / "warped.nii.gz"
    refuses(folder, register(folder / "data", moving=moved, out=folder / "link"), "written over the input")


def a_linked_input(folder: Path) -> None:
    pair(folder)
    (folder / "out").mkdir()
    (folder / "moving.nii.gz").rename(folder / "out" / "warped.nii.gz")
    (folder / "moving.nii.gz").symlink_to(folder / "out" / "warped.nii.gz")
    refuses(folder, register(folder, out=folder / "out"), "written over the input")


def a_hard_link(folder: Path) -> None:
    pair(folder)
    (folder / "out").mkdir()
    os.link(folder / "moving.nii.gz", folder / "out" / "warped.nii.gz")
    refuses(folder, register(folder, out=folder / "out"), "written over the input")


def labels_under_the_name_of_a_result(folder: Path) -> None:
    pair(folder)
    labels = folder / "warped_labels.nii.gz"
    nibabel.Nifti1Image(np.ones((8, 9, 10), np.uint8), np.eye(4)).to_filename(labels)
    options = ("--fixed-labels", labels, "--moving-labels", labels)
    refuses(folder, register(folder, *options), "warped_labels.nii.gz", "written over the input")


def a_mask_under_the_name_of_a_result(folder: Path) -> None:
    pair(folder)
    shutil.copy(folder / "fixed.nii.gz", folder / "weight.nii.gz")
    refuses(folder, register(folder, "--fixed-mask", folder / "weight.nii.gz"), "weight.nii.gz", "over the input")


def a_dicom_folder(folder: Path) -> None:
    pair(folder)
    (folder / "series").mkdir()
    (folder / "series" / "1.dcm").write_bytes(b"DICM")
    arguments = register(folder, moving=folder / "series", out=folder / "series")
    refuses(folder, arguments, "in the folder of the input")


def onto_image(name: str) -> Check:
    def check(folder: Path) -> None:
        pair(folder)
        refuses(folder, warp(folder, folder / f"{name}.nii.gz"), f"{name}.nii.gz", "over the input", "--out")

    return check


def onto_image_through_a_link(folder: Path) -> None:
    pair(folder)
    (folder / "link.nii.gz").symlink_to("moving.nii.gz")
    refuses(folder, warp(folder, folder / "link.nii.gz"), "written over the input")


def onto_the_values_of_a_header(folder: Path) -> None:
    paths = pair(folder)
    image = sitk.ReadImage(str(paths[1]))
    sitk.WriteImage(image, str(folder / "moving.mhd"), useCompression=False)
    header = (folder / "moving.mhd").read_text().replace("moving.raw", "result.raw")
    (folder / "moving.mhd").write_text(header)
    (folder / "moving.raw").rename(folder / "result.raw")
    refuses(folder, warp(folder, folder / "result.mhd", folder / "moving.mhd"), "over the input", "moving.mhd")


def onto_a_frame(folder: Path) -> None:
    pair(folder)
    refuses(folder, warp(folder, folder / "moving.nii.gz", f"{folder / 'moving.nii.gz'}#0"), "over the input")


def evaluation_onto_landmarks(folder: Path) -> None:
    paths = pair(folder)
    write_landmarks(np.ones((3, 3)), folder / "points.csv")
    points = ("--fixed-points", folder / "points.csv", "--moving-points", folder / "points.csv")
    refuses(folder, ("evaluate", "--displacement", paths[2], *points, "--out", folder / "points.csv"), "over the input")


def model_onto_itself(folder: Path) -> None:
    path = folder / f"{MODEL}.sprmodel.safetensors"
    shutil.copy(find_bundle(MODEL), path)
    refuses(folder, ("models", "export", path, "--out", folder), "written over the input")
    refuses(folder, ("models", "import", path, "--out", path), "written over the input")


def split_onto_recipe(folder: Path) -> None:
    path = recipe(folder)
    refuses(folder, ("prepare", path, "--split", path), "written over the input", "--split")


def pairs_under_the_name_of_a_table(folder: Path) -> None:
    paths = pair(folder)
    (folder / "table.csv").write_text(f"fixed,moving\n{paths[0]},{paths[1]}\n")
    arguments = ("benchmark", "--pairs", folder / "table.csv", "--methods", "instance", "--out", folder)
    refuses(folder, arguments, "table.csv", "written over the input")


def model_of_a_study(folder: Path) -> None:
    path = folder / f"{MODEL}.sprmodel.safetensors"
    shutil.copy(find_bundle(MODEL), path)
    arguments = ("tune", path, "--pairs", listed(folder), "--objective", "label-free", "--out", folder)
    refuses(folder, arguments, "written over the input")


ROWS = [
    no(
        INPUTS,
        "`spr register` into the folder of a moving image called `warped.nii.gz`",
        input_under_the_name_of_a_result,
    ),
    no(INPUTS, "the same, the image given as `sub/../warped.nii.gz`", another_spelling),
    no(INPUTS, "the same, the folder given by a symbolic link", a_linked_folder),
    no(INPUTS, "the same, the image given by a symbolic link", a_linked_input),
    no(INPUTS, "the same, the image a hard link", a_hard_link),
    no(INPUTS, "labels called `warped_labels.nii.gz` in the folder of the results", labels_under_the_name_of_a_result),
    no(INPUTS, "a mask called `weight.nii.gz` in the folder of the results", a_mask_under_the_name_of_a_result),
    no(INPUTS, "`--out` is the folder of the DICOM series that is read", a_dicom_folder),
    no(INPUTS, "`spr warp` onto the image that it reads", onto_image("moving")),
    no(INPUTS, "`spr warp` onto the reference", onto_image("fixed")),
    no(INPUTS, "`spr warp` onto the displacement", onto_image("displacement")),
    no(INPUTS, "`spr warp` onto a symbolic link to its image", onto_image_through_a_link),
    no(
        INPUTS,
        "`spr warp` to a `.mhd` whose `.raw` holds the values of the image that is read",
        onto_the_values_of_a_header,
    ),
    no(INPUTS, "`spr warp` of a frame, `image.nii.gz#0`, onto its file", onto_a_frame),
    no(INPUTS, "`spr evaluate` onto the landmarks that it reads", evaluation_onto_landmarks),
    no(INPUTS, "`spr models export` and `import` of a model onto itself", model_onto_itself),
    no(INPUTS, "`spr prepare --split` onto the recipe", split_onto_recipe),
    no(
        INPUTS,
        "`spr benchmark` with a list called `table.csv` in the folder of the results",
        pairs_under_the_name_of_a_table,
    ),
    no(INPUTS, "`spr tune` of a model into the folder in which it lies", model_of_a_study),
]
