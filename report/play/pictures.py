"""Figures to play with, as `Figure` objects: pyplot knows a current figure, and two threads would share it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lib import Experiment
from report.pictures.style import COLOURS, GREY, INK, OTHER
from report.play.answers import Answers, sign
from report.statistics import CHANCE

RIGHT, WRONG = COLOURS["SN"], COLOURS["WSN"]  # told apart by the colour-blind
COLUMNS, SHOWN = 6, 12  # pairs in a row of the gallery, and on a page
CARD = (40, 34)  # width and height of a pair's card, in pixels of the digits


def curves(accuracy: NDArray[np.float64], experiment: Experiment) -> tuple[Figure, str]:
    """Draw the test accuracy so far, `[trials, epochs]` in percent: a thin line per trial, and their mean."""
    fig = Figure(figsize=(6.3, 3.3), layout="constrained")
    ax = fig.add_subplot()
    colour, epochs = COLOURS.get(experiment.architecture, OTHER), np.arange(1, accuracy.shape[1] + 1)
    mark = "." if len(epochs) < 40 else ""
    ax.plot(epochs, accuracy.T, color=colour, lw=0.7, alpha=0.45, marker=mark, ms=3)
    ax.plot(epochs, accuracy.mean(0), color=colour, lw=2, marker=mark)
    ax.axhline(CHANCE, color="0.35", lw=0.8, ls=(0, (4, 3)))
    low = min(50, float(accuracy.min(initial=50)) - 2)
    ax.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(low, 100))
    ax.set_xlim(0.5, max(experiment.epochs, 2) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    trials = f"{len(accuracy)} trial{'s' * (len(accuracy) != 1)}"
    ax.set_title(f"{experiment.name}: each of {trials}, and their mean; dashed: always “≤”", loc="left")
    if not len(epochs):
        return fig, f"No epoch of {experiment.name} is trained yet."
    reached = f"{accuracy[:, -1].mean():.1f} % after epoch {len(epochs)}"
    return fig, f"Test accuracy of {trials} of {experiment.name} over the epochs; their mean is {reached}."


def cards(answers: Answers, which: str, page: int = 1) -> tuple[Figure, str]:
    """Draw pairs of a kind (`Answers.places`) with what the networks say; of the last page where there is none."""
    places = answers.places(which)
    pages = max(1, -(-len(places) // SHOWN))
    page = min(page, pages)
    here = places[(page - 1) * SHOWN : page * SHOWN]
    rows = max(1, -(-len(here) // COLUMNS))
    wide, high = CARD
    fig = Figure(figsize=(8.4, 8.4 / COLUMNS / wide * (rows * high + 8)))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, COLUMNS * wide), ylim=(rows * high, -8))
    accuracy = 100 * answers.correct[answers.trial].mean()
    kind = {"all": "all", "wrong": "wrong", "unsure": "least sure first", "hardest": "the hardest"}.get(which, which)
    title = f"test pairs of trial {answers.trial} ({kind}): {len(places)}, page {page} of {pages}"
    ax.text(2, -2.5, f"{title}; its network is right on {accuracy:.1f} %", size=9, weight="bold")
    for i, place in enumerate(here):
        card(ax, answers, int(place), (i % COLUMNS) * wide, i // COLUMNS * high)
    if not len(here):
        ax.text(2, 8, "There is no such pair.", size=9)
    alt = f"{len(here)} pairs of digits, each with the answers of {len(answers.answers)} networks: {title}."
    return fig, alt


def card(ax: Axes, answers: Answers, place: int, x: float, y: float) -> None:
    """Draw one pair: its digits, what its own network answers, and the confidence of all networks on a line."""
    first, second = answers.classes[place]
    for digit, left in zip(answers.images[place], (x + 2, x + 18), strict=True):
        ax.imshow(digit, cmap="gray_r", vmin=0, vmax=1, extent=(left, left + 14, y + 14, y), interpolation="nearest")
        ax.add_patch(Rectangle((left, y), 14, 14, fill=False, ec="0.8", lw=0.6))
    own, right = answers.trial, answers.correct[:, place]
    colour = RIGHT if right[own] else WRONG
    said = f"says {sign(answers.answers[own, place])}, {100 * answers.confidence[own, place]:.0f} %"
    ax.text(x + 2, y + 17.6, f"{first} {sign(answers.target[place])} {second}", size=8, weight="bold", color=INK)
    ax.text(x + 12, y + 17.6, f"{'✓' if right[own] else '✗'} {said}", size=6.8, color=colour)
    ax.plot((x + 2, x + 32), (y + 22, y + 22), color=GREY, lw=0.6)
    ax.plot((x + 17, x + 17), (y + 20.6, y + 23.4), color=GREY, lw=0.6)
    for colour, chosen in ((RIGHT, right), (WRONG, ~right)):
        leaning = answers.leaning[chosen, place]
        ax.plot(x + 2 + 30 * leaning, np.full(len(leaning), y + 22), "o", ms=3.4, color=colour, alpha=0.6, mew=0)
    mine = x + 2 + 30 * answers.leaning[own, place]
    ax.plot(mine, y + 22, "o", ms=5.5, mfc="none", mec=INK, mew=0.8)
    ax.text(x + 2, y + 26, ">", size=6.5, color=GREY, ha="center")
    ax.text(x + 32, y + 26, "≤", size=6.5, color=GREY, ha="center")
    ax.text(x + 17, y + 26, f"{right.sum()} of {len(right)} right", size=6.5, color=GREY, ha="center")
    if answers.names is not None:
        named = answers.names[own, place].argmax(-1)
        ax.text(x + 2, y + 29.4, f"class head: {named[0]} and {named[1]}", size=6.8, color=INK)


def by_distance(answers: Answers) -> tuple[Figure, str]:
    """Draw the share of right answers by the distance of the two digits: a point per network, and their mean."""
    distance = np.abs(np.diff(answers.classes, axis=1)[:, 0])
    found = [each for each in range(10) if (distance == each).any()]
    shares = np.array([100 * answers.correct[:, distance == each].mean(1) for each in found])  # [distances, networks]
    fig = Figure(figsize=(6.3, 3.0), layout="constrained")
    ax = fig.add_subplot()
    colour = COLOURS.get(answers.experiment.architecture, OTHER)
    ax.plot(found, shares, ".", color=colour, alpha=0.5, ms=6, mew=0)
    ax.plot(found, shares.mean(1), "-o", color=colour, ms=5)
    counts = [int((distance == each).sum()) for each in found]
    ax.set_xticks(found, [f"{each}\n({count})" for each, count in zip(found, counts, strict=True)])
    ax.set(xlabel="distance of the two digits (number of test pairs)", ylabel="right answers (%)", ylim=(None, 102))
    return fig, (
        f"Right answers by the distance of the digits: {shares[0].mean():.0f} % at distance {found[0]}, "
        f"{shares[-1].mean():.0f} % at {found[-1]}."
    )


def by_digits(answers: Answers) -> tuple[Figure, str]:
    """Draw the share of right answers of all networks by both digits of a pair."""
    right, total = np.zeros((10, 10)), np.zeros((10, 10))
    np.add.at(right, tuple(answers.classes.T), answers.correct.mean(0))
    np.add.at(total, tuple(answers.classes.T), 1)
    share = np.divide(100.0 * right, total, out=np.full((10, 10), np.nan), where=total > 0)
    fig = Figure(figsize=(4.4, 3.6), layout="constrained")
    ax = fig.add_subplot()
    shown = ax.imshow(share, vmin=50, vmax=100, cmap="viridis")
    ax.set(xlabel="second digit", ylabel="first digit", xticks=range(10), yticks=range(10))
    ax.grid(False)
    fig.colorbar(shown, label="right answers (%)", extend="min")
    worst = np.unravel_index(np.nanargmin(share), share.shape)
    return fig, (
        f"Right answers by first and second digit; the fewest, {share[worst]:.0f} %, are of {worst[0]} and {worst[1]}."
    )
