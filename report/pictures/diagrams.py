"""Figures 2-5: the four architectures, drawn from what `networks.read_network` finds in their modules."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from lib.architectures import CAUX, SAUX, SN, WSN, Network
from lib.datasets import IMAGE
from lib.layers import Conv2d, Flatten, Linear
from report.pictures import style
from report.pictures.networks import Lane, by, read_network

Fill = str | tuple[float, float, float, float]
DRAWN = (SN, WSN, SAUX, CAUX)

# One millimetre in print is one unit, y runs down, and a pixel of an image or a map is one millimetre wide.
ROWS, MIDDLE = (19.5, 45.5), 32.5  # where the first digit, the second digit and the pair pass
START, BLOCK = 20.0, 18.6  # where extractors begin; how wide a block is
TOP, BOTTOM = 7.0, 55.0  # edges of the lanes that use both rows
CONV, FIRST, SECOND = (
    style.LIGHT[name] for name in ("both", "first", "second")
)  # and the maps of the first and of the second digit
FILLS = {Conv2d: CONV, Linear: style.LIGHT["features"], Flatten: style.PAPER}
LINE, DASHES = style.LINE, (0, (2.5, 1.8))
THREE = ((4, 4), (5.5, 2.8), (8, 2.6), (9.6, 4), (9.2, 5.8), (7, 6.8), (9.6, 7.8), (10, 9.8), (8, 11.4), (4, 10.6))
SEVEN = ((3.5, 3), (10.3, 3), (9, 6), (7.3, 9), (6.2, 11.5))


def drawable(network: Network) -> bool:
    """Whether `draw_architecture` draws it: the four alone; any other network has the table of `networks.describe`."""
    return type(network) in DRAWN


def draw_architecture(network: Network, auxiliary_weight: float) -> Figure:
    """Draw one of the four networks from its modules, 16 cm wide in print (more with more layers).

    `auxiliary_weight` is the factor of the auxiliary loss.

    Raises ValueError for another network.
    """
    if not drawable(network):
        name = type(network).__name__
        raise ValueError(f"{name} cannot be drawn, only SN, WSN, SAUX and CAUX; its table is networks.describe")
    return _Diagram(network).draw(auxiliary_weight)


def _digit(corners: Sequence[tuple[float, float]]) -> np.ndarray:
    points = np.concatenate([np.linspace(a, b, 30) for a, b in itertools.pairwise(corners)])
    y, x = np.mgrid[:IMAGE, :IMAGE] + 0.5
    distance: np.ndarray = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1]).min(-1)
    return (1.6 - distance).clip(0, 1)


class Sheet:
    """A drawing in millimetres of print, y running down: maps, boxes, lines and texts."""

    def __init__(self) -> None:
        self.fig = Figure()
        self.ax = self.fig.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()

    def cut(self, width: float, height: float) -> Figure:
        """Cut the sheet to its size."""
        self.ax.set(xlim=(0, width), ylim=(height, 0))
        self.fig.set_size_inches(style.WIDTH * width / 160, style.WIDTH * height / 160)
        return self.fig

    def image(self, x: float, y: float, corners: Sequence[tuple[float, float]], size: float = IMAGE) -> None:
        """Draw a digit, its upper left corner at a point."""
        look: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "nearest", "aspect": "auto"}
        self.ax.imshow(_digit(corners), extent=(x, x + size, y + size, y), clip_on=False, **look)
        self.ax.add_patch(Rectangle((x, y), size, size, fc="none", ec=style.GREY, lw=0.7, zorder=3))

    def maps(self, x: float, y: float, shape: tuple[int, ...], *fills: str) -> tuple[float, float]:
        """Draw square maps around a point, a sheet per 8 channels; return their left and right edges."""
        channels, _, wide = shape
        n, step = min(10, max(len(fills), math.ceil(channels / 8))), 0.65
        half = (wide + step * (n - 1)) / 2
        for i in reversed(range(n)):
            corner = (x - half + step * i, y + half - wide - step * i)
            fill, label = fills[i * len(fills) // n], by(shape) if i == 0 else ""  # so that the foremost is found again
            self.ax.add_patch(Rectangle(corner, wide, wide, fc=fill, ec=LINE, lw=0.5, zorder=3, label=label))
        return x - half, x + half

    def box(
        self, x: float, y: float, wide: float, high: float, fill: Fill, dashed: bool = False, edge: str = LINE
    ) -> FancyBboxPatch:
        """Draw a box with round corners, its upper left one at a point; a dashed one is half as strongly filled."""
        shape = f"round,pad=0,rounding_size={min(0.8, wide / 4, high / 4)}"
        *rgb, opaque = to_rgba(fill)
        fc, ls = (*rgb, opaque * (0.5 if dashed else 1)), DASHES if dashed else "-"
        box = FancyBboxPatch(
            (x, y), wide, high, shape, fc=fc, ec=edge, lw=0.7 if edge == LINE else 1.3, ls=ls, zorder=2
        )
        self.ax.add_patch(box)
        return box

    def line(self, *points: tuple[float, float], arrow: bool = False, dashed: bool = False, colour: str = LINE) -> None:
        """Draw a line through points; an arrow ends at the last one."""
        self.ax.plot(*zip(*points, strict=True), color=colour, lw=0.8, ls=DASHES if dashed else "-", zorder=1)
        if arrow:
            self.ax.plot(points[-1][0] - 0.55, points[-1][1], ">", color=colour, ms=2.8, mew=0, zorder=5)

    def text(self, x: float, y: float, text: str, size: float = 7, ha: str = "center", **more: Any) -> None:
        """Write lines; `y` is the first baseline, so that neighbours align."""
        for i, line in enumerate(text.split("\n") if text else ()):
            self.ax.text(x, y + 3 * i, line, size=size, ha=ha, zorder=6, **more)


class _Diagram(Sheet):
    """Two digits and what extracts their maps, then the main head on both; below it the auxiliary head."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        lanes = read_network(network)
        self.extractors = [lane for lane in lanes if not lane.head]
        self.heads = {lane.head: lane for lane in lanes if lane.head}
        features = [math.prod(layer.shape) for lane in self.heads.values() for layer in lane.layers]
        self.widest = max(256, *features)  # of the highest bar

    def draw(self, weight: float) -> Figure:
        for row, corners, label in zip(ROWS, (THREE, SEVEN), ("first", "second"), strict=True):
            self.image(2, row - 7, corners)
            self.text(9, row + 10, label)

        shared = len(self.extractors) == 1
        for lane, rows in zip(self.extractors, [ROWS] if shared else [ROWS[:1], ROWS[1:]], strict=True):
            end = self.extractor(lane, rows)
        if shared:
            self.text((START + end) / 2, BOTTOM + 3.2, "shared weights, one digit after the other")

        main, meet, x = self.heads["answer"], end + 3, end + 11.5
        for row in ROWS:
            self.line((end, row), (meet, row), (meet, MIDDLE))
        left, last = self.maps(x, MIDDLE, main.reads, FIRST, SECOND)
        self.text(x, MIDDLE - 8, f"concatenate\n{by(main.reads)}")
        self.line((meet, MIDDLE), (left, MIDDLE), arrow=True)
        right, bottom = self.head(main, x + 8.2, MIDDLE, last, (TOP, BOTTOM)), BOTTOM + 4

        if extra := self.heads.get("auxiliary"):
            single = extra.passes > 1  # it reads the maps of one digit after the other and not those of both
            fork, row, bottom = end + 1.5 if single else x, BOTTOM + 20, BOTTOM + 39.5
            self.line((fork, ROWS[0] if single else MIDDLE + 3), (fork, row), dashed=True)
            self.ax.plot([fork] * 2 * single, ROWS * single, "o", color=LINE, ms=2.5, mew=0)
            right = max(right, self.head(extra, x + 8.2, row, fork, (BOTTOM + 3, bottom)))
            note = f"helps training only, loss × {weight:g}" + "\none digit after the other" * single
            self.text(min(fork, meet) - 4, row, note, ha="right")
        return self.finish(max(160, right + 2), bottom + 1)

    def finish(self, width: float, height: float) -> Figure:
        """Write name and number of parameters above all, and cut the sheet to its size."""
        name, first = type(self.network).__name__, self.heads["answer"].layers[0].module
        form = "fully convolutional, " if isinstance(first, Conv2d) else ""
        total = f"{form}{self.network.parameters_per_trial:,} parameters (grey: in each layer)"
        self.box(2, 1.4, 2.6, 2.6, style.COLOURS[name]).set(ec="none")
        self.text(6, 3.9, name, 9.5, ha="left", weight="bold")
        self.text(width - 2, 3.9, total, ha="right", color=style.GREY)
        return self.cut(width, height)

    def extractor(self, lane: Lane, rows: Sequence[float]) -> float:
        """Draw the blocks through which the digits in `rows` pass, and their maps; return the right edge."""
        end, x, middle = START - 4, START, (rows[0] + rows[-1]) / 2
        for layer in lane.layers:
            x, size = x + 2, by(layer.shape)
            behind, wide = x + BLOCK, max(11.6, 1.65 * len(size) + 1.5)  # where the maps have their room
            at = behind + wide / 2
            self.box(x, rows[0] - 8, BLOCK, rows[-1] - rows[0] + 16, CONV)
            self.text(x + BLOCK / 2, middle - 5.5, "\n".join(layer.words))
            self.text(x + BLOCK / 2, middle + 6.8, f"{layer.parameters:,}", color=style.GREY)
            for row in rows:
                left, right = self.maps(at, row, layer.shape, FIRST if row == ROWS[0] else SECOND)
                self.text(at, row + max(7, (right - left) / 2 + 3), size)
                self.line((end, row), (x, row), arrow=True)
                self.line((behind, row), (left, row), arrow=True)
                if len(rows) > 1:
                    self.ax.plot((x, behind), (row, row), color=LINE, lw=0.8, ls=":", zorder=2.5)
            end, x = right, behind + wide - 1.6
        for row in rows:
            self.line((end, row), (x + 2, row))
        self.frame(lane, START, x + 2, rows[0] - 12.5, rows[-1] + 9.5)
        return x + 2

    def head(self, lane: Lane, start: float, row: float, end: float, edges: tuple[float, float]) -> float:
        """Draw a bar per layer, reached by a line from `end`, and the question above; return the right edge."""
        x, question = start, textwrap.wrap(self.network.heads[lane.head].question, 10)
        for layer in lane.layers:
            number, size = f"{layer.parameters:,}" if layer.parameters else "", by(layer.shape)
            texts = 1.45 * max(map(len, layer.words)) + 0.4, 1.5 * len(number) + 0.6, 1.75 * len(size) + 0.4
            wide = max(13.25 if len(layer.shape) == 3 else 10.6, *texts)  # about the widths of the texts
            if layer is lane.layers[-1]:
                wide = max(wide, 1.5 * max(map(len, question)))
            at, x = x + 1 + wide / 2, x + wide
            high = max(1.2, 15 * math.sqrt(math.prod(layer.shape) / self.widest))
            self.box(at - 1.6, row - high / 2, 3.2, high, FILLS[type(layer.module)], lane.auxiliary)
            self.line((end, row), (at - 1.6, row), arrow=True, dashed=lane.auxiliary)
            self.text(at, row - high / 2 - 1.1, size, 7.5)
            self.text(at, row + 11, "\n".join(layer.words))
            self.text(at, row + 17.7, number, color=style.GREY)
            end = at + 1.6
        self.text(at, row - 10, "\n".join(question), weight="bold")
        self.frame(lane, start, x + 2, *edges)
        return x + 2

    def frame(self, lane: Lane, left: float, right: float, top: float, bottom: float) -> None:
        fill = "none" if lane.auxiliary else style.PALE
        self.box(left, top, right - left, bottom - top, fill, lane.auxiliary).set(ec=style.RULE, zorder=0.2)
        self.text(left + 2, top + 3, lane.name, ha="left", style="italic")
