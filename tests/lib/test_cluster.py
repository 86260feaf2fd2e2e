"""A cluster on loopback gives the bits that local processes give, whatever happens to one of its workers."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module

import pytest

from lib import Store, cluster, run_study, workers
from lib.workers import StudyError
from report.__main__ import main
from report.speed.cluster import Loopback
from tests.lib.own import tiny
from tests.lib.test_workers import records_of, wait_for

try:
    import distributed
except ModuleNotFoundError:
    distributed = None

needs_dask = pytest.mark.skipif(distributed is None, reason="pip install -e '.[cluster]'")

TRIALS, EPOCHS = 60, 3  # groups 0-24, 25-49, 50-59
WAITING = "tests.lib.own:Waiting"


@pytest.fixture
def started(tmp_path):
    """Start a cluster of so many workers; what they train notes its events in `events.log` beside their folder."""
    several = []

    def start(number, **variables):
        (tmp_path / "dask").mkdir()
        several.append(Loopback(tmp_path / "dask", EVENT_LOG=str(tmp_path / "events.log"), **variables))
        several[-1].work(number)
        return several[-1]

    yield start
    for each in several:
        each.end()


class Bar:
    """Stands in for the bar: keeps the trial-epochs that come, and calls a function each time."""

    def __init__(self, came):
        self.came, self.numbers = came, []

    def update(self, number):
        self.numbers.append(number)
        self.came(sum(self.numbers))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@needs_dask
def test_a_killed_worker_loses_nothing_and_the_bits_are_those_of_local_processes(started, tmp_path, monkeypatch):
    experiment, log, there = tiny(WAITING, epochs=EPOCHS), tmp_path / "events.log", tmp_path / "there"
    dask, killed, stored_before = started(2), [], []

    def came(trial_epochs):
        stored_before.append(len(list(Store(there).files())))
        if trial_epochs == 50:  # each of both has told of its first epoch, and waits in its second
            assert wait_for(lambda: len(log.read_text().splitlines()) == 2, 60)
            killed.append(int(log.read_text().split()[0]))
            os.kill(killed[0], signal.SIGKILL)
            (tmp_path / "go").touch()

    bar = Bar(came)
    monkeypatch.setattr(workers, "progress_bar", lambda *_: bar)
    with cluster.connected(dask.address) as executor:
        run_study([experiment], TRIALS, store=Store(there), executor=executor, progress=False)
    assert killed and dask.processes[killed[0]].wait() == -signal.SIGKILL
    assert stored_before[0] == 0, "progress comes before the first group ends"
    assert bar.numbers[:2] == [25, 25]
    assert 0 in bar.numbers, "the epoch that was lost with the worker does not count twice"
    assert sum(bar.numbers) == TRIALS * EPOCHS
    pids = {int(line.split()[0]) for line in log.read_text().splitlines()}
    assert pids <= dask.processes.keys() and len(pids) == 2, "the workers trained, and nobody else"
    monkeypatch.undo()
    monkeypatch.setenv("EVENT_LOG", str(log))  # whose `go` is there
    here = tmp_path / "here"
    run_study([experiment], TRIALS, store=Store(here), workers=2, progress=False)
    assert records_of(there) == records_of(here)
    assert len(records_of(there)) == 3
    assert not [each for each in there.iterdir() if each.is_file()]


@needs_dask
@pytest.mark.slow
def test_a_scheduler_that_ends_is_said_and_what_is_finished_is_kept(started, tmp_path, monkeypatch):
    experiment, there, dask = tiny(WAITING, epochs=EPOCHS), tmp_path / "there", started(1)
    monkeypatch.setattr(workers, "progress_bar", lambda *_: Bar(lambda _: dask.scheduler.kill()))
    with (
        pytest.raises(StudyError, match=r"^3 of 3 groups failed .*: the executor has given them up: .* its scheduler"),
        cluster.connected(dask.address) as executor,
    ):
        run_study([experiment], TRIALS, store=Store(there), executor=executor, progress=False)
    assert not [each for each in there.iterdir() if each.is_file()]


@needs_dask
@pytest.mark.slow
def test_a_group_that_fails_on_a_cluster_is_named_and_the_others_are_kept(started, tmp_path):
    experiment, there = tiny("tests.lib.own:Eventful"), tmp_path / "there"
    with cluster.connected(started(1, EVENT="fail 2").address) as executor:
        with pytest.raises(StudyError, match=r"^1 of 3 groups failed \(Eventful trials .*\): no room for this stack$"):
            run_study([experiment], TRIALS, store=Store(there), executor=executor, progress=False)
        run_study([experiment], TRIALS, store=Store(there), executor=executor, progress=False)
    assert len(records_of(there)) == 3


@needs_dask
def test_the_study_trains_on_the_workers_of_a_scheduler(started, tmp_path, monkeypatch, capfd):
    """`python -m report study --scheduler ADDRESS`, with small studies in the place of its own."""
    for module in ("inventory", "statements", "implementations"):
        import_module(f"report.{module}")  # or it would take this test's stores for the project's, for good
    dask, experiment = started(1), tiny("tests.lib.own:Eventful")
    for place, value in (
        ("lib.analysis.PUBLISHED", tmp_path / "there"),
        ("lib.analysis.PREREGISTERED", tmp_path / "there"),
        ("report.study.EXPERIMENTS", [experiment]),
        ("report.study.TRIALS", 25),
        ("report.statements.asked", lambda: [tiny("tests.lib.own:Eventful", seed=2)]),
        ("report.statements.TRIALS", 25),
        ("report.implementations.PREREGISTERED", tmp_path / "there"),
        ("report.implementations.BY_TORCH", tmp_path / "by-torch"),
        ("report.implementations.EXPERIMENT", experiment),
        ("report.implementations.TRIALS", 25),
    ):
        monkeypatch.setattr(place, value)
    assert main(["study", "--scheduler", dask.address]) == 0
    assert len(records_of(tmp_path / "there")) == 2 and len(records_of(tmp_path / "by-torch")) == 1
    pids = {int(line.split()[0]) for line in (tmp_path / "events.log").read_text().splitlines()}
    assert len(pids) == 1 and pids <= dask.processes.keys(), "all by the worker, a single group too"
    said = capfd.readouterr().err
    assert "training 25 trials (Eventful), by the executor's workers\n" in said
    assert "50/50" in said, "the bar, in trial-epochs"


@pytest.mark.parametrize(
    ("address", "why"), [("nonsense", "missing port"), ("tcp://127.0.0.1:1", "refused"), ("", "missing port")]
)
@needs_dask
def test_where_no_scheduler_answers_one_sentence_says_so(address, why, capsys):
    assert main(["study", "--scheduler", address]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"scheduler is {address!r}, and none answers there (") and why in said
    assert said.count("\n") == 1 and "allowed: an address as `dask scheduler` prints it" in said


def test_without_the_extra_one_sentence_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["study", "--scheduler", "tcp://127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("a cluster needs the extra of that name (") and said.endswith(
        ": pip install -e '.[cluster]'\n"
    )


def test_a_worker_without_the_shared_folder_stops_the_study_before_it_trains(tmp_path, monkeypatch):
    """As on a machine of its own, where the same path is another folder."""

    @contextmanager
    def elsewhere(executor, root):
        yield cluster.Wire("trial-epochs", root / "of another machine"), None

    monkeypatch.setattr(workers, "wired", elsewhere)
    monkeypatch.setattr("lib.training.prepare", lambda *_, **__: pytest.fail("it trains"))
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(
            StudyError, match=rf"^the worker on .* has another {tmp_path} than .* one file system, under the"
        ),
    ):
        run_study([tiny()], TRIALS, store=Store(tmp_path), executor=executor, progress=False)


def test_any_other_executor_has_no_wire(tmp_path):
    with ThreadPoolExecutor(1) as executor, cluster.wired(executor, tmp_path) as both:
        assert both == (None, None)
    assert not list(tmp_path.iterdir())
