"""The forest figure: what each step from one network to the next is worth, under every reading, on one page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.pictures.style import COLOURS, GREY, GRID, INK, NARROW, PAPER, SMALL, WIDTH
from report.statistics import MARGIN, Estimate, signed

TICKS = (-5, -1, 0, 1, 5)  # points; the axis is linear up to 1 and logarithmic beyond


def forest(
    names: Sequence[str],
    groups: Sequence[Mapping[str, Sequence[Estimate]]],
    margin: float = MARGIN,
    narrow: bool = False,
) -> Figure:
    """Draw a panel per step, named in `names`, and a row per reading: the mean, its interval, and the mean in print.

    `groups` of readings stand apart, the first filled and the others hollow; the band is +-`margin`, within which a
    difference is taken for none. `narrow` stacks the panels, for a page as wide as a telephone.
    """
    height = 0.7 + 0.14 * sum(map(len, groups))
    if narrow:  # the means in print stand out at the right
        fig = Figure(figsize=(NARROW - 0.1, height * len(names)), layout="constrained")
        axes = fig.subplots(len(names), 1)
    else:
        fig = Figure(figsize=(WIDTH, height + 0.1), layout="constrained")
        axes = fig.subplots(1, len(names))
    rows = [(reading, several, not number) for number, group in enumerate(groups) for reading, several in group.items()]
    gaps = np.repeat(np.arange(len(groups)) * 0.6, [len(group) for group in groups])
    places = np.arange(len(rows)) + gaps
    everything = [each for _, several, _ in rows for each in several]
    low, high = min(each.low for each in everything), max(each.high for each in everything)
    for column, (ax, name) in enumerate(zip(axes, names, strict=True)):
        colour = COLOURS[name.split(" ")[0]]
        ax.axvspan(-margin, margin, color=GRID, lw=0, zorder=0)
        ax.axvline(0, color=GREY, lw=0.8, zorder=1)
        for place, (_, several, filled) in zip(places, rows, strict=True):
            point(ax, several[column], place, colour, filled)
            beside = {
                "transform": ax.get_yaxis_transform(),
                "ha": "right",
                "va": "center",
                "fontsize": SMALL,
                "color": INK,
            }
            ax.text(1.3, place, signed(several[column].mean), **beside)
        ax.set_xscale("symlog", linthresh=1)
        ax.set(xlim=(1.3 * min(low, -1), 1.3 * max(high, 1)), ylim=(places[-1] + 0.7, -0.7), yticks=places)
        ax.set_xticks(TICKS, [f"{tick}".replace("-", "−") for tick in TICKS])
        ax.minorticks_off()
        ax.set_title(name, loc="left", fontsize=9)
        ax.grid(visible=False)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_yticklabels([reading for reading, *_ in rows] if narrow or not column else [], fontsize=SMALL)
        ax.set_xlabel("points")
    return fig


def point(ax: Axes, estimate: Estimate, place: float, colour: str, filled: bool) -> None:
    """Draw a mean with its interval."""
    how: dict[str, Any] = {"color": colour, "lw": 1.6 if filled else 1.0, "solid_capstyle": "butt"}
    ax.plot([estimate.low, estimate.high], [place, place], **how)
    ax.plot([estimate.mean], [place], "o", ms=5 if filled else 4, mec=colour, mfc=colour if filled else PAPER)
