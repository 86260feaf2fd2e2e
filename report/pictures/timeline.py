"""The figure of what single trials do: they wait, then rise; and what a comparison says if it is made on the way."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from report.pictures.style import COLOURS, GREY, INK, NARROW, SMALL, WIDTH, text
from report.statistics import Array

SHOWN = 10  # trials that have a line of their own: more would be one surface
NOTE: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALL, "color": INK}
SAID = {1: "above", 0: "undecided", -1: "below"}

Sides = Mapping[tuple[str, str], Sequence[ArrayLike]]  # of b − a, by (a, b): slow and fast, each `[epochs]`


def timeline(
    slow: Mapping[str, ArrayLike],
    fast: Mapping[str, ArrayLike],
    sides: Sides,
    clock: float,
    chance: float,
    narrow: bool = False,
) -> Figure:
    """Draw accuracies `[trials, epochs]` of each network in two ways on one axis of time, and comparisons below.

    `clock` slow epochs are as long as one fast one; `sides` are 1 where b is above a after an epoch, −1 where it is
    below, and 0 where that is undecided. `narrow` stacks the panels, for a page as wide as a telephone.
    """
    fig = Figure(figsize=(NARROW, 9.5) if narrow else (WIDTH, 6.2), layout="constrained")
    rows = fig.add_gridspec(2, 1, height_ratios=(6.6 if narrow else 3.6, 0.6 + 0.36 * len(sides)))
    above, below = (fig.add_subfigure(rows[row]) for row in (0, 1))
    axes = above.subplots(*((4, 1) if narrow else (2, 2)), sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, slow, strict=True):
        trainings(ax, name, slow[name], fast[name], clock)
        ax.axhline(chance, color=GREY, lw=0.8, ls=(0, (4, 3)))
        momentum_axis(ax, clock)
    for ax in axes[0]:
        plain_axis(ax, clock)
    for ax in axes[:, 0]:
        ax.set_ylabel("test accuracy (%)")
    axes[0, 0].annotate(f"larger class\n{chance:g} %", (100, chance), (0, -3), ha="right", va="top", **NOTE)
    axes[0, 0].set_ylim(top=axes[0, 0].get_ylim()[1] + 3)  # room for words above the curves
    strip(below.subplots(), sides, clock).set_xlabel("epochs with momentum")
    return fig


def trainings(ax: Axes, name: str, slow: ArrayLike, fast: ArrayLike, clock: float) -> Axes:
    """Draw the first trials thin and the median over all `[trials, epochs]` on top: slow dashed, fast solid."""
    _trials(ax, np.asarray(slow, float), clock, colour=GREY)
    _trials(ax, np.asarray(fast, float), 1.0, colour=COLOURS[name])
    _median(ax, "plain", np.asarray(slow, float), clock, (5, -9), color=INK, ls="--")
    _median(ax, "momentum", np.asarray(fast, float), 1.0, (0, 13), color=COLOURS[name], ha="right")
    ax.set_title(name, loc="left", color=text(COLOURS[name]), weight="bold", pad=3)
    return ax


def _trials(ax: Axes, values: Array, unit: float, colour: str) -> None:
    """Draw the first trials as one line with gaps, which makes a smaller file than a line each."""
    apart = np.pad(values[:SHOWN], ((0, 0), (0, 1)), constant_values=np.nan)
    times = np.tile(np.append(_times(values, unit), np.nan), len(apart))
    ax.plot(times, apart.ravel(), color=colour, lw=0.3, alpha=0.5)


def _median(
    ax: Axes, words: str, values: Array, unit: float, place: tuple[int, int], ha: str = "left", **look: Any
) -> None:
    time, median = _times(values, unit), np.median(values, axis=0)
    ax.plot(time, median, lw=1.6, **look)
    ax.plot(time[-1:], median[-1:], "o", color=look["color"], ms=3.5, clip_on=False, zorder=4)
    ax.annotate(f"{words} {median[-1]:.1f}", (time[-1], median[-1]), place, ha=ha, **NOTE)


def _times(values: Array, unit: float) -> Array:
    return np.asarray(np.arange(1, values.shape[1] + 1) / unit)


def momentum_axis(ax: Axes, clock: float) -> None:
    """Count fast epochs, from the first slow one on."""
    ax.set_xscale("log")
    ax.set_xticks([0.3, 1, 3, 10, 30, 100], ["0.3", "1", "3", "10", "30", "100"])
    ax.minorticks_off()
    ax.set_xlim(0.7 / clock, 125)


def plain_axis(ax: Axes, clock: float) -> None:
    """Count slow epochs above, in their own time."""
    above = ax.secondary_xaxis(
        "top", functions=(lambda x: np.asarray(x, float) * clock, lambda x: np.asarray(x, float) / clock)
    )
    above.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    above.minorticks_off()
    above.tick_params(labelsize=SMALL)
    above.set_xlabel("plain epochs", fontsize=8, loc="left", labelpad=2)


def strip(ax: Axes, sides: Sides, clock: float) -> Axes:
    """Draw what each comparison says after each epoch: a bar up for above, one down for below, a line for undecided."""
    labels = []
    for row, ((a, b), (slow, fast)) in enumerate(sides.items()):
        for half, (words, said, unit) in enumerate((("plain", slow, clock), ("momentum", fast, 1.0))):
            base = -(2.3 * row + half)
            _bars(ax, base, np.asarray(said), unit, {1: b, -1: a})
            labels.append((base, words if half else f"{b} − {a}, {words}"))
    ax.set_yticks([base for base, _ in labels], [words for _, words in labels], fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    momentum_axis(ax, clock)
    ax.set_ylim(base - 0.6, 0.6)
    return ax


def _bars(ax: Axes, base: float, said: NDArray[Any], unit: float, ahead: Mapping[int, str]) -> None:
    after = np.arange(len(said) + 1)
    edges = np.sqrt(np.maximum(after, 0.5) * (after + 1)) / unit  # half-way, as a logarithmic axis has it
    ax.plot(edges[[0, -1]], [base] * 2, color=GREY, lw=0.8)
    for side, name in ahead.items():
        heights = np.where(said == side, 0.38 * side, 0)
        ax.stairs(base + heights, edges, baseline=base, fill=True, color=COLOURS[name], lw=0)
    ax.annotate(SAID[int(said[-1])], (edges[-1], base), (3, 0), va="center", **NOTE)
