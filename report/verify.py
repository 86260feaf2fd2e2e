"""Train randomly chosen stored groups again, and compare the numbers.

Where machine, versions, lib's commit and implementation match, every stored value must be equal, bit by bit. Elsewhere
rounding differs, and a trained network amplifies it: then what the data alone decides must be equal, and all that was
learnt as close as two honest trainings are. `COMPARISONS` are the ways in which that is asked.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lib import Store, registry, store
from lib.machine import cores
from lib.processes import Pool
from lib.store import Record
from lib.teacher import DivergedError
from lib.training import train
from lib.workers import set_up_process
from report.inventory import experiment_of

ORIGIN = ("cpu", "device", "implementation", "dtype", "threads", "stack", "torch", "numpy", "commit")  # decide the bits
CHANCE = 1e-5  # of one mean to be called different where it is not
LEAST_LOSS, SMALL_LOSS = 1e-4, 1e-3  # a loss that is as good as none; a relative difference that is
FEW = 20  # answers that may differ whatever the counts
BIT_BY_BIT, STATISTICALLY, UNEQUAL = "bit by bit", "statistically", "not equal"
OURS = ("lib", "report")  # the packages whose architectures are trained without asking

Array = NDArray[np.float64]


class Verdict(NamedTuple):
    """Whether a group came out as stored, and in words how they were compared and what was found."""

    agrees: bool
    words: str
    equal: str = UNEQUAL  # to what is stored: BIT_BY_BIT, STATISTICALLY, or UNEQUAL


def choose(folder: Path, groups: int, seed: int, also: Sequence[Path] = ()) -> list[Path]:
    """Return that many of the groups stored in some folders (or all, if they hold fewer), the same for one seed."""
    files = list(Store(folder, also).files())
    return random.Random(seed).sample(files, min(groups, len(files)))


def choose_each(folder: Path, seed: int, also: Sequence[Path] = ()) -> list[Path]:
    """Return one group of each experiment stored in some folders, the same for the same seed."""
    files: dict[Path, list[Path]] = {}
    for file in Store(folder, also).files():
        files.setdefault(file.parent, []).append(file)
    chance = random.Random(seed)
    return [chance.choice(of_experiment) for of_experiment in files.values()]


def verify_all(paths: Sequence[Path], trust: bool = False, device: str = "cpu") -> Iterator[tuple[Path, Verdict]]:
    """Give the verdict of each group in turn, a process per core. Raises DataError when the digits cannot be had."""
    with Pool(min(cores(), len(paths)), set_up_process) as pool:
        futures = [pool.submit(verify, path, trust=trust, device=device) for path in paths]
        for path, future in zip(paths, futures, strict=True):
            yield path, future.result()


def verify(path: Path, train: Callable[..., list[Record]] = train, trust: bool = False, device: str = "cpu") -> Verdict:
    """Train a stored group again, all its epochs, and compare. Raises DataError when the digits cannot be had.

    A file may name any module as that of its architecture, and importing one runs it: only those of this project are
    imported, unless the user has said that this store is to be trusted. On another `device` than it was stored from, a
    CPU's group on a GPU say, the comparison is statistical.
    """
    try:
        stored = store.read(path)
        module = registry.place(str(stored["configuration"].get("architecture"))).partition(":")[0]
        if not trust and module.partition(".")[0] not in OURS:
            why = "not part of this project, so it is not imported: --trust does that"
            return Verdict(False, f"not comparable: its architecture is in the module {module!r}, {why}")
        experiment = experiment_of(stored["configuration"])
        torch_then = stored["provenance"]["implementation"] == "torch"  # which runs everywhere
        trials = range(stored["trials"][0], stored["trials"][-1] + 1)
        elsewhere = {"device": device} if device != "cpu" else {}
        [fresh] = train(experiment, trials, implementation="torch" if torch_then else "", **elsewhere)
    except (ValueError, TypeError, DivergedError) as error:  # damaged, of another version, or diverging here only
        return Verdict(False, f"not comparable: {error}")
    return compare(stored, fresh)


def compare(stored: Record, fresh: Record) -> Verdict:
    """Compare two records of one group, bit by bit where that can be asked for, else statistically."""
    why = obstacles(stored["provenance"], fresh["provenance"])
    kind = (
        f"statistical ({'; '.join(why)})" if why else "bitwise (same machine, versions, commit of lib, implementation)"
    )
    names = store.differing(stored, fresh)
    if not names:
        return Verdict(True, f"{kind}: every stored value is equal, bit by bit", BIT_BY_BIT)
    close, words = statistically(stored, fresh)
    if why:
        return Verdict(close, f"{kind}: {words}", STATISTICALLY if close else UNEQUAL)
    # Some virtual machines give processors of several kinds one name, so say how far apart the two are.
    return Verdict(False, f"{kind}: {', '.join(names)} differ; statistically: {words}")


def obstacles(stored: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[str]:
    """Return why two results need not have the same bits, out of their provenance; nothing where they must."""
    differing = [name for name in ORIGIN if stored.get(name) != fresh.get(name)]
    length = {"commit": 10}  # of what is shown
    reasons = [
        f"{name} {str(stored.get(name))[: length.get(name)]} there and {str(fresh.get(name))[: length.get(name)]} here"
        for name in differing
    ]
    reasons += ["uncommitted changes of lib there"] if stored.get("dirty") else []
    return reasons + (["uncommitted changes of lib here"] if fresh.get("dirty") else [])


def statistically(stored: Record, fresh: Record) -> tuple[bool, str]:
    """Say whether two records agree but for rounding: each comparison that fails, or how close they are in all."""
    if names := differing_data(stored, fresh):
        return False, f"{', '.join(names)} DIFFER, and rounding has no part in them"
    wrong, close = [], []
    for comparison in COMPARISONS:
        distances = comparison.distances(stored, fresh)
        name = max(distances, key=lambda name: float(distances[name].max()))
        distance, most = float(distances[name].max()), comparison.most(len(stored["trials"]))
        if distance > most:
            at = place(distances[name], stored["trials"][0])
            wrong.append(
                f"{comparison.name} DIFFER: {name}{at} by {distance:.3g} {comparison.unit}, at most {most:.3g}"
            )
        close.append(f"{comparison.name} (within {distance:.2g} {comparison.unit})")
    return not wrong, "; ".join(wrong) or f"all that was compared agrees: {', '.join(close)}"


def differing_data(stored: Record, fresh: Record) -> list[str]:
    """Return what differs of that which no training changes: which pairs there were, and how many answers of each."""
    names = ["fingerprints"] if stored["fingerprints"] != fresh["fingerprints"] else []
    if heads(stored) != heads(fresh):
        names.append("numbers of answers")
    there, here = (np.array(record["last_table"])[..., 1] for record in (stored, fresh))
    return names if np.array_equal(there, here) else [*names, "numbers of pairs by digits"]


def place(distances: Array, first: int) -> str:
    """Say where the greatest distance is, of `[trials or 1, epochs or 1]`."""
    trial, epoch = np.unravel_index(distances.argmax(), distances.shape)
    said = [f"trial {first + trial}"] if len(distances) > 1 else []
    return "".join(f", {each}" for each in (*said, *([f"epoch {epoch + 1}"] if distances.shape[1] > 1 else ())))


def heads(record: Record) -> dict[str, int]:
    """Return how many answers to the test set each head gives, by what its lists begin with: nothing, `auxiliary_`."""
    totals = {name.removesuffix("total"): total for name, total in record.items() if name.endswith("_total")}
    return {"": record["configuration"]["test_pairs"], **{head: n for head, n in totals.items() if n is not None}}


def accuracies(record: Record) -> dict[str, Array]:
    """Return the accuracy of each head, `[trials, epochs]` in percent."""
    lists = cast(Mapping[str, Any], record)
    return {
        f"{head}test_correct": 100 * np.array(lists[f"{head}test_correct"]) / n for head, n in heads(record).items()
    }


def losses(record: Record) -> dict[str, Array]:
    """Return the natural logarithm of each head's losses, `[trials, epochs]`."""
    lists = cast(Mapping[str, Any], record)
    names = [head + name for head in heads(record) for name in ("train_loss", "test_loss")]
    return {name: np.log(np.maximum(np.array(lists[name], np.float64), LEAST_LOSS)) for name in names}


def apart(quantity: Callable[[Record], dict[str, Array]], stored: Record, fresh: Record) -> dict[str, Array]:
    """Return by how much a quantity is greater in the second record, by its name."""
    old, new = quantity(stored), quantity(fresh)
    return {name: new[name] - old[name] for name in old}


def first_losses(stored: Record, fresh: Record) -> dict[str, Array]:
    """Return the relative difference of each loss in the first epoch, `[trials, 1]`."""
    return {name: np.abs(each[:, :1]) for name, each in apart(losses, stored, fresh).items()}


def each_accuracy(stored: Record, fresh: Record) -> dict[str, Array]:
    """Return the differences in accuracy, `[trials, epochs]` in points."""
    return {name: np.abs(each) for name, each in apart(accuracies, stored, fresh).items()}


def each_loss(stored: Record, fresh: Record) -> dict[str, Array]:
    """Return the factor between the losses, `[trials, epochs]`."""
    return {name: np.exp(np.abs(each)) for name, each in apart(losses, stored, fresh).items()}


def spreads(stored: Record, fresh: Record) -> dict[str, tuple[Array, float]]:
    """Return the differences in accuracies and losses, `[trials, epochs]`, and the least spread of a trial of each."""
    least = {f"{head}test_correct": 100 / n for head, n in heads(stored).items()}
    differences = {**apart(accuracies, stored, fresh), **apart(losses, stored, fresh)}
    return {name: (each, least.get(name, SMALL_LOSS)) for name, each in differences.items()}


def means(stored: Record, fresh: Record) -> dict[str, Array]:
    """Return how many standard errors the means over the trials are apart, `[1, epochs]`, of accuracies and losses."""
    return {name: standard_errors(*each) for name, each in spreads(stored, fresh).items()}


def standard_errors(differences: Array, least: float) -> Array:
    """Return the means of `[trials, epochs]` in their standard errors, `[1, epochs]`; 0 of one trial, which has none.

    `least` is the least spread of a trial that is believed: in the first epochs nearly all differences are 0.
    """
    n = len(differences)
    if n == 1:
        return np.zeros_like(differences)
    spread = np.maximum(differences.std(0, ddof=1), least)
    return np.asarray(np.abs(differences.mean(0)) / spread * np.sqrt(n))[None]


def answers(stored: Record, fresh: Record) -> dict[str, Array]:
    """Return how many of the last answers differ, of those that would if one record had its own in any order.

    `[trials, 1]`: 0 for the same answers. Right or wrong for each pair, and for each head the class that it named.
    """
    n = stored["configuration"]["test_pairs"]
    given = {"last_bits": [[store.bits_of(bits, n) for bits in each["last_bits"]] for each in (stored, fresh)]}
    named = [each.get("last_named", {}) for each in (stored, fresh)]
    for head in named[0].keys() & named[1].keys():
        given[f"last_named of {head}"] = [[list(map(int, text)) for text in each[head]] for each in named]
    return {name: shares(*map(np.array, both)) for name, both in given.items()}


def shares(old: NDArray[Any], new: NDArray[Any]) -> Array:
    """Return the share of differing answers, of that by chance, of two arrays `[trials, answers]` of classes."""
    often = [np.array([np.bincount(row, minlength=10) for row in each]) / old.shape[1] for each in (old, new)]
    chance = 1 - (often[0] * often[1]).sum(1)
    return np.asarray(np.mean(old != new, 1) / np.maximum(chance, FEW / old.shape[1]))[:, None]


def tables(stored: Record, fresh: Record) -> dict[str, Array]:
    """Return by how many pairs the tables by digits differ more than the answers that they count, `[trials, 1]`."""
    n = stored["configuration"]["test_pairs"]
    bits = [np.array([store.bits_of(bits, n) for bits in each["last_bits"]]) for each in (stored, fresh)]
    counts = [np.array(each["last_table"])[..., 0] for each in (stored, fresh)]
    beyond = np.abs(counts[1] - counts[0]).sum((1, 2)) - (bits[0] != bits[1]).sum(1)
    return {"last_table": np.maximum(beyond, 0.0)[:, None]}


def quantile(trials: int) -> float:
    """Return the standard errors that a mean of honest differences is from 0 with a probability of CHANCE."""
    return float(stats.t.isf(CHANCE / 2, trials - 1)) if trials > 1 else np.inf


class Comparison(NamedTuple):
    """A way in which two honest trainings of one group, by other machines or implementations, are close."""

    name: str
    distances: Callable[[Record, Record], dict[str, Array]]  # `[trials or 1, epochs or 1]`, by the name of what differs
    unit: str
    most: Callable[[int], float]  # what is allowed, by the number of trials


# What is allowed was measured on honest trainings, by `report.calibration`. Six groups of WSN with momentum were
# trained by the compiled block and by PyTorch: no false alarm; mean curves at most 3.6 standard errors apart (5.6 are
# allowed of 25 trials), first-epoch losses 6e-6, single accuracies 5.6 points, single losses 1.13 times, single answers
# 0.24. CHANCE was chosen on these six, so they say little of how often a false alarm is. Eight groups of all four
# networks, trained again by another processor, were looked at afterwards: none either, mean curves 2.8 apart. But
# without momentum rounding hardly grows, and only one of them has it. None in eight leaves up to 31 % (one-sided, 95
# %). With random signs for the trials' differences mean curves alone are called different in 0.08 % of the six groups
# and 0.006 % of the eight.
COMPARISONS = (
    # In one epoch rounding has grown to some 1e-6; the trials' own losses are 1e-3 and more apart.
    Comparison("first-epoch losses", first_losses, "of them", lambda trials: 1e-4),
    Comparison("mean curves", means, "standard errors", quantile),
    Comparison("accuracies of single trials", each_accuracy, "points", lambda trials: 30),
    Comparison("losses of single trials", each_loss, "times", lambda trials: 10),
    Comparison("single answers", answers, "of chance", lambda trials: 0.7),
    Comparison("tables by digits", tables, "pairs beyond", lambda trials: 0),
)
