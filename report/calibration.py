"""How far apart honest trainings of the same groups are, and which lies `report.verify` finds beside them.

`python -m report.calibration [STORED FRESH]` compares the groups that two stores have in common: without arguments, 150
trials that were trained twice, by the compiled block and by PyTorch. What `verify.COMPARISONS` allows was chosen by it.
"""

import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lib import Store, store
from lib.machine import ROOT
from lib.store import Record
from report import verify

STORED, FRESH = ROOT / "report" / "results_2023", ROOT / "report" / "results_by_torch"
FLIPS = 2000  # further differences that a pair of honest trainings might have had

Lie = Callable[[Any], object]  # changes a record


def set_right(record: Any, trial: int, bits: list[Any]) -> None:
    """Say which of a trial's last answers were right, with the count and the table to it."""
    counts, n = record["test_correct"][trial], record["configuration"]["test_pairs"]
    more = sum(bits) - counts[-1]
    assert more >= 0
    for cell in (cell for row in record["last_table"][trial] for cell in row):
        taken = min(more, cell[1] - cell[0])
        cell[0], more = cell[0] + taken, more - taken
    counts[-1], record["last_bits"][trial] = sum(bits), store.hex_of(bits[:n])


def improve(record: Any, points: float, trials: Iterable[int]) -> None:
    """More right answers in the last epoch of some trials."""
    n = record["configuration"]["test_pairs"]
    for trial in trials:
        bits = store.bits_of(record["last_bits"][trial], n)
        for wrong in np.flatnonzero(np.array(bits) == 0)[: round(points * n / 100)]:
            bits[wrong] = 1
        set_right(record, trial, bits)


def improve_all(points: float) -> Lie:
    """Return the lie of so many points in every trial."""
    return lambda record: improve(record, points, range(len(record["trials"])))


def another_fingerprint(record: Any) -> None:
    """Claim other data of the last trial."""
    record["fingerprints"][24] = "0" * 16


def swap(record: Any, one: int, other: int, *, side: str) -> None:
    """Exchange two trials: what was tested of them, or all."""
    names = [name for name, values in record.items() if isinstance(values, list) and name != "trials"]
    if side == "test":
        names = [name for name in names if "test" in name or "last" in name]
    for rows in (*(record[name] for name in names), *record.get("last_named", {}).values()):
        rows[one], rows[other] = rows[other], rows[one]


def perfect_in_the_middle(record: Any) -> None:
    """All right in the middle epochs."""
    for counts in record["test_correct"]:
        middle = slice(len(counts) // 3, 2 * len(counts) // 3)
        counts[middle] = [record["configuration"]["test_pairs"]] * len(counts[middle])


def perfect_auxiliary_head(record: Any) -> None:
    """All of the auxiliary answers right."""
    record["auxiliary_test_correct"] = [
        [record["auxiliary_total"]] * len(row) for row in record["auxiliary_test_correct"]
    ]


def shuffle_bits(record: Any) -> None:
    """As many last answers right, but others."""
    n, rng = record["configuration"]["test_pairs"], np.random.default_rng(7)
    record["last_bits"] = [
        store.hex_of(rng.permutation(store.bits_of(bits, n)).tolist()) for bits in record["last_bits"]
    ]


def scale(name: str, factor: float, first: int = 0, trials: slice = slice(None)) -> Lie:
    """Return the lie of a factor to some values of a list."""

    def lie(record: Any) -> None:
        for row in record[name][trials]:
            row[first:] = [float(f"{factor * value:.6g}") for value in row[first:]]

    return lie


def ten_times_the_answers(record: Any) -> None:
    """Claim more auxiliary answers than there were."""
    record["auxiliary_total"] *= 10
    record.pop("last_named", None)  # which would contradict it


LIES: dict[str, Lie] = {  # a right checksum, and nothing that contradicts itself
    "two trials swapped on the test side": lambda record: swap(record, 3, 21, side="test"),
    "two whole trials swapped": lambda record: swap(record, 3, 21, side="both"),
    "middle epochs at 100 %": perfect_in_the_middle,
    "the auxiliary head all right": perfect_auxiliary_head,
    "bits shuffled": shuffle_bits,
    "last epoch + 1 point": improve_all(1),
    "last epoch + 5 points": improve_all(5),
    "+ 40 points in two trials": lambda record: improve(record, 40, (2, 17)),
    "test loss x 0.1": scale("test_loss", 0.1),
    "later training loss x 0.1": scale("train_loss", 0.1, first=1),
    "a fingerprint": another_fingerprint,
    "ten times as many auxiliary answers": ten_times_the_answers,
}


def pairs(there: Path, here: Path) -> Iterator[tuple[str, Record, Record]]:
    """Give each group that is in both stores, with its name."""
    for path in Store(there).files():
        name = str(path.relative_to(there))
        if (here / name).is_file():
            yield name, store.read(path), store.read(here / name)


def furthest(stored: Record, fresh: Record) -> dict[str, float]:
    """Return the greatest distance by each comparison."""
    return {
        each.name: max(float(d.max()) for d in each.distances(stored, fresh).values()) for each in verify.COMPARISONS
    }


def flipped(stored: Record, fresh: Record, flips: int = FLIPS, seed: int = 0) -> float:
    """Return how often the mean curves would be called different, had chance named each trial's two results otherwise.

    Which of two honest trainings of a trial came out higher is a matter of rounding, so its differences may have the
    other sign, all of them together.
    """
    rng, trials, often = np.random.default_rng(seed), len(stored["trials"]), 0
    several = verify.spreads(stored, fresh).values()
    for _ in range(flips):
        signs = rng.choice([-1, 1], (trials, 1))
        distance = max(verify.standard_errors(signs * each, least).max() for each, least in several)
        often += bool(distance > verify.quantile(trials))
    return often / flips


def found(lie: Lie, stored: Record, fresh: Record) -> bool | None:
    """Say whether a lie is found; None where it has no meaning, as of an auxiliary head that is not there."""
    lied = copy.deepcopy(stored)
    try:
        lie(lied)
    except TypeError:
        return None
    return not verify.statistically(lied, fresh)[0]


def main(there: Path = STORED, here: Path = FRESH) -> None:
    """Print distances, alarms and the lies that are found, for all groups that are in both stores."""
    compared = list(pairs(there, here))
    alarms, rates = 0, list[float]()
    for name, stored, fresh in compared:
        false = [not verify.statistically(*each)[0] for each in ((stored, fresh), (fresh, stored))]
        alarms, rates = alarms + any(false), [*rates, flipped(stored, fresh)]
        distances = ", ".join(f"{what} {distance:.2g}" for what, distance in furthest(stored, fresh).items())
        print(f"{name}: {distances}; flipped {rates[-1]:.2g}{', FALSE ALARM' * any(false)}")
    print(f"false alarms: {alarms} of {len(compared)} groups; of flipped mean curves: {np.mean(rates):.2g}")
    for name, lie in LIES.items():
        verdicts = [each for _, *records in compared if (each := found(lie, *records)) is not None]
        print(f"{name}: found in {sum(verdicts)} of {len(verdicts)} groups")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
