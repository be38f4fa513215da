"""The discrete search over displacements of blocks."""

import dataclasses

import numpy as np
import pytest
import torch

from SPRCore import UniformPrior
from SPRCore.errors import InputError
from SPRCore.functional import gaussian_smooth, integrate, resize_displacement
from SPRCore.geometry import Volume
from SPRCore.io import write_volume
from SPRCore.registration.instance import InstanceConfig, InstanceProblem, register_instance
from SPRCore.registration.level import completed
from SPRCore.registration.search import STAGES, best_displacement, block_costs, searched_velocity, smoothed

UNIT = (1.0, 1.0, 1.0)


def texture(shape, seed=0):
    noise = torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    image = gaussian_smooth(noise, (2.0,) * 3)
    return (image - image.min()) / (image.max() - image.min())


def slipped(shift, shape=(48, 48, 36)):
    """A fixed and a moving image whose lower half lies `shift` voxels further along Y, and the true displacement."""
    moving = texture(shape)
    truth = torch.zeros((1, 3, *shape))
    truth[:, 1, shape[0] // 2 :] = shift
    fixed = moving.clone()
    fixed[:, :, shape[0] // 2 :] = torch.roll(moving, -shift, dims=3)[:, :, shape[0] // 2 :]
    return fixed, moving, truth


def test_costs_are_the_mean_squared_differences_of_shifted_descriptors():
    a, b = (torch.rand((1, 12, 7, 6, 5), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    costs = block_costs(a, b, (1, 2, 0))
    assert costs.shape == (3, 5, 1, 7, 6, 5)
    for x, y, dx, dy in ((3, 3, -1, 2), (2, 2, 1, -2), (4, 3, 0, 0)):
        expected = (a[0, :, x, y, 2] - b[0, :, x + dx, y + dy, 2]).square().mean()
        torch.testing.assert_close(costs[dx + 1, dy + 2, 0, x, y, 2], expected)


def test_blocks_without_data_neither_draw_nor_repel():
    a, b = (torch.rand((1, 12, 6, 6, 6), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    share = torch.zeros((1, 1, 6, 6, 6))
    costs = block_costs(a, b, (1, 1, 1), moving_share=share)
    torch.testing.assert_close(costs, costs[:1, :1, :1].expand_as(costs))
    assert not block_costs(a, b, (1, 1, 1), fixed_share=share).any()


def test_the_best_displacement_is_that_of_an_exhaustive_comparison():
    generator = torch.Generator().manual_seed(0)
    costs, field = (
        torch.rand((3, 5, 3, 4, 3, 2), generator=generator),
        torch.randn((1, 3, 4, 3, 2), generator=generator),
    )
    spacing, coupling = (1.0, 1.5, 2.0), 4.0
    found = best_displacement(costs, field, spacing, coupling)
    for block in np.ndindex(4, 3, 2):
        options = {}
        for index in np.ndindex(3, 5, 3):
            d = torch.tensor([(i - k // 2) * s for i, k, s in zip(index, (3, 5, 3), spacing, strict=True)])
            options[tuple(d.tolist())] = float(
                costs[(*index, *block)] + (d - field[(0, slice(None), *block)]).square().sum() / 8
            )
        assert tuple(found[(0, slice(None), *block)].tolist()) == min(options, key=options.get)


def test_smoothing_keeps_a_constant_and_calms_noise():
    constant = torch.ones((1, 3, 8, 8, 8)) * torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1, 1)
    torch.testing.assert_close(smoothed(constant, constant, UNIT, 10.0), constant)
    noise = torch.randn((1, 3, 8, 8, 8), generator=torch.Generator().manual_seed(0))
    assert smoothed(noise, torch.zeros_like(noise), UNIT, 10.0).std() < 0.7 * noise.std()


@pytest.mark.parametrize("spacing", [UNIT, (2.0, 2.0, 2.0)])
def test_a_slip_of_nine_voxels_is_found_on_both_sides(spacing):
    fixed, moving, _ = slipped(9)
    velocity = completed(searched_velocity(fixed, moving, spacing))
    steps = torch.tensor(
        [s * (n - 1) / (m - 1) for s, n, m in zip(spacing, fixed.shape[2:], velocity.shape[2:], strict=True)]
    )
    found = resize_displacement(integrate(velocity / steps.view(1, 3, 1, 1, 1)), fixed.shape[2:])
    deep = [found[0, 1, 4:16, 12:32, 8:28], found[0, 1, 32:44, 12:32, 8:28]]
    assert abs(float(deep[0].median())) < 1.0
    assert abs(float(deep[1].median()) - 9.0) < 1.0


def test_the_search_is_the_start_of_a_registration_and_runs_once_for_all_settings(monkeypatch):
    import SPRCore.registration.instance as instance

    calls, search = [], instance.searched_velocity
    monkeypatch.setattr(instance, "searched_velocity", lambda *a: calls.append(1) or search(*a))
    fixed, moving, truth = slipped(9)
    config = dataclasses.replace(InstanceConfig.searching(), steps=(0, 0, 3))
    problem = InstanceProblem.of(fixed, moving, UNIT, config)
    errors = {}
    for strength in (0.3, 1.0):
        found = problem.stiffened(None).course(UniformPrior(strength=strength)).completed().displacement_vox
        errors[strength] = float((found - truth)[:, :, 6:-6, 10:-14].norm(dim=1).mean())
    rest = register_instance(fixed, moving, UNIT, UniformPrior(strength=0.3)).displacement_vox
    assert len(calls) == 1
    assert errors[0.3] < 0.6 * float((rest - truth)[:, :, 6:-6, 10:-14].norm(dim=1).mean())


def test_a_given_start_is_not_searched_for(monkeypatch):
    import SPRCore.registration.instance as instance

    monkeypatch.setattr(instance, "searched_velocity", lambda *a: pytest.fail("searched"))
    image = texture((16, 16, 16))
    start = torch.zeros((1, 3, 4, 4, 4))
    config = InstanceConfig(steps=(1,), search=True)
    found = InstanceProblem.of(image, image, UNIT, config).course(UniformPrior(), start).completed()
    assert found.displacement_vox.abs().max() < 0.1


def test_the_search_is_the_same_each_time_and_on_thin_images():
    fixed, moving, _ = slipped(4, (32, 32, 3))
    first, second = (completed(searched_velocity(fixed, moving, (1.0, 1.0, 5.0), stages=STAGES)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.isfinite().all()


def test_a_model_is_not_searched_for_from_the_command_line(tmp_path):
    from SPRCore.cli.register import Register

    image = tmp_path / "image.nii.gz"
    write_volume(Volume(np.random.default_rng(0).random((8, 8, 8)), np.eye(4)), image)
    verb = Register(fixed=image, moving=image, out=tmp_path / "out", method="general-hyper-spr", start="search")
    with pytest.raises(InputError, match="--start"):
        verb.run("spr register")
