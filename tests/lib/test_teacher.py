"""The Teacher: what a step changes and what it must not, how epochs go on, what is measured, and what is refused."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from lib import Teacher
from lib.architectures import CAUX, SAUX, WSN, Network, comparer, extractor, head
from lib.layers import Linear
from lib.pairs import Pairs
from lib.registry import NETWORKS
from lib.tasks import CLASSES, COMPARISON, judge, loss_of
from lib.teacher import DivergedError
from tests.lib.stacks import implementations, make, noise, sets, state, teacher, weights

every = pytest.mark.parametrize(("architecture", "one_hot"), list(itertools.product(NETWORKS, (True, False))))
OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
}


def assert_equal(ours, theirs, atol=0.0):
    """Compare what two networks hold."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=atol, msg=lambda text, of=name: f"{of}: {text}")


# ---------------------------------------------------------------- training


def plain_module(outputs):
    torch.manual_seed(0)
    hidden = nn.Linear(2 * 14 * 14, 8, bias=False)  # its gradient would be rounding, which Adam makes a step of
    return nn.Sequential(nn.Flatten(), hidden, nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs)).double()


@pytest.mark.parametrize("outputs", [2, 1])
@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_plain_module_learns_as_in_a_loop_written_by_hand(outputs, settings):
    """25 pairs in batches of 10: the last batch has 5, and counts as 5."""
    train, test = (Pairs(pairs.images[0], pairs.classes[0]) for pairs in sets())
    target, test_target = ((pairs.classes[:, 0] <= pairs.classes[:, 1]).long() for pairs in (train, test))
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
            _, loss = loss_of(train.images[part], target[part])
            loss.backward()
            step.step()
            total += loss.item() * len(part)
        by_hand.eval()
        with torch.no_grad():
            answer, loss = loss_of(test.images, test_target)
        decision = answer.argmax(1) if outputs == 2 else (answer[:, 0] >= 0.5).long()
        assert history.epochs[epoch]["train_loss"].item() == pytest.approx(total / 25, abs=close)
        assert history.epochs[epoch]["test_loss"].item() == pytest.approx(loss.item(), abs=close)
        assert history.epochs[epoch]["test_correct"].item() == (decision == test_target).sum()
    assert_equal(state(module), state(by_hand), atol=10 * close)
    assert history.epochs[-1].keys() == {"train_loss", "test_loss", "test_correct"}
    assert history.array("auxiliary_train_loss") is None and history.last.heads.keys() == {"answer"}


@every
def test_zero_epochs_change_nothing(architecture, one_hot):
    network = make(architecture, one_hot=one_hot)
    before = state(network)
    history = Teacher(*sets()).train(network, epochs=0)
    assert_equal(state(network), before)
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
    generator = torch.get_rng_state()
    Teacher(train, test).train(make("CAUX"), epochs=2, batch_size=10)
    after = [values for pairs in (train, test) for values in vars(pairs).values()]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), generator), "a training drew from torch's own generator"


@pytest.mark.parametrize("architecture", NETWORKS)
@implementations
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_another_trial_sees_changes_no_bit_of_this_one(architecture, implementation, optimizer):
    train, test = sets(3)
    scrambled = [Pairs(*(values.clone() for values in vars(pairs).values())) for pairs in (train, test)]
    for pairs in scrambled:
        pairs.images[1] = torch.randn(pairs.images[1].shape, generator=torch.Generator().manual_seed(0))
        pairs.classes[1] = 9 - pairs.classes[1]
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
    shared = {name: value for name, value in state(with_head).items() if not name.startswith("auxiliary")}
    assert_equal(shared, state(without), atol=1e-13)
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose(one.array(name), two.array(name), rtol=0, atol=1e-13)
    assert_equal(state(with_head.auxiliary), head_before)


@pytest.mark.parametrize("architecture", ["SAUX", "CAUX"])
def test_the_auxiliary_weight_reaches_the_extractor(architecture):
    states = []
    for weight in (0.3, 0.6):
        network = make(architecture)
        Teacher(*sets()).train(network, epochs=1, batch_size=10, auxiliary_weight=weight)
        states.append(network.state_dict())
    assert not torch.equal(states[0]["extract.0.weight"], states[1]["extract.0.weight"])


# ---------------------------------------------------------------- further heads


class Heads(Network):
    """Three heads: one for the classes, and one that reads what that one says."""

    heads = {"answer": COMPARISON, "classes": CLASSES, "second": COMPARISON}  # noqa: RUF012
    factors = {"second": 0.5}  # noqa: RUF012

    def __init__(self, sizes):
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.compare = comparer(sizes, (8,))
        self.classes = head(sizes, sizes.maps, (8,), CLASSES)
        self.second = Linear(sizes.trials, 2 * sizes.outputs(CLASSES), sizes.outputs(COMPARISON))

    def forward(self, images):
        maps = self.extract(images.unsqueeze(3))
        classes = self.classes(maps.flatten(1, 2)).unflatten(1, (-1, 2))
        return {
            "second": self.second(classes.flatten(2)),  # in another order than in `heads`
            "answer": self.compare(maps.flatten(2, 3)),
            "classes": classes,
        }


@pytest.mark.parametrize("one_hot", [True, False])
def test_a_step_follows_the_sum_of_all_heads_times_their_weights(one_hot):
    """By hand, for one step on all pairs: gradients times the learning rate."""
    network, by_hand, held = make(Heads, one_hot=one_hot), make(Heads, one_hot=one_hot), teacher()
    history = held.train(network, epochs=1, batch_size=25, learning_rate=0.1, auxiliary_weight=0.7)
    (batch,) = teacher().batches(25, torch.zeros(0, dtype=torch.float64))  # in the same order
    outputs = by_hand.train()(batch.images)
    losses = {name: judge(outputs[name], task, batch.classes).loss for name, task in Heads.heads.items()}
    (losses["answer"] + 0.7 * losses["classes"] + 0.7 * 0.5 * losses["second"]).sum().backward()
    with torch.no_grad():
        for parameter in by_hand.parameters():
            parameter -= 0.1 * parameter.grad
    assert_equal(state(network), state(by_hand), atol=1e-14)
    for name, prefix in (("answer", ""), ("classes", "classes_"), ("second", "second_")):
        torch.testing.assert_close(history.epochs[0][f"{prefix}train_loss"], losses[name].detach(), rtol=0, atol=1e-14)
        assert history.last.heads[name].named.shape == (2, 50 if name == "classes" else 25)
    kinds = ("train_loss", "test_loss", "test_correct")
    assert history.epochs[0].keys() == {prefix + kind for prefix in ("", "classes_", "second_") for kind in kinds}


def test_a_head_that_is_read_learns_from_its_reader_too():
    """With the classes' own factor at 0, their head moves only for the one that reads it."""

    class Read(Heads):
        factors = {"classes": 0.0}  # noqa: RUF012

    class Unread(Read):
        def forward(self, images):
            outputs = super().forward(images)
            return {**outputs, "second": self.second(outputs["classes"].detach().flatten(2))}

    for architecture, moves in ((Read, True), (Unread, False)):
        network = make(architecture)
        before = state(network.classes)
        teacher().train(network, epochs=1, batch_size=25)
        moved = [not torch.equal(value, before[name]) for name, value in network.classes.state_dict().items()]
        assert all(moved) if moves else not any(moved)


@pytest.mark.parametrize("own", [{"second": 0.2}, {"second": 0.2, "classes": 1.5}, {"classes": 0.0}], ids=str)
def test_heads_may_have_weights_of_their_own(own):
    """The gradient of one step on all pairs is that of the sum; a factor of the network counts, too."""
    network = make(Heads)
    teacher().train(network, epochs=1, batch_size=25, auxiliary_weight=0.7, auxiliary_weights=own)
    by_hand, losses, _ = judged(Heads)
    each = {"classes": own.get("classes", 0.7), "second": 0.5 * own.get("second", 0.7)}
    (losses["answer"] + each["classes"] * losses["classes"] + each["second"] * losses["second"]).sum().backward()
    assert_equal(gradients(network), gradients(by_hand), atol=1e-14)


def judged(architecture, **options):
    """An untrained network, what each head loses on the first batch of `teacher`, if that has all, and its outputs."""
    network = make(architecture, **options)
    (batch,) = teacher().batches(25, like=next(network.parameters()))
    outputs = network.train()(batch.images)
    return network, {name: loss_of(outputs[name], task, batch.classes) for name, task in network.heads.items()}, outputs


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def within(values, *parts):
    """Those of some parts."""
    return {name: value for name, value in values.items() if name.startswith(parts)}


# ---------------------------------------------------------------- where the answer's gradient stops

STEP = {"epochs": 1, "batch_size": 25}


@implementations
def test_stopped_at_the_extractor_it_learns_from_the_auxiliary_head_alone(implementation):
    options = {"dtype": torch.float32, "implementation": implementation}
    network = make("CAUX", **options)
    teacher().train(network, stopped="extract", **STEP)
    by_hand, losses, _ = judged("CAUX", **options)
    (0.3 * losses["auxiliary"]).sum().backward()
    assert_equal(within(gradients(network), "extract", "auxiliary"), gradients(by_hand))  # bit by bit
    by_hand, losses, _ = judged("CAUX", **options)
    losses["answer"].sum().backward()
    assert_equal(within(gradients(network), "compare"), within(gradients(by_hand), "compare"))
    unstopped = make("CAUX", **options)
    teacher().train(unstopped, **STEP)
    for name, gradient in within(gradients(unstopped), "extract").items():
        assert not torch.equal(gradient, gradients(network)[name]), "the answer says nothing here: vacuous"


@implementations
@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_stopped_at_the_extractor_a_network_without_another_head_never_changes_it(implementation, settings):
    network = make("WSN", dtype=torch.float32, implementation=implementation)
    before = state(network)
    teacher().train(network, epochs=2, batch_size=10, stopped="extract", **settings)
    for name, value in network.state_dict().items():
        statistics = "running" in name
        assert torch.equal(value, before[name]) == (name.startswith("extract") and not statistics), name


@implementations
def test_stopped_within_the_extractor_the_layers_above_it_still_learn(implementation):
    network = make("WSN", dtype=torch.float32, implementation=implementation)
    before = weights(network)
    teacher().train(network, epochs=1, batch_size=10, stopped="extract.0")
    for name, value in weights(network).items():
        assert torch.equal(value, before[name]) == name.startswith("extract.0"), name


class Bottleneck(Network):
    """Compares what the auxiliary head says of the two digits."""

    heads = {"answer": COMPARISON, "auxiliary": CLASSES}  # noqa: RUF012
    features = False  # does the comparison read the features, too?

    def __init__(self, sizes):
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.auxiliary = head(sizes, sizes.maps, (8,), CLASSES, "auxiliary")
        channels, height, width = sizes.maps
        read = 2 * sizes.outputs(CLASSES) + 2 * channels * height * width * self.features
        self.compare = Linear(sizes.trials, read, sizes.outputs(COMPARISON))

    def forward(self, images):
        maps = self.extract(images.unsqueeze(3))
        classes = self.auxiliary(maps.flatten(1, 2)).unflatten(1, (-1, 2))
        read = [self.seen(classes).flatten(2), *([maps.flatten(2)] if self.features else [])]
        return {"answer": self.compare(torch.cat(read, dim=2)), "auxiliary": classes}

    def seen(self, classes):
        return classes


class Wide(Bottleneck):
    features = True


def cut(architecture):
    """The same network, in which the comparison reads the classes as data."""
    return type(architecture.__name__, (architecture,), {"seen": lambda self, classes: classes.detach()})


@implementations
@pytest.mark.parametrize("architecture", [Bottleneck, Wide])
def test_stopped_at_the_head_that_it_reads_the_answer_learns_by_the_other_paths_only(architecture, implementation):
    options = {"dtype": torch.float32, "implementation": implementation, "trials": 3}
    ours, theirs, free = (make(each, **options) for each in (architecture, cut(architecture), architecture))
    for network, stopped in ((ours, "auxiliary"), (theirs, ""), (free, "")):
        teacher(trials=3).train(network, stopped=stopped, **STEP)
    assert_equal(gradients(ours), gradients(theirs), atol=1e-6)
    for name, gradient in within(gradients(ours), "extract", "auxiliary").items():
        assert (gradient - gradients(free)[name]).abs().max() > 1e-5, f"{name} never had a gradient through the head"
    alone, losses, _ = judged(architecture, **{**options, "trials": 2})
    (0.3 * losses["auxiliary"]).sum().backward()
    for name, gradient in within(gradients(ours), "extract", "auxiliary").items():
        same = torch.allclose(gradient[:2], gradients(alone)[name], rtol=0, atol=1e-6)
        assert same == (name.startswith("auxiliary") or architecture is Bottleneck), name


def test_stopping_goes_on_for_all_epochs_with_each_optimizer():
    """As if the comparison had read the classes as data all along."""
    for settings in OPTIMIZERS.values():
        ours, theirs = make(Wide), make(cut(Wide))
        teacher().train(ours, epochs=3, batch_size=10, stopped="auxiliary", **settings)
        teacher().train(theirs, epochs=3, batch_size=10, **settings)
        assert_equal(state(ours), state(theirs), atol=1e-10)


class Diverges(CAUX):
    def forward(self, images):
        return {name: values / 0 for name, values in super().forward(images).items()}


def test_after_a_training_no_hook_is_left_and_all_may_learn_again():
    settings = {"epochs": 3, "batch_size": 10, "stopped": "extract", "frozen": ["compare", "extract.1"]}

    def as_before(network):
        assert not any(part._forward_hooks for part in network.modules())
        return all(parameter.requires_grad for parameter in network.parameters())

    network = make("CAUX")
    teacher().train(network, **settings)
    assert as_before(network)
    for epoch in teacher().epochs(network, **settings):
        if epoch.number == 2:
            assert not network.compare[1].weight.requires_grad
            break
    del epoch
    assert as_before(network)
    network = make(Diverges)
    with pytest.raises(DivergedError):
        teacher().train(network, **settings)
    assert as_before(network)
    network = make("CAUX")
    network.auxiliary.requires_grad_(False)
    teacher().train(network, **settings)
    assert not as_before(network) and not any(each.requires_grad for each in network.auxiliary.parameters())


class Listed(nn.Module):
    """Layers in a list, which is not called, and one that returns two tensors."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(28, 8), nn.Linear(8, 2)])
        self.read = nn.LSTM(14, 14, batch_first=True)

    def forward(self, images):
        lines, _ = self.read(images.flatten(1, 2).float())
        return self.layers[1](self.layers[0](lines[:, [13, 27]].flatten(1)).relu())


@pytest.mark.parametrize(
    ("stopped", "sentence"),
    [
        ("layers", "stopped is 'layers', which the network never calls; allowed: a part that it calls"),
        ("read", "stopped is 'read', whose output is tuple; allowed: a part that returns a tensor"),
        ("reader", "Listed has no part 'reader'; its parts: layers, read"),
    ],
)
def test_a_part_at_which_nothing_can_stop_is_refused(stopped, sentence):
    train, test = (Pairs(pairs.images[0], pairs.classes[0]) for pairs in sets())
    module = Listed()
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Teacher(train, test).train(module, stopped=stopped, **STEP)
    assert not any(part._forward_hooks for part in module.modules())
    Teacher(train, test).train(module, stopped="layers.0", **STEP)


# ---------------------------------------------------------------- first some heads, then some parts


@implementations
@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_at_first_only_some_heads_count_and_then_some_parts_are_frozen(implementation, settings):
    network, states = make("CAUX", dtype=torch.float32, implementation=implementation), []
    states.append(state(network))
    phases = {"first": ["auxiliary"], "first_epochs": 2, "frozen": ["extract", "auxiliary"]}
    history = teacher().train(
        network, epochs=4, batch_size=10, on_epoch=lambda model: states.append(state(model)), **phases, **settings
    )
    for number, (before, after) in enumerate(itertools.pairwise(states), 1):
        still = ("compare",) if number <= 2 else ("extract", "auxiliary")  # running statistics, too
        for name, value in after.items():
            assert torch.equal(value, before[name]) == name.startswith(still), f"{name} in epoch {number}"
    losses = history.array("auxiliary_train_loss")
    assert (losses[:, 1] < losses[:, 0]).all() and np.isfinite(history.array("train_loss")).all()


@implementations
@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_frozen_from_the_start_weights_stay_as_they_were_drawn_and_statistics_move(implementation, settings):
    network = make("CAUX", dtype=torch.float32, implementation=implementation)
    before = state(network)
    teacher().train(network, epochs=2, batch_size=10, frozen=["extract", "compare.3"], **settings)
    for name, value in network.state_dict().items():
        still = name.startswith(("extract", "compare.3")) and "running" not in name
        assert torch.equal(value, before[name]) == still, name


@implementations
@pytest.mark.parametrize("first_epochs", [0, 1])
def test_below_a_frozen_block_the_first_block_still_learns(implementation, first_epochs):
    """In evaluation mode the gradient passes through running statistics, which the compiled block does not know."""
    network = make("WSN", dtype=torch.float32, implementation=implementation)
    states, reference = [], make("WSN", dtype=torch.float64)
    phases = {"first_epochs": first_epochs, "frozen": ["extract.1"], "epochs": 2, "batch_size": 10}
    teacher().train(network, on_epoch=lambda model: states.append(state(model)), learning_rate=0.1, **phases)
    teacher().train(reference, learning_rate=0.1, **phases)
    for name, value in states[1].items():
        still = name.startswith("extract.1") and (first_epochs == 1 or "running" not in name)
        assert torch.equal(value, states[0][name]) == still, name
        torch.testing.assert_close(value.double(), reference.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_where_all_that_a_loss_reaches_is_frozen_the_others_go_on():
    """And where nothing is left to learn, nothing changes."""
    for stopped in ("", "extract"):
        network, states = make("CAUX"), []
        phases = {"first_epochs": 1, "frozen": ["extract", "compare"], "stopped": stopped}
        teacher().train(network, on_epoch=lambda model, kept=states: kept.append(state(model)), epochs=2, **phases)
        for name, value in states[1].items():
            assert torch.equal(value, states[0][name]) != name.startswith("auxiliary"), name
        whole = {"first_epochs": 1, "frozen": ["extract", "compare", "auxiliary"], "stopped": stopped}
        network, states = make("CAUX"), []
        teacher().train(network, on_epoch=lambda model, kept=states: kept.append(state(model)), epochs=2, **whole)
        assert_equal(states[1], states[0])


class Plainly(nn.Module):
    """A plain module with two heads, and with running statistics in the part that both read."""

    heads = {"answer": COMPARISON, "second": COMPARISON}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.read = nn.Sequential(nn.Flatten(), nn.Linear(392, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU())
        self.answer, self.second = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, images):
        read = self.read(images)
        return self.answer(read), self.second(read)


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(("first", "first_epochs"), [(["second"], 2), ([], 1), ([], 0)], ids=str)
@pytest.mark.parametrize("stopped", ["", "read"])
def test_a_plain_module_learns_in_phases_as_in_a_loop_written_by_hand(settings, first, first_epochs, stopped):
    train, test = (Pairs(pairs.images[0], pairs.classes[0]) for pairs in sets())
    target = (train.classes[:, 0] <= train.classes[:, 1]).long()
    torch.manual_seed(0)
    module = Plainly().double()
    by_hand = copy.deepcopy(module)
    phases = {"first": first, "first_epochs": first_epochs, "frozen": ["read"], "stopped": stopped}
    Teacher(train, test, [np.random.default_rng(9)]).train(module, epochs=3, batch_size=10, **phases, **settings)

    if settings["optimizer"] == "adam":
        step = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    else:
        step = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=settings.get("momentum", 0))
    order = np.random.default_rng(9)
    for epoch in range(3):
        by_hand.train()
        if epoch >= first_epochs:
            by_hand.read.requires_grad_(False)
            by_hand.read.train(first_epochs == 0)
        for rows in torch.from_numpy(order.permutation(25)).split(10):
            step.zero_grad()
            read = by_hand.read(train.images[rows].double())
            answer = nn.CrossEntropyLoss()(by_hand.answer(read.detach() if stopped else read), target[rows])
            second = nn.CrossEntropyLoss()(by_hand.second(read), target[rows])
            (0.3 * second if first and epoch < first_epochs else answer + 0.3 * second).backward()
            step.step()
    assert_equal(state(module), state(by_hand), atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"first": ["auxilary"], "first_epochs": 1},
            "first is 'auxilary'; allowed: 'answer', 'auxiliary' (did",
        ),
        ({"auxiliary_weights": {"answer": 1}}, "auxiliary_weights is 'answer'; allowed: 'auxiliary'"),
        ({"frozen": ["extractor"]}, "CAUX has no part 'extractor'; its parts: extract, compare, auxiliary"),
    ],
)
def test_heads_and_parts_that_are_not_there_are_refused(settings, sentence):
    with pytest.raises(ValueError) as caught:
        teacher().train(make("CAUX"), epochs=2, **settings)
    assert str(caught.value).startswith(sentence)


# ---------------------------------------------------------------- epochs, one after the other

SETTINGS = {"batch_size": 10, "learning_rate": 0.05}


def test_epochs_come_one_by_one_with_what_training_would_have_kept():
    network, other = make("CAUX"), make("CAUX")
    history = teacher().train(other, epochs=3, **SETTINGS)
    seen = list(teacher().epochs(network, epochs=3, **SETTINGS))
    assert [epoch.number for epoch in seen] == [1, 2, 3]
    for epoch, values in zip(seen, history.epochs, strict=True):
        assert_equal(epoch.values, values)
    assert torch.equal(seen[-1].score.correct, history.last.correct)
    assert_equal(state(network), state(other))


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_looking_between_two_epochs_changes_nothing(settings):
    """The network is tested, read and drawn while the training waits, and goes on with the same optimizer."""
    network, other, held = make("CAUX"), make("CAUX"), teacher()
    teacher().train(other, epochs=3, batch_size=10, **settings)
    for epoch in held.epochs(network, epochs=3, batch_size=10, **settings):
        assert torch.equal(held.test(network).correct, epoch.score.correct), "the score is that of these weights"
        network.eval()
        network(noise(2, 3, 2, 14, 14)).popitem()[1].sum().backward()  # a gradient that someone looked at
    assert_equal(state(network), state(other))


def stopped_and_gone_on(**settings):
    """Two epochs, then three more of another call: the weights after each part, and the whole."""
    network, held = make("CAUX"), teacher()
    for epoch in held.epochs(network, epochs=100, batch_size=10, **settings):
        if epoch.number == 2:
            break
    kept = state(network)
    held.train(network, epochs=3, batch_size=10, **settings)
    return kept, state(network)


def test_stopping_keeps_what_was_learned_and_going_on_is_as_if_never_stopped():
    """Of plain SGD, whose steps depend on the weights alone; the orders of the pairs go on, too."""
    kept, in_the_end = stopped_and_gone_on(**OPTIMIZERS["sgd"])
    whole = make("CAUX")
    states = [state(whole) for _ in teacher().epochs(whole, epochs=5, batch_size=10, **OPTIMIZERS["sgd"])]
    assert_equal(kept, states[1])
    assert_equal(in_the_end, states[4])


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_with_momentum_going_on_begins_with_a_new_optimizer(name):
    """The weights and the orders are kept, the optimizer's memory is not: as if training began from these weights."""
    kept, in_the_end = stopped_and_gone_on(**OPTIMIZERS[name])
    begun, held = make("CAUX"), teacher()
    for rng in held.orders:
        for _ in range(2):
            rng.permutation(25)  # the two epochs that were shown
    begun.load_state_dict(kept)
    held.train(begun, epochs=3, batch_size=10, **OPTIMIZERS[name])
    assert_equal(in_the_end, state(begun))
    whole = make("CAUX")
    teacher().train(whole, epochs=5, batch_size=10, **OPTIMIZERS[name])
    assert not torch.equal(in_the_end["extract.0.weight"], state(whole)["extract.0.weight"])


def test_one_part_may_be_trained_first():
    network, held = make("CAUX"), teacher()
    network.extract.requires_grad_(False)
    before = state(network)
    held.train(network, epochs=1, **SETTINGS)
    first = state(network)
    network.extract.requires_grad_(True)
    held.train(network, epochs=1, **SETTINGS)
    for name, value in network.named_parameters():
        assert torch.equal(first[name], before[name]) == name.startswith("extract"), name
        assert not torch.equal(value, first[name]), name


# ---------------------------------------------------------------- batches


def test_an_epoch_shows_each_pair_once_to_its_own_trial_in_an_order_of_its_own():
    train, test = sets(3)
    train.images[:, :, 0, 0, 0] = torch.arange(25.0) + 100 * torch.arange(3.0)[:, None]  # which pair, of which trial
    held = Teacher(train, test)
    epochs = [list(held.batches(10, torch.zeros(0))) for _ in range(2)]
    orders = []
    for batches in epochs:
        assert [batch.classes.shape[1] for batch in batches] == [10, 10, 5], "the last batch is smaller"
        for trial in range(3):
            order = torch.cat([batch.images[trial, :, 0, 0, 0] for batch in batches]).long() - 100 * trial
            assert sorted(order.tolist()) == list(range(25))
            seen = torch.cat([batch.classes[trial] for batch in batches])
            assert torch.equal(seen, train.classes[trial, order]), "images and classes came apart"
            orders.append(tuple(order.tolist()))
    assert len(set(orders)) == 6, "each trial and epoch has its own order"


def test_batches_have_the_models_dtype():
    (batch,) = Teacher(*sets()).batches(25, torch.zeros(0, dtype=torch.float64))
    assert batch.images.dtype == torch.float64 and batch.classes.dtype == torch.int64


# ---------------------------------------------------------------- measures


def test_on_epoch_is_called_with_the_model_after_each_epoch():
    network, calls = make(), []
    teacher().train(network, epochs=3, on_epoch=lambda model: calls.append((model, state(model))))
    assert all(model is network for model, _ in calls) and len(calls) == 3
    assert len({after["extract.0.weight"].sum().item() for _, after in calls}) == 3
    assert_equal(calls[-1][1], state(network))


def test_measures_join_the_history():
    network = make()
    weight = network.compare[1].weight
    history = teacher().train(
        network, epochs=3, on_epoch=lambda model: {"norm": weight.flatten(1).norm(dim=1), "first": weight[:, 0, 0]}
    )
    assert history.array("norm").shape == history.array("first").shape == (2, 3)
    np.testing.assert_array_equal(history.array("first")[:, -1], weight[:, 0, 0].detach())
    assert len(set(history.array("first")[0])) == 3, "kept as it was then, not as it is now"
    assert not history.epochs[0]["norm"].requires_grad, "it would keep every epoch's graph"


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ({"norm": torch.zeros(3)}, r"the measure 'norm' is \[3\]; allowed: a number per trial, \[2\]"),
        ({"norm": torch.zeros(2, 1)}, r"the measure 'norm' is \[2, 1\]; allowed: a number per trial, \[2\]"),
        ({"norm": torch.tensor(1.0)}, r"the measure 'norm' is \[\]; allowed: a number per trial, \[2\]"),
        ({"norm": 3.0}, r"the measure 'norm' is float; allowed: a number per trial, \[2\]"),
        ({"train_loss": torch.zeros(2)}, "a measure is called 'train_loss', which every training has already; choose"),
        ({"auxiliary_test_correct": torch.zeros(2)}, "a measure is called 'auxiliary_test_correct', which every"),
    ],
)
def test_a_measure_of_another_shape_or_with_a_taken_name_is_refused(measures, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        teacher().train(make("CAUX"), epochs=1, on_epoch=lambda model: measures)


def test_measures_are_the_same_after_every_epoch():
    some = iter([{"norm": torch.zeros(2)}, {}])
    with pytest.raises(ValueError, match="on_epoch must return the same measures after every epoch"):
        teacher().train(make(), epochs=2, on_epoch=lambda model: next(some))


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
    assert_equal(one.values(), two.values())
    assert all(torch.equal(judged.named, two.heads[name].named) for name, judged in one.heads.items())
    assert_equal(state(network), before)
    assert not any(parameter.grad_fn for parameter in network.parameters())


def test_a_pair_is_judged_by_itself_and_not_by_the_rest_of_the_test_set():
    network = make("CAUX")
    train, test = sets()
    Teacher(train, test).train(network, epochs=1, batch_size=10)
    whole = Teacher(train, test).test(network)
    part = Teacher(train, Pairs(*(values[:, 5:12] for values in vars(test).values()))).test(network)
    assert torch.equal(part.correct, whole.correct[:, 5:12])


@pytest.mark.parametrize("architecture", ["SN", "CAUX"])
@pytest.mark.parametrize("one_hot", [True, False])
def test_testing_in_parts_changes_no_result(architecture, one_hot):
    """300 pairs are tested in three parts; here all at once."""
    network, held = make(architecture, one_hot=one_hot), teacher(pairs=300)
    parts, pairs = held.test(network), held.test_pairs
    with torch.no_grad():
        outputs = network.eval()(pairs.images.double())
    for name, task in network.heads.items():
        whole = judge(outputs[name], task, pairs.classes)
        assert torch.equal(parts.heads[name].named, whole.named) and torch.equal(parts.heads[name].right, whole.right)
        torch.testing.assert_close(parts.heads[name].loss, whole.loss, rtol=0, atol=1e-12)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("architecture", ["SAUX", "CAUX"])
def test_the_auxiliary_head_is_never_in_the_score(architecture, one_hot):
    network, held = make(architecture, one_hot=one_hot), Teacher(*sets())
    before = held.test(network)
    with torch.no_grad():
        for parameter in network.auxiliary.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    after = held.test(network)
    assert torch.equal(after.correct, before.correct)
    assert torch.equal(after.heads["answer"].loss, before.heads["answer"].loss)
    assert not torch.equal(after.heads["auxiliary"].loss, before.heads["auxiliary"].loss), "the head did not change"
    assert before.heads["auxiliary"].named.shape == (2, 25 if architecture == "SAUX" else 50)


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


# ---------------------------------------------------------------- refusals


def test_a_loss_that_is_not_finite_is_an_error_that_names_trial_and_epoch():
    train, test = sets(3)
    train.images[1, 0] = math.nan
    with pytest.raises(DivergedError, match=r"the loss of trial 1 of this stack is nan in epoch 1: .* learning_rate"):
        Teacher(train, test).train(make(trials=3), epochs=2)


@pytest.mark.parametrize("part", ["answer", "auxiliary"])
def test_training_stops_in_the_epoch_that_diverges(part):
    class Diverging(SAUX):
        bad = False

        def forward(self, images):
            outputs = super().forward(images)
            return {**outputs, part: outputs[part] / 0} if self.bad else outputs

    network, epochs = make(Diverging), []

    def on_epoch(model):
        epochs.append(len(epochs))
        model.bad = len(epochs) == 2

    with pytest.raises(DivergedError, match="trial 0 of this stack is nan in epoch 3"):
        teacher().train(network, epochs=9, on_epoch=on_epoch)
    assert epochs == [0, 1]


class Missing(WSN):
    heads = {"answer": COMPARISON, "auxiliary": COMPARISON}  # noqa: RUF012


class Additional(CAUX):
    heads = {"answer": COMPARISON}  # noqa: RUF012


class NoDict(WSN):
    def forward(self, images):
        return super().forward(images)["answer"]


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        (Missing, "Missing's forward returns answer; allowed: a dict of its heads, answer, auxiliary"),
        (Additional, "Additional's forward returns answer, auxiliary; allowed: a dict of its heads, answer"),
        (NoDict, "NoDict's forward returns Tensor; allowed: a dict of its heads, answer"),
    ],
)
@pytest.mark.parametrize("use", ["train", "test"])
def test_outputs_that_are_not_those_of_the_heads_are_refused(architecture, sentence, use):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        teacher().train(make(architecture)) if use == "train" else teacher().test(make(architecture))


def test_an_unknown_optimizer_is_a_value_error_that_names_the_allowed_ones():
    with pytest.raises(ValueError, match="optimizer is 'sdg'; allowed: 'sgd', 'adam'"):
        Teacher(*sets()).train(make(), epochs=1, optimizer="sdg")
