"""Train one stack of trials of an experiment, and put what came out into records for the store."""

import functools
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from lib import data, store
from lib.architectures import Network, build
from lib.experiment import Experiment
from lib.fused.build import processor
from lib.layers import Choice, ConvBlock, choose_implementation
from lib.teacher import History, Teacher

ROOT = Path(__file__).resolve().parents[1]

# Trials that train together. Rounding depends on the size of the stack, so blocks are aligned and of one size, whatever
# the number of workers: only the last block of a run may be shorter.
BLOCK = 25


def blocks(trials: range) -> list[range]:
    """Cut a range of trials into blocks of 25; the last may be shorter."""
    return [range(first, min(first + BLOCK, trials.stop)) for first in range(trials.start, trials.stop, BLOCK)]


def make_network(experiment: Experiment, trials: range, dtype: torch.dtype = torch.float32) -> Network:
    """Return the untrained stack of the given trials of an experiment, with their initial weights."""
    form, shape = experiment.fully_convolutional, experiment.shape(len(trials))
    return build(
        experiment.architecture, shape, fully_convolutional=form, seed=experiment.seed, trials=trials, dtype=dtype
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
    train_set, test_set = (data.empty_stack(len(trials), n) for n in (e.train_pairs, e.test_pairs))
    fingerprints = []
    for place, trial in enumerate(trials):
        drawn = data.draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial)
        fingerprints.append(data.fingerprint(*drawn))
        for whole, pairs in zip((train_set, test_set), data.normalise(*drawn), strict=True):
            data.put(whole, place, pairs)
    network = make_network(e, trials, dtype).to(device)
    convolutions = [module for module in network.modules() if isinstance(module, ConvBlock)]
    choice = choose_implementation(convolutions, dtype, device, implementation)
    for block in convolutions:
        block.implementation = choice.implementation
    teacher = Teacher(train_set, test_set, [data.generator(e.seed, trial, "order") for trial in trials])
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
            **record(configuration, block, fingerprints, history, teacher.test_pairs.digits, offset=trials.start),
            "provenance": {**origin, "seconds": round(seconds * len(block), 3)},
        }
        for block in blocks(trials)
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


@functools.cache
def code_version() -> dict[str, object]:
    """Return the last commit that touched lib, and whether lib has changed since ("unknown" outside a git checkout)."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments, "--", "lib"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("log", "-1", "--format=%H"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": True}
