"""A plain `torch.nn.Module` as a stack of one trial: so any network learns under the same Teacher, with the same pairs.

The module maps images `[batch, 2, 14, 14]` to its answer, `[batch, outputs]`. One with more heads declares them,
`heads = {"answer": COMPARISON, "digits": CLASSES}`, and returns a dict by their names or a tuple in their order;
`[batch, 2, outputs]` for a task with a target per digit. Any layers will do: it has no trial axis.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.architectures import Network, Sizes
from lib.messages import show
from lib.seeds import generator
from lib.tasks import COMPARISON

SEEDED = threading.RLock()  # whoever has seeded torch's generators


class Plain(Network):
    """One plain module as a stack of one trial; whatever torch draws in its training comes from a stream of its own."""

    def __init__(self, module: nn.Module, rng: np.random.Generator | None = None) -> None:
        """Wrap a module; `rng` seeds torch's generator for each step (default: seed 0)."""
        super().__init__(Sizes())
        self.module = module
        self.streams = [rng or np.random.default_rng(0)]
        self.declare()

    def declare(self) -> None:
        """Take over the heads that the module's class declares, and their factors; its own `heads` may be anything."""
        self.heads = getattr(type(self.module), "heads", {"answer": COMPARISON})
        self.factors = getattr(type(self.module), "factors", {})

    def __getstate__(self) -> dict[str, Any]:
        """Leave the heads out of a copy or a pickle: the module has them, and a task's function may be a lambda."""
        return {name: value for name, value in self.__dict__.items() if name not in ("heads", "factors")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the heads from the module again."""
        self.__dict__.update(state)
        self.declare()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Give the module the only trial's images, and what it returns its trial axis back, by the heads' names.

        Raises ValueError for images of several trials.
        """
        if len(images) != 1:
            name = type(self.module).__name__
            raise ValueError(f"{name} is a plain module, which learns one trial at a time; it was given {len(images)}")
        with drawn_by(int(self.streams[0].integers(2**63)) if self.training else 0, images.device):
            outputs = named(self.module(images[0].clone()), self.heads)  # which it may change in place
        return {head: value[None] if isinstance(value, Tensor) else value for head, value in outputs.items()}

    def part(self, name: str) -> nn.Module:
        """Return a part of the module by its name. Raises ValueError."""
        try:
            return self.module.get_submodule(name)
        except AttributeError:
            parts = ", ".join(each for each, _ in self.module.named_children())
            raise ValueError(f"{type(self.module).__name__} has no part {show(name)}; its parts: {parts}") from None


def named(outputs: object, heads: Mapping[str, object]) -> dict[str, Tensor]:
    """Return a module's outputs by the names of its heads: those of a tuple are in their order, one alone the answer.

    What is none of these is returned under a name that no head has, for whoever checks the outputs to refuse.
    """
    if isinstance(outputs, Mapping):
        return dict(outputs)
    several = outputs if isinstance(outputs, tuple | list) else (outputs,)
    count = "1 output" if len(several) == 1 else f"{len(several)} outputs"
    names = list(heads) if len(several) == len(heads) else [f"{count} without a name"] * len(several)
    return dict(zip(names, several, strict=True))


def build_plain(module: type[nn.Module], *, seed: int, trial: int, dtype: torch.dtype = torch.float32) -> Plain:
    """Make one trial's module: its initial weights are torch's own draws, of that trial's seed.

    So trials of other networks share its pairs and their order, and not its initial weights.
    """
    with drawn_by(int(generator(seed, trial, "weights").integers(2**63))):
        made = module()
    return Plain(made.to(dtype), generator(seed, trial, "dropout")).to(dtype)


@contextmanager
def drawn_by(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's own generators, and afterwards leave them as they were: one thread at a time, for all share them."""
    on_gpu = device is not None and device.type == "cuda"
    with SEEDED, torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks what GPUs there are, each time
        if on_gpu:
            torch.cuda.manual_seed_all(seed)
        yield
