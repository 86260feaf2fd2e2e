"""The Teacher: what a step changes and what it must not, how answers are judged, and what is refused."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from lib import fused, teacher
from lib.architectures import ARCHITECTURES, Outputs, build
from lib.experiment import Experiment
from lib.layers import ConvBlock
from lib.pairs import Pairs, draw_trial, normalise, side_by_side
from lib.teacher import DivergedError, Teacher, decide, loss_per_trial, right_auxiliary

every = pytest.mark.parametrize(("architecture", "one_hot"), list(itertools.product(ARCHITECTURES, (True, False))))
implementations = pytest.mark.parametrize(
    "implementation",
    [
        "torch",
        pytest.param(
            "fused", marks=pytest.mark.skipif(not fused.available()[0], reason=f"no block: {fused.available()[1]}")
        ),
    ],
)


def make(architecture="WSN", *, one_hot=True, trials=2, dtype=torch.float64, implementation="torch", seed=3):
    shape = Experiment(architecture=architecture, one_hot_encoding=one_hot).sizes(trials)
    network = build(
        ARCHITECTURES[architecture], shape, fully_convolutional=False, seed=seed, trials=range(trials), dtype=dtype
    )
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.implementation = implementation
    return network


def sets(trials=2, pairs=25):
    """Training and test pairs, `[trials, pairs, ...]`."""
    drawn = [normalise(*draw_trial("digits", pairs, pairs, 3, trial)) for trial in range(trials)]
    return side_by_side([train for train, _ in drawn]), side_by_side([test for _, test in drawn])


def state(model):
    return copy.deepcopy(model.state_dict())


def one_trial(pairs, trial=0):
    return Pairs(*(values[trial] for values in vars(pairs).values()))


# ---------------------------------------------------------------- training


def plain_module(outputs):
    torch.manual_seed(0)
    hidden = nn.Linear(2 * 14 * 14, 8, bias=False)  # its gradient would be rounding, which Adam makes a step of
    return nn.Sequential(nn.Flatten(), hidden, nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs)).double()


@pytest.mark.parametrize("outputs", [2, 1])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
        {"optimizer": "adam", "learning_rate": 0.01},
    ],
    ids=["sgd", "momentum", "adam"],
)
def test_a_plain_module_learns_as_in_a_loop_written_by_hand(outputs, settings):
    """25 pairs in batches of 10: the last batch has 5, and counts as 5."""
    train, test = (one_trial(pairs) for pairs in sets())
    module, by_hand = plain_module(outputs), plain_module(outputs)
    history = Teacher(train, test, [np.random.default_rng(9)]).train(module, epochs=3, batch_size=10, **settings)

    if settings["optimizer"] == "adam":
        step = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    else:
        step = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=settings.get("momentum", 0))

    def loss_of(images, target):
        answer = by_hand(images.double())
        if outputs == 2:
            return answer, nn.CrossEntropyLoss()(answer, target)
        return answer, nn.MSELoss()(answer[:, 0], target.double())

    close = 1e-9 if settings["optimizer"] == "adam" else 1e-12  # Adam makes steps even of gradients near rounding
    order = np.random.default_rng(9)
    for epoch in range(3):
        by_hand.train()
        rows, total = torch.from_numpy(order.permutation(25)), 0.0
        for part in (rows[:10], rows[10:20], rows[20:]):
            step.zero_grad()
            _, loss = loss_of(train.images[part], train.target[part])
            loss.backward()
            step.step()
            total += loss.item() * len(part)
        by_hand.eval()
        with torch.no_grad():
            answer, loss = loss_of(test.images, test.target)
        decision = answer.argmax(1) if outputs == 2 else (answer[:, 0] >= 0.5).long()
        assert history.epochs[epoch]["train_loss"].item() == pytest.approx(total / 25, abs=close)
        assert history.epochs[epoch]["test_loss"].item() == pytest.approx(loss.item(), abs=close)
        assert history.epochs[epoch]["test_correct"].item() == (decision == test.target).sum()
    for (name, one), two in zip(module.state_dict().items(), by_hand.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=10 * close, msg=lambda text, name=name: f"{name}: {text}")
    assert history.array("auxiliary_train_loss") is None and history.last.auxiliary_total is None


@every
def test_zero_epochs_change_nothing(architecture, one_hot):
    network = make(architecture, one_hot=one_hot)
    before = state(network)
    history = Teacher(*sets()).train(network, epochs=0)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert history.epochs == [] and history.last is None


@every
@implementations
def test_one_step_changes_every_parameter_of_every_trial(architecture, one_hot, implementation):
    network = make(architecture, one_hot=one_hot, dtype=torch.float32, implementation=implementation)
    before = state(network)
    Teacher(*sets()).train(network, epochs=1, batch_size=25, learning_rate=1.0)
    for name, value in network.state_dict().items():  # running statistics too
        for trial in range(2):
            assert not torch.equal(value[trial], before[name][trial]), f"{name} of trial {trial}"


def test_nothing_but_parameters_and_running_statistics_changes():
    train, test = sets()
    before = [values.clone() for pairs in (train, test) for values in vars(pairs).values()]
    Teacher(train, test).train(make("CAUX"), epochs=2, batch_size=10)
    after = [values for pairs in (train, test) for values in vars(pairs).values()]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@implementations
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_another_trial_sees_changes_no_bit_of_this_one(architecture, implementation, optimizer):
    train, test = sets(3)
    scrambled = [Pairs(*(values.clone() for values in vars(pairs).values())) for pairs in (train, test)]
    for pairs in scrambled:
        pairs.images[1] = torch.randn(pairs.images[1].shape, generator=torch.Generator().manual_seed(0))
        pairs.target[1], pairs.classes[1] = 1 - pairs.target[1], 9 - pairs.classes[1]
    networks, histories = [], []
    for pairs in ((train, test), scrambled):
        network = make(architecture, trials=3, dtype=torch.float32, implementation=implementation)
        histories.append(Teacher(*pairs).train(network, epochs=2, batch_size=10, optimizer=optimizer))
        networks.append(network.state_dict())
    for name, value in networks[0].items():
        for trial in (0, 2):
            assert torch.equal(value[trial], networks[1][name][trial]), f"{name} of trial {trial}"
        assert not torch.equal(value[1], networks[1][name][1]), f"{name} of the scrambled trial"
    for name in ("train_loss", "test_loss", "test_correct"):
        one, two = (history.array(name) for history in histories)
        np.testing.assert_array_equal(one[[0, 2]], two[[0, 2]])


@pytest.mark.parametrize("architecture", ["SAUX", "CAUX"])
def test_with_a_weight_of_zero_the_auxiliary_head_changes_nothing(architecture):
    with_head, without = make(architecture), make("WSN")
    head_before = state(with_head.auxiliary)
    settings = {"epochs": 2, "batch_size": 10, "learning_rate": 0.1}
    one = Teacher(*sets()).train(with_head, auxiliary_weight=0.0, **settings)
    two = Teacher(*sets()).train(without, **settings)
    for name, value in without.state_dict().items():
        torch.testing.assert_close(with_head.state_dict()[name], value, rtol=0, atol=1e-13)
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose(one.array(name), two.array(name), rtol=0, atol=1e-13)
    assert all(torch.equal(value, head_before[name]) for name, value in with_head.auxiliary.state_dict().items())


@pytest.mark.parametrize("architecture", ["SAUX", "CAUX"])
def test_the_auxiliary_weight_reaches_the_extractor(architecture):
    states = []
    for weight in (0.3, 0.6):
        network = make(architecture)
        Teacher(*sets()).train(network, epochs=1, batch_size=10, auxiliary_weight=weight)
        states.append(network.state_dict())
    assert not torch.equal(states[0]["extract.0.weight"], states[1]["extract.0.weight"])


# ---------------------------------------------------------------- batches


def test_an_epoch_shows_each_pair_once_to_its_own_trial_in_an_order_of_its_own():
    train, test = sets(3)
    train.images[:, :, 0, 0, 0] = torch.arange(25.0) + 100 * torch.arange(3.0)[:, None]  # which pair, of which trial
    held = Teacher(train, test)
    epochs = [list(held.batches(10, torch.zeros(0))) for _ in range(2)]
    orders = []
    for batches in epochs:
        assert [batch.target.shape[1] for batch in batches] == [10, 10, 5], "the last batch is smaller"
        for trial in range(3):
            order = torch.cat([batch.images[trial, :, 0, 0, 0] for batch in batches]).long() - 100 * trial
            assert sorted(order.tolist()) == list(range(25))
            for name in ("target", "classes"):
                seen = torch.cat([getattr(batch, name)[trial] for batch in batches])
                assert torch.equal(seen, getattr(train, name)[trial, order]), "pairs and targets came apart"
            orders.append(tuple(order.tolist()))
    assert len(set(orders)) == 6, "each trial and epoch has its own order"


def test_batches_have_the_models_dtype():
    (batch,) = Teacher(*sets()).batches(25, torch.zeros(0, dtype=torch.float64))
    assert batch.images.dtype == torch.float64 and batch.target.dtype == batch.classes.dtype == torch.int64


def test_on_epoch_is_called_after_each_epoch():
    calls = []
    network = make()
    Teacher(*sets()).train(network, epochs=3, on_epoch=lambda: calls.append(network.extract[0].weight.sum().item()))
    assert len(set(calls)) == 3


# ---------------------------------------------------------------- testing


@every
@implementations
def test_testing_changes_nothing_and_repeats_itself(architecture, one_hot, implementation):
    network = make(architecture, one_hot=one_hot, dtype=torch.float32, implementation=implementation)
    held = Teacher(*sets())
    held.train(network, epochs=1, batch_size=10)
    network.train()
    before = state(network)
    one, two = held.test(network), held.test(network)
    assert torch.equal(one.correct, two.correct) and torch.equal(one.loss, two.loss)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(parameter.grad_fn for parameter in network.parameters())


def test_a_pair_is_judged_by_itself_and_not_by_the_rest_of_the_test_set():
    network = make("CAUX")
    train, test = sets()
    Teacher(train, test).train(network, epochs=1, batch_size=10)
    whole = Teacher(train, test).test(network)
    part = Teacher(train, Pairs(*(values[:, 5:12] for values in vars(test).values()))).test(network)
    assert torch.equal(part.correct, whole.correct[:, 5:12])


@every
def test_testing_in_parts_changes_no_result(architecture, one_hot, monkeypatch):
    network, held = make(architecture, one_hot=one_hot), Teacher(*sets())
    whole = held.test(network)
    monkeypatch.setattr(teacher, "TEST_BATCH", 7)
    parts = held.test(network)
    assert torch.equal(parts.correct, whole.correct) and parts.auxiliary_total == whole.auxiliary_total
    torch.testing.assert_close(parts.loss, whole.loss, rtol=0, atol=1e-12)
    if whole.auxiliary_total:
        assert torch.equal(parts.auxiliary_correct, whole.auxiliary_correct)
        torch.testing.assert_close(parts.auxiliary_loss, whole.auxiliary_loss, rtol=0, atol=1e-12)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("architecture", ["SAUX", "CAUX"])
def test_the_auxiliary_head_is_never_in_the_score(architecture, one_hot):
    network, held = make(architecture, one_hot=one_hot), Teacher(*sets())
    before = held.test(network)
    with torch.no_grad():
        for parameter in network.auxiliary.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    after = held.test(network)
    assert torch.equal(after.correct, before.correct) and torch.equal(after.loss, before.loss)
    assert not torch.equal(after.auxiliary_loss, before.auxiliary_loss), "the head did not change at all"
    assert before.auxiliary_total == (25 if architecture == "SAUX" else 50)


def test_the_last_score_is_that_of_the_last_epoch():
    network, held = make("SAUX"), Teacher(*sets())
    history = held.train(network, epochs=4, batch_size=5, optimizer="adam", learning_rate=0.01)
    score = held.test(network)
    assert torch.equal(history.last.correct, score.correct)
    assert torch.equal(history.epochs[-1]["test_correct"], score.correct.sum(1))
    counts = {tuple(epoch["test_correct"].tolist()) for epoch in history.epochs}
    assert len(counts) > 1, "the same in all epochs: vacuous"
    for name in ("train_loss", "test_loss", "test_correct", "auxiliary_train_loss", "auxiliary_test_correct"):
        assert history.array(name).shape == (2, 4)


# ---------------------------------------------------------------- rules


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


def test_one_output_means_the_nearest_ninth():
    exact = torch.arange(10.0)[:, None] / 9
    assert decide(exact, classes=10).tolist() == list(range(10))
    for shift, expected in ((0.45, list(range(10))), (0.55, [1, 2, 3, 4, 5, 6, 7, 8, 9, 9])):
        assert decide(exact + shift / 9, classes=10).tolist() == expected
    assert decide(torch.tensor([[-5.0], [5.0]]), classes=10).tolist() == [0, 9]


def test_losses_are_means_per_trial():
    outputs = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)
    target = torch.tensor([[0, 1], [1, 0]])
    expected = [
        (math.log(2) + math.log(math.exp(2) + 1)) / 2,
        (math.log(1 + math.exp(-1)) + math.log(1 + math.e)) / 2,
    ]
    assert loss_per_trial(outputs, target).tolist() == pytest.approx(expected, abs=1e-12)
    single = torch.tensor([[[0.5], [0.25]]], dtype=torch.float64)
    assert loss_per_trial(single, torch.tensor([[0, 1]])).item() == pytest.approx((0.25 + 0.5625) / 2)
    assert loss_per_trial(single, torch.tensor([[9, 0]]), classes=10).item() == pytest.approx((0.25 + 0.0625) / 2)


def test_the_auxiliary_answers_are_counted_by_their_task():
    target, digits = torch.tensor([[1, 0]]), torch.tensor([[[3, 7], [9, 0]]])
    batch = Pairs(torch.zeros(1, 2, 2, 14, 14), target, digits)
    comparison = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert right_auxiliary("comparison", comparison, batch).tolist() == [[True, False]]
    classes = torch.tensor([[[[3 / 9], [6 / 9]], [[1.0], [0.0]]]])
    assert right_auxiliary("digits", classes, batch).tolist() == [[True, False, True, True]]
    one_hot = nn.functional.one_hot(torch.tensor([[[3, 7], [0, 9]]]), 10).float()
    assert right_auxiliary("digits", one_hot, batch).tolist() == [[True, True, False, False]]


# ---------------------------------------------------------------- refusals


def test_a_loss_that_is_not_finite_is_an_error_that_names_trial_and_epoch():
    train, test = sets(3)
    train.images[1, 0] = math.nan
    with pytest.raises(DivergedError, match=r"the loss of trial 1 of this stack is nan in epoch 1: .* learning_rate"):
        Teacher(train, test).train(make(trials=3), epochs=2)


@pytest.mark.parametrize("part", ["answer", "auxiliary"])
def test_training_stops_in_the_epoch_that_diverges(part):
    class Diverging(ARCHITECTURES["SAUX"]):
        bad = False

        def forward(self, images):
            outputs = super().forward(images)
            return Outputs(**{**outputs._asdict(), part: getattr(outputs, part) / 0}) if self.bad else outputs

    network = Diverging(Experiment(architecture="SAUX").sizes(2)).double()
    epochs = []

    def on_epoch():
        epochs.append(len(epochs))
        network.bad = len(epochs) == 2

    with pytest.raises(DivergedError, match="trial 0 of this stack is nan in epoch 3"):
        Teacher(*sets()).train(network, epochs=9, on_epoch=on_epoch)
    assert epochs == [0, 1]


def test_an_unknown_optimizer_is_a_value_error_that_names_the_allowed_ones():
    with pytest.raises(ValueError, match="optimizer is 'sdg'; allowed: 'sgd', 'adam'"):
        Teacher(*sets()).train(make(), epochs=1, optimizer="sdg")
