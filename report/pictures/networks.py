"""What a network is made of, read from the network itself, for drawings, tables and alternative texts.

`read` sends an example pair through a network and notes what each of its parts, the lanes, reads and makes.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lib.architectures import Network
from lib.datasets import IMAGE
from lib.layers import Conv2d, ConvBlock, Flatten


@dataclass
class Layer:
    """A layer and the activation behind it."""

    module: nn.Module
    parameters: int  # in one trial
    words: list[str] = field(default_factory=list)  # its operations
    shape: tuple[int, ...] = ()  # of the output, for one item: channels, height, width; or features


@dataclass
class Lane:
    """A child of a network: what it reads, its layers, and the head that it makes, if it makes one."""

    name: str
    reads: tuple[int, ...]  # shape of one item
    passes: int  # items of each pair: 2 are its digits, one after the other
    layers: list[Layer] = field(default_factory=list)
    head: str = ""

    @property
    def auxiliary(self) -> bool:
        """Whether it helps training only."""
        return self.head not in ("", "answer")


def read_network(network: Network) -> list[Lane]:
    """Return the lanes of `network` in the order in which pairs pass them, auxiliary ones last; it stays as it is."""
    network = copy.deepcopy(network).eval()
    names = {module: name for name, module in network.named_modules() if not list(module.children())}
    calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # what each layer read and made first

    def note(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.setdefault(module, (inputs[0], output))

    for module in names:
        module.register_forward_hook(note)
    trials = network.sizes.trials
    with torch.no_grad():
        outputs = network(next(network.parameters()).new_zeros(trials, 1, 2, IMAGE, IMAGE))

    lanes: dict[str, Lane] = {}
    for module, (x, y) in calls.items():
        name, before, after = names[module].partition(".")[0], _item(x), _item(y)
        if name not in lanes:
            lanes[name] = Lane(name, before, x.numel() // math.prod(before) // trials)
        lane, parameters = lanes[name], sum(p.numel() for p in module.parameters()) // trials
        if parameters or isinstance(module, Flatten) or not lane.layers:
            lane.layers.append(Layer(module, parameters))
        lane.layers[-1].words += _words(module, before, after)
        lane.layers[-1].shape = after
        for head, output in outputs.items():
            if output.untyped_storage().data_ptr() == y.untyped_storage().data_ptr():  # the same numbers, or a view
                lane.head = head
    return sorted(lanes.values(), key=lambda lane: lane.auxiliary)


def _item(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[2:][-3:])  # without trials, batch and, where there is one, the axis of the digits


def _words(module: nn.Module, before: tuple[int, ...], after: tuple[int, ...]) -> list[str]:
    if isinstance(module, ConvBlock):
        kernel = module.weight.shape[-1]
        pool = (before[-1] - kernel + 1) // after[-1]
        return [f"conv {kernel}×{kernel}", "batch norm", f"max pool {pool}×{pool}", "ReLU"]
    if isinstance(module, Conv2d):
        return [f"conv {by(module.weight.shape[-2:])}"]
    return [type(module).__name__]


def by(shape: Sequence[int]) -> str:
    """Write a shape, such as "16×6×6"."""
    return "×".join(map(str, shape))


def describe(network: Network) -> list[tuple[str, str, str, int]]:
    """Return a row (part, layer, output shape, parameters in one trial) per layer, in the order of `read`.

    This works for any network; parameters that belong to no layer that was called have a row of their own.
    """
    rows = [
        (lane.name, ", ".join(layer.words), by(layer.shape), layer.parameters)
        for lane in read_network(network)
        for layer in lane.layers
    ]
    rest = network.parameters_per_trial - sum(parameters for *_, parameters in rows)
    return rows + ([("other", "parameters outside these layers", "", rest)] if rest else [])


def alt_text(network: Network) -> str:
    """Say in words what the drawing of a network shows."""
    parts = []
    for lane in read_network(network):
        reads = "both digits, one after the other," if lane.passes > 1 else "the pair" if lane.head else "one digit"
        training = " for training only" if lane.auxiliary else ""
        question = f" ({network.heads[lane.head].question})" if lane.head else ""
        makes = ", ".join(by(layer.shape) for layer in lane.layers)
        parts.append(f"{lane.name} reads {reads}{training} and makes {makes}{question}")
    name, total = type(network).__name__, network.parameters_per_trial
    return f"Diagram of {name} from left to right, layer by layer: {'; '.join(parts)}. It has {total:,} parameters."
