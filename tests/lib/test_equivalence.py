"""The invariant: trial i of a stack learns what it learns alone, in a textbook loop that shares no code with it."""

from itertools import product

import numpy as np
import pytest
import torch

from lib import Experiment, prepare, seeds, textbook
from lib.training import hyperparameters
from tests.lib.own import tiny
from tests.lib.stacks import compiled

TRIALS, EPOCHS, PAIRS, BATCH = range(3), 3, 104, 10  # the last batch has 4
OPTIMIZERS = {  # learning rates at which 33 steps really learn
    "sgd": {"optimizer": "sgd", "learning_rate": 0.3},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "learning_rate": 0.003},
}
# Every seventh of the 96 is not slow: among these, each value of a setting meets each value of every other.
CASES = [
    pytest.param(*case, marks=() if i % 7 == 0 else pytest.mark.slow)
    for i, case in enumerate(product(("SN", "WSN", "SAUX", "CAUX"), *3 * [(False, True)], OPTIMIZERS))
]


def train_alone(network, teacher, trial, settings, seed):
    """Train one trial by the textbook; returns training losses and test-correct counts per epoch."""
    optimizer = textbook.make_optimizer(
        network, settings["optimizer"], settings["learning_rate"], settings.get("momentum", 0)
    )
    (images, classes), (test_images, test_classes) = (
        (pairs.images[trial].double(), pairs.classes[trial]) for pairs in (teacher.train_pairs, teacher.test_pairs)
    )
    target, test_target = ((each[:, 0] <= each[:, 1]).long() for each in (classes, test_classes))
    order = seeds.generator(seed, trial, "order")
    losses, correct = [], []
    for _ in range(EPOCHS):
        shuffled = torch.from_numpy(order.permutation(PAIRS))
        losses.append(textbook.train_epoch(network, optimizer, images, target, classes, shuffled, BATCH, 0.3))
        correct.append(textbook.test(network, test_images, test_target))
    return np.array(losses), np.array(correct)


@pytest.mark.parametrize(("architecture", "convolutional", "one_hot", "sigmoid", "optimizer"), CASES)
def test_a_trial_in_a_stack_learns_as_if_alone(architecture, convolutional, one_hot, sigmoid, optimizer):
    e = Experiment(
        architecture=architecture,
        fully_convolutional=convolutional,
        one_hot_encoding=one_hot,
        sigmoid=sigmoid,
        dataset="digits",
        train_pairs=PAIRS,
        test_pairs=PAIRS,
        seed=5,
    )
    stack, teacher, *_ = prepare(e, TRIALS, dtype=torch.float64)
    form = (architecture, convolutional, one_hot, sigmoid)
    alone = [textbook.Textbook(*form).double() for _ in TRIALS]
    for trial, network in enumerate(alone):
        textbook.copy_trial(stack, network, trial)
    history = teacher.train(stack, epochs=EPOCHS, batch_size=BATCH, **OPTIMIZERS[optimizer])
    losses, correct = history.array("train_loss"), history.array("test_correct")
    for trial, network in enumerate(alone):
        expected_losses, expected_correct = train_alone(network, teacher, trial, OPTIMIZERS[optimizer], e.seed)
        np.testing.assert_allclose(losses[trial], expected_losses, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(correct[trial], expected_correct)
        learned = textbook.Textbook(*form).double()
        textbook.copy_trial(stack, learned, trial)
        for name, value in network.named_parameters():
            torch.testing.assert_close(learned.state_dict()[name], value.detach(), rtol=0, atol=1e-10)
    assert losses.mean(0)[-1] < losses.mean(0)[0] - 0.01, "nothing was learned: the comparison would be vacuous"


# ---------------------------------------------------------------- sigmoids by head, stops and phases


class Stopped(textbook.Textbook):
    """CAUX whose comparison reads the features as data: no gradient of the answer reaches the extractor."""

    def forward(self, images):
        one, two = self.extract(images[:, :1]), self.extract(images[:, 1:])
        answer = self.compare(torch.cat([one, two], dim=1).detach()).flatten(1)
        return answer, [self.auxiliary(one).flatten(1), self.auxiliary(two).flatten(1)]


def in_phases(network, teacher, trial, e):
    """Train one trial by hand: first some heads, then without some parts, whose statistics then stay as well.

    Returns training losses, of the answer and of the auxiliary head, and test-correct counts per epoch.
    """
    optimizer = textbook.make_optimizer(network, e.optimizer, e.learning_rate, e.momentum)
    (images, classes), (test_images, test_classes) = (
        (pairs.images[trial].double(), pairs.classes[trial]) for pairs in (teacher.train_pairs, teacher.test_pairs)
    )
    target, test_target = ((each[:, 0] <= each[:, 1]).long() for each in (classes, test_classes))
    order, losses, correct = seeds.generator(e.seed, trial, "order"), [], []
    for epoch in range(e.epochs):
        network.train()
        for name in e.frozen.split("+") if e.frozen and epoch >= e.first_epochs else ():
            network.get_submodule(name).requires_grad_(False)
            network.get_submodule(name).train(e.first_epochs == 0)
        total = np.zeros(2)
        for rows in torch.from_numpy(order.permutation(len(images))).split(e.batch_size):
            optimizer.zero_grad()
            answer, auxiliary = network.losses(images[rows], target[rows], classes[rows])
            parts = {"answer": answer} if auxiliary is None else {"answer": answer, "auxiliary": 0.3 * auxiliary}
            (parts[e.first] if e.first and epoch < e.first_epochs else sum(parts.values())).backward()
            optimizer.step()
            total += len(rows) * np.array([answer.item(), 0 if auxiliary is None else auxiliary.item()])
        losses.append(total / len(images))
        correct.append(textbook.test(network, test_images, test_target))
    return np.array(losses), np.array(correct)


SGD, MOMENTUM, ADAM = (
    " ".join(f"{name}={value}" for name, value in settings.items()) for settings in OPTIMIZERS.values()
)
SAID = [
    f"SAUX sigmoids=answer {MOMENTUM}",
    f"SAUX sigmoids=auxiliary {SGD}",
    f"CAUX sigmoids=answer {SGD}",
    f"CAUX sigmoids=auxiliary one_hot_encoding=no {ADAM}",
    f"CAUX sigmoids=answer fully_convolutional=yes {MOMENTUM}",
    f"CAUX stopped=extract {MOMENTUM}",
    f"CAUX stopped=extract first=auxiliary first_epochs=1 frozen=extract {ADAM}",
    f"CAUX first=auxiliary first_epochs=2 frozen=extract {MOMENTUM}",
    f"CAUX first=auxiliary first_epochs=1 frozen=extract+auxiliary {ADAM}",
    f"SAUX first=answer first_epochs=2 {MOMENTUM}",
    f"CAUX first_epochs=1 frozen=extract.1 {ADAM}",
    f"SAUX frozen=extract.0 {MOMENTUM}",
    f"WSN frozen=extract {ADAM}",
    f"WSN first_epochs=2 frozen=compare {SGD}",
    f"SN first_epochs=1 frozen=extract_second {MOMENTUM}",
    f"CAUX train_digits=31 {MOMENTUM}",
]


@pytest.mark.parametrize("words", SAID)
def test_what_is_said_of_heads_and_parts_is_what_a_loop_by_hand_does(words):
    e = Experiment.parse(words, "dataset=digits train_pairs=44 test_pairs=44 epochs=3 batch_size=10 seed=5")
    stack, teacher, *_ = prepare(e, range(2), dtype=torch.float64)
    form = (e.architecture, e.fully_convolutional, e.one_hot_encoding, e.sigmoid)

    def copied(trial):
        network = (Stopped if e.stopped else textbook.Textbook)(*form).double()
        textbook.copy_trial(stack, network, trial)
        for head, part in (("answer", "compare"), ("auxiliary", "auxiliary")):
            if e.sigmoids and head not in e.sigmoids.split("+"):
                setattr(network, part, getattr(network, part)[:-1])
        return network

    alone = [copied(trial) for trial in range(2)]
    history = teacher.train(stack, **hyperparameters(e))
    for trial, network in enumerate(alone):
        expected, correct = in_phases(network, teacher, trial, e)
        np.testing.assert_allclose(history.array("train_loss")[trial], expected[:, 0], rtol=0, atol=1e-9)
        if "auxiliary" in stack.heads:
            np.testing.assert_allclose(history.array("auxiliary_train_loss")[trial], expected[:, 1], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(history.array("test_correct")[trial], correct)
        learned = copied(trial).state_dict()
        for name, value in network.state_dict().items():
            if "num_batches" not in name:
                torch.testing.assert_close(learned[name], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("words", [*SAID, f"tests.lib.own:Heads auxiliary_weights=parity:2+total:0.1 {ADAM}"])
def test_what_is_said_of_heads_and_parts_is_learned_in_a_stack_as_alone(words):
    e = tiny().changed(words, "train_pairs=24 epochs=3")
    stack, teacher, *_ = prepare(e, TRIALS, dtype=torch.float64)
    history = teacher.train(stack, **hyperparameters(e))
    for trial in TRIALS:
        one, held, *_ = prepare(e, range(trial, trial + 1), dtype=torch.float64)
        own = held.train(one, **hyperparameters(e))
        for name in own.epochs[0]:
            np.testing.assert_allclose(history.array(name)[trial], own.array(name)[0], rtol=0, atol=1e-10)
        for name, value in one.state_dict().items():
            torch.testing.assert_close(stack.state_dict()[name][trial], value[0], rtol=0, atol=1e-9)


@compiled
@pytest.mark.parametrize("words", [each for each in SAID if "fully" not in each])
def test_the_compiled_block_does_the_same_with_what_is_said_of_heads_and_parts(words):
    e = Experiment.parse(words, "dataset=digits train_pairs=50 test_pairs=50 epochs=3 batch_size=10")
    states, losses = [], []
    for implementation in ("torch", "fused"):
        network, teacher, *_ = prepare(e, range(2), implementation=implementation)
        losses.append(teacher.train(network, **hyperparameters(e)).array("train_loss"))
        states.append(network.state_dict())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    for name, value in states[0].items():
        torch.testing.assert_close(
            states[1][name], value, rtol=1e-2, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
