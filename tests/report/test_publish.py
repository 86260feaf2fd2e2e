import csv
import json

import numpy as np
import pytest

from lib import Experiment, store
from lib.machine import ROOT
from lib.store import groups
from report import publish, study

README = "# Title\n\nFirst.\n\n<!-- results -->\nold\n<!-- /results -->\n\nLast.\n"
TRIALS, EPOCHS, PAIRS = 3, 2, 10


def store_result(root, experiment, trials, correct):
    """Store made-up counts `[trials, epochs]` as one whole block."""
    counts = correct.tolist()
    right = [row[-1] for row in counts]
    losses = np.full(correct.shape, 0.5).tolist()
    auxiliary = experiment.architecture.endswith("AUX")
    record = {
        "schema": store.SCHEMA,
        "configuration": experiment.configuration,
        "trials": list(trials),
        "data": [f"pairs-{trial}" for trial in trials],
        "test_correct": counts,
        "auxiliary_test_correct": counts if auxiliary else None,
        "auxiliary_total": experiment.test_pairs if auxiliary else None,
        "train_loss": losses,
        "test_loss": losses,
        "auxiliary_train_loss": losses if auxiliary else None,
        "auxiliary_test_loss": losses if auxiliary else None,
        "last_bits": [store.hex_of([i < k for i in range(experiment.test_pairs)]) for k in right],
        "last_table": [[[[k, experiment.test_pairs], *[[0, 0]] * 9], *[[[0, 0]] * 10] * 9] for k in right],
        "provenance": {},
    }
    store.write(root / "report" / "results", record)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a README and a stored study: the standard networks and one other form, 3 trials of 2 epochs."""
    small = {"epochs": EPOCHS, "train_pairs": 50, "test_pairs": PAIRS}
    experiments = [Experiment(architecture=e.architecture, momentum=e.momentum, **small) for e in study.STANDARD]
    experiments.append(Experiment(architecture="SN", one_hot_encoding=False, **small))
    monkeypatch.setattr(study, "EXPERIMENTS", experiments)
    monkeypatch.setattr(study, "STANDARD", experiments)
    monkeypatch.setattr(study, "TRIALS", TRIALS)
    for rank, experiment in enumerate(experiments):
        correct = np.array([[5, 6], [5, 7], [5, 8]]) + (rank == 1)  # only WSN, plain SGD, differs
        store_result(tmp_path, experiment, range(TRIALS), correct)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    return tmp_path


def test_the_table_has_the_stored_numbers(project):
    publish.main([], root=project)
    text = (project / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert "| network | plain SGD | difference | SGD with momentum 0.9 | difference | trials |" in lines
    assert "| SN | 70.0 ± 10.0 |  | 70.0 ± 10.0 |  | 3 |" in lines
    assert "| WSN | 80.0 ± 10.0 | +10.00 (+10.00 to +10.00) | 70.0 ± 10.0 | +0.00 (+0.00 to +0.00) | 3 |" in lines
    assert "| SAUX | 70.0 ± 10.0 | −10.00 (−10.00 to −10.00) | 70.0 ± 10.0 | +0.00 (+0.00 to +0.00) | 3 |" in lines
    assert "only a direction" in text
    assert "old" not in lines


def test_all_outside_of_the_markers_stays(project):
    publish.main([], root=project)
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text.startswith(README.split("old")[0])
    assert text.endswith(README.split("old")[1])
    assert sorted(path.name for path in project.iterdir()) == ["README.md", "report"]  # no file left behind


def test_the_csv_has_a_row_per_experiment_and_trial(project):
    publish.main([], root=project)
    with (project / "report" / "published" / "accuracy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * TRIALS
    assert rows[4] == {
        "experiment": "WSN",
        "reading": "plain SGD",
        "key": study.EXPERIMENTS[1].key,
        "trial": "1",
        "accuracy": "80",
    }
    assert rows[-1]["experiment"] == "SN without one-hot labels"


def test_check_passes_after_writing_and_names_what_was_changed(project):
    with pytest.raises(
        SystemExit, match=r"README\.md, report/published/claims\.json, report/published/accuracy\.csv; run"
    ):
        publish.main(["--check"], root=project)
    assert (project / "README.md").read_text(encoding="utf-8") == README  # it writes nothing
    publish.main([], root=project)
    publish.main(["--check"], root=project)
    path = project / "README.md"
    path.write_text(path.read_text(encoding="utf-8").replace("80.0 ±", "81.0 ±"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"have it: README\.md; run"):
        publish.main(["--check"], root=project)


def test_writing_twice_changes_nothing(project):
    publish.main([], root=project)
    first = (project / "README.md").read_bytes()
    publish.main([], root=project)
    assert (project / "README.md").read_bytes() == first


def test_the_ledger_is_written_too(project):
    publish.main([], root=project)
    ledger = json.loads((project / "report" / "published" / "claims.json").read_text(encoding="utf-8"))
    assert {claim["reading"] for claim in ledger} == set(study.READINGS)


@pytest.mark.parametrize("text", ["no marker", "<!-- /results -->\n<!-- results -->", README + README])
def test_a_readme_without_the_markers_is_refused_and_left(project, text):
    (project / "README.md").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match="once each"):
        publish.main([], root=project)
    assert (project / "README.md").read_text(encoding="utf-8") == text


def test_missing_results_are_named(project, monkeypatch):
    monkeypatch.setattr(study, "TRIALS", TRIALS + 1)
    with pytest.raises(SystemExit, match="no stored result of SN, trials 0 to 3"):
        publish.main(["--check"], root=project)


def test_the_repositorys_readme_csv_and_ledger_show_its_stored_results():
    results = ROOT / "report" / "results"
    for experiment in study.STANDARD:
        for block in groups(range(study.TRIALS)):
            if store.find([results], experiment.configuration, block) is None:
                pytest.skip(
                    f"report/results lacks the standard experiments: {experiment.name}, trials {block[0]} are missing"
                )
    assert publish.outdated(publish.stored_study()) == []
