"""Many blocks at once: any number of workers gives the same bits, and whatever happens to one, the rest is kept."""

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from lib import Experiment, run_analysis, store, workers
from lib.machine import ROOT
from lib.workers import StudyError

TRIALS = 60  # blocks 0-24, 25-49, 50-59

# An architecture that counts the stacks built of it, and can kill, fail or sleep at a chosen one.
EVENTFUL = '''
import os, signal, time
from pathlib import Path
from lib.architectures import WSN
from lib.machine import ROOT

class Eventful(WSN):
    """A network to which something happens."""
    def __init__(self, sizes):
        super().__init__(sizes)
        log = Path(os.environ["EVENT_LOG"])
        with log.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        event, _, when = os.environ["EVENT"].partition(" ")
        if when in ("always", str(len(log.read_text().split()))):
            if event == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if event == "fail":
                raise MemoryError("no room for this stack")
            if event == "sleep":
                time.sleep(300)
'''


def tiny(architecture="WSN", **fields):
    fields = {"train_pairs": 20, "test_pairs": 20, "epochs": 2, "batch_size": 10, "learning_rate": 0.1, **fields}
    return Experiment(architecture=architecture, dataset="digits", **fields)


def files_of(results):
    """The stored records by file name, without where they come from."""
    records = {path.name: store.read(path) for path in results.rglob("trials-*.json")}
    return {name: {k: v for k, v in record.items() if k != "provenance"} for name, record in records.items()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """All blocks, each by the one worker of a pool."""
    results = tmp_path_factory.mktemp("one-worker")
    run_analysis(tiny(), TRIALS, workers=1, results=results, progress=False)
    return files_of(results)


@pytest.fixture
def eventful(tmp_path, monkeypatch):
    """Make an experiment whose networks meet an event; returns it and the log of the stacks that were built."""
    folder, log = tmp_path / "modules", tmp_path / "events.log"
    folder.mkdir()
    (folder / "eventful.py").write_text(EVENTFUL)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("EVENT_LOG", str(log))
    monkeypatch.delitem(sys.modules, "eventful", raising=False)

    def make(event, **fields):
        monkeypatch.setenv("EVENT", event)
        return tiny("eventful:Eventful", **fields), log

    return make


def test_blocks_are_named_by_their_trials(reference):
    assert sorted(reference) == ["trials-000-024.json", "trials-025-049.json", "trials-050-059.json"]


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_workers_gives_the_same_bits(reference, tmp_path, count):
    run_analysis(tiny(), TRIALS, workers=count, results=tmp_path, progress=False)
    assert files_of(tmp_path) == reference


def test_interrupted_and_resumed_is_the_same_as_uninterrupted(reference, tmp_path):
    """One block lacks: it is trained in this process, and gives the bits that a worker gave."""
    run_analysis(tiny(), 25, results=tmp_path, progress=False)
    run_analysis(tiny(), 50, results=tmp_path, progress=False)
    run_analysis(tiny(), TRIALS, results=tmp_path, progress=False)
    assert files_of(tmp_path) == reference


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_of_ones_own_gives_the_same_bits(reference, tmp_path, kind):
    pool = ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(1, get_context("spawn"))
    with pool:
        run_analysis(tiny(), TRIALS, executor=pool, results=tmp_path, progress=False)
    assert files_of(tmp_path) == reference


def test_this_process_keeps_its_number_of_threads_and_reports_to_no_old_bar(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_analysis(tiny(), 2, results=tmp_path, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert workers.tick is None


def test_a_killed_worker_costs_only_the_blocks_that_were_not_finished(reference, eventful, tmp_path):
    experiment, log = eventful("kill 2")
    result = run_analysis(experiment, TRIALS, workers=1, results=tmp_path, progress=False)
    assert result.accuracy.shape == (TRIALS, 2)
    processes = log.read_text().split()
    assert len(processes) == 4, "one block finished, one killed, then the two that lacked"
    assert len(set(processes)) == 2, "the second pool is a process of its own"
    assert str(os.getpid()) not in processes
    for name, record in files_of(tmp_path).items():  # an own architecture, in workers: here a WSN by another name
        assert {**record, "configuration": None} == {**reference[name], "configuration": None}


def test_a_block_that_always_kills_is_given_up_by_name_after_three_rounds(eventful, tmp_path):
    experiment, log = eventful("kill always")
    with pytest.raises(StudyError, match="2 of 2 blocks failed") as caught:
        run_analysis(experiment, 50, workers=1, results=tmp_path, progress=False)
    assert "Eventful trials 0 to 24, Eventful trials 25 to 49" in str(caught.value)
    assert len(log.read_text().split()) == 3
    assert not files_of(tmp_path)


def test_an_error_in_one_block_is_said_and_the_others_are_kept(eventful, tmp_path):
    experiment, log = eventful("fail 2")
    with pytest.raises(StudyError, match=r"1 of 3 blocks failed \(Eventful trials 25 to 49\): no room for this stack"):
        run_analysis(experiment, TRIALS, workers=1, results=tmp_path, progress=False)
    assert len(log.read_text().split()) == 3, "an error of the code's own is not tried again"
    assert sorted(files_of(tmp_path)) == ["trials-000-024.json", "trials-050-059.json"]


def test_an_error_in_this_process_is_said_in_the_same_way(eventful, tmp_path):
    experiment, _ = eventful("fail always")
    with pytest.raises(StudyError, match=r"1 of 1 blocks failed \(Eventful trials 0 to 1\): no room"):
        run_analysis(experiment, 2, results=tmp_path, progress=False)


def test_a_loss_that_is_not_finite_is_an_error_and_stores_nothing(tmp_path):
    wild = tiny(one_hot_encoding=False, sigmoid=False, learning_rate=1000.0, epochs=5)
    with pytest.raises(StudyError, match="smaller learning_rate"):
        run_analysis(wild, 2, results=tmp_path, progress=False)
    assert not files_of(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (3599, "1 h 0 min"), (4810, "1 h 20 min")]
)
def test_a_duration_in_words(seconds, words):
    assert workers.duration(seconds) == words


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
        time.sleep(0.05)
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_keeps_finished_blocks_and_leaves_no_process(eventful, tmp_path):
    """As a terminal sends it: to the whole group, while one block is finished and another one trains."""
    _, log = eventful("sleep 2")
    results = tmp_path / "results"
    script = textwrap.dedent(f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path / "modules")!r}]
        from pathlib import Path
        from tests.lib.test_workers import tiny
        from lib import run_analysis
        if __name__ == "__main__":
            run_analysis(tiny("eventful:Eventful"), 50, workers=1, results=Path({str(results)!r}), progress=False)
    """)
    (tmp_path / "study.py").write_text(script)
    study = subprocess.Popen([sys.executable, tmp_path / "study.py"], start_new_session=True, stderr=subprocess.PIPE)
    try:
        assert wait_for(lambda: log.exists() and len(log.read_text().split()) == 2), "the second block never began"
        os.killpg(study.pid, signal.SIGINT)
        _, error = study.communicate(timeout=90)
        assert b"KeyboardInterrupt" in error
        assert study.returncode != 0
        assert wait_for(lambda: not living(study.pid), 10), f"still running: {living(study.pid)}"
    finally:
        for process in living(study.pid):
            os.kill(process, signal.SIGKILL)
        study.wait()
    assert list(files_of(results)) == ["trials-000-024.json"]
    assert not list(results.rglob("*.part"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_study_killed_at_random_moments_is_resumed_to_the_same_bits(reference, tmp_path, times):
    """The study's own process is killed, not its workers: they end by themselves, and what is stored is whole."""
    results = tmp_path / "results"
    script = textwrap.dedent(f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}]
        from pathlib import Path
        from tests.lib.test_workers import TRIALS, tiny
        from lib import run_study
        if __name__ == "__main__":
            run_study([tiny()], TRIALS, workers=2, results=Path({str(results)!r}))
    """)
    (tmp_path / "study.py").write_text(script)
    moments = random.Random(times)
    kept = set()
    for number in range(times):
        study = subprocess.Popen(
            [sys.executable, tmp_path / "study.py"], start_new_session=True, stderr=subprocess.PIPE, text=True
        )
        try:
            told = study.stderr.readline()  # the first line comes when the imports are over
            wait_for(lambda study=study: len(living(study.pid)) > 2 or study.poll() is not None)  # workers begin
            time.sleep((number + moments.random()) * 5 / times)  # they import for seconds, then blocks are soon done
            study.kill()
            study.stderr.close()
            study.wait()
            assert wait_for(lambda pid=study.pid: not living(pid), 20), f"still running: {living(study.pid)}"
        finally:
            for process in living(study.pid):
                os.kill(process, signal.SIGKILL)
        stored = files_of(results)  # reads, and so checks, every file
        assert all(stored[name] == reference[name] for name in stored)
        assert kept <= set(stored), "what was stored stays"
        if 0 < len(kept) < len(reference):
            trials = sum(len(reference[name]["trials"]) for name in kept)
            assert told == f"{trials} of {TRIALS} trials are stored and kept\n"
        kept = set(stored)
    run_analysis(tiny(), TRIALS, workers=2, results=results, progress=False)
    assert files_of(results) == reference


def test_a_clock_that_is_set_back_changes_nothing_but_the_start(reference, tmp_path, monkeypatch):
    hours = itertools.count(10, -1)

    class Clock(datetime):
        @classmethod
        def now(cls, zone):
            return datetime.fromtimestamp(time.time(), zone)

    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))  # tqdm's too
    monkeypatch.setattr("lib.training.datetime", Clock)
    run_analysis(tiny(), 25, results=tmp_path, progress=True)
    monkeypatch.undo()
    assert files_of(tmp_path) == {"trials-000-024.json": reference["trials-000-024.json"]}
    [path] = tmp_path.rglob("*.json")
    provenance = store.read(path)["provenance"]
    assert provenance["started"] <= "1970-01-01T10:00:00+00:00"
    assert 0 < provenance["seconds"] < 600


def test_two_runs_on_one_store_at_once_in_a_strange_folder_under_locale_c(reference, tmp_path):
    folder = tmp_path / "Größe und Zahl 数"
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from tests.lib.test_workers import tiny
        from lib import run_analysis
        print(run_analysis(tiny(), 25, results=Path(sys.argv[1])).accuracy.shape)
    """)
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, folder], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for run in runs:
        out, error = run.communicate(timeout=300)
        assert run.returncode == 0, error.decode()
        assert out == b"(25, 2)\n"
    assert files_of(folder) == {"trials-000-024.json": reference["trials-000-024.json"]}
    assert not list(folder.rglob("*.part"))


def test_a_block_is_trained_by_one_thread_whatever_the_process_had(tmp_path):
    torch.set_num_threads(2)
    try:
        small = Experiment(dataset="digits", train_pairs=100, test_pairs=20, epochs=1)
        workers.train_block(small, range(1), tmp_path)
    finally:
        torch.set_num_threads(1)
    [path] = tmp_path.rglob("*.json")
    assert store.read(path)["provenance"]["threads"] == 1
