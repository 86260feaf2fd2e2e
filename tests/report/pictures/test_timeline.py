"""The figure of single trials draws the medians and the verdicts that it is given, in one time."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.transforms import Bbox

from report import statistics, timecourse
from report.pictures import style, timeline

CLOCK = 4.0


@pytest.fixture(scope="module", params=[False, True], ids=["wide", "narrow"])
def drawn(request):
    style.apply()
    rng = np.random.default_rng(1)
    ends = dict(zip(style.COLOURS, (70, 75, 75, 60), strict=True))
    slow, fast = (
        {name: np.linspace(50, end, epochs) + rng.normal(0, 1, (40, epochs)) for name, end in ends.items()}
        for epochs in (12, 9)
    )
    sides = {(a, b): tuple(timecourse.sides(x[a], x[b]) for x in (slow, fast)) for a, b in itertools.pairwise(ends)}
    fig = timeline.timeline(slow, fast, sides, CLOCK, 55.0, request.param)
    return fig, slow, fast, sides


def test_medians_of_all_trials_lie_on_one_axis_of_time(drawn):
    fig, slow, fast, _ = drawn
    for ax, name in zip(fig.axes, slow, strict=False):
        lines = [line for line in ax.lines if line.get_lw() > 1.5 and len(line.get_xdata()) > 2]
        for line, values, unit in zip(lines, (slow[name], fast[name]), (CLOCK, 1.0), strict=True):
            assert line.get_ydata() == pytest.approx(np.median(values, axis=0))
            assert line.get_xdata() == pytest.approx(np.arange(1, values.shape[1] + 1) / unit)
        assert [line.get_linestyle() for line in lines] == ["--", "-"]
        said = [text.get_text() for text in ax.texts]
        assert {f"plain {np.median(slow[name][:, -1]):.1f}", f"momentum {np.median(fast[name][:, -1]):.1f}"} <= {*said}


def test_single_trials_are_drawn_apart_and_are_the_first(drawn):
    fig, slow, _, _ = drawn
    thin = fig.axes[0].lines[0]
    values = slow["SN"][: timeline.SHOWN]
    apart = np.asarray(thin.get_ydata()).reshape(len(values), -1)
    assert apart[:, :-1] == pytest.approx(values) and np.isnan(apart[:, -1]).all()


def test_bars_are_the_sides_of_the_paired_interval(drawn):
    fig, slow, fast, sides = drawn
    bars = [patch.get_data() for patch in fig.axes[-1].patches]
    colours = [to_hex(patch.get_facecolor(), keep_alpha=False) for patch in fig.axes[-1].patches]
    assert len(bars) == 4 * len(sides)
    expected = [(x, pair, sign) for pair in sides for x in (slow, fast) for sign in (1, -1)]
    seen = set()
    for bar, colour, (values, (a, b), sign) in zip(bars, colours, expected, strict=True):
        intervals = [statistics.paired_difference(*each) for each in zip(values[a].T, values[b].T, strict=True)]
        excluded = [each.low > 0 if sign > 0 else each.high < 0 for each in intervals]
        heights = bar.values - bar.baseline
        assert (heights * sign > 0).tolist() == excluded
        assert colour == style.COLOURS[b if sign > 0 else a]
        seen |= set(excluded)
    assert seen == {True, False}


def test_a_bar_stands_around_its_epoch(drawn):
    fig, slow, _, _ = drawn
    edges = fig.axes[-1].patches[0].get_data().edges
    epochs = np.arange(1, slow["SN"].shape[1] + 1) / CLOCK
    assert (edges[:-1] < epochs).all() and (epochs < edges[1:]).all()


def test_words_are_legible_and_do_not_overlap(drawn):
    fig = drawn[0]
    fig.canvas.draw()
    for ax in fig.axes:
        texts = [t for t in (*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()) if t.get_text()]
        assert all(text.get_fontsize() >= style.SMALL for text in texts)
        for one, other in itertools.combinations([t.get_window_extent() for t in texts], 2):
            assert not Bbox.intersection(one, other)
