"""All results as one tidy table, a row per experiment, trial and epoch; read without torch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lib import kept
from lib.analysis import default_store, sources
from lib.experiment import SETTINGS, Experiment
from lib.messages import notice, show
from lib.store import Record, Store, folder, read

if TYPE_CHECKING:
    import pandas

Array = NDArray[Any]
Columns = dict[str, Array]  # by name, all of one length

MEASURED = ("trial", "epoch", "accuracy", "train_loss", "test_loss")  # of every network, whatever heads it has


def all_results(
    store: Store | None = None, experiments: Sequence[Experiment] | None = None, measures: Sequence[str] = ()
) -> "pandas.DataFrame | dict[str, Array]":
    """Return all stored results, or those of some experiments, as a table with a row per experiment, trial and epoch.

    Its columns: `experiment` as it is said, `key`, every setting, `trial`, `epoch` from 1, `accuracy` on the test set
    in percent, `train_loss`, `test_loss`, and for each auxiliary head `<head>_accuracy`, `<head>_train_loss` and
    `<head>_test_loss`, NaN for a network without it; then the values of `measures` where they are stored, NaN elsewhere
    (one that is taken at the end stands in the row of the last epoch; of one `[trials, n]` there is none). A pandas
    DataFrame where pandas can be imported, else a dict of
    numpy arrays. `store` is that of the project by default.

    An experiment that this version of the code cannot say is left out, and named on stderr. Raises TypeError for what
    is no experiment, FileNotFoundError for one that is asked for and not stored, DamagedResultError.
    """
    found = columns(store, experiments, measures)
    try:
        import pandas
    except ImportError:
        return found
    return pandas.DataFrame(found)


def columns(
    store: Store | None = None, experiments: Sequence[Experiment] | None = None, measures: Sequence[str] = ()
) -> Columns:
    """Return the columns of `all_results`, whether there is pandas or not; raises what that does."""
    store, named = store or default_store(), sources(measures)
    said: list[dict[str, Any]] = []  # of each record, what its experiment is
    parts: list[Columns] = []  # and what was measured
    for experiment, records in held(store, experiments):
        for record, places in once(records):
            said.append(of_experiment(experiment))
            parts.append(of_record(record, places) | of_measures(store, record, places, named))
    rows = [len(part["trial"]) for part in parts]
    constant = {name: repeated([each[name] for each in said], rows) for name in ("experiment", "key", *SETTINGS)}
    names = dict.fromkeys((*MEASURED, *(name for part in parts for name in part)))
    return {**constant, **{name: joined([part.get(name) for part in parts], rows) for name in names}}


def of_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return what is the same in all rows of an experiment: how it is said, its key, its settings."""
    return {
        "experiment": str(experiment),
        "key": experiment.key,
        **{name: getattr(experiment, name) for name in SETTINGS},
    }


def of_record(record: Record, places: Sequence[int]) -> Columns:
    """Return what was measured of the trials at these places of a record, epoch by epoch and trial by trial."""
    lists, configuration = cast(Mapping[str, Any], record), record["configuration"]
    epochs = configuration["epochs"]

    def column(name: str) -> Array:
        return np.array(lists[name], np.float64)[places].ravel()

    found = {
        "trial": np.repeat(np.array(record["trials"])[places], epochs),
        "epoch": np.tile(np.arange(1, epochs + 1), len(places)),
    }
    totals = {name: total for name, total in lists.items() if name.endswith("_total") and total is not None}
    heads = {"": configuration["test_pairs"], **{name.removesuffix("total"): total for name, total in totals.items()}}
    for prefix, total in heads.items():
        found[f"{prefix}accuracy"] = 100 * column(f"{prefix}test_correct") / total
        found |= {prefix + name: column(prefix + name) for name in ("train_loss", "test_loss")}
    return found


def of_measures(store: Store, record: Record, places: Sequence[int], named: Sequence[tuple[str, str]]) -> Columns:
    """Return what measures, by name and source, said of the trials at these places of a record, where it is stored."""
    trials, epochs = range(record["trials"][0], record["trials"][-1] + 1), record["configuration"]["epochs"]
    found: Columns = {}
    for each in named:
        values, _ = kept.read_measure(store, record["configuration"], trials, *each) or ({}, [])
        for name, value in values.items():
            if value.ndim == 1:  # taken at the end
                value = np.column_stack([np.full((len(value), epochs - 1), np.nan), value])
            elif value.shape[1] != epochs or value.dtype == np.uint8:
                continue
            found[name] = np.asarray(value[places], np.float64).ravel()
    return found


def once(records: Sequence[Record]) -> list[tuple[Record, list[int]]]:
    """Return each record with the places of its trials that no longer one has, or an earlier one as long, by trial.

    Groups may overlap: those of 10 trials and of 25 may both be stored. A record that has no trial left is left out.
    """
    taken: set[int] = set()
    found: dict[int, tuple[Record, list[int]]] = {}
    for record in sorted(records, key=lambda each: -len(each["trials"])):
        trials = record["trials"]
        if places := [place for place, trial in enumerate(trials) if trial not in taken]:
            found[trials[places[0]]] = (record, places)
        taken.update(trials)
    return [found[first] for first in sorted(found)]


def held(store: Store, experiments: Sequence[Experiment] | None) -> Iterator[tuple[Experiment, list[Record]]]:
    """Yield the experiments, or all that are stored, with their records, one after the other: they need much memory."""
    files: dict[str, list[Path]] = {}
    for file in store.files():
        files.setdefault(file.parent.name, []).append(file)
    if experiments is None:
        for name, several in files.items():
            records = [read(file) for file in several]
            try:
                experiment = experiment_of(records[0]["configuration"])
            except (ValueError, TypeError) as error:
                notice(f"not in the table: {name} ({error})")
                continue
            yield experiment, records
        return
    for experiment in experiments:
        if not isinstance(experiment, Experiment):
            raise TypeError(f"experiments has {show(experiment)}; allowed: experiments, as Experiment.parse makes them")
    for experiment in dict.fromkeys(experiments):
        several = files.get(folder(experiment.configuration), [])
        if not several:
            raise FileNotFoundError(f"no stored result of {experiment} ({experiment.key})")
        yield experiment, [read(file) for file in several]


def experiment_of(configuration: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a stored configuration; an architecture of one's own is imported.

    Raises ValueError or TypeError when this version of the code has another configuration for it, or none.
    """
    experiment = Experiment(**{name: configuration.get(name, known.neutral) for name, known in SETTINGS.items()})
    here = experiment.configuration
    if here != configuration:
        names = [name for name in {**configuration, **here} if configuration.get(name) != here.get(name)]
        if names == ["source"]:
            raise ValueError(f"the file of {experiment.architecture} has changed since it was trained")
        said = ", ".join(f"{name} {configuration.get(name)!r} there and {here.get(name)!r} here" for name in names)
        raise ValueError(f"this version of the code has another configuration: {said}")
    return experiment


def repeated(values: Sequence[Any], rows: Sequence[int]) -> Array:
    """Return a column in which each value stands for so many rows; texts stay Python's, shared by all of them."""
    kind = object if any(isinstance(value, str) for value in values) else None
    return np.repeat(np.array(values, kind), np.array(rows, np.intp))


def joined(arrays: Sequence[Array | None], rows: Sequence[int]) -> Array:
    """Return arrays one after the other, NaN in the place of one that is missing: a head that a network has not."""
    filled = [np.full(n, np.nan) if array is None else array for array, n in zip(arrays, rows, strict=True)]
    return np.concatenate(filled) if filled else np.empty(0)
