"""The figure of who errs where: wrong answers by how far apart the two digits are, a line per network."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from report.pictures.style import COLOURS, INK, LINES, MARKS, NARROW, SMALL, WIDTH, text

Row = tuple[ArrayLike, ArrayLike, ArrayLike]  # error, and the ends of its interval, in percent, `[distances]`
LEAST = 0.1  # percent: the bottom of the logarithmic axis


def distance(networks: Mapping[str, Row], narrow: bool = False) -> Figure:
    """Draw the errors with their intervals, and, unless the page is narrow, write them under the axis."""
    fig = Figure(figsize=(NARROW, 3.4) if narrow else (WIDTH, 3.2 + 0.16 * len(networks)))
    ax = fig.subplots()
    errors(ax, networks)
    if narrow:
        ax.set_xlabel("distance of the two digits")
    else:
        written(ax, {name: error for name, (error, _, _) in networks.items()})
    fig.tight_layout(pad=0.4)
    return fig


def errors(ax: Axes, networks: Mapping[str, Row]) -> Axes:
    """Draw a line per network over the distances, a little beside one another, and its name at its end."""
    ends = []
    for shift, (name, (error, low, high)) in zip(
        np.linspace(-0.12, 0.12, len(networks)), networks.items(), strict=True
    ):
        values, bottom, top = (np.asarray(each, float) for each in (error, low, high))
        count, at = len(values), np.arange(len(values)) + shift
        ax.vlines(at, np.maximum(bottom, LEAST), top, color=COLOURS[name], lw=1)
        ax.plot(at, values, linestyle=LINES[name], marker=MARKS[name], color=COLOURS[name], ms=3.5, mew=0, lw=1)
        ends.append((name, at[-1], max(float(values[-1]), LEAST)))
    ax.set(yscale="log", xlim=(-0.4, count - 0.2), ylim=(LEAST, 60), ylabel="wrong answers (%)")
    ax.set_yticks([0.1, 0.3, 1, 3, 10, 30], ["0.1", "0.3", "1", "3", "10", "30"])
    ax.set_xticks(range(count))
    ax.minorticks_off()
    heights = apart([np.log10(end) for _, _, end in ends], 0.13)
    for (name, x, end), height in zip(ends, heights, strict=True):
        ax.annotate(
            name,
            (x, end),
            (count - 0.55, 10**height),
            va="center",
            fontsize=8,
            color=text(COLOURS[name]),
            weight="bold",
        )
    return ax


def written(ax: Axes, values: Mapping[str, ArrayLike]) -> None:
    """Write the values of each network under the axis, in columns."""
    below = ax.get_xaxis_transform()
    for row, (name, several) in enumerate(values.items()):
        place = -0.13 - 0.062 * row
        ax.text(
            -0.5, place, name, transform=below, ha="right", fontsize=SMALL, color=text(COLOURS[name]), weight="bold"
        )
        for x, value in enumerate(np.asarray(several, float)):
            ax.text(x, place, f"{value:.1f}", transform=below, ha="center", fontsize=SMALL, color=INK)
    under = "distance of the two digits, and percent wrong"
    ax.text(0.5, place - 0.09, under, transform=ax.transAxes, ha="center", fontsize=9, color=INK)


def apart(values: Sequence[float], least: float) -> list[float]:
    """Return the values moved so that neighbours are at least so far apart, their middle as near as can be."""
    order = np.argsort(values, kind="stable")
    moved = np.array(values, float)[order]
    for _ in range(100):
        gaps = np.diff(moved)
        close = np.flatnonzero(gaps < least - 1e-9)
        if not close.size:
            break
        for i in close:
            push = (least - (moved[i + 1] - moved[i])) / 2
            moved[i], moved[i + 1] = moved[i] - push, moved[i + 1] + push
    found = np.empty_like(moved)
    found[order] = moved
    return [float(each) for each in found]
