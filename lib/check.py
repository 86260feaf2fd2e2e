"""What every architecture must hold, tried by training it a little: `check_architecture` is to be run on one's own.

A stack trains many trials as one network, and a result is only worth something where each of them learns as if alone,
the same each time. Nothing here knows a layer by its name; whatever breaks this shows in the numbers.
"""

import torch
from torch import Tensor

from lib import seeds
from lib.architectures import Network, Sizes, build
from lib.foreign import find
from lib.pairs import Pairs, draw_trial, normalise, side_by_side
from lib.teacher import Teacher, checked_outputs

SEED, TRAIN, TEST, BATCH, EPOCHS = 7, 60, 40, 10, 2
CLOSE = 1e-7  # in float64, after a dozen steps
REMEDY = {
    "repeat": "its numbers come from somewhere that no seed of the experiment sets (torch's own generator, say): a "
    "random layer needs a stream of its own for each trial",
    "stack": "its operations must work on each trial's own slice, first axis `trials`, whatever the size of the stack",
    "crossing": "an operation mixes the trials: no sum, mean or product may run over the first axis",
}


def check_architecture(name: str) -> list[str]:
    """Return what is wrong with an architecture (`module:Class` or a registered name), a sentence each; none is good.

    It is built and trained in both label encodings, each trial alone and in stacks of 2 and 3, in float64 on embedded
    digits, for seconds. Raises ValueError where it cannot be imported.
    """
    architecture = find(name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers do: two threads of small operations wait for each other
    try:
        for one_hot in (True, False):
            if faults := found(architecture, one_hot):
                return faults
    except Exception as error:  # whatever the author's code raises
        return [f"{type(error).__name__}: {error}."]
    finally:
        torch.set_num_threads(threads)
    return []


def found(architecture: type[Network], one_hot: bool) -> list[str]:
    """Return what is wrong with an architecture in one label encoding."""
    name, faults = architecture.__name__, []
    network, teacher = prepared(architecture, one_hot, range(2))
    if fault := wrong_outputs(network, teacher):
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


def prepared(architecture: type[Network], one_hot: bool, trials: range) -> tuple[Network, Teacher]:
    """Return a stack of the given trials, and a Teacher with a few of the embedded digits."""
    network = build(
        architecture,
        Sizes(trials=len(trials), one_hot=one_hot),
        fully_convolutional=False,
        seed=SEED,
        trials=trials,
        dtype=torch.float64,
    )
    sets = [normalise(*draw_trial("digits", TRAIN, TEST, SEED, trial)) for trial in trials]
    train, test = (side_by_side(list(each)) for each in zip(*sets, strict=True))
    return network, Teacher(train, test, [seeds.generator(SEED, trial, "order") for trial in trials])


def trained(architecture: type[Network], one_hot: bool, trials: range) -> dict[int, list[Tensor]]:
    """Train a stack; return, by trial, its weights and its losses."""
    network, teacher = prepared(architecture, one_hot, trials)
    history = teacher.train(network, epochs=EPOCHS, batch_size=BATCH, learning_rate=0.1)
    values = [parameter.detach() for parameter in network.parameters()]
    values += [epoch[name] for epoch in history.epochs for name in epoch if name.endswith("loss")]
    return {trial: [value[place] for value in values] for place, trial in enumerate(trials)}


def distance(one: dict[int, list[Tensor]], other: dict[int, list[Tensor]]) -> float:
    """Return the greatest difference of what the trials in both have learned; infinite where shapes differ."""
    pairs = [(one[trial], other[trial]) for trial in one.keys() & other.keys()]
    if any([value.shape for value in a] != [value.shape for value in b] for a, b in pairs):
        return float("inf")
    return max(float((x - y).abs().max()) for a, b in pairs for x, y in zip(a, b, strict=True))


def batch_of(teacher: Teacher) -> Pairs:
    """Return a first batch of each trial."""
    return next(iter(teacher.batches(BATCH, torch.zeros(0, dtype=torch.float64))))


def wrong_outputs(network: Network, teacher: Teacher) -> str:
    """Say what is wrong with the heads and their outputs; nothing where they are right."""
    batch, name = batch_of(teacher), type(network).__name__
    outputs = checked_outputs(network, network(batch.images))
    auxiliary = network.heads.keys() - {"answer"}
    if strange := ", ".join(sorted(network.factors.keys() - auxiliary)):
        return f"{name} has a factor for {strange}; allowed: its auxiliary heads ({', '.join(sorted(auxiliary))})."
    for head, task in network.heads.items():
        target = task.target(batch.classes)
        if head == "answer" and target.dim() > 2:
            return f"{name}'s answer is {task.name}, a question about each digit; ask it in a head of another name."
        expected = [*target.shape, network.sizes.outputs(task)]
        if (shape := list(outputs[head].shape)) != expected:
            return f"{name}'s head {head!r} returns {shape} for {task.name}; it must be {expected}."
    return ""


def crossing(network: Network, teacher: Teacher) -> bool:
    """Say whether the outputs of one of two trials depend on what the other has: its weights or its images."""
    images = batch_of(teacher).images.requires_grad_()
    inputs, outputs = [images, *network.parameters()], network.train()(images).values()
    for trial, other in ((0, 1), (1, 0)):
        said = torch.stack([each[trial].square().sum() for each in outputs]).sum()
        gradients = torch.autograd.grad(said, inputs, retain_graph=True, allow_unused=True)
        if any(gradient[other].any() for gradient in gradients if gradient is not None):
            return True
    return False
