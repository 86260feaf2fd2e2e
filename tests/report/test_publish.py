import csv
import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lib import Store, store
from lib.machine import ROOT
from report import freshness, publish, study, swap
from tests.lib.own import ORIGIN

README = "# Title\n\nFirst.\n\n<!-- results -->\nold\n<!-- /results -->\n\nLast.\n<!-- speed -->\n<!-- /speed -->\n"
TRIALS, SMALL = 3, "epochs=2 train_pairs=50 test_pairs=10"
FIGURES = ("figures/README.md", "figures/fig-1.svg", "figures/fig-2.svg")
REPORT = ("report.html", "report.pdf", "manifest.json", *FIGURES)
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


MADE_FROM = {"lib/a.py": "0123456789abcdef"}
SOURCES = freshness.whole(MADE_FROM)
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><title>{}</title></svg>'


def make_report(folder, word, figures=("fig-1.svg", "fig-2.svg"), sources=SOURCES):
    """Write what a built report consists of, with a word in each file."""
    (folder / "figures").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01-task.ipynb").write_text(word)
    (folder / "report.html").write_text(f"<!DOCTYPE html>\n<p>{word} {sources}</p>\n</html>\n")
    (folder / "report.pdf").write_text(f"%PDF-1.7 {word} {sources}\n%%EOF")
    (folder / "figures" / "README.md").write_text("".join(f"- [{name}]({name}): {word}\n" for name in figures))
    for name in figures:
        (folder / "figures" / name).write_text(SVG.format(word))
    digest = hashlib.sha256(SVG.format(word).encode()).hexdigest()
    made = [{"file": f"figures/{name}", "sha256": digest} for name in figures] + [
        {"label": "tbl-a", "caption": f"The {word} one."}
    ]
    (folder / "manifest.json").write_text(json.dumps(made))
    return folder


def texts(folder):
    """What a folder holds, by file."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def built(tmp_path):
    return make_report(tmp_path / "build", "new")


@pytest.fixture
def published(tmp_path):
    """An older report, with a figure that is not made any more, and what is published beside it."""
    folder = make_report(tmp_path / "published", "old", ("fig-1.svg", "fig-old.svg"))
    shutil.rmtree(folder / "notebooks")
    (folder / "claims.json").write_text("the ledger")
    return folder


@pytest.fixture
def project(tmp_path, results, built):
    """A project's folder with what is published of the small study."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text(README, encoding="utf-8")
    publish.write_shown(results, built, folder, SMALL, MADE_FROM)
    return folder


def test_the_table_has_the_stored_numbers(project):
    text = (project / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert "| network | plain SGD | difference | SGD with momentum 0.9 | difference | trials |" in lines
    assert "| SN | 70.0 ± 10.0, median 70.0 |  | 70.0 ± 10.0, median 70.0 |  | 3 |" in lines
    plain, fast = "70.0 ± 10.0, median 70.0", "70.0 ± 10.0, median 70.0 | +0.00 (+0.00 to +0.00)"
    assert f"| WSN | 80.0 ± 10.0, median 80.0 | +10.00 (+10.00 to +10.00) | {fast} | 3 |" in lines
    assert f"| SAUX | {plain} | −10.00 (−10.00 to −10.00) | {fast} | 3 |" in lines
    assert "only a direction" in text
    assert "old" not in lines


def test_all_outside_of_the_markers_stays(project):
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text.startswith(README.split("old")[0])
    end, last = README.split("old")[1].split("<!-- /speed -->")
    assert end in text and text.endswith(f"<!-- /speed -->{last}")
    assert re.search(r"<!-- speed -->\nA plain module's trials train one by one: .* \d+ times as long", text)
    report = [f"report/published/{name}" for name in REPORT]
    assert sorted(texts(project)) == sorted(
        [*FILES, *report, "report/published/sources.json"]
    )  # no other file left behind


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


def test_writing_twice_changes_nothing(project, results, built):
    first = [(project / name).read_bytes() for name in FILES]
    publish.write_shown(results, built, project, SMALL, MADE_FROM)
    assert [(project / name).read_bytes() for name in FILES] == first


def test_the_ledger_is_written_too(project):
    ledger = json.loads((project / "report" / "published" / "claims.json").read_text(encoding="utf-8"))
    assert {claim["reading"] for claim in ledger} == set(study.READINGS)


@pytest.mark.parametrize("text", ["no marker", "<!-- /results -->\n<!-- results -->", README + README])
def test_a_readme_without_the_markers_is_refused_and_nothing_written(tmp_path, results, built, text):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    with pytest.raises(publish.ReadmeError, match="once each"):
        publish.write_shown(results, built, tmp_path, SMALL)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    assert not (tmp_path / "report").exists()


def test_missing_results_of_a_standard_experiment_are_named(held):
    with pytest.raises(FileNotFoundError, match=r"no stored result of SN .*, trials 0 to 3 .*: `make study`"):
        publish.stored_study(held, SMALL, TRIALS + 1)


def word_of(folder):
    """Return the word that is in all files of a published report; no two must be."""
    [word] = {word for name, text in texts(folder).items() for word in ("old", "new") if word in text.split()}
    return word


def test_a_built_report_is_copied_and_figures_that_it_has_no_longer_go(built, published):
    publish.copy_report(built, published)
    assert texts(published) == {"claims.json": "the ledger", **{name: (built / name).read_text() for name in REPORT}}
    assert sorted(path.name for path in published.parent.iterdir() if path.name.startswith(".")) == []


def test_a_first_report_is_published_too(built, tmp_path):
    publish.copy_report(built, tmp_path / "nowhere" / "yet")
    assert set(texts(tmp_path / "nowhere" / "yet")) == set(REPORT)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


BROKEN = {
    "no PDF": (lambda built: (built / "report.pdf").unlink(), OSError, "report.pdf"),
    "an empty page": (lambda built: (built / "report.html").write_text(""), publish.UnfinishedError, "html is empty"),
    "a page cut short": (lambda built: cut(built / "report.html"), publish.UnfinishedError, "html is not whole"),
    "a PDF cut short": (lambda built: cut(built / "report.pdf"), publish.UnfinishedError, "pdf is not whole"),
    "a figure cut short": (lambda built: cut(built / "figures/fig-2.svg"), publish.UnfinishedError, "fig-2.svg is not"),
    "a figure less": (lambda built: (built / "figures/fig-2.svg").unlink(), publish.UnfinishedError, "are not those"),
    "a figure of another build": (
        lambda built: (built / "figures/fig-2.svg").write_text(SVG.format("other")),
        publish.UnfinishedError,
        "are not those of manifest.json",
    ),
    "no figures": (lambda built: shutil.rmtree(built / "figures"), OSError, "figures"),
    "other sources": (
        lambda built: (built / "report.pdf").write_text("%PDF-1.7 of fedcba9876543210\n%%EOF"),
        publish.UnfinishedError,
        "pdf is not made from the present",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_report_that_is_not_whole_changes_nothing(built, project, results, broken):
    before = texts(project)
    (project / "README.md").write_text(README, encoding="utf-8")
    spoil, error, message = BROKEN[broken]
    spoil(built)
    with pytest.raises(error, match=message):
        publish.write_shown(results, built, project, SMALL, MADE_FROM)
    assert texts(project) == {**before, "README.md": README}


def test_a_full_disk_changes_nothing(built, published, monkeypatch):
    before, left = texts(published), [3]

    def sync(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="No space left"):
        publish.copy_report(built, published)
    assert texts(published) == before
    assert not list(published.parent.glob(".*")), "nothing is left"


PUBLISHER = """
import itertools, json, os, shutil, sys
from pathlib import Path
from report import publish, swap

def build(report, output):  # which takes minutes, but for its end
    with swap.prepared(output, "report") as fresh:
        shutil.copytree(report, fresh, dirs_exist_ok=True)
        swap.put(fresh, output, ("report.html", "report.pdf", "manifest.json", "figures", "notebooks"))

for line in sys.stdin:
    what, *paths = json.loads(line)
    *reports, target = map(Path, paths)
    if process := os.fork():
        print(process, flush=True)
        os.waitpid(process, 0)
        print("ended", flush=True)
    else:
        for report in itertools.cycle(reports):
            build(report, target) if what == "build" else publish.copy_report(report, target)
"""


@pytest.fixture(scope="module")
def parent():
    """A process whose children publish: to import what that takes is seconds."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", PUBLISHER], env=environment, **pipes) as parent:
        yield parent
        parent.stdin.close()


@pytest.fixture
def start(parent, tmp_path):
    """Start a process that builds or publishes two reports in turn, again and again; returns how to kill it."""
    newer = make_report(tmp_path / "newer", "new")
    older = make_report(tmp_path / "older", "old", ("fig-1.svg", "fig-old.svg"))

    def start(what, target):
        parent.stdin.write(json.dumps([what, *map(str, (newer, older, target))]) + "\n")
        parent.stdin.flush()
        process = int(parent.stdout.readline())

        def kill():
            os.kill(process, signal.SIGKILL)
            assert parent.stdout.readline() == "ended\n"

        return kill

    return start


@pytest.mark.parametrize("times", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_a_kill_leaves_the_old_report_or_the_new_one(start, published, times):
    moments, seen = random.Random(times), set()
    for _ in range(times):
        kill = start("publish", published)
        time.sleep(0.1 * moments.random())
        kill()
        seen.add(word_of(published))
        assert (published / "claims.json").read_text() == "the ledger"
    assert times < 10 or seen == {"old", "new"}


@pytest.mark.parametrize("what", ["publish", "build"])
def test_two_at_once_do_not_mix(start, published, built, what):
    """Another process publishes or builds, into the same folder, while this one publishes what stands there."""
    kill = start(what, published if what == "publish" else built)
    try:
        for _ in range(20):
            publish.copy_report(built, published, sources=SOURCES)
            with swap.locked(published.parent):  # or its files are read before and after the other one publishes
                word_of(published)
    finally:
        kill()


def test_the_repositorys_readme_csv_and_ledger_show_its_stored_results():
    try:
        results = publish.stored_study(Store(ROOT / "report" / "results"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert publish.outdated(results) == []
