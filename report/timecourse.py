"""What curves say beside their means: when a training takes off, how fast a clock runs, and what few rounds would tell.

Accuracies are `[trials, epochs]` in percent, or `[trials]`; epochs are counted from 1; trial i of all networks shares
its pairs. Described, not tested, unless a function says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lib import Result, seeds
from lib.datasets import DATASETS
from lib.store import bits_of
from report import statistics
from report.statistics import Array

TAKEN_OFF = 65.0  # percent: well above the majority class's 55, well below where all end


@dataclass(frozen=True)
class Variances:
    """Variance components in squared points of networks that share their trials, and their shares of the sum."""

    trial: float
    network: float
    rest: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Percent of trial, network and rest."""
        parts = (self.trial, self.network, self.rest)
        return tuple(100 * part / sum(parts) for part in parts)  # type: ignore[return-value]


def take_off(values: ArrayLike, level: float = TAKEN_OFF) -> Array:
    """First epoch at which each trial is at `level` percent or above, `[trials]`; infinite for one that never is.

    One definition for "takes off" and for "never does". Raises ValueError as `statistics.epochs_to_reach`.
    """
    values = np.asarray(values, float)
    reached = values.max(axis=1) >= level - statistics.ROUNDING
    return np.where(reached, statistics.epochs_to_reach(values, level), np.inf)


def never(values: ArrayLike, level: float = TAKEN_OFF) -> float:
    """Percentage of trials that never reach `level`."""
    return 100 * float(np.isinf(take_off(values, level)).mean())


def earlier(a: ArrayLike, b: ArrayLike, level: float = TAKEN_OFF) -> tuple[float, float]:
    """Return by how many epochs `b` takes off before `a` (median over the trials where both do), and in what share.

    The share, in percent, counts every trial in which one of them takes off; ties count half, one that never does is
    the later one. Raises ValueError where no trial has both.
    """
    first, second = take_off(a, level), take_off(b, level)
    both = np.isfinite(first) & np.isfinite(second)
    either = np.isfinite(first) | np.isfinite(second)
    if not both.any():
        raise ValueError(f"no trial reaches {level:g} % in both")
    before = (second < first)[either] + 0.5 * (second == first)[either]
    return float(np.median(first[both] - second[both])), 100 * float(before.mean())


def clock(slow: ArrayLike, fast: ArrayLike, level: float = TAKEN_OFF) -> Array:
    """Return how many epochs of `slow` one of `fast` is worth until take-off, of each trial where both take off."""
    a, b = take_off(slow, level), take_off(fast, level)
    both = np.isfinite(a) & np.isfinite(b)
    return np.asarray(a[both] / b[both])


def clock_of_longer_steps(slow: Sequence[ArrayLike], momentum: float, steps: int) -> float:
    """Return what `clock` would be, over all trials of several networks, if momentum made nothing but longer steps.

    They are 1 / (1 - momentum) times as long, after momentum / (1 - momentum) steps, of `steps` in an epoch, are lost
    while they grow; and take-off is seen at the end of an epoch.
    """
    first = np.concatenate([take_off(each) for each in slow])
    first = first[np.isfinite(first)]
    return float(np.median(first / np.ceil(first * (1 - momentum) + momentum / (1 - momentum) / steps)))


def epoch_like(curve: ArrayLike, level: float) -> float:
    """Return the epoch, with a fraction, at which a mean curve `[epochs]` first reaches a level in percent.

    Between epochs it is a straight line. Raises ValueError where it never does.
    """
    curve = np.asarray(curve, float)
    above = np.flatnonzero(curve >= level)
    if not above.size:
        raise ValueError(f"the curve never reaches {level:g} %")
    i = int(above[0])
    return float(i + 1) if i == 0 else float(i + (level - curve[i - 1]) / (curve[i] - curve[i - 1]))


def spans(below: ArrayLike) -> list[tuple[int, int]]:
    """Return the first and last epochs of each run of epochs where `below` `[epochs]` holds."""
    padded = np.concatenate([[False], np.asarray(below, bool), [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1)
    return [(int(first) + 1, int(last)) for first, last in zip(starts, ends, strict=True)]


def sides(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Return what b - a says after each epoch, `[epochs]`, of two networks `[trials, epochs]`.

    It is 1 where the 95 % interval of the mean difference, of that epoch by itself, lies above 0, -1 where it lies
    below, else 0. Raises ValueError as `statistics.paired_difference`.
    """
    pairs = zip(np.asarray(a).T, np.asarray(b).T, strict=True)
    found = [statistics.paired_difference(*pair) for pair in pairs]
    return np.array([int(each.low > 0) - int(each.high < 0) for each in found])


def other_sign(a: ArrayLike, b: ArrayLike, n: int, paired: bool = True, draws: int = 20_000, seed: int = 0) -> float:
    """Chance in percent that `n` trials would give the mean of b - a the other sign than all have; `[trials]` each.

    Trials are drawn with replacement: for both networks the same ones, or of each by itself. A mean of 0 counts half.

    Raises ValueError for n below 1, and as `statistics.paired_difference`.
    """
    whole = statistics.paired_difference(a, b).mean
    a, b = np.asarray(a, float), np.asarray(b, float)
    if n < 1:
        raise ValueError(f"n is {n}; allowed: at least 1")
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(a), size=(draws, n))
    others = rows if paired else rng.integers(len(a), size=(draws, n))
    means = (b[others].mean(1) - a[rows].mean(1)) * np.sign(whole)
    zero = np.abs(means) <= statistics.ROUNDING
    return 100 * float(np.mean((means < 0) & ~zero) + 0.5 * zero.mean())


def variances(values: Sequence[ArrayLike]) -> Variances:
    """Estimate the variance of trials, of networks and of the rest, of several networks `[trials]` on the same trials.

    A two-way layout without replication, both factors random: expected mean squares (Searle, Casella and McCulloch
    1992, section 4.3); an estimate below 0 is 0. Other than shares of sums of squares, these do not depend on how many
    trials there are.

    Raises ValueError for fewer than 2 networks or trials, or networks of different trials.
    """
    table = np.array([np.asarray(each, float) for each in values])  # [networks, trials]
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"values must be [networks, trials] with at least 2 of each, got {table.shape}")
    networks, trials = table.shape
    of_trial, of_network, mean = table.mean(0), table.mean(1), table.mean()
    rest = table - of_trial[None] - of_network[:, None] + mean
    squares = (
        networks * np.square(of_trial - mean).sum() / (trials - 1),
        trials * np.square(of_network - mean).sum() / (networks - 1),
        np.square(rest).sum() / ((networks - 1) * (trials - 1)),
    )
    return Variances(
        max(0.0, float((squares[0] - squares[2]) / networks)),
        max(0.0, float((squares[1] - squares[2]) / trials)),
        float(squares[2]),
    )


def pairs_sd(accuracy: float, pairs: int = 1000, digits: int = 10_000) -> float:
    """SD in points that a trial's test pairs alone give its accuracy, drawn without replacement from a finite set.

    The binomial one times the finite population correction of the pairs that `digits` digits make. Raises ValueError as
    `statistics.binomial_sd`.
    """
    whole = digits // 2
    return statistics.binomial_sd(accuracy, pairs) * float(np.sqrt((whole - pairs) / (whole - 1)))


def last_answers(result: Result) -> Array:
    """Return whether each test pair was answered rightly after the last epoch, `[trials, pairs]`, 1 or 0."""
    n = result.experiment.test_pairs
    return np.array([bits_of(str(text), n) for text in result.values("last_bits")], float)


def test_digits(result: Result) -> NDArray[np.int64]:
    """Return which of MNIST's test digits each trial pairs, `[trials, pairs, 2]`; MNIST itself is not needed for it.

    Raises ValueError for an experiment on other digits, or one that uses training digits again.
    """
    from lib.pairs import draw_rows  # and torch

    e, rows = result.experiment, []
    if e.dataset != "mnist" or e.train_digits:
        raise ValueError(f"{e} does not draw each of MNIST's digits once")
    most = DATASETS["mnist"].most  # pairs that use no digit twice
    for trial in range(result.trials):
        rng = seeds.generator(e.seed, trial, "data")
        draw_rows(2 * most["train_pairs"], e.train_pairs, rng)  # the stream goes on behind the training pairs
        rows.append(draw_rows(2 * most["test_pairs"], e.test_pairs, rng))
    return np.array(rows)


def shared_digits(answers: ArrayLike, digits: ArrayLike) -> float:
    """How many times as wide an interval of the mean is once it also counts that trials share test digits.

    `answers` `[trials, pairs]` are right (1) or wrong (0), or differences of two networks' answers; `digits`
    `[trials, pairs, 2]` are the digits of each pair. A moment estimate: the usual variance of a mean over trials, plus
    what pairs of different trials that have a digit in common add by their covariance.

    Raises ValueError where the shapes do not fit, or no trial differs from another.
    """
    answers, digits = np.asarray(answers, float), np.asarray(digits)
    if answers.ndim != 2 or digits.shape != (*answers.shape, 2):
        raise ValueError(f"answers {answers.shape} must be [trials, pairs] and digits {digits.shape} of these, by two")
    trials, pairs = answers.shape
    usual = answers.mean(1).var(ddof=1) / trials
    if usual == 0:
        raise ValueError("all trials have the same mean")
    centred, count = answers - answers.mean(), int(digits.max()) + 1
    # Of each digit: the sum over all pairs that hold it, squared, less the part within each trial.
    sums = np.array(
        [sum(np.bincount(d, row, count) for d in both.T) for row, both in zip(centred, digits, strict=True)]
    )
    between = np.square(sums.sum(0)).sum() - np.square(sums).sum()
    return float(np.sqrt(max(0.0, usual + between / (trials * pairs) ** 2) / usual))


@dataclass(frozen=True)
class ByDistance:
    """Wrong answers in percent by how far apart the two digits are, with the 95 % interval; arrays are `[10]`.

    `shares` are the percentages of all wrong answers, and of all pairs, that each distance has.
    """

    error: Array
    low: Array
    high: Array
    shares: tuple[Array, Array]


def errors_by_distance(result: Result) -> ByDistance:
    """Return the wrong answers after the last epoch by distance, over all trials.

    Trials have different numbers of pairs at a distance, so the interval is that of a ratio of two sums over trials,
    by linearisation (Cochran 1977, section 6.4), with Student's t; a single trial has none.
    """
    tables = np.array(result.values("last_table"), float)  # [trials, class, class, (right, pairs)]
    digits = np.arange(tables.shape[1])
    apart = abs(digits[:, None] - digits)
    counts = np.stack([tables[:, apart == each].sum(1) for each in digits], axis=1)
    wrong, pairs = counts[..., 1] - counts[..., 0], counts[..., 1]  # [trials, distance]
    error, trials = wrong.sum(0) / pairs.sum(0), len(wrong)
    half = np.full(len(error), np.nan)
    if trials > 1:
        squares = np.square(wrong - error * pairs).sum(0) * trials / (trials - 1)
        half = stats.t.isf(statistics.ALPHA / 2, trials - 1) * np.sqrt(squares) / pairs.sum(0)
    shares = tuple(100 * each.sum(0) / each.sum() for each in (wrong, pairs))
    return ByDistance(100 * error, 100 * (error - half), 100 * (error + half), (shares[0], shares[1]))
