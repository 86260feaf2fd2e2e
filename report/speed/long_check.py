"""Whether both implementations of the convolution block learn the same: rounding differs, and training amplifies it."""

import tempfile
from dataclasses import asdict

from lib import Store, run_study
from lib.experiment import describe
from report import statistics
from report.speed.measured import about
from report.speed.plan import Plan


def long_check(plan: Plan, progress: bool = True) -> dict[str, object]:
    """Train WSN by both implementations, with momentum 0.9, and compare the last epoch's accuracy trial by trial.

    The root seed is not the study's: these are other trials.

    Raises RuntimeError when a result comes from another implementation than the one asked for.
    """
    e = plan.experiments[0].changed(f"momentum=0.9 epochs={plan.long_epochs} seed=1")
    accuracy = {}
    for name in ("torch", "fused"):
        with tempfile.TemporaryDirectory() as folder:  # a store each: an implementation is not part of the key
            store = Store(folder)
            [result] = run_study([e], plan.long_trials, store=store, implementation=name, progress=progress)
        if {record["provenance"]["implementation"] for record in result.records} != {name}:
            raise RuntimeError(f"the results of {name!r} were not computed by it")
        accuracy[name] = result.accuracy[:, -1]
    pair = accuracy["torch"], accuracy["fused"]
    difference = asdict(statistics.paired_difference(*pair))
    return {
        "experiment": e.name,
        "optimizer": f"{describe('optimizer', e.optimizer)} with {describe('momentum', e.momentum)}",
        "trials": plan.long_trials,
        "epochs": e.epochs,
        "dataset": e.dataset,
        "mean_torch": float(pair[0].mean()),
        "mean_fused": float(pair[1].mean()),
        "difference": {name: difference[name] for name in ("mean", "low", "high", "sd", "p", "n", "superiority")},
        "equivalence": asdict(statistics.equivalence(*pair)),
        "about": about(),
    }
