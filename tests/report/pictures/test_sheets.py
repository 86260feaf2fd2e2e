"""The contact sheet draws each comparison's two means and their standard deviations."""

import re

import numpy as np
import pytest

from report import comparison, study
from report.pictures import curves, sheets, style
from tests.report.test_claims import result


def said(experiment):
    changes = experiment.said()
    return {"name": changes.pop("architecture", experiment.architecture), **changes}


def panel(title, first, second, names=("a", "b")):
    epochs = np.arange(6)
    return sheets.Panel(
        title,
        [
            (name, curves.curve(architecture, 50 + rate * epochs, np.full(6, 2.0), 9))
            for name, (architecture, rate) in zip(names, (first, second), strict=True)
        ],
        "+1.00 (+0.50 to +1.50)",
    )


@pytest.fixture(params=[False, True], ids=["wide", "narrow"])
def drawn(request):
    style.apply()
    rows = {
        "one": [panel("6a", ("SN", 5), ("WSN", 5)), panel("6b", ("WSN", 5), ("SAUX", 6))],
        "two": [panel("7a SN", ("SN", 3), ("SN", 5), ("one-hot", "without"))],
    }
    return sheets.sheet(rows, 55.0, request.param), rows


def test_each_panel_has_both_means_and_one_standard_deviation(drawn):
    fig, rows = drawn
    panels = [each for several in rows.values() for each in several]
    axes = [ax for ax in fig.axes if ax.get_visible()]
    assert len(axes) == len(panels) == 3
    for ax, each in zip(axes, panels, strict=True):
        assert ax.get_title(loc="left") == f"{each.title}: +1.00\n(+0.50 to +1.50)"
        for line, band, (_, one) in zip(ax.lines, ax.collections, each.lines, strict=False):
            assert line.get_ydata() == pytest.approx(one.mean) and line.get_color() == one.colour
            ends = band.get_paths()[0].vertices
            last = ends[ends[:, 0] == len(one.mean), 1]
            assert (last.min(), last.max()) == pytest.approx((one.mean[-1] - 2, one.mean[-1] + 2))
        assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_names_stand_at_the_ends_and_apart(drawn):
    fig, _ = drawn
    fig.canvas.draw()
    for ax in fig.axes:
        names = [text for text in ax.texts if text.get_fontsize() == style.SMALL]
        boxes = [text.get_window_extent() for text in names]
        assert all(not one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert [text.get_text() for text in fig.axes[2].texts] == ["one-hot", "without", "two"]


def test_a_comparison_of_the_study_makes_a_panel():
    by_number = {each.number: each for each in study.COMPARISONS}
    mean = np.linspace(60, 80, study.EXPERIMENTS[0].epochs)
    results = [result(mean=mean, seed=i, trials=4, **said(e)) for i, e in enumerate(study.EXPERIMENTS)]
    known = {each.experiment: each for each in results}
    for number, title, names in (
        ("6a, momentum", "6a", ("SN", "WSN")),
        ("7b", "7b WSN", ("one-hot", "without")),
        ("8c", "8c", ("SAUX", "CAUX")),
        ("9a", "9a SN", ("mixed", "conv.")),
        ("S-CAUX", "S-CAUX", ("mixed", "conv.")),
    ):
        compared = by_number[number]
        found = comparison.panel(compared, results)
        assert (found.title, tuple(name for name, _ in found.lines)) == (title, names)
        difference = comparison.last_difference(known[compared.a], known[compared.b])
        numbers = [float(each) for each in re.findall(r"[+-][\d.]+", found.note.replace("−", "-"))]
        assert numbers == pytest.approx([difference.mean, difference.low, difference.high], abs=0.005)


def test_other_differences_keep_their_names():
    assert comparison.Comparison.of("1", "SN", "SN momentum=0.9").short_names == ("SN", "SN, momentum 0.9")
