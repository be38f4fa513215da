"""Checkpoints in the author's formats: parity where the reference cases are at hand, round trips, refusals."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.functional import warp
from SPRCore.networks import NetworkConfig, build
from SPRCore.networks.reference_checkpoints import import_checkpoint
from SPRCore.networks.sampling import true_displacement

as_author = runpy.run_path(str(Path(__file__).parents[1] / "golden" / "make_networks.py"))["as_author"]
CASES = ("mir_tm_spr", "mir_transmorph_tvf", "paper_repo_tm_spr", "paper_repo_transmorph_tvf")
TINY = NetworkConfig(
    architecture="transmorph_tvf",
    embed=8,
    depths=(1, 2, 1),
    heads=(1, 2, 4),
    window=(3, 2, 2),
    features=4,
    time_steps=2,
)
FORMATS = {
    "mir_tm_spr": {"weight": "beta", "weight_width": 6, "sampling": "half_voxel"},
    "mir_tvf": {"norm": "batch", "integrate": False, "sampling": "half_voxel"},
    "mir_transmorph": {"architecture": "transmorph", "time_steps": 1, "sampling": "half_voxel"},
    "paper_tm_spr": {"weight": "beta", "norm": "batch", "composition": "addition", "sampling": "zeros"},
    "paper_tvf": {"composition": "addition", "sampling": "zeros", "channels": 2},
}


def loaded(path, **options):
    config, tensors = import_checkpoint(path, **options)
    network = build(config).eval()
    network.load_state_dict(tensors)
    return network


@pytest.fixture(scope="module", params=CASES)
def case(request, repository):
    folder = repository.parent / "shared" / "reference" / "parity" / request.param
    if not folder.is_dir():
        pytest.skip("../shared/reference is absent: the author's formats are not part of the repository")
    with np.load(folder / "io.npz") as file:
        values = {name: torch.from_numpy(file[name]) for name in file.files}
    return folder / "checkpoint.pth.tar", values, json.loads((folder / "meta.json").read_text())


def twice(image):
    for axis in (2, 3, 4):
        image = image.repeat_interleave(2, dim=axis)
    return image


@pytest.mark.slow
@torch.no_grad()
def test_the_author_s_outputs_are_reproduced(case):
    path, values, meta = case
    network = loaded(path)
    output = network(values["moving"], values["fixed"])
    for name in set(values) - {"moving", "fixed"}:
        if values[name].shape[2:] == values["fixed"].shape[2:]:
            torch.testing.assert_close(getattr(output, name), values[name], atol=1e-4, rtol=0)
    assert [*network.config.window] == meta["window_size"]
    assert network.config.time_steps == meta["time_steps"]
    assert network.config.integrate == meta["SVF"]


@pytest.mark.slow
@torch.no_grad()
def test_the_weight_of_the_paper_s_repository_is_reproduced(case):
    path, values, _ = case
    if "weight" not in values or values["weight"].shape == values["moving"].shape:
        pytest.skip("no weight on a finer grid than the images'")
    # It is enlarged before the sigmoid to the grid before pooling. Doubled images are the inputs once they are pooled.
    weight = loaded(path, half_resolution=True)(twice(values["moving"]), twice(values["fixed"])).weight
    torch.testing.assert_close(weight, values["weight"], atol=1e-4, rtol=0)


def mir_warp(image, displacement):
    """The sampler of MIR, written out: divided as for aligned corners, sampled as without."""
    ticks = torch.meshgrid([torch.arange(float(size)) for size in image.shape[2:]], indexing="ij")
    sizes = torch.tensor(image.shape[2:]).view(1, 3, 1, 1, 1)
    grid = 2 * ((torch.stack(ticks)[None] + displacement) / (sizes - 1) - 0.5)
    return torch.nn.functional.grid_sample(image, grid.permute(0, 2, 3, 4, 1).flip(-1), align_corners=False)


def test_the_half_voxel_sampler_is_understood(random_image, random_displacement):
    image, displacement = random_image((7, 8, 9)), random_displacement((7, 8, 9), length=3.0)
    found = warp(image, true_displacement(displacement), padding="zeros")
    torch.testing.assert_close(found, mir_warp(image, displacement))


@pytest.mark.parametrize("name", ["mir_tm_spr", "paper_tm_spr"])
@torch.no_grad()
def test_the_author_s_pipeline_ends_on_the_full_grid(name, saved, random_image):
    tensors = as_author(build(TINY, **FORMATS[name]))
    tensors["reg_heads.1.0.bias"] += torch.tensor([0.5, -0.3, 1.2])
    path, images = saved(tensors), [random_image((16, 32, 16), seed, dtype=torch.float32) for seed in (0, 1)]
    pooled = loaded(path)(*images).displacement
    enlarged = torch.nn.functional.interpolate(pooled, scale_factor=2, mode="trilinear") * 2
    full = [twice(image) for image in images]
    warped = mir_warp(full[0], enlarged) if name == "mir_tm_spr" else warp(full[0], enlarged, padding="zeros")
    output = loaded(path, half_resolution=True)(*full)
    torch.testing.assert_close(warp(full[0], output.displacement, padding="zeros"), warped, atol=1e-4, rtol=0)


@pytest.fixture
def saved(tmp_path):
    def save(tensors, **more):
        path = tmp_path / "model.pth.tar"
        torch.save({"epoch": 3, "state_dict": tensors, "best_dsc": np.float64(0.7), **more}, path)
        return path

    return save


@pytest.mark.parametrize("name", FORMATS)
def test_sizes_are_read_off_the_tensors(name, saved):
    network = build(TINY, **FORMATS[name])
    config, tensors = import_checkpoint(saved(as_author(network)))
    expected = dataclasses.replace(
        network.config, weight_width=network.config.weight_width if network.config.weight else 1, weight_stride=1
    )
    assert config == expected
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(tensors[key], value) for key, value in network.state_dict().items())


def test_what_no_tensor_tells_can_be_said(saved):
    path = saved(as_author(build(TINY)))
    config, _ = import_checkpoint(path, composition="composition", integrate=False, half_resolution=True)
    assert (config.composition, config.integrate, config.half_resolution) == ("composition", False, True)
    with pytest.raises(InputError, match="composition"):
        import_checkpoint(path, composition="sum")


@pytest.mark.parametrize(("grid", "integrates"), [("vec_int.transformer.grid", True), ("spatial_trans.grid", False)])
def test_the_grid_of_an_integration_tells_that_there_is_one(saved, grid, integrates):
    config, _ = import_checkpoint(saved({**as_author(build(TINY)), grid: torch.zeros(1, 3, 2, 2, 2)}))
    assert config.integrate == integrates


def test_a_thin_window_is_told_by_the_grid(saved):
    tensors = as_author(build(TINY, window=(2, 2, 1)))
    with pytest.raises(InputError, match=r"spatial_trans\.grid"):
        import_checkpoint(saved(tensors))
    config, _ = import_checkpoint(saved({**tensors, "spatial_trans.grid": torch.zeros(1, 3, 64, 64, 32)}))
    assert config.window == (2, 2, 1)


def changed(tensors, name, tensor):
    return {
        key: tensor if key == name else value for key, value in tensors.items() if key != name or tensor is not None
    }


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("transformer.patch_embed.proj.weight", None),
        ("transformer.layers.1.blocks.1.attn.qkv.weight", None),
        ("transformer.layers.0.blocks.0.attn.relative_position_index", None),
        ("transformer.layers.0.blocks.0.attn.relative_position_index", torch.zeros(12, 12, dtype=torch.long)),
        ("up1.conv1.0.weight", torch.zeros(8, 9, 3, 3, 3)),
        ("up3s.1.conv1.0.weight", torch.zeros(4, 7, 3, 3, 3)),
        ("reg_heads.0.0.weight", torch.zeros(3, 4)),
        ("cs.0.0.weight", torch.zeros(4, 3, 3, 3, 3)),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(saved, name, tensor):
    path = saved(changed(as_author(build(TINY)), name, tensor))
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        import_checkpoint(path)


def test_a_tensor_too_many_is_named(saved):
    path = saved({**as_author(build(TINY)), "segmentation.weight": torch.zeros(3)})
    with pytest.raises(InputError, match=r"segmentation\.weight"):
        import_checkpoint(path)


def test_sizes_beyond_reason_are_refused_before_anything_is_allocated(saved):
    tensors = as_author(build(TINY))
    tensors["transformer.patch_embed.proj.weight"] = torch.zeros(1).expand(2**20, 2, 4, 4, 4)
    with pytest.raises(InputError, match="embed"):
        import_checkpoint(saved(tensors))


class _Command:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(saved, capsys):
    path = saved(as_author(build(TINY)), optimizer=_Command())
    with pytest.raises(InputError, match="cannot be read safely"):
        import_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a pickle", {"weights": 1}, [1, 2], {"state_dict": {"a": 3}}])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "other.pth.tar"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError) as caught:
        import_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        import_checkpoint(tmp_path / "none.pth.tar")
