"""What every architecture must hold, tried by training it a little: `check_architecture` is to be run on one's own.

A stack trains many trials as one network, and a result is only worth something where each of them learns as if alone,
the same each time. Nothing here knows a layer by its name; whatever breaks this shows in the numbers.
"""

import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from lib import seeds
from lib.architectures import Network, Sizes, build
from lib.experiment import Experiment
from lib.foreign import find, is_plain
from lib.pairs import Pairs, draw_trial, normalise, side_by_side
from lib.plain import Plain, build_plain
from lib.state import own_state
from lib.teacher import Teacher, checked_outputs
from lib.training import train_fully

SEED, TRAIN, TEST, BATCH, EPOCHS = 7, 60, 40, 10, 2
CLOSE = 1e-7  # in float64, after a dozen steps
MOVED = 1e-4  # of an output, where another pair was changed: more than rounding
CAREFUL = 1e-4  # a learning rate with which hardly any network diverges: of a plain module only equality is asked
REMEDY = {
    "repeat": "its numbers come from somewhere that no seed of the experiment sets (torch's own generator, say): a "
    "random layer needs a stream of its own for each trial",
    "plain": "its numbers come from somewhere that no seed of the experiment sets, such as Python's or numpy's own "
    "generators, or a state that its trials share (torch's generator is seeded)",
    "stack": "its operations must work on each trial's own slice, first axis `trials`, whatever the size of the stack",
    "pairs": "tested, each pair is answered by itself; look at how axes are joined and parted, for that can swap pairs",
    "crossing": "an operation mixes the trials: no sum, mean or product may run over the first axis",
}


@own_state()
def check_architecture(name: str, one_hot: bool | None = None) -> list[str]:
    """Return what is wrong with an architecture (`module:Class` or a registered name), a sentence each; none is good.

    It is built and trained for seconds on embedded digits: a stack in both label encodings, in float64, each trial
    alone and in stacks of 2 and 3; a plain module in the encoding that is asked for (None: in the one that its answer
    has), each trial again and in another order. Raises ValueError where it cannot be imported.
    """
    architecture = find(name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers do: two threads of small operations wait for each other
    try:
        if is_plain(architecture):
            return found_plain(architecture, one_hot)
        for encoding in (True, False):
            if faults := found(architecture, encoding):
                return faults
    except Exception as error:  # whatever the author's code raises
        words = " ".join(str(error).split()).rstrip(".")
        if not torch.cuda.is_available() and re.search("cuda|nvidia", words, re.IGNORECASE):
            return [
                f"{architecture.__name__} needs a GPU, and this machine has none; build it on the CPU, and "
                f"device='cuda' moves it ({words})."
            ]
        return [f"{type(error).__name__}: {words}{place(error, architecture)}."]
    finally:
        torch.set_num_threads(threads)
    return []


def place(error: Exception, architecture: type[nn.Module]) -> str:
    """Return " (file, line n)", the last place of an error in the file of an architecture's author, or nothing."""
    file = getattr(sys.modules.get(architecture.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""


def check_measures(experiment: Experiment, names: Sequence[str]) -> None:
    """Take measures of a small training of an experiment's network, to see whether they can be taken.

    Raises ValueError for one of a wrong shape, or one that this network does not have.
    """
    small = replace(
        experiment,
        dataset="digits",
        train_pairs=20,
        test_pairs=20,
        train_digits=0,
        batch_size=10,
        epochs=2,
        first="",
        first_epochs=0,
        frozen="",
        learning_rate=CAREFUL,
    )
    try:
        train_fully(small, range(1 if small.is_plain() else 2), measures=names)
    except ValueError:
        raise
    except Exception as error:  # whatever the author's code raises
        words = " ".join(str(error).split())
        raise ValueError(
            f"measures is {list(names)}, which fail in a small training: {type(error).__name__}: {words}"
        ) from error


def found(architecture: type[nn.Module], one_hot: bool) -> list[str]:
    """Return what is wrong with a stack of trials in one label encoding."""
    name, faults = architecture.__name__, []
    network, teacher = prepared(architecture, one_hot, range(2))
    if fault := wrong_outputs(network, teacher, one_hot):
        return [fault]
    if crossing(network, teacher):
        faults.append(f"{name} lets what one trial has reach another: {REMEDY['crossing']}.")
    pair, again = (trained(architecture, one_hot, range(2)) for _ in range(2))
    if distance(pair, again):
        faults.append(f"{name} gives other numbers when it is trained again: {REMEDY['repeat']}.")
    if faults:  # other stacks would only show the same
        return faults
    for trials in (range(1), range(1, 2), range(3)):
        if (apart := distance(pair, trained(architecture, one_hot, trials))) > CLOSE:
            return [
                f"{name} learns something else in a stack of {len(trials)} than in one of 2 (the same trial's numbers "
                f"are {apart:.1g} apart): {REMEDY['stack']}."
            ]
    return []


def found_plain(architecture: type[nn.Module], one_hot: bool | None) -> list[str]:
    """Return what is wrong with a plain module, in one label encoding or in the one that its answer has."""
    name = architecture.__name__
    network, teacher = prepared(architecture, True, range(1))
    encodings = (True, False) if one_hot is None else (one_hot,)
    faults = [wrong_outputs(network, teacher, encoding) for encoding in encodings]
    if all(faults):
        return faults[:1]
    first, again, reversed_order = (
        {trial: trained(architecture, True, range(trial, trial + 1))[trial] for trial in order}
        for order in ((0, 1), (0, 1), (1, 0))
    )
    if distance(first, again) or distance(first, reversed_order):
        return [f"{name} gives other numbers when it is trained again: {REMEDY['plain']}."]
    return []


def prepared(architecture: type[nn.Module], one_hot: bool, trials: range) -> tuple[Network, Teacher]:
    """Return a stack of the given trials, or one plain module, and a Teacher with a few of the embedded digits."""
    network: Network
    if is_plain(architecture):
        network = build_plain(architecture, seed=SEED, trial=trials[0])
    else:
        network = build(
            cast(type[Network], architecture),
            Sizes(trials=len(trials), one_hot=one_hot),
            fully_convolutional=False,
            seed=SEED,
            trials=trials,
            dtype=torch.float64,
        )
    if not any(parameter.numel() for parameter in network.parameters()):
        raise ValueError(f"{architecture.__name__} has no parameters: there is nothing to train")
    sets = [normalise(*draw_trial("digits", TRAIN, TEST, SEED, trial)) for trial in trials]
    train, test = (side_by_side(list(each)) for each in zip(*sets, strict=True))
    return network, Teacher(train, test, [seeds.generator(SEED, trial, "order") for trial in trials])


def trained(architecture: type[nn.Module], one_hot: bool, trials: range) -> dict[int, list[Tensor]]:
    """Train a stack, or one plain module; return, by trial, its weights and its losses."""
    network, teacher = prepared(architecture, one_hot, trials)
    rate = CAREFUL if is_plain(architecture) else 0.1
    history = teacher.train(network, epochs=EPOCHS, batch_size=BATCH, learning_rate=rate)
    values = [parameter.detach() for parameter in network.parameters()]
    if is_plain(architecture):
        values = [value[None] for value in values]
    values += [epoch[name] for epoch in history.epochs for name in epoch if name.endswith("loss")]
    return {trial: [value[place] for value in values] for place, trial in enumerate(trials)}


def distance(one: dict[int, list[Tensor]], other: dict[int, list[Tensor]]) -> float:
    """Return the greatest difference of what the trials in both have learned; infinite where shapes differ."""
    pairs = [(one[trial], other[trial]) for trial in one.keys() & other.keys()]
    if any([value.shape for value in a] != [value.shape for value in b] for a, b in pairs):
        return float("inf")
    return max(float((x - y).abs().max()) for a, b in pairs for x, y in zip(a, b, strict=True))


def batch_of(teacher: Teacher, like: Tensor) -> Pairs:
    """Return a first batch of each trial."""
    return next(iter(teacher.batches(BATCH, like)))


def wrong_outputs(network: Network, teacher: Teacher, one_hot: bool) -> str:
    """Say what is wrong with the heads and their outputs in a label encoding; nothing where they are right."""
    plain = isinstance(network, Plain)
    batch, name = batch_of(teacher, next(network.parameters())), type(network.module if plain else network).__name__
    outputs = checked_outputs(network, network(images := batch.images.clone()))
    if not torch.equal(images, batch.images):  # the test set's, too: it would be another one after each epoch
        return f"{name} changes the images that it is given in place; its operations must leave them as they are."
    auxiliary = network.heads.keys() - {"answer"}
    if strange := ", ".join(sorted(network.factors.keys() - auxiliary)):
        return f"{name} has a factor for {strange}; allowed: its auxiliary heads ({', '.join(sorted(auxiliary))})."
    for head, task in network.heads.items():
        target = task.target(batch.classes)
        if head == "answer" and target.dim() > 2:
            return f"{name}'s answer is {task.name}, a question about each digit; ask it in a head of another name."
        expected = [*target.shape, task.classes if one_hot else 1]
        if not isinstance(outputs[head], Tensor):
            return f"{name}'s head {head!r} returns {type(outputs[head]).__name__}; it must be a tensor."
        if (shape := list(outputs[head].shape)) != expected:
            drop = 1 if plain else 0  # the axis of its only trial, which it does not know of
            labels = "with" if one_hot else "without"
            return (
                f"{name}'s head {head!r} returns {shape[drop:]} for {task.name}; it must be {expected[drop:]} "
                f"{labels} one-hot labels."
            )
        if not outputs[head].isfinite().all():
            return f"{name}'s head {head!r} returns what is no finite number before any training."
    if head := mixed_up(network, batch.images):
        return f"{name}'s head {head!r} answers one pair by the digits of another: {REMEDY['pairs']}."
    return ""


def mixed_up(network: Network, images: Tensor) -> str:
    """Return the head, if any, whose answer to a pair, as in a test, depends on another pair; the mode stays.

    What answers the same pairs differently each time is not judged here.
    """
    training, changed = network.training, images.clone()
    changed[:, -1] = 1 - changed[:, -1]
    with torch.no_grad():
        first, again, after = (network.eval()(each.clone()) for each in (images, images, changed))
    network.train(training)
    for head in network.heads:
        moved = (first[head][:, :-1] - after[head][:, :-1]).abs().max()
        if torch.equal(first[head], again[head]) and moved > MOVED:
            return head
    return ""


def crossing(network: Network, teacher: Teacher) -> bool:
    """Say whether the outputs of one of two trials depend on what the other has: its weights or its images."""
    images = batch_of(teacher, next(network.parameters())).images.requires_grad_()
    inputs, outputs = [images, *network.parameters()], network.train()(images).values()
    for trial, other in ((0, 1), (1, 0)):
        said = torch.stack([each[trial].square().sum() for each in outputs]).sum()
        gradients = torch.autograd.grad(said, inputs, retain_graph=True, allow_unused=True)
        if any(gradient[other].any() for gradient in gradients if gradient is not None):
            return True
    return False
