"""What the command line loads before it begins to work, and what it leaves as it found it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

from SPRCore.cli import main

HEAVY = ("matplotlib", "scipy", "SimpleITK", "nibabel", "pydicom", "PIL", "optuna", "tensorboard", "pandas", "sklearn")


def in_a_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_registration_starts_without_what_reads_and_draws():
    code = f"""
import json, sys
from SPRCore.cli.usage import parse
verb = parse(["register", "fixed.nii.gz", "moving.nii.gz", "--out", "results"])
print(json.dumps([type(verb).__name__, sorted(set({HEAVY!r}) & set(sys.modules))]))
"""
    assert in_a_process(code) == ["Register", []]


def test_an_image_without_an_even_border_is_taken_as_it_is_without_scipy():
    code = """
import json, sys
import numpy as np
from SPRCore.geometry import MaskedVolume, Volume
image = MaskedVolume.of(Volume(np.random.default_rng(0).normal(size=(20, 20, 20)), np.eye(4)), "image")
print(json.dumps([image.valid is None, "scipy" in sys.modules]))
"""
    assert in_a_process(code) == [True, False]


def test_garbage_is_collected_again_once_the_modules_are_loaded():
    code = """
import gc, json, sys
from SPRCore.cli import main
sys.argv = ["spr", "--version"]
code = main()
print(json.dumps([code, gc.isenabled(), gc.get_freeze_count() > 1000]))
"""
    assert in_a_process(code) == [0, True, True]


def test_in_a_process_of_somebody_else_nothing_is_frozen(capsys):
    before = gc.get_freeze_count()
    assert main(["--version"]) == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() <= before  # objects that were frozen at the start of the tests may be released
    assert capsys.readouterr().out.startswith("spr ")
