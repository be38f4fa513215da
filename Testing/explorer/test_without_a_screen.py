"""Pictures of the Explorer for machines that nobody looks at."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from driving import CHROMIUM

pytestmark = [pytest.mark.slicer, pytest.mark.slow, pytest.mark.timeout(600)]


def explore(repository, *arguments, **more):
    command = [sys.executable, "-m", "SPRCore.cli", "explore", "--port", "0", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(repository)} | more
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_sample_is_registered_and_pictures_are_left(server_possible, repository, tmp_path):
    from PIL import Image

    done = explore(repository, "--pictures", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    wanted = {"explorer-views.png"} | ({"explorer.png"} if CHROMIUM else set())
    assert {path.name for path in (tmp_path / "new").iterdir()} == wanted
    for name in wanted:
        picture = np.asarray(Image.open(tmp_path / "new" / name).convert("RGB")).astype(int)
        colorful = (picture.max(axis=-1) - picture.min(axis=-1) > 60).mean()
        assert colorful > 0.01, name  # the stiffness map is the only thing with colors
        assert picture.std() > 20


def test_what_is_no_image_is_refused_in_one_line(server_possible, repository, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    done = explore(repository, bad, bad, "--pictures", tmp_path / "new")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("spr: the pair of the Explorer")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_without_opengl_it_says_so(server_possible, repository, tmp_path):
    done = explore(repository, "--pictures", tmp_path, VTK_DEFAULT_OPENGL_WINDOW="vtkOSOpenGLRenderWindow", DISPLAY="")
    if done.returncode == 0:
        pytest.skip("there is OSMesa, too")
    assert done.returncode == 2
    assert "OpenGL" in done.stderr
