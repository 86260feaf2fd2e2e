"""The report's figures: arrays and axes in, axes out. They compute nothing; their look is in `style`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.pictures.distance import apart
from report.pictures.style import COLOURS, GREY, INK, NARROW, OTHER, RULE, SMALL, WIDTH, text
from report.statistics import Band


@dataclass(frozen=True)
class Curve:
    """One network's test accuracy per epoch, in percent: mean and SD over `n` trials, and the 95 % band of the mean.

    Arrays are `[epochs]`; a single trial has neither SD nor band.
    """

    mean: np.ndarray
    sd: np.ndarray
    n: int
    band: Band | None
    colour: str
    line: Any = "-"  # as matplotlib calls its styles


def curve(
    architecture: str, mean: np.ndarray, sd: np.ndarray, n: int, band: Band | None = None, line: Any = "-"
) -> Curve:
    """Return the curve of an architecture in its own colour; all but the four are grey."""
    return Curve(mean, sd, n, band, COLOURS.get(architecture, OTHER), line)


def pairs(images: np.ndarray, target: Sequence[int], classes: np.ndarray) -> Figure:
    """Show pairs of digits, a pair per column; `images` `[n, 2, 14, 14]`, `target` `[n]`, `classes` `[n, 2]`."""
    n = len(target)
    fig, axes = plt.subplots(2, n, figsize=(6.3, 6.3 / n * 2 + 0.45), squeeze=False)
    for column in range(n):
        for row in range(2):
            ax = axes[row, column]
            ax.imshow(images[column, row], cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.spines[:].set(visible=True, color=RULE)
        first, second = classes[column]
        sign = "≤" if target[column] else ">"
        axes[0, column].set_title(f"{first} {sign} {second}: {target[column]}", fontsize=9)
    fig.tight_layout(pad=0.4)
    return fig


def accuracy(ax: Axes, curves: Sequence[tuple[str, Curve]], chance: float, ends: bool = False) -> Axes:
    """Mean test accuracy per epoch; faint: SD over trials (ddof 1), strong: simultaneous 95 % band of the mean.

    Of more than two curves the bands of the mean alone are drawn. Each of `curves`, at least one, has its line in the
    legend, which stands above the axis, where no curve is: two may have the same name. With `ends` they are named at
    their ends instead, right of the axis.
    """
    lines, labels = [], []
    for name, one in curves:
        epochs = np.arange(1, len(one.mean) + 1)
        if one.n > 1 and len(curves) <= 2:  # more would hide each other
            ax.fill_between(epochs, one.mean - one.sd, one.mean + one.sd, color=one.colour, alpha=0.15, lw=0)
        if one.band is not None and not one.band.sparse.all():
            ax.fill_between(epochs, one.band.low, one.band.high, color=one.colour, alpha=0.35, lw=0)
        lines += ax.plot(epochs, one.mean, linestyle=one.line, color=one.colour)
        labels.append(f"{name} (n = {one.n})")
    ax.axhline(chance, color=GREY, lw=0.8, ls=(0, (4, 3)))
    ax.annotate(
        f"larger class {chance:.1f} %",
        (0.995, chance),
        (0, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=SMALL,
        color=GREY,
    )
    longest = max(len(one.mean) for _, one in curves)
    ax.set(xlabel="epoch", ylabel="test accuracy (%)", xlim=(1, longest))
    if ends:
        low, high = ax.get_ylim()
        heights = apart([float(one.mean[-1]) for _, one in curves], 0.08 * (high - low))
        for (name, one), height in zip(curves, heights, strict=True):
            look: dict[str, Any] = {"color": text(one.colour), "va": "center", "fontsize": 8, "weight": "bold"}
            ax.text(1.01, height, name, transform=ax.get_yaxis_transform(), **look)
        return ax
    # Given by themselves: of labels that lines have, those that begin with an underscore would be left out.
    ax.legend(lines, labels, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, borderpad=0.2)
    return ax


def difference(ax: Axes, band: Band, label: str, colour: str = INK) -> Axes:
    """Mean paired difference per epoch in points, and its simultaneous 95 % band (dotted where too sparse)."""
    epochs = np.arange(1, len(band.centre) + 1)
    ax.axhline(0, color=GREY, lw=0.8)
    ax.fill_between(epochs, band.low, band.high, where=~band.sparse, color=colour, alpha=0.3, lw=0)
    for edge in (band.low, band.high):
        ax.plot(epochs, np.where(band.sparse, edge, np.nan), ":", color=colour, lw=0.8)
    ax.plot(epochs, band.centre, color=colour)
    ax.set(xlabel="epoch", ylabel=label, xlim=(1, len(epochs)))
    return ax


def comparison(
    curves: Sequence[tuple[str, Curve]],
    difference_band: Band,
    difference_label: str,
    chance: float,
    narrow: bool = False,
) -> Figure:
    """Two networks: their accuracy at the left, their paired difference at the right, at the epochs that both have.

    `narrow` has the difference below, for a page as wide as a telephone.
    """
    if narrow:
        fig, (left, right) = plt.subplots(2, 1, figsize=(NARROW, 3.9), sharex=True, height_ratios=(1.25, 1))
        left.tick_params(labelbottom=True)
    else:
        fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.3), sharex=True, width_ratios=(1.25, 1))
    difference(right, difference_band, difference_label)
    accuracy(left, curves, chance)  # last, for the axis that both share ends where the longer one does
    fig.tight_layout(pad=0.4)
    return fig
