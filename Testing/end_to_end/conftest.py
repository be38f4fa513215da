"""A small pair of images on disk, the command line to run on it, and live workers."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from SPRCore.cli import main
from SPRCore.geometry import Field, Grid, Volume, resample, voxel_to_ras
from SPRCore.io import write_landmarks, write_volume

sys.path.insert(0, str(Path(__file__).resolve().parent))

SETTINGS = ("--alpha", 0.002, "--lambda-max", 2, "--device", "cpu", "--seed", 7)
SHAPE, SPACING = (24, 20, 16), (2.0, 2.5, 3.0)


def texture(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Smooth texture inside an ellipsoid on a dark background, about [0, 1]."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.75
    return np.where(inside, 0.6 + 0.35 * noise / np.abs(noise).max(), 0.0).astype(np.float32)


def write_pair(folder: Path, shape: tuple[int, int, int] = SHAPE) -> SimpleNamespace:
    """Write a fixed image and a smoothly deformed moving one with labels and landmarks; return the paths."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-20.0, 10.0, 5.0)
    moving = Volume(texture(shape, 0), affine)
    labels = Volume((np.digitize(moving.array, [0.3, 0.6])).astype(np.uint8), affine)
    bump = np.exp(-2 * sum(a**2 for a in np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")))
    field = Field((bump[..., None] * np.array([5.0, -5.0, 4.0])).astype(np.float32), affine)
    points_vox = np.argwhere(np.ones((3, 3, 3))) * 3.0 + np.array(shape) / 2 - 3
    points = voxel_to_ras(np.round(points_vox), affine)
    found = field.array[tuple(np.round(points_vox).astype(int).T)]
    pair = SimpleNamespace(
        fixed=folder / "fixed.nii.gz",
        moving=folder / "moving.nii.gz",
        fixed_labels=folder / "fixed_labels.nii.gz",
        moving_labels=folder / "moving_labels.nii.gz",
        fixed_points=folder / "fixed.csv",
        moving_points=folder / "moving.mrk.json",
    )
    write_volume(resample(moving, moving.grid, displacement=field), pair.fixed)
    write_volume(moving, pair.moving)
    write_volume(resample(labels, labels.grid, displacement=field, labels=True), pair.fixed_labels)
    write_volume(labels, pair.moving_labels)
    write_landmarks(points, pair.fixed_points)
    write_landmarks(points + found, pair.moving_points)
    return pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> SimpleNamespace:
    """Paths of a small pair of images with labels and landmarks."""
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def large_pair(tmp_path_factory) -> SimpleNamespace:
    """Paths of a pair that takes long enough to be interrupted."""
    return write_pair(tmp_path_factory.mktemp("large"), (128, 128, 96))


@pytest.fixture(scope="session")
def odd_pair(tmp_path_factory) -> SimpleNamespace:
    """Paths of two images of odd sizes on oblique, anisotropic grids of their own."""
    from scipy.spatial.transform import Rotation

    folder = tmp_path_factory.mktemp("odd")
    pair = SimpleNamespace(fixed=folder / "fixed.nii.gz", moving=folder / "moving.nii.gz")
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [8, -12, 20], degrees=True).as_matrix() * (-2.0, 2.4, 3.1)
    moving = Volume(texture((23, 19, 17), 3), affine)
    bump = np.exp(-2 * sum(a**2 for a in np.meshgrid(*(np.linspace(-1, 1, n) for n in moving.shape), indexing="ij")))
    field = Field((bump[..., None] * np.array([4.0, -4.0, 4.0])).astype(np.float32), affine)
    swapped = affine @ np.eye(4)[[2, 0, 1, 3]] @ np.diag([0.9, 1.1, 1.2, 1.0])
    grid = Grid((19, 21, 15), swapped)
    write_volume(resample(moving, grid, displacement=field), pair.fixed)
    write_volume(moving, pair.moving)
    return pair


@pytest.fixture
def spr(capfd):
    """Run `spr` in this process: its exit code, and the lines on standard output and standard error."""

    def run(*arguments: object) -> SimpleNamespace:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err.splitlines())

    return run


@pytest.fixture
def heard_signals():
    """Signals reach child processes, also where the tests run in the background of a shell, which ignores some."""
    kept = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def spr_process():
    """Start `spr` in a process of its own."""

    def start(*arguments: object, **options: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "SPRCore.cli", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    return start


@pytest.fixture(scope="session")
def finished(pair, spr_process, tmp_path_factory) -> SimpleNamespace:
    """Folder and output of one full `spr register`, run in a process as a user runs it."""
    folder = tmp_path_factory.mktemp("results") / "new" / "folder"
    options = [part for name in ("labels", "points") for side in ("fixed", "moving") for part in (side, name)]
    flags = [
        item
        for side, name in zip(options[::2], options[1::2], strict=True)
        for item in (f"--{side}-{name}", getattr(pair, f"{side}_{name}"))
    ]
    process = spr_process("register", pair.fixed, pair.moving, "--out", folder, *flags, *SETTINGS)
    out, err = process.communicate(timeout=240)
    return SimpleNamespace(folder=folder, settings=SETTINGS, code=process.returncode, out=out, err=err)


@pytest.fixture
def nothing_stays(tmp_path, monkeypatch):
    """A temporary folder for each test of live workers; no files and processes of it remain."""
    from live_workers import LIMIT, left_over

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = left_over()
    yield
    end = time.monotonic() + LIMIT
    while (left := left_over() - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left


@pytest.fixture
def live(nothing_stays):
    """Start a client with a pair open."""
    from live_workers import FAKE, LIMIT, PAIR, note_sessions

    from SPRCore.live.client import SubprocessClient
    from SPRCore.live.events import Deadlines

    started = []

    def start(command=FAKE, pair=PAIR, **deadlines):
        client = SubprocessClient(command, Deadlines(**deadlines))
        started.append(client)
        note_sessions()
        if pair is not None:
            client.do("open", pair, timeout=LIMIT)
        return client

    yield start
    for client in started:
        client.close()


@pytest.fixture
def raw(nothing_stays):
    """Start a worker that the test writes bytes to."""
    from live_workers import Raw

    workers = []

    def start(**options):
        workers.append(Raw(**options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()
        worker.end()
