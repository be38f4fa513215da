"""The numbers of the benchmark of the Explorer, from notes that are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / "explorer" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ages = loaded("ages")


def picture(at, size, view=0, changed=True):
    return {"at": at, "bytes": size, "view": view, "changed": changed}


def test_the_age_of_a_picture_is_that_of_the_move_it_shows():
    moves = [{"at": 0.0, "value": 0.1}, {"at": 50.0, "value": 0.2}, {"at": 100.0, "value": 0.3}]
    pushed = [{"at": 60.0, "bytes": 11, "value": 0.1}, {"at": 180.0, "bytes": 22, "value": 0.3}]
    shown = [picture(80.0, 11), picture(85.0, 11, view=1), picture(210.0, 22, view=1), picture(230.0, 22)]
    assert ages.ages(moves, shown, pushed) == [80.0, 110.0]  # the first of any view; 0.2 was never shown


def test_what_did_not_change_or_was_not_asked_for_does_not_count():
    moves = [{"at": 0.0, "value": 0.1}]
    pushed = [{"at": 60.0, "bytes": 11, "value": 0.1}, {"at": 70.0, "bytes": 12, "value": 0.9}]
    assert ages.ages(moves, [picture(80.0, 11, changed=False), picture(90.0, 12), picture(95.0, 13)], pushed) == []


def test_a_value_that_was_passed_twice_is_that_of_the_later_time():
    moves = [{"at": 0.0, "value": 0.1}, {"at": 40.0, "value": 0.2}, {"at": 80.0, "value": 0.1}]
    assert ages.ages(moves, [picture(150.0, 5)], [{"at": 120.0, "bytes": 5, "value": 0.1}]) == [70.0]


def test_pictures_a_second_are_counted_while_the_mouse_moves():
    moves = [{"at": float(at), "value": 0.0} for at in range(0, 1001, 20)]
    shown = [picture(float(at), 1, view=0) for at in range(100, 1001, 100)]
    shown += [picture(float(at), 1, view=1) for at in range(100, 1001, 50)] + [picture(9000.0, 1, view=2)]
    assert ages.pictures_per_second(moves, shown) == [0.0, pytest.approx(10.0), pytest.approx(20.0)]
