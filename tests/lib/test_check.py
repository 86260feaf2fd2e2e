"""The battery for own architectures: ours pass, a good one passes, each trap is one sentence that says what to do."""

import pytest
import torch

from lib import check_architecture
from lib.registry import NETWORKS

GOOD = """
import torch

from lib.architectures import Network, comparer, extractor, head
from lib.layers import Linear
from lib.tasks import CLASSES, COMPARISON, Task

SAME = Task("same class", "same class?", 2, lambda classes: (classes[..., 0] == classes[..., 1]).long())


class Good(Network):
    heads = {"classes": CLASSES, "answer": COMPARISON, "same": SAME}
    factors = {"same": 0.5}

    def __init__(self, sizes):
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.classes = head(sizes, sizes.maps, (8,), CLASSES)
        self.same = Linear(sizes.trials, 2 * sizes.outputs(CLASSES), sizes.outputs(SAME))
        self.compare = comparer(sizes, (8,))

    def forward(self, images):
        maps = self.extract(images.unsqueeze(3))
        classes = self.classes(maps.flatten(1, 2)).unflatten(1, (-1, 2))
        same = self.same(classes.flatten(2))  # a head that reads what another one says
        return {"answer": self.compare(maps.flatten(2, 3)), "same": same, "classes": classes}
"""

OWN = """
import torch
from torch import nn

from lib.architectures import CAUX, WSN, Network, comparer, extractor
from lib.tasks import CLASSES, COMPARISON


class Own(WSN):
    def __init__(self, sizes):
        super().__init__(sizes)
        {init}

    def forward(self, images):
        trials = len(images)
        maps = self.extract(images.unsqueeze(3)).flatten(2, 3)
        {forward}
        return {{"answer": self.compare(maps)}}
"""


@pytest.mark.parametrize("name", NETWORKS)
def test_ours_pass(name):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert check_architecture(name) == []
    assert torch.equal(torch.get_rng_state(), before), "a check must change nothing in a notebook"
    assert torch.get_num_threads() == threads


def test_a_good_one_with_two_further_heads_passes(own_module):
    assert check_architecture(f"{own_module(GOOD)}:Good") == []


TRAPS = {
    "torch's dropout": (
        "self.drop = nn.Dropout(0.5)",
        "maps = self.drop(maps)",
        "gives other numbers when it is trained again",
        "a random layer needs a stream of its own for each trial",
    ),
    "noise": (
        "",
        "maps = maps + 0.1 * torch.rand_like(maps)",
        "gives other numbers when it is trained again",
        "a random layer needs a stream of its own for each trial",
    ),
    "a parameter that nothing draws": (
        "self.scale = nn.Parameter(torch.ones(sizes.trials, 1, 1, 1, 1))",
        "maps = maps * self.scale",
        "Own: it has parameters (scale) and no draw(place, rng)",
        "take the layers of lib.layers, or write that method",
    ),
    "a part that nothing draws": (
        "self.own = nn.Module(); self.own.scale = nn.Parameter(torch.ones(sizes.trials, 1, 1, 1, 1))",
        "maps = maps * self.own.scale",
        "Own: its part own (Module) has parameters (scale) and no draw(place, rng)",
        "take the layers of lib.layers, or write that method",
    ),
    "torch's linear layer of 25": (
        "self.compare = nn.Sequential(nn.Flatten(2), nn.Linear(256, 25), nn.Linear(25, sizes.outputs(COMPARISON)))",
        "",
        "Own: compare.1.weight is [25, 256]; its first axis must be the trials (2)",
        "as in the layers of lib.layers",
    ),
    "noise that repeats": (
        "self.noise = torch.Generator().manual_seed(0)",
        "maps = maps + torch.rand(maps.shape, generator=self.noise, dtype=maps.dtype)",
        "learns something else in a stack of",
        "its operations must work on each trial's own slice",
    ),
    "an own size of stack": (
        "",
        "maps = maps * (1 + trials / 10)",
        "learns something else in a stack of 1 than in one of 2",
        "whatever the size of the stack",
    ),
    "the place in the stack": (
        "",
        "maps = maps * torch.arange(1.0, trials + 1)[:, None, None, None, None]",
        "learns something else in a stack of 1 than in one of 2",
        "whatever the size of the stack",
    ),
    "a mean over trials": (
        "",
        "maps = maps - maps.mean(0, keepdim=True)",
        "lets what one trial has reach another",
        "no sum, mean or product may run over the first axis",
    ),
    "a trial that reads the one before": (
        "",
        "maps = maps.cumsum(0)",
        "lets what one trial has reach another",
        "no sum, mean or product may run over the first axis",
    ),
    "pairs that are swapped": (
        "",
        "maps = maps.roll(1, 1)",
        "Own's head 'answer' answers one pair by the digits of another",
        "tested, each pair is answered by itself; look at how axes are joined and parted",
    ),
    "the images, changed": (
        "",
        "images -= 1; maps = self.extract(images.unsqueeze(3)).flatten(2, 3)",
        "Own changes the images that it is given in place",
        "its operations must leave them as they are",
    ),
    "the same, hidden from the gradient": (
        "",
        "maps = maps + maps.detach().cumsum(0)",
        "learns something else in a stack of 1 than in one of 2",
        "its operations must work on each trial's own slice",
    ),
    "statistics over all trials": (
        "self.norm = nn.BatchNorm1d(64 * 2 * 2, affine=False)",
        "maps = self.norm(maps.flatten(2).flatten(0, 1)).view(maps.shape)",
        "lets what one trial has reach another",
        "no sum, mean or product may run over the first axis",
    ),
}


@pytest.mark.parametrize(("init", "forward", "what", "remedy"), TRAPS.values(), ids=TRAPS)
def test_a_trap_is_one_sentence_that_says_what_to_do(own_module, init, forward, what, remedy):
    (fault,) = check_architecture(f"{own_module(OWN.format(init=init or 'pass', forward=forward))}:Own")
    assert what in fault and remedy in fault and "Own" in fault
    assert fault.endswith(".") and "\n" not in fault and not fault.endswith("..")


def test_two_faults_are_two_sentences(own_module):
    source = OWN.format(init="pass", forward="maps = maps + torch.rand_like(maps) - maps.mean(0)")
    assert len(check_architecture(f"{own_module(source)}:Own")) == 2


HEADS = """
from lib.architectures import CAUX, WSN
from lib.tasks import CLASSES, COMPARISON


class Missing(WSN):
    heads = {"answer": COMPARISON, "auxiliary": COMPARISON}


class Additional(CAUX):
    heads = {"answer": COMPARISON}


class Other(CAUX):
    heads = {"answer": COMPARISON, "helper": CLASSES}


class NoDict(WSN):
    def forward(self, images):
        return super().forward(images)["answer"]


class Swapped(CAUX):
    heads = {"answer": COMPARISON, "auxiliary": COMPARISON}


class PerDigit(CAUX):
    heads = {"answer": CLASSES, "auxiliary": CLASSES}

    def forward(self, images):
        classes = super().forward(images)["auxiliary"]
        return {"answer": classes, "auxiliary": classes}


class Factor(CAUX):
    factors = {"auxilary": 2.0}


class Unknown(CAUX):
    heads = {"answer": COMPARISON, "auxiliary": "digits"}


class NoAnswer(CAUX):
    heads = {"auxiliary": CLASSES}
"""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Missing", "Missing's forward returns answer; allowed: a dict of its heads, answer, auxiliary"),
        ("Additional", "Additional's forward returns answer, auxiliary; allowed: a dict of its heads, answer"),
        ("Other", "Other's forward returns answer, auxiliary; allowed: a dict of its heads, answer, helper"),
        ("NoDict", "NoDict's forward returns Tensor; allowed: a dict of its heads, answer"),
        (
            "Swapped",
            "Swapped's head 'auxiliary' returns [2, 10, 2, 10] for comparison; it must be [2, 10, 2] with one-hot "
            "labels",
        ),
        ("PerDigit", "PerDigit's answer is classes, a question about each digit; ask it in a head of another name"),
        ("Factor", "Factor has a factor for auxilary; allowed: its auxiliary heads (auxiliary)"),
    ],
)
def test_heads_that_do_not_fit_are_one_sentence(own_module, name, sentence):
    (fault,) = check_architecture(f"{own_module(HEADS)}:{name}")
    assert fault.removeprefix("ValueError: ") == f"{sentence}."


@pytest.mark.parametrize(("name", "found"), [("Unknown", "'digits'"), ("NoAnswer", "'auxiliary'")])
def test_an_unknown_task_and_a_missing_answer_are_one_sentence(own_module, name, found):
    with pytest.raises(ValueError, match=f"whose heads are .*{found}.*; allowed: a lib.tasks.Task for 'answer' and"):
        check_architecture(f"{own_module(HEADS)}:{name}")


def test_an_error_of_the_authors_is_one_sentence(own_module):
    source = OWN.format(init="pass", forward="maps = maps @ torch.zeros(3)")
    (fault,) = check_architecture(f"{own_module(source)}:Own")
    assert fault.startswith("RuntimeError: ")
