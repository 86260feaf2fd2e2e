"""Train one stack of trials of an experiment, and put what came out into records for the store."""

import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from lib import seeds, store
from lib.architectures import Network, build
from lib.datasets import CLASSES
from lib.experiment import Experiment
from lib.foreign import find
from lib.fused.choice import Choice, choose_implementation
from lib.layers import ConvBlock
from lib.machine import code_version, processor
from lib.pairs import draw_trial, empty_stack, fingerprint, normalise, put
from lib.store import Record, groups
from lib.teacher import History, Teacher, prefix


class Prepared(NamedTuple):
    """What a training begins with: the untrained stack, a Teacher with its trials' pairs, and what is known of both."""

    network: Network
    teacher: Teacher
    fingerprints: list[str]  # of each trial's pairs
    choice: Choice  # of the implementation


def make_network(experiment: Experiment, trials: range, dtype: torch.dtype = torch.float32) -> Network:
    """Return the untrained stack of the given trials of an experiment, with their initial weights.

    Raises ValueError when the source of its architecture is no longer the one that the experiment was made with.
    """
    architecture = find(experiment.architecture)
    if experiment.source() != {k: v for k, v in experiment.configuration.items() if k == "source"}:
        raise ValueError(
            f"the file of {experiment.architecture} is not the one that this experiment was made with: make it again"
        )
    return build(
        architecture,
        experiment.sizes(len(trials)),
        fully_convolutional=experiment.fully_convolutional,
        seed=experiment.seed,
        trials=trials,
        dtype=dtype,
    )


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
    train_set, test_set = (empty_stack(len(trials), n) for n in (e.train_pairs, e.test_pairs))
    fingerprints = []
    for place, trial in enumerate(trials):
        drawn = draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial)
        fingerprints.append(fingerprint(*drawn))
        for whole, pairs in zip((train_set, test_set), normalise(*drawn), strict=True):
            put(whole, place, pairs)
    network = make_network(e, trials, dtype).to(device)
    blocks = [module for module in network.modules() if isinstance(module, ConvBlock)]
    choice = choose_implementation([block.sizes for block in blocks], dtype, device, implementation)
    for block in blocks:
        block.implementation = choice.implementation
    teacher = Teacher(train_set, test_set, [seeds.generator(e.seed, trial, "order") for trial in trials])
    return Prepared(network, teacher, fingerprints, choice)


def train(
    experiment: Experiment,
    trials: range,
    *,
    implementation: str = "",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_epoch: Callable[[nn.Module], Mapping[str, Tensor] | None] | None = None,
) -> list[Record]:
    """Train a stack of trials and return a record for the store per group of 25.

    What `on_epoch` returns, named measures `[trials]`, is kept with them. Raises lib.teacher.DivergedError.
    """
    start, utc = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    prepared = prepare(experiment, trials, implementation=implementation, device=device, dtype=dtype)
    history = prepared.teacher.train(prepared.network, on_epoch=on_epoch, **hyperparameters(experiment))
    seconds = (time.perf_counter() - start) / len(trials)
    origin = {**provenance(prepared.choice, device, dtype, len(trials)), "started": utc}
    return [
        record(
            experiment, group, prepared, history, trials.start, {**origin, "seconds": round(seconds * len(group), 3)}
        )
        for group in groups(trials)
    ]


def hyperparameters(experiment: Experiment) -> dict[str, Any]:
    """Return the settings of an experiment that the Teacher takes."""
    names = ("epochs", "batch_size", "optimizer", "learning_rate", "momentum", "auxiliary_weight")
    return {name: getattr(experiment, name) for name in names}


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
    known = {prefix(head) + name for head in history.last.heads for name in store.HEAD_LISTS}
    measures = [name for name in history.epochs[0] if name not in known]
    if measures:
        kept["measures"] = {name: listed(cast(Any, history.array(name))[part]) for name in measures}
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
