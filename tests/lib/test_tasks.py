"""The questions: what is right, what an output says, and that another question is one entry, which trains."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lib.architectures import CAUX, SAUX, WSN, head
from lib.tasks import CLASSES, COMPARISON, Task, decide, judge, loss_of
from tests.lib.stacks import make, teacher

SAME = Task("same class", "same class?", 2, lambda classes: (classes[..., 0] == classes[..., 1]).long())
PARITY = Task("parity", "even or odd?", 2, lambda classes: classes % 2)
SUM = Task("sum", "first + second", 19, lambda classes: classes.sum(-1))

# ---------------------------------------------------------------- what is right


def test_the_targets_of_each_task():
    classes = torch.tensor([[[3, 7], [9, 0], [4, 4]]])
    expected = {
        COMPARISON: [[1, 0, 1]],  # equal ones are smaller or equal
        CLASSES: [[[3, 7], [9, 0], [4, 4]]],
        SAME: [[0, 0, 1]],
        PARITY: [[[1, 1], [1, 0], [0, 0]]],
        SUM: [[10, 9, 8]],
    }
    for task, target in expected.items():
        found = task.target(classes)
        assert found.tolist() == target and found.dtype == torch.int64, task.name
        assert found.min() >= 0 and found.max() < task.classes


# ---------------------------------------------------------------- what an output says


def test_the_greatest_output_decides_and_a_tie_goes_to_the_first_class():
    outputs = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5], [1.0, 1.0], [0.0, 0.0]])
    assert decide(outputs).tolist() == [1, 0, 0, 0, 0]
    assert decide(torch.tensor([[0.0, 3, 1, 3, 0, 0, 0, 0, 0, 0]]), classes=10).tolist() == [1]


def test_one_output_means_smaller_or_equal_from_a_half_on():
    for dtype in (torch.float32, torch.float64):
        half = torch.tensor(0.5, dtype=dtype)
        below = torch.nextafter(half, torch.tensor(0.0, dtype=dtype))  # the last number before it: nothing is rounded
        outputs = torch.stack([half - 3, half - 0.5, below, half, half + 0.1, half + 7])[:, None]
        assert decide(outputs).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("classes", [10, 3, 19])
def test_one_output_means_the_nearest_class(classes):
    exact = torch.arange(float(classes))[:, None] / (classes - 1)
    assert decide(exact, classes).tolist() == list(range(classes))
    for shift, expected in ((0.45, range(classes)), (0.55, [*range(1, classes), classes - 1])):
        assert decide(exact + shift / (classes - 1), classes).tolist() == list(expected)
    assert decide(torch.tensor([[-5.0], [5.0]]), classes).tolist() == [0, classes - 1]


def test_losses_are_means_per_trial():
    outputs = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)
    classes = torch.tensor([[[2, 1], [1, 2]], [[1, 1], [7, 0]]])  # larger, smaller; equal, larger
    expected = [
        (math.log(2) + math.log(math.exp(2) + 1)) / 2,
        (math.log(1 + math.exp(-1)) + math.log(1 + math.e)) / 2,
    ]
    assert loss_of(outputs, COMPARISON, classes).tolist() == pytest.approx(expected, abs=1e-12)
    single = torch.tensor([[[0.5], [0.25]]], dtype=torch.float64)
    assert loss_of(single, COMPARISON, classes[:1]).item() == pytest.approx((0.25 + 0.5625) / 2)
    digits = torch.tensor([[[[0.5], [0.25]]]], dtype=torch.float64)
    assert loss_of(digits, CLASSES, torch.tensor([[[9, 0]]])).item() == pytest.approx((0.25 + 0.0625) / 2)


def test_answers_are_judged_by_their_task():
    classes = torch.tensor([[[3, 7], [9, 0]]])
    comparison = judge(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), COMPARISON, classes)
    assert (comparison.named.tolist(), comparison.right.tolist()) == ([[1, 1]], [[1, 0]])
    regressed = judge(torch.tensor([[[[3 / 9], [6 / 9]], [[1.0], [0.0]]]]), CLASSES, classes)
    assert (regressed.named.tolist(), regressed.right.tolist()) == ([[3, 6, 9, 0]], [[3, 7, 9, 0]])
    one_hot = judge(nn.functional.one_hot(torch.tensor([[[3, 7], [0, 9]]]), 10).float(), CLASSES, classes)
    assert one_hot.named.tolist() == [[3, 7, 0, 9]]


@pytest.mark.parametrize("outputs", [10, 1])
def test_maps_of_one_place_are_judged_as_plain_outputs(outputs):
    generator = torch.Generator().manual_seed(0)
    plain = torch.rand(3, 5, 2, outputs, generator=generator)
    classes = torch.randint(10, (3, 5, 2), generator=generator)
    for one, other in zip(judge(plain, CLASSES, classes), judge(plain[..., None, None], CLASSES, classes), strict=True):
        assert torch.equal(one, other)


# ---------------------------------------------------------------- another question


class SameClass(WSN):
    heads = {"answer": SAME}  # noqa: RUF012


class ParityAuxiliary(CAUX):
    heads = {"answer": COMPARISON, "auxiliary": PARITY}  # noqa: RUF012

    def __init__(self, sizes):
        super().__init__(sizes)
        self.auxiliary = head(sizes, sizes.maps, (sizes.auxiliary_hidden,), PARITY)


class SumAuxiliary(SAUX):
    heads = {"answer": SAME, "auxiliary": SUM}  # noqa: RUF012

    def __init__(self, sizes):
        super().__init__(sizes)
        channels, height, width = sizes.maps
        self.auxiliary = head(sizes, (2 * channels, height, width), (sizes.auxiliary_hidden,), SUM)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("architecture", [SameClass, ParityAuxiliary, SumAuxiliary])
def test_another_question_is_one_entry_and_is_learned(architecture, one_hot):
    network, held = make(architecture, one_hot=one_hot), teacher()
    history = held.train(network, epochs=6, batch_size=5, optimizer="adam", learning_rate=0.003)
    for name, task in architecture.heads.items():
        prefix = "" if name == "answer" else "auxiliary_"
        loss = history.array(f"{prefix}train_loss")
        assert (loss[:, -1] < loss[:, 0]).all(), name
        judged, classes = history.last.heads[name], held.test_pairs.classes
        assert torch.equal(judged.right, task.target(classes).flatten(1))
        assert judged.named.min() >= 0 and judged.named.max() < task.classes
        right = (judged.named == judged.right).sum(1)
        np.testing.assert_array_equal(history.array(f"{prefix}test_correct")[:, -1], right)
