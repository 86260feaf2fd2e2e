"""From experiments to results: read what is stored, train what is missing."""

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lib import datasets, store
from lib.experiment import Experiment, one_of, show
from lib.layers import IMPLEMENTATIONS
from lib.machine import ROOT
from lib.store import GROUP, groups
from lib.workers import train_all

PUBLISHED = ROOT / "report" / "results"  # the study in the repository: read first, written only by `make study`
OWN = Path(os.environ.get("RESULTS_ROOT") or ROOT / "results")  # everything else; git ignores it
STACK = {"cpu": GROUP, "cuda": 6 * GROUP}  # a GPU wants more work at once; it is stored as blocks all the same


@dataclass(frozen=True)
class Result:
    """The result of one experiment; unpacks as (name, mean, standard deviation) of the test accuracy per epoch.

    `accuracy` is `[trials, epochs]` in percent; `records` are the stored blocks behind it, and `data` the fingerprint
    of each trial's pairs: two results may be paired, trial by trial, where they agree.
    """

    experiment: Experiment
    trials: int
    records: tuple[dict, ...]

    def __iter__(self) -> Iterator:
        return iter((self.name, self.mean, self.sd))

    @property
    def name(self) -> str:
        """Name of the experiment, for legends."""
        return self.experiment.name

    @functools.cached_property
    def accuracy(self) -> np.ndarray:
        """Test accuracy `[trials, epochs]` in percent."""
        return 100 * self.values("test_correct") / self.experiment.test_pairs

    @property
    def mean(self) -> np.ndarray:
        """Mean over the trials, `[epochs]` in percent."""
        return self.accuracy.mean(0)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation over the trials (ddof 1), `[epochs]` in percentage points; NaN with a single trial."""
        return self.accuracy.std(0, ddof=1) if self.trials > 1 else np.full(self.experiment.epochs, np.nan)

    @property
    def auxiliary_accuracy(self) -> np.ndarray | None:
        """Test accuracy of the auxiliary head alone, `[trials, epochs]` in percent, or None without one."""
        total = self.records[0]["auxiliary_total"]
        return None if total is None else 100 * self.values("auxiliary_test_correct") / total

    @property
    def data(self) -> list[str]:
        """Fingerprint of each trial's pairs."""
        return [fingerprint for record in self.records for fingerprint in record["data"]][: self.trials]

    def values(self, name: str) -> np.ndarray:
        """Return a stored list, such as "train_loss", as an array with the trials first."""
        return np.concatenate([record[name] for record in self.records])[: self.trials]


def run_analysis(experiment: Experiment, trials: int = 150, **options) -> Result:
    """Train all trials of one experiment that the store lacks, and return its result; options as in `run_study`.

    The original's function of this name (section 1.3), which "returns the name of the model input, the mean and the
    standard deviation": so does this, when unpacked.
    """
    return run_study([experiment], trials, **options)[0]


def run_study(
    experiments: Sequence[Experiment],
    trials: int = 150,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    results: Path = OWN,
    implementation: str = "",
    device: str = "cpu",
    progress: bool = True,
) -> list[Result]:
    """Train what the store lacks of many experiments and return their results, in order.

    `executor` is any `concurrent.futures.Executor` whose workers share the file system; without one, `workers`
    processes (one per core) of one thread each are started where there is more than one block to do. Finished blocks
    are written at once, to `results`; published ones are read from `report/results/` first.

    Raises TypeError or ValueError for bad arguments before any training, StudyError when blocks failed, after all
    others ended.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= 1_000_000:
        raise ValueError(f"trials is {show(trials)}; allowed: a whole number from 1 to 1,000,000")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers is {show(workers)}; allowed: None (one per core) or a whole number of at least 1")
    experiments, results = list(experiments), Path(results)
    one_of("implementation", implementation, ("", *IMPLEMENTATIONS))
    if executor is None:  # the workers of another one may have what this machine has not
        cuda = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
        one_of("device", device, ("cpu", *cuda))
    missing = [
        (experiment, stack)
        for experiment in dict.fromkeys(experiments)
        for stack in missing_stacks(experiment, trials, results, device)
    ]
    if missing:
        for dataset in {experiment.dataset for experiment, _ in missing}:
            datasets.load(dataset)  # once, here: a missing download is said before any worker starts
        results.mkdir(parents=True, exist_ok=True)
        if not os.access(results, os.W_OK):
            raise PermissionError(f"results cannot be written to {results}: the folder is read-only")
        asked, lacking = trials * len(dict.fromkeys(experiments)), sum(len(stack) for _, stack in missing)
        if progress and lacking < asked:
            print(f"{asked - lacking} of {asked} trials are stored and kept", file=sys.stderr)
        train_all(missing, results, executor, workers, progress, implementation=implementation, device=device)
    return [load(experiment, trials, results) for experiment in experiments]


def load(experiment: Experiment, trials: int = 150, results: Path = OWN) -> Result:
    """Return a stored result without training anything. Raises FileNotFoundError when trials are missing."""
    records = []
    for block in groups(range(trials)):
        record = stored(experiment, block, results)
        if record is None:
            raise FileNotFoundError(
                f"no stored result of {experiment.name}, trials {block[0]} to {block[-1]} ({experiment.key})"
            )
        records.append(record)
    return Result(experiment, trials, tuple(records))


def is_stored(experiment: Experiment, trials: int = 150, results: Path = OWN) -> bool:
    """Say whether a result is in the store. Raises DamagedResultError."""
    return all(stored(experiment, block, results) for block in groups(range(trials)))


def stored(experiment: Experiment, block: range, results: Path) -> dict | None:
    """Return the stored record that covers a block, or None. Raises DamagedResultError."""
    path = store.find((PUBLISHED, Path(results)), experiment.configuration, block)
    return path and store.read(path)


def missing_stacks(experiment: Experiment, trials: int, results: Path, device: str) -> list[range]:
    """Return the ranges of trials to train together: what the store lacks, aligned to the device's stacks."""
    lacking = [block for block in groups(range(trials)) if stored(experiment, block, results) is None]
    stacks: list[range] = []
    for block in lacking:
        size = STACK["cpu" if device == "cpu" else "cuda"]
        if stacks and stacks[-1].stop == block.start and block.start % size:
            stacks[-1] = range(stacks[-1].start, block.stop)
        else:
            stacks.append(block)
    return stacks


def paired(a: Result, b: Result) -> np.ndarray:
    """Return the differences in accuracy b - a, trial by trial, `[trials, epochs]` in percentage points.

    Raises ValueError when the two cannot be paired: other numbers of trials or epochs, or a trial that saw other pairs.
    """
    if a.accuracy.shape != b.accuracy.shape:
        raise ValueError(f"{a.name} has {a.accuracy.shape} (trials, epochs) and {b.name} {b.accuracy.shape}")
    for trial, (data_a, data_b) in enumerate(zip(a.data, b.data, strict=True)):
        if data_a != data_b:
            raise ValueError(f"trial {trial} of {a.name} and of {b.name} saw different pairs ({data_a}, {data_b})")
    return b.accuracy - a.accuracy
