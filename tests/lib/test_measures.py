"""Measures: the right values, for any network; no bit of a training changes for them; one's own are refused in time."""

import copy
import itertools
import math
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from lib import Store, datasets, run_analysis, training
from lib.analysis import run_study
from lib.architectures import WSN
from lib.layers import Dropout
from lib.measures import OURS, Measure, at_end, find, take
from lib.pairs import draw_trial, normalise
from lib.tasks import CLASSES, COMPARISON
from lib.training import train_fully
from tests.lib.own import look_in, tiny
from tests.lib.stacks import compiled

DIGITS = 697  # of the embedded test set
NAMING = ("digit_names", "named_score")  # ask for a head that names digits
HEADS = {
    "CAUX": ("answer", "auxiliary"),
    "WSN": ("answer",),
    "tests.lib.own:Heads": ("answer", "digits", "parity", "total"),
    "tests.lib.own:Mixed": ("answer", "digits"),
}
networks = pytest.mark.parametrize("architecture", HEADS, ids=["CAUX", "WSN", "four heads", "plain"])


def measured(experiment, *names, trials=None, dtype=torch.float64, **options):
    """Train a stack (of a plain module one trial); return the values by name, and the network and Teacher at the end.

    What is taken after the last epoch is taken of that network.
    """
    trials = trials or (range(1, 2) if experiment.is_plain() else range(3))
    trained = train_fully(experiment, trials, measures=names, dtype=dtype, **options)
    values = {name: value for each in trained.measures.values() for name, value in each.items()}
    return values, trained.prepared.network, trained.prepared.teacher


def run(experiment, trials, *measures, **options):
    """Train or read through a store, in this process."""
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "progress": False, **options}
        return run_analysis(experiment, trials, measures=measures, **options)


def last(values):
    """What a measure of every epoch said after the last one."""
    return values[:, -1]


def by_hand(outputs, target, classes):
    """Mean loss of outputs `[..., k]` whose classes are `target` `[...]`, from the definitions."""
    if outputs.shape[-1] == 1:
        return ((outputs[..., 0] - target.double() / (classes - 1)) ** 2).mean()
    return (outputs.exp().sum(-1).log() - outputs.gather(-1, target[..., None])[..., 0]).mean()


# ---------------------------------------------------------------- lib's own, against another computation


@pytest.mark.parametrize(
    ("architecture", "one_hot"),
    [*itertools.product(HEADS, [True]), *itertools.product(list(HEADS)[:3], [False])],  # Mixed has one-hot outputs
)
def test_gradient_norms_are_those_of_each_trials_own_loss_without_its_weight(architecture, one_hot):
    heavy = {} if architecture == "WSN" else {"auxiliary_weight": 9.0}
    experiment = tiny(architecture, one_hot_encoding=one_hot, **heavy)
    values, network, teacher = measured(experiment, "gradient_norms")
    assert values.keys() == {f"gradient_norm_{head}" for head in HEADS[architecture]}
    plain = experiment.is_plain()
    for head, task in network.heads.items():
        assert values[f"gradient_norm_{head}"].shape == (teacher.trials, experiment.epochs)
        for trial in range(teacher.trials):
            alone = copy.deepcopy(network).train()  # with the masks that come next, too
            alone.zero_grad()
            classes = teacher.last_batch.classes[trial]
            assert len(classes) == experiment.batch_size
            outputs = alone(teacher.last_batch.images)[head][trial]
            by_hand(outputs, task.target(classes), task.classes).backward()
            # Mixed has no part called extract: there it is all that a head reaches
            shared = [p for name, p in alone.named_parameters() if plain or name.startswith("extract.")]
            squares = [(p.grad if plain else p.grad[trial]).square().sum() for p in shared if p.grad is not None]
            expected = math.sqrt(sum(squares))
            assert expected > 1e-6
            assert last(values[f"gradient_norm_{head}"])[trial].item() == pytest.approx(expected, rel=1e-9)


def test_gradient_norms_stop_at_the_extractor_of_a_plain_module_too():
    values, network, teacher = measured(tiny("tests.lib.test_measures:Gated"), "gradient_norms")
    network.train()
    network.zero_grad()
    answer = network(teacher.last_batch.images)["answer"][0]
    by_hand(answer, COMPARISON.target(teacher.last_batch.classes[0]), 2).backward()
    expected = math.sqrt(sum(p.grad.square().sum() for p in network.module.extract.parameters()))
    assert last(values["gradient_norm_answer"]).item() == pytest.approx(expected, rel=1e-9)


@networks
def test_weight_norms_are_those_of_each_part(architecture):
    values, network, teacher = measured(tiny(architecture), "weight_norms")
    plain = getattr(network, "module", None)
    parts = dict((plain or network).named_children())
    assert values.keys() == {f"weight_norm_{part}" for part in parts}
    for part, trial in itertools.product(parts, range(teacher.trials)):
        arrays = [p.detach().numpy() if plain else p[trial].detach().numpy() for p in parts[part].parameters()]
        expected = np.linalg.norm(np.concatenate([array.ravel() for array in arrays]))
        assert last(values[f"weight_norm_{part}"])[trial].item() == pytest.approx(expected, rel=1e-12)
        assert values[f"weight_norm_{part}"].shape == (teacher.trials, 2)


class Gated(nn.Module):
    """A plain module with a number of no axis, and a Sigmoid inside that is not its answer's."""

    heads = {"answer": COMPARISON, "digits": CLASSES}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.extract = nn.Sequential(nn.Flatten(0, 1), nn.Flatten(), nn.Linear(196, 6), nn.BatchNorm1d(6))
        self.gate = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid())
        self.scale = nn.ParameterDict({"one": nn.Parameter(torch.tensor(2.0))})
        self.name = nn.Sequential(nn.Linear(6, 10), nn.Sigmoid())
        self.compare = nn.Sequential(nn.Linear(12, 2), nn.Sigmoid())

    def forward(self, images):
        maps = self.extract(images)
        maps = (maps * self.gate(maps) * self.scale["one"]).unflatten(0, (-1, 2))
        return self.compare(maps.flatten(1)), self.name(maps)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("CAUX", {}),
        ("CAUX", {"test_pairs": 130}),  # in two parts
        ("CAUX", {"fully_convolutional": True}),
        ("WSN", {"one_hot_encoding": False}),
        ("WSN", {"sigmoid": False}),
        ("CAUX", {"sigmoids": "auxiliary"}),
        ("tests.lib.own:Heads", {}),
        ("tests.lib.own:Mixed", {}),
        ("tests.lib.test_measures:Gated", {}),
    ],
)
def test_the_answers_spread_is_that_of_the_last_layer_before_its_sigmoid(architecture, settings):
    experiment = tiny(architecture, **settings)
    values, network, teacher = measured(experiment, "answer_spread")
    assert values["answer_spread"].shape == (teacher.trials, 2)
    with torch.no_grad():
        answer = network.eval()(teacher.test_pairs.images.double())["answer"].flatten(2)
    ends_in_one = experiment.sigmoid and experiment.sigmoids != "auxiliary" and architecture != "tests.lib.own:Mixed"
    said = torch.logit(answer) if ends_in_one else answer
    leaning = (said[..., 1] - said[..., 0]).numpy() if said.shape[-1] == 2 else said[..., 0].numpy()
    assert leaning.shape == (teacher.trials, experiment.test_pairs)
    np.testing.assert_allclose(last(values["answer_spread"]), leaning.std(1, ddof=1), rtol=1e-9)
    assert (leaning.std(1) > 1e-4).all()


@networks
def test_the_training_accuracy_is_that_of_the_training_pairs_in_evaluation_mode(architecture):
    experiment = tiny(architecture)
    values, network, teacher = measured(experiment, "train_accuracy", "final_train_accuracy", "weight_norms")
    with torch.no_grad():
        named = network.eval()(teacher.train_pairs.images.double())["answer"].argmax(-1)
    right = named == (teacher.train_pairs.classes[..., 0] <= teacher.train_pairs.classes[..., 1])
    expected = 100 * right.numpy().mean(1)
    assert values["train_accuracy"].shape == (teacher.trials, 2)
    np.testing.assert_allclose(last(values["train_accuracy"]), expected, rtol=1e-12)
    np.testing.assert_allclose(values["final_train_accuracy"], expected, rtol=1e-12)


def test_the_training_accuracy_of_pairs_that_are_gathered_is_that_of_the_same_pairs():
    """More than 4,000 of each trial: they are not held, but taken from the digits batch by batch."""
    experiment = tiny("WSN", train_pairs=4_001, train_digits=100, batch_size=1_000, epochs=1)
    values, network, _ = measured(experiment, "final_train_accuracy", trials=range(2))
    for trial in range(2):
        train, _ = normalise(*draw_trial("digits", 4_001, 20, experiment.seed, trial, 100))
        images = train.images.double().expand(2, -1, -1, -1, -1)
        with torch.no_grad():
            named = network.eval()(images)["answer"][trial].argmax(-1)
        right = named == (train.classes[:, 0] <= train.classes[:, 1])
        assert values["final_train_accuracy"][trial].item() == pytest.approx(100 * right.double().mean().item())


def test_digits(network, experiment, trials):
    """All test digits as each trial of a network sees them, and their classes."""
    test = datasets.load("digits")[1]
    for place, trial in enumerate(trials):
        train, _ = draw_trial("digits", experiment.train_pairs, experiment.test_pairs, experiment.seed, trial)
        pixels = train.images.double()
        images = (torch.from_numpy(test.images).double() - pixels.mean()) / pixels.std(correction=0)
        yield place, images, torch.from_numpy(test.classes)


test_digits.__test__ = False


@networks
def test_the_final_score_is_that_of_all_test_digits_in_pairs(architecture):
    experiment = tiny(architecture)
    trials = range(1, 2) if experiment.is_plain() else range(3)
    values, network, teacher = measured(experiment, "final_score", trials=trials)
    assert values["final_score"].shape == values["final_pairs"].shape == (len(trials),)
    assert values["final_pairs"].tolist() == [DIGITS // 2] * len(trials) == [348] * len(trials)
    drawn = teacher.final_pairs.rows
    assert [len(set(rows.flatten().tolist())) for rows in drawn] == [696] * len(trials), "none is used twice"
    assert drawn.min() == 0 and drawn.max() == DIGITS - 1
    assert len({tuple(rows.flatten().tolist()) for rows in drawn}) == len(trials), "each trial has pairs of its own"
    for place, images, classes in test_digits(network, experiment, trials):
        pairs = images[drawn[place]].expand(teacher.trials, -1, -1, -1, -1)
        with torch.no_grad():
            named = network.eval()(pairs)["answer"][place].argmax(-1)
        first, second = classes[drawn[place]].unbind(1)
        right = int((named == (first <= second)).sum())
        assert 0 < right < 348
        assert values["final_score"][place].item() == pytest.approx(100 * right / 348, rel=1e-12)


@pytest.mark.parametrize("architecture", [each for each in HEADS if each != "WSN"])
def test_digit_names_are_what_the_head_says_of_each_test_digit_in_order(architecture):
    experiment = tiny(architecture)
    trials = range(1, 2) if experiment.is_plain() else range(3)
    values, network, teacher = measured(experiment, "digit_names", trials=trials)
    [head] = [head for head, task in network.heads.items() if task == CLASSES]
    [(name, names)] = values.items()
    assert (name, names.dtype, names.shape) == (f"digit_names_{head}", torch.uint8, (len(trials), DIGITS))
    for place, images, _ in test_digits(network, experiment, trials):
        beside = images.flip(0)  # whatever stands beside it: a digit's class is its own affair
        pairs = torch.stack([images, beside], dim=1).expand(teacher.trials, -1, -1, -1, -1)
        with torch.no_grad():
            named = network.eval()(pairs)[head][place, :, 0].argmax(-1)
        assert named.tolist() == names[place].tolist(), "the last one, which is odd, too"
        assert len(set(named.tolist())) > 1


def test_a_network_without_a_head_that_names_digits_has_no_digit_names(tmp_path):
    sentence = "the measure 'digit_names' asks for a head that names digits, and {} has none"
    for architecture, name in (("WSN", "WSN"), ("SAUX", "SAUX"), ("tests.lib.own:Attentive", "Attentive")):
        with pytest.raises(ValueError, match=f"^{sentence.format(name)}$"):
            run(tiny(architecture), 3, "digit_names", store=Store(tmp_path / "results"))
    assert not (tmp_path / "results").exists()


def test_the_named_score_is_what_comparing_those_names_would_reach():
    experiment, trials = tiny("CAUX"), range(3)
    names, _, teacher = measured(experiment, "digit_names", trials=trials)
    values, _, _ = measured(experiment, "named_score", trials=trials)
    assert values.keys() == {"named_score_auxiliary", "names_right_auxiliary"}
    rows, classes = teacher.final_pairs.rows, teacher.final_pairs.classes
    for place, named in enumerate(names["digit_names_auxiliary"].long()):
        said = named[rows[place]]
        right = (said[:, 0] <= said[:, 1]) == (classes[place, :, 0] <= classes[place, :, 1])
        assert float(values["named_score_auxiliary"][place]) == pytest.approx(100 * float(right.double().mean()))
        share = 100 * float((said == classes[place]).double().mean())
        assert float(values["names_right_auxiliary"][place]) == pytest.approx(share)
    with pytest.raises(ValueError, match="'named_score' asks for a head that names digits, and WSN has none"):
        measured(tiny("WSN"), "named_score", trials=trials)


def test_the_measures_of_lib_are_these():
    every_epoch = {name for name in OURS if not find(name).at_end}
    assert every_epoch == {"gradient_norms", "weight_norms", "answer_spread", "train_accuracy"}
    assert OURS.keys() - every_epoch == {"final_train_accuracy", "final_score", "digit_names", "named_score"}


@networks
def test_a_result_has_them_by_name_and_what_was_trained_has_the_same(architecture, tmp_path):
    names = [name for name in OURS if name not in NAMING or architecture != "WSN"]
    experiment, trials = tiny(architecture), 3
    result = run(experiment, trials, *names, store=Store(tmp_path / "results"))
    stacks = [range(i, i + 1) for i in range(trials)] if experiment.is_plain() else [range(trials)]
    parts = [measured(experiment, *names, trials=stack, dtype=torch.float32)[0] for stack in stacks]
    assert result.measures.keys() == parts[0].keys()
    for name in parts[0]:
        expected = torch.cat([part[name] for part in parts]).numpy()
        assert result.measures[name].shape == expected.shape
        assert expected.shape[0] == trials
        np.testing.assert_allclose(result.measures[name], expected, rtol=1e-5)  # stored to 6 significant digits
        np.testing.assert_array_equal(result.values(name), result.measures[name])
    once = {"final_score": (), "final_pairs": (), "final_train_accuracy": (), "digit_names": (DIGITS,)}
    once |= {"named_score": (), "names_right": ()}
    for name, value in result.measures.items():
        shape = next((shape for known, shape in once.items() if name.startswith(known)), (experiment.epochs,))
        assert value.shape == (trials, *shape), name


# ---------------------------------------------------------------- no bit of a training changes


class Dropping(WSN):
    """WSN whose features drop out, with a stream for each trial."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.drop = Dropout(sizes.trials, 0.3)

    def forward(self, images):
        return {"answer": self.compare(self.drop(self.extract(images.unsqueeze(3))).flatten(2, 3))}


def nasty(network, teacher):
    """All that a measure should not do."""
    torch.manual_seed(1)
    torch.rand(5)
    torch.set_grad_enabled(False)
    torch.set_grad_enabled(True)
    network.train()
    for pairs in (teacher.last_batch, teacher.last_batch):
        network(pairs.images)  # moves running statistics, and draws masks
    sum(output.sum() for output in network(teacher.last_batch.images).values()).backward()
    for each in (*teacher.orders, *(rng for module in network.modules() for rng in getattr(module, "streams", []))):
        each.random(7)
    teacher.test(network)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.zero_()
        for parameter in network.parameters():
            parameter.add_(1)
    network.requires_grad_(False)
    for module in network.modules():
        module.training = not module.training
    for parameter in network.parameters():
        parameter.grad = None
    return torch.zeros(teacher.trials)


@at_end
def nasty_at_end(network, teacher):
    return nasty(network, teacher)


def bits(trained):
    """All that must not depend on measures: records without where they come from, and every number of the network."""
    records = [{name: value for name, value in each.items() if name != "provenance"} for each in trained.records]
    return records, {name: value.tolist() for name, value in trained.prepared.network.state_dict().items()}


WIDE = {"channels": "16-32"}  # which the compiled block covers
STACKS = {
    "stack": ("CAUX", WIDE),
    "frozen": ("CAUX", {**WIDE, "first": "auxiliary", "first_epochs": 1, "frozen": "extract.0", "momentum": 0.5}),
    "dropout": ("tests.lib.test_measures:Dropping", WIDE),
}
PLAIN = {"plain": ("tests.lib.own:Mixed", {}), "attention": ("tests.lib.own:Attentive", {})}


@pytest.mark.parametrize(
    ("architecture", "settings", "implementation"),
    [
        *(pytest.param(*each, "torch", id=f"{name}, torch") for name, each in STACKS.items()),
        *(pytest.param(*each, "fused", id=f"{name}, fused", marks=compiled) for name, each in STACKS.items()),
        *(pytest.param(*each, "torch", id=name) for name, each in PLAIN.items()),
    ],
)
def test_no_measure_changes_a_bit_of_a_training(architecture, settings, implementation):
    experiment = tiny(architecture, **{"epochs": 3, **settings})
    trials = range(1, 2) if experiment.is_plain() else range(3)
    without = train_fully(experiment, trials, implementation=implementation)
    head = any(task == CLASSES for task in without.prepared.network.heads.values())
    names = [name for name in OURS if name not in NAMING or head]
    own = [f"tests.lib.test_measures:{name}" for name in ("nasty", "nasty_at_end")]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for measures in (names, own):
        taken = train_fully(experiment, trials, implementation=implementation, measures=measures)
        assert [measure.name for measure in taken.measures] == measures
        assert bits(taken) == bits(without)
        streams = [rng for module in taken.prepared.network.modules() for rng in getattr(module, "streams", [])]
        before = [rng for module in without.prepared.network.modules() for rng in getattr(module, "streams", [])]
        pairs = zip(
            [*streams, *taken.prepared.teacher.orders], [*before, *without.prepared.teacher.orders], strict=True
        )
        assert all(a.bit_generator.state == b.bit_generator.state for a, b in pairs)
    assert torch.equal(torch.rand(3), expected), "torch's own generator goes on as if nothing had happened"


def test_a_training_is_another_one_without_that_care():
    """That the nasty measure is nasty: what it does would show."""
    experiment = tiny("CAUX", epochs=3)
    prepared = training.prepare(experiment, range(3))

    def on_epoch(network):
        nasty(network, prepared.teacher)
        network.requires_grad_(True)

    options = training.hyperparameters(experiment)
    spoiled = prepared.teacher.train(prepared.network, on_epoch=on_epoch, **options)
    again = training.prepare(experiment, range(3))
    assert not np.array_equal(
        spoiled.array("train_loss"), again.teacher.train(again.network, **options).array("train_loss")
    )


def test_what_a_measure_leaves_is_as_before_also_where_it_fails():
    for architecture in ("CAUX", "tests.lib.own:Mixed"):
        trained = train_fully(tiny(architecture), range(1))
        network, teacher = trained.prepared.network, trained.prepared.teacher
        first = next(network.parameters()).requires_grad_(False)
        gradients = [parameter.grad for parameter in network.parameters()]
        modes = [module.training for module in network.modules()]
        before, orders = bits(trained), [rng.bit_generator.state for rng in teacher.orders]

        def fail(network, teacher):
            nasty(network, teacher)
            raise RuntimeError("two\nlines")

        for function, error in ((nasty, None), (fail, "the measure 'own:fail' fails: RuntimeError: two lines")):
            measure = Measure("own:fail", function, False, "its source")
            if error:
                with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
                    take(measure, network, teacher)
            else:
                take(measure, network, teacher)
            assert bits(trained) == before
            assert [rng.bit_generator.state for rng in teacher.orders] == orders
            assert [module.training for module in network.modules()] == modes
            assert all(a is b for a, b in zip(gradients, (p.grad for p in network.parameters()), strict=True))
            assert not first.requires_grad and all(p.requires_grad for p in list(network.parameters())[1:])


# ---------------------------------------------------------------- measures of one's own

OWN = """
import torch
from lib.measures import at_end


def halves(network, teacher):
    return torch.arange(teacher.trials) + 0.5


def several(network, teacher):
    ones = torch.ones(teacher.trials)
    return {"one": ones, "two": 2 * ones.int()}


@at_end
def rows(network, teacher):
    return torch.arange(3 * teacher.trials).view(-1, 3) / 3


@at_end
def large(network, teacher):
    return {"bytes": torch.full((teacher.trials, 2), 123, dtype=torch.uint8), "few": torch.arange(teacher.trials)}
"""


@pytest.fixture
def own(own_module):
    name = own_module(OWN)
    yield name
    sys.modules.pop(name, None)


def test_a_function_of_ones_own_is_a_measure_by_its_module_and_name(own, tmp_path):
    names = [f"{own}:{name}" for name in ("halves", "several", "rows", "large")]
    result = run(tiny(), 3, *names, store=Store(tmp_path / "results"))
    assert {name: value.tolist() for name, value in result.measures.items()} == {
        "halves": [[0.5, 0.5], [1.5, 1.5], [2.5, 2.5]],
        "one": [[1, 1]] * 3,
        "two": [[2, 2]] * 3,
        "rows": [[0, 0.333333, 0.666667], [1, 1.33333, 1.66667], [2, 2.33333, 2.66667]],
        "bytes": [[123, 123]] * 3,  # uint8 as the digits' names, but no digits
        "few": [0, 1, 2],
    }
    assert result.accuracy.shape == (3, 2)


def test_a_measure_is_given_the_network_after_each_epoch_and_its_teacher(own_module, tmp_path):
    name = own_module(
        "def loss(network, teacher):\n    return teacher.test(network).heads['answer'].loss\n"
        "def all(network, teacher):\n    return teacher.test(network).correct.sum(1)"
    )
    result = run(tiny("CAUX"), 3, f"{name}:loss", f"{name}:all", store=Store(tmp_path / "results"))
    np.testing.assert_allclose(result.values("loss"), result.values("test_loss"), rtol=1e-5)
    np.testing.assert_array_equal(result.values("all"), result.values("test_correct"))


def test_an_edited_file_is_another_measure_and_is_taken_again(own, tmp_path):
    held = Store(tmp_path / "results")
    first = run(tiny(), 3, f"{own}:halves", store=held)
    stored = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.gz")}
    file = tmp_path / f"{own}.py"
    file.write_text(OWN.replace("+ 0.5", "+ 0.25"))
    again = run(tiny(), 3, f"{own}:halves", store=held)
    assert first.measures["halves"][:, 0].tolist() == [0.5, 1.5, 2.5]
    assert again.measures["halves"][:, 0].tolist() == [0.25, 1.25, 2.25]
    assert again.records == first.records
    assert stored.items() <= {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.gz")}.items()
    assert len(list((tmp_path / "results").rglob("measure-*"))) == 2
    file.write_text(OWN)  # and what was taken with the first source is there
    back = run(tiny(), 3, f"{own}:halves", store=held)
    assert back.measures["halves"][:, 0].tolist() == [0.5, 1.5, 2.5]
    assert len(list((tmp_path / "results").rglob("measure-*"))) == 2


def test_a_measure_asked_for_twice_or_by_its_long_name_is_taken_once(tmp_path):
    names = ["weight_norms", "lib.measures:weight_norms", "weight_norms"]
    result = run(tiny(), 3, *names, store=Store(tmp_path / "results"))
    assert {name: value.shape for name, value in result.measures.items()} == {
        "weight_norm_extract": (3, 2),
        "weight_norm_compare": (3, 2),
    }
    assert len(list((tmp_path / "results").rglob("measure-*"))) == 1
    again = run_study([tiny()], 3, measures=iter(["weight_norms"]), store=Store(tmp_path / "results"), progress=False)
    assert again[0].measures.keys() == result.measures.keys()


def returns(value, at_end=False):
    """The source of a measure that returns a value."""
    mark = "@at_end\n" if at_end else ""
    return f"import torch\nfrom lib.measures import at_end\n{mark}def own(network, teacher): return {value}"


RENAMING = """
seen = []


def own(network, teacher):
    seen.append(1)
    return {f"x{len(seen)}": teacher.test(network).correct.sum(1)}
"""
EACH, ONCE = "allowed: a number per trial, [2]", "allowed: a number per trial, [2] or [2, n]"
WRONG = [
    ("", "cannot be imported: module '.*' has no attribute 'own'"),
    ("1 / 0", "cannot be imported: division by zero"),
    ("raise SystemExit('a script')", "cannot be imported: a script"),
    ("def own(", "cannot be imported: .* was never closed .*"),
    ("own = 3", "is 3; allowed: a function of (network, teacher)"),
    (returns("torch.tensor(1.0)"), f"is []; {EACH}"),
    (returns("torch.ones(5)"), f"is [5]; {EACH}"),
    (returns("torch.ones(teacher.trials, 4)"), f"is [2, 4]; {EACH}"),
    (returns("[1.0, 2.0]"), f"is list; {EACH}"),
    (returns("None"), f"is NoneType; {EACH}"),
    (returns("{'x': torch.ones(1)}"), f"returns 'x', which is [1]; {EACH}"),
    (returns("torch.ones(teacher.trials, 4, 1)", at_end=True), f"is [2, 4, 1]; {ONCE}"),
    (returns("torch.ones(1, teacher.trials)", at_end=True), f"is [1, 2]; {ONCE}"),
    (returns("torch.zeros(teacher.trials) / 0"), "has values of 'own' that are no finite numbers"),
    (returns("{'x': torch.ones(2) / 0}", at_end=True), "has values of 'x' that are no finite numbers"),
    (returns("{'train_loss': torch.ones(2)}"), "has values called 'train_loss', which every result has already; .*"),
    (RENAMING, "must return the same names after every epoch"),
    (returns("1 / 0"), "fails: ZeroDivisionError: division by zero"),
    ("def own(network, teacher): raise ValueError('two\\nlines')", "fails: ValueError: two lines"),
    (returns("network.digits"), "fails: AttributeError: 'WSN' object has no attribute 'digits'"),
    ("def own(network): return 1", "fails: TypeError: own() takes 1 positional argument but 2 were given"),
]


def refused(tmp_path, name, sentence):
    """That a measure is refused in this one sentence, before any training."""
    pattern = re.escape(sentence).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=f"^{pattern}$") as caught:
        run(tiny(), 3, "weight_norms", name, store=Store(tmp_path / "results"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("source", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_measure_that_cannot_be_taken_is_refused_in_one_sentence_before_any_training(
    source, words, own_module, tmp_path
):
    name = f"{own_module(source)}:own"
    refused(tmp_path, name, f"the measure '{name}' {words}")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("final_scor", "a measure is 'final_scor'; allowed: .*, or module:function (did you mean 'final_score'?)"),
        (
            "nothing",
            "a measure is 'nothing'; allowed: 'gradient_norms', .*, 'digit_names', 'named_score', or module:function",
        ),
        (
            "no_such_module:own",
            "the measure 'no_such_module:own' cannot be imported: No module named 'no_such_module'; put "
            "no_such_module.py into .*/own (looked for there, in .*)",
        ),
    ],
)
def test_a_measure_that_there_is_not_is_refused_in_one_sentence_before_any_training(name, sentence, tmp_path):
    refused(tmp_path, name, sentence)


def test_what_is_stored_stays_where_a_measure_fails_before_or_in_the_training(own_module, tmp_path):
    """It fails where the training is a real one: nothing of what is stored is lost, and the sentence names it."""
    held = Store(tmp_path / "results")
    run(tiny(), 3, "weight_norms", store=held)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "results").rglob("*.gz")}
    at_once = own_module("def own(network, teacher): return 1 / 0")
    late = own_module(returns("torch.ones(teacher.trials) / (teacher.trials - 3)"), "_")
    with pytest.raises(ValueError, match=f"^the measure '{at_once}:own' fails: ZeroDivisionError: division by zero$"):
        run(tiny(), 3, f"{at_once}:own", store=held)
    sentence = rf"^1 of 1 groups failed \(WSN trials 0 to 2\): the measure '{late}:own' has values of 'own' that are no"
    with pytest.raises(RuntimeError, match=sentence):
        run(tiny(), 3, f"{late}:own", store=held)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "results").rglob("*.gz")} == before


def test_two_measures_with_values_of_one_name_are_not_taken_together(own_module, tmp_path):
    one, two = (own_module(returns(f"torch.ones(teacher.trials) * {i}"), f"_{i}") for i in (1, 2))
    held = Store(tmp_path / "results")
    sentence = f"the measures '{one}:own' and '{two}:own' both have values called 'own'; ask for one at a time"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        run(tiny(), 3, f"{one}:own", f"{two}:own", store=held)
    assert not (tmp_path / "results").exists()
    assert run(tiny(), 3, f"{one}:own", store=held).values("own").tolist() == [[1, 1]] * 3
    assert run(tiny(), 3, f"{two}:own", store=held).values("own").tolist() == [[2, 2]] * 3
    with pytest.raises(ValueError, match=r"^measures has two that have values called own; load one at a time$"):
        run(tiny(), 3, f"{one}:own", f"{two}:own", store=held)


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ("final_score", "measures is 'final_score'; allowed: a list of names"),
        (None, "measures is None; allowed: a list of names"),
        ([3], "measures has 3; allowed: names of lib.measures or module:function"),
        ([nasty], r"measures has <function .*>; allowed: names of lib.measures or module:function"),
    ],
)
def test_measures_are_a_list_of_names(measures, sentence, tmp_path):
    with pytest.raises(TypeError, match=f"^{sentence}$"):
        run_study([tiny()], 3, measures=measures, store=Store(tmp_path / "results"), progress=False)
    assert not (tmp_path / "results").exists()


def test_a_worker_takes_a_measure_from_a_module_of_ones_own(own_module, pool, tmp_path):
    name = own_module("import os, torch\ndef who(network, teacher): return torch.full((teacher.trials,), os.getpid())")
    pool.submit(look_in, str(tmp_path)).result()
    held = Store(tmp_path / "results")
    result = run_analysis(tiny(), 3, measures=[f"{name}:who", "final_score"], store=held, executor=pool, progress=False)
    assert (result.values("who") == next(iter(pool._processes))).all()
    alone = run(tiny(), 3, "final_score", store=Store(tmp_path / "other"))
    assert result.values("final_score").tolist() == alone.values("final_score").tolist()
