"""From experiments to results: read what is stored, train what is missing. Reading needs no torch."""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lib import datasets, files, kept
from lib.experiment import Experiment, told_apart
from lib.machine import ROOT, folder_from, workplace
from lib.messages import notice, one_of, show
from lib.store import GROUP, Record, Store, folder, groups, pieces

if TYPE_CHECKING:
    from lib.trained import Networks

# What is published in the repository is read first, and written only by `make study`.
PUBLISHED = ROOT / "report" / "results"  # the study
PREREGISTERED = ROOT / "report" / "results_2023"  # the trainings of report/statements.py
STACK = {"cpu": GROUP, "cuda": 6 * GROUP}  # a GPU wants more work at once; it is stored as groups all the same
TRIALS = 150  # original report, section 1.3
OURS = "lib.measures:"


@dataclass(frozen=True)
class Result:
    """The result of one experiment; unpacks as (name, mean, standard deviation) of the test accuracy per epoch.

    `accuracy` is `[trials, epochs]` in percent; `records` are the stored groups behind it, and `fingerprints` tell the
    pairs of each trial: two results may be paired, trial by trial, where they agree. `measures` are the values of the
    measures that were asked for, by name: `[trials, epochs]`, or `[trials]` or `[trials, n]` of one of the end.
    """

    experiment: Experiment
    trials: int
    records: tuple[Record, ...]
    measures: Mapping[str, NDArray[Any]] = field(default_factory=dict)

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
        if name in self.measures:
            return self.measures[name]
        rows: list[Any] = [cast(Mapping[str, Any], record)[name] for record in self.records]
        return np.concatenate(rows)[: self.trials]


def default_store(implementation: str = "", device: str = "cpu") -> Store:
    """Return the store of this project: the user's own folder, and what is published, which is only read.

    One key has one result: what is computed in another way on purpose, by PyTorch's operations or on a GPU, has a store
    of its own, `by-torch` or `by-cuda` in the user's folder.
    """
    own = folder_from("RESULTS_ROOT", lambda: workplace() / "results")
    if device != "cpu" or implementation == "torch":
        return Store(own / ("by-torch" if device == "cpu" else "by-cuda"))
    return Store(own, also=[PUBLISHED, PREREGISTERED])


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
    measures: Sequence[str] = (),
    store: Store | None = None,
    progress: bool = True,
    **options: Any,
) -> list[Result]:
    """Train what the store lacks of many experiments and return their results, in order.

    Finished groups are written at once, to `store` (default: `default_store`). `measures` are names of lib.measures or
    `module:function`; of what is stored without them, the groups are trained again, and no stored result changes.
    Options as in `train_missing`.

    Raises TypeError or ValueError for bad arguments before any training, StudyError when groups failed, after all
    others ended.
    """
    ways = {name: options[name] for name in ("implementation", "device") if name in options}
    experiments, measures, store = checked(experiments), names_of(measures), store or default_store(**ways)
    check_options(trials, **options)
    with suppress(FileNotFoundError):
        if not measures:  # of which `load` may have something to say, once
            return [load(experiment, trials, store) for experiment in experiments]
    train_missing(experiments, trials, store, measures=measures, progress=progress, **options)
    return [load(experiment, trials, store, measures, progress) for experiment in experiments]


def networks(
    experiment: Experiment, trials: int = GROUP, *, store: Store | None = None, progress: bool = True, **options: Any
) -> "Networks":
    """Return the trained networks of an experiment's first trials, trained if they are not kept; options as there.

    Their weights are kept beside the results of `store`. Raises as `run_study` does, and DamagedResultError for weights
    that cannot be trusted.
    """
    ways = {name: options[name] for name in ("implementation", "device") if name in options}
    store = store or default_store(**ways)
    train_missing([experiment], trials, store, weights=True, progress=progress, **options)
    from lib.trained import load_networks  # and torch

    return load_networks(experiment, trials, store, progress)


def train_missing(
    experiments: Sequence[Experiment],
    trials: int,
    store: Store,
    *,
    measures: Sequence[str] = (),
    weights: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
    implementation: str = "",
    device: str = "cpu",
    progress: bool = True,
) -> None:
    """Train what a store lacks of some experiments: results, measures or, if asked for, weights.

    `executor` is any `concurrent.futures.Executor` whose workers share the file system; without one, `workers`
    processes (one per core) of one thread each are started where there is more than one group to do. Raises as
    `run_study` does.
    """
    check_options(trials, executor, workers, implementation, device)
    measures = names_of(measures)
    once, named = list(dict.fromkeys(experiments)), sources(measures)
    missing = [
        (experiment, stack)
        for experiment in once
        for stack in lacking(experiment, trials, store, named, weights, device)
    ]
    if not missing:
        return
    check_architectures(experiment for experiment, _ in missing)
    if measures:
        from lib.check import check_measures  # and torch

        for experiment in dict.fromkeys(experiment for experiment, _ in missing):
            check_measures(experiment, measures)
    for dataset in {experiment.dataset for experiment, _ in missing}:
        datasets.load(dataset)  # once, here: a missing download is said before any worker starts
    files.make_folder(store.root)
    if not os.access(store.root, os.W_OK):
        raise PermissionError(f"results cannot be written to {store.root}: the folder is read-only")
    for experiment in dict.fromkeys(experiment for experiment, _ in missing):
        files.sweep(store.root / folder(experiment.configuration))  # what killed writers left
    if progress:
        say_what_is_stored(once, trials, missing, store)
    from lib.workers import train_all  # and torch

    options: dict[str, Any] = {"implementation": implementation, "device": device}
    options |= {"measures": measures} if measures else {}
    options |= {"weights": True} if weights else {}
    train_all(missing, store, executor, workers, progress, **options)
    for experiment in dict.fromkeys(experiment for experiment, _ in missing):
        for group in groups(range(trials)):
            store.gather(experiment.configuration, group)


def check_options(
    trials: int,
    executor: Executor | None = None,
    workers: int | None = None,
    implementation: str = "",
    device: str = "cpu",
) -> None:
    """Raise TypeError or ValueError for options of `train_missing` that cannot be."""
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= 1_000_000:
        raise ValueError(f"trials is {show(trials)}; allowed: a whole number from 1 to 1,000,000")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers is {show(workers)}; allowed: None (one per core) or a whole number of at least 1")
    check_machine(implementation, device, executor)


def lacking(
    experiment: Experiment,
    trials: int,
    store: Store,
    measures: Sequence[tuple[str, str]],
    weights: bool,
    device: str,
) -> list[range]:
    """Return the trials to train together, of which the store lacks a result, a measure or, if asked for, weights.

    Those are groups (of a plain module single trials), joined up to the size of the device's stacks. A group that was
    stored as part of a longer one is trained as that one: rounding depends on the stack.
    """
    configuration, wanted = experiment.configuration, []
    for group in groups(range(trials)):
        record = store.read(configuration, group)
        if record and not measures and not weights:
            continue
        whole = range(record["trials"][0], record["trials"][-1] + 1) if record else group
        for unit in [range(trial, trial + 1) for trial in group] if experiment.is_plain() else [whole]:
            held = record or store.read(configuration, unit)
            measured = all(kept.read_measure(store, configuration, unit, *each) is not None for each in measures)
            if not (held and measured and not (weights and lacks_weights(store, configuration, unit))):
                wanted.append(unit)
    return wanted if experiment.is_plain() else stacks(wanted, device)


def lacks_weights(store: Store, configuration: Mapping[str, object], trials: range) -> bool:
    """Say whether the weights of some trials are not kept."""
    return not pieces(store.root / folder(configuration), kept.WEIGHTS, trials)


def say_what_is_stored(
    experiments: Sequence[Experiment], trials: int, missing: Sequence[tuple[Experiment, range]], store: Store
) -> None:
    """Say how much is stored and kept, and why results of fewer trials are not a part of more."""
    asked, lacking = trials * len(experiments), sum(len(set(stack) & set(range(trials))) for _, stack in missing)
    if lacking < asked:
        notice(f"{asked - lacking} of {asked} trials are stored and kept")
    called = told_apart(experiments)
    for experiment, stack in missing:
        shorter = store.find(experiment.configuration, range(stack.start, stack.start + 1))
        if shorter and len(stack) > 1 and store.read(experiment.configuration, stack) is None:
            notice(
                f"{called[experiment]}: {shorter.name.partition('.')[0]} is stored, and trained again with more: "
                "a group trains as one stack, and rounding depends on its size (both are kept)"
            )


def checked(experiments: Any) -> list[Experiment]:
    """Return experiments as a list. Raises TypeError for what are none, such as their names."""
    one = isinstance(experiments, str | bytes) or not isinstance(experiments, Iterable)
    several = [experiments] if one else list(experiments)
    for each in several:
        if not isinstance(each, Experiment):
            raise TypeError(f"experiments has {show(each)}; allowed: an Experiment each, as Experiment.parse('SN') is")
    return several


def names_of(measures: Sequence[str]) -> list[str]:
    """Return names of measures, each once; lib's own are short. Raises TypeError for what is no list of texts."""
    if isinstance(measures, str) or not isinstance(measures, Iterable):
        raise TypeError(f"measures is {show(measures)}; allowed: a list of names")
    names = list(measures)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"measures has {show(name)}; allowed: names of lib.measures or module:function")
    return list(dict.fromkeys(name.removeprefix(OURS) for name in names))


def sources(measures: Sequence[str]) -> list[tuple[str, str]]:
    """Return measures by name and source; only those from outside lib are imported. Raises ValueError."""
    if not any(":" in name for name in measures):
        return [(name, "") for name in measures]
    from lib.measures import find  # and torch

    return [(measure.name, measure.source) for measure in map(find, measures)]


def load(
    experiment: Experiment,
    trials: int = TRIALS,
    store: Store | None = None,
    measures: Sequence[str] = (),
    progress: bool = False,
) -> Result:
    """Return a stored result without training anything.

    Raises FileNotFoundError when trials or measures are missing, DamagedResultError, and TypeError or ValueError for
    measures that there are not.
    """
    store, records = store or default_store(), []
    values: dict[str, NDArray[Any]] = {}
    for group in groups(range(trials)):
        record = store.read(experiment.configuration, group)
        if record is None:
            raise FileNotFoundError(
                f"no stored result of {experiment}, trials {group[0]} to {group[-1]} ({experiment.key})"
            )
        records.append(record)
    for name, source in sources(names_of(measures)):
        measured = kept.read_measure(store, experiment.configuration, range(trials), name, source)
        if measured is None:
            raise FileNotFoundError(f"no stored measure {name} of {experiment}, trials 0 to {trials - 1}")
        if twice := values.keys() & measured[0].keys():
            raise ValueError(f"measures has two that have values called {', '.join(sorted(twice))}; load one at a time")
        values.update(measured[0])
        if measured[1] and progress:
            notice(
                f"{name} of {experiment.name}: when it was taken, {len(measured[1])} of {trials} trials had other "
                "counts of right answers than the stored ones: on another processor, or by other versions"
            )
    return Result(experiment, trials, tuple(records), values)


def stacks(missing: list[range], device: str) -> list[range]:
    """Join groups up to the size of the device's stacks."""
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
    for experiment in {(e.architecture, *e.source().values(), e.one_hot_encoding): e for e in experiments}.values():
        if source := experiment.source():
            check_source(experiment.architecture, *source.values(), experiment.one_hot_encoding)


@functools.cache
def check_source(name: str, source: str, one_hot: bool) -> None:
    """Raise ValueError as `check_architectures` does, of one source; what was found to be right is not tried again."""
    from lib.check import check_architecture  # and torch

    if faults := check_architecture(name, one_hot):
        raise ValueError(f"{name} cannot be trained: {' '.join(faults)}")


def paired(a: Result, b: Result) -> NDArray[np.float64]:
    """Return the differences in accuracy b - a, trial by trial, `[trials, epochs]` in percentage points.

    Raises ValueError when the two cannot be paired: other numbers of trials or epochs, or a trial that saw other pairs.
    """
    called = told_apart([a.experiment, b.experiment])
    first, second = called[a.experiment], called[b.experiment]
    if a.accuracy.shape != b.accuracy.shape:
        raise ValueError(f"{first} has {a.accuracy.shape} (trials, epochs) and {second} {b.accuracy.shape}")
    for trial, (of_a, of_b) in enumerate(zip(a.fingerprints, b.fingerprints, strict=True)):
        if of_a != of_b:
            raise ValueError(f"trial {trial} of {first} and of {second} saw different pairs ({of_a}, {of_b})")
    return b.accuracy - a.accuracy
