"""Figures 2-5: an architecture drawn from its own modules.

`read` sends an example pair through the network and notes what each child reads and makes; drawing, table and
alternative text all come from these notes. A child is a lane; its role follows from the run: it reads one digit, both
digits in turn or the pair, and its output is the answer, an auxiliary answer or neither.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
import torch
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor, nn

from lib.architectures import IMAGE, Network
from lib.layers import Conv2d, ConvBlock, Flatten
from report import style

BATCH = 3  # example pairs
TASKS = {"comparison": "first ≤ second?", "digits": "class of each digit"}


@dataclass
class Layer:
    """A layer with parameters or a Flatten, and the activations behind it: its words, output shape and parameters."""

    words: list[str]
    module: nn.Module
    parameters: int
    shape: tuple[int, ...] = ()  # of one item: channels, height, width; or features

    @property
    def size(self) -> str:
        """The output shape in words: "32×2×2", or "64"."""
        return "×".join(map(str, self.shape))


@dataclass
class Lane:
    """A child of the network: how many digits pass through it one by one (0: it reads the pair), and what it answers."""

    name: str
    layers: list[Layer] = field(default_factory=list)
    reads: tuple[int, ...] = ()
    digits: int = 0
    answers: str | None = None
    auxiliary: bool = False


def read(network: Network) -> list[Lane]:
    """Return the lanes of `network` in the order in which an example pair passes them; the network stays as it is."""
    network = copy.deepcopy(network).eval()
    trials, calls = network.shape.trials, {}
    for module in network.modules():
        module.register_forward_hook(lambda module, x, y: calls.setdefault(module, []).append((x[0], y)))
    like = next(network.parameters())
    with torch.no_grad():
        outputs = network(torch.zeros(trials, BATCH, 2, IMAGE, IMAGE, dtype=like.dtype, device=like.device))

    def item(x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape[2:][-3:])  # without trials, batch and, where there is one, the axis of the digits

    def same(x: Tensor, y: Tensor | None) -> bool:
        return y is not None and x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()

    lanes = []
    for child in [module for module in calls if module in set(network.children())]:
        lane = Lane(next(name for name, module in network.named_children() if module is child))
        for module in [module for module in child.modules() if module in calls and not list(module.children())]:
            parameters = sum(p.numel() for p in module.parameters()) // trials
            before, after = (item(x) for x in calls[module][0])
            if parameters or isinstance(module, Flatten) or not lane.layers:
                lane.layers.append(Layer(words(module, before, after), module, parameters, after))
            else:
                lane.layers[-1].words += words(module, before, after)
                lane.layers[-1].shape = after
        x, y = calls[child][0][0], calls[child][-1][1]
        lane.reads = item(x)
        passes = len(calls[child]) * x.numel() // math.prod(lane.reads) // trials // BATCH
        source = next((other for other, sink in lanes if same(x, sink)), None)
        lane.digits = passes if passes > 1 else int(lane.reads == (1, IMAGE, IMAGE) or bool(source and source.digits == 1))
        lane.auxiliary = same(y, outputs.auxiliary)
        if lane.auxiliary:
            lane.answers = TASKS.get(network.auxiliary_task, network.auxiliary_task or lane.name)
        elif same(y, outputs.answer):
            lane.answers = TASKS["comparison"]
        lanes.append((lane, y))
    return [lane for lane, _ in lanes]


def words(module: nn.Module, before: tuple[int, ...], after: tuple[int, ...]) -> list[str]:
    """Name the operations of a layer, with its kernel as its weight has it."""
    if isinstance(module, ConvBlock):
        kernel = module.weight.shape[-1]
        return [f"conv {kernel}×{kernel}", "batch norm", "max pool {0}×{0}".format((before[-1] - kernel + 1) // after[-1]), "ReLU"]
    if isinstance(module, Conv2d):
        return ["conv", "×".join(map(str, module.weight.shape[-2:]))]
    return [type(module).__name__]


def describe(network: Network) -> list[tuple[str, str, str, int]]:
    """Return a row (part, layer, output shape, parameters of one trial) per layer, in the order of the computation."""
    rows = [(lane.name, ", ".join(layer.words), layer.size, layer.parameters) for lane in read(network) for layer in lane.layers]
    rest = network.parameters_per_trial - sum(row[-1] for row in rows)
    return rows + ([("other", "parameters outside the drawn layers", "", rest)] if rest else [])


# One millimetre in print is one unit, y runs down, and a pixel of an image or a map is one millimetre wide.
ROWS, MIDDLE = (19.0, 45.0), 32.0  # where the first digit, the second digit and the pair pass
ABOVE, BELOW = 12.0, 9.5  # of a row, in the ground of its lane
PITCH, BLOCK, MAP = 11.0, 17.0, 12.0  # width of a bar's column, of a block and of the maps behind it
FIRST, SECOND, CONV, DENSE, LINE = "#C9DBEA", "#9DBDD8", "#E3EDF5", "#F3D9B1", "#4A5560"


class Sheet:
    """A drawing in millimetres: the few shapes of the diagrams."""

    def __init__(self) -> None:
        self.fig = Figure()
        self.ax = self.fig.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = 7, colour: str = style.INK, **more: object) -> None:
        """Write `text`, centred unless told otherwise."""
        self.ax.text(x, y, text, fontsize=size, color=colour, linespacing=1.15, **{"ha": "center", "va": "center"} | more)

    def box(self, x: float, y: float, width: float, height: float, fill: str, edge: str, round: float = 1, dashed=False) -> None:
        """Draw a box with rounded corners, `x`, `y` its upper left one."""
        shape = f"round,pad=0,rounding_size={min(round, width / 2, height / 2)}"
        self.ax.add_patch(FancyBboxPatch((x, y), width, height, shape, fc=fill, ec=edge, lw=0.7, ls=(0, (3, 2)) if dashed else "-"))

    def line(self, *points: tuple[float, float], dashed: bool = False, arrow: bool = True) -> None:
        """Draw a line through `points`, with a head at its end."""
        dashes = {"ls": (0, (3, 2))} if dashed else {}
        self.ax.plot(*zip(*points, strict=True), color=LINE, lw=0.9, solid_joinstyle="round", zorder=0.9, **dashes)
        if arrow:
            (x, y), (before, above) = points[-1], points[-2]
            marker = ">" if x > before else "v" if y > above else "^"
            self.ax.plot(x - (marker == ">") * 0.5, y, marker, color=LINE, ms=3, mew=0)

    def maps(self, x: float, y: float, shape: tuple[int, ...], fills: Sequence[str], edge: str = LINE) -> tuple[float, float]:
        """Draw maps `(channels, height, width)` around `x`, `y`, a sheet per 8 channels; return where they begin and end."""
        channels, height, width = shape
        n = min(10, max(len(fills), math.ceil(channels / 8)))
        step = 0.65
        left, top = x - (width + step * (n - 1)) / 2, y - (height - step * (n - 1)) / 2
        for i in reversed(range(n)):
            fill = fills[i * len(fills) // n]
            self.ax.add_patch(Rectangle((left + step * i, top - step * i), width, height, fc=fill, ec=edge, lw=0.5))
        return left, left + width + step * (n - 1)

    def image(self, x: float, y: float, pixels: np.ndarray) -> None:
        """Draw an image, a square per pixel that is not white."""
        scale = IMAGE / len(pixels)
        ink = [(row, column) for row, column in np.ndindex(*pixels.shape) if pixels[row, column] > 0.03]
        squares = [Rectangle((x + scale * column, y + scale * row), scale, scale) for row, column in ink]
        greys = [str(round(1 - float(min(pixels[at], 1)), 2)) for at in ink]
        self.ax.add_patch(Rectangle((x, y), IMAGE, IMAGE, fc="white", ec=style.GREY, lw=0.6))
        self.ax.add_collection(PatchCollection(squares, facecolors=greys, edgecolors=greys, linewidths=0.1))


def placeholder(strokes: Sequence[tuple[float, float]]) -> np.ndarray:
    """Draw a digit of 14x14 pixels along a line through points `(x, y)`."""
    ends = np.array(strokes, float)
    along = np.concatenate([np.linspace(a, b, 30) for a, b in zip(ends[:-1], ends[1:], strict=True)])
    y, x = np.mgrid[:IMAGE, :IMAGE] + 0.5
    distance = np.hypot(x[..., None] - along[:, 0], y[..., None] - along[:, 1]).min(-1)
    return np.clip(1.5 - distance, 0, 1)


THREE = [(4, 4), (5.5, 2.8), (8, 2.6), (9.6, 3.8), (9.4, 5.6), (7, 6.8), (9.8, 8), (10, 10), (8, 11.4), (5.5, 11.3), (3.8, 10)]
SEVEN = [(3.5, 3), (10.3, 3), (9, 6), (7.3, 9), (6.2, 11.5)]


def draw_architecture(
    network: Network, images: np.ndarray | None = None, auxiliary_weight: float | None = None
) -> Figure:
    """Draw `network` from its modules, for a width of 16 cm in print.

    `images` is a pair `[2, 14, 14]` with values from 0 to 1 (a drawn 3 and 7 without), `auxiliary_weight` the factor
    of the auxiliary loss, to be named in the figure.
    """
    with matplotlib.rc_context(style.RC):
        return Diagram(network, auxiliary_weight).draw([placeholder(THREE), placeholder(SEVEN)] if images is None else images)


class Diagram:
    """One diagram: the lanes of single digits to the left, those of the pair to the right, auxiliary ones below."""

    def __init__(self, network: Network, weight: float | None) -> None:
        self.network, self.weight, self.sheet = network, weight, Sheet()
        self.lanes = read(network)
        self.widest = max((math.prod(l.shape) for lane in self.lanes for l in lane.layers if self.is_bar(l)), default=1)

    @staticmethod
    def is_bar(layer: Layer) -> bool:
        """Tell whether a layer makes features, which are drawn as a bar, and not maps."""
        return len(layer.shape) == 1 or layer.shape[1:] == (1, 1)

    def draw(self, images: Sequence[np.ndarray]) -> Figure:
        """Draw everything, from left to right."""
        s = self.sheet
        for row, image, label in zip(ROWS, images, ("first", "second"), strict=True):
            s.image(2, row - IMAGE / 2, np.asarray(image))
            s.text(9, row + 9, label)
        ends, shape = [16.0, 16.0], (1, IMAGE, IMAGE)  # where each digit's line has come to, and what it carries
        singles = 0
        for lane in [lane for lane in self.lanes if lane.digits and not lane.auxiliary and not lane.answers]:
            which = [0, 1] if lane.digits > 1 else [singles % 2]
            singles += lane.digits == 1
            begin = max(ends[i] for i in which) + 4
            end = self.lane(lane, begin, [ROWS[i] for i in which], [ends[i] for i in which])
            for i in which:
                ends[i] = end
            shape = lane.layers[-1].shape
        apart, x = max(ends), max(ends) + 4.0  # where the digits are still apart, and where they meet
        for end, row in zip(ends, ROWS, strict=True):
            s.line((end, row), (x, row), (x, MIDDLE), arrow=False)
        pair = [lane for lane in self.lanes if lane not in self.auxiliaries and (lane.answers or not lane.digits)]
        joined = pair[0].reads if pair else shape
        both = len(shape) and len(joined) and joined[0] == 2 * shape[0]
        word = "concatenate" if both else "combine"
        x += 7
        if len(joined) == 3:
            begin, end = s.maps(x, MIDDLE, joined, (FIRST, SECOND))
        else:
            begin, end = x - 1, x + 1
            s.box(begin, MIDDLE - 8, 2, 16, SECOND, LINE)
        s.line((apart + 4, MIDDLE), (begin, MIDDLE))
        s.text(x - 6, MIDDLE - 7, word, ha="left")
        s.text(x, MIDDLE + 6, "×".join(map(str, joined)))
        meeting, start = x, x + 6
        for lane in pair:
            last = end
            end = self.lane(lane, start, [MIDDLE], [last], (ROWS[0] - ABOVE, ROWS[1] + BELOW))
            right, start = end, end + 4
        right = max(right if pair else x, 0)
        bottom = ROWS[1] + BELOW
        for lane in self.auxiliaries:
            top = bottom + 4
            row = top + 16
            corner = meeting if lane.digits != 2 else apart + 2
            if lane.digits == 2:
                s.line((corner, ROWS[0]), (corner, row), (meeting + 6, row), dashed=True, arrow=False)
            begin = meeting + 6
            end = self.lane(lane, begin, [row], [corner], (top, top + 34), source=MIDDLE + 8)
            note = "helps training only" + (f",\nits loss × {self.weight:g}" if self.weight is not None else "")
            s.text(corner - 3, row, note, ha="right")
            bottom, right = top + 34, max(right, end)
        width, height = max(160, right + 2), bottom + 1.5
        self.head(width)
        s.ax.add_patch(Rectangle((0, 0), width, height, fc="white", ec="none", zorder=0))
        s.fig.set_size_inches(style.WIDTH * width / 160, style.WIDTH * height / 160)
        s.ax.set(xlim=(0, width), ylim=(height, 0))
        return s.fig
