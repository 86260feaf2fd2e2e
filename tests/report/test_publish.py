import csv
import json
import re

import numpy as np
import pytest

from lib import Store, store
from lib.machine import ROOT
from report import publish, study

README = "# Title\n\nFirst.\n\n<!-- results -->\nold\n<!-- /results -->\n\nLast.\n<!-- speed -->\n<!-- /speed -->\n"
TRIALS, SMALL = 3, "epochs=2 train_pairs=50 test_pairs=10"
ORIGIN = {
    **dict.fromkeys(("commit", "python", "torch", "numpy", "cpu", "device", "dtype", "implementation"), "some"),
    **{"threads": 1, "stack": 3, "dirty": False, "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
}
FILES = ["README.md", "report/published/claims.json", "report/published/accuracy.csv"]


def store_result(held, experiment, correct):
    """Store made-up counts `[trials, epochs]` as one whole group."""
    counts, trials, n = correct.tolist(), len(correct), experiment.test_pairs
    right = [row[-1] for row in counts]
    losses = np.full(correct.shape, 0.5).tolist()
    auxiliary = experiment.architecture.endswith("AUX")
    record = {
        "schema": store.SCHEMA,
        "configuration": experiment.configuration,
        "trials": list(range(trials)),
        "fingerprints": [f"pairs-{trial}" for trial in range(trials)],
        "test_correct": counts,
        "auxiliary_test_correct": counts if auxiliary else None,
        "auxiliary_total": n if auxiliary else None,
        "train_loss": losses,
        "test_loss": losses,
        "auxiliary_train_loss": losses if auxiliary else None,
        "auxiliary_test_loss": losses if auxiliary else None,
        "last_bits": [store.hex_of([i < k for i in range(n)]) for k in right],
        "last_table": [[[[k, n], *[[0, 0]] * 9], *[[[0, 0]] * 10] * 9] for k in right],
        "provenance": ORIGIN,
    }
    held.write(record)


@pytest.fixture
def held(tmp_path):
    """A small stored study: the standard networks and one other form, 3 trials of 2 epochs."""
    held = Store(tmp_path / "results")
    for rank, experiment in enumerate([*study.STANDARD, study.OTHER_FORMS[0]]):
        correct = np.array([[5, 6], [5, 7], [5, 8]]) + (rank == 1)  # only WSN, plain SGD, differs
        store_result(held, experiment.changed(SMALL), correct)
    return held


@pytest.fixture
def results(held):
    return publish.stored_study(held, SMALL, TRIALS)


@pytest.fixture
def project(tmp_path, results):
    """A project's folder with what is published of the small study."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text(README, encoding="utf-8")
    publish.write_shown(results, folder, SMALL)
    return folder


def test_the_table_has_the_stored_numbers(project):
    text = (project / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert "| network | plain SGD | difference | SGD with momentum 0.9 | difference | trials |" in lines
    assert "| SN | 70.0 ± 10.0 |  | 70.0 ± 10.0 |  | 3 |" in lines
    assert "| WSN | 80.0 ± 10.0 | +10.00 (+10.00 to +10.00) | 70.0 ± 10.0 | +0.00 (+0.00 to +0.00) | 3 |" in lines
    assert "| SAUX | 70.0 ± 10.0 | −10.00 (−10.00 to −10.00) | 70.0 ± 10.0 | +0.00 (+0.00 to +0.00) | 3 |" in lines
    assert "only a direction" in text
    assert "old" not in lines


def test_all_outside_of_the_markers_stays(project):
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text.startswith(README.split("old")[0])
    end, last = README.split("old")[1].split("<!-- /speed -->")
    assert end in text and text.endswith(f"<!-- /speed -->{last}")
    assert re.search(r"<!-- speed -->\nA plain module's trials train one by one: .* \d+ times as long", text)
    written = [path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(FILES)  # no other file left behind


def test_the_csv_has_a_row_per_experiment_and_trial(project):
    with (project / "report" / "published" / "accuracy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * TRIALS
    assert rows[4] == {
        "experiment": "WSN",
        "reading": "plain SGD",
        "key": study.STANDARD[1].changed(SMALL).key,
        "trial": "1",
        "accuracy": "80",
    }
    assert rows[-1]["experiment"] == "SN without one-hot labels"


def test_what_is_out_of_date_is_named_and_nothing_written(project, results):
    assert publish.outdated(results, project, SMALL) == []
    path = project / "README.md"
    path.write_text(path.read_text(encoding="utf-8").replace("80.0 ±", "81.0 ±"), encoding="utf-8")
    assert publish.outdated(results, project, SMALL) == ["README.md"]
    path.write_text(README, encoding="utf-8")
    (project / FILES[1]).unlink()
    (project / FILES[2]).write_text("experiment,reading\n")
    assert publish.outdated(results, project, SMALL) == FILES
    assert path.read_text(encoding="utf-8") == README


def test_writing_twice_changes_nothing(project, results):
    first = [(project / name).read_bytes() for name in FILES]
    publish.write_shown(results, project, SMALL)
    assert [(project / name).read_bytes() for name in FILES] == first


def test_the_ledger_is_written_too(project):
    ledger = json.loads((project / "report" / "published" / "claims.json").read_text(encoding="utf-8"))
    assert {claim["reading"] for claim in ledger} == set(study.READINGS)


@pytest.mark.parametrize("text", ["no marker", "<!-- /results -->\n<!-- results -->", README + README])
def test_a_readme_without_the_markers_is_refused_and_nothing_written(tmp_path, results, text):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    with pytest.raises(publish.ReadmeError, match="once each"):
        publish.write_shown(results, tmp_path, SMALL)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    assert not (tmp_path / "report").exists()


def test_missing_results_of_a_standard_experiment_are_named(held):
    with pytest.raises(FileNotFoundError, match=r"no stored result of SN .*, trials 0 to 3 .*: `make study`"):
        publish.stored_study(held, SMALL, TRIALS + 1)


def test_a_built_report_is_copied_and_figures_that_it_has_no_longer_go(tmp_path):
    built, published = tmp_path / "build", tmp_path / "published"
    for name in ("report.html", "report.pdf", "figures/fig-1.svg", "figures/README.md", "notebooks/01-task.ipynb"):
        (built / name).parent.mkdir(parents=True, exist_ok=True)
        (built / name).write_text(f"new {name}")
    (published / "figures").mkdir(parents=True)
    for name in ("report.html", "claims.json", "figures/fig-1.svg", "figures/fig-old.svg"):
        (published / name).write_text("old")
    publish.copy_report(built, published)
    there = {path.relative_to(published).as_posix(): path.read_text() for path in published.rglob("*.*")}
    copied = ("report.html", "report.pdf", "figures/fig-1.svg", "figures/README.md")
    assert there == {"claims.json": "old", **{name: f"new {name}" for name in copied}}


def test_the_repositorys_readme_csv_and_ledger_show_its_stored_results():
    try:
        results = publish.stored_study(Store(ROOT / "report" / "results"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert publish.outdated(results) == []
