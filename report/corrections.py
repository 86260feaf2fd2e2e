"""What earlier editions of this report said wrongly, what the stored results say instead, and since when."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from lib import Result
from report import statistics, study, timecourse
from report.claims import Claim, ledger
from report.implementations import Check
from report.provenance import trainings
from report.statistics import CHANCE, paired_difference, signed

DATE = "2026-11-26"  # of these corrections, all of them after the results
HEADER = ("it was said", "what the results say")

Row = tuple[str, str]
Readings = Mapping[str, Sequence[Result]]


def finite_test_set(readings: Readings) -> Row:
    """Say how much of the spread over trials the finite test set makes."""
    said = []
    for reading, four in readings.items():
        shares = [100 * timecourse.pairs_sd(r.mean[-1]) ** 2 / r.sd[-1] ** 2 for r in four]
        said.append(f"{min(shares):.0f} to {max(shares):.0f} % of a network's variance over trials under {reading}")
    first = list(readings.values())[-1][0]
    alone = timecourse.pairs_sd(first.mean[-1])
    return (
        "A good part of any spread over trials is the finite test set.",
        f"The choice of test pairs makes {' and '.join(said)}; there {first.name}'s standard deviation is "
        f"{first.sd[-1]:.2f} points, and 1,000 pairs out of 10,000 digits alone make {alone:.2f}.",
    )


def start(judged: Sequence[Claim], readings: Readings) -> Row:
    """Say that a start at which nothing had been learned is no likeness."""
    first, second = (
        next(c for c in judged if c.claim == "SAUX and CAUX start alike" and c.reading == r) for r in readings
    )
    early = [result.accuracy[:, :5].mean() for result in list(readings.values())[-1][2:]]
    return (
        f"SAUX and CAUX start alike: {first.first_verdict} under {first.reading}.",
        f"Both lie below {CHANCE:g} % there ({first.note.rpartition('; ')[2]}), so neither had learned anything: "
        f"{first.verdict}. Under {second.reading} the first five epochs say as little ({early[0]:.1f} and "
        f"{early[1]:.1f} %); what the ledger judges is made in epochs 6 to 10.",
    )


def steeper(judged: Sequence[Claim], readings: Readings) -> Row:
    """Say that a slope is an end, seen a little earlier."""
    claim = next(c for c in judged if c.claim == "WSN steeper than SN")
    sn, wsn = (result.accuracy for result in readings[claim.reading][:2])
    last = statistics.slope(sn, wsn).last_epoch
    apart = wsn[:, -1] - sn[:, -1]
    end = paired_difference(sn[:, -1], wsn[:, -1])
    signs = stats.binomtest(int((apart > 0).sum()), int((apart != 0).sum()))
    return (
        f"WSN is steeper than SN: {claim.verdict} under {claim.reading}, beside its higher end.",
        f"That slope ends at epoch {last} and is {claim.note.partition('; ')[2]}: not a second finding. After the last "
        f"epoch the mean difference is {end:+.2f short}, the median {signed(float(np.median(apart)))}, and WSN is the "
        f"better one in {100 * end.superiority:.0f} % of the trials (sign test: p = {signs.pvalue:.1g}); trainings "
        "that take off late dilute the mean.",
    )


def copies(results: Sequence[Result]) -> Row:
    """Say that fully convolutional forms are the same trainings again."""
    again = [r for r in results if r.experiment.fully_convolutional]
    compared = {side for each in study.COMPARISONS for side in (each.a, each.b)}
    nowhere = [r for r in results if r.experiment not in compared]
    return (
        f"The results are {trainings(results):,} trainings.",
        f"{trainings(again):,} of them are fully convolutional forms, which repeat the mixed ones number by number; "
        f"{trainings(nowhere):,} are compared in no figure.",
    )


def labels(results: Sequence[Result], readings: Readings) -> Row:
    """Say what leaving out one-hot labels changes."""
    known = {result.experiment: result for result in results}
    means, medians, against = [], [], []
    for plain, fast in zip(*readings.values(), strict=True):
        other = known[plain.experiment.changed("one_hot_encoding=false")].accuracy[:, -1]
        means.append(float((other - plain.accuracy[:, -1]).mean()))
        medians.append(float(np.median(other - plain.accuracy[:, -1])))
        against.append(float((other - fast.accuracy[:, -1]).mean()))
    one, two, three = (f"{signed(min(each), 1)} to {signed(max(each), 1)}" for each in (means, medians, against))
    return (
        f"Without one-hot labels accuracies rise by {one} points.",
        f"Both trainings are stopped on a slope, and the mean is made by late starters: the medians are {two}, and "
        f"against momentum with one-hot labels the difference is {three}. Loss, outputs and the class task change "
        "together: no one of them is shown to matter.",
    )


def definitions() -> Row:
    """Say what was fixed before the study, and what was not."""
    return (
        "The definitions were fixed after a pilot, before the study.",
        "The history supports that for the quantities, not for the ledger: 25 trials of the study's own seed ran "
        "minutes before it was written, and its third family stands in no earlier design. It is a reading of the "
        "results by a fixed rule, not a preregistration.",
    )


def reading_rule(admitted: Sequence[str]) -> Row:
    """Say which readings the rule that chose the second one admits."""
    return (
        "The second reading was chosen by a rule that does not look at the comparisons.",
        "So it was; but of the readings that were trained since, that rule (every network gains less than a point over "
        f"its last 20 epochs) lets pass: {'; '.join(admitted) or 'none'}.",
    )


def compiled(first: Mapping[str, object], check: Check) -> Row:
    """Say that the first comparison of the compiled block with PyTorch was chance; `first` is what it came to."""
    difference = first["difference"]
    assert isinstance(difference, Mapping)
    return (
        f"The compiled block and PyTorch's operations: {first['trials']} trials, "
        f"compiled minus PyTorch {signed(difference['mean'])} points, p = {difference['p']:.2g}.",
        f"Chance. {check.difference.n} fresh trials by either, judged by a rule that was written down first: PyTorch "
        f"minus compiled {check.difference:+.2f}; equivalent within {check.same.margin:g} points (p = "
        f"{check.same.p:.1g}): {check.outcome}.",
    )


def corrections(
    results: Sequence[Result],
    readings: Readings,
    admitted: Sequence[str],
    first: Mapping[str, object],
    check: Check,
) -> list[Row]:
    """Return all of them, for a table."""
    judged = ledger(readings)
    return [
        finite_test_set(readings),
        start(judged, readings),
        steeper(judged, readings),
        copies(results),
        labels(results, readings),
        definitions(),
        reading_rule(admitted),
        compiled(first, check),
    ]
