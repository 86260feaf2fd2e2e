"""Train randomly chosen stored groups again, and compare the numbers.

Where machine, versions, lib's commit and implementation match, every stored value must be equal, bit by bit. Elsewhere
rounding differs, and a trained network amplifies it: then the drawn pairs must be equal, and first-epoch losses and the
mean accuracy after the last epoch close.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from lib import Store, store
from lib.machine import cores
from lib.store import Record
from lib.teacher import DivergedError
from lib.training import train
from lib.workers import set_up_process
from report.inventory import experiment_of

STANDARD_ERRORS = 4  # a mean difference beyond so many is no chance
LOSS_TOLERANCE = 1e-3  # relative; in one epoch rounding has grown to some 1e-6
ORIGIN = ("cpu", "device", "implementation", "dtype", "threads", "stack", "torch", "numpy", "commit")  # decide the bits

Losses = Mapping[str, list[list[float]] | None]  # of a record, `[trials][epochs]`; None: no such head


class Verdict(NamedTuple):
    """Whether a group came out as stored, and in words how they were compared and what was found."""

    agrees: bool
    words: str


def choose(folder: Path, groups: int, seed: int) -> list[Path]:
    """Return that many of the groups stored in `folder` (or all, if it holds fewer), the same for the same seed."""
    files = list(Store(folder).files())
    return random.Random(seed).sample(files, min(groups, len(files)))


def choose_each(folder: Path, seed: int) -> list[Path]:
    """Return one group of each experiment stored in `folder`, the same for the same seed."""
    files: dict[Path, list[Path]] = {}
    for file in Store(folder).files():
        files.setdefault(file.parent, []).append(file)
    chance = random.Random(seed)
    return [chance.choice(of_experiment) for of_experiment in files.values()]


def verify_all(paths: Sequence[Path]) -> Iterator[tuple[Path, Verdict]]:
    """Give the verdict of each group in turn, a process per core. Raises DataError when the digits cannot be had."""
    with ProcessPoolExecutor(min(cores(), len(paths)), get_context("spawn"), initializer=set_up_process) as pool:
        yield from zip(paths, pool.map(verify, paths), strict=True)


def verify(path: Path, train: Callable[..., list[Record]] = train) -> Verdict:
    """Train a stored group again, all its epochs, and compare. Raises DataError when the digits cannot be had."""
    try:
        stored = store.read(path)
        experiment = experiment_of(stored["configuration"])
        torch_then = stored["provenance"].get("implementation") == "torch"  # which runs everywhere
        trials = range(stored["trials"][0], stored["trials"][-1] + 1)
        [fresh] = train(experiment, trials, implementation="torch" if torch_then else "")
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
        return Verdict(True, f"{kind}: every stored value is equal, bit by bit")
    close, words = statistically(stored, fresh)
    if why:
        return Verdict(close, f"{kind}: {words}")
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
    """Say whether two records agree but for rounding, and how close they are."""
    if stored["fingerprints"] != fresh["fingerprints"]:
        return False, "the trials saw other pairs of digits"
    last = [np.array(record["test_correct"])[:, -1] for record in (stored, fresh)]
    difference = 100 * (last[1] - last[0]) / stored["configuration"]["test_pairs"]  # [trials], in points
    n = len(difference)
    error = difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf  # one trial says nothing about a mean
    accuracy = bool(abs(difference.mean()) <= STANDARD_ERRORS * error)
    names = [name for name in stored if name.endswith("train_loss")]  # of every head
    distance = max(first_loss_distance(cast(Losses, stored).get(name), cast(Losses, fresh).get(name)) for name in names)
    loss = distance <= LOSS_TOLERANCE
    return accuracy and loss, (
        f"last epoch {'agrees' if accuracy else 'DIFFERS'} (mean difference {difference.mean():+.3f} points, standard "
        f"error {error:.3f}, {n} trials), first-epoch loss {'agrees' if loss else 'DIFFERS'} (within {distance:.1g})"
    )


def first_loss_distance(stored: list[list[float]] | None, fresh: list[list[float]] | None) -> float:
    """Return the greatest relative difference of a loss `[trials][epochs]` in the first epoch, over the trials."""
    if stored is None or fresh is None:
        return 0.0 if stored == fresh else np.inf
    old, new = (np.array(loss)[:, 0] for loss in (stored, fresh))
    return float(np.max(np.abs(new - old) / np.maximum(np.abs(old), 1e-12)))
