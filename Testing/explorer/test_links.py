"""Settings in the address."""

from __future__ import annotations

import pytest

from SPRExplorer.links import LINKED, fields_in, link_of, unknown_in

FIELDS = {name: 0.25 for name in LINKED} | {"method": "instance", "prior": "beta", "showWeight": True}


def test_defaults_are_omitted():
    assert link_of(FIELDS, FIELDS) == ""
    assert link_of(FIELDS | {"alpha": 0.02, "prior": "uniform"}, FIELDS) == "prior=uniform&alpha=0.02"


def test_round_trip():
    changed = FIELDS | {"alpha": 0.0213, "showWeight": False, "prior": "gaussian", "method": "a model & more"}
    read = fields_in("#" + link_of(changed, FIELDS))
    assert read == {"alpha": 0.0213, "showWeight": 0.0, "prior": "gaussian", "method": "a model & more"}


@pytest.mark.parametrize("text", ["", "#", "%%%", "fixedVolume=/etc/passwd&report=x", "=&=&", "\0", "a" * 10_000])
def test_unknown_names_are_ignored(text):
    assert fields_in(text) == {}


@pytest.mark.parametrize("value", ["nan", "inf", "-1e400", "<script>"])
def test_values_are_not_checked_here(value):
    assert set(fields_in(f"alpha={value}")) == {"alpha"}


def test_unknown_names_are_returned():
    assert unknown_in("#alpha=0.02&alpah=0.3&report=x") == ["alpah", "report"]
    assert unknown_in("#alpha=0.02") == []
