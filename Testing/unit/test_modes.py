"""What callers have set of PyTorch's state is put aside, and is back afterwards."""

from __future__ import annotations

import pytest
import torch

import SPRCore as spr
from SPRCore.functional import plain_modes


def test_plain_modes_give_gradients_back_and_leave_the_mode_of_the_caller():
    with torch.inference_mode():
        with plain_modes():
            leaf = torch.ones(2, requires_grad=True)
            (leaf * 2).sum().backward()
            assert leaf.grad.tolist() == [2, 2]
        assert torch.is_inference_mode_enabled()
    with torch.autocast("cpu", dtype=torch.bfloat16), plain_modes():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_default_type_is_put_aside_until_the_last_block_is_through(double):
    with plain_modes():
        with plain_modes():
            assert torch.ones(1).dtype == torch.float32
        assert torch.ones(1).dtype == torch.float32
    assert torch.ones(1).dtype == torch.float64


def test_a_model_registers_whatever_the_default_type(double):
    image = spr.Volume.from_array(torch.rand(16, 16, 16), (1, 1, 1))
    result = spr.register(image, image, method="general-hyper-spr", prior="beta", init="none", device="cpu")
    assert result.displacement.array.shape == (16, 16, 16, 3)
    assert next(spr.load_model("general-hyper-spr").parameters()).dtype == torch.float32
