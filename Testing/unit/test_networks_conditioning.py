"""Networks that answer to a code: how many parameters and operations that costs, and that they answer smoothly."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from SPRCore.networks import build, parameter_count
from SPRCore.networks.conditioning import CodeEmbedding

KINDS = ("film", "lora", "full")
SIZES = {"embed": 16, "depths": (2, 1), "heads": (2, 2), "window": (2, 2, 2), "features": 4, "time_steps": 2}
SIZES |= {"encoder": (4, 8, 8), "decoder": (8, 4), "weight": "beta", "weight_width": 4, "codes": 2, "hidden": 8}
SIZES |= {"drop_path": 0.0, "half_resolution": False, "rank": 2}
PRESETS = ("voxelmorph-spr", "transmorph", "tm-spr")


@pytest.fixture(scope="module", params=[(name, kind) for name in PRESETS for kind in KINDS], ids="-".join)
def network(request):
    """Small, in double precision, with last layers that are no longer near zero."""
    torch.manual_seed(0)
    name, kind = request.param
    network = build(name, conditioning=kind, **SIZES).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if 0 < parameter.abs().max() < 1e-3:
                parameter.normal_(std=0.05)
    return network


@pytest.fixture(scope="module")
def pair(random_image):
    return [random_image((16, 16, 16), seed) for seed in (0, 1)]


@torch.no_grad()
def test_a_small_change_of_the_code_is_a_small_change_of_the_fields(network, pair):
    features = network.encode(*pair)
    start = torch.tensor([[0.0, 1.0], [0.3, 0.8], [0.9, 0.1]], dtype=torch.float64)
    # To the corner beyond the middle, so that steps of up to 0.2 stay inside.
    direction = torch.where(start < 0.5, 1.0, -1.0).to(start)
    slopes = {"displacement": [], "weight": []}
    at = network.decode(features, start)
    for step in (0.2, 0.02, 0.002):
        moved = network.decode(features, start + step * direction)
        for name, values in slopes.items():
            values.append(float((getattr(moved, name) - getattr(at, name)).abs().amax()) / step)
    for values in slopes.values():
        assert values[2] > 1e-4, "the code has no effect"
        assert values[1] == pytest.approx(values[2], rel=0.2)
        assert values[0] < 3 * values[2]


def test_every_parameter_gets_a_gradient(network, pair):
    images = [torch.cat([image, image], dim=2) for image in pair]
    network.zero_grad()
    output = network(*images, torch.tensor([[0.2, 0.7]], dtype=torch.float64))
    generator = torch.Generator().manual_seed(2)
    values = [output.displacement, output.weight]
    sum((torch.randn(v.shape, generator=generator, dtype=v.dtype) * v).sum() for v in values).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


@torch.no_grad()
def test_each_pair_of_a_batch_has_its_own_code(network, pair):
    codes = torch.tensor([[0.2, 0.7], [0.9, 0.1]], dtype=torch.float64)
    together = network(*[torch.cat([image, image.flip(2)]) for image in pair], codes)
    for index, images in enumerate((pair, [image.flip(2) for image in pair])):
        single = network(*images, codes[index : index + 1])
        torch.testing.assert_close(together.displacement[index], single.displacement[0])
        torch.testing.assert_close(together.weight[index], single.weight[0])


@pytest.mark.parametrize("kind", ["film", "lora"])
def test_conditioning_is_nearly_free_of_parameters(kind):
    assert parameter_count("hyper-tm-spr", conditioning=kind) <= 1.1 * parameter_count("tm-spr")
    assert parameter_count("hyper-vxm-spr", conditioning=kind) <= 1.1 * parameter_count("voxelmorph-spr")


def test_the_published_hypernetwork_has_its_published_size():
    # 1611.8 M, counted on the author's module; it also has rows for biases that a normalization removes.
    assert parameter_count("hyper-tm-spr", conditioning="full", hidden=96) == pytest.approx(1611.8e6, rel=2e-3)


@pytest.mark.parametrize("kind", ["film", "lora"])
@pytest.mark.parametrize("shape", [(160, 192, 224), (128, 128, 32)])
@torch.no_grad()
def test_a_new_code_costs_less_than_half_a_forward_pass(kind, shape):
    with torch.device("meta"):
        network = build("hyper-tm-spr", conditioning=kind).eval()
        image, code = torch.empty(1, 1, *shape), torch.empty(1, 2)
        with FlopCounterMode(display=False) as whole:
            features = network.encode(image, image)
            with FlopCounterMode(display=False) as again:
                network.decode(features, code)
    assert 0 < again.get_total_flops() <= 0.5 * whole.get_total_flops()


@torch.no_grad()
def test_the_embedding_is_of_one_size_for_every_code():
    torch.manual_seed(0)
    grid = torch.cartesian_prod(*[torch.linspace(0.0, 1.0, 11)] * 2)
    embedded = torch.stack([CodeEmbedding(2, 64)(grid).square().mean(dim=1) for _ in range(8)])
    assert 0.3 < embedded.mean() < 1.2
    assert (embedded.amax(dim=1) / embedded.amin(dim=1)).median() < 3
