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


def test_the_four_have_their_colours_and_all_others_one():
    found = [curve(3, name).colour for name in ("SN", "WSN", "SAUX", "CAUX", "mine:Own", "mine:Other")]
    assert found == [*style.COLOURS.values(), style.OTHER, style.OTHER] and len(set(found)) == 5


def test_light_is_one_standard_deviation_and_dark_the_given_band():
    fig, ax = plt.subplots()
    light, dark = curves.accuracy(ax, {"SN": curve(10)}, 55.0).collections
    assert light.get_alpha() < dark.get_alpha()
    assert edges(light) == pytest.approx((78, 82)) and edges(dark) == pytest.approx((79.5, 80.5))
    assert ax.get_legend_handles_labels()[1] == ["SN (n = 25)"]
    plt.close(fig)


def test_a_comparison_shows_the_longer_one_to_its_end():
    short = curve(5)
    fig = curves.comparison({"a": curve(20), "b": short}, short.band, "difference", 55.0)
    assert [ax.get_xlim() for ax in fig.axes] == [(1, 20), (1, 20)]
    plt.close(fig)
