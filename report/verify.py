"""Train a few randomly chosen stored blocks again, and compare the numbers.

`python -m report.verify` prints a line per block: which comparison was made and why, and its result. Where machine,
versions, lib's commit and implementation match, every stored value must be equal, bit by bit. Elsewhere rounding
differs, and a trained network amplifies it: then the drawn data must be equal, and first-epoch losses and the mean
accuracy after the last epoch close. The exit code is 1 when a block differs.
"""

import argparse
import random
import secrets
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import Experiment, store
from lib.analysis import PUBLISHED
from lib.datasets import DataError
from lib.machine import cores
from lib.teacher import DivergedError
from lib.training import train
from lib.workers import set_up_process

STANDARD_ERRORS = 4  # a mean difference beyond so many is no chance
LOSS_TOLERANCE = 1e-3  # relative; in one epoch rounding has grown to some 1e-6
ORIGIN = ("cpu", "device", "implementation", "dtype", "threads", "stack", "torch", "numpy", "commit")  # decide the bits


class Verdict(NamedTuple):
    """Whether a block came out as stored, and in words how they were compared and what was found."""

    agrees: bool
    words: str


def choose(folder: Path, blocks: int, seed: int) -> list[Path]:
    """Return that many of the stored blocks in `folder` (or all, if it holds fewer), the same for the same seed."""
    files = sorted(Path(folder).glob("*/trials-*.json"), key=lambda file: file.relative_to(folder).as_posix())
    return random.Random(seed).sample(files, min(blocks, len(files)))


def verify(path: Path) -> Verdict:
    """Train a stored block again, all its epochs, and compare. Raises DataError when the digits cannot be had."""
    try:
        stored = store.read(path)
        experiment = experiment_of(stored["configuration"])
        torch_then = stored["provenance"].get("implementation") == "torch"  # which runs everywhere
        trials = stored["trials"]
        [fresh] = train(experiment, range(trials[0], trials[-1] + 1), implementation="torch" if torch_then else "")
    except (ValueError, TypeError, DivergedError) as error:  # damaged, of another version, or diverging here only
        return Verdict(False, f"not comparable: {error}")
    return compare(stored, fresh)


def experiment_of(configuration: dict) -> Experiment:
    """Return the experiment of a stored configuration. Raises ValueError when this version of the code has another."""
    fields = {name: value for name, value in configuration.items() if name not in ("protocol", "source")}
    experiment = Experiment.from_parameters(**fields)
    here = experiment.configuration
    if here != configuration:
        names = [name for name in {**configuration, **here} if configuration.get(name) != here.get(name)]
        said = ", ".join(f"{name} {configuration.get(name)!r} there and {here.get(name)!r} here" for name in names)
        raise ValueError(f"this version of the code has another configuration: {said}")
    return experiment


def compare(stored: dict, fresh: dict) -> Verdict:
    """Compare two records of one block, bit by bit where that can be asked for, else statistically."""
    why = obstacles(stored["provenance"], fresh["provenance"])
    kind = (
        f"statistical ({'; '.join(why)})" if why else "bitwise (same machine, versions, commit of lib, implementation)"
    )
    names = sorted(name for name in store.FIELDS - {"provenance"} if stored[name] != fresh[name])
    if not names:
        return Verdict(True, f"{kind}: every stored value is equal, bit by bit")
    close, words = statistically(stored, fresh)
    if why:
        return Verdict(close, f"{kind}: {words}")
    # Some virtual machines give processors of several kinds one name, so say how far apart the two are.
    return Verdict(False, f"{kind}: {', '.join(names)} differ; statistically: {words}")


def obstacles(stored: dict, fresh: dict) -> list[str]:
    """Return why two results need not have the same bits, out of their provenance; nothing where they must."""
    differing = [name for name in ORIGIN if stored.get(name) != fresh.get(name)]
    length = {"commit": 10}  # of what is shown
    reasons = [
        f"{name} {str(stored.get(name))[: length.get(name)]} there and {str(fresh.get(name))[: length.get(name)]} here"
        for name in differing
    ]
    reasons += ["uncommitted changes of lib there"] if stored.get("dirty") else []
    return reasons + (["uncommitted changes of lib here"] if fresh.get("dirty") else [])


def statistically(stored: dict, fresh: dict) -> tuple[bool, str]:
    """Say whether two records agree but for rounding, and how close they are."""
    if stored["data"] != fresh["data"]:
        return False, "the trials saw other pairs of digits"
    last = [np.array(record["test_correct"])[:, -1] for record in (stored, fresh)]
    difference = 100 * (last[1] - last[0]) / stored["configuration"]["test_pairs"]  # [trials], in points
    n = len(difference)
    error = difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf  # one trial says nothing about a mean
    accuracy = bool(abs(difference.mean()) <= STANDARD_ERRORS * error)
    distance = max(first_loss_distance(stored, fresh, name) for name in ("train_loss", "auxiliary_train_loss"))
    loss = distance <= LOSS_TOLERANCE
    return accuracy and loss, (
        f"last epoch {'agrees' if accuracy else 'DIFFERS'} (mean difference {difference.mean():+.3f} points, standard "
        f"error {error:.3f}, {n} trials), first-epoch loss {'agrees' if loss else 'DIFFERS'} (within {distance:.1g})"
    )


def first_loss_distance(stored: dict, fresh: dict, name: str) -> float:
    """Return the greatest relative difference of a loss in the first epoch, over the trials."""
    if stored[name] is None or fresh[name] is None:
        return 0.0 if stored[name] == fresh[name] else np.inf
    old, new = (np.array(record[name])[:, 0] for record in (stored, fresh))
    return float(np.max(np.abs(new - old) / np.maximum(np.abs(old), 1e-12)))


def main(arguments: list[str] | None = None) -> int:
    """Verify some blocks from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m report.verify", description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=3, help="how many to train again (default: 3)")
    parser.add_argument("--seed", type=int, help="repeats an earlier choice of blocks (default: drawn, and printed)")
    parser.add_argument("--results", type=Path, default=PUBLISHED, help="folder of the store (default: report/results)")
    options = parser.parse_args(arguments)
    if options.blocks < 1:
        parser.error(f"--blocks is {options.blocks}; allowed: at least 1")
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    paths = choose(options.results, options.blocks, seed)
    if not paths:
        print(f"{options.results} holds no stored results", file=sys.stderr)
        return 1
    print(f"training {len(paths)} stored blocks of {options.results} again, seed {seed}", flush=True)
    agreeing = 0
    with ProcessPoolExecutor(min(cores(), len(paths)), get_context("spawn"), initializer=set_up_process) as pool:
        try:
            for path, verdict in zip(paths, pool.map(verify, paths), strict=True):
                agreeing += verdict.agrees
                result = "ok" if verdict.agrees else "MISMATCH"
                print(f"{result}: {path.parent.name}/{path.name}: {verdict.words}", flush=True)
        except DataError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{agreeing} of {len(paths)} blocks agree")
    return 0 if agreeing == len(paths) else 1


if __name__ == "__main__":
    sys.exit(main())
