"""Train one stack of trials of an experiment, and put what came out into records for the store."""

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import torch

from lib import seeds, store
from lib.architectures import Network, build
from lib.experiment import Experiment
from lib.foreign import find
from lib.layers import Choice, ConvBlock, choose_implementation
from lib.machine import code_version, processor
from lib.pairs import draw_trial, empty_stack, fingerprint, normalise, put
from lib.store import groups
from lib.teacher import History, Teacher


def make_network(experiment: Experiment, trials: range, dtype: torch.dtype = torch.float32) -> Network:
    """Return the untrained stack of the given trials of an experiment, with their initial weights."""
    form, sizes = experiment.fully_convolutional, experiment.sizes(len(trials))
    return build(
        find(experiment.architecture), sizes, fully_convolutional=form, seed=experiment.seed, trials=trials, dtype=dtype
    )


def train(
    experiment: Experiment,
    trials: range,
    *,
    implementation: str = "",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_epoch: Callable[[], None] | None = None,
) -> list[dict]:
    """Train a stack of trials and return a record for the store per block of 25. Raises lib.teacher.DivergedError."""
    start, utc = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    e, configuration = experiment, experiment.configuration  # now: a source file may be edited while this trains
    train_set, test_set = (empty_stack(len(trials), n) for n in (e.train_pairs, e.test_pairs))
    fingerprints = []
    for place, trial in enumerate(trials):
        drawn = draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial)
        fingerprints.append(fingerprint(*drawn))
        for whole, pairs in zip((train_set, test_set), normalise(*drawn), strict=True):
            put(whole, place, pairs)
    network = make_network(e, trials, dtype).to(device)
    convolutions = [module for module in network.modules() if isinstance(module, ConvBlock)]
    choice = choose_implementation(convolutions, dtype, device, implementation)
    for block in convolutions:
        block.implementation = choice.implementation
    teacher = Teacher(train_set, test_set, [seeds.generator(e.seed, trial, "order") for trial in trials])
    history = teacher.train(
        network,
        epochs=e.epochs,
        batch_size=e.batch_size,
        optimizer=e.optimizer,
        learning_rate=e.learning_rate,
        momentum=e.momentum,
        auxiliary_weight=e.auxiliary_weight,
        on_epoch=on_epoch,
    )
    seconds = (time.perf_counter() - start) / len(trials)
    origin = {**provenance(choice, device, dtype, len(trials)), "started": utc}
    return [
        {
            **record(configuration, block, fingerprints, history, teacher.test_pairs.classes, offset=trials.start),
            "provenance": {**origin, "seconds": round(seconds * len(block), 3)},
        }
        for block in groups(trials)
    ]


def record(
    configuration: dict, trials: range, data: list[str], history: History, digits: torch.Tensor, offset: int
) -> dict[str, object]:
    """Return what the store keeps of `trials`, out of the history of a stack whose first trial is `offset`."""
    part = slice(trials.start - offset, trials.stop - offset)
    kept: dict[str, object] = {
        "schema": store.SCHEMA,
        "configuration": configuration,
        "trials": list(trials),
        "data": data[part],
        "auxiliary_total": history.last.auxiliary_total,
    }
    for name in (*store.COUNTS, *store.LOSSES):
        values = history.array(name)
        rows = None if values is None else values[part].tolist()
        kept[name] = (
            rows if rows is None or name in store.COUNTS else [[float(f"{v:.6g}") for v in row] for row in rows]
        )
    correct = history.last.correct[part].cpu()
    kept["last_bits"] = [store.hex_of(row) for row in correct.tolist()]
    kept["last_table"] = [table(*both) for both in zip(correct, digits[part], strict=True)]
    return kept


def table(correct: torch.Tensor, digits: torch.Tensor) -> list[list[list[int]]]:
    """Count (correct, total) by first and second digit, `[10][10][2]`, of `correct` `[n]` and `digits` `[n, 2]`."""
    cell = 10 * digits[:, 0] + digits[:, 1]
    counts = torch.stack([torch.bincount(cell[correct], minlength=100), torch.bincount(cell, minlength=100)], dim=1)
    return counts.view(10, 10, 2).tolist()


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
