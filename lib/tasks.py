"""The questions that a network's heads answer: each knows its classes and its own targets; one ladder judges them all.

Another question about a pair is one entry here, or a `Task` in the file of an own architecture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lib import datasets


@dataclass(frozen=True)
class Task:
    """A question: `target` makes what is right, `[trials, n]` or `[trials, n, 2]`, of `[trials, n, 2]` digit classes.

    The targets are 0 ... classes - 1. A head that answers it has an output per class (one-hot labels) or one output.
    """

    name: str
    question: str  # as drawings say it
    classes: int
    target: Callable[[Tensor], Tensor]


# Original report, section 1.1: "smaller or equal / larger".
COMPARISON = Task("comparison", "first ≤ second?", 2, lambda classes: (classes[..., 0] <= classes[..., 1]).long())
CLASSES = Task("classes", "class of each digit", datasets.CLASSES, lambda classes: classes)


class Judged(NamedTuple):
    """One head's answers to a batch: mean loss `[trials]`, and `named` and `right` classes `[trials, answers]`."""

    loss: Tensor
    named: Tensor
    right: Tensor


def arranged(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs `[trials, answers, k]` and their target `[trials, answers]`.

    `outputs` are `[trials, n, k]`, or with an axis for the digits as `target`, and maps of size 1 where the network is
    fully convolutional.
    """
    axes = target.dim()
    return outputs.flatten(axes).flatten(1, axes - 1), target.flatten(1)


def loss_of(outputs: Tensor, task: Task, classes: Tensor) -> Tensor:
    """Return the mean loss of each trial, `[trials]` (original report, section 1.3).

    CrossEntropyLoss where there is an output per class (one-hot labels), MSELoss where there is one; then a class is
    regressed as class / (classes - 1).
    """
    outputs, target = arranged(outputs, task.target(classes))
    if outputs.shape[-1] == 1:
        each = F.mse_loss(outputs[..., 0], target.to(outputs.dtype) / (task.classes - 1), reduction="none")
    else:
        each = F.cross_entropy(outputs.mT, target, reduction="none")  # mT: much faster than over a short last axis
    return each.mean(1)


def judge(outputs: Tensor, task: Task, classes: Tensor) -> Judged:
    """Return the loss of a head's outputs, the classes that they name, and the right ones."""
    answers, target = arranged(outputs, task.target(classes))
    return Judged(loss_of(outputs, task, classes), decide(answers, task.classes), target)


def decide(outputs: Tensor, classes: int = 2) -> Tensor:
    """Turn outputs `[..., k]` into classes: the greatest (ties to the first) or, of one output, the nearest class.

    With two classes and one output that is the second class, "smaller or equal", where it is >= 0.5.
    """
    if outputs.shape[-1] == 1:
        middles = (torch.arange(1, classes, dtype=outputs.dtype, device=outputs.device) - 0.5) / (classes - 1)
        return torch.bucketize(outputs[..., 0].contiguous(), middles, right=True)  # of middles that are not greater
    return outputs.max(-1).indices  # several times as fast as argmax, the first of equals too
