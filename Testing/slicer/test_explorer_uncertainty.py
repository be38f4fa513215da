"""The uncertainty in the Explorer without a page, against a worker that the test plays."""

from __future__ import annotations

import asyncio
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.live import protocol

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("trame_slicer") is None, reason="trame-slicer is not installed"),
]


def points():
    return (np.arange(9.0).reshape(3, 3) + 5,)


def estimated(worker, request, exact=False, fine=False):
    """Let the worker send the uncertainty of a request: 1 mm at the first slice along x, 5 mm at the last."""
    ramp = np.broadcast_to(np.array([1.0, 3.0, 5.0], np.float32)[:, None, None], (3, 3, 3)).copy()
    metrics = {"uncertainty_mm": {"median": 3.0, "p95": 4.9, "max": 5.0}}
    facts = {"setting": {"alpha": 0.2, "lambda_max": 1.0}, "exact": exact, "fine": fine}
    worker.uncertainty(worker.last(request).id, ramp, np.diag([7.0, 10.0, 13.5, 1.0]), metrics, **facts)


def test_the_uncertainty_is_asked_for_shown_and_removed_with_its_result(explorer, monkeypatch):
    from SPRRegistrationLib import panel_state
    from SPRRegistrationLib.scene import uncertainty

    from SPRExplorer import state

    panel, worker = explorer
    drawn, show = [], panel.show
    monkeypatch.setattr(panel, "show", lambda: (show(), drawn.append(uncertainty.has_map(panel.parameters))))
    panel.change("showUncertainty", True)
    assert worker.last(protocol.ToggleUncertainty).on
    shown = state.state_of(panel)
    waiting = {"text": "The uncertainty is being computed.", "end_mm": 0.0, "is_exact": False}
    assert shown.uncertainty == waiting
    estimated(worker, protocol.Update)
    shown = state.state_of(panel)
    assert shown.uncertainty["text"] == "Median ± 3.0 mm, 95 % of the image below ± 4.9 mm (preview)"
    assert (shown.uncertainty["end_mm"], shown.uncertainty["is_exact"]) == (
        uncertainty.shown_end_mm(panel.parameters),
        False,
    )
    assert drawn[-1], "the views have the map although the deformation is the same"
    assert panel_state.cursor_text(panel, (7.0, 5.0, 5.0)) == "stiffness 0.25, moved by 1.7 ± 3.0 mm"
    panel.session.shown.setting["alpha"] = panel.session.uncertainty.setting["alpha"] = 0.9  # as if that was shown
    panel.go_to({"alpha": 0.2, "lambda_max": 1.0})
    worker.result(worker.last(protocol.Update).id, 2.0)
    shown = state.state_of(panel)
    assert shown.uncertainty == waiting
    assert not drawn[-1]
    panel.change("showUncertainty", False)
    assert not worker.last(protocol.ToggleUncertainty).on
    assert state.state_of(panel).uncertainty["text"] == ""


def test_the_legend_of_3d_slicer_is_not_drawn_beside_that_of_the_page(explorer):
    import slicer

    panel, worker = explorer
    panel.change("showUncertainty", True)
    estimated(worker, protocol.Update)
    carrier = panel.scene.GetSingletonNode("SPRUncertaintyLegend", "vtkMRMLModelNode")
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(carrier.GetDisplayNode())
    assert not legend.GetVisibility()


def test_landmarks_and_segments_are_listed_with_their_uncertainty(explorer):
    from harness import pairs

    from SPRExplorer import state

    panel, worker = explorer
    assert not state.state_of(panel).has_landmarks
    for side in ("fixed", "moving"):
        panel.add(f"{side}Landmarks", f"{side} points", points())
    panel.add("fixedLabels", "organs", (np.ones(pairs.SHAPE, dtype=np.uint8), pairs.AFFINE))
    assert state.state_of(panel).has_landmarks
    panel.list_landmarks()
    table = state.table_of(panel.parameters.landmarkTable)
    assert table == {"titles": ["Landmark", "Distance (mm)", "± mm"], "rows": [[n, "1.73", "-"] for n in "123"]}
    panel.change("showUncertainty", True)
    panel.apply()
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    panel.measure_segments()
    assert "Displacement, ± mm" not in state.table_of(panel.parameters.segmentTable)["titles"]
    estimated(worker, protocol.Commit, exact=True, fine=True)
    table = state.table_of(panel.parameters.landmarkTable)
    assert [row[1] for row in table["rows"]] == ["3.46"] * 3
    assert [float(row[2]) for row in table["rows"]] == pytest.approx([1 + 2 * x / 7 for x in (5, 8, 11)], abs=0.01)
    table = state.table_of(panel.parameters.segmentTable)
    assert (table["titles"][-1], table["rows"][0][-1]) == ("Displacement, ± mm", "3")
    assert ["Uncertainty of the displacement", "± 3.0 mm (median), 95 % below ± 4.9 mm"] in state.state_of(
        panel
    ).measures
    panel.go_to({"alpha": 0.3, "lambda_max": 1.0})
    panel.session.uncertainty.setting["alpha"] = 0.9  # as if that was shown
    worker.result(worker.last(protocol.Update).id, 1.0)
    rows = state.table_of(panel.parameters.landmarkTable)["rows"]
    assert [row[1:] for row in rows] == [["1.73", "-"]] * 3, "of the deformation on the screen"


def test_the_uncertainty_of_an_exact_result_can_be_saved(explorer, tmp_path):
    import gzip

    from SPRExplorer import routes, state

    panel, worker = explorer
    answers = routes.Routes(panel, None, 8, tmp_path)

    def download():
        request = SimpleNamespace(match_info={"name": "uncertaintyVolume.nii.gz"})
        return asyncio.run(answers.export(request))

    panel.change("showUncertainty", True)
    panel.apply()
    assert download().status == 404
    worker.result(worker.last(protocol.Commit).id, 2.0, final=True)
    assert download().status == 404
    estimated(worker, protocol.Commit)
    assert not state.state_of(panel).uncertainty["is_exact"], "that of the preview before"
    assert download().status == 404
    estimated(worker, protocol.Commit, exact=True, fine=True)
    assert state.state_of(panel).uncertainty["is_exact"]
    answer = download()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="moving-on-fixed-uncertainty.nii.gz"'
    assert len(gzip.decompress(answer.body)) > 27 * 4


def test_the_uncertainty_is_part_of_the_address(explorer):
    from SPRExplorer import links, state

    panel, _worker = explorer
    defaults = {name: "" for name in links.LINKED} | state.fields_of(panel)
    for field, value in (("showUncertainty", True), ("uncertaintyOpacity", 0.4), ("hatchAboveMm", 2.5)):
        panel.change(field, value)
    link = links.link_of(state.fields_of(panel), defaults)
    assert link == "showUncertainty=1&uncertaintyOpacity=0.4&hatchAboveMm=2.5"
    with pytest.raises(InputError):
        panel.change("hatchAboveMm", 101.0)
    with pytest.raises(InputError):
        panel.change("uncertaintyOpacity", -0.1)
