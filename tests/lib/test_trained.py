"""Trained networks had back: the same answers, as a stack and alone in ordinary layers; weights that one can trust."""

import copy
import gzip
import hashlib
import io
import itertools
import json
import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import safetensors.torch
import torch
from torch import nn

from lib import Store, networks, run_analysis, store, training
from lib.architectures import WSN, Network, comparer, extractor
from lib.fused.choice import choose_implementation
from lib.layers import Dropout, Linear
from lib.pairs import draw_trial, normalise, side_by_side
from lib.registry import NETWORKS
from lib.store import DamagedResultError
from lib.tasks import CLASSES, COMPARISON, decide
from lib.training import train_fully
from tests.lib.own import small, tiny
from tests.lib.stacks import implementations

TRIALS = 3
FORMS = list(itertools.product(NETWORKS, (False, True), (True, False)))
ordinary = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


def had_back(experiment, folder, trials=TRIALS, **options):
    """Train or read, in this process."""
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "progress": False, **options}
        return networks(experiment, trials, store=Store(folder), **options)


def test_pairs(experiment, trials=TRIALS):
    """The pairs that each trial was tested on, images in [0, 1]."""
    drawn = [
        draw_trial("digits", experiment.train_pairs, experiment.test_pairs, experiment.seed, trial)
        for trial in range(trials)
    ]
    return side_by_side([test for _, test in drawn])


test_pairs.__test__ = False


def as_trained(experiment, trials, images, **options):
    """What a stack says right after its training, of images `[trials, batch, ...]` in [0, 1], each trial its own."""
    stack = train_fully(experiment, trials, **options).prepared.network.eval()
    drawn = [draw_trial("digits", experiment.train_pairs, experiment.test_pairs, experiment.seed, t) for t in trials]
    with torch.no_grad():
        return stack(
            torch.stack(
                [
                    normalise(train, type(train)(own, train.classes))[1].images
                    for (train, _), own in zip(drawn, images, strict=True)
                ]
            )
        )


@torch.no_grad()
def ask(network, images):
    return network(images)


def assert_same(ours, theirs, **close):
    assert ours.keys() == theirs.keys()
    for head, values in ours.items():
        assert values.shape == theirs[head].shape
        torch.testing.assert_close(values, theirs[head], **(close or {"rtol": 0, "atol": 0}))


def assert_ordinary(network, trials=TRIALS):
    """That whatever learned is one of torch's own layers, and none has an axis of trials."""
    holders = {name.rpartition(".")[0] for name, _ in (*network.named_parameters(), *network.named_buffers())}
    for name in holders - {""}:  # the network's own are the mean and SD of its images
        assert type(network.get_submodule(name)) in ordinary, name
    assert {name for name, _ in network.named_buffers(recurse=False)} == {"mean", "sd"}
    assert not list(network.parameters(recurse=False))
    shapes = {nn.Conv2d: 4, nn.Linear: 2}
    for layer in network.modules():
        if type(layer) in shapes:
            assert layer.weight.dim() == shapes[type(layer)]


def files_of(folder, pattern="*"):
    found = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


# ---------------------------------------------------------------- the same answers


@pytest.mark.parametrize(("architecture", "convolutional", "one_hot"), FORMS)
def test_they_say_what_the_stack_said_when_it_was_trained_and_each_trial_alone_too(
    architecture, convolutional, one_hot, tmp_path
):
    experiment = tiny(architecture, fully_convolutional=convolutional, one_hot_encoding=one_hot)
    images = test_pairs(experiment).images
    had = had_back(experiment, tmp_path)
    assert had.trials == TRIALS and not had.training
    said = ask(had, images)
    assert_same(said, as_trained(experiment, range(TRIALS), images))
    for trial in range(TRIALS):
        alone = had.trial(trial)
        assert_ordinary(alone)
        expected = {head: values[trial] for head, values in said.items()}
        assert_same(ask(alone, images[trial]), expected, rtol=1e-5, atol=1e-6)
        common = ask(had, images[0])  # one set of images for all
        assert_same(ask(alone, images[0]), {h: v[trial] for h, v in common.items()}, rtol=1e-5, atol=1e-6)


@implementations
@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("CAUX", {"channels": "16-32"}),
        ("WSN", {"channels": "16-32", "one_hot_encoding": False}),
        ("tests.lib.own:Mixed", {}),
        ("tests.lib.own:Attentive", {}),
    ],
)
def test_they_decide_the_test_pairs_as_it_is_stored(architecture, settings, implementation, tmp_path):
    experiment = tiny(architecture, **{"test_pairs": 60, "epochs": 4, **settings})
    test = test_pairs(experiment)
    had = had_back(experiment, tmp_path, implementation="" if experiment.is_plain() else implementation)
    answer = ask(had, test.images)["answer"]
    right = decide(answer) == COMPARISON.target(test.classes)
    [path] = Store(tmp_path).files()
    record = store.read(path)
    assert [store.hex_of(row) for row in right.tolist()] == record["last_bits"]
    assert 0 < right.sum() < right.numel()
    if architecture == "CAUX":
        digits = ask(had, test.images)["auxiliary"].argmax(-1).flatten(1)
        assert ["".join(map(str, row)) for row in digits.tolist()] == record["last_named"]["auxiliary"]
    if not experiment.is_plain():
        expected = as_trained(experiment, range(TRIALS), test.images, implementation=implementation)
        assert_same(ask(had, test.images), expected)


def test_a_plain_module_s_are_those_of_each_trial(tmp_path):
    own = ("tests.lib.own:Mixed", "tests.lib.own:Attentive", "tests.lib.own:Bare", "tests.lib.test_trained:Tied")
    for architecture in own:
        experiment = tiny(architecture)
        images = test_pairs(experiment).images
        had = had_back(experiment, tmp_path)
        said = ask(had, images)
        for trial in range(TRIALS):
            expected = as_trained(experiment, range(trial, trial + 1), images[trial : trial + 1])
            assert_same({head: values[trial : trial + 1] for head, values in said.items()}, expected)
            assert_same(ask(had.trial(trial), images[trial]), {h: v[0] for h, v in expected.items()})
            assert type(had.trial(trial).network.module).__name__ == architecture.rpartition(":")[2]
        assert not torch.equal(said["answer"][0], said["answer"][1])


class Dropping(WSN):
    """WSN whose features drop out; with numbers that all trials share, and a layer that is used twice."""

    def __init__(self, sizes):
        super().__init__(small(sizes))
        self.drop = Dropout(sizes.trials, 0.3)
        outputs = sizes.outputs(COMPARISON)
        self.once = self.again = Linear(sizes.trials, outputs, outputs)
        self.register_buffer("filter", torch.arange(4.0))
        self.register_buffer("steps", torch.tensor(0))
        self.centre = Centre(sizes.trials)

    def forward(self, images):
        if self.training:
            self.steps += 1
        maps = self.centre(self.drop(self.extract(images.unsqueeze(3))).flatten(2, 3))
        answer = self.again(self.once(self.compare(maps)))
        return {"answer": answer * self.filter[1] + self.filter[2] / (1 + self.steps)}


class Tied(nn.Module):
    """A plain module whose layers have one weight, one of them transposed; it counts its steps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(392, 6), nn.Linear(392, 6)
        self.second.weight = self.first.weight
        self.back, self.compare = nn.Linear(6, 6), nn.Linear(6, 2)
        self.back.weight = nn.Parameter(self.back.weight.detach().clone().T)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, images):
        pixels = images.flatten(1)
        return self.compare(self.back(self.norm(self.first(pixels) * self.second(pixels))))


class Centre(nn.Module):
    """Takes away the mean of what it saw last: nothing that learns, but one for each trial."""

    def __init__(self, trials):
        super().__init__()
        self.register_buffer("mean", torch.zeros(trials, 1, 1, 1, 1))

    def forward(self, x):
        if self.training:
            self.mean = x.detach().mean(dim=(1, 2, 3, 4), keepdim=True)
        return x - self.mean


@pytest.mark.parametrize("trials", [1, TRIALS])
def test_a_stack_of_ones_own_with_dropout_and_constants_is_had_back(trials, tmp_path):
    experiment = tiny("tests.lib.test_trained:Dropping")
    images = test_pairs(experiment, trials).images
    had = had_back(experiment, tmp_path, trials)
    assert_same(ask(had, images), as_trained(experiment, range(trials), images))
    assert had.stacks[0].steps == 4 and had.stacks[0].centre.mean.any()
    for trial in range(trials):
        alone = had.trial(trial)
        assert_same(ask(alone, images[trial]), {"answer": ask(had, images)["answer"][trial]}, rtol=1e-5, atol=1e-6)
        assert any(type(layer) is nn.Dropout for layer in alone.modules())
        assert alone.network.centre.mean.shape == (1, 1, 1, 1, 1)
        assert {type(layer).__name__ for layer in alone.modules() if dict(layer.named_parameters(recurse=False))} == {
            "Conv2d",
            "BatchNorm2d",
            "Linear",
        }


def test_four_heads_are_had_back(tmp_path):
    experiment = tiny("tests.lib.own:Heads")
    images = test_pairs(experiment).images
    had = had_back(experiment, tmp_path)
    said = ask(had, images)
    assert {head: tuple(values.shape) for head, values in said.items()} == {
        "answer": (TRIALS, 20, 2),
        "digits": (TRIALS, 20, 2, 10),
        "parity": (TRIALS, 20, 2),
        "total": (TRIALS, 20, 19),
    }
    assert_same(said, as_trained(experiment, range(TRIALS), images))
    for trial in range(TRIALS):
        assert_ordinary(had.trial(trial))
        assert_same(ask(had.trial(trial), images[trial]), {h: v[trial] for h, v in said.items()}, rtol=1e-5, atol=1e-6)


def test_two_groups_are_joined_in_order(tmp_path):
    """25 trials and one more: two stacks, two files of weights, one network of 26."""
    for architecture in ("CAUX", "tests.lib.test_trained:Dropping"):
        experiment = tiny(architecture, epochs=1)
        images = test_pairs(experiment, 26).images
        had = had_back(experiment, tmp_path, 26)
        said = ask(had, images)
        first = as_trained(experiment, range(25), images[:25])
        last = as_trained(experiment, range(25, 26), images[25:])
        # Rounding depends on the size of the stack, and here it is 26.
        expected = {head: torch.cat([first[head], last[head]]) for head in first}
        assert_same(said, expected, rtol=1e-5, atol=1e-6)
        assert_same(ask(had.trial(25), images[25]), {h: v[0] for h, v in last.items()}, rtol=1e-5, atol=1e-6)
        fewer = had_back(experiment, tmp_path, 2)
        assert_same(ask(fewer, images[:2]), {h: v[:2] for h, v in expected.items()}, rtol=1e-5, atol=1e-6)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4


def test_more_trials_than_are_kept_are_trained_as_the_longer_group(tmp_path):
    experiment = tiny()
    had_back(experiment, tmp_path, 3)
    images = test_pairs(experiment, 5).images
    assert_same(ask(had_back(experiment, tmp_path, 5), images), as_trained(experiment, range(5), images))
    assert {name[:15] for name in files_of(tmp_path, "weights-*.gz")} == {"weights-000-002", "weights-000-004"}


# ---------------------------------------------------------------- fully convolutional


SLIDING = [*itertools.product(NETWORKS, (False, True)), ("tests.lib.own:Heads", False)]


@pytest.mark.parametrize(("architecture", "convolutional"), SLIDING)
def test_a_fully_convolutional_one_slides_over_larger_images(architecture, convolutional, tmp_path):
    """Nothing is padded, and the extractor halves twice: each position is the network's answer to the 14 x 14 pixels
    that begin 4 pixels further; pixels that fill no further window are not looked at."""
    experiment = tiny(architecture, fully_convolutional=convolutional)
    had = had_back(experiment, tmp_path, 2)
    alone, sliding = had.trial(1), had.trial(1, fully_convolutional=True)
    assert_ordinary(sliding)
    images = test_pairs(experiment).images[1, :5]
    maps = ask(sliding, images)
    for head, values in ask(alone, images).items():
        assert maps[head].shape[-2:] == (1, 1)
        torch.testing.assert_close(maps[head].flatten(), values.flatten(), rtol=1e-5, atol=1e-6)
    larger = torch.rand(2, 2, 22, 29, generator=torch.Generator().manual_seed(1))
    maps = ask(sliding, larger)
    for head, values in maps.items():
        task = had.stacks[0].heads[head]
        assert values.shape[:-2] == ((2, 2, 10) if task == CLASSES else (2, task.classes))
        assert values.shape[-2:] == (3, 4), "(22 - 14) // 4 + 1 and (29 - 14) // 4 + 1"
        for row, column in itertools.product(range(3), range(4)):
            window = larger[:, :, 4 * row : 4 * row + 14, 4 * column : 4 * column + 14]
            expected = ask(alone, window)[head]
            here = values[..., row, column]
            torch.testing.assert_close(here.flatten(), expected.flatten(), rtol=1e-5, atol=1e-6)
    if not convolutional:
        with pytest.raises(RuntimeError):  # the mixed form takes 14 x 14 only
            ask(alone, larger)


# ---------------------------------------------------------------- what cannot be had


@pytest.mark.parametrize("trial", [3, -1, True, 1.0, "0", None])
@pytest.mark.parametrize("architecture", ["WSN", "tests.lib.own:Bare"])
def test_a_trial_that_is_not_there_is_refused(kept_networks, architecture, trial):
    with pytest.raises(ValueError, match=f"^{re.escape(f'trial is {trial!r}; allowed: 0 to 2')}$"):
        kept_networks[architecture].trial(trial)


@pytest.fixture(scope="module")
def kept_networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return {name: had_back(tiny(name), folder) for name in ("WSN", "tests.lib.own:Bare", "tests.lib.own:Mixed")}


def test_a_plain_module_has_no_fully_convolutional_form(kept_networks):
    sentence = "fully_convolutional is True; allowed: False of tests.lib.own:Bare, a plain module"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        kept_networks["tests.lib.own:Bare"].trial(0, fully_convolutional=True)


@pytest.mark.parametrize(
    ("shape", "of_all", "of_one"),
    [
        ((4, 2, 14), False, False),
        ((14, 14), False, False),
        ((4, 1, 14, 14), False, False),
        ((2, 4, 2, 14, 14), False, False),
        ((3, 4, 2, 14, 14), True, False),
        ((4, 2, 14, 14), True, True),
        ((0, 2, 14, 14), True, True),
    ],
)
def test_images_that_are_no_pairs_are_refused(kept_networks, shape, of_all, of_one):
    of_stack, of_trial = "[batch, 2, height, width] or [3, batch, 2, height, width]", "[batch, 2, height, width]"
    had = kept_networks["WSN"]
    for network, right, allowed in ((had, of_all, of_stack), (had.trial(0), of_one, of_trial)):
        if right:
            assert ask(network, torch.rand(shape))["answer"].shape[-2:] == (shape[-4], 2)
        else:
            with pytest.raises(ValueError, match=f"^{re.escape(f'images is {list(shape)}; allowed: {allowed}')}$"):
                ask(network, torch.rand(shape))


class Scale(nn.Module):
    """A layer of one's own for many trials; it does not say how one of them is an ordinary layer."""

    def __init__(self, trials, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(trials, 1, 1))

    def draw(self, place, rng):
        with torch.no_grad():
            self.weight[place] = float(rng.uniform(0.5, 1.5))

    def forward(self, x):
        return x * self.weight


class Bottleneck(nn.Module):
    """A layer of one's own that is made of others, and says how one trial's is an ordinary layer."""

    def __init__(self, trials, outputs):
        super().__init__()
        self.inner = nn.Sequential(Linear(trials, outputs, 3), nn.Tanh(), Linear(trials, 3, outputs))

    def forward(self, x):
        return self.inner(x)

    def plain(self, place):
        first, middle, last = self.inner
        return nn.Sequential(first.plain(place), middle, last.plain(place))


class Scaled(WSN):
    kind = Scale

    def __init__(self, sizes):
        super().__init__(small(sizes))
        self.last = self.kind(sizes.trials, sizes.outputs(COMPARISON))

    def forward(self, images):
        return {"answer": self.last(super().forward(images)["answer"])}


class Narrowed(Scaled):
    kind = Bottleneck


class Shifted(Network):
    """A network that has a parameter itself."""

    def __init__(self, sizes):
        sizes = small(sizes)
        super().__init__(sizes)
        self.extract, self.compare = extractor(sizes), comparer(sizes, (4,))
        self.shift = nn.Parameter(torch.zeros(sizes.trials, 1, 1))

    def draw(self, place, rng):
        with torch.no_grad():
            self.shift[place] = float(rng.uniform())

    def forward(self, images):
        return {"answer": self.compare(self.extract(images.unsqueeze(3)).flatten(2, 3)) + self.shift}


@pytest.mark.parametrize(("name", "what"), [("Scaled", "its part last (Scale)"), ("Shifted", "it")])
def test_a_layer_that_does_not_know_its_ordinary_one_is_named(name, what, tmp_path):
    experiment = tiny(f"tests.lib.test_trained:{name}")
    images = test_pairs(experiment).images
    had = had_back(experiment, tmp_path)
    assert_same(ask(had, images), as_trained(experiment, range(TRIALS), images))
    sentence = f"{name}: {what} has parameters and no plain(place) giving one trial's as an ordinary layer"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        had.trial(0)


def test_a_layer_made_of_others_is_one_ordinary_layer(tmp_path):
    experiment = tiny("tests.lib.test_trained:Narrowed")
    images = test_pairs(experiment).images
    had = had_back(experiment, tmp_path)
    for trial in range(TRIALS):
        alone = had.trial(trial)
        assert_ordinary(alone)
        assert sum(p.numel() for p in alone.parameters()) == had.stacks[0].parameters_per_trial
        assert_same(ask(alone, images[trial]), {"answer": ask(had, images)["answer"][trial]}, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("architecture", ["WSN", "tests.lib.own:Mixed"])
def test_they_can_be_saved_and_copied(kept_networks, architecture):
    had = kept_networks[architecture]
    images = test_pairs(tiny(architecture)).images
    for network, asked in ((had, images), (had.trial(1), images[1])):
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        assert_same(ask(loaded, asked), ask(network, asked))
        other = copy.deepcopy(network)
        assert_same(ask(other, asked), ask(network, asked))
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
        assert_same(ask(loaded, asked), ask(network, asked))
        state = io.BytesIO()
        torch.save(network.state_dict(), state)
        state.seek(0)
        other.load_state_dict(torch.load(state, weights_only=True))
        assert_same(ask(other, asked), ask(network, asked))
        assert {"mean", "sd"} < network.state_dict().keys()


def test_one_trial_is_a_copy(kept_networks):
    for had in kept_networks.values():
        before = {name: value.clone() for name, value in had.state_dict().items()}
        with torch.no_grad():
            for value in had.trial(0).state_dict().values():
                value.zero_()
        assert all(torch.equal(value, before[name]) for name, value in had.state_dict().items())


# ---------------------------------------------------------------- weights on disk


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with the networks of three trials of CAUX."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, had_back(tiny("CAUX"), folder)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it, to do harm to."""
    return shutil.copytree(trained[0], tmp_path / "results")


def note_of(folder):
    [path] = folder.rglob("weights-*.json.gz")
    return path


def weights_of(folder):
    [path] = folder.rglob("weights-*.safetensors")
    return path


def content(path):
    return json.loads(gzip.decompress(path.read_bytes()))


def test_weights_are_safetensors_whose_sha_256_is_in_a_note_beside_the_result(trained):
    folder, had = trained
    weights, note = weights_of(folder), content(note_of(folder))
    [result] = Store(folder).files()
    assert weights.parent == note_of(folder).parent == result.parent
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (note["weights"], note["sha256_of_weights"]) == (weights.name, digest)
    assert weights.name == f"weights-000-002-{digest[:12]}.safetensors"
    assert {**note["record"]} == store.read(result) and note["differing"] == []
    tensors = safetensors.torch.load_file(weights)  # no pickle
    assert tensors.pop("scale").shape == (2, TRIALS)
    assert tensors.keys() == had.stacks[0].state_dict().keys()
    assert all(torch.equal(value, tensors[name]) for name, value in had.stacks[0].state_dict().items())


def test_networks_are_trained_once(tmp_path, monkeypatch):
    log = tmp_path / "built.log"
    monkeypatch.setenv("EVENT_LOG", str(log))
    experiment, folder = tiny("tests.lib.own:Eventful"), tmp_path / "results"
    images = torch.rand(4, 2, 14, 14)
    first = had_back(experiment, folder, 5)
    built = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert built == [5, 5], "one is trained, one takes the weights"
    before = files_of(folder)
    again = had_back(experiment, folder, 5)
    assert len(log.read_text().splitlines()) == 3, "one takes the weights"
    assert files_of(folder) == before
    assert_same(ask(again, images), ask(first, images))


@pytest.mark.parametrize("architecture", ["CAUX", "tests.lib.own:Mixed"])
def test_of_a_stored_result_only_weights_are_written(architecture, tmp_path, capsys):
    experiment = tiny(architecture)
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "store": Store(tmp_path), "progress": False}
        result = run_analysis(experiment, TRIALS, measures=["final_score"], **options)
    before = files_of(tmp_path)
    had = had_back(experiment, tmp_path, progress=True)
    assert "other counts" not in capsys.readouterr().err
    after = files_of(tmp_path)
    assert before.items() <= after.items()
    assert all(name.startswith("weights-") for name in after.keys() - before.keys())
    assert len(after) - len(before) == (2 * TRIALS if experiment.is_plain() else 2)
    images = test_pairs(experiment).images
    right = decide(ask(had, images)["answer"]) == COMPARISON.target(test_pairs(experiment).classes)
    assert right.sum(1).tolist() == result.values("test_correct")[:, -1].tolist()


@pytest.mark.parametrize("architecture", ["CAUX", "tests.lib.own:Mixed"])
def test_what_came_out_otherwise_when_they_were_trained_is_said_in_a_line(architecture, tmp_path, capsys):
    """As on another processor: the stored record has other counts of one of three trials."""
    experiment = tiny(architecture)
    [record] = training.train(experiment, range(TRIALS))
    counts = record["test_correct"][2]
    counts[0] += 1 if counts[0] < experiment.test_pairs else -1
    Store(tmp_path).write(record)
    before = files_of(tmp_path)
    for _ in range(2):  # they are trained, and then read
        had_back(experiment, tmp_path, progress=True)
        said = [line for line in capsys.readouterr().err.splitlines() if "other counts" in line]
        assert said == [
            "1 of these 3 networks were trained with other counts of right answers than the stored results have: on "
            "another processor, or by other versions"
        ]
    assert before.items() <= files_of(tmp_path).items()
    differing = [content(path)["differing"] for path in sorted(tmp_path.rglob("weights-*.json.gz"))]
    assert differing == ([[], [], [2]] if experiment.is_plain() else [[2]])
    had_back(experiment, tmp_path)
    had_back(experiment, tmp_path, 2, progress=True)  # which were the same
    assert capsys.readouterr().err == ""


def flip(path, rng):
    """Flip one bit of a file; return where."""
    raw = bytearray(path.read_bytes())
    place = rng.randrange(len(raw))
    raw[place] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    return place


def test_any_flipped_bit_of_the_weights_is_found(folder):
    weights, rng = weights_of(folder), random.Random(1)
    raw = weights.read_bytes()
    for _ in range(40):
        place = flip(weights, rng)
        with pytest.raises(DamagedResultError) as caught:
            had_back(tiny("CAUX"), folder)
        sentence = str(caught.value)
        assert sentence.startswith(f"{note_of(folder)} cannot be trusted: {weights.name} has the SHA-256 "), place
        assert sentence.endswith(". Remove it to have these networks trained again") and "\n" not in sentence
        weights.write_bytes(raw)
    had_back(tiny("CAUX"), folder)


def test_any_flipped_bit_of_the_note_is_found_or_changes_nothing(folder, trained):
    note, rng, images, found = note_of(folder), random.Random(2), torch.rand(3, 2, 14, 14), 0
    raw, expected = note.read_bytes(), ask(trained[1], images)
    for _ in range(60):
        place = flip(note, rng)
        try:
            had = had_back(tiny("CAUX"), folder)
        except DamagedResultError as error:
            assert str(error).startswith(f"{note} cannot be trusted: ")
            assert str(error).endswith(". Remove it to have these networks trained again")
            found += 1
        else:
            assert place < 10, "in gzip's head, such as the time"
            assert_same(ask(had, images), expected)
        note.write_bytes(raw)
    assert found > 50


def rewritten(path, **changes):
    """Write a note anew with other fields and the checksum that belongs to them."""
    note = {name: value for name, value in content(path).items() if name != "sha256"}
    path.write_bytes(store.packed({**note, **changes}))


def put_another_experiment_s(folder):
    other = folder.parent / "other"
    had_back(tiny("CAUX", seed=1), other)
    shutil.copyfile(note_of(other), note_of(folder))
    shutil.copyfile(weights_of(other), folder / note_of(folder).parent / weights_of(other).name)


def put_another_experiment_s_weights(folder):
    other = folder.parent / "other"
    had_back(tiny("CAUX", seed=1), other)
    shutil.copyfile(weights_of(other), weights_of(folder))


def claim_other_trials(folder):
    note = note_of(folder)
    note.rename(note.with_name("weights-000-003.json.gz"))


def leave_out_a_tensor(folder):
    """With everything else as it must be."""
    weights = weights_of(folder)
    tensors = safetensors.torch.load_file(weights)
    del tensors["compare.1.bias"]
    put_tensors(folder, tensors)


def change_a_shape(folder):
    tensors = safetensors.torch.load_file(weights_of(folder))
    put_tensors(folder, {**tensors, "compare.1.bias": torch.zeros(TRIALS, 7)})


def put_tensors(folder, tensors):
    weights = weights_of(folder)
    raw = safetensors.torch.save(tensors)
    weights.write_bytes(raw)
    rewritten(note_of(folder), sha256_of_weights=hashlib.sha256(raw).hexdigest())


def no_tensors(folder):
    weights_of(folder).write_bytes(b"x" * 100)
    rewritten(note_of(folder), sha256_of_weights=hashlib.sha256(b"x" * 100).hexdigest())


DAMAGE = {
    "its schema is 9, and this version of the code reads 1": lambda folder: rewritten(note_of(folder), schema=9),
    r"it holds what belongs into CAUX-\w+/trials-000-002.json.gz": put_another_experiment_s,
    r"weights-000-002-\w+.safetensors has the SHA-256 \w+, and must have \w+": put_another_experiment_s_weights,
    "it holds other trials than its name says": claim_other_trials,
    r"No such file or directory: '.*safetensors'": lambda folder: weights_of(folder).unlink(),
    "Not a gzipped file": lambda folder: note_of(folder).write_bytes(b"no note"),
    "Error while deserializing": no_tensors,
    "'sha256_of_weights'": lambda folder: note_of(folder).write_bytes(
        store.packed({"schema": 1, "weights": weights_of(folder).name, "record": content(note_of(folder))["record"]})
    ),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_weights_that_cannot_be_trusted_are_named_and_can_be_trained_again(reason, folder, trained):
    results = files_of(folder, "trials-*")
    DAMAGE[reason](folder)
    note = note_of(folder)
    with pytest.raises(DamagedResultError, match=reason) as caught:
        had_back(tiny("CAUX"), folder)
    sentence = str(caught.value)
    assert sentence.startswith(f"{note} cannot be trusted: ") and "\n" not in sentence
    assert sentence.endswith(". Remove it to have these networks trained again")
    note.unlink()
    images = torch.rand(3, 2, 14, 14)
    assert_same(ask(had_back(tiny("CAUX"), folder), images), ask(trained[1], images))
    assert files_of(folder, "trials-*") == results


@pytest.mark.parametrize("harm", [leave_out_a_tensor, change_a_shape])
def test_weights_that_do_not_fit_the_network_are_refused(harm, folder):
    harm(folder)
    with pytest.raises(DamagedResultError) as caught:
        had_back(tiny("CAUX"), folder)
    sentence = str(caught.value)
    version = "in this version of the code: "
    assert sentence.startswith(f"the kept weights of {tiny('CAUX')} do not fit its network {version}")
    assert "compare.1.bias" in sentence and "\n" not in sentence
    assert sentence.endswith(". Remove its weights-* files to have them trained again")


def test_an_implementation_is_chosen_as_for_a_training(tmp_path):
    """What PyTorch's operations trained is computed by them, and has the same bits; other weights by what is best."""
    experiment = tiny("CAUX", channels="16-32")
    best = choose_implementation([(1, 16, 14), (16, 32, 6)], torch.float32).implementation
    for wish, way in (("torch", "torch"), ("", best)):
        had = had_back(experiment, tmp_path / (wish or "best"), implementation=wish)
        assert {part.implementation for part in had.stacks[0].extract} == {way}
