"""How fast a GPU is, and whether it computes the same: all that is said of it, in one run and one file.

What is timed has been run before (kernels are compiled, an epoch is recorded), waits for the GPU before each look at
the clock, and says how often it was timed.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from lib import Experiment, Store, Teacher, files, load, prepare, textbook
from lib.analysis import PUBLISHED
from lib.check import crossing
from lib.machine import ROOT, code_version, processor
from lib.store import Record
from lib.tasks import COMPARISON
from lib.teacher import Work
from lib.training import Prepared, hyperparameters, train_fully
from report import verify
from report.speed.contenders import plain
from report.speed.floor import multiply_adds
from report.speed.vmap import VmapStack
from report.statistics import equivalence, paired_difference

FILE = ROOT / "report" / "speed" / "gpu.json"
NETWORKS = ("SN", "WSN", "SAUX", "CAUX")
TRIALS = 150
STACKS = (1, 25, 150, 300, 600)
UNITS = {
    "*_s": "seconds",
    "*_ms": "milliseconds per epoch (training and one pass over the test set), of the whole stack",
    "*_gb": "gigabytes (1,000,000,000 bytes), the most that was held",
    "times_floor": "over the floor: the protocol's multiply-adds at the rate of large float32 products",
    "n": "how often it was timed; the number given is the median",
}


class Launched(Teacher):
    """The Teacher, launching each operation of every epoch."""

    def replayed(self, *_: Any) -> Work | None:
        """Replay nothing."""
        return None


def gpu(output: Path | None = None, trials: int = TRIALS, settings: str = "", device: str = "cuda") -> Path:
    """Measure, write the file (default: the committed one) and return it; the results go into a store beside it.

    `trials` and `settings`, words of Experiment's grammar, make a small run of it.
    """
    file = output or FILE
    store = Store(file.with_name("by-cuda"))
    experiments = [Experiment.parse(name, settings) for name in NETWORKS]
    found: dict[str, Any] = {"about": about(device), "units": UNITS, "ceilings": ceilings(device)}
    steps: dict[str, Callable[[], Any]] = {
        "experiments": lambda: [whole(e, trials, store, found["ceilings"], device) for e in experiments],
        "stacks": lambda: [stack(experiments[1], size, device) for size in STACKS if size <= 4 * trials],
        "ways": lambda: ways(experiments[1], trials, device),
        "textbook": lambda: by_textbook(experiments[1], device),
        "exactness": lambda: exactness(device),
        "equivalence": lambda: [against_cpu(e, trials, store) for e in experiments if not settings],
        "verify": lambda: [] if settings else verified(experiments, device),
        "vmap": lambda: by_vmap(experiments[1], min(25, trials), device),
    }
    for name, step in steps.items():
        try:
            found[name] = step()
        except Exception as error:  # what can be measured is kept
            found[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(name, json.dumps(found[name]), flush=True)
        files.write(file, (json.dumps(found, indent=1) + "\n").encode())
    return file


def about(device: str) -> dict[str, object]:
    """Say where this was measured, with what, and when."""
    import triton

    return {
        **code_version(),
        "card": torch.cuda.get_device_name(device),
        "cpu": processor(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def ceilings(device: str, n: int = 8192, count: int = 1 << 28, times: int = 10) -> dict[str, float]:
    """Return the rate of large float32 products (TF32 off) in TFLOP/s, and of copies in TB/s, read and written."""
    torch.set_float32_matmul_precision("highest")
    a, b, c = (torch.randn(n, n, device=device) for _ in range(3))
    long = torch.randn(count, device=device)
    other = torch.empty_like(long)
    product = median(timed(lambda: torch.mm(a, b, out=c), device) for _ in range(times))
    copy = median(timed(lambda: other.copy_(long), device) for _ in range(times))
    return {"float32_tflops": 2e-12 * n**3 / product, "copy_tb_per_s": 8e-12 * count / copy, "n": times}


def timed(work: Callable[[], object], device: str) -> float:
    """Return the seconds that some work takes."""
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def epoch_seconds(prepared: Prepared, e: Experiment, epochs: int, device: str, teacher: Teacher) -> list[float]:
    """Return the seconds of each epoch after the first two, which compile and record."""
    running: Iterator[Any] = teacher.epochs(prepared.network, **{**hyperparameters(e), "epochs": epochs + 2})
    return [timed(lambda: next(running), device) for _ in range(epochs + 2)][2:]


def whole(e: Experiment, trials: int, store: Store, ceilings: dict[str, float], device: str) -> dict[str, Any]:
    """Run an experiment as a study does, all its trials in one stack, into a store; once before it for two epochs."""
    first = timed(lambda: train_fully(e.changed("epochs=2"), range(trials), device=device), device)
    torch.cuda.reset_peak_memory_stats(device)
    ends: list[float] = []
    done: list[Record] = []

    def run() -> None:
        trained = train_fully(e, range(trials), device=device, on_epoch=lambda _: ends.append(time.perf_counter()))
        done.extend(trained.records)

    total = timed(run, device)
    for record in done:
        store.write(record)
    training = [1e3 * seconds for seconds in np.diff(ends)]  # every epoch ends with its numbers on the CPU
    counted = multiply_adds(e)
    least = 2e-9 * trials * (counted["train"] * e.train_pairs + counted["test"] * e.test_pairs)
    least /= ceilings["float32_tflops"]
    # Every image read once; all else could stay on the chip.
    reading = 1e-9 * trials * (e.train_pairs + e.test_pairs) * 2 * 14 * 14 * 4 / ceilings["copy_tb_per_s"]
    return {
        "experiment": str(e),
        "trials": trials,
        "epochs": e.epochs,
        "total_s": total,
        "of_which_training_s": sum(training) / 1e3,
        "first_time_two_epochs_s": first,
        "epoch_ms": median(training),
        "n": len(training),
        "multiply_adds": counted,
        "floor_ms": max(least, reading),
        "floor_of_bytes_ms": reading,
        "times_floor": median(training) / max(least, reading),
        "peak_gb": torch.cuda.max_memory_allocated(device) / 1e9,
        "implementation": done[0]["provenance"]["implementation"],
    }


def stack(e: Experiment, trials: int, device: str, epochs: int = 20) -> dict[str, float]:
    """Time a stack of so many trials."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    prepared = prepare(e, range(trials), device=device)
    drawing = time.perf_counter() - start
    ms = 1e3 * median(epoch_seconds(prepared, e, epochs, device, prepared.teacher))
    peak = torch.cuda.max_memory_allocated(device) / 1e9
    return {"trials": trials, "epoch_ms": ms, "prepare_s": drawing, "peak_gb": peak, "n": epochs}


def ways(e: Experiment, trials: int, device: str, epochs: int = 5) -> list[dict[str, Any]]:
    """Time the ways to compute one stack: grouped convolutions or the block, launched one by one or replayed."""
    rows = []
    for implementation in ("torch", "fused"):
        for kind in (Launched, Teacher):
            prepared = prepare(e, range(trials), implementation=implementation, device=device)
            held = prepared.teacher
            teacher = kind(held.train_pairs, held.test_pairs, held.orders)
            seconds = epoch_seconds(prepared, e, epochs, device, teacher)
            replayed = kind is Teacher
            row = {
                "implementation": implementation,
                "replayed": replayed,
                "epoch_ms": 1e3 * median(seconds),
                "n": epochs,
            }
            rows.append(row)
    return rows


def by_textbook(e: Experiment, device: str, epochs: int = 5) -> dict[str, float]:
    """Time the textbook loop of one trial on the same GPU, its data there from the start."""
    prepared = prepare(e, range(1), implementation="torch")
    [network] = plain(e, prepared.network)
    network.to(device)
    train, test = (each.part(slice(None)) for each in (prepared.teacher.train_pairs, prepared.teacher.test_pairs))
    images, tests, classes = (each[0].to(device) for each in (train.images, test.images, train.classes))
    target, wanted = COMPARISON.target(classes), COMPARISON.target(test.classes[0]).to(device)
    optimizer = textbook.make_optimizer(network, e.optimizer, e.learning_rate, e.momentum)

    def epoch() -> None:
        order = torch.from_numpy(prepared.teacher.orders[0].permutation(e.train_pairs)).to(device)
        textbook.train_epoch(network, optimizer, images, target, classes, order, e.batch_size, e.auxiliary_weight)
        textbook.test(network, tests, wanted)

    seconds = [timed(epoch, device) for _ in range(epochs + 1)][1:]
    return {"epoch_ms": 1e3 * median(seconds), "n": epochs}


def by_vmap(e: Experiment, trials: int, device: str, epochs: int = 3) -> dict[str, float]:
    """Time plain networks side by side by torch.func."""
    prepared = prepare(e, range(trials), implementation="torch")
    networks = VmapStack([network.to(device) for network in plain(e, prepared.network)], e.learning_rate)
    teacher, like = prepared.teacher, torch.empty(0, device=device)
    test = teacher.near(teacher.test_pairs, like).part(slice(None))

    def epoch() -> None:
        networks.train(teacher.batches(e.batch_size, like))
        networks.test(test)

    seconds = [timed(epoch, device) for _ in range(epochs + 1)][1:]
    return {"trials": trials, "epoch_ms": 1e3 * median(seconds), "n": epochs}


def exactness(device: str) -> list[dict[str, Any]]:
    """Compare, in float64 on the GPU, trials of a stack with the same ones alone, and launching with replaying."""
    rows = []
    for name in NETWORKS:
        e = Experiment.parse(name, "dataset=digits train_pairs=100 test_pairs=50 epochs=4 learning_rate=0.1")

        def learned(trials: range, kind: type[Teacher] = Teacher, e: Experiment = e) -> dict[int, list[torch.Tensor]]:
            prepared = prepare(e, trials, device=device, dtype=torch.float64)
            held = prepared.teacher
            history = kind(held.train_pairs, held.test_pairs, held.orders).train(prepared.network, **hyperparameters(e))
            values = [*prepared.network.state_dict().values(), *(epoch["train_loss"] for epoch in history.epochs)]
            return {trial: [value[place].cpu() for value in values] for place, trial in enumerate(trials)}

        three = learned(range(3))
        alone = max(apart(three[trial], learned(range(trial, trial + 1))[trial]) for trial in range(3))
        launched = max(apart(three[trial], each) for trial, each in learned(range(3), Launched).items())
        prepared = prepare(e, range(2), device=device, dtype=torch.float64)
        rows.append(
            {
                "architecture": name,
                "implementation": prepared.choice.implementation,
                "stack_against_alone": alone,
                "replayed_against_launched": launched,
                "gradients_cross": crossing(prepared.network, prepared.teacher),
            }
        )
    return rows


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Return the greatest difference between two lists of tensors."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def against_cpu(e: Experiment, trials: int, store: Store) -> dict[str, Any]:
    """Compare what the GPU gave with the published results, trial by trial, after the last epoch; and first losses."""
    ours, theirs = load(e, trials, store), load(e, trials, Store(PUBLISHED))
    assert ours.fingerprints == theirs.fingerprints
    last = theirs.accuracy[:, -1], ours.accuracy[:, -1]
    difference, same = paired_difference(*last), equivalence(*last)
    losses = theirs.values("train_loss")[:, 0], ours.values("train_loss")[:, 0]
    return {
        "experiment": str(e),
        "trials": trials,
        "cpu": float(last[0].mean()),
        "gpu": float(last[1].mean()),
        "difference": [difference.mean, difference.low, difference.high],
        "margin": same.margin,
        "p": same.p,
        "equivalent": same.equivalent,
        "power": same.power,
        "first_loss_relative": float(np.max(np.abs(losses[1] / losses[0] - 1))),
        "greatest_difference_of_means": float(np.abs(ours.mean - theirs.mean).max()),
    }


def verified(experiments: list[Experiment], device: str) -> list[dict[str, object]]:
    """Verify on the GPU a group of each experiment that was stored on a CPU."""
    paths = [Store(PUBLISHED).find(e.configuration, range(25)) for e in experiments]
    verdicts = [verify.verify(path, device=device) for path in paths if path]
    return [verdict._asdict() for verdict in verdicts]
