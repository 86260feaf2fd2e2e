"""What is inside a trained network: its filters and the maps it makes of one pair, in its architecture's drawing."""

import copy
import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from lib.architectures import Network
from lib.datasets import IMAGE
from lib.layers import ConvBlock
from lib.trained import Networks
from lib.training import make_network
from report.pictures import diagrams, style
from report.pictures.networks import by
from report.play.answers import Answers
from report.play.shown import NotShownError

ORDER = ("first", "second")
GAP = 0.8  # millimetres between maps


@torch.no_grad()
def looked_into(networks: Networks, trial: int, images: NDArray[np.float32]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return by the name of each convolution block its filters `[out, in, 3, 3]` and its maps `[digits, out, h, w]`.

    Of one trial, and of one pair of `images` `[2, 14, 14]`; an extractor that both digits pass has maps of both.
    """
    looked: dict[str, tuple[Tensor, Tensor]] = {}
    watched = copy.deepcopy(networks)  # hooks of ours are on no network of anybody else's
    stack = watched.stacks[0]
    for name, block in stack.named_modules():
        if isinstance(block, ConvBlock):

            def note(block: nn.Module, inputs: object, maps: Tensor, name: str = name) -> None:
                assert isinstance(block, ConvBlock)
                looked[name] = block.weight[trial].detach(), maps[trial, 0]

            block.register_forward_hook(note)
    watched(torch.from_numpy(images)[None])
    return looked


def inside(networks: Networks, answers: Answers, which: str) -> tuple[Figure, str]:
    """Draw the architecture with the first pair of a kind in it; below it each block's filters and its maps.

    Raises NotShownError for a network that there is no drawing of.
    """
    place = int(next(iter(answers.places(which)), 0))
    e, images = networks.experiment, answers.images[place]
    network: Network = make_network(e, range(1))
    if not diagrams.drawable(network):
        raise NotShownError(f"There is no drawing of {e.name}: only the original's four networks have one.")
    fig = diagrams.draw_architecture(network, e.auxiliary_weight)
    (ax,) = fig.axes
    (_, width), (high, _) = ax.get_xlim(), ax.get_ylim()
    for digit, row in zip(images, diagrams.ROWS, strict=True):
        extent = (2, 2 + IMAGE, row + IMAGE / 2, row - IMAGE / 2)
        ax.imshow(digit, cmap="gray_r", vmin=0, vmax=1, extent=extent, interpolation="nearest", zorder=2.5)
    looked = looked_into(networks, answers.trial, images)
    bottom = high
    for name, (filters, maps) in looked.items():
        fill_sheets(ax, name, maps)
        bottom = drawer(ax, name, filters, maps, bottom + 4, width)
    ax.add_patch(Rectangle((0, high), width, bottom + 2 - high, fc="white", ec="none", zorder=0))
    ax.set(xlim=(0, width), ylim=(bottom + 2, 0), aspect="equal")
    fig.set_size_inches(1.3 * style.WIDTH * width / 160, 1.3 * style.WIDTH * (bottom + 2) / 160)
    first, second = answers.classes[place]
    return fig, (
        f"The drawing of {e.name} with the pair {first} and {second} in it; below it the filters of trial "
        f"{answers.trial} and the maps that they make of the pair: {', '.join(looked)}."
    )


def digits_of(name: str, maps: Tensor) -> list[int]:
    """Return which digits, 0 and 1, a block has maps of: both where they share it, else the one that its name says."""
    return [0, 1] if len(maps) > 1 else [1 if "second" in name else 0]


def fill_sheets(ax: Axes, name: str, maps: Tensor) -> None:
    """Put the strongest of a block's `maps` `[digits, n, h, w]` into the foremost sheet that is drawn of them."""
    sheets = [each for each in ax.patches if isinstance(each, Rectangle) and each.get_label() == by(maps.shape[1:])]
    sheets.sort(key=Rectangle.get_y)  # the first digit's is above
    for digit, several in zip(digits_of(name, maps), maps, strict=True):
        (x, y), side = sheets[digit].get_xy(), sheets[digit].get_width()
        strongest = several[several.sum((1, 2)).argmax()].numpy()
        extent = (x, x + side, y + side, y)
        ax.imshow(strongest, cmap="gray_r", vmin=0, extent=extent, interpolation="nearest", zorder=3.5)


def drawer(ax: Axes, name: str, filters: Tensor, maps: Tensor, top: float, width: float) -> float:
    """Draw the filters of a block and, digit by digit, its maps, below `top`; return the lower edge."""
    size, bound = by(filters.shape[1:]), float(filters.abs().max())
    ax.text(
        2,
        top,
        f"block {int(name.rpartition('.')[2]) + 1} ({name}): {len(filters)} filters, {size}",
        size=8,
        style="italic",
    )
    bottom = row(ax, torch.stack([mosaic(each) for each in filters]), top + 1.5, width, "RdBu_r", -bound, bound)
    for digit, each in zip(digits_of(name, maps), maps, strict=True):
        size = by(each.shape[1:])
        ax.text(2, bottom + 3.5, f"what they make of the {ORDER[digit]} digit: {size}", size=7, color=style.GREY)
        bottom = row(ax, each, bottom + 4.5, width, "gray_r", 0, float(maps.max()) or 1.0)
    return bottom + 2


def mosaic(kernels: Tensor) -> Tensor:
    """Put the kernels of one filter, `[channels, 3, 3]`, into one picture, as nearly square as can be."""
    channels, high, wide = kernels.shape
    columns = math.ceil(math.sqrt(channels))
    rows = math.ceil(channels / columns)
    filled = torch.cat([kernels, kernels.new_zeros(rows * columns - channels, high, wide)])
    return filled.view(rows, columns, high, wide).transpose(1, 2).reshape(rows * high, columns * wide)


def row(ax: Axes, maps: Tensor, top: float, width: float, cmap: str, low: float, high: float) -> float:
    """Draw maps `[n, h, w]` in a row as wide as the sheet, equally scaled; return the lower edge."""
    side = min(8.0, (width - 4 - GAP * (len(maps) - 1)) / len(maps))
    for i, each in enumerate(maps):
        x = 2 + i * (side + GAP)
        extent = (x, x + side, top + side, top)
        ax.imshow(each.numpy(), cmap=cmap, vmin=low, vmax=high, extent=extent, interpolation="nearest", zorder=2)
        ax.add_patch(Rectangle((x, top), side, side, fill=False, ec="0.8", lw=0.4, zorder=3))
    return top + side
