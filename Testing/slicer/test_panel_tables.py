"""The tables of the panel: a stiffness for each segment, and measures of each segment."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application, driving

pytestmark = pytest.mark.slicer


@pytest.fixture
def painted(done):
    """The module with a result, and segments "liver", "bone" and "lung" in the table."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.keys = {name: node.GetSegmentation().AddEmptySegment(name, name) for name in ("liver", "bone", "lung")}
    driving.pick(done.ui.stiffnessSelector, "organs")
    done.segments = node
    return done


def rows(module):
    """What the table shows."""
    table = module.ui.stiffnessTable
    return [(table.item(row, 0).text(), table.item(row, 1).text()) for row in range(table.rowCount)]


def enter(module, name, text):
    """Type a factor into the row of a segment."""
    row = [title for title, _factor in rows(module)].index(name)
    module.ui.stiffnessTable.item(row, 1).setText(text)


def factors(module):
    """What is kept of the table."""
    text = module.panel.parameters.stiffnessFactors
    return json.loads(text) if text else {}


def test_a_factor_goes_to_the_segment_beside_it_after_one_was_removed(painted):
    painted.segments.GetSegmentation().RemoveSegment("liver")
    assert [name for name, _factor in rows(painted)] == ["bone", "lung"]
    enter(painted, "bone", "3")
    assert factors(painted) == {"bone": 3.0}


def test_a_row_that_is_still_shown_is_that_of_its_segment(painted):
    section = next(each for each in painted.panel.sections if type(each).__name__ == "StiffnessFactorsSection")
    section.detach()  # nobody tells of the removal
    painted.segments.GetSegmentation().RemoveSegment("liver")
    painted.ui.stiffnessTable.item(1, 1).setText("3")
    assert factors(painted) == {"bone": 3.0}


def test_segments_that_come_and_get_another_name_are_listed(painted):
    segmentation = painted.segments.GetSegmentation()
    segmentation.AddEmptySegment("rib", "rib")
    segmentation.GetSegment("bone").SetName("spine")
    assert [name for name, _factor in rows(painted)] == ["liver", "spine", "lung", "rib"]


def test_a_painted_segment_that_is_removed_is_taken_from_the_worker_too(painted, monkeypatch):
    told = []
    monkeypatch.setattr(type(painted.panel.session), "paint", lambda self, *arguments: told.append(arguments))
    enter(painted, "bone", "1.0")
    enter(painted, "liver", "1.0")
    told.clear()
    painted.segments.GetSegmentation().RemoveSegment("lung")  # never painted
    assert told == []
    painted.segments.GetSegmentation().RemoveSegment("bone")
    assert told == [(None,)]


def test_nothing_of_another_registration_is_followed(painted):
    painted.ui.registrationSelector.addNode()
    painted.segments.GetSegmentation().RemoveSegment("liver")
    assert rows(painted) == []


def test_measures_have_titles_as_headers_and_cannot_be_typed_over(done):
    from SPRRegistrationLib.scene import charts

    parameters = done.panel.parameters
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(labels, np.ones(done.images[0].GetImageData().GetDimensions()[::-1], np.uint8))
    parameters.fixedLabels = labels
    done.ui.segmentTableButton.click()
    application.process_events()
    table = parameters.segmentTable
    assert done.ui.segmentTableView.mrmlTableNode() is table
    assert table.GetUseColumnTitleAsColumnHeader()
    assert table.GetLocked()
    assert table.GetColumnName(0) == "Segment"
    charts.update_segment_table(parameters)  # a locked table is filled again
    assert table.GetNumberOfRows() == 1
    assert done.ui.segmentTableView.inherits("QTableView")
