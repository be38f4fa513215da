"""Tables from stored numbers."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace

import pytest

from SPRCore.analysis.benchmark import ROWS, BenchmarkOptions, identity_of, latest
from SPRCore.analysis.methods import MethodSpec
from SPRCore.analysis.report import collect, write_tables
from SPRCore.analysis.rows import BenchmarkRow, RowsHeader, append_row, read_rows, start_rows
from SPRCore.analysis.summary import INITIAL, summarize
from SPRCore.analysis.tables import comparison_table, latex, long_csv, markdown, results_table
from SPRCore.errors import InputError
from SPRCore.io.pairs import PairFiles
from SPRCore.metrics import MetricConventions

NAMES = {"1": "RV", "2": "LV"}


def row(method, number, gain, **changes):
    """A row of one of 14 pairs of seven subjects, with a Dice that is `gain` above the one before."""
    base = 0.5 + 0.01 * number
    dice = {"1": base + gain - 0.1, "2": base + gain + 0.1}
    fields = {
        "pair": f"pair {number}",
        "subject": f"subject {number // 2}",
        "method": method,
        "before": {"dice_mean": base, "dice": {"1": base - 0.1, "2": base + 0.1}, "lncc": 0.5},
        "after": {"dice_mean": base + gain, "dice": dice, "lncc": 0.8, "folding_percent": 0.0, "ndv_percent": 1e-5},
        "seconds": {"register": 2.0, "total": 3.0},
        "processor_seconds": 4.0,
        "peak_memory_mb": 300.0,
    }
    return BenchmarkRow(**fields | changes)


def rows(gains, count=14):
    return [row(name, n, gain + 0.0001 * n) for name, gain in gains.items() for n in range(count)]


def lines(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_a_method_better_for_every_subject():
    found = summarize(rows({"uniform": 0.1, "spr": 0.15}), {"spr": ["uniform"]})
    assert [part.method for part in found] == [INITIAL, "uniform", "spr"]
    test = found[2].comparison
    assert (test.subjects, test.better, test.measure) == (7, 7, "dice_mean")
    assert test.difference == pytest.approx(0.05)
    assert test.p == pytest.approx(2 / 2**7)
    assert test.is_better
    assert found[1].comparison is None


def test_a_method_beside_several_references():
    twins = {"spr": ["uniform", "syn"], "uniform": ["syn"]}
    found = {part.method: part for part in summarize(rows({"syn": 0.0, "uniform": 0.1, "spr": 0.15}), twins)}
    tests = found["spr"].comparisons
    assert [test.reference for test in tests] == ["uniform", "syn"]
    assert [test.difference for test in tests] == pytest.approx([0.05, 0.15])
    assert {test.p_holm for part in found.values() for test in part.comparisons} == {3 * 2 / 2**7}  # of three tests
    table = comparison_table(list(found.values()))
    assert [(line[0].text, line[1].text) for line in table.body] == [
        ("uniform", "syn"),
        ("spr", "uniform"),
        ("spr", "syn"),
    ]
    numbers = csv.DictReader(io.StringIO(long_csv(list(found.values()))))
    differences = {(line["method"], line["twin"]): float(line["difference"]) for line in numbers if line["difference"]}
    assert differences == pytest.approx({("uniform", "syn"): 0.1, ("spr", "uniform"): 0.05, ("spr", "syn"): 0.15})
    assert "the first of several" in results_table(list(found.values())).notes[1]


def test_the_spread_is_that_of_pairs_and_of_all_labels():
    initial = summarize(rows({"spr": 0.1}, count=3))[0]
    assert initial.values["dice_mean"].mean == pytest.approx(0.51)
    assert initial.values["dice_mean"].sd == pytest.approx(0.01)
    assert initial.labels["2"].mean == pytest.approx(0.61)
    assert initial.pooled.n == 6
    assert initial.pooled.sd > 0.1


def test_markdown():
    found = summarize(rows({"a": 0.1, "b_c": 0.15, "d": 0.05}), {"b_c": ["a"]})
    table = lines(markdown(results_table(found, NAMES)))
    head = ["method", "RV", "LV", "Dice", "folding, %", "NDV, %", "LNCC", "seconds", "of processor"]
    assert table[0] == head
    assert table[2] == [
        "initial",
        "0.465 ± 0.042",
        "0.665 ± 0.042",
        "0.565 ± 0.110",
        "-",
        "-",
        "0.500 ± 0.000",
        "-",
        "-",
    ]
    assert table[3][0] == "a"
    assert table[3][3] == "*0.666 ± 0.110*"
    assert table[4][0] == "b\\_c"
    assert table[4][3].startswith("**0.716 ± 0.110")
    assert table[4][4:6] == ["0", "<0.001"]
    assert table[5][3] == "0.616 ± 0.110"


@pytest.mark.parametrize(("gain", "sign"), [(0.15, "*"), (0.05, "†")])
def test_better_and_worse_are_marked_apart(gain, sign):
    count = 30  # fifteen subjects: p = 2 / 2^15
    found = summarize(rows({"uniform": 0.1, "spr": gain}, count), {"spr": ["uniform"]})
    cells = {line[0].text: line[3].text for line in results_table(found).body}
    assert cells["spr"].endswith(sign * 2)
    assert not cells["uniform"].endswith(sign)


def test_latex_has_no_bare_sign():
    text = latex(results_table(summarize(rows({"a_b": 0.1, "c": 0.2, "d": 0.3})), NAMES, "Hearts, 50 %"))
    assert r"\caption{Hearts, 50 \%." in text
    assert r"a\_b & 0.566 $\pm$ 0.042" in text
    assert r"\textbf{0.866" in text
    assert text.count("&") == 8 * 5
    assert text.count(r"\\") == 5
    assert "±" not in text


def test_every_number_is_in_the_csv():
    found = summarize(rows({"a": 0.1, "b": 0.2}), {"b": ["a"]})
    table = {(r["method"], r["measure"], r["label"]): r for r in csv.DictReader(io.StringIO(long_csv(found, NAMES)))}
    assert float(table["a", "dice", "RV"]["mean"]) == pytest.approx(0.56565)
    assert float(table["b", "dice_mean", ""]["difference"]) == pytest.approx(0.1)
    assert table["b", "dice_mean", ""]["twin"] == "a"
    assert table["a", "dice_mean", ""]["twin"] == ""
    assert float(table["a", "peak_memory_mb", ""]["mean"]) == 300


def test_many_labels_are_left_to_the_csv():
    dice = {str(label): 0.5 for label in range(1, 31)}
    part = [row("a", n, 0.1, after={"dice": dice, "dice_mean": 0.5}) for n in range(3)]
    found = summarize(part)
    assert results_table(found).header[:2] == ("method", "Dice")
    assert long_csv(found).count("a,dice,") == 30


def test_a_failed_pair_is_counted_and_told():
    part = rows({"a": 0.1, "b": 0.2}, count=4)
    part[-1] = replace(part[-1], after={}, before={}, failed="not enough memory")
    found = summarize(part, {"b": ["a"]})
    text = markdown(results_table(found))
    assert ["b", "3 of 4"] == lines(text)[4][:2]
    assert "different pairs" in text
    assert "**" not in text.split("\n\n")[1]
    assert "b failed on 1, such as pair 3: not enough memory." in text
    assert found[2].comparison.subjects == 2


def test_without_labels_landmarks_decide():
    def points(method, error):
        tre = {"mean": error, "n": 3}
        return [row(method, n, 0, before={"tre_mm": {"mean": 9.0}}, after={"tre_mm": tre}) for n in range(4)]

    found = summarize(points("a", 3.0) + points("b", 2.0), {"b": ["a"]})
    assert found[2].comparison.measure == "tre_mm"
    assert found[2].comparison.is_better
    assert results_table(found).header[:2] == ("method", "TRE, mm")
    assert comparison_table(found).header[3] == "TRE, mm: mean difference"


def test_pairs_of_one_name_must_be_the_same():
    other = replace(rows({"b": 0.1})[0], before={"dice_mean": 0.9})
    with pytest.raises(InputError, match="pair 0"):
        summarize([*rows({"a": 0.1}), other])


def test_an_unknown_twin_is_named():
    with pytest.raises(InputError, match="did you mean 'uniform'"):
        summarize(rows({"uniform": 0.1, "spr": 0.2}), {"spr": ["unifrom"]})


def test_the_last_row_of_a_pair_counts_and_older_settings_do_not():
    old = [replace(r, setting={"alpha": 1.0}) for r in rows({"a": 0.1}, count=3)]
    new = [replace(r, setting={"alpha": 2.0}) for r in rows({"a": 0.2}, count=2)]
    assert latest([*old, *new]) == new
    again = replace(new[0], seconds={"register": 9.0})
    assert latest([*new, again]) == [again, new[1]]


def test_report_of_two_runs(tmp_path):
    for name, gain in (("one", 0.1), ("two", 0.2)):
        path = tmp_path / name / ROWS
        start_rows(path, RowsHeader(kind="benchmark"))
        for part in rows({name: gain}):
            append_row(path, replace(part, twin=("one",) if name == "two" else ()))
    older = tmp_path / "one" / ROWS  # files of one reference method
    older.write_text(older.read_text().replace('"twin": []', '"twin": null'))
    newer = tmp_path / "two" / ROWS
    newer.write_text(newer.read_text().replace('"twin": ["one"]', '"twin": "one"', 3))
    found = write_tables(collect([tmp_path / "one", tmp_path / "two" / ROWS]), tmp_path, names=NAMES)
    assert found[2].comparison.reference == "one"
    assert {path.name for path in tmp_path.glob("table.*")} == {"table.md", "table.tex", "table.csv"}
    assert "| one | 14" not in (tmp_path / "table.md").read_text()
    assert "Methods against their reference methods" in (tmp_path / "table.tex").read_text()


def test_metric_conventions_are_not_mixed():
    linear = MetricConventions(label_interpolation="linear")
    other = [replace(part, conventions=linear) for part in rows({"b": 0.2})]
    with pytest.raises(InputError, match="two metric conventions, those of a and of b"):
        summarize([*rows({"a": 0.1}), *other])
    assert latest([*rows({"b": 0.2}, count=3), *other[:2]]) == other[:2]


def test_conventions_are_kept_and_older_rows_have_the_default_ones(tmp_path):
    path = tmp_path / ROWS
    start_rows(path, RowsHeader(kind="benchmark"))
    foreground = MetricConventions(folding_over="foreground")
    append_row(path, row("a", 0, 0.1, conventions=foreground))
    assert read_rows(path, BenchmarkRow).rows[0].conventions == foreground
    text = path.read_text()
    kept = ', "conventions": {"label_interpolation": "nearest", "folding_over": "foreground"}'
    assert kept in text
    path.write_text(text.replace(kept, ""))
    assert read_rows(path, BenchmarkRow).rows[0].conventions == MetricConventions()


def test_the_digest_of_a_result_depends_on_conventions_unless_they_are_the_default_ones(tmp_path):
    pair = PairFiles(pair="1", subject="1", fixed=tmp_path / "a.nii", moving=tmp_path / "b.nii", digest="d")
    method, default = MethodSpec(label="syn", kind="syn"), BenchmarkOptions()
    linear = BenchmarkOptions(conventions=MetricConventions(label_interpolation="linear"))
    assert identity_of(pair, method, default) != identity_of(pair, method, linear)
    parts = ["1", "1", "", "d", "syn", None, method.setting, {"init": "auto", "device": "auto", "seed": 0}]
    before = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    assert identity_of(pair, method, default) == before  # results of earlier versions are not measured again
