"""The forest figure draws the intervals that it is given, and prints their means."""

import matplotlib.pyplot as plt
import pytest

from report.pictures.forest import forest
from report.statistics import Estimate


def test_each_step_is_a_panel_and_each_reading_a_row():
    plain, momentum, other = (
        [Estimate(mean + i, mean + i - 1, mean + i + 1) for i in range(2)] for mean in (0.5, -2.0, 4.0)
    )
    fig, axes = plt.subplots(1, 2)
    forest(axes, ["WSN − SN", "SAUX − WSN"], [{"plain": plain, "momentum": momentum}, {"Adam": other}])
    for column, ax in enumerate(axes):
        lines = [line for line in ax.lines if len(line.get_xdata()) == 2][1:]  # behind the line at 0
        drawn = [tuple(line.get_xdata()) for line in lines]
        assert drawn == [(each[column].low, each[column].high) for each in (plain, momentum, other)]
        marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
        assert [mark.get_xdata()[0] for mark in marks] == [each[column].mean for each in (plain, momentum, other)]
        assert [mark.get_markerfacecolor() == "white" for mark in marks] == [False, False, True]
        low, high = ax.get_xlim()
        assert low <= -3 and high >= 6
    assert [text.get_text() for text in axes[0].texts] == ["+0.50", "−2.00", "+4.00"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["plain", "momentum", "Adam"]
    band = axes[0].patches[0].get_extents().transformed(axes[0].transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.5, 0.5))
    plt.close(fig)
