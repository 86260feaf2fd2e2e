"""From experiments to results: read what is stored, train what is missing. Reading needs no torch."""

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib import datasets
from lib.experiment import Experiment
from lib.machine import ROOT
from lib.messages import one_of, show
from lib.store import GROUP, Record, Store, groups

PUBLISHED = ROOT / "report" / "results"  # the study in the repository: read first, written only by `make study`
STACK = {"cpu": GROUP, "cuda": 6 * GROUP}  # a GPU wants more work at once; it is stored as groups all the same
TRIALS = 150  # original report, section 1.3


@dataclass(frozen=True)
class Result:
    """The result of one experiment; unpacks as (name, mean, standard deviation) of the test accuracy per epoch.

    `accuracy` is `[trials, epochs]` in percent; `records` are the stored groups behind it, and `fingerprints` tell the
    pairs of each trial: two results may be paired, trial by trial, where they agree.
    """

    experiment: Experiment
    trials: int
    records: tuple[Record, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.name, self.mean, self.sd))

    @property
    def name(self) -> str:
        """Name of the experiment, for legends."""
        return self.experiment.name

    @functools.cached_property
    def accuracy(self) -> NDArray[np.float64]:
        """Test accuracy `[trials, epochs]` in percent."""
        return np.asarray(100 * self.values("test_correct") / self.experiment.test_pairs, np.float64)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the trials, `[epochs]` in percent."""
        return np.asarray(self.accuracy.mean(0))

    @property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviation over the trials (ddof 1), `[epochs]` in percentage points; NaN with a single trial."""
        return self.accuracy.std(0, ddof=1) if self.trials > 1 else np.full(self.experiment.epochs, np.nan)

    @property
    def auxiliary_accuracy(self) -> NDArray[np.float64] | None:
        """Test accuracy of the auxiliary head alone, `[trials, epochs]` in percent, or None without one."""
        total = self.records[0]["auxiliary_total"]
        return None if total is None else 100 * self.values("auxiliary_test_correct") / total

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprint of each trial's pairs."""
        return [each for record in self.records for each in record["fingerprints"]][: self.trials]

    def values(self, name: str) -> NDArray[Any]:
        """Return a stored list, such as "train_loss", or a measure, as an array with the trials first."""
        rows: list[Any] = [{**record, **record.get("measures", {})}[name] for record in self.records]
        return np.concatenate(rows)[: self.trials]


def default_store() -> Store:
    """Return the store of this project: the user's own folder, and the published study, which is only read."""
    return Store(os.environ.get("RESULTS_ROOT") or ROOT / "results", also=[PUBLISHED])


def run_analysis(experiment: Experiment, trials: int = TRIALS, **options: Any) -> Result:
    """Train all trials of one experiment that the store lacks, and return its result; options as in `run_study`.

    The original's function of this name (section 1.3), which "returns the name of the model input, the mean and the
    standard deviation": so does this, when unpacked.
    """
    return run_study([experiment], trials, **options)[0]


def run_study(
    experiments: Sequence[Experiment],
    trials: int = TRIALS,
    *,
    store: Store | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    implementation: str = "",
    device: str = "cpu",
    progress: bool = True,
) -> list[Result]:
    """Train what the store lacks of many experiments and return their results, in order.

    Finished groups are written at once, to `store` (default: `default_store`). `executor` is any
    `concurrent.futures.Executor` whose workers share the file system; without one, `workers` processes (one per core)
    of one thread each are started where there is more than one group to do.

    Raises TypeError or ValueError for bad arguments before any training, StudyError when groups failed, after all
    others ended.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= 1_000_000:
        raise ValueError(f"trials is {show(trials)}; allowed: a whole number from 1 to 1,000,000")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers is {show(workers)}; allowed: None (one per core) or a whole number of at least 1")
    experiments, store = list(experiments), store or default_store()
    check_machine(implementation, device, executor)
    missing = [
        (experiment, stack)
        for experiment in dict.fromkeys(experiments)
        for stack in stacks(store.missing(experiment.configuration, trials), device)
    ]
    if missing:
        check_architectures(experiment for experiment, _ in missing)
        for dataset in {experiment.dataset for experiment, _ in missing}:
            datasets.load(dataset)  # once, here: a missing download is said before any worker starts
        store.root.mkdir(parents=True, exist_ok=True)
        if not os.access(store.root, os.W_OK):
            raise PermissionError(f"results cannot be written to {store.root}: the folder is read-only")
        asked, lacking = trials * len(dict.fromkeys(experiments)), sum(len(stack) for _, stack in missing)
        if progress and lacking < asked:
            print(f"{asked - lacking} of {asked} trials are stored and kept", file=sys.stderr)
        from lib.workers import train_all  # and torch

        train_all(missing, store, executor, workers, progress, implementation=implementation, device=device)
    return [load(experiment, trials, store) for experiment in experiments]


def load(experiment: Experiment, trials: int = TRIALS, store: Store | None = None) -> Result:
    """Return a stored result without training anything. Raises FileNotFoundError when trials are missing."""
    store, records = store or default_store(), []
    for group in groups(range(trials)):
        record = store.read(experiment.configuration, group)
        if record is None:
            raise FileNotFoundError(
                f"no stored result of {experiment}, trials {group[0]} to {group[-1]} ({experiment.key})"
            )
        records.append(record)
    return Result(experiment, trials, tuple(records))


def is_stored(experiment: Experiment, trials: int = TRIALS, store: Store | None = None) -> bool:
    """Say whether a result is in the store. Raises DamagedResultError."""
    return not (store or default_store()).missing(experiment.configuration, trials)


def stacks(missing: list[range], device: str) -> list[range]:
    """Return the ranges of trials to train together: missing groups, joined up to the size of the device's stacks."""
    size = STACK["cpu" if device == "cpu" else "cuda"]
    joined: list[range] = []
    for group in missing:
        if joined and joined[-1].stop == group.start and group.start % size:
            joined[-1] = range(joined[-1].start, group.stop)
        else:
            joined.append(group)
    return joined


def check_machine(implementation: str, device: str, executor: Executor | None) -> None:
    """Raise ValueError for an implementation or a device that there is not."""
    if implementation != "":
        from lib.fused.choice import checked  # and torch

        checked(implementation)
    if device != "cpu" and executor is None:  # the workers of another one may have what this machine has not
        import torch

        cuda = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
        one_of("device", device, ("cpu", *cuda))


def check_architectures(experiments: Iterator[Experiment]) -> None:
    """Raise ValueError for an architecture from outside lib that is not what every architecture must be."""
    for name, source in sorted({(e.architecture, *e.source().values()) for e in experiments if e.source()}):
        check_source(name, source)


@functools.cache
def check_source(name: str, source: str) -> None:
    """Raise ValueError as `check_architectures` does, of one source; what was found to be right is not tried again."""
    from lib.check import check_architecture  # and torch

    if faults := check_architecture(name):
        raise ValueError(f"{name} cannot be trained as a stack of trials: {' '.join(faults)}")


def paired(a: Result, b: Result) -> NDArray[np.float64]:
    """Return the differences in accuracy b - a, trial by trial, `[trials, epochs]` in percentage points.

    Raises ValueError when the two cannot be paired: other numbers of trials or epochs, or a trial that saw other pairs.
    """
    if a.accuracy.shape != b.accuracy.shape:
        raise ValueError(f"{a.name} has {a.accuracy.shape} (trials, epochs) and {b.name} {b.accuracy.shape}")
    for trial, (of_a, of_b) in enumerate(zip(a.fingerprints, b.fingerprints, strict=True)):
        if of_a != of_b:
            raise ValueError(f"trial {trial} of {a.name} and of {b.name} saw different pairs ({of_a}, {of_b})")
    return b.accuracy - a.accuracy
