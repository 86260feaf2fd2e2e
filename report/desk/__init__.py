"""The verdict desk: the ledger of claims, judged anew in the page at a setting of the reader's; the module `desk.js`.

The module has the statistics of `report.statistics` and the rules of `report.claims` once more, in JavaScript, and is
given the right answers of every trial and epoch of the standard results. Sums are made in NumPy's order, so that even
a number that lies halfway between two that can be shown is shown as Python shows it; tests compare the two.
"""

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib import Result
from report import claims, statistics, study

HERE = Path(__file__).parent
BEFORE = 500  # right answers that the first epoch's are written against


def complete(results: Sequence[Result]) -> bool:
    """Say whether these are all standard results, of as many trials as the study has."""
    trials = {result.experiment: result.trials for result in results}
    return all(trials.get(experiment) == study.TRIALS for experiment in study.STANDARD)


def page_data(results: Sequence[Result]) -> dict[str, Any]:
    """Return all that the module needs, as JSON can hold it: the counts, the claims, and the rules they are judged by.

    Raises ValueError where a standard result is missing, or its trials saw other pairs than those of another.
    """
    if not complete(results):
        raise ValueError(f"the desk needs the standard results of {study.TRIALS} trials each")
    readings = study.readings(results)
    claims.ledger(readings)  # refuses what cannot be compared
    several = [result for four in readings.values() for result in four]
    counts = np.array([result.values("test_correct") for result in several])
    return {
        "trials": study.TRIALS,
        "epochs": counts.shape[2],
        "pairs": several[0].experiment.test_pairs,
        "margin": statistics.MARGIN,
        "fewest": statistics.TRIALS_FOR_A_VERDICT,
        "alpha": statistics.ALPHA,
        "chance": statistics.CHANCE,
        "rounding": statistics.ROUNDING,
        "readings": list(readings),
        "networks": study.NETWORKS,
        "figures": {c.number: [c.a.architecture, c.b.architecture] for c in study.COMPARISONS if c.number in CLAIMED},
        "claims": [vars(definition) for definition in claims.DEFINITIONS],
        "before": BEFORE,
        "counts": packed(counts),
    }


CLAIMED = {definition.figure for definition in claims.DEFINITIONS}


def packed(counts: NDArray[np.int64]) -> str:
    """Return right answers `[results, trials, epochs]` in base64: what each epoch adds, low and high bytes, deflated.

    What an epoch adds needs 56 kB, of 120,000 counts; against the mean of the trials, or a mean of several epochs
    before, it would be 57 to 80 kB, for a training that has not begun answers the same in epoch after epoch.
    """
    added = np.diff(counts, axis=2, prepend=BEFORE)
    folded = np.where(added < 0, -2 * added - 1, 2 * added).astype(np.uint16)  # 0, -1, 1, -2, ...: 0, 1, 2, 3, ...
    planes = (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()
    raw = -zlib.MAX_WBITS  # without a header, as a browser reads it
    deflate = zlib.compressobj(9, zlib.DEFLATED, raw, 9, zlib.Z_FILTERED)
    return base64.b64encode(deflate.compress(planes) + deflate.flush()).decode()


def script() -> str:
    """Return the text of the module."""
    return (HERE / "desk.js").read_text(encoding="utf-8")
