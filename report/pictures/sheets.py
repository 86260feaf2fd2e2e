"""A contact sheet: every comparison as a small panel, a row per chapter, so that what differs is seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.pictures.curves import Curve
from report.pictures.distance import apart
from report.pictures.style import GREY, INK, WIDTH

LEAST = 9.0  # percentage points between the names of two lines


@dataclass(frozen=True)
class Panel:
    """A comparison: what it is called, its two lines with their short names, and its last difference in words."""

    title: str
    lines: Sequence[tuple[str, Curve]]
    note: str


def sheet(rows: Mapping[str, Sequence[Panel]], chance: float) -> Figure:
    """Draw a row of panels per chapter; all have the same axes."""
    columns, high = max(map(len, rows.values())), 0.5 + 1.32 * len(rows)  # inches
    fig = Figure(figsize=(WIDTH, high))
    axes = fig.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    fig.subplots_adjust(left=0.075, right=0.925, bottom=0.36 / high, top=1 - 0.4 / high, wspace=0.42, hspace=0.75)
    for line, (chapter, panels) in zip(axes, rows.items(), strict=True):
        for ax in line[len(panels) :]:
            ax.set_visible(False)
        for ax, panel in zip(line, panels, strict=False):
            small(ax, panel, chance)
            ax.tick_params(labelsize=7, labelbottom=True)
        line[0].annotate(
            chapter, (0, 1), (-24, 16), "axes fraction", "offset points", fontsize=8, weight="bold", color=INK
        )
    for ax in axes[-1]:
        ax.set_xlabel("epoch", fontsize=7, labelpad=1)
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)", fontsize=7)
    axes[0, 0].set_ylim(top=axes[0, 0].get_ylim()[1] + 3)  # room for names
    return fig


def small(ax: Axes, panel: Panel, chance: float) -> Axes:
    """Draw the mean of each of two lines and its standard deviation over trials; names are at the ends."""
    for (_, one), look in zip(panel.lines, ("-", (0, (3, 1.2))), strict=True):
        epochs = np.arange(1, len(one.mean) + 1)
        ax.fill_between(epochs, one.mean - one.sd, one.mean + one.sd, color=one.colour, alpha=0.15, lw=0)
        ax.plot(epochs, one.mean, linestyle=look, color=one.colour, lw=1.2)
    ax.axhline(chance, color=GREY, lw=0.7, ls=(0, (4, 3)))
    heights = apart([float(one.mean[-1]) for _, one in panel.lines], LEAST)
    for (name, one), height in zip(panel.lines, heights, strict=True):
        ax.annotate(
            name, (len(one.mean), height), (3, 0), "data", "offset points", va="center", fontsize=7, color=one.colour
        )
    ax.set_title(f"{panel.title}: {panel.note}", loc="left", fontsize=7, pad=3, color=INK)
    return ax
