"""The file of what was measured."""

import json
import subprocess
import sys

import pytest

from lib.machine import ROOT
from report.speed import benchmark, measured
from report.speed.measured import METHODS


def test_a_spread_is_median_and_extremes():
    assert measured.spread([3.0, 1.0, 2.000004]) == {"median": 2.0, "min": 1.0, "max": 3.0, "all": [3.0, 1.0, 2.0]}


def test_a_span_is_median_and_range():
    assert measured.span(measured.spread([25.8, 26.11, 27])) == "26.1 (25.8–27.0)"


def test_a_missing_or_foreign_file_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.json does not exist: `make bench` measures and writes it"):
        measured.read(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a benchmark of this version of the code"):
        measured.read(tmp_path / "other.json")


def test_writing_keeps_other_keys(tmp_path):
    file = tmp_path / "benchmark.json"
    measured.write(file, {"rows": [1], "long_check": {"trials": 50}})
    measured.write(file, {"rows": [2]})
    stored = json.loads(file.read_text())
    assert (stored["rows"], stored["long_check"]) == ([2], {"trials": 50})


def test_the_published_file_is_read_and_looked_up():
    published = measured.read("report/published/benchmark.json")
    rows = measured.of_wsn(published)
    assert list(dict.fromkeys(row["method"] for row in rows)) == list(METHODS)
    fastest = min((row for row in rows if row["method"] == "vmap"), key=lambda row: row["total_ms"]["median"])
    assert measured.one(published, "vmap") == fastest
    assert set(measured.Row.__annotations__) == set(fastest)


def row(experiment, speedup, floors, method="fused"):
    return {
        "experiment": experiment,
        "method": method,
        "speedup": {"median": speedup},
        "times_floor": {"median": floors},
    }


def test_a_warning_names_what_is_too_near_the_textbook_loop_or_too_far_from_the_floor():
    within = [row("WSN", 10, 1.2), row("WSN", 1, 18, "textbook"), row("WSN", 2, 9, "torch")]
    assert measured.warnings({"rows": within}) == []
    assert measured.warnings({"rows": [*within, row("SN", 9.94, 1.1), row("SAUX", 8, 1.21)]}) == [
        "warning: the compiled block is below 10 times the textbook loop's speed: SN 9.9, SAUX 8.0",
        "warning: the compiled block is above 1.2 times the floor: SAUX 1.21",
    ]


@pytest.mark.parametrize("quick", [False, True])
def test_the_benchmark_says_its_warnings_but_not_of_the_tiny_run(quick, tmp_path, monkeypatch, capsys):
    slow = {"rows": [row("SN", 2, 1)], "rate_gflops": {}}
    monkeypatch.setattr(benchmark, "measure", lambda plan: slow)
    monkeypatch.setattr(benchmark, "measure_scaling", lambda plan: {})
    benchmark.bench(quick=quick, output=tmp_path / "benchmark.json")
    said = "warning: the compiled block is below 10 times the textbook loop's speed: SN 2.0\n"
    assert capsys.readouterr().err == ("" if quick else said)


@pytest.mark.parametrize("module", ["report.speed.measured", "report.speed.tables", "report.speed.memory"])
def test_reading_and_showing_need_no_torch(module):
    """Nor does `memory`, or what a worker holds before any training would be measured with the report's own."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
