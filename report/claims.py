"""The claims ledger: what the original's section 1.4 says about its figure 6, each claim as a number with a verdict.

One sentence of that section explains a result and claims none ("consistent with the ideas behind the WSN"): it has no
line here.

Which p values are adjusted together (Holm), in each reading apart:

- the differences 6a, 6b, 6c at the last epoch;
- the equivalences 6a, 6b, 6c at the last epoch;
- the words that are about other quantities, a family of their own so that their verdicts are worth as much: on average,
  steeper (6a), overall, starting, plateauing (6c); whether the start is vacuous or not, it is counted;
- outside the ledger: figures 7a-d, and 8a-c.

Intervals are those of each quantity alone, unadjusted.

On 2026-11-26 one rule was changed, after the results: a start is vacuous wherever neither network is more than a point
above always answering "smaller or equal"; before, only where both were within a point of it, so that two networks below
it, which had learned nothing, "started alike". `first_verdict` is by the rule as it was.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lib import Result, paired
from report import statistics, study
from report.comparison import Comparison, last_difference
from report.statistics import ALPHA, CHANCE, MARGIN, Array, Estimate, PairedDifference, signed
from report.timecourse import sides, spans

TOO_FEW = "too few trials for a verdict"
VERDICTS = ("reproduced", "contradicted", "undecided", "vacuous")
HEADER = ("the original", "reading", "difference (95 % interval)", "p (Holm)", "verdict", "why")  # of `rows`
BESIDE_HEADER = ("claim", "reading", "mean", "median", "share of trials (95 % interval)", "first", "now")
STOPPING_HEADER = ("figure", "comparison", "reading", "above 0 after epochs", "below 0 after epochs")
DEFINITIONS_HEADER = ("the original", "place", "taken to mean")  # of `definitions`
FAMILY_HEADER = ("figure", "comparison", "difference (95 % interval)", "p (Holm)", "better in", "finding")
CHECK_HEADER = ("figure", "comparison", "largest difference", "finding")  # of `numerical_checks`
LEVELS = (60, 70, 80)  # percent
FORM = ("fully_convolutional",)  # where this alone differs, the function is the same, and so should be the numbers

Row = tuple[str, ...]  # of a table
Test = tuple[str, str, bool]  # figure, quantity, and whether sameness is tested
Family = tuple[float, int]  # a test's adjusted p, and the number of tests that were adjusted together


@dataclass(frozen=True)
class Rule:
    """What a verdict hangs on beside the results. Raises ValueError where it is none."""

    margin: float = MARGIN  # points: two networks closer than this count as the same
    fewest: int = statistics.TRIALS_FOR_A_VERDICT  # trials; with fewer there is a direction and no verdict

    def __post_init__(self) -> None:
        if not (0 < self.margin < math.inf and self.fewest >= 2):
            raise ValueError(
                f"needs a margin above 0 and at least 2 trials for a verdict, got {self.margin} and {self.fewest}"
            )


@dataclass(frozen=True)
class Claim:
    """One claim under one reading; the estimate is the mean over trials of `difference`, paired, in `unit`.

    `adjusted_p` belongs to the difference, or to the equivalence where sameness is claimed. With fewer trials than a
    verdict takes (100) there is none, and `verdict` says the direction only.
    """

    claim: str  # its short name, the same in every reading
    quote: str  # the original's exact words
    place: str
    statement: str
    reading: str
    trials: int
    difference: str
    estimate: float
    unit: str
    low: float
    high: float
    adjusted_p: float | None
    verdict: str
    first_verdict: str  # before the rule for starts was changed
    why: str
    note: str
    median: float  # of the difference, over trials
    share: float  # of the trials in which the difference is above 0, ties counting half
    share_low: float
    share_high: float

    @property
    def interval(self) -> Estimate:
        """The estimate with its 95 % interval."""
        return Estimate(self.estimate, self.low, self.high, unit=self.unit)


@dataclass(frozen=True)
class Definition:
    """How a claim is measured and judged: of which networks `a` and `b`, by which quantity of each trial."""

    claim: str
    quote: str
    figure: Literal["6a", "6b", "6c"]
    a: str
    b: str
    quantity: Literal["end", "overall", "slope", "start", "plateau"]
    claimed: Literal[1, 0, -1]  # b is higher, the same, lower


DEFINITIONS = (
    Definition(
        "WSN above SN on average", "the WSN performing better on average than the SN", "6a", "SN", "WSN", "overall", 1
    ),
    Definition(
        "WSN above SN at the end", "reach a higher value at the end of the training", "6a", "SN", "WSN", "end", 1
    ),
    Definition("WSN steeper than SN", "a steeper slope", "6a", "SN", "WSN", "slope", 1),
    Definition("SAUX like WSN", "nearly indistinguishable performance", "6b", "WSN", "SAUX", "end", 0),
    Definition("SAUX above CAUX overall", "SAUX seems to perform better overall", "6c", "CAUX", "SAUX", "overall", 1),
    Definition(
        "SAUX and CAUX start alike", "both architectures starting out very similar", "6c", "CAUX", "SAUX", "start", 0
    ),
    Definition(
        "SAUX plateaus less than CAUX", "the SAUX plateaus less aggressively", "6c", "CAUX", "SAUX", "plateau", 1
    ),
    Definition(
        "class information brings no boost",
        "unexpected as one might guess the introduction of additional information might have led to a boost",
        "6c",
        "SAUX",
        "CAUX",
        "end",
        -1,
    ),
)


def ledger(
    readings: Mapping[str, Sequence[Result]],
    *,
    margin: float = MARGIN,
    fewest: int = statistics.TRIALS_FOR_A_VERDICT,
) -> list[Claim]:
    """Judge every claim under every reading; each reading has the results of SN, WSN, SAUX and CAUX, in this order.

    With 100 epochs "start" is epochs 1-10 and "plateau" compares epochs 96-100 with 76-80; in shorter trainings they
    are the same shares of the training. `margin` is that of the equivalence tests, in points, and `fewest` the trials
    that a verdict takes at least: the report's own are the defaults.

    Raises ValueError for other networks, for results that cannot be paired trial by trial, for fewer than 2 trials or
    epochs, for a margin that is not positive and for `fewest` below 2.
    """
    rule = Rule(margin, fewest)
    judged = [_judged(reading, results, rule) for reading, results in readings.items()]
    return [claim for same_claim in zip(*judged, strict=True) for claim in same_claim]


def rows(claims: Sequence[Claim]) -> list[Row]:
    """Return the table of verdicts: a row per claim and reading; a quote stands in the first of its rows."""
    table: list[Row] = []
    before = ""
    for c in claims:
        quote = "" if c.claim == before else f"“{c.quote}”"
        # Rates per epoch are small and get one digit more.
        number = f"{c.interval:+.2f short}" if c.unit == "points" else f"{c.interval:+.3f short} per epoch"
        difference = f"{c.difference.replace(' - ', ' − ')}: {number}"
        why = "; ".join(filter(None, (c.why, c.note)))
        table.append((quote, c.reading, difference, p_text(c.adjusted_p), c.verdict, why))
        before = c.claim
    return table


def definitions(claims: Sequence[Claim]) -> list[Row]:
    """Return the table of what each claim is taken to mean: a row per claim."""
    return list(dict.fromkeys((f"“{c.quote}”", c.place, c.statement) for c in claims))


def beside(claims: Sequence[Claim]) -> list[Row]:
    """Return a table's row per claim and reading: what stands beside the mean, and the verdict before and now."""
    table: list[Row] = []
    for c in claims:
        digits = 2 if c.unit == "points" else 3
        share = f"{100 * c.share:.0f} % ({100 * c.share_low:.0f} to {100 * c.share_high:.0f})"
        numbers = (signed(c.estimate, digits), signed(c.median, digits))
        table.append((f"{c.claim}: {c.difference.replace(' - ', ' − ')}", c.reading, *numbers, share))
        table[-1] += (c.first_verdict, c.verdict)
    return table


def stopping(readings: Mapping[str, Sequence[Result]]) -> list[Row]:
    """Return a table's row per figure and reading: after which epochs the 95 % interval of the difference excludes 0.

    Of each epoch by itself: described, not tested. CAUX against WSN comes last, of which the original has no figure.
    """
    table: list[Row] = []
    figures = [c for c in study.COMPARISONS if c.number in {d.figure for d in DEFINITIONS}]
    figures.append(Comparison.of("none", "WSN", "CAUX"))
    for figure, (reading, results) in itertools.product(figures, readings.items()):
        curves = {result.experiment.architecture: result.accuracy for result in results}
        a, b = (curves[side.architecture] for side in (figure.a, figure.b))
        after = sides(a, b)
        said = (", ".join(_span(*each) for each in spans(after == side)) or "none" for side in (1, -1))
        table.append((figure.number, figure.against, reading, *said))
    return table


def as_data(claims: Sequence[Claim]) -> list[dict[str, object]]:
    """Return the ledger as JSON can hold it; numbers to 6 significant digits, on which machines agree."""
    return [
        {name: float(f"{x:.6g}") if isinstance(x, float) else x for name, x in dataclasses.asdict(claim).items()}
        for claim in claims
    ]


def as_json(claims: Sequence[Claim]) -> str:
    """Return the text of `claims.json`."""
    return json.dumps(as_data(claims), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def summary(claims: Sequence[Claim]) -> str:
    """Say in one sentence how many claims are reproduced, contradicted (which) and undecided under each reading."""
    count = len({c.claim for c in claims})
    if any(c.adjusted_p is None for c in claims):
        fewest = min(c.trials for c in claims)
        return f"With {fewest} trials per network, the original's {count} claims get no verdict, only a direction."
    parts = []
    for reading in dict.fromkeys(c.reading for c in claims):
        named = {word: [c.claim for c in claims if (c.reading, c.verdict) == (reading, word)] for word in VERDICTS}
        amount = {word: str(len(names) or "none") for word, names in named.items()}
        which = f" ({', '.join(named['contradicted'])})" if named["contradicted"] else ""
        vacuous = f" and call {amount['vacuous']} vacuous" if named["vacuous"] else ""
        parts.append(
            f"under {reading} our trials reproduce {amount['reproduced']}, contradict {amount['contradicted']}{which}"
            f"{',' if vacuous else ' and'} leave {amount['undecided']} undecided{vacuous}"
        )
    return f"Of the original's {count} claims, {'; '.join(parts)}."


def alike(claims: Sequence[Claim]) -> list[str]:
    """Say of each claim of sameness that is reproduced though its interval leaves out 0 how the two go together."""
    same = {d.claim for d in DEFINITIONS if d.claimed == 0}
    return [
        f'"{c.claim}" is reproduced under {c.reading} although the difference is not 0: it is there, and smaller than '
        f"the {MARGIN:g} points that count."
        for c in claims
        if c.claim in same and c.verdict == "reproduced" and not c.low <= 0 <= c.high
    ]


def epochs_to_reach(readings: Mapping[str, Sequence[Result]], levels: Sequence[float] = LEVELS) -> list[Row]:
    """Return a table's row per reading and network: mean epochs to reach each level, and the share of trials that do.

    A trial that never does counts with the last epoch, so these are restricted means: lower bounds wherever the share
    is below 100 %.
    """
    table: list[Row] = []
    for reading, results in readings.items():
        for result in results:
            cells = []
            for level in levels:
                epochs = statistics.epochs_to_reach(result.accuracy, level)
                share = np.mean(result.accuracy.max(axis=1) >= level - statistics.ROUNDING)
                cells.append(f"{epochs.mean():.1f} ({100 * share:.0f} %)")
            table.append((reading, result.name, *cells))
    return table


def comparison_families(
    chapters: Mapping[str, Sequence[Comparison]], results: Sequence[Result]
) -> dict[str, list[Row]]:
    """Return the rows of every family of differences at the last epoch, by its chapter: the comparisons of a chapter.

    `results` has those of all comparisons, in any order. The last column says "higher", "lower" or "undecided at Holm
    5 %"; with fewer than 100 trials the direction only. Two forms of a network are for `numerical_checks`.
    """
    families = {chapter: [each for each in several if each.differing != FORM] for chapter, several in chapters.items()}
    return {chapter: _family_rows(family, results) for chapter, family in families.items() if family}


def numerical_checks(chapters: Mapping[str, Sequence[Comparison]], results: Sequence[Result]) -> list[Row]:
    """Return a row per comparison of two forms of a network: how far they part, in any trial at any epoch."""
    table: list[Row] = []
    for comparison in (each for several in chapters.values() for each in several if each.differing == FORM):
        a, b = comparison.among(results)
        apart = np.abs(paired(a, b))
        parted = apart > statistics.ROUNDING
        finding = "identical in every trial and epoch"
        if parted.any():
            first = int(parted.any(axis=0).argmax()) + 1
            finding = f"{parted.any(axis=1).sum()} of {a.trials} trials differ, the first at epoch {first}"
        table.append((comparison.number, comparison.against, f"{apart.max():.2f} points", finding))
    return table


def p_text(p: float | None) -> str:
    """Return a p value for a table; a dash where there is none."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


# The judgement


def _judged(reading: str, results: Sequence[Result], rule: Rule) -> list[Claim]:
    """Judge every claim under one reading."""
    names = tuple(result.experiment.architecture for result in results)
    if names != study.NETWORKS:
        raise ValueError(f"{reading}: the claims are about SN, WSN, SAUX and CAUX, in this order; got {names}")
    if results[0].experiment.epochs < 2 or results[0].trials < 2:
        raise ValueError(f"{reading}: the claims need at least 2 trials and 2 epochs")
    for a, b in itertools.pairwise(results):
        paired(a, b)  # refuses trials that saw other pairs
    curves = {result.experiment.architecture: result.accuracy for result in results}
    values = {d: _quantity(d.quantity, curves[d.a], curves[d.b]) for d in DEFINITIONS}
    adjusted = _adjusted(values, curves, rule.margin)
    return [_claim(reading, d, values[d], curves, adjusted, rule) for d in DEFINITIONS]


def _quantity(quantity: str, a: Array, b: Array) -> tuple[Array, Array]:
    """Return the quantity of each trial of two networks, `[trials]`, from their curves `[trials, epochs]`."""
    first, width, lag = _windows(a.shape[1])
    match quantity:
        case "end":
            return a[:, -1], b[:, -1]
        case "overall":
            return statistics.overall(a), statistics.overall(b)
        case "start":
            return statistics.start(a, first), statistics.start(b, first)
        case "plateau":
            return statistics.plateau(a, width, lag), statistics.plateau(b, width, lag)
        case _:
            slopes = statistics.slope(a, b)
            return slopes.a, slopes.b


def _windows(epochs: int) -> tuple[int, int, int]:
    """Return the epochs of "start", and the width and lag of "plateau": 10, 5 and 20 of 100."""
    return max(1, epochs // 10), max(1, epochs // 20), max(1, epochs // 5)


def _adjusted(
    values: Mapping[Definition, tuple[Array, Array]], curves: Mapping[str, Array], margin: float
) -> dict[Test, Family]:
    """Return each test's p, adjusted within its family, and the size of that family."""
    claimed = {d.figure for d in DEFINITIONS}
    ends = {
        c.number: (curves[c.a.architecture][:, -1], curves[c.b.architecture][:, -1])
        for c in study.COMPARISONS
        if c.number in claimed
    }
    curve_claims = {_test(d): pair for d, pair in values.items() if d.quantity != "end"}
    families = (
        {(figure, "end", False): pair for figure, pair in ends.items()},
        {(figure, "end", True): pair for figure, pair in ends.items()},
        curve_claims,
    )
    adjusted: dict[Test, Family] = {}
    for family in families:
        p = [_p(same, *pair, margin) for (_, _, same), pair in family.items()]
        adjusted |= {test: (float(x), len(family)) for test, x in zip(family, statistics.holm(p), strict=True)}
    return adjusted


def _test(d: Definition) -> Test:
    return (d.figure, d.quantity, d.claimed == 0)


def _p(same: bool, a: Array, b: Array, margin: float) -> float:
    """Return the p value of the equivalence, or of the difference."""
    return statistics.equivalence(a, b, margin).p if same else statistics.paired_difference(a, b).p


def _claim(
    reading: str,
    d: Definition,
    values: tuple[Array, Array],
    curves: Mapping[str, Array],
    adjusted: Mapping[Test, Family],
    rule: Rule,
) -> Claim:
    """Judge one claim."""
    difference = statistics.paired_difference(*values)
    p, _ = adjusted[_test(d)]
    few = difference.n < rule.fewest
    undecided = f"{d.b} {statistics.direction(difference)}; {TOO_FEW}"
    verdict, first = (undecided, undecided) if few else _verdicts(d, values, difference, p, rule)
    share_low, share_high = statistics.share_interval(difference.superiority, difference.n)
    apart = values[1] - values[0]
    return Claim(
        claim=d.claim,
        quote=d.quote,
        place=f"section 1.4, on figure {d.figure}",
        statement=_statement(d, curves[d.a].shape[1], rule.margin),
        reading=reading,
        trials=difference.n,
        difference=f"{d.b} - {d.a}",
        estimate=difference.mean,
        unit="points per epoch" if d.quantity == "slope" else "points",
        low=difference.low,
        high=difference.high,
        adjusted_p=None if few else p,
        verdict=verdict,
        first_verdict=first,
        why="" if few else _why(d, verdict, difference, p, rule.margin),
        note=_note(d, values, curves, difference, adjusted, rule),
        median=float(np.median(apart)),
        share=difference.superiority,
        share_low=share_low,
        share_high=share_high,
    )


def _verdicts(
    d: Definition, values: tuple[Array, Array], difference: PairedDifference, p: float, rule: Rule
) -> tuple[str, str]:
    """Return the verdict, and the one by the rule for starts as it was first written."""
    if d.claimed:
        return (statistics.directional_verdict(difference, p, d.claimed, rule.fewest),) * 2
    same = statistics.sameness_verdict(difference, p, rule.margin, rule.fewest)
    if d.quantity != "start":
        return same, same
    near = max(abs(value.mean() - CHANCE) for value in values) <= 1
    return "vacuous" if statistics.vacuous(*values) else same, "vacuous" if near else same


def _why(d: Definition, verdict: str, difference: PairedDifference, p: float, margin: float) -> str:
    """Say in one sentence what decides a verdict."""
    if verdict == "vacuous":
        return (
            f"neither is more than a point above {CHANCE:g} %, always answering “smaller or equal”: nothing to compare"
        )
    if d.claimed == 0:
        return {
            "reproduced": f"both one-sided tests place the difference within ±{margin:g} points",
            "contradicted": f"the whole interval lies outside ±{margin:g} points",
        }.get(verdict, f"the interval reaches across {margin:g} points on one side")
    if verdict == "undecided":
        better = f"{d.b} is the higher one in {100 * difference.superiority:.0f} % of the trials"
        return f"p after Holm is not below {ALPHA:g}: this mean could be chance; {better}"
    return f"p after Holm is below {ALPHA:g}, and {d.b} is the {'higher' if difference.mean > 0 else 'lower'} one"


def _statement(d: Definition, epochs: int, margin: float) -> str:
    """Say what the claim is taken to mean."""
    first, width, lag = _windows(epochs)
    end, before = _epochs(epochs - width + 1, epochs), _epochs(epochs - lag - width + 1, epochs - lag)
    measured = {
        "end": f"accuracy after epoch {epochs}",
        "overall": f"mean accuracy over {_epochs(1, epochs)}",
        "start": f"mean accuracy over {_epochs(1, first)}",
        "slope": "accuracy gained per epoch, from epoch 1 until the mean curve of both has made 90 % of its gain",
        "plateau": f"accuracy gained towards the end, mean of {end} minus mean of {before}",
    }[d.quantity]
    relation = {
        1: f"{d.b} above {d.a}",
        0: f"{d.b} and {d.a} differ by less than {margin:g} points",
        -1: f"{d.b} not above {d.a} (reproduced where it is below)",
    }[d.claimed]
    vacuous = f"; vacuous where neither is 1 point above {CHANCE:g} %" if d.quantity == "start" else ""
    return f"{measured}: {relation}{vacuous}"


def _epochs(first: int, last: int) -> str:
    return f"epoch{'s' * (first != last)} {_span(first, last)}"


def _span(first: int, last: int) -> str:
    return str(last) if first == last else f"{first}-{last}"


def _note(
    d: Definition,
    values: tuple[Array, Array],
    curves: Mapping[str, Array],
    difference: PairedDifference,
    adjusted: Mapping[Test, Family],
    rule: Rule,
) -> str:
    """Say what a reader needs to weigh the verdict; of the tests themselves only where there is a verdict."""
    notes = []
    judged = difference.n >= rule.fewest
    if d.claimed == 0 and judged:
        # Holm tests the smallest p of k at 5 % / k and the largest at 5 %: the power lies between these two.
        low, high = (
            statistics.equivalence_power(difference.sd, difference.n, rule.margin, ALPHA / k)
            for k in (adjusted[_test(d)][1], 1)
        )
        ends = dict.fromkeys(f"{100 * power:.0f}" for power in (low, high))
        notes.append(f"power at a true difference of 0: {' to '.join(ends)} %")
    if d.quantity == "slope":
        last = statistics.slope(curves[d.a], curves[d.b]).last_epoch
        notes.append(f"epochs 1-{last}")
        slopes, there = values[1] - values[0], curves[d.b][:, last - 1] - curves[d.a][:, last - 1]
        if min(np.ptp(slopes), np.ptp(there)) > statistics.ROUNDING:
            r = np.corrcoef(slopes, there)[0, 1]
            same = "nearly the same as" if r > 0.95 else "partly"
            notes.append(f"{same} the difference after epoch {last} (correlation over trials {r:.2f})")
    if d.quantity in ("start", "plateau"):
        a, b = (value.mean() for value in values)
        a_text, b_text = (signed(x) if d.quantity == "plateau" else f"{x:.2f}" for x in (a, b))
        notes.append(f"{d.a} {a_text}, {d.b} {b_text}")
    if d.claimed == -1 and judged and adjusted[d.figure, d.quantity, True][0] < ALPHA:
        notes.append(f"the two are the same to within {rule.margin:g} points")
    return "; ".join(notes)


def _family_rows(comparisons: Sequence[Comparison], results: Sequence[Result]) -> list[Row]:
    """Return the rows of one family; its p values are adjusted together."""
    found = [last_difference(*comparison.among(results)) for comparison in comparisons]
    table: list[Row] = []
    for comparison, d, p in zip(comparisons, found, statistics.holm([d.p for d in found]), strict=True):
        few = d.n < statistics.TRIALS_FOR_A_VERDICT
        finding: str = statistics.direction(d)
        if few:
            finding += f"; {TOO_FEW}"
        elif p >= ALPHA:
            finding = "undecided at Holm 5 %"
        better = f"{100 * d.superiority:.0f} %"
        adjusted = p_text(None if few else float(p))
        table.append((comparison.number, comparison.against, f"{d:+.2f short}", adjusted, better, finding))
    return table
