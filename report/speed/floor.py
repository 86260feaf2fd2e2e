"""The floor: the protocol's arithmetic, counted, at the best rate that this core reaches in matrix products."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib import Experiment
from lib.textbook import Textbook


def multiply_adds(e: Experiment) -> dict[str, int]:
    """Count the multiply-adds that the protocol asks for per training pair and per test pair, by running its modules.

    Convolutions and linear layers alone. Every element of an output takes as many as its kernel or row has weights. In
    training the gradient of the weights takes the same again, and so does that of the input where one is needed: not
    for the images. A test runs the auxiliary head too, whose score is stored.
    """
    network = Textbook(e.architecture, e.fully_convolutional, e.one_hot_encoding, e.sigmoid)
    counted = {"train": 0, "test": 0}

    def count(module: nn.Conv2d | nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        forward = output[0].numel() * module.weight[0].numel()
        counted["test"] += forward
        counted["train"] += forward * (3 if inputs[0].requires_grad else 2)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network(torch.zeros(1, 2, 14, 14))
    return counted


def floor(e: Experiment, rate: float) -> dict[str, float]:
    """Return the milliseconds that one epoch of one trial would take to train and to test, at `rate` GFLOP/s."""
    counted = multiply_adds(e)
    pairs = {"train": e.train_pairs, "test": e.test_pairs}
    return {part: 2 * counted[part] * n / rate / 1e6 for part, n in pairs.items()}


def matrix_rate(sizes: Sequence[int], repeats: int = 5) -> float:
    """Return the best rate of square float32 matrix products on this thread, in GFLOP/s."""
    best = 0.0
    for n in sizes:
        a, b, c = (torch.rand(n, n) for _ in range(3))
        for _ in range(repeats):
            start = time.perf_counter()
            torch.mm(a, b, out=c)
            best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return best
