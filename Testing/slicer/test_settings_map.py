"""The settings map as colored cells, and the names of files that are saved."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]


def points(*values):
    """A map of one row with these similarities."""
    return [
        SimpleNamespace(setting={"alpha": 0.1, "lambda_max": float(place)}, similarity=value)
        for place, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "is_even"),
    [((0.997, 0.9971, 0.9969), True), ((0.4, 0.55, 0.5), False), ((0.5,), False), ((0.5, None, 0.501), True)],
)
def test_differences_that_say_nothing_have_no_color_and_no_star(scene, values, is_even):
    from SPRRegistrationLib import settings_map
    from SPRRegistrationLib.parameters import MapMeasure

    table = settings_map.table_of(points(*values), MapMeasure.SIMILARITY)
    assert table.is_even == is_even
    colors = {cell.color for cell in table.cells if cell.value is not None}
    assert (colors == {settings_map.NO_COLOR}) == is_even
    assert any(cell.best for cell in table.cells) != is_even
    assert ("★" in settings_map.legend_of(table)) != is_even


def test_settings_beyond_training_are_marked(scene):
    from SPRRegistrationLib import settings_map
    from SPRRegistrationLib.parameters import MapMeasure

    some = points(0.4, 0.5, 0.6)  # lambda_max 0, 1, 2
    table = settings_map.table_of(some, MapMeasure.SIMILARITY, trained={"lambda_max": 1.5})
    assert [cell.is_beyond_training for cell in table.cells] == [False, False, True]
    assert table.cells[2].signs == " ★ △"
    assert "△ is beyond the training" in settings_map.legend_of(table)
    usual = settings_map.table_of(some, MapMeasure.SIMILARITY)
    assert "△" not in settings_map.legend_of(usual) + "".join(cell.signs for cell in usual.cells)


def test_files_are_named_after_the_images_in_plain_letters(scene):
    from harness import pairs
    from SPRRegistrationLib.scene import exports

    parameters = pairs.add_registration(scene)
    parameters.fixedVolume.SetName("Größe/../ES")
    parameters.movingVolume.SetName("heart ED_1")
    assert exports.file_name(parameters, "deformed", ".nii.gz") == "heart-ED_1-on-Gr-e-..-ES-deformed.nii.gz"
    parameters.movingVolume = None
    assert exports.file_name(parameters, "report", ".json") == "Gr-e-..-ES-report.json"
