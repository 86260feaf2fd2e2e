"""The file of what was measured."""

import json
import subprocess
import sys

import pytest

from lib.machine import ROOT
from report.speed import measured
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


@pytest.mark.parametrize("module", ["report.speed.measured", "report.speed.tables", "report.speed.memory"])
def test_reading_and_showing_need_no_torch(module):
    """Nor does `memory`, or what a worker holds before any training would be measured with the report's own."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
