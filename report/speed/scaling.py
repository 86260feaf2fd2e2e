"""What a second worker process brings, and the time and memory of one worker as trials become more."""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context

from lib import Store, run_study
from lib.store import GROUP, groups
from report.speed.measured import spread
from report.speed.memory import memory
from report.speed.plan import Plan


def measure_scaling(plan: Plan) -> dict[str, object]:
    """Measure two worker processes against one, and the time per trial and the memory of one as trials become more."""
    e = plan.experiments[0].changed(f"epochs={plan.scaling_epochs}")
    rounds, sizes = [], []

    def seconds(executor: ProcessPoolExecutor, trials: int) -> float:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:  # a new store each time: nothing is there already
            run_study([e], trials, executor=executor, store=Store(folder), implementation="fused", progress=False)
            return time.perf_counter() - start

    with workers(1) as one, workers(2) as two:
        imported = one.submit(memory).result()
        seconds(one, GROUP)  # reads the digits, loads the compiled block
        first, done = one.submit(memory).result(), 1
        for trials in plan.scaling_trials:
            taken, done = seconds(one, trials), done + len(groups(range(trials)))
            held = one.submit(memory).result()
            row = {"trials": trials, "total_s": round(taken, 3), "per_trial_s": float(f"{taken / trials:.5g}")}
            sizes.append({**row, "blocks_so_far": done, **held})
            print(f"{trials} trials in {taken:.1f} s, {held['peak_mb']:.0f} MB after {done} groups", flush=True)
        seconds(two, 2 * GROUP)
        for number in range(1, plan.rounds + 1):
            rounds.append((seconds(one, plan.worker_trials), seconds(two, plan.worker_trials)))
            told = "{:.1f} s by one, {:.1f} s by two".format(*rounds[-1])
            print(f"workers, round {number} of {plan.rounds}: {told}", flush=True)
    return {
        "experiment": e.name,
        "epochs": e.epochs,
        "worker_trials": plan.worker_trials,
        "one_worker_s": spread(one for one, _ in rounds),
        "two_workers_s": spread(two for _, two in rounds),
        "two_over_one": spread(one / two for one, two in rounds),
        "imported": imported,
        "first_block": first,
        "sizes": sizes,
    }


def workers(number: int) -> ProcessPoolExecutor:
    """Return a pool of processes that hold what lib's own workers hold, and nothing of the report but `memory`."""
    return ProcessPoolExecutor(number, get_context("spawn"), initializer=import_module, initargs=("lib.workers",))
