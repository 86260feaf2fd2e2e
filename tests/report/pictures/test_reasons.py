"""The figures of the statements draw what they are given, and label it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from report.pictures import reasons


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_the_dial_has_a_line_a_trial_their_mean_and_what_needed_no_labels(ax):
    by_spread = {0.0: [97, 98, 99], 0.5: [90, 92, 94], 1.0: [80, 81, 82]}
    reasons.dial(ax, by_spread, {10: [88, 90, 92], 50: [91, 91, 91]})
    assert len(ax.lines) == 3 + 1 + 1
    assert np.allclose(ax.lines[3].get_ydata(), [98, 92, 81])
    assert words(ax) == ["98.0", "92.0", "81.0", "without labels\n90.0 (10 centres)\n91.0 (50 centres)"]


def test_extractors_are_read_in_two_ways(ax):
    reached = {"untrained": ([70, 72], [90, 92]), "trained to compare and to name": ([80, 82], [95, 97])}
    reasons.extractors(ax, reached)
    assert {"71.0", "81.0", "91.0", "96.0", "features", "names"} == set(words(ax))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["untrained", "trained to compare\nand to name"]


def test_a_level_says_what_reaches_it(ax):
    reasons.level(ax, 83.4, "WSN")
    assert words(ax) == ["WSN"] and ax.lines[0].get_ydata()[0] == 83.4
