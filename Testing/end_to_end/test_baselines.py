"""Methods of others: that their displacements are taken over as they mean them, and what happens without them."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest

from SPRCore.baselines import BASELINES, Baseline
from SPRCore.baselines.deeds import Deeds, find_program, on_voxels
from SPRCore.errors import ConvergenceError, InputError
from SPRCore.geometry import Field, Volume, displacement_vox_to_mm, resample
from SPRCore.io import read_volume
from SPRCore.metrics import local_correlation

posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for the program is a script")


@pytest.fixture(scope="module")
def oblique():
    """A fixed and a moving image on an oblique, anisotropic grid with a flipped axis, and the true displacement."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial.transform import Rotation

    shape = (40, 36, 28)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, -15, 25], degrees=True).as_matrix() * (-2.0, 2.2, 2.6)
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 2.0)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    moving = Volume(np.where(inside, 0.6 + 0.3 * noise / np.abs(noise).max(), 0.0).astype(np.float32), affine)
    bump = np.exp(-2 * sum(axis**2 for axis in axes))[..., None]
    true = Field((bump * np.array([6.0, -4.0, 5.0])).astype(np.float32), affine)
    return resample(moving, moving.grid, displacement=true), moving, true, inside


def check(method, oblique, within_mm):
    """The method finds the true displacement, whatever the grid, well within half of it."""
    fixed, moving, true, inside = oblique
    found = method.register(fixed, moving)
    assert found.grid.matches(fixed.grid)
    warped = resample(moving, fixed.grid, displacement=found)
    assert local_correlation(fixed, warped) > local_correlation(fixed, moving) + 0.05
    core = inside & (np.linalg.norm(true.array, axis=-1) > 4)
    error = np.linalg.norm((found.array - true.array)[core], axis=-1).mean()
    assert error < within_mm < 0.5 * np.linalg.norm(true.array[core], axis=-1).mean()


def test_all_are_baselines():
    assert all(isinstance(method, Baseline) for method in BASELINES.values())


@pytest.mark.slow
def test_demons(oblique):
    check(BASELINES["demons"], oblique, 2.2)


@pytest.mark.slow
@pytest.mark.baselines
def test_syn(oblique):
    pytest.importorskip("ants")
    check(replace(BASELINES["syn-cc"], sampling=2, iterations=(15, 5)), oblique, 1.5)


def test_demons_on_thin_stacks():
    shape = (24, 24, 3)
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    found = BASELINES["demons"].register(Volume(image, np.eye(4)), Volume(image[::-1].copy(), np.eye(4)))
    assert np.isfinite(found.array).all()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a stand-in for deedsBCV, written in Python, at a place with a blank in its name."""

    def make(body):
        path = tmp_path / "my programs" / "deedsBCV"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport sys, struct, time, os\nargs = sys.argv[1:]\n{body}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("SPR_DEEDS", str(path))
        return path

    return make


WRITES = """
stem = args[args.index("-O") + 1]
n = (40 // 2) * (36 // 2) * (28 // 2)
with open(stem + "_displacements.dat", "wb") as stream:
    for component in (2.0, 1.0, 3.0):  # along the second, first and third axis
        stream.write(struct.pack("<f", component) * n)
"""


@posix
def test_components_come_in_the_order_of_the_program(oblique, program):
    program(WRITES)
    fixed, moving, _, _ = oblique
    found = Deeds().register(fixed, moving)
    expected = displacement_vox_to_mm(np.array([1.0, 2.0, 3.0]), fixed.affine)
    np.testing.assert_allclose(found.array, np.broadcast_to(expected, found.array.shape), rtol=1e-5)


@posix
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("print('Inconsistent image sizes'); sys.exit(255)", "exit code 255.*Inconsistent image sizes"),
        ("sys.exit(0)", "exit code 0"),
        ("open(args[args.index('-O') + 1] + '_displacements.dat', 'wb').write(b'1234' * 5)", "5 numbers"),
        ("time.sleep(60)", "no result after 0.5 s"),
        ("os.kill(os.getpid(), 11)", "exit code -11"),
    ],
)
def test_what_goes_wrong_in_the_program_is_told(oblique, program, body, words):
    program(body)
    with pytest.raises(ConvergenceError, match=words):
        Deeds(timeout_seconds=0.5 if "sleep" in body else 60).register(*oblique[:2])


@posix
def test_the_program_gets_what_the_paper_says_and_no_shell(oblique, program, tmp_path):
    program(f"open({str(tmp_path / 'args')!r}, 'w').write(' '.join(args))\n{WRITES}")
    Deeds().register(*oblique[:2])
    words = (tmp_path / "args").read_text()
    assert words.endswith("-a 1.6 -G 6x5x4x3x2 -L 6x5x4x3x2 -Q 5x4x3x2x1")
    assert not list(tmp_path.glob("*.nii.gz"))


def test_without_the_program(monkeypatch, tmp_path):
    monkeypatch.delenv("SPR_DEEDS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"deedsBCV on the path.*SPR_DEEDS"):
        BASELINES["deeds"].check()
    monkeypatch.setenv("SPR_DEEDS", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="no program at"):
        BASELINES["deeds"].check()


def test_images_too_thin_for_its_grid(program):
    if os.name == "posix":
        program("")
        thin = Volume(np.zeros((20, 20, 4), dtype=np.float32), np.eye(4))
        with pytest.raises(InputError, match="at least 6 voxels"):
            Deeds().register(thin, thin)


def test_control_points_reach_voxels_as_in_the_program():
    # A ramp of 1 per control point along the first axis: 0.5 per voxel at half as many points, and level at the end.
    coarse = (4, 3, 2)
    ramp = np.broadcast_to(np.arange(4.0)[:, None, None], coarse)
    values = np.stack([np.zeros(coarse), ramp, np.zeros(coarse)]).transpose(0, 3, 2, 1).astype(np.float32).ravel()
    found = on_voxels(values, coarse, (8, 6, 4))
    np.testing.assert_allclose(found[:, 0, 0, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3], atol=1e-6)
    assert not found[..., 1:].any()


@pytest.mark.slow
def test_the_real_program(oblique, tmp_path, monkeypatch):
    try:
        program = find_program()
    except InputError as error:
        pytest.skip(str(error))
    check(BASELINES["deeds"], oblique, 1.9)
    fixed, moving, _, _ = oblique
    real, kept = tempfile.TemporaryDirectory, _Kept(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryDirectory", lambda **options: real(**options) if options else kept)
    found = Deeds().register(fixed, moving)
    assert program.is_file()
    its_own = read_volume(tmp_path / "found_deformed.nii.gz").array
    ours = resample(read_volume(tmp_path / "moving.nii.gz"), fixed.grid, displacement=found, outside=-1024.0).array
    assert np.quantile(np.abs(its_own - ours), 0.99) < 1.0  # of 2000; the outermost voxels are cut differently


class _Kept:
    """A temporary folder that stays."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return str(self.path)

    def __exit__(self, *error):
        return None
