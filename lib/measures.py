"""Named measures of a training: what an experiment can be asked for beside its accuracy.

A measure is a function of (network, teacher) in this file or in any importable module, named `module:function`. It
returns a number per trial, `[trials]`, or several by name; one that is marked `at_end` is taken once, after the last
epoch, and may return `[trials, n]`. It can neither change a training nor a key: whatever it does to the network, its
random streams or its running statistics is undone, so that the trained bits are the same with and without it.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from lib import sources
from lib.architectures import Network
from lib.messages import nearest, show
from lib.pairs import Gathered
from lib.plain import Plain
from lib.state import own_state
from lib.store import FIELDS, HEAD_LISTS
from lib.tasks import CLASSES, COMPARISON, loss_of
from lib.teacher import TEST_BATCH, Teacher, prefix, to

Function = Callable[[Network, Teacher], Tensor | Mapping[str, Tensor]]
F = TypeVar("F", bound=Callable[..., object])
Values = dict[
    str, Tensor
]  # by name: `[trials, epochs]`, or `[trials]` or `[trials, n]` of one that is taken at the end

OURS: dict[str, Function] = {}  # by name: those of this file


@dataclass(frozen=True)
class Measure:
    """A measure by its name: its function, when it is taken, and the SHA-256 of its source where that is not ours."""

    name: str
    function: Function
    at_end: bool
    source: str


def ours(function: F) -> F:
    """Give a measure of this file its short name."""
    OURS[function.__name__] = cast(Function, function)
    return function


def at_end(function: F) -> F:
    """Mark a measure that is taken once, after the last epoch."""
    setattr(function, "at_end", True)  # noqa: B010  # a mark on a function
    return function


def find(name: str) -> Measure:
    """Return a measure: one of this file by its name, or any `module:function`, imported anew where it was edited.

    Raises ValueError when there is none, saying why.
    """
    if not isinstance(name, str):
        raise ValueError(f"a measure is {show(name)}; allowed: a name, {', '.join(OURS)}, or module:function")
    module, colon, attribute = name.removeprefix("lib.measures:").partition(":")
    if not colon:
        if module not in OURS:
            known = ", ".join(map(repr, OURS))
            raise ValueError(f"a measure is {name!r}; allowed: {known}, or module:function{nearest(module, OURS)}")
        function = OURS[module]
        return Measure(module, function, hasattr(function, "at_end"), "")
    try:
        sources.renew(module)
        function = getattr(sys.modules[module], attribute)
        source = sources.digest(module)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise ValueError(f"the measure {name!r} cannot be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"the measure {name!r} is {show(function)}; allowed: a function of (network, teacher)")
    return Measure(name, function, hasattr(function, "at_end"), source)


@dataclass
class Taken:
    """What measures said of one training; `values` has them by the measure and its values' names."""

    measures: Sequence[Measure]
    epochs: dict[Measure, list[Values]] = field(default_factory=dict)
    values: dict[Measure, Values] = field(default_factory=dict)

    def after_epoch(self, network: Network, teacher: Teacher) -> None:
        """Take those of every epoch. Raises ValueError for one of a wrong shape."""
        for measure in self.measures:
            if not measure.at_end:
                self.epochs.setdefault(measure, []).append(take(measure, network, teacher))

    def at_end(self, network: Network, teacher: Teacher) -> None:
        """Take those of the end, and put together those of the epochs.

        Raises ValueError for one of a wrong shape, and for values of a name that there is already.
        """
        for measure in self.measures:
            if measure.at_end:
                self.values[measure] = take(measure, network, teacher)
            else:
                epochs = self.epochs[measure]
                if any(each.keys() != epochs[0].keys() for each in epochs):
                    raise ValueError(f"the measure {measure.name!r} must return the same names after every epoch")
                self.values[measure] = {name: torch.stack([each[name] for each in epochs], dim=1) for name in epochs[0]}
        check_names(self.values, network)


@own_state()
def take(measure: Measure, network: Network, teacher: Teacher) -> Values:
    """Take one measure and leave network and teacher as they were.

    Raises ValueError for a wrong shape, and for whatever a measure from outside lib raises.
    """
    with untouched(network, teacher):
        try:
            found = measure.function(network, teacher)
        except Exception as error:
            if not measure.source:  # ours say it themselves
                raise
            words = " ".join(str(error).split())
            raise ValueError(f"the measure {measure.name!r} fails: {type(error).__name__}: {words}") from error
    values = dict(found) if isinstance(found, Mapping) else {measure.name.rpartition(":")[2]: found}
    for name, value in values.items():
        shape = list(value.shape) if isinstance(value, Tensor) else None
        if shape is None or shape[:1] != [teacher.trials] or len(shape) > (2 if measure.at_end else 1):
            allowed = f"[{teacher.trials}]" + (f" or [{teacher.trials}, n]" if measure.at_end else "")
            of = "" if name == measure.name.rpartition(":")[2] else f" returns {name!r}, which"
            got = shape if shape is not None else type(value).__name__
            raise ValueError(f"the measure {measure.name!r}{of} is {got}; allowed: a number per trial, {allowed}")
        if not value.isfinite().all():
            raise ValueError(f"the measure {measure.name!r} has values of {name!r} that are no finite numbers")
    return {name: value.detach().cpu().clone() for name, value in values.items()}


def check_names(found: Mapping[Measure, Values], network: Network) -> None:
    """Raise ValueError for values that have a name of another measure's values, or of what every result has."""
    kept = {f"{prefix(head)}{name}" for head in network.heads for name in (*HEAD_LISTS, "total")} | FIELDS
    by_name: dict[str, Measure] = {}
    for measure, values in found.items():
        for name in values:
            if name in kept:
                raise ValueError(
                    f"the measure {measure.name!r} has values called {name!r}, which every result has already; choose "
                    "another name"
                )
            if (other := by_name.setdefault(name, measure)) is not measure:
                raise ValueError(
                    f"the measures {other.name!r} and {measure.name!r} both have values called {name!r}; ask for one "
                    "at a time"
                )


@contextmanager
def untouched(network: Network, teacher: Teacher) -> Iterator[None]:
    """Let a measure do what it likes, and afterwards have weights, statistics, modes and random streams as before."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    modes = [(module, module.training) for module in network.modules()]
    learn = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    owners = [each for module in network.modules() if isinstance(each := getattr(module, "streams", None), list)]
    streams = [rng for each in owners for rng in each if isinstance(rng, np.random.Generator)]  # not a user's `streams`
    before = [(rng, copy.deepcopy(rng.bit_generator.state)) for rng in (*streams, *teacher.orders)]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            yield
        finally:
            network.load_state_dict(state)
            for module, training in modes:
                module.training = training
            for parameter, requires_grad, gradient in learn:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient
            for rng, stream in before:
                rng.bit_generator.state = stream


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each trial's part of tensors `[trials, ...]`, `[trials]`."""
    rows = [each.detach().double().reshape(len(each), -1) for each in tensors]
    return torch.stack([each.square().sum(1) for each in rows]).sum(0).sqrt()


@ours
def gradient_norms(network: Network, teacher: Teacher) -> Values:
    """Norm of the gradient of each head's loss at the extractor's weights, on the last batch, without any weight.

    The extractor is the part called `extract`; of a network without one it is all that the answer reaches.
    """
    assert teacher.last_batch is not None  # a measure is taken of a training
    batch, network = teacher.last_batch, network.train()
    named = own(network).named_parameters()
    shared = [p for name, p in named if name.startswith("extract")] or list(network.parameters())
    for parameter in shared:
        parameter.requires_grad_(True)  # a frozen part has a gradient, too
    outputs, found = network(batch.images), {}
    for head, task in network.heads.items():
        loss = loss_of(outputs[head], task, batch.classes).sum()
        gradients = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        found[f"gradient_norm_{head}"] = by_trial(teacher, [each for each in gradients if each is not None])
    return found


@ours
def weight_norms(network: Network, teacher: Teacher) -> Values:
    """Norm of the weights of each part of the network."""
    parts = {name: list(part.parameters()) for name, part in own(network).named_children()}
    return {f"weight_norm_{name}": by_trial(teacher, values) for name, values in parts.items() if values}


@ours
def answer_spread(network: Network, teacher: Teacher) -> Tensor:
    """SD over the test pairs of how far the answer leans to "smaller or equal": its output, or the outputs' difference.

    Before its Sigmoid where it ends in one (a torch.nn.Sigmoid), so that it says what the last layer says.
    """
    passed: list[tuple[Tensor, Tensor]] = []  # what each Sigmoid was given, and what it made of it
    hooks = [
        part.register_forward_hook(lambda layer, inputs, output: passed.append((inputs[0], output)))
        for part in network.modules()
        if isinstance(part, nn.Sigmoid)
    ]
    like, answers, network = next(network.parameters()), [], network.eval()
    try:
        with torch.no_grad():
            for start in range(0, teacher.test_pairs.classes.shape[1], TEST_BATCH):
                passed.clear()
                answer = network(to(teacher.test_pairs.part(slice(start, start + TEST_BATCH)), like).images)["answer"]
                for given, made in passed:
                    if made.data_ptr() == answer.data_ptr() and made.numel() == answer.numel():
                        answer = given.reshape(answer.shape)
                answers.append(answer.flatten(2))
    finally:
        for hook in hooks:
            hook.remove()
    answer = torch.cat(answers, dim=1)
    leaning = answer[..., -1] - answer[..., 0] if answer.shape[-1] > 1 else answer[..., 0]
    return leaning.std(1)


@ours
def train_accuracy(network: Network, teacher: Teacher) -> Tensor:
    """Percentage of the training pairs that are answered rightly in evaluation mode, after each epoch."""
    return 100 * teacher.test(network, teacher.train_pairs).correct.double().mean(1)


@ours
@at_end
def final_train_accuracy(network: Network, teacher: Teacher) -> Tensor:
    """Percentage of the training pairs that are answered rightly in evaluation mode, after the last epoch."""
    return 100 * teacher.test(network, teacher.train_pairs).correct.double().mean(1)


@ours
@at_end
def final_score(network: Network, teacher: Teacher) -> Values:
    """Percentage of right answers to all test digits, paired anew for each trial (5,000 pairs of MNIST's 10,000).

    Sharper than the test set of each epoch; `final_pairs` is their number.
    """
    correct = teacher.test(network, final_pairs(teacher)).correct
    pairs = torch.full((teacher.trials,), correct.shape[1])
    return {"final_score": 100 * correct.double().mean(1), "final_pairs": pairs}


@ours
@at_end
def digit_names(network: Network, teacher: Teacher) -> Values:
    """Return the class that each head about single digits names for every test digit, `[trials, digits]`, in order."""
    pairs = final_pairs(teacher)
    count = len(pairs.names)
    rows = torch.arange(count + count % 2).remainder(count).view(1, -1, 2)  # of an odd number the first one twice
    score = teacher.test(network, replace(pairs, rows=rows.expand(teacher.trials, -1, -1)))
    heads = [head for head, task in network.heads.items() if task == CLASSES]
    if not heads:
        name = type(own(network)).__name__
        raise ValueError(f"the measure 'digit_names' asks for a head that names digits, and {name} has none")
    return {f"digit_names_{head}": score.heads[head].named[:, :count].to(torch.uint8) for head in heads}


@ours
@at_end
def named_score(network: Network, teacher: Teacher) -> Values:
    """Percentage of right answers that comparing a class head's own two names would give, on the pairs of final_score.

    `names_right` is the percentage of their digits that it names rightly.
    """
    pairs = final_pairs(teacher)
    judged = {h: j for h, j in teacher.test(network, pairs).heads.items() if network.heads[h] == CLASSES}
    if not judged:
        name = type(own(network)).__name__
        raise ValueError(f"the measure 'named_score' asks for a head that names digits, and {name} has none")
    found = {}
    for head, each in judged.items():
        named, right = (COMPARISON.target(classes.unflatten(1, (-1, 2))) for classes in (each.named, each.right))
        found[f"named_score_{head}"] = 100 * (named == right).double().mean(1)
        found[f"names_right_{head}"] = 100 * (each.named == each.right).double().mean(1)
    return found


def final_pairs(teacher: Teacher) -> Gathered:
    """Return all test digits paired anew. Raises ValueError for a Teacher that was made without them."""
    if teacher.final_pairs is None:
        raise ValueError("this Teacher has no final_pairs: lib.prepare makes one that has")
    return teacher.final_pairs


def own(network: Network) -> nn.Module:
    """Return a network as its author knows it: a plain module without the stack of one around it."""
    return network.module if isinstance(network, Plain) else network


def by_trial(teacher: Teacher, tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each trial's part of tensors, `[trials]`; a plain module's have no axis for its one trial."""
    if teacher.trials == 1:
        tensors = [each.reshape(1, -1) for each in tensors]
    return norms(tensors) if tensors else torch.zeros(teacher.trials, dtype=torch.float64)
