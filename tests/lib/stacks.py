"""Stacks of trials with their pairs, as the tests of lib want them: small, in float64, of the embedded digits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lib import fused, seeds
from lib.architectures import Network, Sizes, build
from lib.foreign import find
from lib.layers import ConvBlock
from lib.pairs import Pairs, draw_trial, normalise, side_by_side
from lib.teacher import Teacher

SEED = 3

compiled = pytest.mark.skipif(not fused.available()[0], reason=f"no compiled block: {fused.available()[1]}")
implementations = pytest.mark.parametrize("implementation", ["torch", pytest.param("fused", marks=compiled)])


def make(
    architecture: str | type[Network] = "WSN",
    *,
    trials: int = 2,
    convolutional: bool = False,
    seed: int = SEED,
    dtype: torch.dtype = torch.float64,
    implementation: str = "torch",
    **sizes: Any,
) -> Network:
    """Return the untrained stack of the first trials; `sizes` as of `Sizes`."""
    network = build(
        find(architecture) if isinstance(architecture, str) else architecture,
        Sizes(trials=trials, **sizes),
        fully_convolutional=convolutional,
        seed=seed,
        trials=range(trials),
        dtype=dtype,
    )
    return with_implementation(network, implementation)


def with_implementation(network: Network, implementation: str) -> Network:
    """Let every convolution block of a network be computed so."""
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.implementation = implementation
    return network


def sets(trials: int = 2, pairs: int = 25) -> tuple[Pairs, Pairs]:
    """Return training and test pairs, `[trials, pairs, ...]`."""
    drawn = [normalise(*draw_trial("digits", pairs, pairs, SEED, trial)) for trial in range(trials)]
    return side_by_side([train for train, _ in drawn]), side_by_side([test for _, test in drawn])


def teacher(trials: int = 2, pairs: int = 25) -> Teacher:
    """Return a Teacher with a few pairs of each trial, and always the same orders."""
    return Teacher(*sets(trials, pairs), [seeds.generator(SEED, trial, "order") for trial in range(trials)])


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal numbers, the same ones each time."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def weights(network: Network) -> dict[str, Tensor]:
    """Return what a network learns, as it is now, by name."""
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def state(network: torch.nn.Module) -> dict[str, Tensor]:
    """Return all that a network holds, running statistics too, as it is now."""
    return {name: value.clone() for name, value in network.state_dict().items()}
