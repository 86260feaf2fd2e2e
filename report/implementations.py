"""Whether the compiled block computes what PyTorch's operations compute: judged as `preregistration.md` says."""

from pathlib import Path
from typing import Any, NamedTuple

from lib import Experiment, Store, load, run_study
from lib.analysis import PREREGISTERED
from lib.machine import ROOT
from report import statistics
from report.statistics import Array, Equivalence, PairedDifference

EXPERIMENT, TRIALS = Experiment.parse("WSN momentum=0.9 seed=2023"), 150
MARGIN = 0.25  # points, said before the runs
BY_TORCH = ROOT / "report" / "results_by_torch"  # the same trainings by PyTorch: one key, another result, another store


class Check(NamedTuple):
    """What 150 trials by either came to: D is PyTorch minus the compiled block after the last epoch, in points."""

    compiled: Array  # accuracies, `[trials]`
    torch: Array
    difference: PairedDifference
    same: Equivalence
    outcome: str


def check(compiled: Path = PREREGISTERED, torch: Path = BY_TORCH, trials: int = TRIALS) -> Check:
    """Judge from the stored results. Raises FileNotFoundError where they are missing, DamagedResultError."""
    a, b = (load(EXPERIMENT, trials, Store(folder)).accuracy[:, -1] for folder in (compiled, torch))
    return Check(a, b, statistics.paired_difference(a, b), statistics.equivalence(a, b, MARGIN), judged(a, b))


def judged(compiled: Array, torch: Array) -> str:
    """Return the outcome by the rule that was written down: confirmed, refuted or not settled."""
    d = statistics.paired_difference(compiled, torch)
    if statistics.equivalence(compiled, torch, MARGIN).equivalent:
        return "confirmed"
    return "refuted" if d.low > MARGIN or d.high < -MARGIN else "not settled"


def train(**options: Any) -> None:
    """Train what either store lacks; options as of `lib.run_study`. One that lacks nothing takes no compiler."""
    for folder, implementation in ((PREREGISTERED, "fused"), (BY_TORCH, "torch")):
        if Store(folder).missing(EXPERIMENT.configuration, TRIALS):
            run_study([EXPERIMENT], TRIALS, store=Store(folder), implementation=implementation, **options)
