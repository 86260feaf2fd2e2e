"""The invariant: trial i of a stack learns what it learns alone, in a textbook loop that shares no code with it."""

from itertools import product

import numpy as np
import pytest
import torch

from lib import seeds, textbook
from lib.architectures import ARCHITECTURES, build
from lib.experiment import Experiment
from lib.pairs import draw_trial, normalise, side_by_side
from lib.teacher import Teacher

TRIALS, EPOCHS, PAIRS, BATCH = 3, 3, 200, 10
OPTIMIZERS = {  # learning rates at which 60 steps really learn
    "sgd": {"optimizer": "sgd", "learning_rate": 0.3},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "learning_rate": 0.003},
}


def make(architecture, convolutional=False, one_hot=True, trials=range(TRIALS), dtype=torch.float64, seed=5):
    """A stack with initial weights, and a Teacher that holds its trials' pairs."""
    e = Experiment(architecture=architecture, one_hot_encoding=one_hot, dataset="digits")
    sets = [normalise(*draw_trial("digits", PAIRS, PAIRS, seed, trial)) for trial in trials]
    orders = [seeds.generator(seed, trial, "order") for trial in trials]
    stack = build(
        architecture, e.sizes(len(trials)), fully_convolutional=convolutional, seed=seed, trials=trials, dtype=dtype
    )
    return stack, Teacher(side_by_side([a for a, _ in sets]), side_by_side([b for _, b in sets]), orders)


def train_alone(network, teacher, trial, settings, dtype=torch.float64, seed=5):
    """Train one trial by the textbook; returns training losses and test-correct counts per epoch."""
    optimizer = textbook.make_optimizer(
        network, settings["optimizer"], settings["learning_rate"], settings.get("momentum", 0)
    )
    train, test, order = teacher.train_pairs, teacher.test_pairs, seeds.generator(seed, trial, "order")
    losses, correct = [], []
    for _ in range(EPOCHS):
        losses.append(
            textbook.train_epoch(
                network,
                optimizer,
                train.images[trial].to(dtype),
                train.target[trial],
                train.classes[trial],
                torch.from_numpy(order.permutation(PAIRS)),
                BATCH,
                0.3,
            )
        )
        correct.append(textbook.test(network, test.images[trial].to(dtype), test.target[trial]))
    return np.array(losses), np.array(correct)


@pytest.mark.parametrize(
    ("architecture", "convolutional", "one_hot", "optimizer"),
    list(product(ARCHITECTURES, (False, True), (True, False), OPTIMIZERS)),
    ids=str,
)
def test_a_trial_in_a_stack_learns_as_if_alone(architecture, convolutional, one_hot, optimizer):
    stack, teacher = make(architecture, convolutional, one_hot)
    alone = [textbook.Textbook(architecture, convolutional, one_hot).double() for _ in range(TRIALS)]
    for trial, network in enumerate(alone):
        textbook.copy_trial(stack, network, trial)
    history = teacher.train(stack, epochs=EPOCHS, batch_size=BATCH, **OPTIMIZERS[optimizer])
    losses, correct = history.array("train_loss"), history.array("test_correct")
    for trial, network in enumerate(alone):
        expected_losses, expected_correct = train_alone(network, teacher, trial, OPTIMIZERS[optimizer])
        np.testing.assert_allclose(losses[trial], expected_losses, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(correct[trial], expected_correct)
        learned = textbook.Textbook(architecture, convolutional, one_hot).double()
        textbook.copy_trial(stack, learned, trial)
        for name, value in network.named_parameters():
            torch.testing.assert_close(learned.state_dict()[name], value.detach(), rtol=0, atol=1e-10)
    assert losses.mean(0)[-1] < losses.mean(0)[0] - 0.01, "nothing was learned: the comparison would be vacuous"
