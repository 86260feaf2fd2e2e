"""The whole benchmark: what `python -m report bench` runs."""

import sys
import time
from pathlib import Path

import torch

from lib.fused.choice import choose_implementation
from lib.machine import ROOT
from report.speed import measured
from report.speed.long_check import long_check
from report.speed.plan import QUICK, full
from report.speed.rounds import measure, pinned_core
from report.speed.scaling import measure_scaling


def bench(quick: bool = False, long: bool = False, output: Path | None = None) -> Path:
    """Measure, write the file and return it; nothing else should run meanwhile.

    `quick` does so at a tiny size. `long` checks that both implementations learn the same, and only that, and adds it
    to the file. The file is `output`; by default the published one, or with `quick` one in `build/quick`.
    """
    file = output or (ROOT / "build" / "quick" / "benchmark.json" if quick else measured.FILE)
    plan, start = QUICK if quick else full(), time.perf_counter()
    if long:
        measured.write(file, {"long_check": long_check(plan, progress=not quick)})
    else:
        about, e = measured.about(), plan.experiments[0]  # now: the load before
        names = ("dataset", "train_pairs", "test_pairs", "batch_size", "channels")
        settings = {
            **{name: getattr(e, name) for name in names},
            "rounds": plan.rounds,
            "pinned": pinned_core() is not None,
            "compiled_block": choose_implementation([], torch.float32, wish="fused").why,
        }
        times = measure(plan)
        measured.write(file, {"about": about, "settings": settings, **times, "scaling": measure_scaling(plan)})
        for sentence in () if quick else measured.warnings(measured.read(file)):  # the numbers of `quick` mean nothing
            print(sentence, file=sys.stderr)
    print(f"{file}, in {time.perf_counter() - start:.0f} s")
    return file
