"""The answer on page one, in three sentences, as the results give it: what the intervals decide chooses the words."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from IPython.display import Markdown

from lib import Result
from report import statistics, timecourse
from report.claims import DEFINITIONS, Claim
from report.pictures import glyphs
from report.statements import (
    BY_MOMENTUM,
    CAUX_ONE,
    CLASS_TRAINED,
    DIAL,
    NAMES,
    NAMES_ONE,
    SCORE,
    TRIALS,
    UNLABELLED,
    Read,
)
from report.statistics import PairedDifference
from report.study import FINDING, READINGS

CLAIMED = {1: (0, np.inf), 0: (-statistics.MARGIN, statistics.MARGIN), -1: (-np.inf, 0)}  # where a difference lies

Readings = Mapping[str, Sequence[Result]]  # SN, WSN, SAUX and CAUX, by how they are trained


class Step(NamedTuple):
    """A network against the one before it: its name, and what a network gains by this step under each reading."""

    name: str
    differences: dict[str, PairedDifference]


def steps(readings: Readings) -> list[Step]:
    """Return the three steps from SN to CAUX, paired by trial, after the last epoch."""
    return [
        Step(
            f"{pair[0][1].name} − {pair[0][0].name}",
            {
                reading: statistics.paired_difference(a.accuracy[:, -1], b.accuracy[:, -1])
                for reading, (a, b) in zip(readings, pair, strict=True)
            },
        )
        for pair in zip(*(itertools.pairwise(four) for four in readings.values()), strict=True)
    ]


def side(difference: PairedDifference) -> int:
    """Return the sign that an interval leaves to a difference: 1, -1, or 0 where it holds 0."""
    return int(difference.low > 0) - int(difference.high < 0)


def worth(step: Step, more: str = "it brings", less: str = "it costs") -> str:
    """Say what a step brings under each reading."""
    verbs = {1: more, -1: less, 0: "its sign stays open:"}
    named = {reading.removeprefix("SGD with "): d for reading, d in step.differences.items()}
    return ", ".join(f"under {reading} {verbs[side(d)]} {d:+.2f short}" for reading, d in named.items())


def sharing(readings: Readings) -> str:
    """Say what sharing the feature extractor is worth."""
    step = steps(readings)[0]
    return f"**Sharing one feature extractor** ({step.name}): {worth(step)}."


def second_comparison(readings: Readings) -> str:
    """Say what a second comparison on the side is worth, and how much earlier it takes off."""
    step = steps(readings)[1]
    with suppress(ValueError):  # of a few short trainings none may take off
        ahead = [timecourse.earlier(four[1].accuracy, four[2].accuracy) for four in readings.values()]
        epochs, share = (
            " and ".join(f"{each:.3g}" for each in np.round(several)) for several in zip(*ahead, strict=True)
        )
        when = f": it takes off {epochs} epochs earlier in the median, first in {share} % of the trials"
        return f"**A second comparison on the side** ({step.name}): {worth(step)}{when}."
    return f"**A second comparison on the side** ({step.name}): {worth(step)}."


def naming(readings: Readings) -> str:
    """Say what naming the digits on the side is worth, beside a second comparison and beside neither."""
    step = steps(readings)[2]
    turn = [side(d) for d in step.differences.values()] == [-1, 1]
    kind = ": behind where a hundred plain epochs stop, ahead at the end" if turn else ""
    ends = [(four[1].accuracy[:, -1], four[3].accuracy[:, -1]) for four in readings.values()]
    alone = " and ".join(f"{statistics.paired_difference(*pair):+.2f short}" for pair in ends)
    return (
        f"**Naming the digits on the side** ({step.name}): {worth(step, 'it brings more,', 'it brings less,')}{kind}. "
        f"Against WSN, which has neither, the differences are {alone}."
    )


def holds(read: Read) -> bool:
    """Say whether the results still carry `FINDING`: names are known, better than the answer, and pay where read."""
    caux = BY_MOMENTUM["CAUX"]
    known = statistics.paired_difference(read(caux, SCORE), read(caux, NAMES))
    used = statistics.paired_difference(read(CAUX_ONE, SCORE), read(NAMES_ONE, SCORE))
    return side(known) == 1 and side(used) == 1


def names(read: Read) -> str:
    """Say what is known and not used, and why. Raises ValueError where the results do not carry `FINDING`."""
    if not holds(read):
        raise ValueError(f"the results do not say any more: {FINDING}; report/answer.py and a heading do")
    caux = BY_MOMENTUM["CAUX"]
    whole, half = (float(read(each, SCORE).mean()) for each in (CLASS_TRAINED, DIAL[0.5]))
    unlabelled = max(float(read(each, SCORE).mean()) for each in UNLABELLED.values())
    why = (
        "Its thousand pairs are fitted by what varies within a class: with half of that taken away, the same head on "
        f"the same frozen features goes from {whole:.1f} to {half:.1f} % (to {unlabelled:.1f} % around centres that no "
        "label chose). "
        if half > whole
        else ""
    )
    return (
        f"**{FINDING}** (momentum 0.9; {TRIALS} trials of their own, 5,000 pairs): comparing the names that CAUX's own "
        "class head gives would answer "
        f"{read(caux, NAMES).mean():.1f} % of the pairs; its comparison, which reads features, answers "
        f"{read(caux, SCORE).mean():.1f} %. {why}A comparison that can read nothing but the names answers "
        f"{read(NAMES_ONE, SCORE).mean():.1f} %, CAUX trained alike {read(CAUX_ONE, SCORE).mean():.1f} %."
    )


def sentences(readings: Readings, read: Read | None = None) -> list[str]:
    """Return the answer, what was found out first; without `read`, of the statements' trainings, the study's own."""
    found = [sharing(readings), second_comparison(readings), naming(readings)]
    return [names(read), *found] if read else found


def in_step(readings: Readings) -> dict[str, list[PairedDifference]]:
    """Return the three differences under each reading, as the forest figure draws them."""
    return {reading: [step.differences[reading] for step in steps(readings)] for reading in readings}


def at_the_end(others: Readings) -> dict[str, list[PairedDifference]]:
    """Return the same of further readings, by their score on 5,000 pairs."""
    return {
        reading: [
            statistics.paired_difference(*(np.asarray(each.values(SCORE), float) for each in pair))
            for pair in itertools.pairwise(four)
        ]
        for reading, four in others.items()
    }


def claim_rows(ledger: Sequence[Claim]) -> list[tuple[str, ...]]:
    """Return a row per claim: its name, and under each reading the verdict with a link to its figure."""
    rows: dict[str, list[str]] = {}
    figures = {d.claim: d.figure for d in DEFINITIONS}
    endings = dict(zip(READINGS, ("", "-momentum"), strict=True))  # of the labels of figures
    for claim in ledger:
        figure = figures[claim.claim]
        verdict = f"{claim.verdict} ([figure](#fig-{figure}{endings[claim.reading]}))"
        rows.setdefault(claim.claim, [claim.claim]).append(verdict)
    return [tuple(row) for row in rows.values()]


def interval_rows(ledger: Sequence[Claim]) -> list[tuple[str | Markdown, ...]]:
    """Return a row per claim of the original: its name, and under each reading its interval as a picture, the verdict.

    Shaded is where the claim says that the difference lies; each row has one scale.
    """
    said = {d.claim: CLAIMED[d.claimed] for d in DEFINITIONS}
    rows: list[tuple[str | Markdown, ...]] = []
    for name in dict.fromkeys(claim.claim for claim in ledger):
        several = [claim for claim in ledger if claim.claim == name]
        bounds = [abs(bound) for c in several for bound in (c.low, c.high, *said[name])]
        reach = 1.1 * max(bound for bound in bounds if np.isfinite(bound))
        cells = []
        for c in several:
            picture = glyphs.glyph(c.estimate, c.low, c.high, reach, said[name])
            digits = 2 if c.unit == "points" else 3
            text = f"{statistics.signed(c.estimate, digits)},\u00a0{c.verdict}"
            cells.append(glyphs.in_cell(picture, f"{c.interval:+.{digits}f short}", text))
        rows.append((name, *cells))
    return rows
