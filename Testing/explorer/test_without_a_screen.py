"""Pictures of the Explorer on machines without a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from SPRExplorer.browser import headless_browser

pytestmark = [pytest.mark.slicer, pytest.mark.slow, pytest.mark.timeout(600)]


def explore(repository, *arguments, **more):
    command = [sys.executable, "-m", "SPRCore.cli", "explore", "--port", "0", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(repository)} | more
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def has_browser():
    try:
        headless_browser((400, 300)).quit()
    except (ImportError, OSError):
        return False
    return True


def test_without_a_browser_there_is_a_message(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(OSError, match="chromedriver"):
        headless_browser((400, 300))


def test_pictures_of_the_sample_pair(server_possible, repository, tmp_path):
    from PIL import Image

    done = explore(repository, "--pictures", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    names = {"explorer-views.png"} | ({"explorer.png"} if has_browser() else set())
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    for name in names:
        picture = np.asarray(Image.open(tmp_path / "new" / name).convert("RGB")).astype(int)
        colorful = (picture.max(axis=-1) - picture.min(axis=-1) > 60).mean()
        assert colorful > 0.01, name  # only the stiffness map is colored
        assert picture.std() > 20


def test_a_damaged_image_is_refused_in_one_line(server_possible, repository, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    done = explore(repository, bad, bad, "--pictures", tmp_path / "new")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("spr: the pair of the Explorer")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_without_opengl_there_is_a_message(server_possible, repository, tmp_path):
    done = explore(repository, "--pictures", tmp_path, VTK_DEFAULT_OPENGL_WINDOW="vtkOSOpenGLRenderWindow", DISPLAY="")
    if done.returncode == 0:
        pytest.skip("OSMesa is installed")
    assert done.returncode == 2
    assert "OpenGL" in done.stderr
