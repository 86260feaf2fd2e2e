"""The figure of paired differences: every trial's as a dot, their mean and its interval under the dots, in numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from report.pictures.style import COLOURS, GREY, INK, NARROW, OTHER, PAPER, SMALL, WIDTH
from report.statistics import Array, Estimate

ACROSS = 110  # dots that have room in a row of a panel
ACROSS_AXES = ("axes fraction", "data")
NOTE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": INK}
Row = tuple[str, str, ArrayLike, Estimate]  # names of a and b, b − a of each trial `[trials]`, and what they say


def estimation(readings: Mapping[str, Sequence[Row]], margin: float, narrow: bool = False) -> Figure:
    """Draw a panel per reading, each with a scale of its own, and in it a row per comparison, as `differences` does."""
    rows = [len(each) for each in readings.values()]
    fig = Figure(
        figsize=(NARROW if narrow else WIDTH, 0.5 + sum(0.4 + (0.8 if narrow else 0.56) * each for each in rows))
    )
    axes = fig.subplots(len(rows), 1, height_ratios=rows, squeeze=False)
    for ax, (reading, several) in zip(axes.flat, readings.items(), strict=True):
        differences(ax, several, margin, narrow).set_title(reading, loc="left", pad=12)
    axes[-1, 0].set_xlabel(
        "difference after the last epoch (points),\neach panel with its own scale"
        if narrow
        else "difference after the last epoch (points), each panel with its own scale"
    )
    fig.tight_layout(pad=0.4, h_pad=1)
    return fig


def differences(ax: Axes, rows: Sequence[Row], margin: float, narrow: bool = False) -> Axes:
    """Draw the differences of each trial as dots, one upon the other, and under them the interval around the mean.

    Names and numbers are beside them, or below them where it is narrow.
    """
    ax.axvspan(-margin, margin, color=GREY, alpha=0.22, lw=0)
    ax.axvline(0, color=GREY, lw=0.8)
    everything = np.concatenate([np.asarray(values, float) for _, _, values, _ in rows])
    width = max(float(np.ptp(everything)), 2 * margin) / (ACROSS / 2 if narrow else ACROSS)
    for base, (a, b, values, estimate) in zip(range(0, -len(rows), -1), rows, strict=True):
        heights = stacked(values, width)
        step = min(0.075, (0.45 if narrow else 0.6) / max(1.0, float(heights.max())))
        colour = COLOURS.get(b, OTHER)
        ax.plot(np.asarray(values, float), base + step * heights, "o", color=colour, ms=2.4, mew=0)
        ax.plot([estimate.low, estimate.high], [base - 0.14] * 2, color=INK, lw=2.2, solid_capstyle="butt")
        ax.plot([estimate.mean], [base - 0.14], "o", color=INK, mfc=PAPER, ms=4, mew=1)
        below, sides = (0.32, ("left", "right")) if narrow else (0.14, ("right", "left"))
        ax.annotate(f"{b} − {a}", (0, base - below), (-4, 0), ACROSS_AXES, ha=sides[0], fontsize=8, **NOTE)
        ax.annotate(f"{estimate:+.2f short}", (1, base - below), (4, 0), ACROSS_AXES, ha=sides[1], fontsize=8, **NOTE)
    ax.annotate(f"±{margin:g}", (0, 1), (0, 6), ("data", "axes fraction"), ha="center", fontsize=SMALL, **NOTE)
    ax.set(yticks=[], ylim=(0.4 - len(rows), 0.75))
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    return ax


def stacked(values: ArrayLike, width: float) -> Array:
    """Return the row of each of `values`: the lowest in which the dot left of it is at least `width` away."""
    values = np.asarray(values, float)
    heights = np.zeros(len(values))
    rows: list[float] = []  # the last dot of each
    for i in np.argsort(values, kind="stable"):
        free = (row for row, last in enumerate(rows) if values[i] - last >= width)
        if (row := next(free, len(rows))) == len(rows):
            rows.append(values[i])
        rows[row] = values[i]
        heights[i] = row
    return heights
