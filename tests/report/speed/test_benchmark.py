"""The whole benchmark at a tiny size, and the notebook that shows it; times themselves are not tested."""

import json
import re

import nbformat
import numpy as np
import pytest

from lib import fused
from lib.machine import ROOT
from report.press.run import run
from report.speed.benchmark import bench
from report.speed.measured import METHODS
from report.speed.plan import QUICK

pytestmark = pytest.mark.skipif(not fused.available()[0], reason=f"no compiled block: {fused.available()[1]}")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """What both commands write, at the tiny size, into one file."""
    file = tmp_path_factory.mktemp("benchmark") / "benchmark.json"
    assert bench(quick=True, long=True, output=file) == file
    assert bench(quick=True, output=file) == file
    return file


def numbers(value):
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.slow  # a minute
def test_the_quick_run_measures_everything(file):
    assert [path.name for path in file.parent.iterdir()] == ["benchmark.json"], "no temporary file is left"
    stored = json.loads(file.read_text())
    assert set(stored) == {"schema", "units", "about", "settings", "rate_gflops", "rows", "scaling", "long_check"}
    assert all(np.isfinite(list(numbers(stored))))
    for name in ("cpu", "cores", "python", "torch", "numpy", "commit", "dirty", "date", "load_before"):
        assert name in stored["about"] and name in stored["long_check"]["about"], name
    methods = {(row["method"], row["stack"]) for row in stored["rows"] if row["experiment"] == "WSN"}
    assert {name for name, _ in methods} == set(METHODS)
    assert {stack for name, stack in methods if name == "vmap"} == set(QUICK.vmap_stacks)
    experiments = {e.name for e in QUICK.experiments}
    assert len(experiments) == 16
    for method in ("textbook", "fused"):
        assert {row["experiment"] for row in stored["rows"] if row["method"] == method} == experiments
    for row in stored["rows"]:
        for name in ("train_ms", "test_ms", "total_ms", "speedup", "relative_to_wsn", "times_floor"):
            assert len(row[name]["all"]) == QUICK.rounds
            assert 0 < row[name]["min"] <= row[name]["median"] <= row[name]["max"]
        if row["method"] == "textbook":
            assert row["speedup"]["median"] == 1
    assert [row["trials"] for row in stored["scaling"]["sizes"]] == list(QUICK.scaling_trials)
    assert stored["scaling"]["two_over_one"]["median"] > 0
    assert stored["long_check"]["trials"] == stored["long_check"]["difference"]["n"] == QUICK.long_trials
    assert stored["long_check"]["equivalence"]["margin"] == 0.5


@pytest.mark.slow  # a minute
def test_what_it_writes_has_the_form_of_what_is_published(file):
    def form(value):
        if isinstance(value, dict):
            return {name: form(each) for name, each in value.items()}
        return [form(value[0])] if isinstance(value, list) else type(value)

    published = json.loads((ROOT / "report" / "published" / "benchmark.json").read_text())
    assert form(json.loads(file.read_text())) == form(published)


@pytest.mark.slow  # a minute
def test_the_notebook_shows_the_quick_run(file, tmp_path):
    executed = run(ROOT / "notebooks" / "7-benchmark.ipynb", {"file": str(file)}, tmp_path / "out.ipynb", ROOT)
    nb = nbformat.read(executed, as_version=4)
    outputs = [output for cell in nb.cells for output in cell.get("outputs", ())]
    labels = [output.get("metadata", {}).get("report", {}).get("id") for output in outputs]
    assert {
        "fig-benchmark",
        "tbl-benchmark",
        "tbl-benchmark-all",
        "tbl-benchmark-scaling",
        "tbl-benchmark-cluster",
    } <= set(labels)
    text = "\n".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
    assert "times as fast as a textbook loop" in text
    assert "embedded in scikit-learn" in text, "it says whose digits these are"
    assert not re.search(r"\bnan\b|\binf\b", text)
