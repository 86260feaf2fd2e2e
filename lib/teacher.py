"""The Teacher holds the training and the test set, and trains and tests a model (original report, section 1.3).

A model is a stack of trials (`lib.architectures.Network`) or one plain `torch.nn.Module`. In a stack, one optimizer
steps over all parameters and the loss is the *sum* of each trial's own mean: no gradient crosses trials, so every trial
learns as if alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lib.architectures import Network, Sizes
from lib.experiment import OPTIMIZERS
from lib.pairs import Pairs
from lib.tasks import Judged, judge, loss_of

TEST_BATCH = 125  # pairs of each trial tested at once: bounds the memory, changes no result
Values = dict[str, Tensor]  # by name, `[trials]` each


class DivergedError(FloatingPointError):
    """A loss is no longer a finite number; the message says which trial's, in which epoch, and what to change."""


@dataclass(frozen=True)
class Score:
    """One pass over the test set: of each head the mean loss `[trials]`, the named and the right classes.

    `heads` has them by the head's name, `[trials, answers]`; an answer per pair, or per digit. The auxiliary heads
    never enter `correct`.
    """

    heads: dict[str, Judged]

    @property
    def correct(self) -> Tensor:
        """Whether each pair was answered rightly, `[trials, n]`."""
        return self.heads["answer"].named == self.heads["answer"].right

    def values(self) -> Values:
        """Return test losses and counts of right answers by name; those of auxiliary heads begin with the head's."""
        found = {}
        for head, judged in self.heads.items():
            found[f"{prefix(head)}test_loss"] = judged.loss
            found[f"{prefix(head)}test_correct"] = (judged.named == judged.right).sum(1)
        return found


class Epoch(NamedTuple):
    """What one epoch of training leaves: its number (from 1), its values by name, and the score after it."""

    number: int
    values: Values
    score: Score


@dataclass
class History:
    """What a training leaves: for each epoch named values `[trials]`, and the last score.

    The names are `train_loss`, `test_loss` and `test_correct`, the same behind the name of an auxiliary head
    (`auxiliary_train_loss`), and those of the measures that `on_epoch` returned.
    """

    epochs: list[Values] = field(default_factory=list)
    last: Score | None = None

    def array(self, name: str) -> NDArray[Any] | None:
        """Return the values of one name, `[trials, epochs]`, or None where there are no such values."""
        values = [epoch[name] for epoch in self.epochs if name in epoch]
        return torch.stack(values, dim=1).cpu().numpy() if values else None


class Plain(Network):
    """Lets one plain `torch.nn.Module`, `[batch, 2, 14, 14]` to `[batch, outputs]`, learn as a stack of one trial."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(Sizes())
        self.module = module

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Take the only trial's images, and give the answer its trial axis back."""
        return {"answer": self.module(images[0])[None]}


class Teacher:
    """Trains and tests models on two sets of pairs, of one trial (`[n, ...]`) or of many (`[trials, n, ...]`)."""

    def __init__(self, train: Pairs, test: Pairs, orders: Sequence[np.random.Generator] | None = None) -> None:
        """Hold normalised sets; `orders` shuffles each trial's training pairs (default: seeds 0, 1, ...)."""
        if train.classes.dim() == 2:  # one trial
            train, test = (Pairs(each.images[None], each.classes[None]) for each in (train, test))
        self.train_pairs, self.test_pairs = train, test
        self.orders = orders or [np.random.default_rng(trial) for trial in range(len(train.classes))]

    def train(
        self,
        model: nn.Module,
        *,
        on_epoch: Callable[[nn.Module], Mapping[str, Tensor] | None] | None = None,
        **settings: Any,
    ) -> History:
        """Train `model` in place, testing it after each epoch; settings as of `epochs`.

        `on_epoch` is called with the model after each epoch; what it returns, measures by name, `[trials]` each, joins
        the history. Raises DivergedError as soon as a trial's loss is not finite, ValueError for a measure of another
        shape.
        """
        history = History()
        for epoch in self.epochs(model, **settings):
            measures = on_epoch(model) if on_epoch else None
            history.epochs.append({**epoch.values, **self.checked(measures or {}, epoch.values)})
            if history.epochs[0].keys() != history.epochs[-1].keys():
                raise ValueError("on_epoch must return the same measures after every epoch")
            history.last = epoch.score
        return history

    def epochs(
        self,
        model: nn.Module,
        *,
        epochs: int = 100,
        batch_size: int = 50,
        optimizer: str = "sgd",
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        auxiliary_weight: float = 0.3,
    ) -> Iterator[Epoch]:
        """Train `model` in place and yield each epoch as it ends: to look, to draw, to stop and to go on.

        Raises DivergedError as soon as a trial's loss is not finite.
        """
        network = model if isinstance(model, Network) else Plain(model)
        stepper = make_optimizer(network, optimizer, learning_rate, momentum)
        for number in range(1, epochs + 1):
            network.train()
            sums: list[list[Tensor]] = []
            for batch in self.batches(batch_size, like=next(network.parameters())):
                stepper.zero_grad()
                outputs = checked_outputs(network, network(batch.images))
                losses = {head: loss_of(outputs[head], task, batch.classes) for head, task in network.heads.items()}
                total = weighted(losses, network.factors, auxiliary_weight)  # [trials]: each trial's own mean
                total.sum().backward()  # a sum: no gradient crosses trials
                stepper.step()
                sums.append([loss.detach() * batch.classes.shape[1] for loss in losses.values()])
            n = self.train_pairs.classes.shape[1]
            train = {
                f"{prefix(head)}train_loss": torch.stack(each).sum(0) / n
                for head, each in zip(network.heads, zip(*sums, strict=True), strict=True)
            }
            score = self.test(network)
            yield Epoch(number, finite({**train, **score.values()}, number), score)

    @torch.no_grad()
    def test(self, model: nn.Module) -> Score:
        """Test `model` in evaluation mode: running statistics, and no auxiliary head in what is correct."""
        network = model if isinstance(model, Network) else Plain(model)
        network.eval()
        like, n = next(network.parameters()), self.test_pairs.classes.shape[1]
        parts: dict[str, list[Judged]] = {head: [] for head in network.heads}
        for start in range(0, n, TEST_BATCH):
            rows = slice(start, start + TEST_BATCH)
            batch = Pairs(to(self.test_pairs.images[:, rows], like), to(self.test_pairs.classes[:, rows], like))
            outputs, share = checked_outputs(network, network(batch.images)), batch.classes.shape[1] / n
            for head, task in network.heads.items():
                judged = judge(outputs[head], task, batch.classes)
                parts[head].append(judged._replace(loss=judged.loss * share))
        return Score({head: joined(each) for head, each in parts.items()})

    def batches(self, batch_size: int, like: Tensor) -> Iterator[Pairs]:
        """Yield an epoch's batches `[trials, batch, ...]`, each trial in its own order; the last may be smaller."""
        trials, n = self.train_pairs.classes.shape[:2]
        order = torch.from_numpy(np.stack([rng.permutation(n) for rng in self.orders]))
        rows = order + n * torch.arange(trials)[:, None]  # of the flattened [trials * n, ...] sets
        for part in rows.split(batch_size, dim=1):
            yield Pairs(to(take(self.train_pairs.images, part), like), to(take(self.train_pairs.classes, part), like))

    def checked(self, measures: Mapping[str, Tensor], values: Values) -> Values:
        """Return measures as they are now. Raises ValueError for one that is not `[trials]` or has another's name."""
        trials = len(self.train_pairs.classes)
        if not isinstance(measures, Mapping):
            raise ValueError(f"on_epoch returned {type(measures).__name__}; allowed: None, or measures by name")
        for name, measure in measures.items():
            if name in values:
                raise ValueError(f"a measure is called {name!r}, which every training has already; choose another name")
            if not isinstance(measure, Tensor) or measure.shape != (trials,):
                found = list(measure.shape) if isinstance(measure, Tensor) else type(measure).__name__
                raise ValueError(f"the measure {name!r} is {found}; allowed: a number per trial, [{trials}]")
        return {name: measure.detach().clone() for name, measure in measures.items()}  # weights go on changing


def make_optimizer(model: nn.Module, name: str, learning_rate: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    """Return SGD (`momentum` is its own) or Adam with PyTorch's defaults: each number moves by itself.

    So on a stack it is one optimizer per trial. Raises ValueError for another name.
    """
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, fused=True)
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    raise ValueError(f"optimizer is {name!r}; allowed: {', '.join(map(repr, OPTIMIZERS))}")


def prefix(head: str) -> str:
    """Return what the names of a head's values begin with: nothing for the answer, the others' own names."""
    return "" if head == "answer" else f"{head}_"


def weighted(losses: Mapping[str, Tensor], factors: Mapping[str, float], auxiliary_weight: float) -> Tensor:
    """Return the loss of each trial, `[trials]`: the answer's, and the auxiliary heads' times their weights."""
    total = losses["answer"]
    for head, loss in losses.items():
        if head != "answer":
            total = total + auxiliary_weight * factors.get(head, 1.0) * loss
    return total


def checked_outputs(network: Network, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's outputs. Raises ValueError unless they are those of its heads."""
    if not isinstance(outputs, dict) or outputs.keys() != network.heads.keys():
        found = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        name = type(network).__name__
        raise ValueError(f"{name}'s forward returns {found}; allowed: a dict of its heads, {', '.join(network.heads)}")
    return outputs


def joined(parts: Sequence[Judged]) -> Judged:
    """Put what was judged in parts together; the losses are shares of the whole."""
    losses, named, right = zip(*parts, strict=True)
    loss = losses[0]
    for share in losses[1:]:
        loss = loss + share
    return Judged(loss, torch.cat(named, dim=1), torch.cat(right, dim=1))


def finite(values: Values, epoch: int) -> Values:
    """Return an epoch's values. Raises DivergedError for one that is not a finite number."""
    for each in values.values():
        if not each.isfinite().all():
            trial = int((~each.isfinite()).nonzero()[0])
            raise DivergedError(
                f"the loss of trial {trial} of this stack is {each[trial]:g} in epoch {epoch}: "
                "try a smaller learning_rate"
            )
    return values


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Return the given rows `[trials, batch]` of `values` `[trials, n, ...]`, flattened over its first two axes."""
    taken: Tensor = values.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return taken


def to(values: Tensor, like: Tensor) -> Tensor:
    """Bring values to the device of `like`, and images to its dtype (classes stay integers)."""
    return values.to(like.device, like.dtype if values.is_floating_point() else values.dtype)
