"""The invariant: trial i of a stack learns what it learns alone, in a textbook loop that shares no code with it."""

from itertools import product

import numpy as np
import pytest
import torch

from lib import Experiment, prepare, seeds, textbook

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
