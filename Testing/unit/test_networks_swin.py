"""Attention in shifted windows: against plain attention, and what must not see what."""

from __future__ import annotations

import pytest
import torch

from SPRCore.networks.swin import PatchMerging, WindowAttention
from SPRCore.networks.windows import Windows, relative_index

CPU = torch.device("cpu")


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = WindowAttention(8, 2, (3, 2, 4), None).double()
    torch.nn.init.normal_(module.table)
    torch.nn.init.normal_(module.proj.bias)
    return module


def tokens_of(shape, seed=0):
    return torch.randn(1, *shape, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shape", [(6, 4, 8), (5, 3, 7), (2, 1, 3), (3, 2, 4)])
def test_windows_can_be_put_together_again(shape, shifted):
    tokens, layout = tokens_of(shape), Windows.of(shape, (3, 2, 4), shifted, CPU)
    assert torch.equal(layout.merge(layout.partition(tokens)), tokens)


@torch.no_grad()
def test_a_window_over_all_tokens_is_plain_attention(attention):
    tokens, shape = tokens_of((3, 2, 4)), (3, 2, 4)
    query, key, value = attention.qkv(tokens).view(24, 3, 2, 4).permute(1, 2, 0, 3)
    position = torch.cartesian_prod(*(torch.arange(size) for size in shape))
    offset = position[:, None] - position[None] + torch.tensor(shape) - 1
    bias = attention.table.view(5, 3, 7, 2)[offset.unbind(-1)].permute(2, 0, 1)
    score = (query @ key.transpose(1, 2) / 2.0 + bias).softmax(-1)
    expected = attention.proj((score @ value).transpose(0, 1).reshape(1, 3, 2, 4, 8))
    torch.testing.assert_close(attention(tokens, Windows.of(shape, shape, False, CPU), None), expected)


def reach(attention, shape, shifted, position):
    """Tokens that change when one token does."""
    layout = Windows.of(shape, (3, 2, 4), shifted, CPU)
    tokens = tokens_of(shape)
    moved = tokens.clone()
    moved[(0, *position)] += 1.0
    with torch.no_grad():
        change = attention(moved, layout, None) - attention(tokens, layout, None)
    return {tuple(index.tolist()) for index in change[0].abs().amax(-1).gt(1e-12).nonzero()}


def block(*ranges):
    return {(x, y, z) for x in ranges[0] for y in ranges[1] for z in ranges[2]}


def test_a_token_reaches_its_window_alone(attention):
    assert reach(attention, (6, 4, 8), False, (4, 1, 0)) == block(range(3, 6), range(2), range(4))


def test_shifted_windows_do_not_join_opposite_borders(attention):
    assert reach(attention, (6, 4, 8), True, (0, 0, 0)) == block(range(1), range(1), range(2))
    assert reach(attention, (6, 4, 8), True, (4, 1, 0)) == block(range(4, 6), range(1, 3), range(2))
    assert reach(attention, (6, 4, 8), True, (2, 1, 3)) == block(range(1, 4), range(1, 3), range(2, 6))


def test_padding_is_not_seen(attention):
    tokens, window = tokens_of((5, 2, 4)), (3, 2, 4)
    with torch.no_grad():
        whole = attention(tokens, Windows.of((5, 2, 4), window, False, CPU), None)
        # The second window holds two of three rows: it is that of a map of two rows.
        rest = attention(tokens[:, 3:], Windows.of((2, 2, 4), window, False, CPU), None)
    torch.testing.assert_close(whole[:, 3:], rest)


def test_a_smaller_window_has_the_biases_of_its_offsets():
    small, large = relative_index((2, 1, 3), (3, 2, 4)), relative_index((3, 2, 4), (3, 2, 4))
    inside = [x * 8 + z for x in range(2) for z in range(3)]
    assert torch.equal(small, large[inside][:, inside])


def test_merging_takes_every_neighbor_once():
    merging = PatchMerging(1)
    torch.nn.init.ones_(merging.reduction.weight)
    merging.norm = torch.nn.Identity()
    tokens = torch.arange(64.0).view(1, 4, 4, 4, 1)
    sums = merging(tokens)
    expected = torch.nn.functional.avg_pool3d(tokens.movedim(-1, 1), 2).movedim(1, -1) * 8
    torch.testing.assert_close(sums, expected.expand(-1, -1, -1, -1, 2))
