"""The table of presets in docs/reference/networks.md agrees with the code."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from SPRCore.networks import build, list_models, parameter_count


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "reference" / "networks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(page):
    found = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page, flags=re.MULTILINE)
    return {name: [float(figure) for figure in figures] for name, *figures in found}


def test_every_preset_has_a_row(rows):
    assert sorted(rows) == list(list_models())


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_figures_of_a_preset(rows, name):
    with torch.device("meta"):
        network, image = build(name).eval(), torch.empty(1, 1, 128, 128, 32)
        code = torch.empty(1, network.config.codes) if network.config.codes else None
        with FlopCounterMode(display=False) as whole:
            features = network.encode(image, image)
            with FlopCounterMode(display=False) as again:
                network.decode(features, code)
    parameters, small, _, part = rows[name]
    assert parameters == pytest.approx(parameter_count(name) / 1e6, abs=0.006)
    assert small == pytest.approx(whole.get_total_flops() / 1e9, abs=0.06)
    assert part == pytest.approx(again.get_total_flops() / whole.get_total_flops(), abs=0.006)


@pytest.mark.parametrize("kind", ["film", "lora", "full"])
def test_parameters_of_the_kinds_of_conditioning(page, kind):
    stated = float(re.search(rf"^\| `{kind}` \|.*\| ([\d.]+) \|$", page, flags=re.MULTILINE)[1])
    options = {"hidden": 96} if kind == "full" else {}
    assert stated == pytest.approx(parameter_count("hyper-tm-spr", conditioning=kind, **options) / 1e6, abs=0.006)
