"""The four networks in one drawing: the parts that all share once and to scale, then what each makes of them."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lib.architectures import Network
from lib.tasks import CLASSES, COMPARISON, Task
from report.pictures import style
from report.pictures.diagrams import CONV, FILLS, FIRST, LINE, SECOND, THREE, Sheet
from report.pictures.networks import Lane, by, read_network

SIZE = style.SMALL
WIDE, NARROW = 160.0, 160 * style.NARROW / style.WIDTH  # mm
SHORT = {COMPARISON.name: "≤ ?", CLASSES.name: "3, 7"}  # what a head says of the pair that is drawn
MARKS = {COMPARISON.name: "C′", CLASSES.name: "N"}  # of auxiliary heads


def draw_combined(networks: Sequence[Network], auxiliary_weight: float, narrow: bool = False) -> Figure:
    """Draw networks that have one extractor's and one main head's form in common, and what is different in colour.

    `narrow` lays the same parts out for a page as wide as a telephone. Raises ValueError where the extractors or the
    main heads differ in more than how many there are.
    """
    return _Combined(networks).draw(auxiliary_weight, narrow)


def _form(lane: Lane) -> tuple[object, ...]:
    return lane.reads, [(layer.words, layer.shape, layer.parameters) for layer in lane.layers]


class _Combined(Sheet):
    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = networks
        self.lanes = [read_network(network) for network in networks]
        self.extractor = next(lane for lane in self.lanes[0] if not lane.head)
        self.main = next(lane for lane in self.lanes[0] if lane.head == "answer")
        for network, lanes in zip(networks, self.lanes, strict=True):
            for lane in lanes:
                shared = self.main if lane.head else self.extractor
                if not lane.auxiliary and _form(lane) != _form(shared):
                    raise ValueError(f"{type(network).__name__} has another {lane.name} than the first network")

    def draw(self, weight: float, narrow: bool) -> Figure:
        width, y = NARROW if narrow else WIDE, 22.0
        self.text(2, 4, "The two parts that all share", 8.5, "left", weight="bold")
        right, height = self.maps_made(2, y), y + (14 if narrow else 20)
        self.bracket(2, right, height, "E", "extractor", self.extractor)
        x, y = (1.0, 59.0) if narrow else (right + 12, y)
        right = self.bars(x, y)
        self.bracket(x + 2, right, y + 20, "C", "comparison", self.main)
        y, width = y + 34, max(width, right + 2)
        self.line((0, y - 6), (width, y - 6), colour=style.RULE)
        self.text(2, y, "Four ways to join them", 8.5, "left", weight="bold")
        columns, bottom = 2 if narrow else 4, 0.0
        panel = (width - 2) / columns
        for i, (network, lanes) in enumerate(zip(self.networks, self.lanes, strict=True)):
            row, column = divmod(i, columns)
            top = y + 8 + 40 * row
            self.network(2 + panel * column, top, network, lanes, weight)
            bottom = max(bottom, top + (56 if any(lane.auxiliary for lane in lanes) else 35))
        return self.cut(width, bottom)

    def maps_made(self, x: float, y: float) -> float:
        """Draw a digit and the maps that the extractor makes of it; return the right edge."""
        side = self.extractor.reads[-1]
        self.image(x, y - side / 2, THREE)
        self.text(x + side / 2, y + 11, by(self.extractor.reads[-2:]), SIZE)
        end = x + side
        for layer, fill in zip(
            self.extractor.layers, (CONV, FIRST, SECOND)[-len(self.extractor.layers) :], strict=True
        ):
            self.line((end, y), (end + 22, y), arrow=True)
            self.text(end + 11, y - 1.5 - 3 * (len(layer.words) - 1), "\n".join(layer.words), SIZE)
            self.text(end + 11, y + 4, f"{layer.parameters:,}", SIZE, color=style.GREY)
            left, right = self.maps(0, -99, layer.shape, fill)  # out of sight: how wide they are
            self.ax.patches[-1].remove()
            _, end = self.maps(end + 22.5 + (right - left) / 2, y, layer.shape, fill)
            self.text(end - (right - left) / 2, y + 11, by(layer.shape), SIZE)
        return end + 2

    def bars(self, x: float, y: float) -> float:
        """Draw the features that the main head makes, a bar per layer; return the right edge."""
        widest, end = max(math.prod(layer.shape) for layer in self.main.layers), 0.0
        for layer in self.main.layers:
            wide = max(13.0, 1.6 * max(map(len, (*layer.words, by(layer.shape)))) + 1.5)
            high, at = max(1.2, 15 * math.sqrt(math.prod(layer.shape) / widest)), x + wide / 2
            self.box(at - 1.6, y - high / 2, 3.2, high, FILLS[type(layer.module)])
            if end:
                self.line((end, y), (at - 1.6, y), arrow=True)
            self.text(at, y - high / 2 - 1.1, by(layer.shape), SIZE)
            self.text(at, y + 11, "\n".join(layer.words), SIZE)
            self.text(at, y + 17.5, f"{layer.parameters:,}" if layer.parameters else "", SIZE, color=style.GREY)
            end, x = at + 1.6, x + wide
        self.text(at, y - 10, textwrap.fill(COMPARISON.question, 10), SIZE, weight="bold")
        return x

    def bracket(self, left: float, right: float, y: float, mark: str, name: str, lane: Lane) -> None:
        self.line((left, y), (left, y + 1.2), (right, y + 1.2), (right, y), colour=style.GREY)
        total = sum(layer.parameters for layer in lane.layers)
        self.text(left, y + 5, f"{mark}, {name}: {total:,} parameters", SIZE, "left", weight="bold")

    def network(self, x: float, y: float, network: Network, lanes: Sequence[Lane], weight: float) -> None:
        """Draw a network of letters: two digits, what extracts, what compares, and below what helps training."""
        name, colour = type(network).__name__, style.COLOURS[type(network).__name__]
        extractors = [lane for lane in lanes if not lane.head]
        extra = next((lane for lane in lanes if lane.auxiliary), None)
        two = len(extractors) > 1
        said = "two extractors" if two else "one extractor"
        if extra:
            said = f"a second head:\n{network.heads[extra.head].question}"
        self.text(x, y, name, 9.5, "left", weight="bold", color=style.text(colour))
        self.text(x, y + 4.5, f"{network.parameters_per_trial:,} parameters", SIZE, "left", color=style.GREY)
        self.text(x, y + 8, said, SIZE, "left")
        rows, middle = (y + 18, y + 29), y + 23.5
        for row, digit in zip(rows, "37", strict=True):
            self.box(x, row - 3.5, 6, 7, style.PAPER)
            self.text(x + 3, row + 1.5, digit, 11, weight="bold")
            self.line((x + 6, row), (x + 9, row), arrow=True)
            self.line((x + 16, row), (x + 19, row), (x + 19, middle))
        for i, (top, bottom) in enumerate(zip(rows, rows, strict=True) if two else [rows]):
            self.part(x + 9, top - 4, bottom + 4, "E" + "₁₂"[i] * two, "" if extra else colour)
        self.line((x + 19, middle), (x + 21.5, middle), arrow=True)
        self.part(x + 21.5, middle - 4, middle + 4, "C", "")
        self.answer(x + 28.5, middle, COMPARISON, LINE)
        if extra:
            self.helper(x, y + 39, rows if extra.passes > 1 else (middle,), network, extra, colour)
            self.text(x, y + 48, _about(extra, weight), SIZE, "left")

    def answer(self, x: float, y: float, task: Task, colour: str) -> None:
        self.line((x, y), (x + 2.5, y), arrow=True, colour=colour)
        said = style.INK if colour == LINE else style.text(colour)
        self.text(x + 3, y + 1, SHORT[task.name], 8, "left", weight="bold", color=said)

    def part(self, x: float, top: float, bottom: float, mark: str, colour: str, dashed: bool = False) -> None:
        fill = to_rgba(colour, 0.15) if colour else to_rgba(style.PALE)
        self.box(x, top, 7, bottom - top, fill, dashed, colour or LINE)
        self.text(x + 3.5, (top + bottom) / 2 + 1.2, mark, 9, weight="bold", color=style.INK)

    def helper(self, x: float, row: float, reads: Sequence[float], network: Network, lane: Lane, colour: str) -> None:
        """Draw an auxiliary head, and from where it reads: the maps of each digit, or of both."""
        task, fork = network.heads[lane.head], x + (17.5 if len(reads) > 1 else 19)
        self.line((fork, reads[0]), (fork, row), (x + 21.5, row), arrow=True, dashed=True, colour=colour)
        self.ax.plot([fork] * len(reads), reads, "o", color=colour, ms=3, mew=0, zorder=4)
        self.part(x + 21.5, row - 4, row + 4, MARKS[task.name], colour, dashed=True)
        self.answer(x + 28.5, row, task, colour)


def _about(lane: Lane, weight: float) -> str:
    sizes, total = ", ".join(by(layer.shape) for layer in lane.layers), sum(layer.parameters for layer in lane.layers)
    return f"makes {sizes}\n{total:,} parameters\nin training, loss × {weight:g}"
