"""The four architectures of the original report (section 1.2), each for a stack of trials, and their registry.

A fifth one is a class here and a line in `ARCHITECTURES`, or a class in any importable module, named `module:Class`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.layers import Conv2d, ConvBlock, Flatten, Linear
from lib.seeds import generator

IMAGE = 14  # height and width of a digit


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network. `outputs` and `digit_outputs` are 2 and 10 with one-hot labels, 1 and 1 without."""

    trials: int = 1
    channels: tuple[int, int] = (16, 32)
    hidden: tuple[int, ...] = (64, 64, 32)  # original report, section 1.2
    auxiliary_hidden: int = 64
    outputs: int = 2
    digit_outputs: int = 10
    sigmoid: bool = True

    @property
    def maps(self) -> tuple[int, int, int]:
        """Sizes of what the extractor makes of one digit: `(32, 2, 2)` in the standard form."""
        return (self.channels[-1], *2 * (((IMAGE - 2) // 2 - 2) // 2,))


class Outputs(NamedTuple):
    """What every network returns: `answer` `[trials, batch, outputs]`, and `auxiliary` of a training-only head.

    `auxiliary` is None, or `[trials, batch, outputs]` (a second comparison), or `[trials, batch, 2, digit_outputs]`
    (the class of each digit). Fully convolutional networks return maps: two more axes, of size 1 for 14x14 images.
    """

    answer: Tensor
    auxiliary: Tensor | None = None


def extractor(sizes: Sizes) -> nn.Sequential:
    """Build a feature extractor: two convolution blocks, `[..., digits, 1, 14, 14]` to `[..., digits, 32, 2, 2]`."""
    first, second = sizes.channels
    return nn.Sequential(
        ConvBlock(sizes.trials, 1, first, IMAGE),
        ConvBlock(sizes.trials, first, second, (IMAGE - 2) // 2),
    )


def head(sizes: Sizes, maps: tuple[int, int, int], hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Build a classifier on flattened maps: hidden Linear layers with ReLU, an output layer, Sigmoid if asked for."""
    layers: list[nn.Module] = [Flatten(maps)]
    size = maps[0] * maps[1] * maps[2]
    for width in hidden:
        layers += [Linear(sizes.trials, size, width), nn.ReLU()]
        size = width
    layers.append(Linear(sizes.trials, size, outputs))
    if sizes.sigmoid:
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def comparer(sizes: Sizes, hidden: tuple[int, ...]) -> nn.Sequential:
    """Build a head that compares two digits: `[trials, batch, 64, 2, 2]` to `[trials, batch, outputs]`."""
    channels, height, width = sizes.maps
    return head(sizes, (2 * channels, height, width), hidden, sizes.outputs)


class Network(nn.Module):
    """Base of the architectures: images `[trials, batch, 2, 14, 14]` in, `Outputs` out.

    `auxiliary_task` says what the auxiliary head answers: "comparison" (as the main branch), "digits" (their classes)
    or None.
    """

    auxiliary_task: str | None = None

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    @property
    def parameters_per_trial(self) -> int:
        """Number of trained parameters of one network of the stack."""
        return sum(p.numel() for p in self.parameters()) // self.sizes.trials


class SN(Network):
    """Simple network: one feature extractor per digit (original report, figure 2)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 1, 1, 14, 14] -> [trials, batch, 1, 32, 2, 2]
        self.extract_second = extractor(sizes)
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]

    def forward(self, images: Tensor) -> Outputs:
        """Compare the digits of each pair."""
        first, second = images.unsqueeze(3).split(1, dim=2)
        maps = torch.cat([self.extract(first), self.extract_second(second)], dim=2)
        return Outputs(self.compare(maps.flatten(2, 3)))


class WSN(Network):
    """Weight sharing network: one extractor reads both digits, one after the other (original report, figure 3)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]

    def forward(self, images: Tensor) -> Outputs:
        """Compare the digits of each pair."""
        maps = self.extract(images.unsqueeze(3))
        return Outputs(self.compare(maps.flatten(2, 3)))


class SAUX(Network):
    """WSN and a second, smaller head on the same features that does the same comparison (original report, figure 4)."""

    auxiliary_task = "comparison"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]
        self.auxiliary = comparer(sizes, (sizes.auxiliary_hidden,))  # the same, with one hidden layer

    def forward(self, images: Tensor) -> Outputs:
        """Compare the digits of each pair, twice."""
        both = self.extract(images.unsqueeze(3)).flatten(2, 3)
        return Outputs(self.compare(both), self.auxiliary(both))


class CAUX(Network):
    """WSN and a head, shared by both digits, that tells the class of each (original report, figure 5)."""

    auxiliary_task = "digits"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.extract = extractor(sizes)  # [trials, batch, 2, 1, 14, 14] -> [trials, batch, 2, 32, 2, 2]
        self.compare = comparer(sizes, sizes.hidden)  # [trials, batch, 64, 2, 2] -> [trials, batch, outputs]
        self.auxiliary = head(sizes, sizes.maps, (sizes.auxiliary_hidden,), sizes.digit_outputs)

    def forward(self, images: Tensor) -> Outputs:
        """Compare the digits of each pair, and say which digits they are."""
        maps = self.extract(images.unsqueeze(3))
        classes = self.auxiliary(maps.flatten(1, 2)).unflatten(1, (-1, 2))  # one head: the digits join the batch
        return Outputs(self.compare(maps.flatten(2, 3)), classes)


ARCHITECTURES: dict[str, type[Network]] = {"SN": SN, "WSN": WSN, "SAUX": SAUX, "CAUX": CAUX}


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
    """Give each trial of the stack its initial weights, by PyTorch's default distributions, in place.

    Weights and biases are uniform in +-1 / sqrt(fan-in), as in torch.nn.Linear and torch.nn.Conv2d (batch normalisation
    starts at 1 and 0). Each layer draws from a stream named after it, in float64: layers of one name start equal in all
    architectures.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, ConvBlock | Linear):
            bound = layer.weight[0, 0].numel() ** -0.5
            drawn = [layer.weight] + ([layer.bias] if isinstance(layer, Linear) else [])
            for i, trial in enumerate(trials):
                rng = generator(seed, trial, "weights", name)
                for parameter in drawn:
                    values = rng.uniform(-bound, bound, size=tuple(parameter.shape[1:]))
                    with torch.no_grad():
                        parameter[i] = torch.from_numpy(values)


def build(
    architecture: type[Network],
    sizes: Sizes,
    *,
    fully_convolutional: bool,
    seed: int,
    trials: range,
    dtype=torch.float32,
) -> Network:
    """Build an architecture for the given trials, with initial weights, in the mixed or fully convolutional form."""
    network = architecture(sizes).to(dtype)
    for parameter, value in network.named_parameters():
        if value.shape[:1] != (sizes.trials,):  # a layer of torch.nn, say: its weights would be shared by all trials
            raise ValueError(
                f"{parameter} of {architecture.__name__} is {list(value.shape)}; its first axis must be the trials"
            )
    draw_weights(network, seed, trials)
    return convolutionize(network) if fully_convolutional else network
