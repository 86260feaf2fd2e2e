"""What the notebook on the statements shows: rows of tables from values whose outcome is known."""

import numpy as np
import pytest

from lib import Experiment, Store
from lib.analysis import PREREGISTERED
from report import outcomes, statements
from report.statements import NAMES, SCORE, Part, Statement, Term

A, B = Experiment.parse("SN seed=5"), Experiment.parse("WSN seed=5")
VALUES = {A: np.full(50, 80.0), B: 83.0 + np.linspace(-0.5, 0.5, 50)}
APART = (Term(1, B), Term(-1, A))


def read(experiment, value):
    return VALUES[experiment]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part("", APART, 0, 4), "between 0 and 4"),
        (Part("", APART, low=8), "above 8"),
        (Part("", APART, high=-4), "below −4"),
    ],
)
def test_where_a_mean_is_said_to_lie(part, words):
    assert outcomes.said_range(part) == words


def test_a_part_shows_the_interval_that_judges_it_or_the_signs():
    mean, low, high = statements.interval(VALUES[B] - 80)
    shown = outcomes.estimate(Part("", APART), read)
    assert (shown.mean, shown.low, shown.high, shown.level) == (mean, low, high, 0.995)
    assert outcomes.number(Part("", APART), read) == "+3.00 (+2.88 to +3.12)"
    assert outcomes.number(Part("", APART, high=0, signs=True), read) == "below in 0 of 50 trials"
    assert outcomes.number(Part("", APART, low=0, signs=True), read) == "above in 50 of 50 trials"


def test_a_statement_of_several_parts_has_a_row_for_each():
    one = Statement("1", "One.", (Part("x", APART, low=2),))
    two = Statement("2", "Two.", (Part("x", APART, low=2), Part("y", APART, low=4)))
    rows = outcomes.statement_rows([one, two], read)
    assert rows == [
        ("1", "One.", "+3.00 (+2.88 to +3.12)", "confirmed"),
        ("2", "Two.", "", "refuted"),
        ("", "x: above 2", "+3.00 (+2.88 to +3.12)", "confirmed"),
        ("", "y: above 4", "+3.00 (+2.88 to +3.12)", "refuted"),
    ]


# The repository's own store


@pytest.fixture(scope="module")
def stored():
    if missing := outcomes.missing(statements.store()):
        pytest.skip(f"not stored: {missing[0]}")
    return statements.reader(statements.store())


def test_every_statement_and_estimate_can_be_read_from_the_store(stored):
    found = outcomes.outcomes(stored)
    assert sorted(name for names in found.values() for name in names) == sorted(map(str, [*range(1, 11)]))
    assert len(outcomes.estimate_rows(stored)) == len(statements.ESTIMATES)
    assert len(outcomes.side_rows(stored)) == 4
    assert list(outcomes.dial(stored)) == [0, 0.5, 0.75, 1, 1.5]


def test_with_no_spread_left_features_say_what_the_names_say(stored):
    """With none of the spread the comparison reads one of ten vectors per digit, so it cannot do better than names."""
    left, named = outcomes.dial(stored)[0], stored(statements.CLASS_TRAINED, NAMES)
    assert abs(left.mean() - named.mean()) < 0.2
    assert np.corrcoef(left, named)[0, 1] > 0.9


def test_four_extractors_were_each_read_twice_on_the_same_pairs(stored):
    for features, names in outcomes.extractors(stored).values():
        assert features.shape == names.shape == (statements.TRIALS,)
        assert not np.array_equal(features, names)


def test_readings_that_are_not_trained_are_left_out(tmp_path):
    assert outcomes.reading_results(Store(tmp_path)) == {}
    assert outcomes.missing(Store(tmp_path))


def test_readings_have_four_networks_and_both_tables_a_row_each(stored):
    readings = outcomes.reading_results(Store(PREREGISTERED))
    assert "momentum 0.9, weight 0.3" in readings
    for rows in (outcomes.ends(readings), outcomes.curve_rows(readings)):
        assert [row[0] for row in rows] == list(readings)
    known = {name for name in readings if name in statements.READINGS}
    assert set(outcomes.admitted(readings)) <= set(readings) and known


def test_the_sharper_score_is_of_5000_pairs(stored):
    score = stored(statements.WSN_BARE, SCORE)
    assert np.allclose(score * 50, np.rint(score * 50)), "a multiple of 1 / 5,000"
