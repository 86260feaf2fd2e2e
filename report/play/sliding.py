"""A network in its fully convolutional form slides over images that are wider than those it was trained on."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lib.datasets import IMAGE
from lib.trained import Networks
from report.pictures.style import GREY, INK
from report.play.answers import Answers, sign, smaller
from report.play.pictures import RIGHT, WRONG
from report.play.shown import NotShownError

PAIRS = 6  # side by side in the wide image
STEP = 16  # pixels from one pair to the next: a multiple of the network's step, so that a window falls on each
STRIDE = 4  # pixels from one answer to the next: two poolings of 2 x 2


@torch.no_grad()
def answers_along(networks: Networks, trial: int, wide: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the confidence in "first <= second" of one network, `[positions]`, every 4 pixels of `wide`.

    `wide` `[2, 14, width]` in [0, 1] has the first digits above and the second ones below.

    Raises NotShownError where the network has no fully convolutional form.
    """
    try:
        network = networks.trial(trial, fully_convolutional=True)
    except ValueError as error:
        raise NotShownError(f"No sliding: {error}.") from error
    maps = network(torch.from_numpy(wide)[None])["answer"]  # [1, outputs, 1, positions]
    return smaller(maps[0, :, 0].mT).numpy()


def slide(networks: Networks, answers: Answers) -> tuple[Figure, str]:
    """Draw the first test pairs of a trial side by side, and above them what its network says at each position.

    Raises NotShownError where the network has no fully convolutional form.
    """
    n = min(PAIRS, len(answers.images))
    wide = np.zeros((2, IMAGE, STEP * n - (STEP - IMAGE)), np.float32)
    for place in range(n):
        wide[..., STEP * place : STEP * place + IMAGE] = answers.images[place]
    leaning = answers_along(networks, answers.trial, wide)
    at = STRIDE * np.arange(len(leaning)) + IMAGE / 2  # the middle of each window
    fig = Figure(figsize=(8.4, 3.9), layout="constrained")
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(1, 0.62))
    above.plot(at, leaning, "-", color=GREY, lw=1, marker=".", ms=4)
    above.axhline(0.5, color="0.35", lw=0.8, ls=(0, (4, 3)))
    for place in range(n):
        window = STEP * place // STRIDE
        says = bool(leaning[window] > 0.5)
        colour = RIGHT if says == answers.target[place] else WRONG
        above.plot(at[window], leaning[window], "o", ms=7, color=colour)
        first, second = answers.classes[place]
        above.text(at[window], 1.06, f"{first} {sign(answers.target[place])} {second}", ha="center", size=9, color=INK)
    above.set(ylim=(0, 1.2), yticks=(0, 0.5, 1), yticklabels=("“>”", "0.5", "“≤”"), ylabel="the answer leans to")
    below.imshow(
        np.concatenate([wide[0], np.zeros((2, wide.shape[2]), np.float32), wide[1]]),
        cmap="gray_r",
        vmin=0,
        vmax=1,
        aspect="auto",
        extent=(0, wide.shape[2], 2 * IMAGE + 2, 0),
        interpolation="nearest",
    )
    below.set(yticks=(IMAGE / 2, 1.5 * IMAGE + 2), yticklabels=("first", "second"), xlabel="pixel")
    below.grid(False)
    return fig, (
        f"The network of trial {answers.trial} slides over {n} pairs side by side and gives {len(leaning)} answers; "
        "large points are where its window is exactly on a pair."
    )
