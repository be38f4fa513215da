"""The configuration of networks: bounds, strictness, JSON, and names of presets."""

from __future__ import annotations

import json

import pytest

from SPRCore.errors import InputError
from SPRCore.networks import NetworkConfig, build, list_models, parameter_count, preset


@pytest.mark.parametrize("name", list_models())
def test_json_keeps_a_configuration(name):
    config = preset(name)
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"embed": 1_000_000}, "embed.*8 to 384"),
        ({"embed": 33}, "even"),
        ({"embed": 96.0}, "embed.*integer"),
        ({"time_steps": True}, "time_steps.*integer"),
        ({"heads": (8, 8)}, "heads.*3 as in depths"),
        ({"heads": (8, 8, 7)}, "divisor"),
        ({"depths": (4, 4, 999)}, "depths.*1 to 24"),
        ({"depths": "444"}, "depths"),
        ({"window": (5, 6)}, "window.*3 integers"),
        ({"decoder": (128, 96, 64)}, "one fewer"),
        ({"architecture": "unet"}, "voxelmorph"),
        ({"weight": "uniform"}, "beta"),
        ({"weight": []}, "beta"),
        ({"norm": None}, "instance"),
        ({"integrate": 1}, "true or false"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"drop_path": float("nan")}, "drop_path"),
        ({"conditioning": "film"}, "codes"),
        ({"codes": 2}, "codes"),
        ({"codes": 3, "conditioning": "film"}, "codes.*0 to 2"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as caught:
        NetworkConfig.from_dict({key: list(v) if isinstance(v, tuple) else v for key, v in values.items()})
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'time_steps'"):
        NetworkConfig.from_dict({"timesteps": 5})
    with pytest.raises(InputError, match="did you mean 'tm-spr'"):
        preset("tm_spr")
    with pytest.raises(InputError, match="did you mean 'integrate'"):
        build("tm-spr", integrated=False)
    with pytest.raises(InputError, match="mapping"):
        NetworkConfig.from_dict([1])


def test_published_sizes_have_the_published_parameters():
    # Facts of the author's modules: 17.57 M with time steps, 17.66 M with the weight; ours lacks one unused head.
    assert parameter_count("transmorph-tvf") == pytest.approx(17.57e6, rel=1e-3)
    assert parameter_count("tm-spr") == pytest.approx(17.66e6, rel=1e-3)
