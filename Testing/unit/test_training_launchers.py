"""What the launchers of Training/ run, with stand-ins for SLURM and torchrun; and its README against what there is."""

from __future__ import annotations

import os
import re
import subprocess
import typing

import pytest

from SPRCore.training.data.listing import COLUMNS
from SPRCore.training.data_config import Layout

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shell scripts")


@pytest.fixture
def launch(repository, tmp_path):
    """Run a launcher with commands that only say how they were called."""
    for name in ("srun", "torchrun"):
        command = tmp_path / name
        command.write_text(f'#!/bin/bash\necho {name} "$@" OMP=$OMP_NUM_THREADS\n')
        command.chmod(0o755)
    (tmp_path / "scontrol").write_text('#!/bin/bash\nprintf "node7\\nnode8\\n"\n')
    (tmp_path / "scontrol").chmod(0o755)

    def run(script, *arguments, **variables):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        return subprocess.run(
            [repository / "Training" / script, *arguments],
            env=environment | {"PATH": path} | variables,
            capture_output=True,
            text=True,
        )

    return run


def test_torchrun_on_one_machine(launch):
    done = launch("torchrun.sh", "2", "r.yaml", "--set", "a=1", OMP_NUM_THREADS="3")
    words = "torchrun --standalone --nproc-per-node=2 -m SPRCore.cli train r.yaml --set a=1 OMP=3"
    assert done.stdout.split() == words.split()
    wrong = launch("torchrun.sh", "2")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("usage: ")


def test_slurm_on_two_nodes(launch):
    job = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "32"}
    job |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "17"}
    words = launch("slurm/train.sh", "r.yaml", "--set", "a=1", **job).stdout.split()
    assert words[:3] == ["srun", "--kill-on-bad-exit=1", "torchrun"]
    for word in ("--nnodes=2", "--nproc-per-node=4", "--rdzv-id=17", "--rdzv-endpoint=node7:29500"):
        assert word in words
    assert words[words.index("train") :] == ["train", "r.yaml", "--set", "a=1", "--resume", "OMP=8"]


def test_slurm_prepares_with_all_cores(launch):
    done = launch("slurm/prepare.sh", "r.yaml", "--set", "data.folder=d", SLURM_CPUS_PER_TASK="16")
    words = "srun python -m SPRCore.cli prepare r.yaml --set data.folder=d --set workers=16 OMP=1"
    assert done.stdout.split() == words.split()


def test_the_readme_names_every_layout_folder_and_launcher(repository):
    folder = repository / "Training"
    text = (folder / "README.md").read_text(encoding="utf-8")
    for layout in typing.get_args(Layout):
        assert re.search(rf"`(dataset: )?{layout}`", text), layout
    for path in (folder / "recipes").iterdir():
        assert f"| `{path.name}` |" in text
    for path in re.findall(r"Training/[\w/.-]+", text):
        assert (repository / path).exists(), path
    for target in re.findall(r"\]\((\.\./[\w/.-]+)\)", text):
        assert (folder / target).exists(), target


def test_the_how_to_names_every_column_and_its_recipe_can_be_read(repository, tmp_path):
    from SPRCore.training.recipe import read_recipe

    text = (repository / "docs" / "how-to" / "train-on-your-own-data.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"`{column}`" in text
    header = re.search(r"```csv\n(.*)", text)[1].split(",")
    assert set(header) <= set(COLUMNS)
    (tmp_path / "recipe.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.S)[1], encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.yaml").data.listing == tmp_path / "cases.csv"
