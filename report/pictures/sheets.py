"""A contact sheet: every comparison as a small panel, a row per chapter, so that what differs is seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.pictures.curves import Curve
from report.pictures.distance import apart
from report.pictures.style import GREY, INK, NARROW, SMALL, WIDTH, text

DENSE = 20  # epochs that are drawn one by one, for with momentum all happens in them; then every fourth
LEAST = 9.0  # percentage points between the names of two lines


@dataclass(frozen=True)
class Panel:
    """A comparison: what it is called, its two lines with their short names, and its last difference in words.

    These are a number, and its interval in brackets, which stands on a line of its own.
    """

    title: str
    lines: Sequence[tuple[str, Curve]]
    note: str


def sheet(rows: Mapping[str, Sequence[Panel]], chance: float, narrow: bool = False) -> Figure:
    """Draw a row of panels per chapter, or rows of two on a narrow page; all have the same axes."""
    columns = 2 if narrow else max(map(len, rows.values()))
    parts = [
        (chapter * (i == 0), several[i : i + columns])
        for chapter, several in rows.items()
        for i in range(0, len(several), columns)
    ]
    width, high = NARROW if narrow else WIDTH, 0.5 + 1.5 * len(parts)  # inches
    fig = Figure(figsize=(width, high))
    axes = fig.subplots(len(parts), columns, sharex=True, sharey=True, squeeze=False)
    panel = (width - 0.94 - 0.58 * (columns - 1)) / columns  # the width of a panel, with 0.58 inches for names
    fig.subplots_adjust(
        left=0.47 / width,
        right=1 - 0.47 / width,
        bottom=0.36 / high,
        top=1 - 0.53 / high,
        wspace=0.58 / panel,
        hspace=0.92,
    )
    for line, (chapter, panels) in zip(axes, parts, strict=True):
        for ax in line[len(panels) :]:
            ax.set_visible(False)
        for ax, panel in zip(line, panels, strict=False):
            small(ax, panel, chance)
            ax.tick_params(labelsize=SMALL, labelbottom=True)
        line[0].annotate(
            chapter, (0, 1), (-24, 26), "axes fraction", "offset points", fontsize=8, weight="bold", color=INK
        )
    for ax in axes[-1]:
        ax.set_xlabel("epoch", fontsize=SMALL, labelpad=1)
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)", fontsize=SMALL)
    axes[0, 0].set_ylim(top=axes[0, 0].get_ylim()[1] + 3)  # room for names
    return fig


def small(ax: Axes, panel: Panel, chance: float) -> Axes:
    """Draw the mean of each of two lines and its standard deviation over trials; names are at the ends."""
    for (_, one), look in zip(panel.lines, ("-", (0, (3, 1.2))), strict=True):
        n = len(one.mean)
        shown = np.unique([*range(min(n, DENSE)), *range(DENSE, n, 4), n - 1])
        mean, sd = one.mean[shown], one.sd[shown]
        ax.fill_between(shown + 1, mean - sd, mean + sd, color=one.colour, alpha=0.15, lw=0)
        ax.plot(shown + 1, mean, linestyle=look, color=one.colour, lw=1.2)
    ax.axhline(chance, color=GREY, lw=0.7, ls=(0, (4, 3)))
    heights = apart([float(one.mean[-1]) for _, one in panel.lines], LEAST)
    for (name, one), height in zip(panel.lines, heights, strict=True):
        ax.annotate(
            name,
            (len(one.mean), height),
            (3, 0),
            "data",
            "offset points",
            va="center",
            fontsize=SMALL,
            color=text(one.colour),
        )
    ax.set_title(f"{panel.title}: {panel.note}".replace(" (", "\n("), loc="left", fontsize=SMALL, pad=3, color=INK)
    return ax
