"""What curves say beside their means, on curves whose answer is known."""

import numpy as np
import pytest

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
