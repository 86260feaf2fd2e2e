"""Figures draw the numbers that they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from report.pictures import curves, style
from report.statistics import Band


def curve(epochs, architecture="SN"):
    mean, sd = np.linspace(60, 80, epochs), np.full(epochs, 2.0)
    band = Band(mean, mean - 0.5, mean + 0.5, np.zeros(epochs, dtype=bool), 2.5)
    return curves.curve(architecture, mean, sd, 25, band)


def edges(area):
    """Lower and upper edge of a filled area at the last epoch."""
    ends = area.get_paths()[0].vertices
    return ends[ends[:, 0] == ends[:, 0].max(), 1].min(), ends[:, 1].max()


def legend(ax):
    """Text and colour of each entry that the legend shows."""
    shown = ax.get_legend()
    handles = [handle.get_color() for handle in shown.legend_handles]
    return list(zip([text.get_text() for text in shown.get_texts()], handles, strict=True))


def test_the_four_have_their_colours_and_all_others_one():
    found = [curve(3, name).colour for name in ("SN", "WSN", "SAUX", "CAUX", "mine:Own", "mine:Other")]
    assert found == [*style.COLOURS.values(), style.OTHER, style.OTHER] and len(set(found)) == 5


def test_light_is_one_standard_deviation_and_dark_the_given_band():
    fig, ax = plt.subplots()
    light, dark = curves.accuracy(ax, [("SN", curve(10))], 55.0).collections
    assert light.get_alpha() < dark.get_alpha()
    assert edges(light) == pytest.approx((78, 82)) and edges(dark) == pytest.approx((79.5, 80.5))
    assert legend(ax) == [("SN (n = 25)", style.COLOURS["SN"])]
    plt.close(fig)


@pytest.mark.parametrize(
    "names", [("Mine", "Mine"), ("_Mine", "SN"), ("_nolegend_", "__", "_Mine"), ("SN", "WSN", "SN", "WSN", "SN")]
)
def test_every_curve_is_drawn_and_named_whatever_its_name(names):
    several = [(name, curve(10 + i, tuple(style.COLOURS)[i % 4])) for i, name in enumerate(names)]
    fig = curves.comparison(several, several[0][1].band, "difference", 55.0)
    above = fig.axes[0]
    assert legend(above) == [(f"{name} (n = 25)", one.colour) for name, one in several]
    lines = [line.get_ydata().tolist() for line in above.get_lines()[: len(several)]]
    assert lines == [one.mean.tolist() for _, one in several]
    fig.canvas.draw()
    box = above.get_legend().get_window_extent()
    inside = [text for text in above.get_legend().get_texts() if box.contains(*text.get_window_extent().p0)]
    assert len(inside) == len(several)
    assert box.y0 >= above.get_window_extent().y1 - 1, "the legend is where curves can be"
    plt.close(fig)


def test_four_curves_have_the_bands_of_their_means_alone_and_names_at_their_ends_apart():
    style.apply()
    fig, ax = plt.subplots(figsize=(style.WIDTH, 2.4))
    several = [(name, curve(20, name)) for name in style.COLOURS]  # all end alike
    curves.accuracy(ax, several, 55.0, ends=True)
    assert [edges(area) for area in ax.collections] == [pytest.approx((79.5, 80.5))] * 4
    assert ax.get_legend() is None
    fig.tight_layout(pad=0.4)
    names = [each for each in ax.texts if each.get_text() in style.COLOURS]
    boxes = [each.get_window_extent() for each in names]
    assert len(boxes) == 4 and all(ax.bbox.x1 < box.x0 and box.x1 <= fig.bbox.x1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    plt.close(fig)


def test_a_narrow_comparison_has_the_difference_below_and_text_of_ten_pixels():
    style.apply()
    one = curve(20)
    fig = curves.comparison([("SAUX", one), ("SAUX without one-hot labels", one)], one.band, "d", 55.0, narrow=True)
    above, below = fig.axes
    assert fig.get_figwidth() == style.NARROW and below.get_position().y1 < above.get_position().y0
    fig.canvas.draw()
    assert min(text.get_fontsize() for text in fig.findobj(plt.Text) if text.get_text()) >= style.SMALL
    assert above.get_legend().get_window_extent().x1 <= fig.bbox.x1, "the legend is wider than the figure"
    plt.close(fig)


def test_a_comparison_shows_the_longer_one_to_its_end():
    short = curve(5)
    fig = curves.comparison([("a", curve(20)), ("b", short)], short.band, "difference", 55.0)
    assert [ax.get_xlim() for ax in fig.axes] == [(1, 20), (1, 20)]
    plt.close(fig)
