"""What is said when memory runs out."""

from __future__ import annotations

import pytest
import torch

from SPRCore.errors import SPRError
from SPRCore.training.guards import guarded_memory, memory_remedies

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_mildest_knob_comes_first_and_what_is_done_is_not_asked_for(tiny_recipe):
    many = tiny_recipe(optimiser__batch=3, optimiser__accumulate=2)
    assert memory_remedies(many, CPU)[0].startswith("--set optimiser.batch=1 --set optimiser.accumulate=6")
    assert "--set precision=bf16" in memory_remedies(many, CUDA)
    assert "--set precision=bf16" not in memory_remedies(many, CPU)
    frugal = tiny_recipe(precision="bf16", model__half_resolution=True)
    assert memory_remedies(frugal, CUDA)[0].startswith("a smaller preprocessing.shape")


def test_generated_weights_and_kept_activations_are_named(tiny_recipe):
    recipe = tiny_recipe(
        **{
            "model": {"preset": "hyper-tm-spr-small", "conditioning": "full", "checkpoint": False},
            "hyper": {"ranges": {"alpha": [0.0, 0.2], "lambda_max": [0.5, 5.0]}},
        }
    )
    named = " ".join(memory_remedies(recipe, CPU))
    assert "model.checkpoint=true" in named
    assert "model.conditioning=film" in named
    assert "model.embed" in named


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_every_kind_is_known(tiny_recipe, error):
    with (
        pytest.raises(SPRError, match="cpu for a step on 160 x 192 x 224 voxels"),
        guarded_memory(tiny_recipe(), (160, 192, 224), CPU),
    ):
        raise error


def test_other_errors_pass(tiny_recipe):
    with pytest.raises(RuntimeError, match="size mismatch"), guarded_memory(tiny_recipe(), (16, 16, 16), CPU):
        raise RuntimeError("size mismatch")
