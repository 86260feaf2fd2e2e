"""Many groups at once: any number of workers gives the same bits, and whatever happens to one, the rest is kept."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import torch

from lib import Store, run_analysis, store, workers
from lib.machine import ROOT
from lib.workers import StudyError
from tests.lib.own import tiny

TRIALS = 60  # groups 0-24, 25-49, 50-59
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def train(experiment, trials, folder, **options):
    """Train into a folder, silently."""
    return run_analysis(experiment, trials, **{"store": Store(folder), "progress": False, **options})


def records_of(folder):
    """The stored records by file name, without where they come from."""
    records = {path.name: store.read(path) for path in Store(folder).files()}
    return {name: {k: v for k, v in record.items() if k != "provenance"} for name, record in records.items()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """All groups, one after the other in this process."""
    folder = tmp_path_factory.mktemp("reference")
    with ThreadPoolExecutor(1) as executor:
        train(tiny(), TRIALS, folder, executor=executor)
    return records_of(folder)


@pytest.fixture
def eventful(tmp_path, monkeypatch):
    """Make an experiment whose networks meet an event; returns it and the log: process and trials of each stack."""
    log = tmp_path / "events.log"
    monkeypatch.setenv("EVENT_LOG", str(log))

    def make(event):
        monkeypatch.setenv("EVENT", event)
        return tiny("tests.lib.own:Eventful"), log

    return make


def test_groups_are_named_by_their_trials(reference):
    assert sorted(reference) == ["trials-000-024.json.gz", "trials-025-049.json.gz", "trials-050-059.json.gz"]


@pytest.mark.slow  # the study that is killed and resumed has two workers, too
@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bits(reference, tmp_path, number):
    train(tiny(), TRIALS, tmp_path, workers=number)
    assert records_of(tmp_path) == reference


def test_interrupted_and_resumed_is_the_same_as_uninterrupted(reference, tmp_path):
    """One group lacks: it is trained in this process, and gives the bits that a worker gave."""
    for trials in (25, 50, TRIALS):
        train(tiny(), trials, tmp_path)
    assert records_of(tmp_path) == reference


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_of_ones_own_gives_the_same_bits(reference, pool, tmp_path, kind):
    with ThreadPoolExecutor(2) as threads:
        train(tiny(), TRIALS, tmp_path, executor=threads if kind == "threads" else pool)
    assert records_of(tmp_path) == reference


def test_this_process_keeps_its_number_of_threads_and_reports_to_no_old_bar(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(tiny(), 2, tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert workers.tick is None


def test_a_group_is_trained_by_one_thread_whatever_the_process_had(tmp_path):
    torch.set_num_threads(2)
    try:
        workers.train_group(tiny(), range(1), Store(tmp_path))
    finally:
        torch.set_num_threads(1)
    [path] = Store(tmp_path).files()
    assert store.read(path)["provenance"]["threads"] == 1


@pytest.mark.slow  # Ctrl-C and the kill of the whole study end workers, too
def test_a_killed_worker_costs_only_the_groups_that_were_not_finished(reference, eventful, tmp_path):
    experiment, log = eventful("kill 2")
    result = train(experiment, TRIALS, tmp_path / "results", workers=1)
    assert result.accuracy.shape == (TRIALS, 2)
    processes, trials = zip(*(map(int, line.split()) for line in log.read_text().splitlines()), strict=True)
    assert trials == (25, 25, 25, 10), "one group finished, one killed, then the two that lacked"
    assert len(set(processes)) == 2, "the second pool is a process of its own"
    assert os.getpid() not in processes
    for name, record in records_of(tmp_path / "results").items():  # a WSN by another name
        assert {**record, "configuration": None} == {**reference[name], "configuration": None}


@pytest.mark.slow
def test_a_group_that_always_kills_is_given_up_by_name_after_three_rounds(eventful, tmp_path):
    experiment, log = eventful("kill always")
    with pytest.raises(StudyError, match="2 of 2 groups failed") as caught:
        train(experiment, 50, tmp_path / "results", workers=1)
    assert "Eventful trials 0 to 24, Eventful trials 25 to 49" in str(caught.value)
    assert len(log.read_text().splitlines()) == 3
    assert not records_of(tmp_path / "results")


@pytest.mark.parametrize("where", ["thread", pytest.param("worker", marks=pytest.mark.slow)])
def test_an_error_in_one_group_is_said_and_the_others_are_kept(eventful, tmp_path, where):
    experiment, log = eventful("fail 2")
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(StudyError, match=r"^1 of 3 groups failed \(Eventful trials 25 to 49\): no room for this stack$"),
    ):
        options = {"executor": executor} if where == "thread" else {"workers": 1}
        train(experiment, TRIALS, tmp_path / "results", **options)
    assert len(log.read_text().splitlines()) == 3, "an error of the code's own is not tried again"
    assert sorted(records_of(tmp_path / "results")) == ["trials-000-024.json.gz", "trials-050-059.json.gz"]


def test_an_error_in_this_process_is_said_in_the_same_way(eventful, tmp_path):
    experiment, _ = eventful("fail always")
    with pytest.raises(StudyError, match=r"^1 of 1 groups failed \(Eventful trials 0 to 4\): no room"):
        train(experiment, 5, tmp_path / "results")


@pytest.mark.parametrize(
    ("error", "words"), [(MemoryError(), "MemoryError"), (OSError(), "OSError"), (KeyError(), "KeyError")]
)
def test_an_error_without_a_text_names_its_type_and_a_few_of_many_groups(error, words, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("lib.workers.train_group", fail)
    with ThreadPoolExecutor(1) as executor, pytest.raises(StudyError) as caught:
        train(tiny(), 200, tmp_path, executor=executor)
    named = ", ".join(f"WSN trials {first} to {first + 24}" for first in (0, 25, 50))
    assert str(caught.value) == f"8 of 8 groups failed ({named} and 5 more): {words}"


@pytest.mark.parametrize("number", workers.NO_ROOM)
def test_a_disk_that_takes_no_more_stops_the_study_at_once(number, tmp_path, monkeypatch):
    asked, train_group = [], workers.train_group

    def full(experiment, trials, **options):
        asked.append(trials)
        if len(asked) > 1:
            time.sleep(0.2 * (len(asked) - 2))
            raise OSError(number, f"{tmp_path} cannot be written ({os.strerror(number)}): make room there")
        train_group(experiment, trials, **options)

    monkeypatch.setattr("lib.workers.train_group", full)
    with ThreadPoolExecutor(1) as executor, pytest.raises(StudyError, match=r"any more: .* make room there; wh"):
        train(tiny(), 200, tmp_path, executor=executor)
    assert len(asked) <= 3, "of eight groups; one may have begun meanwhile"
    assert list(records_of(tmp_path)) == ["trials-000-024.json.gz"]


def test_a_loss_that_is_not_finite_is_an_error_and_stores_nothing(tmp_path):
    wild = tiny(one_hot_encoding=False, sigmoid=False, learning_rate=1000.0, epochs=5)
    with pytest.raises(StudyError, match="smaller learning_rate"):
        train(wild, 2, tmp_path)
    assert not records_of(tmp_path)


def living(group):
    """The processes of a process group that are not yet dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def script(folder, body, guard=True):
    """Write a script as a user would, with the guard that processes need, or without; return the file."""
    main = textwrap.dedent(body).strip()
    text = f"""
from lib import Store, run_analysis
from tests.lib.own import tiny
{f'if __name__ == "__main__":{chr(10)}{textwrap.indent(main, "    ")}' if guard else main}
"""
    file = folder / "study.py"
    file.write_text(text)
    return file


def start(file, stdin=None):
    """Run a script in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, file], start_new_session=True, env=environment, stdin=stdin, stderr=subprocess.PIPE, text=True
    )


def end(study):
    """Leave nothing running, whatever happened."""
    for process in living(study.pid):
        os.kill(process, signal.SIGKILL)
    study.wait()
    study.stderr.close()


@pytest.mark.slow  # the kill of a whole study is tested below
@linux
def test_ctrl_c_keeps_finished_groups_and_leaves_no_process(eventful, tmp_path):
    """As a terminal sends it: to the whole process group, while one group is finished and another one trains."""
    _, log = eventful("sleep 2")
    results = tmp_path / "results"
    body = f'run_analysis(tiny("tests.lib.own:Eventful"), 50, workers=1, store=Store({str(results)!r}), progress=False)'
    study = start(script(tmp_path, body))
    try:
        assert wait_for(lambda: log.exists() and len(log.read_text().splitlines()) == 2), "the second never began"
        os.killpg(study.pid, signal.SIGINT)
        _, error = study.communicate(timeout=90)
        assert "KeyboardInterrupt" in error
        assert study.returncode != 0
        assert wait_for(lambda: not living(study.pid), 10), f"still running: {living(study.pid)}"
    finally:
        end(study)
    assert list(records_of(results)) == ["trials-000-024.json.gz"]
    assert not list(results.rglob("*.part"))


@linux
def test_a_study_that_is_killed_is_resumed_to_the_same_bits(reference, tmp_path):
    """The study's own process is killed, not its worker: that one ends by itself, and what is stored is whole."""
    results = tmp_path / "results"
    study = start(script(tmp_path, f"run_analysis(tiny(), {TRIALS}, workers=1, store=Store({str(results)!r}))"))
    try:
        assert wait_for(lambda: list(Store(results).files())), "no group was ever finished"
        study.kill()
        assert wait_for(lambda: not living(study.pid), 20), f"still running: {living(study.pid)}"
    finally:
        end(study)
    stored = records_of(results)  # reads, and so checks, every file
    assert stored.items() <= reference.items()
    before = {path: path.stat().st_mtime_ns for path in Store(results).files()}
    with ThreadPoolExecutor(1) as executor:
        train(tiny(), TRIALS, results, executor=executor)
    assert records_of(results) == reference
    assert before.items() <= {path: path.stat().st_mtime_ns for path in Store(results).files()}.items()


@linux
@pytest.mark.slow
def test_a_study_killed_at_random_moments_is_resumed_to_the_same_bits(reference, tmp_path):
    times, results, moments, kept = 20, tmp_path / "results", random.Random(20), set()
    file = script(tmp_path, f"run_analysis(tiny(), {TRIALS}, workers=2, store=Store({str(results)!r}))")
    for number in range(times):
        study = start(file)
        try:
            told = study.stderr.readline()  # the first line comes when the imports are over
            wait_for(lambda study=study: len(living(study.pid)) > 2 or study.poll() is not None)  # workers begin
            time.sleep((number + moments.random()) * 5 / times)  # they import for seconds, then groups are soon done
            study.kill()
            assert wait_for(lambda pid=study.pid: not living(pid), 20), f"still running: {living(study.pid)}"
        finally:
            end(study)
        stored = records_of(results)
        assert all(stored[name] == reference[name] for name in stored)
        assert kept <= set(stored), "what was stored stays"
        if 0 < len(kept) < len(reference):
            trials = sum(len(reference[name]["trials"]) for name in kept)
            assert told == f"{trials} of {TRIALS} trials are stored and kept\n"
        kept = set(stored)
    train(tiny(), TRIALS, results, workers=2)
    assert records_of(results) == reference


def test_a_script_needs_a_guard(tmp_path):
    """A worker imports the script again, which must not train there: one sentence says so."""
    results = tmp_path / "results"
    study = start(script(tmp_path, f"run_analysis(tiny(), 50, workers=1, store=Store({str(results)!r}))", guard=False))
    try:
        _, error = study.communicate(timeout=180)
    finally:
        end(study)
    assert study.returncode == 1
    assert error.count("Traceback") == 1 and "RuntimeError" not in error and "Broken" not in error
    assert error.splitlines()[-1] == (
        "lib.workers.StudyError: a worker process imports this script again and must not train there: "
        'put what trains below the line if __name__ == "__main__":'
    )
    assert not records_of(results)


STDIN = "worker processes import this script again, and <stdin> is no file: run it as one, put what trains below"
CANNOT = "a worker process imports this script again and failed there, with the error that it has printed: put what is"


@pytest.mark.parametrize(
    ("line", "piped", "sentence"),
    [
        ("", True, STDIN),
        *(pytest.param(line, False, CANNOT, marks=pytest.mark.slow) for line in ("1 / 0", "sys.exit(1)")),
    ],
)
def test_a_script_that_no_worker_can_import_is_tried_once(tmp_path, line, piped, sentence):
    """As one from a pipe, which is no file, or one that does not work there, as where it reads its input."""
    results = tmp_path / "results"
    body = f"""
        import sys
        if __name__ != "__main__":
            {line or "pass"}
        run_analysis(tiny(), 50, workers=1, store=Store({str(results)!r}))
    """
    file = script(tmp_path, body, guard=False)
    with file.open() as text:
        study = start("-" if piped else file, stdin=text)
        try:
            _, error = study.communicate(timeout=180)
        finally:
            end(study)
    assert study.returncode == 1
    assert error.splitlines()[-1].startswith(f"lib.workers.StudyError: {sentence}")
    assert error.count("Traceback") == 1 + (line == "1 / 0") and "Broken" not in error
    assert not records_of(results)


def test_a_clock_that_is_set_back_changes_nothing(reference, tmp_path, monkeypatch):
    hours = count(10, -1)
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))  # the progress bar's, too
    train(tiny(), 25, tmp_path, progress=True)
    monkeypatch.undo()
    assert records_of(tmp_path) == {"trials-000-024.json.gz": reference["trials-000-024.json.gz"]}
    [path] = Store(tmp_path).files()
    assert 0 < store.read(path)["provenance"]["seconds"] < 600


@pytest.mark.slow
def test_two_runs_on_one_store_at_once_in_a_strange_folder_under_locale_c(reference, tmp_path):
    folder = tmp_path / "Größe und Zahl 数"
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from lib import Store, run_analysis
from tests.lib.own import tiny
print(run_analysis(tiny(), 25, store=Store(sys.argv[1])).accuracy.shape)
"""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for run in runs:
        out, error = run.communicate(timeout=300)
        assert run.returncode == 0, error.decode()
        assert out == b"(25, 2)\n"
    assert records_of(folder) == {"trials-000-024.json.gz": reference["trials-000-024.json.gz"]}
    assert not list(folder.rglob("*.part"))
