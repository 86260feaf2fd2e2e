"""The floor counts what the protocol asks for."""

from itertools import product

import pytest

from lib import Experiment
from report.speed.floor import floor, multiply_adds
from report.speed.plan import NETWORKS


def test_the_multiply_adds_of_wsn_are_those_counted_by_hand():
    # Per digit: 12 x 12 x 16 outputs of 1 x 3 x 3, then 4 x 4 x 32 outputs of 16 x 3 x 3; both digits of a pair.
    first, second = 2 * 12 * 12 * 16 * 9, 2 * 4 * 4 * 32 * 16 * 9
    # The head: 2 x 32 maps of 2 x 2, flattened, to 64, 64, 32 and 2.
    head = 256 * 64 + 64 * 64 + 64 * 32 + 32 * 2
    # Forward, weights' gradient, input's gradient; none for the images, the input of the first convolution.
    expected = {"train": 2 * first + 3 * second + 3 * head, "test": first + second + head}
    assert multiply_adds(Experiment(architecture="WSN")) == expected
    assert expected == {"train": 593_088, "test": 211_520}


def test_multiply_adds_follow_the_architecture_and_not_the_form():
    def count(**fields):
        return multiply_adds(Experiment(**fields))

    for name, one_hot in product(NETWORKS, (True, False)):
        mixed = count(architecture=name, one_hot_encoding=one_hot)
        assert count(architecture=name, one_hot_encoding=one_hot, fully_convolutional=True) == mixed
    wsn = count(architecture="WSN")
    assert count(architecture="SN") == wsn, "two extractors, each for one digit"
    assert count(architecture="SAUX")["test"] - wsn["test"] == 256 * 64 + 64 * 2
    assert count(architecture="CAUX")["train"] - wsn["train"] == 2 * 3 * (128 * 64 + 64 * 10)
    assert wsn["test"] - count(architecture="WSN", one_hot_encoding=False)["test"] == 32


def test_the_floor_takes_two_operations_per_multiply_add():
    e = Experiment.parse("WSN dataset=digits train_pairs=100 test_pairs=50")
    milliseconds = {"train": 2 * 593_088 * 100 / 1e9 * 1e3, "test": 2 * 211_520 * 50 / 1e9 * 1e3}
    assert floor(e, rate=1.0) == pytest.approx(milliseconds)
