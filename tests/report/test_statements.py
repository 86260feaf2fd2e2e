"""The rules by which statements are judged, and that their trainings can be paired."""

import numpy as np
import pytest

from lib import Experiment
from report import statements
from report.statements import ESTIMATES, STATEMENTS, Part, Statement, Term, by_interval, by_signs, interval

A, B = Experiment.parse("SN seed=5"), Experiment.parse("WSN seed=5")
RNG = np.random.default_rng(1)


def around(mean: float, sd: float = 1.0, n: int = 50):
    values = RNG.normal(size=n)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize(
    ("mean", "low", "high", "outcome"),
    [
        (0.0, -0.5, 0.5, "confirmed"),
        (0.2, -0.5, 0.5, "not settled"),  # the half-width is 0.415
        (0.8, -0.5, 0.5, "not settled"),
        (1.0, -0.5, 0.5, "refuted"),
        (-1.0, -0.5, 0.5, "refuted"),
        (8.5, 8.0, np.inf, "confirmed"),
        (8.3, 8.0, np.inf, "not settled"),
        (7.5, 8.0, np.inf, "refuted"),
        (-4.5, -np.inf, -4.0, "confirmed"),
        (-3.5, -np.inf, -4.0, "refuted"),
    ],
)
def test_a_statement_about_a_mean_needs_the_whole_interval(mean, low, high, outcome):
    assert by_interval(around(mean), low, high) == outcome


def test_the_interval_is_students_and_covers_as_often_as_it_says():
    mean, low, high = interval(around(0.0))
    assert mean == pytest.approx(0)
    assert (low, high) == pytest.approx((-0.4157, 0.4157), abs=1e-4)  # t(0.9975; 49) = 2.940
    draws = RNG.normal(size=(4000, 50))
    missed = np.mean([not (each[1] < 0 < each[2]) for each in map(interval, draws)])
    assert 0.002 < missed < 0.009


def test_signs_decide_where_means_describe_no_trial():
    assert by_signs(np.array([-1.0] * 40 + [100.0] * 10), below=True) == "confirmed"
    assert by_signs(np.array([-1.0] * 40 + [100.0] * 10), below=False) == "refuted"
    assert by_signs(np.array([-1.0] * 30 + [1.0] * 20), below=True) == "not settled"
    assert by_signs(np.zeros(50), below=True) == "not settled"


def test_a_statement_holds_if_all_its_parts_do_and_falls_with_one():
    good, bad, open_ = (Part("", (Term(1, A),), low) for low in (-1.0, 1.0, -0.1))
    read = {A: around(0.0)}
    outcomes = [
        Statement("", "", parts).outcome(lambda experiment, value: read[experiment])
        for parts in ((good, good), (good, open_), (good, bad), (open_, bad))
    ]
    assert outcomes == ["confirmed", "not settled", "refuted", "refuted"]


def test_a_contrast_is_taken_trial_by_trial():
    read = {A: np.array([1.0, 2.0]), B: np.array([10.0, 5.0])}
    part = Part("", (*statements.against(A, B), Term(0.5, A)))
    assert part.values(lambda experiment, value: read[experiment]).tolist() == [9.5, 4.0]


def test_ten_statements_whose_contrasts_cancel_what_is_common():
    assert [each.name for each in STATEMENTS] == [str(number) for number in range(1, 11)]
    for part in [*(part for each in STATEMENTS for part in each.parts), *ESTIMATES]:
        assert sum(term.factor for term in part.terms) == pytest.approx(0), part.says
        seeds = {term.experiment.seed for term in part.terms}
        assert seeds == {statements.SEED}
        assert len({term.experiment.test_pairs for term in part.terms}) == 1


def test_the_two_effects_of_statement_5_are_averages_of_four_and_of_two():
    (part,) = STATEMENTS[4].parts
    names, features = np.array([94.0, 95, 97, 98]), np.array([80.0, 84, 86, 88])
    frozen = list(statements.FROZEN.values())
    read = {(each, value): np.array([scores[i]]) for i, each in enumerate(frozen)
            for value, scores in ((statements.NAMES, names), (statements.SCORE, features))}  # fmt: skip
    expected = (names - features).mean() - ((names[3] - names[0]) + (features[3] - features[0])) / 2
    assert part.values(lambda *key: read[key]) == pytest.approx(expected)


def test_every_training_that_a_rule_reads_is_asked_for_once_with_what_it_reads():
    asked = statements.asked()
    assert len(asked) == len(set(asked))
    for part in [*(part for each in STATEMENTS for part in each.parts), *ESTIMATES]:
        for term in part.terms:
            assert term.experiment in asked
            name = "named_score" if term.value == statements.NAMES else term.value
            assert name in statements.measures(term.experiment)


def test_few_and_many_pairs_are_of_the_same_digits_at_equal_updates():
    for few, many in statements.PAIRS.values():
        updates = [each.epochs * each.train_pairs // each.batch_size for each in (few, many)]
        first = [each.first_epochs * each.train_pairs // each.batch_size for each in (few, many)]
        assert updates == [3840, 3840] and first == [1920, 1920]
        assert many.train_digits == 2 * few.train_pairs


def test_a_reading_leaves_out_what_a_network_does_not_read():
    assert statements.reading("WSN", "auxiliary_weight=1 momentum=0.9") == statements.said("WSN", "momentum=0.9")
    assert statements.reading("CAUX", "auxiliary_weight=1").auxiliary_weight == 1
