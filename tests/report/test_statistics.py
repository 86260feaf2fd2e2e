"""The statistics against hand computation, independent programs, properties that must hold, and simulated studies."""

import dataclasses
import itertools
import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, signal, stats

from report import statistics as s

TRIALS, EPOCHS = 150, 100
COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=30)


def accuracies(seed=0, difference=0.3, trials=TRIALS):
    """Two networks at one epoch, paired, as counts of 1,000 pairs in percent."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(82, 1.2, trials)
    return (np.round(shared + rng.normal(shift, 1.2, trials), 1) for shift in (0, difference))


# Estimates

NUMBERS = st.floats(-1e6, 1e6)


def test_an_estimate_says_itself_in_a_sentence_and_in_a_table():
    estimate = s.Estimate(-0.284, -0.441, 0.126)
    assert f"{estimate}" == f"{estimate:+.2f}" == "−0.28 points (95 % interval −0.44 to +0.13)"
    assert f"{estimate:short}" == f"{estimate:+.2f short}" == "−0.28 (−0.44 to +0.13)"
    assert f"{estimate:.1f}" == "−0.3 points (95 % interval −0.4 to 0.1)"
    assert f"{s.Estimate(2, 1, 3, level=0.9, unit=''):.0f}" == "2 (90 % interval 1 to 3)"


@given(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 6), st.sampled_from(["points", "s", ""]))
def test_what_an_estimate_says_reads_back_as_its_numbers(mean, low, high, digits, unit):
    estimate = s.Estimate(mean, low, high, unit=unit)
    short, long = format(estimate, f"+.{digits}f short"), format(estimate, f"+.{digits}f")
    assert "-" not in long
    number = r"([+−][0-9.]+)"
    read = re.fullmatch(rf"{number} \({number} to {number}\)", short)
    numbers = [float(x.replace("−", "-")) for x in read.groups()]
    assert numbers == pytest.approx([mean, low, high], abs=0.51 / 10**digits)
    assert long.replace(f" {unit}" if unit else "", "", 1).replace("95 % interval ", "") == short
    assert short.split(" (")[0] == s.signed(mean, digits)


@pytest.mark.parametrize("code", ["+.2f long", "brief", "+.2q short"])
def test_a_format_that_is_none_is_refused(code):
    with pytest.raises(ValueError, match="format"):
        format(s.Estimate(1.5, 1, 2), code)


def test_a_paired_difference_is_an_estimate_in_points():
    found = s.paired_difference([80.0, 81.0, 82.0], [81.0, 83.0, 82.0])
    assert f"{found:+.1f}" == "+1.0 points (95 % interval −1.5 to +3.5)"


def test_a_minus_is_no_hyphen():
    assert [s.signed(1.256), s.signed(-0.5), s.signed(-0.5, 1)] == ["+1.26", "−0.50", "−0.5"]


# Paired differences


def test_a_paired_difference_computed_by_hand():
    found = s.paired_difference([80.0, 81.0, 82.0], [81.0, 83.0, 82.0])  # D = 1, 2, 0; t = sqrt(3), 2 degrees
    half = 4.302653 / np.sqrt(3)
    assert (found.mean, found.sd, found.n) == (1, 1, 3)
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), abs=1e-6)
    assert found.p == pytest.approx(1 - np.sqrt(3 / 5), abs=1e-9)
    assert found.superiority == pytest.approx(2.5 / 3)


def test_identical_networks_differ_by_nothing_without_a_warning():
    a, _ = accuracies()
    assert s.paired_difference(a, a) == s.PairedDifference(0, 0, 0, sd=0, p=1, n=TRIALS, superiority=0.5)


@pytest.mark.parametrize("step, superiority", [(0.7, 1), (-0.3, 0)])
def test_a_constant_difference_is_certain_even_where_floats_round(step, superiority):
    a, _ = accuracies()
    b = np.round(a + step, 1)
    assert np.ptp(b - a) > 0
    found = s.paired_difference(a, b)
    assert found.mean == pytest.approx(step)
    assert (found.low, found.high, found.sd, found.p) == (found.mean, found.mean, 0, 0)
    assert found.superiority == superiority


@given(COUNTS, st.integers(-500, 500), st.randoms())
def test_differences_ignore_a_common_shift_and_the_order_of_trials_and_turn_with_the_networks(counts, shift, random):
    a, b = np.array(counts).T / 10
    order = random.sample(range(a.size), a.size)
    found, swapped = s.paired_difference(a, b), s.paired_difference(b, a)
    mirrored = dataclasses.replace(
        swapped,
        mean=-swapped.mean,
        low=-swapped.high,
        high=-swapped.low,
        superiority=1 - swapped.superiority,
    )
    for same in mirrored, s.paired_difference(a + shift, b + shift), s.paired_difference(a[order], b[order]):
        assert same.unit == found.unit
        for name in ("mean", "low", "high", "level", "sd", "p", "n", "superiority"):
            assert getattr(same, name) == pytest.approx(getattr(found, name), rel=1e-6, abs=1e-8)
    assert found.low <= found.mean <= found.high


@pytest.mark.filterwarnings("default")  # pingouin's own
def test_differences_and_equivalence_agree_with_pingouin():
    pingouin = pytest.importorskip("pingouin", reason="pingouin is an oracle, installed with the test extra")
    for seed in range(20):
        a, b = accuracies(seed)
        found, oracle = s.paired_difference(a, b), pingouin.ttest(b, a, paired=True)
        assert found.p == pytest.approx(oracle.filter(regex="p.val").iloc[0, 0], rel=1e-9)
        assert (found.low, found.high) == pytest.approx(oracle.filter(regex="CI95").iloc[0, 0], abs=0.0051)
        tost = pingouin.tost(b, a, bound=0.5, paired=True)
        assert s.equivalence(a, b).p == pytest.approx(tost["pval"].iloc[0], rel=1e-9)


# Equivalence


def test_equivalence_agrees_with_statsmodels():
    weightstats = pytest.importorskip(
        "statsmodels.stats.weightstats", reason="statsmodels is an oracle, installed with the test extra"
    )
    for seed in range(20):
        a, b = accuracies(seed)
        for margin in (0.2, 0.5, 1):
            found = s.equivalence(a, b, margin)
            oracle = weightstats.ttost_paired(b, a, -margin, margin)[0]
            assert found.p == pytest.approx(oracle, rel=1e-9)
            assert found.equivalent == (oracle < 0.05)


@given(COUNTS, st.floats(0.1, 5))
def test_equivalence_does_not_know_which_network_is_which_and_grows_with_the_margin(counts, margin):
    a, b = np.array(counts).T / 10
    assert s.equivalence(a, b, margin) == s.equivalence(b, a, margin)
    assert s.equivalence(a, b, 2 * margin).p <= s.equivalence(a, b, margin).p


@pytest.mark.parametrize("step, p", [(0, 0), (0.4, 0), (-0.4, 0), (0.5, 1), (-0.5, 1), (3, 1)])
def test_equivalence_of_networks_that_differ_by_a_constant(step, p):
    a, _ = accuracies()
    assert s.equivalence(a, np.round(a + step, 1)) == s.Equivalence(p, p == 0, power=1, margin=0.5)


@pytest.mark.parametrize("sd, power", [(1.5, 0.98), (2, 0.84), (3, 0.30), (4, 0.00)])
def test_the_power_of_equivalence_at_150_trials(sd, power):
    assert s.equivalence_power(sd, TRIALS) == pytest.approx(power, abs=0.005)
    # Two tests reject at least as often as 1 minus the chances that either does not.
    one = stats.nct.sf(stats.t.ppf(0.95, TRIALS - 1), TRIALS - 1, 0.5 * np.sqrt(TRIALS) / sd)
    assert s.equivalence_power(sd, TRIALS) >= 2 * one - 1 - 1e-6


@pytest.mark.parametrize("sd, n", [(0.3, 3), (0.5, 10), (2, 150), (3, 150), (4, 150)])
def test_the_power_of_equivalence_is_an_integral_over_the_sample_sd(sd, n):
    def passes(chi):
        room = 0.5 * np.sqrt(n) / sd - stats.t.ppf(0.95, n - 1) * chi / np.sqrt(n - 1)
        return stats.chi.pdf(chi, n - 1) * max(0, 2 * stats.norm.cdf(room) - 1)

    end = 0.5 * np.sqrt(n * (n - 1)) / sd / stats.t.ppf(0.95, n - 1)  # beyond it no mean passes
    points = np.unique(np.clip(np.linspace(0, 2, 41) * np.sqrt(n - 1), 0, end))
    exact = sum(integrate.quad(passes, *ends)[0] for ends in zip(points, [*points[1:], end], strict=True))
    assert s.equivalence_power(sd, n) == pytest.approx(exact, abs=5e-4)


def test_an_equivalence_carries_the_power_for_its_own_sd():
    a, b = accuracies()
    assert s.equivalence(a, b, 0.4).power == s.equivalence_power(s.paired_difference(a, b).sd, TRIALS, 0.4)
    assert s.equivalence_power(2, TRIALS, alpha=0.05 / 3) < s.equivalence_power(2, TRIALS)


# Families


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert s.holm([0.9, 0.8, 0.2]) == pytest.approx([1, 1, 0.6])
    assert s.holm([0.04]) == pytest.approx([0.04])
    assert s.holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_keeps_the_order_never_lowers_p_and_does_not_care_how_the_family_is_listed(p, random):
    adjusted = s.holm(p)
    assert np.all(adjusted >= p) and np.all(adjusted <= 1)
    assert adjusted.min() == min(1, len(p) * min(p))
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)
    order = random.sample(range(len(p)), len(p))
    assert s.holm(np.array(p)[order]) == pytest.approx(adjusted[order])


@pytest.mark.slow  # importing the oracle takes seconds; Holm is tested by hand, too
def test_holm_agrees_with_statsmodels():
    multitest = pytest.importorskip(
        "statsmodels.stats.multitest", reason="statsmodels is an oracle, installed with the test extra"
    )
    rng = np.random.default_rng(0)
    for size in range(1, 9):
        p = np.round(rng.uniform(size=size) ** 3, 2)  # with ties
        assert s.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


# Verdicts


def difference(mean, half=0.3, n=TRIALS):
    return s.PairedDifference(mean, mean - half, mean + half, sd=1.8, p=0.001, n=n, superiority=0.5)


@pytest.mark.parametrize(
    "mean, p, claimed, verdict",
    [
        (1, 0.049, 1, "reproduced"),
        (1, 0.049, -1, "contradicted"),
        (-1, 0.049, -1, "reproduced"),
        (-1, 0.049, 1, "contradicted"),
        (1, 0.05, 1, "undecided"),
        (-1, 0.05, 1, "undecided"),
        (0, 1, 1, "undecided"),
    ],
)
def test_directional_verdicts(mean, p, claimed, verdict):
    assert s.directional_verdict(difference(mean), p, claimed) == verdict


@pytest.mark.parametrize(
    "mean, p, verdict",
    [
        (0.1, 0.049, "reproduced"),
        (0.1, 0.05, "undecided"),
        (0.81, 1, "contradicted"),
        (-0.81, 1, "contradicted"),
        (0.79, 1, "undecided"),
        (-0.79, 1, "undecided"),
    ],
)
def test_sameness_verdicts(mean, p, verdict):
    assert s.sameness_verdict(difference(mean), p) == verdict


def test_a_wider_margin_contradicts_less():
    assert s.sameness_verdict(difference(1), 1, margin=0.5) == "contradicted"
    assert s.sameness_verdict(difference(1), 1, margin=0.8) == "undecided"


def test_few_trials_get_a_direction_and_no_verdict():
    few = difference(1, n=99)
    with pytest.raises(ValueError, match="at least 100 trials, got 99"):
        s.directional_verdict(few, 0.01, 1)
    with pytest.raises(ValueError, match="at least 100 trials, got 99"):
        s.sameness_verdict(few, 0.01)
    assert [s.direction(difference(mean, n=5)) for mean in (1, -1, 0)] == ["higher", "lower", "equal"]


# Curves


def curves(rng, trials=TRIALS, epochs=EPOCHS):
    """Trials `[trials, epochs]` around a rising mean curve, with the curve: a trial's level, AR(1) noise and counts.

    Trials spread most where they rise, as networks do that leave chance at different epochs.
    """
    rise = 1 / (1 + np.exp(-(np.arange(epochs) - 40) / 8))
    noise = rng.normal(size=(trials, epochs))
    noise[:, 1:] *= np.sqrt(1 - 0.9**2)
    noise = signal.lfilter([1], [1, -0.9], noise)
    spread = 1 + 12 * rise * (1 - rise)
    mean = 55 + 27 * rise
    return np.round(mean + spread * (0.6 * rng.normal(size=(trials, 1)) + 0.8 * noise), 1), mean


def test_the_band_agrees_with_a_plain_loop_over_resamples():
    values, _ = curves(np.random.default_rng(1), trials=40, epochs=7)
    rng, largest = np.random.default_rng(3), []
    for chosen in rng.integers(40, size=(200, 40)):
        again = values[chosen]
        t = (again.mean(axis=0) - values.mean(axis=0)) / stats.sem(again, axis=0)
        largest.append(np.abs(t).max())
    critical = np.sort(largest)[190]
    band = s.simultaneous_band(values, resamples=200, seed=3)
    assert band.critical == pytest.approx(critical)
    assert band.centre == pytest.approx(values.mean(axis=0))
    assert band.high - band.centre == pytest.approx(critical * stats.sem(values, axis=0))
    assert band.centre - band.low == pytest.approx(critical * stats.sem(values, axis=0))
    assert not band.sparse.any()


def test_a_seed_fixes_the_band_and_another_one_hardly_moves_it():
    values, _ = curves(np.random.default_rng(1))
    first, again, other = (s.simultaneous_band(values, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.low, again.low) and np.array_equal(first.high, again.high)
    assert first.critical != other.critical
    assert first.critical == pytest.approx(other.critical, rel=0.05)


def test_the_band_follows_scale_and_sign_and_hardly_the_order_of_trials():
    values, _ = curves(np.random.default_rng(1))
    band, mirrored, scrambled = (s.simultaneous_band(v) for v in (values, 10 - 2 * values, values[::-1]))
    assert mirrored.low == pytest.approx(10 - 2 * band.high)
    assert mirrored.high == pytest.approx(10 - 2 * band.low)
    assert scrambled.critical == pytest.approx(band.critical, rel=0.05)


def test_more_epochs_and_a_higher_level_widen_the_band_beyond_students_interval():
    values, _ = curves(np.random.default_rng(1))
    one, few, all_, sure = (
        s.simultaneous_band(v, level).critical
        for v, level in ((values[:, -1:], 0.95), (values[:, -5:], 0.95), (values, 0.95), (values, 0.99))
    )
    assert one == pytest.approx(stats.t.ppf(0.975, TRIALS - 1), rel=0.06)
    assert one < few < all_ < sure


def test_an_epoch_without_spread_has_width_0_and_changes_nothing_elsewhere():
    values, _ = curves(np.random.default_rng(1))
    flat = np.insert(values, [0, 50], [55.1, 0.0], axis=1)
    band, plain = s.simultaneous_band(flat), s.simultaneous_band(values)
    assert band.low[[0, 51]].tolist() == band.high[[0, 51]].tolist() == band.centre[[0, 51]].tolist()
    assert np.array_equal(np.delete(band.low, [0, 51]), plain.low)
    assert band.sparse.nonzero()[0].tolist() == [51]


def test_epochs_where_few_trials_differ_are_sparse_and_leave_the_others_alone():
    differences = np.random.default_rng(1).normal(size=(TRIALS, 20))
    plain = s.simultaneous_band(differences[:, 3:])
    differences[:, :3] = 0
    differences[:9, 0], differences[:10, 1], differences[:1, 2] = 1, np.arange(1, 11), 1
    band = s.simultaneous_band(differences)
    assert band.sparse.nonzero()[0].tolist() == [0, 2]
    assert np.all(band.high >= band.centre) and np.all(np.isfinite(band.high))
    differences[:, 1] = 0
    assert s.simultaneous_band(differences).critical == plain.critical


def test_where_every_epoch_is_sparse_bonferroni_stands_in():
    values, _ = curves(np.random.default_rng(1), trials=3, epochs=10)
    band = s.simultaneous_band(values)
    assert band.sparse.all()
    assert band.critical == pytest.approx(stats.t.ppf(1 - 0.05 / 20, 2))
    nothing = s.simultaneous_band(np.zeros((TRIALS, 10)))
    assert nothing.sparse.all() and not nothing.high.any() and not nothing.low.any()


def test_the_band_of_the_study_takes_well_under_half_a_second():
    values, _ = curves(np.random.default_rng(1))
    begun = time.process_time()
    s.simultaneous_band(values, resamples=2000)
    assert time.process_time() - begun < 0.5


# The original's words

RAMP = np.arange(1.0, 101.0)  # at epoch t it is at t percent


def test_overall_start_and_plateau_of_a_ramp():
    values = np.stack([RAMP, RAMP + 10, np.full(100, 55.0)])
    assert s.overall(values) == pytest.approx([50.5, 60.5, 55])
    assert s.start(values) == pytest.approx([5.5, 15.5, 55])
    assert s.start(values, epochs=1) == pytest.approx([1, 11, 55])
    assert s.plateau(values) == pytest.approx([20, 20, 0])
    assert s.plateau(values[:, :25]) == pytest.approx([20, 20, 0])
    assert s.plateau(values[:, :3], width=1, lag=2) == pytest.approx([2, 2, 0])


def test_the_plateau_reads_the_epochs_it_names():
    values = np.zeros((1, 100))
    values[0, 95:100], values[0, 75:80] = 5, 3  # epochs 96-100 and 76-80
    assert s.plateau(values) == pytest.approx([2])


def test_a_start_is_vacuous_only_when_both_networks_are_still_guessing():
    chance, begun = [54.0, 56.8], [56.2, 56.0]
    assert s.vacuous(chance, chance)
    assert s.vacuous(chance, [56.0, 56.0])
    assert not s.vacuous(chance, begun) and not s.vacuous(begun, chance)
    assert not s.vacuous(chance, chance, chance=50)
    assert s.vacuous([45.0, 45.0], [45.0, 45.0]), "below always answering the same: nothing has been learned"


def test_slopes_share_the_window_of_the_pooled_curve():
    a = np.array([[50.0, 60, 70, 70, 70], [50, 60, 70, 70, 70]])
    b = np.array([[50.0, 50, 60, 70, 70], [54, 54, 60, 70, 70]])
    slopes = s.slope(a, b)  # pooled: 51, 56, 65, 70, 70, so 90 % of the gain is 68.1
    assert slopes.last_epoch == 4
    assert slopes.a == pytest.approx([20 / 3, 20 / 3])
    assert slopes.b == pytest.approx([20 / 3, 16 / 3])
    swapped = s.slope(b, a)
    assert np.array_equal(swapped.a, slopes.b) and swapped.last_epoch == 4
    assert s.slope(a, b, share=0.5).last_epoch == 3


@pytest.mark.parametrize("curve", [[60, 58, 55], [55, 70, 55], [55, 55, 55]])
def test_slopes_of_curves_that_do_not_rise_span_the_whole_training(curve):
    slopes = s.slope([curve, curve], [curve, curve])
    assert slopes.last_epoch == 3
    assert slopes.a == pytest.approx([(curve[2] - curve[0]) / 2] * 2)


def test_epochs_to_reach_a_level_count_from_1_and_stop_at_the_last():
    values = [[60, 50, 70], [50, 60, 50], [50, 50, 60], [50, 50, 59.9]]
    assert s.epochs_to_reach(values, 60) == pytest.approx([1, 2, 3, 3])
    assert s.epochs_to_reach([RAMP], 80) == pytest.approx([80])


# Where the variance comes from


def test_redraw_variance_by_hand():
    found = s.redraw_variance([[80, 82], [90, 94]])  # variances 2 and 8, one degree each
    assert (found.variance, found.degrees) == (5, 2)
    assert (found.low, found.high) == pytest.approx((10 / 7.377759, 10 / 0.05063562), rel=1e-6)
    assert s.redraw_variance([[80, 80], [90, 90]]) == s.Component(0, 0, 0, 2)


def test_redraw_variance_counts_its_degrees_of_freedom():
    assert s.redraw_variance([[80, 82, 84], [90, 94, 98]]).degrees == 4  # two of each row
    assert s.redraw_variance([[80, 82, 84], [90, 94, 98]]).variance == 10


def test_slope_of_two_that_rise_differently_by_hand():
    a, b = [[50, 60, 70, 90]] * 2, [[40, 45, 80, 80]] * 2  # together 45, 52.5, 75, 85: 90 % of the gain at epoch 4
    found = s.slope(a, b)
    assert found.last_epoch == 4
    np.testing.assert_allclose([found.a, found.b], 40 / 3)


def test_binomial_sd_of_a_thousand_pairs():
    assert s.binomial_sd(85, 1000) == pytest.approx(1.13, abs=0.005)
    assert s.binomial_sd(100, 1000) == 0


# What a user sees when something is wrong

ONE, TWO = [80.0], [80.0, 81.0]
CURVES = [[50.0, 60.0], [51.0, 61.0]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: s.paired_difference(ONE, ONE), "a has 1 trial; a spread over trials needs at least 2"),
        (lambda: s.paired_difference(TWO, [80, 81, 82]), r"paired by trial .* \(2,\) and \(3,\)"),
        (lambda: s.paired_difference(CURVES, CURVES), r"a must be \[trials\], got an array of shape \(2, 2\)"),
        (lambda: s.paired_difference(TWO, [80, np.nan]), "b holds values that are not finite"),
        (lambda: s.equivalence(TWO, TWO, margin=0), "margin 0"),
        (lambda: s.equivalence_power(-1, 10), "sd -1"),
        (lambda: s.equivalence_power(1, 1), "n 1"),
        (lambda: s.holm([0.1, np.nan]), "p_values must be"),
        (lambda: s.holm([0.1, 1.1]), "p_values must be"),
        (lambda: s.directional_verdict(difference(1), 0.01, 0), "claimed must be"),
        (lambda: s.directional_verdict(difference(1), 1.5, 1), "adjusted p must lie"),
        (lambda: s.sameness_verdict(difference(1), np.nan), "adjusted p must lie"),
        (lambda: s.sameness_verdict(difference(1), 0.5, margin=-1), "margin must be positive, got -1"),
        (lambda: s.simultaneous_band(TWO), r"values must be \[trials, epochs\]"),
        (lambda: s.simultaneous_band(CURVES, level=95), "level must lie between 0 and 1, got 95"),
        (lambda: s.simultaneous_band(CURVES, resamples=10), "resamples must be at least 20 .* got 10"),
        (lambda: s.overall([[]]), r"values must be \[trials, epochs\]"),
        (lambda: s.start(CURVES), "epochs must lie between 1 and the 2 epochs of values, got 10"),
        (lambda: s.start(CURVES, epochs=0), "got 0"),
        (lambda: s.slope([[50], [51]], [[50], [51]]), "needs at least 2 epochs"),
        (lambda: s.slope(CURVES, CURVES, share=90), "share must lie .* got 90"),
        (lambda: s.epochs_to_reach(CURVES, 600), "level must lie between 0 and 100 percent, got 600"),
        (lambda: s.plateau(CURVES), "width 5 and lag 20 must .* fit in the 2 epochs"),
        (lambda: s.redraw_variance([[80], [81]]), "at least 2 redraws"),
        (lambda: s.binomial_sd(85, 0), "pairs 0"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Simulated studies: 2,000 of 150 trials each, so a rate of 5 % is known to within about 1 point

STUDIES = 2000


def endpoints(rng, means, skewed=False):
    """Four networks' last epochs `[4, trials]` with these mean accuracies, correlated over trials, as counts."""
    draw = (lambda size: 1 - rng.exponential(size=size)) if skewed else (lambda size: rng.normal(size=size))
    return np.round(np.reshape(means, (4, 1)) + 1.2 * draw(TRIALS) + 1.2 * draw((4, TRIALS)), 1)


def family(networks):
    """The three comparisons of figure 6: each network with the next."""
    return itertools.pairwise(networks)


@pytest.mark.slow  # a simulation; each quantity is tested by hand above
@pytest.mark.parametrize("skewed", [False, True])
def test_simulated_intervals_cover_the_difference(skewed):
    rng, covered = np.random.default_rng(2022), 0
    for _ in range(STUDIES):
        a, b, *_ = endpoints(rng, [81, 81.4, 0, 0], skewed)
        found = s.paired_difference(a, b)
        covered += found.low <= 0.4 <= found.high
    print(f"the 95 % interval covers in {covered / STUDIES:.1%}")
    assert covered / STUDIES >= 0.93


@pytest.mark.slow  # a simulation; each quantity is tested by hand above
def test_simulated_networks_that_do_not_differ_get_few_directional_verdicts():
    rng, false = np.random.default_rng(2022), 0
    for _ in range(STUDIES):
        found = [s.paired_difference(a, b) for a, b in family(endpoints(rng, [82] * 4))]
        adjusted = s.holm([one.p for one in found])
        verdicts = [s.directional_verdict(one, p, 1) for one, p in zip(found, adjusted, strict=True)]
        false += verdicts != ["undecided"] * 3
    print(f"a family of three has a false directional verdict in {false / STUDIES:.1%}")
    assert false / STUDIES <= 0.05


@pytest.mark.slow  # a simulation; each quantity is tested by hand above
def test_simulated_networks_at_the_margin_are_seldom_called_the_same():
    rng, false, single = np.random.default_rng(2022), 0, 0
    for _ in range(STUDIES):
        pairs = list(family(endpoints(rng, [82, 82.5, 82, 82.5])))
        raw = [s.equivalence(a, b).p for a, b in pairs]
        verdicts = [
            s.sameness_verdict(s.paired_difference(a, b), p) for (a, b), p in zip(pairs, s.holm(raw), strict=True)
        ]
        false += "reproduced" in verdicts
        single += raw[0] < 0.05
    print(f"false sameness in {false / STUDIES:.1%} of families, {single / STUDIES:.1%} of single comparisons")
    assert false / STUDIES <= 0.05
    assert single / STUDIES <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)  # exactly 5 % in truth


@pytest.mark.slow  # a simulation; each quantity is tested by hand above
def test_simulated_bands_cover_the_whole_curve_where_pointwise_intervals_do_not():
    rng, covered, pointwise = np.random.default_rng(2022), 0, 0
    quantile = stats.t.ppf(0.975, TRIALS - 1)
    for study in range(STUDIES):
        values, truth = curves(rng)
        band = s.simultaneous_band(values, resamples=500, seed=study)
        covered += bool(np.all((band.low <= truth) & (truth <= band.high)))
        half = (band.high - band.centre) * quantile / band.critical
        pointwise += bool(np.all(np.abs(band.centre - truth) <= half))
    print(f"the whole curve is covered in {covered / STUDIES:.1%}, by pointwise intervals in {pointwise / STUDIES:.1%}")
    assert covered / STUDIES >= 0.93
    assert pointwise / STUDIES < 0.6


def test_the_interval_of_a_share_is_wilsons_and_stays_between_0_and_1():
    assert s.share_interval(0.67, 150) == pytest.approx((0.591, 0.740), abs=1e-3)
    assert s.share_interval(0, 10)[0] == 0 and s.share_interval(1, 10)[1] == pytest.approx(1)
    rng = np.random.default_rng(0)
    shares = rng.binomial(60, 0.8, 2000) / 60
    covered = np.mean([low <= 0.8 <= high for low, high in (s.share_interval(float(x), 60) for x in shares)])
    assert 0.92 < covered < 0.98
    for share, n in ((1.1, 10), (0.5, 0)):
        with pytest.raises(ValueError, match="between 0 and 1 and n >= 1"):
            s.share_interval(share, n)
