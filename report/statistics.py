"""What the report's numbers mean: paired comparisons over trials, verdicts, bands over epochs, the original's words.

Accuracies are in percent and differences in percentage points; arrays are `[trials]` (usually the last epoch) or
`[trials, epochs]`; epochs are counted from 1. Trial i of `a` and trial i of `b` share their seeds (the same pairs in
the same order), so every comparison of two networks is paired: D = b - a, one per trial. All trials draw from the same
10,000 test digits: the intervals are about other trials of this protocol, not about other digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ALPHA = 0.05  # of every test, and 1 - level of every interval
MARGIN = 0.5  # percentage points: two networks closer than this count as the same
CHANCE = 55.0  # percent: the share of the majority class, "smaller or equal"
TRIALS_FOR_A_VERDICT = 100  # with fewer, only the direction is reported
TRIALS_FOR_A_BAND = 10  # an epoch with fewer non-zero values says too little about their distribution
ROUNDING = 1e-9  # points: accuracies are 100 * correct / n, so smaller differences are rounding alone

Array = NDArray[np.float64]
Verdict = Literal["reproduced", "contradicted", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A mean with the interval `low` to `high`, in `unit`, which writes itself into a sentence or a table.

    The format is the one of a number, for all three (`+.2f` where it is left out); `short` behind it is for tables:

    >>> difference = Estimate(0.284, 0.126, 0.441)
    >>> f"{difference:+.2f}"
    '+0.28 points (95 % interval +0.13 to +0.44)'
    >>> f"{difference:+.2f short}"
    '+0.28 (+0.13 to +0.44)'
    >>> f"{Estimate(-1.5, -2, 1, unit='')}"
    '−1.50 (95 % interval −2.00 to +1.00)'

    A format that is none raises ValueError.
    """

    mean: float
    low: float
    high: float
    level: float = 1 - ALPHA
    unit: str = "points"

    def __format__(self, code: str) -> str:
        """Write the estimate; see the class."""
        number = code.removesuffix("short").strip() or "+.2f"
        mean, low, high = (_minus(format(x, number)) for x in (self.mean, self.low, self.high))
        if code.endswith("short"):
            return f"{mean} ({low} to {high})"
        unit = f" {self.unit}" if self.unit else ""
        return f"{mean}{unit} ({100 * self.level:g} % interval {low} to {high})"


@dataclass(frozen=True, kw_only=True)
class PairedDifference(Estimate):
    """Mean of D = b - a in percentage points, and what else is known of it."""

    sd: float  # of D over trials, ddof 1, in points
    p: float  # two-sided, unadjusted
    n: int  # trials
    superiority: float  # share of trials where b is better, ties counting half


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of "the mean difference lies within the margin"; `equivalent` means p < 0.05, unadjusted."""

    p: float
    equivalent: bool
    power: float  # at a true difference of 0, for the observed SD of D
    margin: float  # percentage points


@dataclass(frozen=True)
class Band:
    """A simultaneous band over epochs, arrays `[epochs]`: `low` <= truth <= `high` at all epochs at once.

    At `sparse` epochs it promises nothing and is drawn dotted. The half-width is `critical` standard errors.
    """

    centre: Array
    low: Array
    high: Array
    sparse: NDArray[np.bool_]
    critical: float


@dataclass(frozen=True)
class Slopes:
    """Points gained per epoch between epoch 1 and `last_epoch` by each trial of two networks, arrays `[trials]`."""

    a: Array
    b: Array
    last_epoch: int


@dataclass(frozen=True)
class Component:
    """Variance (squared points) that redrawing one factor causes, its 95 % interval and its degrees of freedom."""

    variance: float
    low: float
    high: float
    degrees: int


# Numbers as they are written


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, a minus being a minus and no hyphen: "+1.20" or "−0.35"."""
    return _minus(f"{value:+.{digits}f}")


def _minus(number: str) -> str:
    return number.replace("-", "−")


# Two networks at one epoch


def paired_difference(a: ArrayLike, b: ArrayLike) -> PairedDifference:
    """Estimate the mean of D = b - a over trials, with Student's t interval and test for pairs.

    `a` and `b` are `[trials]`. `superiority` is mean(1[D > 0] + 0.5 * 1[D = 0]): the common language effect size of
    McGraw and Wong (1992) for pairs, which Bouthillier et al. (2021) recommend for benchmarks. Where D is the same in
    every trial the interval has width 0, and p is 1 if that D is 0, else 0.

    Raises ValueError when the arrays are not finite, not `[trials]` or not of one length of at least 2.
    """
    a, b = _pair(a, b, "[trials]")
    d = _differences(a, b)
    superiority = float(np.mean((d > 0) + 0.5 * (d == 0)))
    if np.ptp(d) == 0:  # no SD, so no t
        mean = float(d[0])
        p = 1.0 if mean == 0 else 0.0
        return PairedDifference(mean, mean, mean, sd=0.0, p=p, n=d.size, superiority=superiority)
    test = stats.ttest_rel(b, a)
    low, high = (float(end) for end in test.confidence_interval(1 - ALPHA))
    sd, p = float(d.std(ddof=1)), float(test.pvalue)
    return PairedDifference(float(d.mean()), low, high, sd=sd, p=p, n=d.size, superiority=superiority)


def equivalence(a: ArrayLike, b: ArrayLike, margin: float = MARGIN) -> Equivalence:
    """Test that two networks are the same to within `margin` points: two one-sided t tests for pairs (Schuirmann 1987).

    `a` and `b` are `[trials]`. The null hypothesis is that the mean of D = b - a is at the margin or beyond; p is the
    larger of the two one-sided p values. Where D is the same in every trial p is 0 inside the margin, else 1.

    Raises ValueError when `margin` is not positive or the arrays do not fit (as in `paired_difference`).
    """
    d = _differences(*_pair(a, b, "[trials]"))
    sd = float(d.std(ddof=1)) if np.ptp(d) > 0 else 0.0
    room = margin - abs(float(d.mean()))  # to the bound that the mean is closer to: its p is the larger one
    p = float(stats.t.sf(room * np.sqrt(d.size) / sd, d.size - 1)) if sd > 0 else float(room <= ROUNDING)
    return Equivalence(p, p < ALPHA, equivalence_power(sd, d.size, margin), margin)


def equivalence_power(sd: float, n: int, margin: float = MARGIN, alpha: float = ALPHA) -> float:
    """Probability that `equivalence` holds at level `alpha` if the true difference is 0 and D is normal with SD `sd`.

    Exact up to the averaging: given the sample SD s, the mean must lie within margin - t * s / sqrt(n) (Phillips 1990);
    averaged over 500 equally probable values of s. In a Holm family of k the power of one comparison lies between that
    at `alpha` and that at `alpha / k`.

    Raises ValueError when `margin` is not positive, `sd` is negative or `n` is below 2.
    """
    if not (margin > 0 and sd >= 0 and n >= 2):
        raise ValueError(f"needs margin > 0, sd >= 0 and n >= 2; got margin {margin}, sd {sd}, n {n}")
    if sd == 0:
        return 1.0
    error = sd / np.sqrt(n)
    observed = error * np.sqrt(stats.chi2.ppf((np.arange(500) + 0.5) / 500, n - 1) / (n - 1))
    room = margin - stats.t.ppf(1 - alpha, n - 1) * observed  # where it is negative no mean passes
    return float(np.mean(np.clip(2 * stats.norm.cdf(room / error) - 1, 0, None)))


def holm(p_values: Sequence[float] | Array) -> Array:
    """Adjust the p values of one family by Holm's method (1979), in the order given.

    Calling only those below 0.05 keeps the chance of any false call in the family at 5 %.

    Raises ValueError when `p_values` is not one row of numbers between 0 and 1.
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p_values must be one row of numbers between 0 and 1, got {p_values!r}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(p.size, 0, -1) * p[order]))
    return adjusted


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval (Wilson 1927) of a share of `n` trials, such as `superiority`; all from 0 to 1.

    Ties that count half vary less than a share of yes and no does, so with them it is on the wide side.

    Raises ValueError for a share outside [0, 1] and for n below 1.
    """
    if not (0 <= share <= 1 and n >= 1):
        raise ValueError(f"needs a share between 0 and 1 and n >= 1, got share {share}, n {n}")
    z2 = float(stats.norm.isf(ALPHA / 2)) ** 2
    centre, half = share + z2 / (2 * n), np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    return float((centre - half) / (1 + z2 / n)), float((centre + half) / (1 + z2 / n))


# Verdicts on the original's claims


def direction(difference: PairedDifference) -> Literal["higher", "lower", "equal"]:
    """Say where the mean of b lies against a, and not whether that is more than noise: for fewer than 100 trials."""
    return "higher" if difference.mean > 0 else "lower" if difference.mean < 0 else "equal"


def directional_verdict(
    difference: PairedDifference, adjusted_p: float, claimed: Literal[1, -1], fewest: int = TRIALS_FOR_A_VERDICT
) -> Verdict:
    """Judge the claim that b is better (`claimed` +1) or worse (-1) than a, by the Holm-adjusted p of `difference`.

    Below 0.05 it is reproduced if the difference has the claimed sign and contradicted if it has the other.

    Raises ValueError for a `claimed` other than +1 and -1, a p outside [0, 1] and fewer than `fewest` trials.
    """
    if claimed not in (1, -1):
        raise ValueError(f"claimed must be +1 (b better) or -1 (b worse), got {claimed!r}")
    _check_verdict(difference, adjusted_p, fewest)
    if adjusted_p >= ALPHA or difference.mean == 0:
        return "undecided"
    return "reproduced" if np.sign(difference.mean) == claimed else "contradicted"


def sameness_verdict(
    difference: PairedDifference,
    equivalence_adjusted_p: float,
    margin: float = MARGIN,
    fewest: int = TRIALS_FOR_A_VERDICT,
) -> Verdict:
    """Judge the claim that two networks are the same, by the Holm-adjusted p of their `equivalence` at `margin` points.

    Reproduced if that p is below 0.05; contradicted if the 95 % interval of the difference lies wholly outside the
    margin; else undecided. The margin must be the one that the equivalence was tested with.

    Raises ValueError for a `margin` that is not positive, a p outside [0, 1] and fewer than `fewest` trials.
    """
    if not margin > 0:
        raise ValueError(f"margin must be positive, got {margin}")
    _check_verdict(difference, equivalence_adjusted_p, fewest)
    if equivalence_adjusted_p < ALPHA:
        return "reproduced"
    return "contradicted" if difference.low > margin or difference.high < -margin else "undecided"


# Curves over epochs


def simultaneous_band(values: ArrayLike, level: float = 1 - ALPHA, resamples: int = 2000, seed: int = 0) -> Band:
    """Band that contains the whole true mean curve of `values` `[trials, epochs]` with probability `level`.

    `values` are accuracies, or paired differences b - a. Studentised bootstrap over trials: each resample gives the
    largest |mean* - mean| / error* over epochs, and the `level` quantile of these, times an epoch's standard error, is
    the half-width there (the sup-t band of Montiel Olea and Plagborg-Moller, 2019). Whole trials are redrawn, so what
    neighbouring epochs share is kept. The same `seed` gives the same band.

    An epoch with SD 0 has width 0. An epoch with fewer than 10 non-zero values is `sparse`: many resamples hold one or
    none of them, and their t would widen the band at every other epoch. Both leave the maximum. Where that leaves no
    epoch (as with fewer than 10 trials) Bonferroni's t quantile stands in.

    Raises ValueError when `values` is not finite or has fewer than 2 trials, and when `level` is outside (0, 1) or asks
    for a quantile beyond `resamples`.
    """
    values = _check("values", values, "[trials, epochs]", least=2)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if resamples * (1 - level) < 1:
        raise ValueError(
            f"resamples must be at least {np.ceil(1 / (1 - level)):.0f} for level {level}, got {resamples}"
        )
    trials, epochs = values.shape
    varies = np.ptp(values, axis=0) > ROUNDING
    sparse = np.count_nonzero(np.abs(values) > ROUNDING, axis=0) < TRIALS_FOR_A_BAND
    mean = values.mean(axis=0)
    error = np.where(varies, values.std(axis=0, ddof=1) / np.sqrt(trials), 0.0)
    used = varies & ~sparse
    if used.any():
        critical = _sup_t((values - mean)[:, used], level, resamples, seed)
    else:
        critical = float(stats.t.ppf(1 - (1 - level) / (2 * epochs), trials - 1))
    return Band(mean, mean - critical * error, mean + critical * error, sparse, critical)


def _sup_t(centred: Array, level: float, resamples: int, seed: int) -> float:
    """Quantile over resamples of the largest |t| over epochs; `centred` is `[trials, epochs]` with mean 0."""
    trials = len(centred)
    drawn = np.random.default_rng(seed).integers(trials, size=(resamples, trials))
    drawn += trials * np.arange(resamples)[:, None]
    # How often each resample holds each trial, as shares: then its moments are two matrix products.
    shares = np.bincount(drawn.ravel(), minlength=resamples * trials).reshape(resamples, trials) / trials
    mean, square = shares @ centred, centred**2
    variance = shares @ square - mean**2
    # A resample in which an epoch does not vary (one trial drawn throughout, or ties only) has no t there.
    variance[variance <= 1e-9 * square.mean(axis=0)] = np.inf
    return float(np.quantile(np.max(np.abs(mean) * np.sqrt((trials - 1) / variance), axis=1), level, method="higher"))


# The original's words, as numbers


def overall(values: ArrayLike) -> Array:
    """Mean accuracy over all epochs, `[trials, epochs]` to `[trials]`, in percent.

    Original report, section 1.4: "seems to perform better overall" (there over 100 epochs).

    Raises ValueError when `values` is not finite or not `[trials, epochs]`.
    """
    return _check("values", values, "[trials, epochs]").mean(axis=1)


def start(values: ArrayLike, epochs: int = 10) -> Array:
    """Mean accuracy over the first `epochs` epochs, `[trials, epochs]` to `[trials]`, in percent.

    Original report, section 1.4: "starting out very similar"; that these are 10 epochs is our choice. Two networks that
    are both still guessing start alike whatever they are: ask `vacuous` first.

    Raises ValueError when `epochs` is below 1 or beyond those in `values`.
    """
    values = _check("values", values, "[trials, epochs]")
    if not 1 <= epochs <= values.shape[1]:
        raise ValueError(f"epochs must lie between 1 and the {values.shape[1]} epochs of values, got {epochs}")
    return values[:, :epochs].mean(axis=1)


def vacuous(a: ArrayLike, b: ArrayLike, chance: float = CHANCE, within: float = 1.0) -> bool:
    """Say whether no mean of `a` and `b`, both `[trials]`, is more than `within` above `chance`: neither has begun.

    Raises ValueError when the arrays do not fit (as in `paired_difference`).
    """
    a, b = _pair(a, b, "[trials]")
    return bool(max(a.mean(), b.mean()) <= chance + within)


def slope(a: ArrayLike, b: ArrayLike, share: float = 0.9) -> Slopes:
    """Accuracy gained per epoch while two networks rise, in points per epoch; `a` and `b` are `[trials, epochs]`.

    Original report, section 1.4: "a steeper slope"; the window is our choice. Both networks have the same one, so that
    slopes can be paired: from epoch 1 to the first epoch at which the mean curve of both together has made `share` of
    its gain between epoch 1 and the last. Where that curve does not rise, the window is the whole training.

    Raises ValueError when `share` is outside (0, 1], the shapes differ or there are fewer than 2 epochs.
    """
    a, b = _pair(a, b, "[trials, epochs]")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie between 0 (excluded) and 1, got {share}")
    if a.shape[1] < 2:
        raise ValueError("a and b have 1 epoch; a slope needs at least 2 epochs")
    gained = (a.mean(axis=0) + b.mean(axis=0)) / 2
    gained = gained - gained[0]
    steps = int(np.argmax(gained >= share * gained[-1])) if gained[-1] > ROUNDING else gained.size - 1
    return Slopes((a[:, steps] - a[:, 0]) / steps, (b[:, steps] - b[:, 0]) / steps, last_epoch=steps + 1)


def epochs_to_reach(values: ArrayLike, level: float) -> Array:
    """First epoch at which each trial is at `level` percent or above; `[trials, epochs]` to `[trials]`.

    A trial that never is counts with the last epoch, so the mean is a restricted mean, min(T, 100) for 100 epochs
    (Royston and Parmar 2013), and no trial is left out.

    Raises ValueError when `level` is not between 0 and 100 or `values` is not `[trials, epochs]`.
    """
    values = _check("values", values, "[trials, epochs]")
    if not 0 <= level <= 100:
        raise ValueError(f"level must lie between 0 and 100 percent, got {level}")
    reached = values >= level - ROUNDING
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, values.shape[1]).astype(float)


def plateau(values: ArrayLike, width: int = 5, lag: int = 20) -> Array:
    """Gain of each trial towards the end of its training, `[trials, epochs]` to `[trials]`, in points.

    Original report, section 1.4: "plateaus less aggressively". Mean of the last `width` epochs minus mean of the
    `width` epochs that end `lag` epochs earlier: of 100 epochs, 96-100 minus 76-80. At 0 it is a plateau; more is "less
    aggressive".

    Raises ValueError when `width` or `lag` is below 1 or `values` has fewer than `width + lag` epochs.
    """
    values = _check("values", values, "[trials, epochs]")
    epochs = values.shape[1]
    if width < 1 or lag < 1 or epochs < width + lag:
        raise ValueError(f"width {width} and lag {lag} must be at least 1 and fit in the {epochs} epochs of values")
    return values[:, epochs - width :].mean(axis=1) - values[:, epochs - lag - width : epochs - lag].mean(axis=1)


# Where the variance comes from


def redraw_variance(values: ArrayLike) -> Component:
    """Variance of the accuracy when one factor (data, weights or order) is drawn again and the others stay.

    `values` is `[settings, redraws]`: within a row only that factor changes. The pooled variance within rows, with the
    chi-square interval for normal values. It includes the factor's interactions with what stays (Homma and Saltelli's
    total effect, 1996), so the three components may add up to more than the variance of trials.

    Raises ValueError when `values` is not finite, not two-dimensional or has fewer than 2 redraws.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2 or not np.all(np.isfinite(values)):
        raise ValueError(f"values must be finite and [settings, redraws] with at least 2 redraws, got {values.shape}")
    degrees = values.shape[0] * (values.shape[1] - 1)
    variance = float(values.var(axis=1, ddof=1).mean())
    high, low = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], degrees)
    return Component(variance, float(variance * degrees / low), float(variance * degrees / high), degrees)


def binomial_sd(accuracy: float, pairs: int) -> float:
    """SD in points that a test set of `pairs` random pairs alone gives an accuracy in percent: 1.13 at 85 and 1,000.

    Raises ValueError when `accuracy` is not between 0 and 100 or `pairs` is below 1.
    """
    if not (0 <= accuracy <= 100 and pairs >= 1):
        raise ValueError(f"needs 0 <= accuracy <= 100 and pairs >= 1, got accuracy {accuracy}, pairs {pairs}")
    return float(np.sqrt(accuracy * (100 - accuracy) / pairs))


def _differences(a: Array, b: Array) -> Array:
    """Return b - a, exactly 0 where only rounding keeps it from 0, and all the same where only rounding parts them."""
    d = np.where(np.abs(b - a) > ROUNDING, b - a, 0.0)
    return d if np.ptp(d) > ROUNDING else np.full_like(d, np.median(d))


def _check(name: str, values: ArrayLike, shape: str, least: int = 1) -> Array:
    """Return `values` as floats; ValueError unless finite, of that shape and of at least `least` trials."""
    values = np.asarray(values, dtype=float)
    if values.ndim != shape.count(",") + 1 or 0 in values.shape:
        raise ValueError(f"{name} must be {shape}, got an array of shape {values.shape}")
    if len(values) < least:
        raise ValueError(f"{name} has {len(values)} trial; a spread over trials needs at least {least} trials")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} holds values that are not finite numbers")
    return values


def _pair(a: ArrayLike, b: ArrayLike, shape: str) -> tuple[Array, Array]:
    """Return both as floats; ValueError unless each passes `_check` and they have one shape of at least 2 trials."""
    a, b = _check("a", a, shape, least=2), _check("b", b, shape, least=2)
    if a.shape != b.shape:
        raise ValueError(f"a and b are paired by trial and must have one shape, got {a.shape} and {b.shape}")
    return a, b


def _check_verdict(difference: PairedDifference, adjusted_p: float, fewest: int) -> None:
    """Raise ValueError unless p is a probability and there are enough trials for a verdict word."""
    if not 0 <= adjusted_p <= 1:
        raise ValueError(f"an adjusted p must lie between 0 and 1, got {adjusted_p}")
    if difference.n < fewest:
        raise ValueError(f"a verdict needs at least {fewest} trials, got {difference.n}: report the direction instead")
