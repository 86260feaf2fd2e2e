"""Figures 2-5: an architecture, drawn from its own modules.

`read` sends example pairs through a network and notes what each of its children, the lanes, reads and makes. Drawing,
table and alternative text come from these notes alone, for networks from outside `lib` as well.
"""

import copy
import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor, nn

from lib.architectures import IMAGE, Network
from lib.layers import Conv2d, ConvBlock, Flatten, Linear
from report.pictures import style

PAIRS = 3  # examples
ANSWERS = {"comparison": "first ≤ second?", "digits": "class of each digit"}  # by task


@dataclass
class Layer:
    """A layer and the activation behind it: its operations in words, its parameters in one trial, what it makes."""

    module: nn.Module
    words: list[str]
    parameters: int
    shape: tuple[int, ...]  # of the output, for one item: channels, height, width; or features

    @property
    def is_map(self) -> bool:
        """Whether the output has more than one position."""
        return len(self.shape) == 3 and self.shape[1:] != (1, 1)


@dataclass
class Lane:
    """A child of a network: what it reads, and where its output goes."""

    name: str
    reads: tuple[int, ...]  # shape of one item
    digits: int  # 2: both, one after the other; 1: one of them; 0: the pair at once
    auxiliary: bool
    answers: str = ""  # the question that its output answers, if it is an output of the network
    layers: list[Layer] = field(default_factory=list)


def read(network: Network) -> list[Lane]:
    """Return the lanes of `network` in the order in which pairs pass them, auxiliary ones last; it stays as it is."""
    network = copy.deepcopy(network).eval()
    trials, calls = network.sizes.trials, {}
    for module in network.modules():
        module.register_forward_hook(
            lambda module, x, y: calls.setdefault(module, []).append((x[0], y if isinstance(y, Tensor) else y[0]))
        )
    like = next(network.parameters())
    with torch.no_grad():
        outputs = network(torch.zeros(trials, PAIRS, 2, IMAGE, IMAGE, dtype=like.dtype, device=like.device))
    names = {child: name for name, child in network.named_children()}
    lanes, of_one = [], []  # and what was made of one digit
    for child in (module for module in calls if module in names):
        x, y = calls[child][0][0], calls[child][-1][1]
        passes = len(calls[child]) * x.numel() // math.prod(_item(x)) // (trials * PAIRS)
        one = _item(x) == (1, IMAGE, IMAGE) or any(_same(x, made) for made in of_one)
        lane = Lane(names[child], _item(x), passes if passes > 1 else int(one), _same(y, outputs.auxiliary))
        of_one += [y] if lane.digits == 1 else []
        if lane.auxiliary or _same(y, outputs.answer):
            lane.answers = ANSWERS.get(network.auxiliary_task if lane.auxiliary else "comparison", lane.name)
        leaves = [module for module in child.modules() if module in calls and not list(module.children())]
        for module in leaves or [child]:
            parameters = sum(p.numel() for p in module.parameters()) // trials
            before, after = map(_item, calls[module][0])
            if parameters or isinstance(module, Flatten) or not lane.layers:
                lane.layers.append(Layer(module, [], parameters, after))
            lane.layers[-1].words += _words(module, before, after)
            lane.layers[-1].shape = after
        lanes.append(lane)
    return sorted(lanes, key=lambda lane: lane.auxiliary)


def _item(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[2:][-3:])  # without trials, batch and, where there is one, the axis of the digits


def _same(x: Tensor, y: Tensor | None) -> bool:
    return y is not None and x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()  # a view is the same


def _words(module: nn.Module, before: tuple[int, ...], after: tuple[int, ...]) -> list[str]:
    if isinstance(module, ConvBlock):
        kernel = module.weight.shape[-1]
        pool = (before[-1] - kernel + 1) // after[-1]
        return [f"conv {kernel}×{kernel}", "batch norm", f"max pool {pool}×{pool}", "ReLU"]
    if isinstance(module, Conv2d):
        return [f"conv {_by(module.weight.shape[-2:])}"]
    return [type(module).__name__]


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def describe(network: Network) -> list[tuple[str, str, str, int]]:
    """Return a row (part, layer, output shape, parameters in one trial) per layer, in the order of the computation."""
    rows = [
        (lane.name, ", ".join(layer.words), _by(layer.shape), layer.parameters)
        for lane in read(network)
        for layer in lane.layers
    ]
    rest = network.parameters_per_trial - sum(parameters for *_, parameters in rows)
    return rows + ([("other", "parameters outside these layers", "", rest)] if rest else [])


def alt_text(network: Network) -> str:
    """Say in words what the drawing shows."""
    reads = {0: "reads the pair", 1: "reads one digit", 2: "reads both digits, one after the other,"}
    parts = [
        f"{lane.name} {reads.get(lane.digits, 'reads parts of the pair')} "
        + ("for training only " if lane.auxiliary else "")
        + f"and makes {', '.join(_by(layer.shape) for layer in lane.layers)}"
        + (f" ({lane.answers})" if lane.answers else "")
        for lane in read(network)
    ]
    name, total = type(network).__name__, network.parameters_per_trial
    return f"Diagram of {name} from left to right, layer by layer: {'; '.join(parts)}. It has {total:,} parameters."


# One millimetre in print is one unit, y runs down, and a pixel of an image or a map is one millimetre wide.
ROWS, MIDDLE = (19.5, 45.5), 32.5  # where the first digit, the second digit and the pair pass
TOP, BOTTOM = 7.0, 55.0  # edges of the lanes that use both rows
BLOCK, MAP, BAR, BAR_MAP = 18.6, 11.6, 10.6, 13.25  # least widths: a layer and the maps behind it; columns of bars
CONV, FIRST, SECOND = "#D9E7F2", "#B4CFE5", "#6E9DC6"  # and the maps of the first and of the second digit
FILLS = {ConvBlock: CONV, Conv2d: CONV, Linear: "#F4DBB3", Flatten: "#FFFFFF"}
LINE, DASHES = "#4A5560", (0, (2.5, 1.8))
THREE = ((4, 4), (5.5, 2.8), (8, 2.6), (9.6, 4), (9.2, 5.8), (7, 6.8), (9.6, 7.8), (10, 9.8), (8, 11.4), (4, 10.6))
SEVEN = ((3.5, 3), (10.3, 3), (9, 6), (7.3, 9), (6.2, 11.5))


def draw_architecture(
    network: Network, images: np.ndarray | None = None, auxiliary_weight: float | None = None
) -> Figure:
    """Draw `network` from its modules, 16 cm wide in print (more with more layers).

    `images` is the pair at the left, `[2, 14, 14]` with values from 0 to 1 (without: a 3 and a 7 drawn here);
    `auxiliary_weight` is the factor of the auxiliary loss, where the figure should name it.
    """
    with matplotlib.rc_context(style.RC):
        return _Diagram(network).draw([_digit(THREE), _digit(SEVEN)] if images is None else images, auxiliary_weight)


def _digit(corners: Sequence[tuple[float, float]]) -> np.ndarray:
    points = np.concatenate([np.linspace(a, b, 30) for a, b in itertools.pairwise(corners)])
    y, x = np.mgrid[:IMAGE, :IMAGE] + 0.5
    return np.clip(1.6 - np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1]).min(-1), 0, 1)


class _Diagram:
    """Lanes of single digits at the left, then those of the pair; below them the auxiliary ones."""

    def __init__(self, network: Network) -> None:
        self.network, self.lanes = network, read(network)
        sizes = [math.prod(layer.shape) for lane in self.lanes for layer in lane.layers if not layer.is_map]
        self.widest = max(256, *sizes, 0)  # features of the highest bar
        self.fig = Figure()
        self.ax = self.fig.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()

    def draw(self, images: Sequence[np.ndarray], weight: float | None) -> Figure:
        for row, image, label in zip(ROWS, images, ("first", "second"), strict=True):
            edges = np.arange(IMAGE + 1)
            self.ax.pcolormesh(
                edges + 2, edges + row - 7, image, cmap="gray_r", vmin=0, vmax=1, ec="face", lw=0.1, clip_on=False
            )
            self.ax.add_patch(Rectangle((2, row - 7), IMAGE, IMAGE, fc="none", ec=style.GREY, lw=0.7, zorder=3))
            self.text(9, row + 10, label)

        ends, shape, singles = [16.0, 16.0], (1, IMAGE, IMAGE), 0  # how far each digit has come, and as what
        forks = {shape: 17.5}  # where a line can branch off, by what it carries there
        for lane in (lane for lane in self.lanes if lane.digits and not lane.auxiliary):
            which = [0, 1] if lane.digits > 1 else [singles % 2]
            singles += lane.digits == 1
            start = max(ends[i] for i in which) + 4
            edges = (ROWS[which[0]] + TOP - ROWS[0], ROWS[which[-1]] + BOTTOM - ROWS[1])
            last = self.lane(lane, start, [ROWS[i] for i in which], [ends[i] for i in which], edges)
            if lane.digits > 1:
                self.text((start + last) / 2, BOTTOM + 3.2, "shared weights, one digit after the other")
            ends, shape = [last if i in which else end for i, end in enumerate(ends)], lane.layers[-1].shape
            forks[shape] = last + 1.5

        main = [lane for lane in self.lanes if not lane.digits and not lane.auxiliary]
        joined = main[0].reads if main else (2 * shape[0], *shape[1:])
        meet = max(ends) + 3
        x = meet + max(8.5, joined[-1] / 2 + 3 if len(joined) == 3 else 0)
        for end, row in zip(ends, ROWS, strict=True):
            self.line((end, row), (meet, row), (meet, MIDDLE))
        operation = "concatenate" if joined[0] == 2 * shape[0] else "combine"
        left, last = self.output(x, MIDDLE, joined, [FIRST, SECOND], operation)
        self.line((meet, MIDDLE), (left, MIDDLE), arrow=True)
        right = max(x + 5.2, last + 1)
        for lane in main:
            last = right = self.lane(lane, right + 3, [MIDDLE], [last], (TOP, BOTTOM))
        if not any(lane.answers for lane in main):
            self.line((last, MIDDLE), (right + 4, MIDDLE), arrow=True)
            self.text(right + 12, MIDDLE, textwrap.fill(ANSWERS["comparison"], 10), weight="bold")
            right += 18

        bottom = BOTTOM
        for lane in (lane for lane in self.lanes if lane.auxiliary):
            edges, row, fork = (bottom + 3, bottom + 39.5), bottom + 20, forks.get(lane.reads, x) if lane.digits else x
            self.line((fork, ROWS[0] if lane.digits else MIDDLE + 3), (fork, row), dashed=True)
            self.ax.plot([fork] * lane.digits, ROWS[: lane.digits], "o", color=LINE, ms=2.5, mew=0)
            right = max(right, self.lane(lane, x + 8.2, [row], [fork], edges))
            note = "helps training only" + ("" if weight is None else f", loss × {weight:g}")
            self.text(min(fork, meet) - 4, row, note + "\none digit after the other" * (lane.digits > 1), ha="right")
            bottom = edges[1]
        return self.finish(max(160, right + 2), max(bottom, BOTTOM + 4) + 1)

    def finish(self, width: float, height: float) -> Figure:
        """Write name and number of parameters above all, and cut the sheet to its size."""
        name, modules = type(self.network).__name__, [layer.module for lane in self.lanes for layer in lane.layers]
        form = "fully convolutional, " if all(isinstance(module, ConvBlock | Conv2d) for module in modules) else ""
        total = f"{form}{self.network.parameters_per_trial:,} parameters (grey: in each layer)"
        self.box(2, 1.4, 2.6, 2.6, style.COLOURS.get(name, style.GREY), edge="none")
        self.text(6, 3.9, name, 9.5, ha="left", weight="bold")
        self.text(width - 2, 3.9, total, ha="right", color=style.GREY)
        self.ax.add_patch(Rectangle((0, 0), width, height, fc="white", ec="none", zorder=0))
        self.ax.set(xlim=(0, width), ylim=(height, 0))
        self.fig.set_size_inches(style.WIDTH * width / 160, style.WIDTH * height / 160)
        return self.fig

    def lane(self, lane: Lane, x: float, rows: list[float], ends: list[float], edges: tuple[float, float]) -> float:
        """Draw a lane from `x` on, between `edges`; `rows` pass, drawn up to `ends`. Return where it ends."""
        start, middle, dashed = x, (rows[0] + rows[-1]) / 2, lane.auxiliary
        answer = textwrap.wrap(lane.answers, 10)
        for layer in lane.layers:
            fill = matplotlib.colors.to_rgba(FILLS.get(type(layer.module), "#E4E7EA"), 0.5 if dashed else 1)
            number, size = f"{layer.parameters:,}" if layer.parameters else "", _by(layer.shape)
            words = max(1.45 * max(map(len, layer.words)) + 0.4, 1.5 * len(number) + 0.6)  # about their width
            if layer.is_map or (lane.digits and not dashed):
                block, maps = max(BLOCK, words), max(MAP, 1.65 * len(size) + 1.5)
                x, top = x + 2, middle - 1.5 * len(layer.words) + (0.5 if number else 2.4)
                self.box(x, rows[0] - 8, block, rows[-1] - rows[0] + 16, fill, dashed)
                self.text(x + block / 2, top, "\n".join(layer.words))
                self.text(x + block / 2, top + 3 * len(layer.words) + 0.3, number, color=style.GREY)
                at = x + block + maps / 2
                for i, row in enumerate(rows):
                    colours = [(FIRST, SECOND)[row == ROWS[1]]] if lane.digits else [FIRST, SECOND]
                    left, right = self.output(at, row, layer.shape, colours)
                    self.line((ends[i], row), (x, row), arrow=True, dashed=dashed)
                    self.line((x + block, row), (left, row), arrow=True, dashed=dashed)
                    if len(rows) > 1:
                        self.ax.plot((x, x + block), (row, row), color=LINE, lw=0.8, ls=":", zorder=2.5)
                ends, x = [right] * len(rows), x + block + maps - 1.6
            else:
                row, high = rows[0], self.height(layer.shape)
                column = max(BAR_MAP if len(layer.shape) == 3 else BAR, words, 1.75 * len(size) + 0.4)
                if answer and layer is lane.layers[-1]:
                    column = max(column, 1.5 * max(map(len, answer)))
                at, x = x + 1 + column / 2, x + column
                self.box(at - 1.6, row - high / 2, 3.2, high, fill, dashed)
                self.line((ends[0], row), (at - 1.6, row), arrow=True, dashed=dashed)
                self.text(at, row - high / 2 - 1.1, size, 7.5)
                self.text(at, row + 11, "\n".join(layer.words))
                self.text(at, row + 17.7, number, color=style.GREY)
                ends = [at + 1.6]
        if lane.answers:
            self.text(at, rows[0] - 10, "\n".join(answer), weight="bold")
        else:
            for end, row in zip(ends, rows, strict=True):
                self.line((end, row), (x + 2, row))
        x = max(x + 2, start + 1.5 * len(lane.name) + 3)
        width, height = x - start, edges[1] - edges[0]
        self.box(start, edges[0], width, height, "none" if dashed else style.PALE, dashed, "#C9CFD5", 0.2)
        self.text(start + 2, edges[0] + 3, lane.name, ha="left", style="italic")
        return x

    def output(
        self, x: float, y: float, shape: tuple[int, ...], fills: list[str], operation: str = ""
    ) -> tuple[float, float]:
        """Draw what a layer makes, or `operation` above it: a sheet per 8 channels, or a bar; return its edges."""
        channels, high, wide = shape if len(shape) == 3 else (1, self.height(shape), 2.0)
        n, step = min(10, max(len(fills) if len(shape) == 3 else 1, math.ceil(channels / 8))), 0.65
        rise = step * (n - 1)
        for i in reversed(range(n)):
            corner = (x - (wide + rise) / 2 + step * i, y - high / 2 + rise / 2 - step * i)
            self.ax.add_patch(Rectangle(corner, wide, high, fc=fills[i * len(fills) // n], ec=LINE, lw=0.5, zorder=3))
        if operation:
            self.text(x, y - max(8, (high + rise) / 2 + 4.2), f"{operation}\n{_by(shape)}")
        else:
            self.text(x, y + max(7, (high + rise) / 2 + 3), _by(shape))
        return x - (wide + rise) / 2, x + (wide + rise) / 2

    def height(self, shape: tuple[int, ...]) -> float:
        return max(1.2, 15 * math.sqrt(math.prod(shape) / self.widest))

    def box(
        self, x: float, y: float, width: float, height: float, fill: Any, dashed=False, edge=LINE, zorder=2.0
    ) -> None:
        shape = f"round,pad=0,rounding_size={min(0.8, width / 4, height / 4)}"
        kind = DASHES if dashed else "-"
        self.ax.add_patch(
            FancyBboxPatch((x, y), width, height, shape, fc=fill, ec=edge, lw=0.7, ls=kind, zorder=zorder)
        )

    def line(self, *points: tuple[float, float], arrow: bool = False, dashed: bool = False) -> None:
        self.ax.plot(*zip(*points, strict=True), color=LINE, lw=0.8, ls=DASHES if dashed else "-", zorder=1)
        if arrow:
            self.ax.plot(points[-1][0] - 0.55, points[-1][1], ">", color=LINE, ms=2.8, mew=0, zorder=5)

    def text(self, x: float, y: float, text: str, size: float = 7, **more: Any) -> None:
        for i, line in enumerate(text.split("\n") if text else ()):  # `y` is the first baseline: neighbours align
            self.ax.text(x, y + 3 * i, line, size=size, **{"ha": "center", "zorder": 6} | more)
