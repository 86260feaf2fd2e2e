"""What a store holds, each experiment said in its words, and what a study still lacks."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from lib import Experiment, Result, Store, load, store
from lib.experiment import SETTINGS
from lib.store import groups


class Stored(NamedTuple):
    """An experiment of a store: its words, the number of its trials, and its key."""

    words: str
    trials: int
    key: str


def inventory(held: Store) -> list[Stored]:
    """Return what a store holds; of an experiment that this version of the code cannot say, the reason in its place.

    Raises DamagedResultError.
    """
    files: dict[str, list[Path]] = {}
    for file in held.files():
        files.setdefault(file.parent.name, []).append(file)
    found = []
    for folder, several in files.items():
        trials: set[int] = set()
        for file in several:
            first, last = map(int, re.findall(r"\d+", file.name))
            trials.update(range(first, last + 1))
        try:
            words = str(experiment_of(store.read(several[0])["configuration"]))
        except (ValueError, TypeError) as error:
            if isinstance(error, store.DamagedResultError):
                raise
            words = f"{folder} ({error})"
        found.append(Stored(words, len(trials), folder.rpartition("-")[2]))
    return found


def experiment_of(configuration: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a stored configuration.

    Raises ValueError or TypeError when this version of the code has another configuration for it, or none.
    """
    experiment = Experiment(**{name: configuration.get(name, known.neutral) for name, known in SETTINGS.items()})
    here = experiment.configuration
    if here != configuration:
        names = [name for name in {**configuration, **here} if configuration.get(name) != here.get(name)]
        said = ", ".join(f"{name} {configuration.get(name)!r} there and {here.get(name)!r} here" for name in names)
        raise ValueError(f"this version of the code has another configuration: {said}")
    return experiment


def stored_results(
    held: Store, experiments: Sequence[Experiment], trials: int, required: Sequence[Experiment]
) -> list[Result]:
    """Return the results of those experiments that are stored, in order.

    Raises FileNotFoundError when a required one is not, DamagedResultError.
    """
    results = []
    for experiment in experiments:
        try:
            results.append(load(experiment, trials, held))
        except FileNotFoundError as error:
            if experiment in required:
                raise FileNotFoundError(f"{error}: `make study` trains it") from None
    return results


def outlook(held: Store, experiments: Sequence[Experiment], trials: int, workers: int) -> str:
    """Say what a store lacks of a study, and how long that takes, by what the stored groups of the study took.

    Raises DamagedResultError.
    """
    asked = [(experiment, group) for experiment in experiments for group in groups(range(trials))]
    lacking, work, seconds = 0, 0, []  # groups, trial-epochs, seconds of one core per trial-epoch
    for experiment, group in asked:
        record = held.read(experiment.configuration, group)
        if record is None:
            lacking, work = lacking + 1, work + len(group) * experiment.epochs
        else:
            seconds.append(record["provenance"]["seconds"] / len(record["trials"]) / experiment.epochs)
    if not lacking:
        return f"nothing to train: all {len(asked)} groups are stored"
    text = f"to train: {lacking} of {len(asked)} groups, {work:,} trial-epochs, "
    if not seconds:
        return text + "in a time that no stored group tells"
    hours = work * fmean(seconds) / 3600 / workers
    rate = f"{1000 * fmean(seconds):.1f} ms of a core per trial-epoch"
    return text + f"about {hours:.1f} hours with {workers} at a time (stored groups took {rate})"
