"""Train one stack of trials of an experiment, and put what came out into records for the store."""

import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from lib import datasets, seeds, store
from lib.architectures import Network, build
from lib.choices import by_head
from lib.datasets import CLASSES
from lib.experiment import Experiment
from lib.foreign import find, is_plain
from lib.fused.choice import Choice, choose_implementation
from lib.layers import ConvBlock
from lib.machine import code_version, processor
from lib.measures import Measure, Taken, Values
from lib.measures import find as find_measure
from lib.pairs import (
    Gathered,
    Pairs,
    draw_trial_rows,
    empty_stack,
    fingerprint,
    gathered,
    pairs_of,
    put,
    scale_of,
    standardised,
)
from lib.plain import build_plain
from lib.state import own_state
from lib.store import Record, groups
from lib.teacher import History, Teacher, prefix

JOINED = ("first", "frozen")  # settings that name several things
GATHERED = 4_000  # training pairs of each trial from which on batches are gathered from the digits: less memory


class Prepared(NamedTuple):
    """What a training begins with: the untrained stack, a Teacher with its trials' pairs, and what is known of both."""

    network: Network
    teacher: Teacher
    fingerprints: list[str]  # of each trial's pairs
    choice: Choice  # of the implementation
    scale: Tensor  # mean and SD of each trial's training images, `[2, trials]`, by which its images are normalised


class Trained(NamedTuple):
    """What a training leaves: the stack, a record for the store per group of 25, and of each measure its values."""

    prepared: Prepared
    records: list[Record]
    measures: dict[Measure, Values]

    def part(self, record: Record) -> slice:
        """Return where the trials of one of the records are in the stack."""
        first, trials = self.records[0]["trials"][0], record["trials"]
        return slice(trials[0] - first, trials[-1] + 1 - first)


@own_state()
def make_network(experiment: Experiment, trials: range, dtype: torch.dtype = torch.float32) -> Network:
    """Return the untrained stack of the given trials of an experiment, with their initial weights.

    Raises ValueError when the source of its architecture is no longer the one that the experiment was made with, and
    for more than one trial of a plain module.
    """
    architecture = find(experiment.architecture)
    if experiment.source() != {k: v for k, v in experiment.configuration.items() if k == "source"}:
        raise ValueError(
            f"the file of {experiment.architecture} is not the one that this experiment was made with: make it again"
        )
    if is_plain(architecture):
        if len(trials) != 1:
            raise ValueError(f"trials is {trials}; allowed: one at a time of {experiment.architecture}, a plain module")
        return build_plain(architecture, seed=experiment.seed, trial=trials[0], dtype=dtype)
    return build(
        cast(type[Network], architecture),
        experiment.sizes(len(trials)),
        fully_convolutional=experiment.fully_convolutional,
        seed=experiment.seed,
        trials=trials,
        dtype=dtype,
    )


@own_state()
def prepare(
    experiment: Experiment,
    trials: range,
    *,
    implementation: str = "",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Prepared:
    """Return the untrained stack of the given trials and the Teacher that holds their pairs.

    Raises ValueError for an implementation that cannot run, DataError when the digits cannot be had.
    """
    e = experiment
    network = make_network(e, trials, dtype).to(device)
    choice = implement(network, dtype, device, implementation)
    train_set, test_set, final_set, fingerprints, scale = draw_sets(e, trials)
    orders = [seeds.generator(e.seed, trial, "order") for trial in trials]
    return Prepared(network, Teacher(train_set, test_set, orders, final_set), fingerprints, choice, scale)


def implement(network: Network, dtype: torch.dtype, device: str = "cpu", wish: str = "") -> Choice:
    """Choose how the convolution blocks of a network are computed, and let them be."""
    blocks = [module for module in network.modules() if isinstance(module, ConvBlock)]
    choice = choose_implementation([block.sizes for block in blocks], dtype, device, wish)
    for block in blocks:
        block.implementation = choice.implementation
    return choice


def chosen(experiment: Experiment, implementation: str = "", device: str = "cpu") -> Choice:
    """Return by which implementation an experiment would be computed here, and why."""
    return implement(make_network(experiment, range(1)), torch.float32, device, implementation)


def draw_sets(e: Experiment, trials: range) -> tuple[Pairs | Gathered, Pairs, Gathered, list[str], Tensor]:
    """Draw every trial's pairs, to train and to test, and all test digits paired anew; their fingerprints and scale."""
    train_digits, test_digits = datasets.load(e.dataset)
    many = e.train_pairs > GATHERED
    train_set, test_set = (empty_stack(len(trials), n) for n in (0 if many else e.train_pairs, e.test_pairs))
    fingerprints, scales, rows, final_rows = [], [], [], []
    for place, trial in enumerate(trials):
        drawn = draw_trial_rows(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial, e.train_digits)
        train, test = pairs_of(train_digits, drawn.train), pairs_of(test_digits, drawn.test)
        fingerprints.append(fingerprint(train, test))
        mean, sd = scale_of(train)
        for whole, pairs in ((test_set, test),) if many else ((train_set, train), (test_set, test)):
            put(whole, place, Pairs(standardised(pairs.images, mean, sd), pairs.classes))
        scales.append(torch.stack([mean, sd]))
        count = len(test_digits.classes)
        again = seeds.generator(e.seed, trial, "final").permutation(count)
        rows.append(drawn.train)
        final_rows.append(again[: count // 2 * 2].reshape(-1, 2))
    scale = torch.stack(scales, dim=1)  # [2, trials]
    final = gathered(test_digits, final_rows, scale)
    return gathered(train_digits, rows, scale) if many else train_set, test_set, final, fingerprints, scale


def train(experiment: Experiment, trials: range, **options: Any) -> list[Record]:
    """Train trials and return a record for the store per group of 25; options as in `train_fully`.

    They train as one stack, those of a plain module one by one.
    """
    alone = is_plain(find(experiment.architecture))
    stacks = [range(trial, trial + 1) for trial in trials] if alone else [trials]
    records = [record for stack in stacks for record in train_fully(experiment, stack, **options).records]
    return [store.joined([each for each in records if each["trials"][0] in group]) for group in groups(trials)]


@own_state()
def train_fully(
    experiment: Experiment,
    trials: range,
    *,
    implementation: str = "",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    measures: Sequence[str] = (),
    on_epoch: Callable[[nn.Module], object] | None = None,
) -> Trained:
    """Train a stack of trials, taking `measures` (`lib.measures`) of it, and return all that this leaves.

    Raises lib.teacher.DivergedError, ValueError for a measure of a wrong shape.
    """
    start, utc = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    prepared = prepare(experiment, trials, implementation=implementation, device=device, dtype=dtype)
    teacher, taken = prepared.teacher, Taken(list(dict.fromkeys(map(find_measure, measures))))

    def after_epoch(network: nn.Module) -> None:
        if on_epoch:
            on_epoch(network)
        taken.after_epoch(prepared.network, teacher)

    history = teacher.train(prepared.network, on_epoch=after_epoch, **hyperparameters(experiment))
    taken.at_end(prepared.network, teacher)
    seconds = (time.perf_counter() - start) / len(trials)
    origin = {**provenance(prepared.choice, device, dtype, len(trials)), "started": utc}
    records = [
        record(
            experiment, group, prepared, history, trials.start, {**origin, "seconds": round(seconds * len(group), 3)}
        )
        for group in groups(trials)
    ]
    return Trained(prepared, records, taken.values)


def hyperparameters(experiment: Experiment) -> dict[str, Any]:
    """Return the settings of an experiment that the Teacher takes."""
    names = ("epochs", "batch_size", "optimizer", "learning_rate", "momentum", "auxiliary_weight")
    joined = {name: getattr(experiment, name).split("+") if getattr(experiment, name) else [] for name in JOINED}
    return {
        **{name: getattr(experiment, name) for name in (*names, "stopped", "first_epochs")},
        **joined,
        "auxiliary_weights": by_head(experiment.auxiliary_weights) if experiment.auxiliary_weights else {},
    }


def record(
    experiment: Experiment, trials: range, prepared: Prepared, history: History, offset: int, origin: dict[str, Any]
) -> Record:
    """Return what the store keeps of `trials`, out of the history of a stack whose first trial is `offset`."""
    assert history.last is not None  # an experiment has at least one epoch
    part = slice(trials.start - offset, trials.stop - offset)
    kept: dict[str, object] = {
        "schema": store.SCHEMA,
        "configuration": experiment.configuration,
        "trials": list(trials),
        "fingerprints": prepared.fingerprints[part],
        "provenance": origin,
    }
    # `auxiliary` stands there for networks without it, too
    for head in dict.fromkeys(("answer", "auxiliary", *history.last.heads)):
        for name in store.HEAD_LISTS:
            values = history.array(prefix(head) + name)
            kept[prefix(head) + name] = None if values is None else listed(values[part])
        if head != "answer":
            judged = history.last.heads.get(head)
            kept[f"{head}_total"] = None if judged is None else judged.named.shape[1]
    correct = history.last.correct[part].cpu()
    classes = prepared.teacher.test_pairs.classes[part]
    kept["last_bits"] = [store.hex_of(row) for row in correct.tolist()]
    kept["last_table"] = [table(*both) for both in zip(correct, classes, strict=True)]
    kept["last_named"] = {
        head: ["".join(map(str, row)) for row in judged.named[part].tolist()]
        for head, judged in history.last.heads.items()
        if head != "answer" and prepared.network.heads[head].classes <= 10  # a digit says the class
    }
    return cast(Record, kept)


def listed(values: np.ndarray[Any, Any]) -> list[list[float]]:
    """Return `[trials][epochs]`: counts as they are, other numbers to 6 significant digits."""
    rows: list[list[float]] = values.tolist()
    return rows if values.dtype.kind in "iu" else [[float(f"{value:.6g}") for value in row] for row in rows]


def table(correct: Tensor, classes: Tensor) -> list[list[list[int]]]:
    """Count (correct, total) by first and second digit, `[10][10][2]`, of `correct` `[n]` and `classes` `[n, 2]`."""
    cell, cells = CLASSES * classes[:, 0] + classes[:, 1], CLASSES**2
    counts = torch.stack([torch.bincount(cell[correct], minlength=cells), torch.bincount(cell, minlength=cells)], dim=1)
    found: list[list[list[int]]] = counts.view(CLASSES, CLASSES, 2).tolist()
    return found


def provenance(choice: Choice, device: str, dtype: torch.dtype, stack: int) -> dict[str, object]:
    """Say where a result comes from: code, versions, machine. No part of the key: it must not matter."""
    return {
        **code_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cpu": processor(),
        "device": torch.cuda.get_device_name(device) if device != "cpu" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "implementation": choice.implementation,
        "threads": torch.get_num_threads(),
        "stack": stack,
    }
