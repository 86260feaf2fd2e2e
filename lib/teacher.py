"""The Teacher holds the training and the test set, and trains and tests a model (original report, section 1.3).

A model is a stack of trials (`lib.architectures.Network`) or one plain `torch.nn.Module`. In a stack, one optimizer
steps over all parameters and the loss is the *sum* of each trial's own mean: no gradient crosses trials, so every trial
learns as if alone.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lib.architectures import Network
from lib.experiment import OPTIMIZERS
from lib.messages import one_of
from lib.pairs import Gathered, Pairs
from lib.plain import Plain
from lib.state import own_state
from lib.tasks import Judged, judge, loss_of

TEST_BATCH = 125  # pairs of each trial tested at once: bounds the memory, changes no result
TEST_BATCH_ON_GPU = 1_000  # which wants more work at once
Values = dict[str, Tensor]  # by name, `[trials]` each
Work = Callable[[Tensor], tuple[Values, dict[str, Judged]]]  # an epoch's, of the order of its pairs


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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is trained; what is not said is the original's.

    `auxiliary_weights` are those of heads that do not have `auxiliary_weight`. `stopped` is a part of the network whose
    output the answer's gradient does not pass. In the `first_epochs` only the losses of the heads in `first` count
    (all, where none is named); after them the parts in `frozen` learn nothing more, and their running statistics stay.
    Without `first_epochs` they are frozen from the start: weights stay as they were drawn, statistics are learned.
    """

    epochs: int = 100
    batch_size: int = 50
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    auxiliary_weight: float = 0.3
    auxiliary_weights: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""
    first: Sequence[str] = ()
    first_epochs: int = 0
    frozen: Sequence[str] = ()

    def weights(self, network: Network, epoch: int) -> dict[str, float]:
        """Return what each head's loss weighs in an epoch (from 1); the answer's is 1."""
        weights = {
            head: 1.0 if head == "answer" else self.auxiliary_weights.get(head, self.auxiliary_weight) * factor
            for head, factor in ((head, network.factors.get(head, 1.0)) for head in network.heads)
        }
        alone = self.first if epoch <= self.first_epochs else ()
        return {head: weight for head, weight in weights.items() if not alone or head in alone}


class Teacher:
    """Trains and tests models on two sets of pairs, of one trial (`[n, ...]`) or of many (`[trials, n, ...]`).

    `final_pairs`, where it has them, are all test digits paired anew, for measures that are taken once at the end.
    """

    def __init__(
        self,
        train: Pairs | Gathered,
        test: Pairs | Gathered,
        orders: Sequence[np.random.Generator] | None = None,
        final_pairs: Gathered | None = None,
    ) -> None:
        """Hold normalised sets; `orders` shuffles each trial's training pairs (default: seeds 0, 1, ...)."""
        if isinstance(train, Pairs) and isinstance(test, Pairs) and train.classes.dim() == 2:  # one trial
            train, test = (Pairs(each.images[None], each.classes[None]) for each in (train, test))
        self.train_pairs, self.test_pairs, self.final_pairs = train, test, final_pairs
        self.trials, self.n = train.classes.shape[:2]
        self.orders = orders or [np.random.default_rng(trial) for trial in range(self.trials)]
        self.last_batch: Pairs | None = None  # of the training
        self.copies: dict[tuple[int, torch.device, torch.dtype], Pairs | Gathered] = {}  # of the sets, on a GPU

    def train(
        self,
        model: nn.Module,
        *,
        on_epoch: Callable[[nn.Module], Mapping[str, Tensor] | None] | None = None,
        **settings: Any,
    ) -> History:
        """Train `model` in place, testing it after each epoch; settings as of `Settings`.

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

    def epochs(self, model: nn.Module, **settings: Any) -> Iterator[Epoch]:
        """Train `model` in place and yield each epoch as it ends: to look, to draw, to stop and to go on.

        Settings as of `Settings`. Raises DivergedError as soon as a trial's loss is not finite, ValueError for heads
        and parts that the model has not.
        """
        chosen, network = Settings(**settings), model if isinstance(model, Network) else Plain(model)
        for head in chosen.first:
            one_of("first", head, network.heads)
        for head in chosen.auxiliary_weights:
            one_of("auxiliary_weights", head, network.heads.keys() - {"answer"})
        # The fused optimizers cannot begin with some parameters and take others up later.
        step = (chosen.optimizer, chosen.learning_rate, chosen.momentum)
        stepper = make_optimizer(network, *step, fused=chosen.first_epochs == 0)
        with Gate(network, chosen.stopped) as gate:
            work = functools.partial(self.work, network, chosen, stepper, gate)
            replayed = self.replayed(network, chosen, functools.partial(work, 1))
            for number in range(1, chosen.epochs + 1):
                yield self.epoch(number, replayed or functools.partial(work, number), next(network.parameters()).device)

    def replayed(self, network: Network, settings: Settings, work: Work) -> Work | None:
        """Return an epoch's work as one that a GPU replays as a whole, or None.

        That is where every epoch launches the same, and of lib's own networks: of another one nobody knows whether it
        waits for a number, or draws one.
        """
        alike = not (settings.stopped or settings.first or settings.first_epochs or settings.frozen)
        watched = any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
        if next(network.parameters()).device.type != "cuda" or not alike or watched or not network.steady:
            return None
        from lib.cuda.graph import Replayed

        return Replayed(work)

    @own_state()
    def epoch(self, number: int, work: Work, device: torch.device) -> Epoch:
        """Train a network for one epoch and test it."""
        values, heads = work(self.order().to(device))
        return Epoch(number, finite(values, number), Score(heads))

    def work(
        self,
        network: Network,
        settings: Settings,
        stepper: torch.optim.Optimizer,
        gate: "Gate",
        number: int,
        order: Tensor,
    ) -> tuple[Values, dict[str, Judged]]:
        """Do the arithmetic of an epoch, each trial's pairs in its `order` `[trials, n]`: values, and a test."""
        network.train()
        if number > settings.first_epochs:
            freeze([network.part(name) for name in settings.frozen], statistics=settings.first_epochs > 0)
        weights = settings.weights(network, number)
        sums: list[list[Tensor]] = []
        for batch in self.batches(settings.batch_size, next(network.parameters()), order):
            self.last_batch = batch
            stepper.zero_grad()
            outputs = checked_outputs(network, network(batch.images))
            losses = {head: loss_of(outputs[head], task, batch.classes) for head, task in network.heads.items()}
            gate.backward(losses, weights)
            stepper.step()
            sums.append([loss.detach() * batch.classes.shape[1] for loss in losses.values()])
        train = {
            f"{prefix(head)}train_loss": torch.stack(each).sum(0) / self.n
            for head, each in zip(network.heads, zip(*sums, strict=True), strict=True)
        }
        score = self.test(network)
        return {**train, **score.values()}, score.heads

    @own_state()
    @torch.no_grad()
    def test(self, model: nn.Module, pairs: Pairs | Gathered | None = None) -> Score:
        """Test `model` in evaluation mode: running statistics, and no auxiliary head in what is correct.

        On the test set, or on other `pairs` of the same trials.
        """
        network, pairs = model if isinstance(model, Network) else Plain(model), pairs or self.test_pairs
        network.eval()
        like, n = next(network.parameters()), pairs.classes.shape[1]
        pairs, size = self.near(pairs, like), TEST_BATCH if like.device.type == "cpu" else TEST_BATCH_ON_GPU
        parts: dict[str, list[Judged]] = {head: [] for head in network.heads}
        for start in range(0, n, size):
            batch = to(pairs.part(slice(start, start + size)), like)
            outputs, share = checked_outputs(network, network(batch.images)), batch.classes.shape[1] / n
            for head, task in network.heads.items():
                judged = judge(outputs[head], task, batch.classes)
                parts[head].append(judged._replace(loss=judged.loss * share))
        return Score({head: joined(each) for head, each in parts.items()})

    def batches(self, batch_size: int, like: Tensor, order: Tensor | None = None) -> Iterator[Pairs]:
        """Yield an epoch's batches `[trials, batch, ...]`, each trial in its own order; the last may be smaller."""
        pairs, order = self.near(self.train_pairs, like), self.order() if order is None else order
        for places in order.to(pairs.classes.device).split(batch_size, dim=1):
            yield to(pairs.take(places), like)

    def order(self) -> Tensor:
        """Draw the order of each trial's training pairs in an epoch, `[trials, n]`."""
        return torch.from_numpy(np.stack([rng.permutation(self.n) for rng in self.orders]))

    def near(self, pairs: Pairs | Gathered, like: Tensor) -> Pairs | Gathered:
        """Return a set where `like` is: on a GPU a copy, which of the sets held here is made once."""
        if like.device.type == "cpu":
            return pairs
        held = (id(pairs), like.device, like.dtype)
        copy = self.copies.get(held) or (to(pairs, like) if isinstance(pairs, Pairs) else pairs.on(like.device))
        if pairs is self.train_pairs or pairs is self.test_pairs:
            self.copies[held] = copy
        return copy

    def checked(self, measures: Mapping[str, Tensor], values: Values) -> Values:
        """Return measures as they are now. Raises ValueError for one that is not `[trials]` or has another's name."""
        trials = self.trials
        if not isinstance(measures, Mapping):
            raise ValueError(f"on_epoch returned {type(measures).__name__}; allowed: None, or measures by name")
        for name, measure in measures.items():
            if name in values:
                raise ValueError(f"a measure is called {name!r}, which every training has already; choose another name")
            if not isinstance(measure, Tensor) or measure.shape != (trials,):
                found = list(measure.shape) if isinstance(measure, Tensor) else type(measure).__name__
                raise ValueError(f"the measure {name!r} is {found}; allowed: a number per trial, [{trials}]")
        return {name: measure.detach().clone() for name, measure in measures.items()}  # weights go on changing


def make_optimizer(
    model: nn.Module, name: str, learning_rate: float, momentum: float = 0.0, fused: bool = True
) -> torch.optim.Optimizer:
    """Return SGD (`momentum` is its own) or Adam with PyTorch's defaults: each number moves by itself.

    So on a stack it is one optimizer per trial. Raises ValueError for another name.
    """
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, fused=fused)
    if name == "adam":
        on_gpu = next(model.parameters()).device.type == "cuda"  # its count of steps, too, where it may be recorded
        return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=fused, capturable=on_gpu)
    raise ValueError(f"optimizer is {name!r}; allowed: {', '.join(map(repr, OPTIMIZERS))}")


def prefix(head: str) -> str:
    """Return what the names of a head's values begin with: nothing for the answer, the others' own names."""
    return "" if head == "answer" else f"{head}_"


def freeze(parts: Sequence[nn.Module], statistics: bool) -> None:
    """Let parts of a network learn nothing more: their weights and, if asked, their running statistics too."""
    for part in parts:
        part.requires_grad_(False)  # and no gradient: an optimizer leaves them as they are, momentum and all
        if statistics:
            part.eval()


class Gate:
    """Sends losses back through a network: all at once, or the answer's up to a part whose output it does not pass."""

    def __init__(self, network: Network, stopped: str) -> None:
        """Watch the part `stopped`, if one is. Raises ValueError where there is none of that name."""
        self.stopped, self.closed, self.called = stopped, False, False
        self.learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.hook = network.part(stopped).register_forward_hook(self.watch) if stopped else None

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the network as it was: what was frozen may learn again."""
        if self.hook:
            self.hook.remove()
        for parameter in self.learning:
            parameter.requires_grad_(True)

    def watch(self, part: nn.Module, inputs: object, output: object) -> None:
        """Stand where the part's output goes on. Raises ValueError for an output that is no tensor."""
        if not isinstance(output, Tensor):
            found = type(output).__name__
            raise ValueError(
                f"stopped is {self.stopped!r}, whose output is {found}; allowed: a part that returns a tensor"
            )
        self.called = True
        if output.requires_grad:
            output.register_hook(lambda gradient: torch.zeros_like(gradient) if self.closed else None)

    def backward(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
        """Add up the gradients of the losses `[trials]` that weigh something.

        Raises ValueError for a part that is to stop the answer's and is never called, such as a list of layers.
        """
        if self.hook and not self.called:
            raise ValueError(
                f"stopped is {self.stopped!r}, which the network never calls; allowed: a part that it calls"
            )
        if self.hook and "answer" in weights:
            rest = {head: weight for head, weight in weights.items() if head != "answer"}
            self.closed = True
            send_back(losses["answer"], keep=bool(rest))
            self.closed = False
            weights = rest
        if weights:
            send_back(weighted(losses, weights))


def send_back(loss: Tensor, keep: bool = False) -> None:
    """Add up the gradient of a loss `[trials]`: of its sum, so that none crosses trials; `keep` the graph for another.

    There is none where all that leads to the loss is frozen.
    """
    if loss.requires_grad:
        loss.sum().backward(retain_graph=keep)


def weighted(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the loss of each trial, `[trials]`: each trial's own mean, the heads' times their weights."""
    total: Tensor | None = None
    for head in sorted(weights, key=lambda head: head != "answer"):  # the answer's first
        part = losses[head] if head == "answer" else weights[head] * losses[head]
        total = part if total is None else total + part
    assert total is not None
    return total


def checked_outputs(network: Network, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's outputs. Raises ValueError unless they are those of its heads."""
    if not isinstance(outputs, dict) or outputs.keys() != network.heads.keys():
        found = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        name = type(network.module if isinstance(network, Plain) else network).__name__
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


def to(pairs: Pairs, like: Tensor) -> Pairs:
    """Bring pairs to the device of `like`, and images to its dtype (classes stay integers)."""
    return Pairs(pairs.images.to(like.device, like.dtype), pairs.classes.to(like.device))
