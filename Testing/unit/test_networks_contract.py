"""What every registered network keeps to."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.functional import integrate
from SPRCore.networks import NetworkConfig, build, list_models, parameter_count

ODD = (17, 20, 16)


@pytest.fixture(scope="module", params=list_models())
def fresh(request):
    torch.manual_seed(0)
    return build(request.param)


@pytest.fixture(scope="module")
def network(fresh):
    """In evaluation mode, with last layers that are no longer near zero."""
    network = copy.deepcopy(fresh).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Scalars of the weights that a fresh network keeps near zero; 0.02 gives flows of some tenths of a voxel.
            if 0 < parameter.abs().max() < 1e-3:
                rows = network.config.hidden if "rows" in name else 1
                parameter.normal_(std=0.02 / rows**0.5, generator=generator)
    return network


@pytest.fixture(scope="module")
def pair(random_image):
    return [random_image(ODD, seed, dtype=torch.float32) for seed in (0, 1)]


def codes_of(network, batch=1, value=0.3):
    return torch.full((batch, network.config.codes), value) if network.config.codes else None


def fields(output):
    named = vars(output)
    return {name: value for name, value in named.items() if value is not None}


@torch.no_grad()
def test_a_fresh_network_is_the_identity(fresh, pair):
    output = copy.deepcopy(fresh).eval()(*pair, codes_of(fresh))
    assert output.displacement.abs().max() < 0.01
    if output.weight is not None:
        middle = {"beta": 0.5, "gaussian": 1.0}[fresh.config.weight]
        torch.testing.assert_close(output.weight, torch.full_like(output.weight, middle), atol=0.01, rtol=0)


@torch.no_grad()
def test_fields_lie_on_the_grid_that_was_given(network, pair):
    output = network(*pair, codes_of(network))
    for name, value in fields(output).items():
        assert value.shape == (1, 1 if name == "weight" else 3, *ODD), name
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    assert (output.weight is None) == (network.config.weight is None)
    assert (output.velocity is None) == (output.inverse_displacement is None) == (not network.config.integrate)
    assert 0.01 < output.displacement.abs().max() < 10


@torch.no_grad()
def test_the_displacement_is_the_integral_of_the_velocity(network, pair):
    output = network(*pair, codes_of(network))
    if output.velocity is None:
        pytest.skip("predicts a displacement")
    # On a pooled grid integration and upsampling change places, which they may up to interpolation.
    tolerance = 0.15 * float(output.velocity.abs().max()) if network.config.half_resolution else 1e-5
    inside = (slice(None), slice(None), *[slice(2, 14)] * 3)
    for field, velocity in (
        (output.displacement, output.velocity),
        (output.inverse_displacement, -output.velocity),
    ):
        torch.testing.assert_close(field[inside], integrate(velocity)[inside], atol=tolerance, rtol=0)


@torch.no_grad()
def test_a_batch_gives_what_its_members_give(network, pair, random_image):
    other = [random_image(ODD, seed, dtype=torch.float32) for seed in (5, 6)]
    codes = [codes_of(network, value=value) for value in (0.2, 0.9)]
    both = [torch.cat(images) for images in zip(pair, other, strict=True)]
    together = fields(network(*both, None if codes[0] is None else torch.cat(codes)))
    for index, (images, code) in enumerate(zip((pair, other), codes, strict=True)):
        for name, value in fields(network(*images, code)).items():
            torch.testing.assert_close(together[name][index : index + 1], value, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_the_same_input_gives_the_same_output(network, pair):
    first, second = (fields(network(*pair, codes_of(network))) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def test_encoding_and_decoding_are_the_forward_pass(network, pair):
    features = network.encode(*pair)
    values = (0.1, 0.8) if network.config.codes else (0.0,)
    for value in values:
        code = codes_of(network, value=value)
        whole, parts = fields(network(*pair, code)), fields(network.decode(features, code))
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
    if len(values) > 1:
        several = network.decode(features, torch.cat([codes_of(network, value=value) for value in values]))
        torch.testing.assert_close(several.displacement[1:], parts["displacement"], atol=2e-4, rtol=1e-3)


def test_every_parameter_gets_a_gradient(network, pair):
    training = copy.deepcopy(network).train()
    output = training(*pair, codes_of(network))
    generator = torch.Generator().manual_seed(2)
    # Random cotangents: a plain sum has no gradient through what a normalization removes.
    sum((torch.randn(v.shape, generator=generator) * v).sum() for v in fields(output).values()).backward()
    silent = [name for name, p in training.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not silent


@torch.no_grad()
def test_a_saved_network_is_the_same_network(network, pair):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = build(NetworkConfig.from_dict(network.config.to_dict())).eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    code = codes_of(network)
    assert torch.equal(again(*pair, code).displacement, network(*pair, code).displacement)


def test_no_grid_is_in_the_state(network):
    parameters = {name for name, _ in network.named_parameters()}
    others = set(network.state_dict()) - parameters
    assert all("norm" in name for name in others)


def test_parameters_are_counted_without_memory(network):
    assert parameter_count(network.config) == sum(p.numel() for p in network.parameters())


@torch.no_grad()
def test_fields_stay_float32_under_autocast(network, pair):
    exact = fields(network(*pair, codes_of(network)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = fields(network(*pair, codes_of(network)))
    for name, value in output.items():
        assert value.dtype == torch.float32
        assert (value - exact[name]).abs().max() < 0.05 * exact[name].abs().max() + 0.02


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


def test_a_wrong_code_is_refused(network, pair):
    right = codes_of(network)
    wrong = [torch.zeros(1, 3)] if right is None else [None, right[0], torch.zeros(1, 3), right + 1, right * torch.nan]
    features = network.encode(*pair)
    for code in wrong:
        with pytest.raises(InputError, match="code"):
            network.decode(features, code)


@pytest.mark.gpu
@torch.no_grad()
def test_a_gpu_gives_what_the_cpu_gives(network, pair):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    code = codes_of(network)
    expected = fields(network(*pair, code))
    moved = copy.deepcopy(network).cuda()
    found = fields(moved(*[image.cuda() for image in pair], None if code is None else code.cuda()))
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, atol=5e-3, rtol=5e-3)
