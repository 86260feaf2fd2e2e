"""The four architectures of the original report (section 1.2), each for a stack of trials.

A fifth one is a class here and a line in `lib/registry.py`, or a class in any importable module, named `module:Class`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.datasets import IMAGE
from lib.layers import Conv2d, ConvBlock, Flatten, Linear
from lib.messages import show
from lib.seeds import generator
from lib.tasks import CLASSES, COMPARISON, Task


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network: what an architecture is built from."""

    trials: int = 1
    channels: tuple[int, ...] = (16, 32)
    hidden: tuple[int, ...] = (64, 64, 32)  # original report, section 1.2
    auxiliary_hidden: int = 64
    one_hot: bool = True
    sigmoid: bool = True
    sigmoids: tuple[str, ...] | None = None  # the heads that have one; None: all or none, as `sigmoid` says
    spread: float = 1.0  # these five are read by some of lib.interventions
    centres: int = 0
    width: int = 128
    dropout: float = 0.0
    auxiliary_dropout: float = 0.0

    @property
    def maps(self) -> tuple[int, int, int]:
        """Shape of what the extractor makes of one digit: `(32, 2, 2)` in the standard form."""
        size = ((IMAGE - 2) // 2 - 2) // 2
        return (self.channels[-1], size, size)

    def outputs(self, task: Task) -> int:
        """Return the outputs of a head: one per class with one-hot labels, else one (original report, section 1.2)."""
        return task.classes if self.one_hot else 1

    def sigmoid_of(self, name: str) -> bool:
        """Say whether the head of this name ends in a Sigmoid. Raises ValueError for "" where that decides it."""
        if self.sigmoids is None:
            return self.sigmoid
        if not name:
            raise ValueError(
                f"sigmoids is {'+'.join(self.sigmoids)!r}; allowed: all heads or 'none' where a classifier does not "
                "say of which head it is, head(..., of=)"
            )
        return name in self.sigmoids


def extractor(sizes: Sizes) -> nn.Sequential:
    """Build a feature extractor: two convolution blocks, `[..., digits, 1, 14, 14]` to `[..., digits, 32, 2, 2]`."""
    first, second = sizes.channels
    return nn.Sequential(
        ConvBlock(sizes.trials, 1, first, IMAGE),
        ConvBlock(sizes.trials, first, second, (IMAGE - 2) // 2),
    )


def head(sizes: Sizes, maps: tuple[int, int, int], hidden: tuple[int, ...], task: Task, of: str = "") -> nn.Sequential:
    """Build a classifier on flattened maps: hidden Linear layers with ReLU, an output layer, Sigmoid if asked for.

    `of` is the head that it is of: an experiment may ask for the Sigmoid of some heads only.
    """
    layers: list[nn.Module] = [Flatten(maps)]
    size = maps[0] * maps[1] * maps[2]
    for width in hidden:
        layers += [Linear(sizes.trials, size, width), nn.ReLU()]
        size = width
    layers.append(Linear(sizes.trials, size, sizes.outputs(task)))
    if sizes.sigmoid_of(of):
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def comparer(sizes: Sizes, hidden: tuple[int, ...], of: str = "answer") -> nn.Sequential:
    """Build a head that compares two digits: `[trials, batch, 64, 2, 2]` to `[trials, batch, outputs]`."""
    channels, height, width = sizes.maps
    return head(sizes, (2 * channels, height, width), hidden, COMPARISON, of)


class Network(nn.Module):
    """Base of the architectures: images `[trials, batch, 2, 14, 14]` in, the outputs of each head out, by its name.

    `heads` says which heads there are and what each answers. `answer` is what the network is scored by; the others are
    auxiliary: their losses, times `auxiliary_weight` and their factor, help to train, and they never enter the score.
    `forward` returns the same names: `[trials, batch, outputs]`, or `[trials, batch, 2, outputs]` for a task with a
    target per digit; a head may read what another one says. Fully convolutional networks return maps: two more axes,
    of size 1 for 14x14 images. `reads` says which of the optional settings the architecture has a use for.

    The names of the modules are seeds: layers of one name start equal in all architectures.
    """

    heads: Mapping[str, Task] = {"answer": COMPARISON}  # a plain module brings its own, as an instance
    factors: Mapping[str, float] = {}  # of an auxiliary head's loss; 1 where not named
    reads: tuple[str, ...] = ("channels", "hidden", "auxiliary_hidden", "auxiliary_weight")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    def part(self, name: str) -> nn.Module:
        """Return a part of the network by its name, such as "extract" or "compare.1". Raises ValueError."""
        try:
            return self.get_submodule(name)
        except AttributeError:
            parts = ", ".join(each for each, _ in self.named_children())
            raise ValueError(f"{type(self).__name__} has no part {show(name)}; its parts: {parts}") from None

    @property
    def steady(self) -> bool:
        """Whether it is one of the original's networks, which launch the same at each step and wait for no number."""
        return type(self) in (SN, WSN, SAUX, CAUX)

    @property
    def parameters_per_trial(self) -> int:
        """Number of trained parameters of one network of the stack."""
        return sum(p.numel() for p in self.parameters()) // self.sizes.trials


class SN(Network):
    """Simple network: one feature extractor per digit (original report, figure 2)."""

    reads = ("channels", "hidden")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 1, 1, 14, 14] -> [trials, batch, 1, 32, 2, 2]
        self.extract_second = extractor(sizes)
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare the digits of each pair."""
        first, second = images.unsqueeze(3).split(1, dim=2)
        maps = torch.cat([self.extract(first), self.extract_second(second)], dim=2)
        return {"answer": self.compare(maps.flatten(2, 3))}


class WSN(Network):
    """Weight sharing network: one extractor reads both digits, one after the other (original report, figure 3)."""

    reads = ("channels", "hidden")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare the digits of each pair."""
        maps = self.extract(images.unsqueeze(3))
        return {"answer": self.compare(maps.flatten(2, 3))}


class SAUX(Network):
    """WSN and a second, smaller head on the same features that does the same comparison (original report, figure 4)."""

    heads = {"answer": COMPARISON, "auxiliary": COMPARISON}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]
        self.auxiliary = comparer(sizes, (sizes.auxiliary_hidden,), "auxiliary")  # the same, with one hidden layer

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare the digits of each pair, twice."""
        both = self.extract(images.unsqueeze(3)).flatten(2, 3)
        return {"answer": self.compare(both), "auxiliary": self.auxiliary(both)}


class CAUX(Network):
    """WSN and a head, shared by both digits, that tells the class of each (original report, figure 5)."""

    heads = {"answer": COMPARISON, "auxiliary": CLASSES}  # noqa: RUF012

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]
        self.auxiliary = head(sizes, sizes.maps, (sizes.auxiliary_hidden,), CLASSES, "auxiliary")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compare the digits of each pair, and say which digits they are."""
        maps = self.extract(images.unsqueeze(3))
        classes = self.auxiliary(maps.flatten(1, 2)).unflatten(1, (-1, 2))  # one head: the digits join the batch
        return {"answer": self.compare(maps.flatten(2, 3)), "auxiliary": classes}


def convolutionize(network: Network) -> Network:
    """Turn every head of `network` into convolutions, in place: each Linear becomes a Conv2d that covers its input map.

    The weights stay the same, so the function does too; but the network now also takes larger images and slides over
    them, where the mixed form takes 14x14 only. After Fleuret's lectures (original report, section 1.2): called at
    initialisation, before any training.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Sequential) and isinstance(child[0], Flatten):
            layers, shape = [], child[0].shape
            for layer in child[1:]:
                if isinstance(layer, Linear):
                    weight = layer.weight.detach()
                    layer = Conv2d(weight.unflatten(2, shape), layer.bias.detach())
                    shape = (weight.shape[1], 1, 1)  # a covering kernel leaves one position
                layers.append(layer)
            setattr(network, name, nn.Sequential(*layers))
    return network


def draw_weights(network: Network, seed: int, trials: range) -> None:
    """Give each trial of the stack its initial weights, in place: each layer draws from a stream named after it.

    Raises ValueError for a module with parameters that has no `draw`, by its name: nothing would tell its trials apart.
    """
    for name, layer in network.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        draw, listen = getattr(layer, "draw", None), getattr(layer, "listen", None)
        if listen is not None:  # a layer that goes on drawing, such as Dropout
            for place, trial in enumerate(trials):
                listen(place, generator(seed, trial, "dropout", name))
        if draw is not None:
            for place, trial in enumerate(trials):
                draw(place, generator(seed, trial, "weights", name))
        elif own:
            what = f"its part {name} ({type(layer).__name__})" if name else "it"
            raise ValueError(
                f"{type(network).__name__}: {what} has parameters ({', '.join(own)}) and no draw(place, rng) giving "
                "the trial at that place its initial weights; take the layers of lib.layers, or write that method"
            )


def build(
    architecture: type[Network],
    sizes: Sizes,
    *,
    fully_convolutional: bool,
    seed: int,
    trials: range,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Build an architecture for the given trials, with initial weights, in the mixed or fully convolutional form.

    Raises ValueError, by its name, for a part that is not a stack of trials.
    """
    network = architecture(sizes).to(dtype)
    for name, parameter in network.named_parameters():
        if parameter.shape[:1] != (sizes.trials,):  # a layer of torch.nn, say: all trials would share it
            found = list(parameter.shape)
            raise ValueError(
                f"{architecture.__name__}: {name} is {found}; its first axis must be the trials ({sizes.trials}), as "
                "in the layers of lib.layers"
            )
    draw_weights(network, seed, trials)  # before convolutionize: there a layer has its name in both forms
    return convolutionize(network) if fully_convolutional else network
