"""Any torch.nn.Module as an architecture: trained one trial at a time, with the pairs, order and store of all."""

import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lib import Experiment, Store, check_architecture, fused, load, paired, run_analysis, store, training
from lib.foreign import find
from lib.pairs import draw_trial, normalise
from lib.plain import Plain, build_plain
from lib.seeds import generator
from lib.teacher import Teacher
from lib.workers import StudyError
from report.verify import verify
from tests.lib.own import Attentive, Mixed, tiny

MIXED, ATTENTIVE, BARE = (f"tests.lib.own:{name}" for name in ("Mixed", "Attentive", "Bare"))
TRIALS = 3
compiled = pytest.mark.skipif(not fused.available()[0], reason=f"no compiled block: {fused.available()[1]}")


def run(experiment, folder, trials=TRIALS, **options):
    """Train in this process, one trial after the other."""
    with ThreadPoolExecutor(1) as executor:
        common = {"store": Store(folder), "executor": executor, "workers": 1, "progress": False}
        return run_analysis(experiment, trials, **{**common, **options})


def names(folder):
    """The files of results in a folder, as they are named."""
    return sorted(path.name.removesuffix(".json.gz") for path in Store(folder).files())


def without_origin(record):
    return {name: value for name, value in record.items() if name != "provenance"}


def results_of(result):
    """Everything that must not depend on when, where and in what pieces it was computed."""
    return [without_origin(record) for record in result.records]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with three trials of two plain modules and of a stack, under the same settings, and their results."""
    folder = tmp_path_factory.mktemp("results")
    names = ("WSN", MIXED, ATTENTIVE)
    return folder, {name: run(tiny(name), folder, implementation="torch") for name in names}


@pytest.fixture
def event(tmp_path, monkeypatch):
    """Let the n-th `Bare` from now on meet an event; returns how many were built since."""
    run(tiny(BARE, epochs=1), tmp_path / "before", 1)  # what every architecture is tried for is behind it
    log = tmp_path / "built.log"

    def make(what=""):
        log.write_text("")
        monkeypatch.setenv("EVENT_LOG", str(log))
        monkeypatch.setenv("EVENT", what)
        return lambda: len(log.read_text().splitlines())

    return make


# What it is trained with


def test_a_plain_module_has_the_pairs_of_every_other_network_and_is_paired_with_it(results):
    _, of = results
    expected = of["WSN"].fingerprints
    assert len(set(expected)) == TRIALS
    for name in (MIXED, ATTENTIVE):
        assert of[name].fingerprints == expected
        difference = paired(of["WSN"], of[name])
        assert np.array_equal(difference, of[name].accuracy - of["WSN"].accuracy)
        assert of[name].accuracy.shape == (TRIALS, 2)
        assert len(np.unique(of[name].values("test_loss"))) > TRIALS, "the trials are not one and the same"


@pytest.mark.parametrize("name", [MIXED, ATTENTIVE, BARE])
def test_a_plain_module_sees_the_pairs_in_the_order_of_every_other_network(name):
    stack, epochs = training.prepare(tiny(), range(TRIALS)).teacher, 2
    like = torch.zeros(1)
    expected = [batch.images for _ in range(epochs) for batch in stack.batches(10, like)]  # [trials, batch, ...]
    for trial in range(TRIALS):
        prepared, seen = training.prepare(tiny(name), range(trial, trial + 1)), []
        prepared.network.module.register_forward_pre_hook(
            lambda module, inputs, seen=seen: seen.append(inputs[0]) if module.training else None
        )
        prepared.teacher.train(prepared.network, epochs=epochs, batch_size=10)
        assert len(seen) == len(expected) == epochs * 2
        assert all(torch.equal(one, whole[trial]) for one, whole in zip(seen, expected, strict=True))


def test_heads_come_as_a_dict_or_as_a_tuple_in_the_order_that_they_are_declared_in(results):
    """A head's values are stored under its name: of the digits two answers per pair, of the sum's parity one."""
    _, of = results
    pairs = tiny().test_pairs
    mixed, attentive = (of[name].records[0] for name in (MIXED, ATTENTIVE))
    assert (mixed["digits_total"], attentive["parity_total"]) == (2 * pairs, pairs)
    assert mixed["auxiliary_total"] is None and mixed["auxiliary_test_loss"] is None
    for trial in range(TRIALS):
        _, test = draw_trial("digits", 20, pairs, tiny().seed, trial)
        for record, head, right in (
            (mixed, "digits", test.classes.flatten()),
            (attentive, "parity", test.classes.sum(1) % 2),
        ):
            named = torch.tensor([int(digit) for digit in record["last_named"][head][trial]])
            assert (named == right).sum() == record[f"{head}_test_correct"][trial][-1]


def test_the_images_of_a_head_that_is_named_are_those_of_a_tuple_in_order():
    """The module says `digits` first and declares `answer` first: by name that is no matter, by order it decides."""
    images = torch.rand(1, 5, 2, 14, 14)
    torch.manual_seed(0)
    module = Mixed().eval()
    outputs = Plain(module)(images)
    assert list(module(images[0])) == ["digits", "answer"]
    assert torch.equal(outputs["digits"][0], module(images[0])["digits"])
    module = Attentive().eval()
    outputs = Plain(module)(images)
    assert torch.equal(outputs["answer"][0], module(images[0])[0])
    assert torch.equal(outputs["parity"][0], module(images[0])[1])


# What is stored


def test_its_trials_are_stored_as_one_group_and_load_reads_it(results):
    folder, of = results
    files = sorted(Store(folder).files())
    assert names(folder) == ["trials-000-002"] * 3, "no file of a single trial is left"
    [file] = [file for file in files if "Mixed" in file.parent.name]
    assert file.parent.name == f"tests_lib_own_Mixed-{tiny(MIXED).key}"
    record = store.read(file)
    assert record["trials"] == [0, 1, 2] and record["configuration"] == tiny(MIXED).configuration
    assert record["provenance"]["stack"] == 1
    loaded = load(tiny(MIXED), TRIALS, Store(folder))
    assert loaded.records == of[MIXED].records == (record,)
    assert np.array_equal(load(tiny(MIXED), 2, Store(folder)).accuracy, of[MIXED].accuracy[:2])
    with pytest.raises(FileNotFoundError, match="trials 0 to 3"):
        load(tiny(MIXED), 4, Store(folder))


@pytest.mark.parametrize("name", [MIXED, ATTENTIVE])
def test_two_runs_give_the_same_bits_whatever_the_callers_generators_do(results, tmp_path, name):
    for seed in (1, 2):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        again = run(tiny(name), tmp_path / str(seed))
        assert results_of(again) == results_of(results[1][name])
        assert torch.equal(torch.get_rng_state(), before[0]), "a training must change nothing in a notebook"
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_two_threads_of_an_executor_give_the_same_bits(results, tmp_path):
    """Torch's generator is one for the whole process: the trials must not draw from each other's stream."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # they take turns as often as they can
    try:
        with ThreadPoolExecutor(TRIALS) as executor:
            several = run(tiny(ATTENTIVE), tmp_path, executor=executor)
    finally:
        sys.setswitchinterval(interval)
    assert results_of(several) == results_of(results[1][ATTENTIVE])


@pytest.mark.slow  # a process of its own
@pytest.mark.parametrize("name", [MIXED, ATTENTIVE])
def test_another_process_gives_the_same_bits(results, pool, tmp_path, name):
    assert results_of(run(tiny(name), tmp_path, executor=pool)) == results_of(results[1][name])


@pytest.mark.parametrize("name", [MIXED, ATTENTIVE])
def test_a_trial_that_is_trained_alone_is_that_of_the_run(results, name):
    [alone] = training.train(tiny(name), range(2, 3))
    [of_run] = results_of(results[1][name])
    assert without_origin(alone) == store.cut(of_run, range(2, 3))
    assert alone["trials"] == [2] and alone["test_loss"] == [of_run["test_loss"][2]]


def test_it_trains_one_trial_at_a_time():
    prepared = training.prepare(tiny(MIXED), range(1))
    with pytest.raises(
        ValueError, match=r"^trials is range\(0, 2\); allowed: one at a time of .*Mixed, a plain module$"
    ):
        training.prepare(tiny(MIXED), range(2))
    with pytest.raises(
        ValueError, match=r"^Mixed is a plain module, which learns one trial at a time; it was given 2$"
    ):
        prepared.network(torch.zeros(2, 5, 2, 14, 14))


def test_more_trials_reuse_those_that_are_stored(event, tmp_path):
    built, folder, experiment = event(), tmp_path / "results", tiny(BARE)
    few = run(experiment, folder)
    assert built() == TRIALS
    before = {path: path.read_bytes() for path in Store(folder).files()}
    more = run(experiment, folder, 5)
    assert built() == 5, "only the two that lacked are trained"
    assert np.array_equal(more.accuracy[:TRIALS], few.accuracy) and more.fingerprints[:TRIALS] == few.fingerprints
    assert np.array_equal(more.values("train_loss")[:TRIALS], few.values("train_loss"))
    assert names(folder) == ["trials-000-002", "trials-000-004"]
    assert before.items() <= {path: path.read_bytes() for path in Store(folder).files()}.items()
    whole = run(experiment, tmp_path / "whole", 5)
    assert results_of(more) == results_of(whole)
    assert built() == 10
    for trials in (5, 4, TRIALS, 1):
        assert np.array_equal(run(experiment, folder, trials).accuracy, more.accuracy[:trials])
    assert built() == 10, "fewer are a part of them"


def test_beyond_a_group_of_25_its_trials_are_a_group_of_their_own(event, tmp_path):
    built, folder, experiment = event(), tmp_path / "results", tiny(BARE, epochs=1)
    result = run(experiment, folder, 27)
    assert names(folder) == ["trials-000-024", "trials-025-026"] and built() == 27
    assert len(result.accuracy) == len(set(result.fingerprints)) == 27
    path = store.group_path(folder, experiment.configuration, range(25, 27))
    path.unlink()
    assert results_of(run(experiment, folder, 27)) == results_of(result)
    assert built() == 27 + 2


def test_what_is_interrupted_goes_on_with_what_lacks_and_ends_with_the_same_bits(event, tmp_path):
    built, folder, experiment = event("fail 2"), tmp_path / "results", tiny(BARE)
    with pytest.raises(StudyError, match=r"^1 of 3 groups failed \(Bare trials 1 to 1\): no room for this module$"):
        run(experiment, folder)
    assert names(folder) == ["trials-000-000", "trials-002-002"] and built() == TRIALS
    with pytest.raises(FileNotFoundError, match="trials 0 to 2"):
        load(experiment, TRIALS, Store(folder))
    kept = [store.read(path) for path in Store(folder).files()]
    built = event()
    resumed = run(experiment, folder)
    assert built() == 1, "only the missing one is trained"
    assert names(folder) == ["trials-000-002"]
    uninterrupted = run(experiment, tmp_path / "uninterrupted")
    assert results_of(resumed) == results_of(uninterrupted)
    for record in kept:
        trials = range(record["trials"][0], record["trials"][0] + 1)
        assert store.cut(results_of(resumed)[0], trials) == without_origin(record)


def test_single_trials_are_read_before_they_are_put_together(event, tmp_path):
    """Between its last trial and its one file a run may be killed: nothing is trained again."""
    built, folder, experiment = event(), tmp_path / "results", tiny(BARE)
    held = Store(folder)
    for trial in range(TRIALS):
        for record in training.train(experiment, range(trial, trial + 1)):
            held.write(record)
    assert names(folder) == ["trials-000-000", "trials-001-001", "trials-002-002"] and built() == TRIALS
    loaded = load(experiment, TRIALS, held)
    assert len(loaded.records) == 1 and loaded.accuracy.shape == (TRIALS, 2)
    assert results_of(run(experiment, folder)) == results_of(loaded)
    assert built() == TRIALS
    more = run(experiment, folder, TRIALS + 1)
    assert built() == TRIALS + 1
    assert names(folder) == ["trials-000-003"]
    assert np.array_equal(more.accuracy[:TRIALS], loaded.accuracy)


# What it learns


class ByHand:
    """A loop as anyone writes it, over one trial's pairs: nothing of the Teacher's, and no stack."""

    def __init__(self, architecture, trial, dtype, **settings):
        e = tiny(architecture, **settings)
        self.e, rng = e, generator(e.seed, trial, "dropout")
        torch.manual_seed(int(generator(e.seed, trial, "weights").integers(2**63)))
        self.module = find(architecture)().to(dtype)
        train, test = normalise(*draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial))
        order = generator(e.seed, trial, "order")
        optimizer = torch.optim.SGD(self.module.parameters(), lr=e.learning_rate, momentum=e.momentum)
        self.train_loss, self.test_loss, self.correct = [], [], []
        for _ in range(e.epochs):
            self.module.train()
            total = 0.0
            for places in torch.from_numpy(order.permutation(e.train_pairs)).split(e.batch_size):
                torch.manual_seed(int(rng.integers(2**63)))  # the masks of dropout
                optimizer.zero_grad()
                answer, loss = self.losses(train.images[places].to(dtype), train.classes[places])
                loss.backward()
                optimizer.step()
                total += answer[0].item() * len(places)
            self.train_loss.append(total / e.train_pairs)
            self.module.eval()
            with torch.no_grad():
                (loss, named), _ = self.losses(test.images.to(dtype), test.classes)
            self.test_loss.append(loss.item())
            self.correct.append((named == (test.classes[:, 0] <= test.classes[:, 1])).sum().item())

    def losses(self, images, classes):
        """The answer's loss and what it named; and the loss to learn by."""
        outputs = self.module(images)
        if isinstance(self.module, Mixed):
            answer, digits = outputs["answer"], outputs["digits"]
            extra = 0.5 * F.cross_entropy(digits.flatten(0, 1), classes.flatten())
        else:
            answer, parity = outputs
            extra = F.cross_entropy(parity, classes.sum(1) % 2)
        loss = F.cross_entropy(answer, (classes[:, 0] <= classes[:, 1]).long())
        return (loss, answer.argmax(1)), loss + self.e.auxiliary_weight * extra


@pytest.mark.parametrize("name", [MIXED, ATTENTIVE])
@pytest.mark.parametrize("trial", [0, 2])
def test_a_plain_module_learns_exactly_what_a_loop_by_hand_teaches_it(name, trial):
    settings = {"epochs": 4, "momentum": 0.9, "auxiliary_weight": 0.7}
    with torch.random.fork_rng(devices=[]):
        hand = ByHand(name, trial, torch.float64, **settings)
    whole = training.train_fully(tiny(name, **settings), range(trial, trial + 1), dtype=torch.float64)
    module, [record] = whole.prepared.network.module, whole.records
    learned, expected = (dict(each.named_parameters()) for each in (module, hand.module))
    assert learned.keys() == expected.keys()
    for each, value in expected.items():
        torch.testing.assert_close(learned[each], value, rtol=1e-9, atol=1e-12)
    buffers = dict(hand.module.named_buffers())
    for each, value in module.named_buffers():
        torch.testing.assert_close(value, buffers[each], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(record["train_loss"][0], hand.train_loss, rtol=1e-5)  # kept to 6 digits
    np.testing.assert_allclose(record["test_loss"][0], hand.test_loss, rtol=1e-5)
    assert record["test_correct"][0] == hand.correct


def test_dropout_has_masks_of_its_own_in_every_step_and_every_trial():
    """Else the loop by hand and the Teacher could agree on a module without any."""
    masks = []
    for trial in range(2):
        network = build_plain(find(MIXED), seed=2022, trial=trial).train()
        network.module.more[3].register_forward_hook(lambda module, inputs, output: masks.append(output == 0))
        images = torch.rand(1, 50, 2, 14, 14)
        for _ in range(2):
            network(images)
    for i in range(4):
        for j in range(i):
            assert not torch.equal(masks[i], masks[j])


def test_in_evaluation_nothing_is_drawn_from_the_stream_of_the_masks():
    """How often a network is tested, or measured, decides no mask."""
    networks = [build_plain(find(MIXED), seed=2022, trial=0) for _ in range(2)]
    images = torch.rand(1, 50, 2, 14, 14)
    for _ in range(3):
        networks[0].eval()(images)
    one, other = (network.train()(images)["answer"] for network in networks)
    assert torch.equal(one, other)


def test_the_teacher_takes_a_plain_module_as_it_is():
    """As the original's: of one trial's pairs, given without an axis of trials."""
    train, test = normalise(*draw_trial("digits", 40, 40, 3, 0))
    torch.manual_seed(0)
    module = Mixed()
    before = {name: getattr(module, name).weight.detach().clone() for name in ("name", "compare")}
    teacher = Teacher(train, test)
    history = teacher.train(module, epochs=2, batch_size=10)
    assert history.array("digits_test_correct").shape == (1, 2)
    for name, weight in before.items():
        assert not torch.equal(getattr(module, name).weight, weight), f"{name} learned nothing"
    assert teacher.test(module).correct.sum() == history.array("test_correct")[0, -1]


# What is refused

GOOD = """
import os
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.tasks import CLASSES, COMPARISON


class Net(nn.Module):
    {heads}

    def __init__(self{arguments}):
        super().__init__()
        self.layer = nn.Linear(392, 2)
        {init}

    def forward(self, images):
        answer = self.layer(images.flatten(1))
        {forward}
        return answer
"""
HEADS = 'heads = {"answer": COMPARISON, "digits": CLASSES}'


def source(init="pass", forward="", heads="count = 0", arguments=""):
    return GOOD.format(init=init, forward=forward, heads=heads, arguments=arguments)


AGAIN = "Net gives other numbers when it is trained again: its numbers come from somewhere that no seed of the"
FAULTS = {
    "no parameters": (
        source("self.layer = nn.Flatten()", "answer = answer[:, :2]"),
        "Net has no parameters: there is nothing to train.",
    ),
    "another shape": (
        source(forward="return answer[:, 0]"),
        "Net's head 'answer' returns [10] for comparison; it must be [10, 2] with one-hot labels.",
    ),
    "a trial's axis": (
        source(forward="return answer[None]"),
        "Net's head 'answer' returns [1, 10, 2] for comparison; it must be [10, 2] with one-hot labels.",
    ),
    "one output": (
        source(forward="return answer[:, :1]"),
        "Net's head 'answer' returns [10, 1] for comparison; it must be [10, 2] with one-hot labels.",
    ),
    "ten outputs": (
        source("self.layer = nn.Linear(392, 10)"),
        "Net's head 'answer' returns [10, 10] for comparison; it must be [10, 2] with one-hot labels.",
    ),
    "digits without their axis": (
        source("self.digits = nn.Linear(392, 20)", "return answer, self.digits(images.flatten(1))", HEADS),
        "Net's head 'digits' returns [10, 20] for classes; it must be [10, 2, 10] with one-hot labels.",
    ),
    "a head less": (source(heads=HEADS), "allowed: a dict of its heads, answer, digits."),
    "a list too long": (
        source(forward="return [answer, answer, answer]", heads=HEADS),
        "Net's forward returns 3 outputs without a name; allowed: a dict of its heads, answer, digits.",
    ),
    "a head too many": (
        source(forward="return [answer]", heads=HEADS),
        "Net's forward returns 1 output without a name; ",
    ),
    "a list": (source(forward="return [answer, answer]"), "Net's forward returns 2 outputs without a name; allowed: a"),
    "another name": (
        source(forward='return {"answers": answer}'),
        "Net's forward returns answers; allowed: a dict of its heads, answer.",
    ),
    "not a number": (
        source(forward="answer = answer / 0 * 0"),
        "Net's head 'answer' returns what is no finite number before any training.",
    ),
    "a factor of no head": (
        source(heads='factors = {"digit": 2.0}'),
        "Net has a factor for digit; allowed: its auxiliary heads ().",
    ),
    "Python's generator": (source(forward="answer = answer * random.random()"), AGAIN),
    "numpy's generator": (source(forward="answer = answer * np.random.rand()"), AGAIN),
    "numpy's generator, once": (source("nn.init.constant_(self.layer.bias, np.random.rand())"), AGAIN),
    "a counter that the class shares": (
        source("Net.count += 1; nn.init.constant_(self.layer.bias, Net.count / 10)"),
        AGAIN,
    ),
    "every second one": (source("Net.count += 1; nn.init.constant_(self.layer.bias, Net.count % 2)"), AGAIN),
    "the number of its images so far": (source(forward="Net.count += 1; answer = answer * Net.count"), AGAIN),
    "a layer that the class shares": (
        "import torch\nfrom torch import nn\nshared = nn.Linear(392, 2)\n" + source("self.layer = shared"),
        AGAIN,
    ),
    "a constructor with arguments": (source(arguments=", width"), "missing 1 required positional argument: 'width'."),
    "an error of the author's": (source(forward="answer = answer @ torch.zeros(3)"), "RuntimeError: "),
    "an error with a full stop": (source("raise OSError('no such file.')"), "OSError: no such file (own_"),
    "another size of image": (source("self.layer = nn.Linear(784, 2)"), "RuntimeError: "),
    "no tensor": (source(forward="return None"), "Net's head 'answer' returns NoneType; it must be a tensor."),
}


@pytest.mark.parametrize("name", [MIXED, ATTENTIVE, BARE])
def test_a_good_one_passes_and_the_check_changes_nothing(name):
    before = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    assert check_architecture(name) == check_architecture(name, one_hot=True) == []
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), torch.get_num_threads()) == before[1:]


def test_what_torch_draws_is_seeded_wherever_it_draws(own_module):
    assert check_architecture(f"{own_module(source())}:Net") == []
    noisy = source("self.start = torch.rand(1)", "answer = answer + self.start * torch.randn_like(answer)")
    assert check_architecture(f"{own_module(noisy, '_noisy')}:Net") == []


def test_names_of_its_own_are_the_modules_affair(own_module, tmp_path):
    """Attention has `heads`, say: what a network answers is declared by its class."""
    init = "self.heads, self.factors, self.streams, self.trials, self.sizes = 4, 2, nn.ModuleList([self.layer]), 7, [3]"
    name = f"{own_module(source(init))}:Net"
    assert check_architecture(name) == []
    result = run(tiny(name), tmp_path / "results", measures=["gradient_norms"])
    assert result.accuracy.shape == result.values("gradient_norm_answer").shape == (TRIALS, 2)


def test_a_module_that_changes_its_images_changes_nobody_elses(own_module, tmp_path):
    """As nn.ReLU(inplace=True) does: the test pairs are the same ones after every epoch."""
    leaves = source(forward="answer = self.layer((images - 1).flatten(1))")
    changes = source(forward="images -= 1; answer = self.layer(images.flatten(1))")
    one, other = (
        run(tiny(f"{own_module(code, suffix)}:Net", epochs=3), tmp_path, 1)
        for code, suffix in ((leaves, "_leaves"), (changes, "_changes"))
    )
    assert np.array_equal(one.values("test_loss"), other.values("test_loss"))


@pytest.mark.parametrize(("code", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_sentence(own_module, code, sentence):
    (fault,) = check_architecture(f"{own_module(code)}:Net", one_hot=True)
    assert sentence in fault
    assert fault.endswith(".") and not fault.endswith("..") and "\n" not in fault and len(fault) < 400


def test_an_error_of_the_author_s_says_its_line(own_module):
    text = source(forward="answer = answer @ torch.zeros(3)")
    name = own_module(text)
    (fault,) = check_architecture(f"{name}:Net")
    [line] = [number for number, words in enumerate(text.splitlines(), 1) if "zeros(3)" in words]
    assert fault.startswith("RuntimeError: ") and fault.endswith(f" ({name}.py, line {line}).")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_module_that_needs_a_gpu_is_told_so(own_module):
    (fault,) = check_architecture(f"{own_module(source('self.cuda()'))}:Net")
    assert fault.startswith(
        "Net needs a GPU, and this machine has none; build it on the CPU, and device='cuda' moves it"
    )


def test_one_output_is_for_labels_that_are_not_one_hot(own_module, tmp_path):
    name = f"{own_module(source(forward='return answer[:, :1]'))}:Net"
    assert check_architecture(name) == [], "it fits one of the two"
    assert check_architecture(name, one_hot=False) == []
    sentence = re.escape("returns [10, 1] for comparison; it must be [10, 2] with one-hot labels.")
    with pytest.raises(ValueError, match=f"^{name} cannot be trained: Net's head 'answer' {sentence}$"):
        run(tiny(name), tmp_path / "results")
    assert not (tmp_path / "results").exists()
    result = run(tiny(name, one_hot_encoding=False), tmp_path / "results")
    assert result.accuracy.shape == (TRIALS, 2)
    two = f"{own_module(source(), '_two')}:Net"
    with pytest.raises(ValueError, match=re.escape("returns [10, 2] for comparison; it must be [10, 1] without one-h")):
        run(tiny(two, one_hot_encoding=False), tmp_path / "two")


@pytest.mark.parametrize("fault", ["no parameters", "another shape", "not a number", "numpy's generator"])
def test_what_is_wrong_is_refused_before_any_training(own_module, tmp_path, fault):
    code, sentence = FAULTS[fault]
    name = f"{own_module(code)}:Net"
    with pytest.raises(ValueError, match=f"^{name} cannot be trained: .*{re.escape(sentence)}"):
        run(tiny(name), tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("heads", "found"),
    [
        ("heads = {}", "{}"),
        ("heads = None", "None"),
        ('heads = {"answer": 2}', "{'answer': 2}"),
        ('heads = {"answer": COMPARISON, "digits": "classes"}', "'digits': 'classes'}"),
        ('heads = {"digits": CLASSES}', "{'digits': Task("),
    ],
)
def test_heads_that_are_no_tasks_are_refused(own_module, heads, found):
    name = f"{own_module(source(heads=heads))}:Net"
    with pytest.raises(
        ValueError, match=f"^architecture is '{name}', whose heads are .*; allowed: a lib.tasks"
    ) as said:
        Experiment(architecture=name)
    assert found in str(said.value)


# words: what a plain module has no use for
UNREAD = (
    "fully_convolutional=yes",
    "sigmoid=no",
    "sigmoids=answer",
    "channels=8-16",
    "hidden=64",
    "auxiliary_hidden=9",
)


@pytest.mark.parametrize("words", [*UNREAD, "auxiliary_weight=1"])
def test_a_setting_that_a_plain_module_does_not_read_is_refused(words):
    setting = words.partition("=")[0]
    with pytest.raises(ValueError, match=f"^{setting} is .*, which {BARE} does not read; leave it out$"):
        Experiment.parse(f"{BARE} {words}")


def test_a_plain_module_with_auxiliary_heads_reads_their_weight():
    assert Experiment.parse(f"{MIXED} auxiliary_weight=1").auxiliary_weight == 1.0
    for words in UNREAD:
        with pytest.raises(ValueError, match=f"which {MIXED} does not read; leave it out$"):
            Experiment.parse(f"{MIXED} {words}")
    assert str(Experiment.parse(f"{MIXED} auxiliary_weight=1 momentum=0.9")) == (
        f"{MIXED} auxiliary_weight=1.0 momentum=0.9"
    )


# The file that it is in


@pytest.fixture
def module(own_module, tmp_path):
    """The name of a plain module, and its file."""
    name = own_module(source())
    yield f"{name}:Net", tmp_path / f"{name}.py"
    sys.modules.pop(name, None)


EDITED = source(init="nn.init.zeros_(self.layer.bias)")


def test_a_file_that_was_edited_since_is_not_trained_and_nothing_is_lost(module, tmp_path):
    name, file = module
    experiment, folder = tiny(name), tmp_path / "results"
    before = run(experiment, folder, 2)
    file.write_text(EDITED)
    sentence = f"the file of {name} is not the one that this experiment was made with: make it again"
    for train in (training.prepare, training.train):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            train(experiment, range(1))
    with pytest.raises(StudyError, match=f"1 of 1 groups failed .*: {sentence}$"):
        run(experiment, folder)
    assert load(experiment, 2, Store(folder)).records == before.records, "what is stored stays"
    again = tiny(name)
    assert again.key != experiment.key
    other = run(again, folder, 2)
    assert other.fingerprints == before.fingerprints and results_of(other) != results_of(before)
    assert names(folder) == ["trials-000-001"] * 2
    file.write_text(source())
    assert results_of(run(experiment, folder))[0]["trials"] == [0, 1, 2], "as it was, it goes on"


def test_a_file_that_is_edited_while_it_trains_costs_only_the_trials_that_were_not_begun(module, tmp_path, monkeypatch):
    name, file = module
    edit = source(init=f"Path({str(file)!r}).write_text('# edited') if os.environ.get('EDIT') else None")
    file.write_text(edit)
    experiment = tiny(name)
    run(experiment, tmp_path / "before", 1)
    monkeypatch.setenv("EDIT", "yes")
    with pytest.raises(StudyError, match=r"^2 of 3 groups failed .*the file of .* is not the one that this experiment"):
        run(experiment, tmp_path / "results")
    assert names(tmp_path / "results") == ["trials-000-000"]


# What is said


def said(capsys):
    """The lines on stderr, without the bar."""
    return [line for line in capsys.readouterr().err.splitlines() if line and "trial-epoch" not in line]


def test_it_is_said_that_a_plain_module_trains_one_by_one_and_is_slower(tmp_path, capsys):
    run(tiny(MIXED), tmp_path, progress=True)
    assert said(capsys) == [
        "training 3 trials (Mixed), by the executor's workers",
        "Mixed: a plain module, whose trials train one by one: slower than a stack of trials",
    ]
    run(tiny(MIXED), tmp_path, 4, progress=True)
    assert said(capsys)[:2] == [
        "3 of 4 trials are stored and kept",
        "training 1 trials (Mixed), by the executor's workers",
    ]
    run(tiny(MIXED), tmp_path, progress=True)
    assert said(capsys) == []


def test_it_is_said_which_implementation_runs_and_why(tmp_path, capsys):
    slow = "WSN: computed by PyTorch's operations, which takes several times as long"
    run_analysis(tiny(epochs=1), 2, store=Store(tmp_path / "asked"), implementation="torch")
    assert said(capsys) == ["training 2 trials (WSN), 1 at a time", f"{slow} (asked for)"]
    run_analysis(tiny(epochs=1), 2, store=Store(tmp_path / "uncovered"))
    assert said(capsys)[1:] == [f"{slow} (the compiled block does not cover these channels and image sizes)"]


@compiled
def test_it_is_said_that_the_compiled_block_runs(tmp_path, capsys):
    experiment = tiny(epochs=1, channels="16-32")
    run_analysis(experiment, 2, store=Store(tmp_path), progress=True)
    assert said(capsys) == [
        "training 2 trials (WSN), 1 at a time",
        f"WSN: computed by the compiled block ({fused.available()[1]})",
    ]


def test_fewer_trials_of_a_stack_then_more_are_trained_again_and_it_is_said_why(tmp_path, capsys):
    few = run_analysis(tiny(), 2, store=Store(tmp_path), progress=False)
    before = {path: path.read_bytes() for path in Store(tmp_path).files()}
    run_analysis(tiny(), 3, store=Store(tmp_path), progress=True)
    first, *_ = said(capsys)
    assert first == (
        "WSN: trials-000-001 is stored, and trained again with more: a group trains as one stack, and rounding depends "
        "on its size (both are kept)"
    )
    assert names(tmp_path) == ["trials-000-001", "trials-000-002"]
    assert before.items() <= {path: path.read_bytes() for path in Store(tmp_path).files()}.items()
    fewer = run_analysis(tiny(), 2, store=Store(tmp_path), progress=True)
    assert said(capsys) == [], "fewer are a part of more: nothing is trained"
    assert fewer.fingerprints == few.fingerprints


def test_what_is_stopped_says_how_much_is_kept_and_goes_on(event, tmp_path, capsys):
    """Ctrl-C in the second of six trials."""
    built, folder, experiment = event("interrupt 2"), tmp_path / "results", tiny(BARE)
    with pytest.raises(
        KeyboardInterrupt, match=r"^stopped: 1 of 6 groups are finished and kept; run again, it goes on "
    ):
        run(experiment, folder, 6)
    assert names(folder) == ["trials-000-000"] and built() <= 3, "what had not begun did not begin"
    built = event()
    run(experiment, folder, progress=True)
    assert said(capsys)[0] == "1 of 3 trials are stored and kept" and built() == 2
    assert names(folder) == ["trials-000-002"]


def test_a_single_trial_that_is_stopped_says_so(event, tmp_path):
    event("interrupt 1")
    with pytest.raises(
        KeyboardInterrupt, match=r"^stopped: 0 of 1 groups are finished and kept; run again, it goes on "
    ):
        run_analysis(tiny(BARE), 1, store=Store(tmp_path / "results"), progress=False)
    assert names(tmp_path / "results") == []


# Trained again


def test_a_stored_group_is_trained_again_to_the_same_bits(results, tmp_path):
    folder, _ = results
    paths = [path for path in Store(folder).files() if "own" in path.parent.name]
    assert len(paths) == 2
    for path in paths:
        verdict = verify(path, trust=True)
        assert verdict.agrees and verdict.words.endswith("every stored value is equal, bit by bit"), verdict.words
    tampered = store.read(paths[0])
    tampered["train_loss"][1][0] *= 1.1
    path = Store(tmp_path).write(tampered)
    assert not verify(path, trust=True).agrees


def test_a_stored_group_whose_file_was_edited_since_is_not_trained_again(module, tmp_path):
    name, file = module
    run(tiny(name), tmp_path / "results", 2)
    [path] = Store(tmp_path / "results").files()
    assert verify(path, trust=True).agrees
    file.write_text(EDITED)
    verdict = verify(path, trust=True)
    assert not verdict.agrees and verdict.words.startswith("not comparable: "), verdict.words
