"""The figures of the statements draw what they are given, and label it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from report.pictures import reasons, style

NARROW = pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])


def words(ax):
    return [text.get_text() for text in ax.texts]


def inches(fig):
    return fig.get_figwidth()


@NARROW
def test_the_dial_has_a_line_a_trial_their_mean_and_what_needed_no_labels(narrow):
    by_spread = {0.0: [97, 98, 99], 0.5: [90, 92, 94], 1.0: [80, 81, 82]}
    fig = reasons.dial(by_spread, {10: [88, 90, 92], 50: [91, 91, 91]}, 96, narrow)
    [ax] = fig.axes
    assert len(ax.lines) == 3 + 1 + 1 + 1 and inches(fig) == (style.NARROW if narrow else style.WIDTH)
    assert np.allclose(ax.lines[3].get_ydata(), [98, 92, 81])
    found = ["98.0", "92.0", "81.0", "without labels\n90.0 (10 centres)\n91.0 (50 centres)", "comparing the names"]
    assert words(ax) == found


@NARROW
def test_extractors_are_read_in_two_ways(narrow):
    reached = {"untrained": ([70, 72], [90, 92]), "trained to compare and to name": ([80, 82], [95, 97])}
    [ax] = reasons.extractors(reached, 83.0, narrow).axes
    assert {"71.0", "81.0", "91.0", "96.0", "features", "names", "WSN, end to end"} == set(words(ax))
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    second = "trained to\ncompare\nand to\nname" if narrow else "trained to compare\nand to name"
    assert labels == ["untrained", second]


def test_a_level_says_what_reaches_it():
    fig, ax = plt.subplots()
    reasons.level(ax, 83.4, "WSN")
    assert words(ax) == ["WSN"] and ax.lines[0].get_ydata()[0] == 83.4
    plt.close(fig)
