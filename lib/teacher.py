"""The Teacher holds the training and the test set, and trains and tests a model (original report, section 1.3).

A model is a stack of trials (`lib.architectures.Network`) or one plain `torch.nn.Module`. In a stack, one optimizer
steps over all parameters and the loss is the *sum* of each trial's own mean: no gradient crosses trials, so every trial
learns as if alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.architectures import Network, Outputs
from lib.pairs import Pairs

OPTIMIZERS = ("sgd", "adam")
TEST_BATCH = 125  # pairs of each trial tested at once: bounds the memory, changes no result


class DivergedError(FloatingPointError):
    """A loss is no longer a finite number; the message says which trial's, in which epoch, and what to change."""


class Losses(NamedTuple):
    """Mean losses over a batch, `[trials]` each; `auxiliary` is None where the network has no auxiliary head."""

    main: Tensor
    auxiliary: Tensor | None


@dataclass
class Score:
    """One pass over the test set: right or wrong `[trials, n]`, mean loss `[trials]`, and the auxiliary head's own.

    `auxiliary_correct` counts the auxiliary head's right answers `[trials]` out of `auxiliary_total` (2 n for digit
    classes). The auxiliary head never enters `correct`.
    """

    correct: Tensor
    loss: Tensor
    auxiliary_correct: Tensor | None = None
    auxiliary_loss: Tensor | None = None
    auxiliary_total: int | None = None


@dataclass
class History:
    """What a training leaves: for each epoch named values `[trials]`, and the last score.

    The names are `train_loss`, `test_loss` and `test_correct`, and `auxiliary_...` where there is such a head.
    """

    epochs: list[dict[str, Tensor]] = field(default_factory=list)
    last: Score | None = None

    def array(self, name: str) -> np.ndarray | None:
        """Return the values of one name, `[trials, epochs]`, or None where the network has no such values."""
        values = [epoch[name] for epoch in self.epochs if name in epoch]
        return torch.stack(values, dim=1).cpu().numpy() if values else None


class Plain(nn.Module):
    """Lets one plain `torch.nn.Module`, `[batch, 2, 14, 14]` to `[batch, outputs]`, learn as a stack of one trial."""

    auxiliary_task = None

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Outputs:
        """Take the only trial's images, and give the answer its trial axis back."""
        return Outputs(self.module(images[0])[None])


class Teacher:
    """Trains and tests models on two sets of pairs, of one trial (`[n, ...]`) or of many (`[trials, n, ...]`)."""

    def __init__(self, train: Pairs, test: Pairs, orders: Sequence[np.random.Generator] | None = None) -> None:
        """Hold normalised sets; `orders` shuffles each trial's training pairs (default: seeds 0, 1, ...)."""
        if train.target.dim() == 1:  # one trial
            train, test = (Pairs(p.images[None], p.target[None], p.classes[None]) for p in (train, test))
        self.train_pairs, self.test_pairs = train, test
        self.orders = orders or [np.random.default_rng(trial) for trial in range(len(train.target))]

    def train(
        self,
        model: nn.Module,
        *,
        epochs: int = 100,
        batch_size: int = 50,
        optimizer: str = "sgd",
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        auxiliary_weight: float = 0.3,
        on_epoch: Callable[[], None] | None = None,
    ) -> History:
        """Train `model` in place, testing it after each epoch; `on_epoch` is called after each.

        Raises DivergedError as soon as a trial's loss is not finite.
        """
        model = model if isinstance(model, Network) else Plain(model)
        stepper = make_optimizer(model, optimizer, learning_rate, momentum)
        history = History()
        for _ in range(epochs):
            model.train()
            sums = []
            for batch in self.batches(batch_size, like=next(model.parameters())):
                stepper.zero_grad()
                losses = batch_losses(model, model(batch.images), batch)  # [trials]: each trial's own mean
                total = losses.main if losses.auxiliary is None else losses.main + auxiliary_weight * losses.auxiliary
                total.sum().backward()  # a sum: no gradient crosses trials
                stepper.step()
                sums.append([loss.detach() * batch.target.shape[1] for loss in losses if loss is not None])
            self.record(history, [torch.stack(s).sum(0) for s in zip(*sums, strict=True)], self.test(model))
            if on_epoch:
                on_epoch()
        return history

    @torch.no_grad()
    def test(self, model: nn.Module) -> Score:
        """Test `model` in evaluation mode: running statistics, and no auxiliary head in the score."""
        model = model if isinstance(model, Network | Plain) else Plain(model)
        model.eval()
        like, n = next(model.parameters()), self.test_pairs.target.shape[1]
        parts = []
        for start in range(0, n, TEST_BATCH):
            batch = Pairs(*(to(part[:, start : start + TEST_BATCH], like) for part in vars(self.test_pairs).values()))
            outputs, size = model(batch.images), batch.target.shape[1] / n
            losses = [loss if loss is None else loss * size for loss in batch_losses(model, outputs, batch)]
            right = decide(outputs.answer.flatten(2)) == batch.target
            helped = None
            if outputs.auxiliary is not None:
                helped = right_auxiliary(model.auxiliary_task, outputs.auxiliary, batch)
            parts.append((right, losses[0], helped, losses[1]))
        rights, mains, helps, auxiliaries = zip(*parts, strict=True)
        score = Score(torch.cat(rights, dim=1), sum(mains))
        if model.auxiliary_task:
            helps = torch.cat(helps, dim=1)
            score.auxiliary_correct, score.auxiliary_loss = helps.sum(1), sum(auxiliaries)
            score.auxiliary_total = helps.shape[1]
        return score

    def batches(self, batch_size: int, like: Tensor) -> Iterator[Pairs]:
        """Yield an epoch's batches `[trials, batch, ...]`, each trial in its own order; the last may be smaller."""
        trials, n = self.train_pairs.target.shape
        order = torch.from_numpy(np.stack([rng.permutation(n) for rng in self.orders]))
        rows = order + n * torch.arange(trials)[:, None]  # of the flattened [trials * n, ...] sets
        for part in rows.split(batch_size, dim=1):
            yield Pairs(*(to(take(values, part), like) for values in vars(self.train_pairs).values()))

    def record(self, history: History, sums: list[Tensor], score: Score) -> None:
        """Append one epoch to `history`, refusing losses that are not finite."""
        train_loss, *auxiliary = (losses / self.train_pairs.target.shape[1] for losses in sums)
        values = {"train_loss": train_loss, "test_loss": score.loss, "test_correct": score.correct.sum(1)}
        if auxiliary:
            values |= {"auxiliary_train_loss": auxiliary[0], "auxiliary_test_loss": score.auxiliary_loss}
            values["auxiliary_test_correct"] = score.auxiliary_correct
        history.epochs.append(values)
        history.last = score
        for losses in values.values():
            if not losses.isfinite().all():
                trial = int((~losses.isfinite()).nonzero()[0])
                raise DivergedError(
                    f"the loss of trial {trial} of this stack is {losses[trial]:g} in epoch {len(history.epochs)}: "
                    "try a smaller learning_rate"
                )


def make_optimizer(model: nn.Module, name: str, learning_rate: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    """Return SGD (`momentum` is its own) or Adam with PyTorch's defaults: each number moves by itself.

    So on a stack it is one optimizer per trial. Raises ValueError for another name.
    """
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, fused=True)
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    raise ValueError(f"optimizer is {name!r}; allowed: {', '.join(map(repr, OPTIMIZERS))}")


def batch_losses(model: nn.Module, outputs: Outputs, batch: Pairs) -> Losses:
    """Return the main and the auxiliary loss of each trial: means over the batch (and over both digits)."""
    main = loss_per_trial(outputs.answer.flatten(2), batch.target)
    if outputs.auxiliary is None:
        return Losses(main, None)
    if model.auxiliary_task == "comparison":
        return Losses(main, loss_per_trial(outputs.auxiliary.flatten(2), batch.target))
    return Losses(
        main, loss_per_trial(outputs.auxiliary.flatten(3).flatten(1, 2), batch.classes.flatten(1, 2), classes=10)
    )


def loss_per_trial(outputs: Tensor, target: Tensor, classes: int = 2) -> Tensor:
    """CrossEntropyLoss where there is an output per class (one-hot labels), MSELoss where there is one (section 1.3).

    `outputs` `[trials, n, k]`, `target` `[trials, n]` in 0 ... classes - 1; returns the mean per trial, `[trials]`.
    With one output a class is regressed as class / (classes - 1).
    """
    if outputs.shape[-1] == 1:
        each = F.mse_loss(outputs[..., 0], target.to(outputs.dtype) / (classes - 1), reduction="none")
    else:
        each = F.cross_entropy(outputs.mT, target, reduction="none")  # mT: much faster than over a short last axis
    return each.mean(1)


def decide(outputs: Tensor, classes: int = 2) -> Tensor:
    """Turn outputs `[..., k]` into classes: the greatest (ties to the first) or, of one output, the nearest class.

    With two classes and one output that is "smaller or equal" where it is >= 0.5.
    """
    if outputs.shape[-1] == 1:
        middles = (torch.arange(1, classes, dtype=outputs.dtype, device=outputs.device) - 0.5) / (classes - 1)
        return torch.bucketize(outputs[..., 0].contiguous(), middles, right=True)  # of middles that are not greater
    return outputs.max(-1).indices  # several times as fast as argmax, the first of equals too


def right_auxiliary(task: str, auxiliary: Tensor, batch: Pairs) -> Tensor:
    """Say whether each answer of the auxiliary head is right: `[trials, n]`, or `[trials, 2 n]` for digit classes."""
    if task == "comparison":
        return decide(auxiliary.flatten(2)) == batch.target
    return (decide(auxiliary.flatten(3), classes=10) == batch.classes).flatten(1, 2)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Return the given rows `[trials, batch]` of `values` `[trials, n, ...]`, flattened over its first two axes."""
    return values.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def to(values: Tensor, like: Tensor) -> Tensor:
    """Bring values to the device of `like`, and images to its dtype (classes stay integers)."""
    return values.to(like.device, like.dtype if values.is_floating_point() else values.dtype)
