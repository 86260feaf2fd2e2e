"""The time of all contenders, in turns on one pinned core, so that what slows the machine slows all of them."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from lib.workers import set_up_process
from report.speed.contenders import Contender, Timing, contenders, run_epoch
from report.speed.floor import floor, matrix_rate, multiply_adds
from report.speed.measured import Row, spread
from report.speed.plan import Plan


def measure(plan: Plan) -> dict[str, object]:
    """Time all contenders in turns, round by round, each process on the same core; return the rates and a row each."""
    core = pinned_core()
    chosen, rates = contenders(plan), []
    times: dict[Contender, list[Timing]] = {contender: [] for contender in chosen}
    with process(core, keeps_memory=False) as plain, process(core, keeps_memory=True) as keeping:
        for number in range(plan.rounds + 1):
            start = time.perf_counter()
            rate, told = keeping.submit(matrix_rate, plan.matrices).result(), []
            for contender in chosen:
                timing = (keeping if contender.keeps_memory else plain).submit(run_epoch, contender).result()
                if number > 0:
                    times[contender].append(timing)
                if contender.experiment.name == "WSN":
                    told.append(f"{contender.method} x {contender.stack} {1e3 * sum(timing):.1f}")
            if number > 0:  # the round before the first compiles, fills caches and is left out
                rates.append(rate)
            name = f"round {number} of {plan.rounds}" if number else "warm-up"
            seconds = time.perf_counter() - start
            print(f"{name} ({seconds:.0f} s), WSN in ms: {', '.join(told)}; {rate:.0f} GFLOP/s", flush=True)
    return {"rate_gflops": spread(rates), "rows": rows(times, max(rates))}


def rows(times: Mapping[Contender, list[Timing]], rate: float) -> list[Row]:
    """Return what is stored of each contender: its times, and its ratios round by round."""
    total = {contender: 1e3 * np.sum(each, axis=1) for contender, each in times.items()}  # [rounds], milliseconds
    speedup = {c: total[Contender(c.experiment, "textbook")] / total[c] for c in total}
    of_wsn = {(c.method, c.stack): speedup[c] for c in total if c.experiment.name == "WSN"}
    stored: list[Row] = []
    for contender, each in times.items():
        e, least = contender.experiment, floor(contender.experiment, rate)
        stored.append(
            {
                "experiment": e.name,
                "architecture": e.architecture,
                "fully_convolutional": e.fully_convolutional,
                "one_hot_encoding": e.one_hot_encoding,
                "method": contender.method,
                "stack": contender.stack,
                "train_ms": spread(1e3 * np.array(each)[:, 0]),
                "test_ms": spread(1e3 * np.array(each)[:, 1]),
                "total_ms": spread(total[contender]),
                "speedup": spread(speedup[contender]),
                "relative_to_wsn": spread(speedup[contender] / of_wsn[contender.method, contender.stack]),
                "times_floor": spread(total[contender] / sum(least.values())),
                "multiply_adds": multiply_adds(e),
                "floor_train_ms": round(least["train"], 4),
                "floor_test_ms": round(least["test"], 4),
            }
        )
    return stored


def pinned_core() -> int | None:
    """Return the core that everything is timed on (the last: systems use the first for themselves), None if unknown."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def process(core: int | None, keeps_memory: bool) -> ProcessPoolExecutor:
    """Return a pool of one process on one core."""
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=start_process, initargs=(core, keeps_memory))


def start_process(core: int | None, keeps_memory: bool) -> None:
    """Begin a process that times: one core, one thread, and our allocator settings or the system's."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    if keeps_memory:
        set_up_process()
