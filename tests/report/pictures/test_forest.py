"""The forest figure draws the intervals that it is given, and prints their means."""

import pytest

from report.pictures import style
from report.pictures.forest import forest
from report.statistics import Estimate


def test_each_step_is_a_panel_and_each_reading_a_row():
    plain, momentum, other = (
        [Estimate(mean + i, mean + i - 1, mean + i + 1) for i in range(2)] for mean in (0.5, -2.0, 4.0)
    )
    axes = forest(["WSN − SN", "SAUX − WSN"], [{"plain": plain, "momentum": momentum}, {"Adam": other}]).axes
    for column, ax in enumerate(axes):
        lines = [line for line in ax.lines if len(line.get_xdata()) == 2][1:]  # behind the line at 0
        drawn = [tuple(line.get_xdata()) for line in lines]
        assert drawn == [(each[column].low, each[column].high) for each in (plain, momentum, other)]
        marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
        assert [mark.get_xdata()[0] for mark in marks] == [each[column].mean for each in (plain, momentum, other)]
        assert [mark.get_markerfacecolor() == style.PAPER for mark in marks] == [False, False, True]
        low, high = ax.get_xlim()
        assert low <= -3 and high >= 6
    assert [text.get_text() for text in axes[0].texts] == ["+0.50", "−2.00", "+4.00"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["plain", "momentum", "Adam"]
    assert not axes[1].get_yticklabels()[0].get_text()
    band = axes[0].patches[0].get_extents().transformed(axes[0].transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.5, 0.5))


def test_panels_that_are_stacked_all_name_their_readings():
    axes = forest(["WSN − SN", "SAUX − WSN"], [{"plain": [Estimate(1, 0, 2), Estimate(2, 1, 3)]}], narrow=True).axes
    assert axes[0].get_position().y0 > axes[1].get_position().y0
    assert [ax.get_yticklabels()[0].get_text() for ax in axes] == ["plain", "plain"]
