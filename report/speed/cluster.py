"""How the study scales on a cluster: `python -m report.speed.cluster` measures here what the table computes from.

Measured are a scheduler and its workers on this machine, as the commands of Dask start them; what more cores would take
is computed (`rows`), and says so.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from heapq import heapreplace
from pathlib import Path
from typing import Any, NamedTuple, cast

from lib import Experiment, Store, cluster, files, run_study
from lib.analysis import PUBLISHED
from lib.machine import ROOT
from lib.store import GROUP, groups
from report import study
from report.speed.measured import about, spread

FILE = ROOT / "report" / "speed" / "cluster.json"
ROUNDS, EPOCHS, TASKS, REPORTS = 3, 5, 500, 100
SIZES = (GROUP, 5, 1)  # trials of a group
CORES = (1, 2, 8, 64, 1000)
UNITS = {
    "*_s": "seconds; of spreads, `all` has one per round",
    "start_up_s": "from the command that starts a worker until it has imported the library and read the digits",
    "task_s": "per empty task, from its submission until all are done, by two workers",
    "report_s": "per report of progress, by two workers",
    "groups": "one group of 25 trials of each network by one worker and by two, all through the scheduler",
    "sizes": "core seconds of a group of so many trials of WSN, by one worker",
    "study": "what the stored results say of their own training, 100 epochs each, by local processes",
}


class Loopback:
    """A Dask scheduler on this machine alone, and its workers: processes of one thread each."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """Start the scheduler; `variables` are the environment's, and `folder` is for what Dask writes."""
        self.folder, self.variables = folder, variables
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        file = folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", str(file))
        self.address = self.answered(file)

    def answered(self, file: Path) -> str:
        """Return the address of the scheduler, which it writes into a file. Raises ConnectionError if it has ended."""
        while self.scheduler.poll() is None:
            try:
                return str(json.loads(file.read_text())["address"])
            except (FileNotFoundError, ValueError):  # not there, or not yet whole
                time.sleep(0.01)
        raise ConnectionError(f"the scheduler has ended: {(self.folder / 'dask.log').read_text()}")

    def start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        """Start `dask scheduler` or `dask worker`."""
        alone = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        command = [sys.executable, "-m", "dask", what, *alone, *options]
        with (self.folder / "dask.log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **self.variables}, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes[process.pid] = process
        return process

    def work(self, number: int = 1) -> None:
        """Start workers, and wait for them."""
        from distributed import Client

        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        with Client(self.address, set_as_default=False) as client:
            known = len(client.scheduler_info()["workers"])
            for _ in range(number):
                self.start("worker", self.address, *options)
            client.wait_for_workers(known + number, timeout=120)

    def end(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.kill()
            process.wait()


@contextmanager
def loopback() -> Iterator[tuple[Loopback, Any]]:
    """Yield a scheduler, and its executor."""
    with tempfile.TemporaryDirectory() as folder:
        dask = Loopback(Path(folder))
        try:
            with cluster.connected(dask.address) as executor:
                yield dask, executor
        finally:
            dask.end()


def measure(rounds: int = ROUNDS, settings: str = "", tasks: int = TASKS) -> dict[str, Any]:
    """Measure all of it, in turns; `settings` (words of Experiment's grammar) and few `tasks` make it small."""
    experiments = [Experiment.parse(name, f"epochs={EPOCHS}", settings) for name in study.NETWORKS]
    wsn = Experiment.parse("WSN", f"epochs={EPOCHS}", settings)
    where, times = about(), cast(dict[str, list[float]], {})  # now: the load before

    @contextmanager
    def timed(name: str, parts: int = 1) -> Iterator[None]:
        start = time.perf_counter()
        yield
        times.setdefault(name, []).append((time.perf_counter() - start) / parts)

    for _ in range(rounds):
        with loopback() as (dask, executor), timed("start_up_s"):
            dask.work(1)
            every(executor, ready, [wsn])
    with loopback() as (alone, one), loopback() as (both, two):
        alone.work(1)
        both.work(2)
        for executor in (one, two):  # what comes first takes longer: libraries are loaded, digits read
            train(experiments, executor)
            with cluster.wired(executor, ROOT) as (wire, _):
                every(executor, tell, [wire] * 4)
        for _ in range(rounds):
            with timed("task_s", tasks):
                every(two, abs, range(tasks))
            with cluster.wired(two, ROOT) as (wire, _), timed("report_s", 4 * REPORTS):
                every(two, tell, [wire] * 4)
            with timed("one_worker_s"):
                train(experiments, one)
            with timed("two_workers_s"):
                train(experiments, two)
            for size in SIZES:
                with timed(f"of {size}"):
                    train([wsn], one, size)
    return {
        "about": where,
        "units": UNITS,
        "rounds": rounds,
        "epochs": EPOCHS,
        **{name: spread(times[name]) for name in ("start_up_s", "task_s", "report_s")},
        "groups": {name: spread(times[name]) for name in ("one_worker_s", "two_workers_s")},
        "sizes": [{"trials": size, "group_s": spread(times[f"of {size}"])} for size in SIZES],
        "study": studied(),
    }


def every(executor: Any, function: Callable[..., object], arguments: Iterable[Any]) -> None:
    """Have an executor call a function with each of some arguments, and wait until it has."""
    for future in [executor.submit(function, each) for each in arguments]:
        future.result()


def ready(experiment: Experiment) -> None:
    """Do what a worker does before its first group: import the library, read the digits, load the compiled block."""
    from lib import datasets
    from lib.training import chosen

    datasets.load(experiment.dataset)
    chosen(experiment)


def tell(wire: cluster.Wire) -> None:
    """Report progress, and do nothing else."""
    for _ in range(REPORTS):
        wire(0)


def train(experiments: Sequence[Experiment], executor: Any, trials: int = GROUP) -> None:
    """Train a group of each experiment into a store that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run_study(experiments, trials, store=Store(folder), executor=executor, progress=False)


def studied(folder: Path = PUBLISHED) -> dict[str, Any]:
    """Return what the stored groups of the study took, and by the clock, from the first one's start to the last's end.

    How many trained at a time is the ratio, if it was trained in one go. Raises FileNotFoundError where one is missing.
    """
    records = []
    for experiment in study.EXPERIMENTS:
        for group in groups(range(study.TRIALS)):
            record = Store(folder).read(experiment.configuration, group)
            if record is None:
                raise FileNotFoundError(f"{folder} lacks {experiment}: `make study` trains it")
            records.append(record)
    origins = [record["provenance"] for record in records]
    seconds = [origin["seconds"] for origin in origins]
    began = [datetime.fromisoformat(origin["started"]).timestamp() for origin in origins]
    clock = max(start + taken for start, taken in zip(began, seconds, strict=True)) - min(began)
    return {
        "groups_s": seconds,
        "by_the_clock_s": round(clock, 1),
        "at_a_time": round(sum(seconds) / clock, 2),
        "cpu": ", ".join(sorted({origin["cpu"] for origin in origins})),
        "days": " to ".join(sorted({origin["started"][:10] for origin in origins})),
    }


def read(file: Path = FILE) -> dict[str, Any]:
    """Return what was measured."""
    measured: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return measured


class Row(NamedTuple):
    """What the whole study takes on so many cores, in seconds; of what was measured as a whole no parts are known."""

    cores: int
    trials: int  # of a group
    groups: int
    start_up: float | None
    scheduler: float | None
    training: float
    work: float  # of all cores together
    how: str  # "measured" or "computed"

    @property
    def total(self) -> float:
        """From the start of the workers to the last result; the scheduler works beside them."""
        return (self.start_up or 0) + max(self.training, self.scheduler or 0)


def rows(measured: dict[str, Any]) -> list[Row]:
    """Return the rows of the table: groups as they are by numbers of cores, then the most cores with smaller groups."""
    held = measured["study"]
    groups_s, clock, at_a_time = held["groups_s"], held["by_the_clock_s"], round(held["at_a_time"])
    found = []
    for cores in CORES:
        if cores in (1, at_a_time):
            training = sum(groups_s) if cores == 1 else clock
            found.append(Row(cores, GROUP, len(groups_s), None, None, training, sum(groups_s), "measured"))
        else:
            found.append(computed(measured, cores))
    return [*found, *(computed(measured, CORES[-1], size) for size in SIZES[1:])]


def computed(measured: dict[str, Any], cores: int, trials: int = GROUP) -> Row:
    """Compute what the study takes on a cluster: each worker takes the next group as soon as it is free.

    All tasks and reports of progress pass the one scheduler, one after the other, while the workers train. A smaller
    group takes less time, and more per trial: as much more as was measured of WSN.
    """
    of_size = {size["trials"]: size["group_s"]["median"] for size in measured["sizes"]}
    smaller, parts = of_size[trials] / of_size[GROUP], -(-GROUP // trials)
    seconds = [taken * smaller for taken in measured["study"]["groups_s"] for _ in range(parts)]
    reports = len(seconds) * study.EXPERIMENTS[0].epochs
    return Row(
        cores,
        trials,
        len(seconds),
        measured["start_up_s"]["median"],
        len(seconds) * measured["task_s"]["median"] + reports * measured["report_s"]["median"],
        makespan(seconds, cores),
        sum(seconds),
        "computed",
    )


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Return when the last of some tasks ends, of which each worker takes the next one as soon as it is free."""
    free = [0.0] * workers  # when each is; a heap
    for taken in seconds:
        heapreplace(free, free[0] + taken)
    return max(free)


def table(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows in words; a dash stands where parts were not measured apart."""
    return [
        (
            f"{row.cores:,}",
            str(row.trials),
            f"{row.groups:,}",
            f"{row.training:,.0f} s",
            "–" if row.start_up is None else f"{row.start_up:.1f} s",
            "–" if row.scheduler is None else f"{row.scheduler:.1f} s",
            f"{row.total:,.0f} s",
            f"{100 * row.work / row.cores / row.total:.0f} %",
            row.how,
        )
        for row in rows(measured)
    ]


if __name__ == "__main__":
    files.write(FILE, json.dumps(measure(), indent=1) + "\n")
    print(FILE)
