"""What curves say beside their means, on curves whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from lib import Experiment, Result
from lib.pairs import draw_trial_rows
from report import timecourse as t


def rising(*epochs: float, length: int = 100, low: float = 55, high: float = 80):
    """Curves that jump from `low` to `high` at the given epochs."""
    return np.array([np.where(np.arange(1, length + 1) >= epoch, high, low) for epoch in epochs], float)


def test_a_trial_takes_off_at_its_first_epoch_above_the_level_or_never():
    values = rising(3, 100, 101)
    assert t.take_off(values).tolist() == [3, 100, np.inf]
    assert t.never(values) == pytest.approx(100 / 3)
    assert t.take_off(np.full((1, 5), 65.0)).tolist() == [1]  # at the level is taken off


def test_earlier_is_paired_and_who_never_does_is_later():
    a, b = rising(10, 20, 30, 40, 200), rising(8, 20, 35, 200, 200)
    assert t.earlier(a, b) == (0, pytest.approx(100 * 1.5 / 4))  # 2, 0 and -5 epochs; the last pair says nothing
    assert t.earlier(rising(10), rising(4)) == (6, 100)
    with pytest.raises(ValueError, match="no trial reaches 65 %"):
        t.earlier(rising(10), rising(200))


def test_the_clock_is_a_ratio_per_trial():
    assert t.clock(rising(80, 90, 200), rising(10, 9, 10)).tolist() == [8, 10]


def test_the_epoch_of_a_level_lies_between_epochs():
    assert t.epoch_like([50, 60, 80], 70) == 2.5
    assert t.epoch_like([50, 60, 80], 50) == 1
    with pytest.raises(ValueError, match="never reaches 90 %"):
        t.epoch_like([50, 60], 90)


def test_spans_are_runs_of_epochs():
    assert t.spans([True, False, True, True]) == [(1, 1), (3, 4)]
    assert t.spans([False, False]) == []


def test_few_rounds_can_say_the_opposite_and_pairing_helps():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 5, 150)
    a, b = common + rng.normal(0, 0.5, 150), common + rng.normal(0.5, 0.5, 150)
    paired, apart = (t.other_sign(a, b, 10, paired=each) for each in (True, False))
    assert paired < 3 and 30 < apart < 50
    expected = 100 * 0.5 * (1 + 0)  # of two equal networks half of all draws, ties counting half
    assert t.other_sign(a, a, 5) == pytest.approx(expected)
    assert t.other_sign(b, a, 10) == pytest.approx(paired)  # whichever is called first
    with pytest.raises(ValueError, match="n is 0"):
        t.other_sign(a, b, 0)


def test_other_sign_is_what_a_normal_distribution_says():
    d = np.random.default_rng(1).normal(size=400)
    d = (d - d.mean()) / d.std() + 0.3
    assert t.other_sign(np.zeros(400), d, 20) == pytest.approx(100 * 0.0899, abs=1.0)  # Phi(-0.3 sqrt(20))


def test_variance_components_are_those_that_were_put_in():
    rng = np.random.default_rng(2)
    trial, network = rng.normal(0, 3, 20_000), np.array([-1.0, 1.0, 0.0, 2.0, -2.0])
    found = t.variances([trial + effect + rng.normal(0, 2, 20_000) for effect in network])
    assert found.trial == pytest.approx(9, rel=0.05) and found.rest == pytest.approx(4, rel=0.05)
    assert found.network == pytest.approx(network.var(ddof=1), rel=0.05)
    assert sum(found.shares) == pytest.approx(100)


def test_a_component_is_never_negative():
    same = np.array([1.0, 2.0, 3.0])
    assert t.variances([same, same[::-1]]).trial == 0


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="at least 2 of each"):
        t.variances([[1.0, 2.0]])


def test_pairs_from_a_finite_set_vary_less():
    assert t.pairs_sd(82.5) == pytest.approx(1.2016 * np.sqrt(4000 / 4999), abs=1e-4)
    assert t.pairs_sd(82.5, 5000) == 0
    draws = np.random.default_rng(3)
    whole = np.arange(5000) < 4125
    seen = [100 * draws.choice(whole, 1000, replace=False).mean() for _ in range(4000)]
    assert np.std(seen) == pytest.approx(t.pairs_sd(82.5), rel=0.05)


def test_steps_that_are_ten_times_as_long_are_worth_a_little_less_than_ten_epochs():
    curve = np.where(np.arange(1, 201)[None] >= np.array([[91], [101]]), 80.0, 50.0)
    # 91 / ceil(9.1 + 0.45) and 101 / ceil(10.1 + 0.45): their median
    assert t.clock_of_longer_steps([curve], 0.9, 20) == pytest.approx((91 / 10 + 101 / 11) / 2)


def test_the_digits_of_the_test_pairs_are_those_that_were_drawn(mnist):
    e = Experiment.parse("SN train_pairs=30 test_pairs=20 batch_size=10 seed=5")
    result = Result(e, 2, ({"trials": [0, 1]},))
    expected = [draw_trial_rows("mnist", 30, 20, 5, trial).test for trial in (0, 1)]
    assert np.array_equal(t.test_digits(result), expected)
    with pytest.raises(ValueError, match="does not draw each of MNIST's digits once"):
        t.test_digits(Result(e.changed("dataset=digits"), 1, ({},)))


def test_shared_digits_widen_an_interval_where_digits_are_hard_by_themselves():
    rng = np.random.default_rng(0)
    trials, pairs, count = 60, 50, 400
    digits = np.stack([rng.permutation(count)[: 2 * pairs].reshape(pairs, 2) for _ in range(trials)])
    hard = rng.random(count) < 0.2  # whoever meets one of these is wrong
    by_digit = 1.0 - hard[digits].any(2)
    by_chance = (rng.random((trials, pairs)) < by_digit.mean()).astype(float)
    assert t.shared_digits(by_digit, digits) > 1.5
    assert t.shared_digits(by_chance, digits) == pytest.approx(1, abs=0.25)
    with pytest.raises(ValueError, match="by two"):
        t.shared_digits(by_digit, digits[:, :5])
    with pytest.raises(ValueError, match="the same mean"):
        t.shared_digits(np.ones((3, 4)), np.zeros((3, 4, 2), int))


def test_the_moment_estimate_finds_the_variance_that_many_studies_have():
    """Draw whole studies again, digits and all: the factor is how much their means vary, over what each one thinks."""
    rng = np.random.default_rng(1)
    means, usual, factors = [], [], []
    for _ in range(200):
        hard = rng.random(200) < 0.2
        digits = np.stack([rng.permutation(200)[:80].reshape(40, 2) for _ in range(30)])
        answers = 1.0 - hard[digits].any(2)
        means.append(answers.mean())
        usual.append(answers.mean(1).var(ddof=1) / 30)
        factors.append(t.shared_digits(answers, digits))
    assert np.median(factors) == pytest.approx(np.sqrt(np.var(means) / np.mean(usual)), rel=0.25)


def by_distance(*tables):
    return t.errors_by_distance(
        Result(Experiment.parse("SN"), len(tables), ({"last_table": np.array(tables).tolist()},))
    )


def table(right_of_two):
    found = np.zeros((10, 10, 2), int)
    found[0, 0], found[3, 4], found[4, 3] = (right_of_two, 2), (3, 3), (0, 3)
    for distance in range(2, 10):
        found[0, distance] = 1, 1
    return found


def test_wrong_answers_are_counted_by_distance():
    found = by_distance(table(1), table(0))
    assert found.error.tolist() == [75.0, 50.0, *[0.0] * 8]
    assert found.shares[0].tolist() == pytest.approx([100 * 3 / 9, 100 * 6 / 9, *[0.0] * 8])
    assert found.shares[1].tolist() == pytest.approx([100 * n / 32 for n in (4, 12, *[2] * 8)])
    assert np.isnan(by_distance(table(1)).low).all()


def test_with_equally_many_pairs_a_trial_the_interval_is_that_of_a_mean():
    wrong = [1, 0, 2, 2]
    found = by_distance(*[table(2 - each) for each in wrong])
    mean = stats.ttest_1samp(np.array(wrong) / 2 * 100, 0).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(mean))
    assert found.low[5] == found.high[5] == 0


def test_sides_say_where_the_interval_of_an_epoch_excludes_0():
    a = np.zeros((4, 3))
    b = np.array([[1.0, -1, 1], [2, -2, -1], [1, -1, 1], [2, -2, -1]])
    assert t.sides(a, b).tolist() == [1, -1, 0]
    with pytest.raises(ValueError):
        t.sides(a, b[:, :2])
