"""The figure of paired differences draws every difference, and the interval that `statistics` gives."""

import numpy as np
import pytest

from report import statistics
from report.pictures import estimation, style

RNG = np.random.default_rng(2)
A = 80 + RNG.normal(0, 2, 60).round(1)


def row(name, shift):
    b = A + shift + RNG.normal(0, 1, len(A)).round(1)
    return ("SN", name, b - A, statistics.paired_difference(A, b))


@pytest.fixture(params=[False, True], ids=["wide", "narrow"])
def drawn(request):
    style.apply()
    readings = {"slow": [row("WSN", 0.4), row("mine:Own", -3)], "fast": [row("CAUX", 1)]}
    fig = estimation.estimation(readings, statistics.MARGIN, request.param)
    return fig, readings


def test_every_difference_is_a_dot_where_it_is(drawn):
    fig, readings = drawn
    for ax, rows in zip(fig.axes, readings.values(), strict=True):
        dots = [line for line in ax.lines if len(line.get_xdata()) == len(A)]
        for line, (_, name, values, _) in zip(dots, rows, strict=True):
            assert line.get_xdata() == pytest.approx(values)
            assert line.get_color() == style.COLOURS.get(name, style.OTHER)


def test_the_interval_drawn_and_written_is_that_of_the_pairs(drawn):
    fig, readings = drawn
    for ax, rows in zip(fig.axes, readings.values(), strict=True):
        bars = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2.2]
        means = [line.get_xdata() for line in ax.lines if line.get_markerfacecolor() == style.PAPER]
        said = {text.get_text() for text in ax.texts}
        for bar, mean, (a, b, _, estimate) in zip(bars, means, rows, strict=True):
            assert bar == pytest.approx([estimate.low, estimate.high]) and mean == pytest.approx([estimate.mean])
            assert {f"{estimate:+.2f short}", f"{b} − {a}", f"±{statistics.MARGIN:g}"} <= said
        band = ax.patches[0]
        assert (band.get_x(), band.get_width()) == pytest.approx((-statistics.MARGIN, 2 * statistics.MARGIN))


def test_dots_are_stacked_where_they_would_touch_and_nowhere_else():
    values = RNG.normal(0, 1, 200).round(1)
    heights = estimation.stacked(values, 0.15)
    for level in np.unique(heights):
        assert (np.diff(np.sort(values[heights == level])) >= 0.15).all()
    assert estimation.stacked([3, 1, 2], 0.5).tolist() == [0, 0, 0]
    assert sorted(estimation.stacked([1, 1, 1], 0.5)) == [0, 1, 2]


def test_words_stay_apart(drawn):
    fig, _ = drawn
    fig.canvas.draw()
    for ax in fig.axes:
        boxes = [text.get_window_extent() for text in (*ax.texts, ax.title, ax._left_title) if text.get_text()]
        assert all(not one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_two_equal_networks_have_a_panel_too():
    same = statistics.paired_difference(A, A)
    fig = estimation.estimation({"one": [("SN", "WSN", A - A, same)]}, statistics.MARGIN)
    assert "+0.00 (+0.00 to +0.00)" in [text.get_text() for text in fig.axes[0].texts]
