"""The figure of errors by distance draws and writes what it is given."""

import itertools

import numpy as np
import pytest

from report.pictures import distance, style

SHIFTS = dict(zip(style.COLOURS, (0, 0.1, 0.1, 0.15), strict=True))
ERRORS = {name: np.array([40.0, 20, 5, 0.4]) - shift for name, shift in SHIFTS.items()}


@pytest.fixture
def ax():
    style.apply()
    fig = distance.distance({name: (error, error - 0.3, error + 0.3) for name, error in ERRORS.items()})
    return fig.axes[0]


def test_each_network_has_its_errors_its_line_and_its_numbers(ax):
    said = [text.get_text() for text in ax.texts]
    assert len({line.get_linestyle() + line.get_marker() for line in ax.lines}) == len(ERRORS) == len(ax.lines)
    for line, (name, error) in zip(ax.lines, ERRORS.items(), strict=True):
        assert line.get_ydata() == pytest.approx(error) and line.get_color() == style.COLOURS[name]
        assert np.round(line.get_xdata()).tolist() == [0, 1, 2, 3]
        start = said.index(name, said.index("SN", len(ERRORS)))  # behind the names at the ends of the lines
        assert said[start + 1 : start + 5] == [f"{value:.1f}" for value in error]


def test_intervals_are_drawn_and_end_at_the_axis(ax):
    for bars, error in zip(ax.collections, ERRORS.values(), strict=True):
        ends = [sorted(path.vertices[:, 1]) for path in bars.get_paths()]
        assert ends == [pytest.approx([max(x - 0.3, distance.LEAST), x + 0.3]) for x in error]


def test_words_stay_apart(ax):
    ax.figure.canvas.draw()
    texts = [text for text in (*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 7
    for one, other in itertools.combinations(texts, 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent()), (one, other)


def test_names_are_moved_apart_and_keep_their_order():
    moved = distance.apart([1.0, 1.0, 0.95, 3.0], 0.2)
    assert np.diff(sorted(moved)).min() >= 0.2 - 1e-6 and moved[3] == 3.0
    assert sorted(range(4), key=moved.__getitem__) == [2, 0, 1, 3]
    assert distance.apart([2.0, 1.0], 0.5) == [2.0, 1.0]


def test_a_narrow_page_has_no_numbers_under_the_axis():
    fig = distance.distance({name: (error, error, error) for name, error in ERRORS.items()}, narrow=True)
    assert fig.get_figwidth() == style.NARROW
    assert [text.get_text() for text in fig.axes[0].texts] == list(ERRORS)
