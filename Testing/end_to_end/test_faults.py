"""What `spr` does with bad input, a bad place to write or an interruption: one line, its code, nothing half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

AFFINE = np.diag([2.0, 2.5, 3.0, 1.0])


def nifti(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def with_value(value: float) -> np.ndarray:
    array = noise(12, 12, 12)
    array[3, 4, 5] = value
    return array


def text_file(folder: Path) -> Path:
    path = folder / "notes.nii.gz"
    path.write_text("not an image", encoding="utf-8")
    return path


def truncated(folder: Path) -> Path:
    path = nifti(folder / "cut.nii.gz", noise(20, 20, 20))
    path.write_bytes(path.read_bytes()[:3000])
    return path


def zero_spacing(folder: Path) -> Path:
    path = nifti(folder / "flat.nii", noise(12, 12, 12))
    header = bytearray(path.read_bytes())
    header[252:256] = bytes(4)  # qform_code and sform_code: the spacing alone counts
    header[80:84] = bytes(4)  # pixdim[1]
    path.write_bytes(header)
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.nii.gz"
    path.touch()
    return path


BAD_IMAGES = {
    "missing": lambda folder: folder / "nowhere.nii.gz",
    "folder without images": lambda folder: folder,
    "not an image": text_file,
    "2-D": lambda folder: nifti(folder / "flat.nii.gz", noise(12, 12)),
    "4-D": lambda folder: nifti(folder / "series.nii.gz", noise(12, 12, 12, 3)),
    "empty": empty_file,
    "constant": lambda folder: nifti(folder / "one.nii.gz", np.ones((12, 12, 12), np.float32)),
    "NaN": lambda folder: nifti(folder / "nan.nii.gz", noise(12, 12, 12) + np.nan),
    "Inf": lambda folder: nifti(folder / "inf.nii.gz", noise(12, 12, 12) + np.inf),
    "too small": lambda folder: nifti(folder / "thin.nii.gz", noise(12, 12, 2)),
    "zero spacing": zero_spacing,
    "truncated": truncated,
}


def assert_refused(done, *words: str, code: int = 2) -> None:
    """One line on standard error that starts like all of them and says `words`."""
    assert done.code == code
    assert len(done.err) == 1, done.err
    assert done.err[0].startswith("spr: ")
    for word in words:
        assert word in done.err[0]


def assert_nothing_written(folder: Path) -> None:
    assert not (folder / "out").exists()
    assert not [path for path in folder.rglob("*") if ".partial" in path.name]


@pytest.mark.parametrize("side", ["fixed", "moving"])
@pytest.mark.parametrize("fault", BAD_IMAGES)
def test_bad_images(fault, side, pair, spr, tmp_path):
    (tmp_path / "in").mkdir()
    bad = BAD_IMAGES[fault](tmp_path / "in")
    images = (bad, pair.moving) if side == "fixed" else (pair.fixed, bad)
    assert_refused(spr("register", *images, "--out", tmp_path / "out", "--device", "cpu"))
    assert_nothing_written(tmp_path)


def test_images_that_do_not_meet(pair, spr, tmp_path):
    far = AFFINE.copy()
    far[:3, 3] = 5000
    bad = nifti(tmp_path / "far.nii.gz", noise(12, 12, 12), far)
    assert_refused(spr("register", pair.fixed, bad, "--out", tmp_path / "out", "--init", "none"), "overlap", "--init")
    assert_nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "magic"], ["magic", "instance"]),
        (["--prior", "flat"], ["flat", "beta", "gaussian", "tv", "uniform"]),
        (["--alpha", "-0.1"], ["alpha", "-0.1"]),
        (["--lambda-max", "-2"], ["lambda_max", "-2"]),
        (["--lambda-max", "0"], ["lambda_max"]),
        (["--sigma", "-1"], ["sigma"]),
        (["--lambda-mean", "nan"], ["lambda_mean"]),
        (["--tv", "0"], ["tv", "above 0"]),
        (["--tv", "nan"], ["tv", "nan"]),
        (["--lambda", "-1"], ["lambda"]),
        (["--alpha", "0.1", "--sigma", "1"], ["--sigma", "beta"]),
        (["--prior", "gaussian", "--lambda", "1"], ["--lambda", "gaussian"]),
        (["--alpha", "0.1", "--tv", "1", "--lambda-max", "3"], ["--tv", "beta"]),
        (["--prior", "tv", "--alpha", "0.1"], ["--alpha", "tv", "--tv, --lambda-max"]),
        (["--alpha", "much"], ["--alpha", "much", "number"]),
        (["--init", "guess"], ["--init", "guess", "rigid"]),
        (["--device", "tpu"], ["--device", "tpu"]),
        (["--seed", "1.5"], ["--seed", "1.5"]),
        (["--nonsense", "1"], ["--nonsense", "spr register --help"]),
        (["--fixed-labels", "only.nii.gz"], ["labels"]),
        (["--moving-points", "only.csv"], ["landmarks"]),
    ],
    ids=" ".join,
)
def test_bad_options(options, words, pair, spr, tmp_path):
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out", *options)
    assert_refused(done, *words)
    assert_nothing_written(tmp_path)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(device, pair, spr, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out", "--device", device)
    assert_refused(done, device, "cpu")


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["--bogus"], ["register"], ["register", "a.nii"], ["warp"], ["evaluate"]], ids=" ".join
)
def test_bad_usage(arguments, spr):
    assert_refused(spr(*arguments), "--help")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["register", "--help"], ["demo", "--help"], ["--version"]])
def test_help_is_no_error(arguments, spr):
    done = spr(*arguments)
    assert (done.code, done.err) == (0, [])
    assert "spr" in done.out


def test_labels_that_are_an_image(pair, spr, tmp_path):
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out",
               "--fixed-labels", pair.fixed, "--moving-labels", pair.moving_labels)  # fmt: skip
    assert_refused(done, str(pair.fixed), "whole numbers")


def test_labels_of_another_place(pair, spr, tmp_path):
    far = AFFINE.copy()
    far[:3, 3] = 5000
    labels = nifti(tmp_path / "labels.nii.gz", np.ones((12, 12, 12), np.uint8), far)
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out",
               "--fixed-labels", labels, "--moving-labels", pair.moving_labels)  # fmt: skip
    assert_refused(done, "labels")
    assert_nothing_written(tmp_path)


def test_an_empty_mask(pair, spr, tmp_path):
    mask = nifti(tmp_path / "mask.nii.gz", np.zeros((24, 20, 16), np.uint8))
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out", "--fixed-mask", mask)
    assert_refused(done, "mask")


def test_landmarks_that_do_not_pair_up(pair, spr, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("x,y,z\n1,2,3\n", encoding="utf-8")
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out",
               "--fixed-points", few, "--moving-points", pair.moving_points)  # fmt: skip
    assert_refused(done, "1 in the fixed and 27 in the moving")


@pytest.mark.parametrize("place", ["a file", "below a file", "read-only"])
def test_a_place_that_cannot_be_written_is_found_out_first(place, pair, spr, tmp_path, monkeypatch):
    import SPRCore.cli.register as verb

    def computed(*arguments, **options):
        pytest.fail("it computed before it looked at the folder")

    monkeypatch.setattr(verb.api, "register", computed)
    occupied = tmp_path / "occupied"
    occupied.write_text("mine", encoding="utf-8")
    out = {"a file": occupied, "below a file": occupied / "out", "read-only": Path("/proc/spr")}[place]
    if place == "read-only" and not out.parent.exists():
        pytest.skip("no /proc: there is no place that even an administrator cannot write")
    assert_refused(spr("register", pair.fixed, pair.moving, "--out", out), str(out))
    assert occupied.read_text(encoding="utf-8") == "mine"


def test_warp_and_evaluate_refuse_what_is_no_displacement(pair, spr, tmp_path):
    out = tmp_path / "out.nii.gz"
    done = spr("warp", pair.moving, "--displacement", pair.fixed, "--reference", pair.fixed, "--out", out)
    assert_refused(done, str(pair.fixed))
    assert not out.exists()
    assert_refused(spr("evaluate", "--displacement", pair.fixed), str(pair.fixed))
    assert_refused(spr("evaluate", "--displacement", tmp_path / "nowhere.nii.gz"), "nowhere")


def test_warp_refuses_an_unknown_suffix_before_anything_else(pair, spr, tmp_path):
    out = tmp_path / "out.xyz"
    done = spr("warp", pair.moving, "--displacement", pair.fixed, "--reference", pair.fixed, "--out", out)
    assert_refused(done)
    assert not out.exists()


def test_a_fault_of_ours_keeps_its_traceback(pair, spr, tmp_path, monkeypatch):
    import SPRCore.cli.register as verb

    def broken(*arguments, **options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(verb.api, "register", broken)
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out")
    assert done.code == 1
    assert "ZeroDivisionError: a bug" in done.err
    assert done.err[-1].startswith("spr: ")
    assert_nothing_written(tmp_path)


def test_a_full_disk(pair, spr_process, tmp_path):
    """With the largest file limited, writing fails as on a full disk: an OSError in the middle of a file."""
    resource = pytest.importorskip("resource", reason="POSIX only")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = spr_process(
        "register", pair.fixed, pair.moving, "--out", tmp_path / "out", "--device", "cpu", preexec_fn=limit
    )
    _, err = process.communicate(timeout=240)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1
    assert "space" in err
    assert_nothing_written(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_really_full(pair, spr_process, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets not even root mount a disk")
    try:
        process = spr_process("register", pair.fixed, pair.moving, "--out", disk / "out", "--device", "cpu")
        _, err = process.communicate(timeout=240)
        assert process.returncode == 2
        assert len(err.splitlines()) == 1
        assert_nothing_written(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption(number, large_pair, spr_process, tmp_path):
    process = spr_process("register", large_pair.fixed, large_pair.moving, "--out", tmp_path / "out", "--device", "cpu")
    for line in process.stdout:
        if line.strip() == "registering":
            break
    time.sleep(1.0)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == ["spr: interrupted; nothing was written"]
    assert_nothing_written(tmp_path)
