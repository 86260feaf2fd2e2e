"""The figures of why names are not used: arrays in, figures out."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from report.pictures.style import COLOURS, GREY, INK, NARROW, SMALL, WIDTH, text

FEATURES, NAMES = COLOURS["WSN"], COLOURS["SN"]  # what the comparison reads
LABELS = {"features": (FEATURES, "o", "-"), "names": (NAMES, "s", "--")}


def level(ax: Axes, value: float, words: str, above: bool = True) -> None:
    """Draw a line at a level that something else reaches, and say what, above it or below."""
    ax.axhline(value, color=GREY, lw=0.8, ls=(0, (4, 3)))
    place = (0.995, value), (0, 2 if above else -2)
    look: dict[str, Any] = {"ha": "right", "va": "bottom" if above else "top", "fontsize": SMALL, "color": INK}
    ax.annotate(words, *place, ("axes fraction", "data"), "offset points", **look)


def dial(
    by_spread: Mapping[float, ArrayLike], unlabelled: Mapping[int, ArrayLike], names: float, narrow: bool = False
) -> Figure:
    """Draw accuracy `[trials]` by the spread that features keep within their class: a thin line a trial, and the mean.

    `unlabelled` is at half the spread, around so many centres that no label chose; `names` what comparing them reaches.
    """
    fig = Figure(figsize=(NARROW, 3.4) if narrow else (WIDTH, 2.8))
    ax = fig.subplots()
    spreads = list(by_spread)
    values = np.array([by_spread[spread] for spread in spreads])  # [spreads, trials]
    ax.plot(spreads, values, color=FEATURES, lw=0.5, alpha=0.25)
    ax.plot(spreads, values.mean(1), color=FEATURES, marker="o", ms=4)
    for spread, mean in zip(spreads, values.mean(1), strict=True):
        above: dict[str, Any] = {"ha": "left", "va": "bottom", "fontsize": 8, "color": INK}
        ax.annotate(f"{mean:.1f}", (spread, mean), (4, 3), textcoords="offset points", **above)
    if unlabelled:
        means = {centres: float(np.asarray(reached).mean()) for centres, reached in unlabelled.items()}
        ax.plot([0.5] * len(means), list(means.values()), "D", ms=4, color=INK)
        words = "\n".join(f"{mean:.1f} ({centres} centres)" for centres, mean in means.items())
        below: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": SMALL, "color": INK}
        place = (0.5, max(means.values())), (16, -10) if narrow else (-8, 4)
        ax.annotate(f"without labels\n{words}", *place, textcoords="offset points", **below)
    within = "spread within their class" if narrow else "spread of the features within their class"
    ax.set(xlabel=f"{within} (1: as learned)", ylabel="accuracy (%)", xticks=spreads)
    level(ax, names, "comparing the names")
    fig.tight_layout(pad=0.4)
    return fig


def extractors(reached: Mapping[str, tuple[ArrayLike, ArrayLike]], whole: float, narrow: bool = False) -> Figure:
    """Draw what is reached on each frozen extractor by reading features, and by reading names: points are trials.

    `whole` is what WSN reaches, of which nothing is frozen.
    """
    fig = Figure(figsize=(NARROW, 3.4) if narrow else (WIDTH, 2.8))
    ax = fig.subplots()
    rng = np.random.default_rng(0)  # of the points' places alone
    places = np.arange(len(reached))
    for kind, shift, values in zip(LABELS, (-0.12, 0.12), zip(*reached.values(), strict=True), strict=True):
        colour, marker, line = LABELS[kind]
        for place, trials in zip(places, values, strict=True):
            beside = place + shift + rng.uniform(-0.06, 0.06, np.size(trials))
            ax.plot(beside, trials, ".", ms=2.5, color=colour, alpha=0.45, mew=0)
        means = [float(np.mean(trials)) for trials in values]
        ax.plot(places + shift, means, line, color=colour, marker=marker, ms=5, lw=1)
        for place, mean in zip(places, means, strict=True):
            below: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8, "color": INK}
            ax.annotate(f"{mean:.1f}", (place + shift, mean), (0, -7), textcoords="offset points", **below)
        ax.annotate(
            kind, (places[-1] + shift, means[-1]), (12, 0), textcoords="offset points", va="center", color=text(colour)
        )
    ax.set_xticks(places, [textwrap.fill(name, 10 if narrow else 19) for name in reached])
    ax.set(
        xlim=(-0.4, len(reached) - (0.1 if narrow else 0.3)), xlabel="the frozen extractor was", ylabel="accuracy (%)"
    )
    level(ax, whole, "WSN, end to end", above=False)
    fig.tight_layout(pad=0.4)
    return fig
