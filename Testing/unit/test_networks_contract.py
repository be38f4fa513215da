"""What every registered network keeps to."""

from __future__ import annotations

import copy
import dataclasses
import io

import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.functional import integrate
from SPRCore.networks import NetworkConfig, build, list_models, parameter_count
from SPRCore.networks.blocks import upsample
from SPRCore.networks.network import enlarged

ODD = (17, 20, 16)
# Published widths are slow on one core. What they are made of is tested at small ones, and each runs once as it is.
SLIM = {"encoder": (4, 8, 8, 8, 8), "decoder": (8, 8, 8, 8), "embed": 16, "depths": (2, 2, 1), "heads": (2, 2, 4)}
SLIM |= {"features": 4, "time_steps": 2, "weight_width": 8, "drop_path": 0.0}


@pytest.fixture(scope="module", params=list_models())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    """In evaluation mode, with last layers that are no longer near zero."""
    torch.manual_seed(0)
    network = build(name, **SLIM).eval()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if 0 < parameter.abs().max() < 1e-3:
                rows = network.config.hidden if "rows" in key else 1
                parameter.normal_(std=0.02 / rows**0.5)  # flows of some tenths of a voxel
    return network


@pytest.fixture(scope="module")
def expected(network, pair):
    """What the network says of the pair."""
    with torch.no_grad():
        return fields(network(*pair, codes_of(network)))


@pytest.fixture(scope="module")
def pair(random_image):
    return [random_image(ODD, seed, dtype=torch.float32) for seed in (0, 1)]


def codes_of(network, batch=1, value=0.3):
    return torch.full((batch, network.config.codes), value) if network.config.codes else None


def fields(output):
    named = vars(output)
    return {name: value for name, value in named.items() if value is not None}


@torch.no_grad()
def test_a_fresh_network_is_the_identity(name, pair):
    torch.manual_seed(0)
    fresh = build(name).eval()
    output = fresh(*pair, codes_of(fresh))
    assert output.displacement.shape == (1, 3, *ODD)
    assert output.displacement.abs().max() < 0.01
    if output.weight is not None:
        middle = {"beta": 0.5, "tv": 0.5, "gaussian": 1.0}[fresh.config.weight]
        torch.testing.assert_close(output.weight, torch.full_like(output.weight, middle), atol=0.01, rtol=0)


def test_fields_lie_on_the_grid_that_was_given(network, expected):
    for name, value in expected.items():
        assert value.shape == (1, 1 if name == "weight" else 3, *ODD), name
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    assert ("weight" in expected) == (network.config.weight is not None)
    assert ("velocity" in expected) == ("inverse_displacement" in expected) == network.config.integrate
    assert 0.01 < expected["displacement"].abs().max() < 10


@torch.no_grad()
def test_the_displacement_is_the_integral_of_the_velocity(network, random_image):
    if not network.config.integrate:
        pytest.skip("predicts a displacement")
    whole = copy.deepcopy(network)
    whole.config = dataclasses.replace(network.config, half_resolution=False)  # upsampling comes after integration
    output = whole(*[random_image((16, 16, 16), seed, dtype=torch.float32) for seed in (0, 1)], codes_of(network))
    torch.testing.assert_close(output.displacement, integrate(output.velocity))
    torch.testing.assert_close(output.inverse_displacement, integrate(-output.velocity))


@torch.no_grad()
def test_a_batch_gives_what_its_members_give(network, pair, expected, random_image):
    other = [random_image(ODD, seed, dtype=torch.float32) for seed in (5, 6)]
    codes = [codes_of(network), codes_of(network, value=0.9)]
    both = [torch.cat(images) for images in zip(pair, other, strict=True)]
    together = fields(network(*both, None if codes[0] is None else torch.cat(codes)))
    for index, single in enumerate((expected, fields(network(*other, codes[1])))):
        for name, value in single.items():
            torch.testing.assert_close(together[name][index : index + 1], value, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_encoding_and_decoding_are_the_forward_pass(network, pair, expected):
    parts = fields(network.decode(network.encode(*pair), codes_of(network)))
    assert all(torch.equal(expected[name], parts[name]) for name in expected)


@torch.no_grad()
def test_one_pair_can_be_decoded_for_several_codes(network, pair, expected):
    if not network.config.codes:
        pytest.skip("has no codes")
    codes = torch.cat([codes_of(network, value=0.8), codes_of(network)])
    several = fields(network.decode(network.encode(*pair), codes))
    for name, value in expected.items():
        torch.testing.assert_close(several[name][1:], value, atol=2e-4, rtol=1e-3)


def test_every_parameter_gets_a_gradient(network, random_image):
    training = copy.deepcopy(network).train()
    # So long that attention has two tokens even at the coarsest level.
    images = [random_image((64, 32, 32), seed, dtype=torch.float32) for seed in (0, 1)]
    output = training(*images, codes_of(network))
    generator = torch.Generator().manual_seed(2)
    # Random cotangents: a plain sum has no gradient through what a normalization removes.
    sum((torch.randn(v.shape, generator=generator) * v).sum() for v in fields(output).values()).backward()
    silent = [name for name, p in training.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not silent


@torch.no_grad()
def test_a_saved_network_is_the_same_network(network, pair, expected):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = build(NetworkConfig.from_dict(network.config.to_dict())).eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again(*pair, codes_of(network)).displacement, expected["displacement"])


def test_no_grid_is_in_the_state(network):
    others = set(network.state_dict()) - {name for name, _ in network.named_parameters()}
    assert all("norm" in name for name in others)


def test_parameters_are_counted_without_memory(network):
    assert parameter_count(network.config) == sum(p.numel() for p in network.parameters())


@torch.no_grad()
def test_fields_stay_float32_under_autocast(network, pair, expected):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = fields(network(*pair, codes_of(network)))
    for name, value in output.items():
        assert value.dtype == torch.float32
        assert (value - expected[name]).abs().max() < 0.05 * expected[name].abs().max() + 0.02


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 1, 15, 20, 16), (1, 1, 15, 20, 16)), "16 or more"),
        (((1, 2, 16, 16, 16), (1, 2, 16, 16, 16)), r"\(B, 1, X, Y, Z\)"),
        (((1, 1, 16, 16), (1, 1, 16, 16)), r"\(B, 1, X, Y, Z\)"),
        (((1, 1, 16, 16, 16), (1, 1, 16, 16, 17)), "that of the fixed"),
    ],
)
def test_images_that_do_not_fit_are_refused(network, shapes, message):
    with pytest.raises(InputError, match=message):
        network(*[torch.zeros(shape) for shape in shapes], codes_of(network))


def test_whole_numbers_are_refused(network, pair):
    with pytest.raises(InputError, match=r"torch\.int64"):
        network.encode(pair[0].long(), pair[1].long())


def test_a_wrong_code_is_refused(network, pair):
    right = codes_of(network)
    wrong = [torch.zeros(1, 3)] if right is None else [None, right[0], torch.zeros(1, 3), right + 1, right * torch.nan]
    features = network.encode(*pair)
    for code in wrong:
        with pytest.raises(InputError, match="code"):
            network.decode(features, code)


@pytest.mark.gpu
@torch.no_grad()
def test_a_gpu_gives_what_the_cpu_gives(network, pair, expected):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    code = codes_of(network)
    moved = copy.deepcopy(network).cuda()
    found = fields(moved(*[image.cuda() for image in pair], None if code is None else code.cuda()))
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, atol=5e-3, rtol=5e-3)


@torch.no_grad()
def test_the_inverse_can_be_left_out(network, pair, expected):
    part = fields(network(*pair, codes_of(network), inverse=False))
    assert part.keys() == expected.keys() - {"inverse_displacement"}
    assert all(torch.equal(part[key], expected[key]) for key in part)


@torch.no_grad()
def test_the_velocity_can_be_left_out(network, pair, expected):
    part = fields(network.decode(network.encode(*pair), codes_of(network), velocity=False))
    assert part.keys() == expected.keys() - {"velocity"}
    assert all(torch.equal(part[key], expected[key]) for key in part)


@pytest.mark.parametrize(("factor", "size"), [(1, 17), (2, 16), (2, 17), (2, 31), (4, 18), (4, 29), (4, 32)])
def test_enlarging_what_is_needed_gives_the_same_as_enlarging_all(factor, size):
    image = torch.randn(1, 2, *[32 // factor] * 3)
    shape = (size, size, 32)
    whole = upsample(image, factor)[:, :, :size, :size]
    assert torch.equal(enlarged(image, factor, shape), whole)


@torch.no_grad()
def test_every_channel_of_both_images_counts(name, random_image):
    torch.manual_seed(0)
    network = build(name, **SLIM, channels=2).eval()
    for key, parameter in network.named_parameters():
        if 0 < parameter.abs().max() < 1e-3:
            parameter.normal_(std=0.02 / (network.config.hidden if "rows" in key else 1) ** 0.5)
    images = torch.cat([random_image(ODD, seed, dtype=torch.float32) for seed in range(4)], dim=1)
    codes = codes_of(network)
    whole = network(images[:, :2], images[:, 2:], codes).displacement
    for channel in range(4):
        images_without = images.clone()
        images_without[:, channel] = 0.5
        part = network(images_without[:, :2], images_without[:, 2:], codes).displacement
        assert float((whole - part).abs().max()) > 1e-4
    with pytest.raises(InputError, match=r"\(B, 2, X, Y, Z\)"):
        network(images[:, :1], images[:, 1:2], codes)
