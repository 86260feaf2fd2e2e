"""Settings that name heads and parts: one key for one result, and a sentence for what cannot be."""

import dataclasses
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import Experiment, Store, store
from lib.analysis import PUBLISHED
from lib.experiment import BY_NAME, SETTINGS, differences
from lib.foreign import find
from lib.machine import ROOT
from lib.training import hyperparameters, make_network

HEADS = "tests.lib.own:Heads"  # with the auxiliary heads digits, parity and total
AUXILIARY = ("digits", "parity", "total")
NEW = (*BY_NAME, "train_digits")

# ---------------------------------------------------------------- keys that stay


def test_neutral_values_are_in_no_key():
    neutral = {name: SETTINGS[name].neutral for name in NEW}
    assert neutral == {**dict.fromkeys(NEW, ""), "first_epochs": 0, "train_digits": 0}
    for words, key in (("WSN", "9eda340a44f0fdef"), ("CAUX momentum=0.9", "c83d6e874c528f66")):
        experiment = Experiment(**{**Experiment.parse(words).said(), **neutral})
        assert experiment.key == key, words
        assert not experiment.configuration.keys() & set(NEW)


def test_every_published_result_keeps_its_key():
    folders = {file.parent: file for file in Store(PUBLISHED).files()}
    assert len(folders) == 20
    for folder, file in folders.items():
        configuration = store.read(file)["configuration"]
        experiment = Experiment(**{name: configuration.get(name, SETTINGS[name].neutral) for name in SETTINGS})
        assert folder.name == f"{experiment.architecture}-{experiment.key}"
        assert Experiment.parse(str(experiment)) == experiment


@pytest.mark.parametrize("words", ["SN momentum=0.9", "CAUX sigmoid=no", "WSN train_digits=400"])
def test_where_none_names_a_head_or_a_part_no_torch_is_needed(words):
    code = f"import sys; from lib import Experiment; print(Experiment.parse({words!r}).key, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{Experiment.parse(words).key} False\n", done.stderr


# ---------------------------------------------------------------- one key for one result

SAME = [  # what is said, and how it is said in its one form
    ("CAUX sigmoids=answer+auxiliary", "CAUX"),
    ("CAUX sigmoids=auxiliary+answer sigmoid=yes", "CAUX"),
    ("CAUX sigmoids=none", "CAUX sigmoid=False"),
    ("SAUX sigmoids=auxiliary+auxiliary", "SAUX sigmoids=auxiliary"),
    ("WSN sigmoids=answer", "WSN"),
    ("SN sigmoids=none", "SN sigmoid=False"),
    (f"{HEADS} sigmoids=total+answer", f"{HEADS} sigmoids=answer+total"),
    (f"{HEADS} sigmoids=total+parity+digits+answer", HEADS),
    (f"{HEADS} sigmoids=none", f"{HEADS} sigmoid=False"),
    ("CAUX auxiliary_weights=auxiliary:2", "CAUX auxiliary_weight=2.0"),
    ("CAUX auxiliary_weights=auxiliary:2 auxiliary_weight=7", "CAUX auxiliary_weight=2.0"),
    ("CAUX auxiliary_weights=auxiliary:3e-1", "CAUX"),
    ("CAUX auxiliary_weights=auxiliary:1e+2", "CAUX auxiliary_weight=100.0"),
    ("CAUX auxiliary_weights=auxiliary:-0", "CAUX auxiliary_weight=0.0"),
    (f"{HEADS} auxiliary_weights=digits:1", f"{HEADS} auxiliary_weights=digits:1.0"),
    (f"{HEADS} auxiliary_weights=digits:0.3", HEADS),
    (f"{HEADS} auxiliary_weights=digits:0+parity:-0.0", f"{HEADS} auxiliary_weight=0.0 auxiliary_weights=total:0.3"),
    (f"{HEADS} auxiliary_weights=total:2+digits:1", f"{HEADS} auxiliary_weights=digits:1.0+total:2.0"),
    (f"{HEADS} auxiliary_weights=total:2+digits:2+parity:2", f"{HEADS} auxiliary_weight=2.0"),
    (  # all are named, or one and the others' common one
        f"{HEADS} auxiliary_weights=digits:1+parity:2+total:2",
        f"{HEADS} auxiliary_weight=2.0 auxiliary_weights=digits:1.0",
    ),
    ("CAUX first=answer+auxiliary first_epochs=3", "CAUX"),
    ("WSN first=answer first_epochs=3", "WSN"),
    ("CAUX first=auxiliary+answer first_epochs=3 frozen=extract", "CAUX first_epochs=3 frozen=extract"),
    (f"{HEADS} first=total+digits first_epochs=1", f"{HEADS} first=digits+total first_epochs=1"),
    ("CAUX frozen=extract+compare", "CAUX frozen=compare+extract"),
    ("CAUX frozen=extract.1+extract+extract", "CAUX frozen=extract"),
    ("WSN train_digits=2000", "WSN"),
    ("WSN dataset=digits train_pairs=550 train_digits=1100", "WSN dataset=digits train_pairs=550"),
    ("WSN train_digits=0", "WSN"),
]


@pytest.mark.parametrize(("words", "form"), SAME)
def test_what_can_be_said_in_two_ways_has_one_form_and_one_key(words, form):
    said, formed = Experiment.parse(words), Experiment.parse(form)
    assert str(said) == str(formed) == form
    assert said == formed and said.key == formed.key and not differences(said, formed)
    assert said.changed() == dataclasses.replace(said) == said, "its form is settled"


OTHERS = [
    "CAUX",
    "CAUX sigmoids=answer",
    "CAUX sigmoids=auxiliary",
    "CAUX sigmoid=no",
    "CAUX stopped=extract",
    "CAUX stopped=extract.0",
    "CAUX first=auxiliary first_epochs=3",
    "CAUX first=answer first_epochs=3",
    "CAUX first=auxiliary first_epochs=4",
    "CAUX first=auxiliary first_epochs=3 frozen=extract",
    "CAUX first_epochs=3 frozen=extract",
    "CAUX frozen=extract",
    "CAUX frozen=extract.0",
    "CAUX train_digits=1998",
    "CAUX train_digits=1999",
    HEADS,
    f"{HEADS} auxiliary_weights=digits:1",
    f"{HEADS} auxiliary_weights=parity:1",
    f"{HEADS} auxiliary_weights=digits:1+parity:1",
    f"{HEADS} auxiliary_weight=1",
]


def test_other_results_have_other_keys():
    every = [Experiment.parse(words) for words in OTHERS]
    assert len({experiment.key for experiment in every}) == len(OTHERS)
    for experiment, words in zip(every, OTHERS, strict=True):
        assert Experiment.parse(str(experiment)) == experiment, words


WEIGHTS = st.sampled_from([0.0, 0.3, 1.0, 2.5])
MEANINGS = st.tuples(
    st.sets(st.sampled_from(("answer", *AUXILIARY))),  # with a Sigmoid
    st.tuples(WEIGHTS, WEIGHTS, WEIGHTS),  # of the auxiliary heads
    st.sampled_from(["", "extract"]),  # stopped
    st.sets(st.sampled_from(("answer", *AUXILIARY)), max_size=3),  # alone at first
    st.sets(st.sampled_from(["extract", "compare", "digits"])),  # frozen
    st.integers(1, 2),  # epochs of the first phase
)


def saying(meaning, random):
    """One of the ways to say it: in any order, with a weight that some heads have in common, or nobody."""
    sigmoids, weights, stopped, first, frozen, epochs = meaning

    def joined(names):
        return "+".join(random.sample(sorted(names), len(names)))

    common = random.choice([*weights, 7.0])
    named = {
        head: weight
        for head, weight in zip(AUXILIARY, weights, strict=True)
        if weight != common or random.random() < 0.5
    }
    words = [
        HEADS,
        f"sigmoids={joined(sigmoids) or 'none'}",
        f"auxiliary_weight={common}",
        f"auxiliary_weights={joined([f'{head}:{weight}' for head, weight in named.items()])}",
        f"stopped={stopped}",
        f"first={joined(first)}",
        f"frozen={joined(frozen)}",
        f"first_epochs={epochs if first or frozen else 0}",
    ]
    return " ".join(random.sample(words, len(words)))


def meant(meaning):
    """What is left of it: without a phase, its length means nothing."""
    *others, first, frozen, epochs = meaning
    return (*others, first, frozen, epochs if first or frozen else 0)


@settings(max_examples=15, deadline=None)
@given(MEANINGS, MEANINGS, st.randoms(use_true_random=False))
def test_sayings_have_one_key_exactly_where_they_mean_one_training(meaning, other, random):
    one, two, three = (Experiment.parse(saying(each, random)) for each in (meaning, meaning, other))
    assert one == two and str(one) == str(two), "it can be said in more than one way, and is one"
    assert (one == three) == (meant(meaning) == meant(other))
    assert Experiment.parse(str(one)) == dataclasses.replace(one) == one


# ---------------------------------------------------------------- what is laid over it, and what it reaches


def test_words_are_laid_over_what_was_settled():
    base = Experiment.parse(f"{HEADS} auxiliary_weights=digits:1 sigmoids=total+answer")
    assert base.said() == {"architecture": HEADS, "sigmoids": "answer+total", "auxiliary_weights": "digits:1.0"}
    assert str(base.changed("auxiliary_weight=2")) == (
        f"{HEADS} sigmoids=answer+total auxiliary_weight=2.0 auxiliary_weights=digits:1.0"
    )
    assert str(base.changed("sigmoids=none auxiliary_weights=total:0.3")) == f"{HEADS} sigmoid=False"
    assert str(base.changed("sigmoids= auxiliary_weights=")) == HEADS
    assert differences(base, base.changed("stopped=extract train_digits=9")) == ("stopped", "train_digits")
    with pytest.raises(ValueError, match=r"^sigmoids is 'total'; allowed: 'answer', 'auxiliary', or 'none'"):
        base.changed("CAUX auxiliary_weights=")
    phased = Experiment.parse("CAUX first=auxiliary first_epochs=3 frozen=extract epochs=5")
    assert str(phased.changed("first=")) == "CAUX first_epochs=3 frozen=extract epochs=5"
    with pytest.raises(ValueError, match=r"^first_epochs is 3; allowed: fewer than epochs \(3\)"):
        phased.changed("epochs=3")


def test_a_saying_reaches_the_teacher_and_the_network():
    e = Experiment.parse(
        f"{HEADS} auxiliary_weights=total:2+digits:1 stopped=extract.1 first=total+answer first_epochs=2 "
        "frozen=extract+compare sigmoids=parity"
    )
    said = hyperparameters(e)
    assert said["auxiliary_weights"] == {"digits": 1.0, "total": 2.0} and said["auxiliary_weight"] == 0.3
    assert (said["stopped"], said["first"], said["first_epochs"]) == ("extract.1", ["answer", "total"], 2)
    assert said["frozen"] == ["compare", "extract"] and e.sizes(1).sigmoids == ("parity",)
    usual = hyperparameters(Experiment())
    assert [usual[name] for name in ("auxiliary_weights", "stopped", "first", "first_epochs", "frozen")] == [
        {},
        "",
        [],
        0,
        [],
    ]


def test_parts_are_those_of_the_form_that_is_trained():
    """Without the Flatten in front of it, each layer of a classifier stands a place earlier."""
    for form, last in ((False, "compare.7"), (True, "compare.6")):
        e = Experiment.parse(f"CAUX fully_convolutional={form} frozen={last}")
        assert [*make_network(e, range(1)).part(last).parameters()], "it is the last layer with weights"
    Experiment.parse("CAUX frozen=compare.8")
    with pytest.raises(ValueError, match=r"^frozen is 'compare\.8'; CAUX has no part 'compare\.8'; its parts: extract"):
        Experiment.parse("CAUX fully_convolutional=yes frozen=compare.8")


# ---------------------------------------------------------------- what cannot be

JOINED = "allowed: names joined by +, such as 'answer+auxiliary'"
BY_HEAD = "allowed: head:weight joined by +, such as 'digits:1+parity:0.5'"
PARTS = "its parts: extract, compare, auxiliary"
LONG = "x" * 10_000
MANY = "+".join(["answer"] * 5_000)

REFUSED = {
    "CAUX sigmoids=auxilary": "sigmoids is 'auxilary'; allowed: 'answer', 'auxiliary', or 'none' (did you mean",
    "CAUX sigmoids=answer+none": "sigmoids is 'none'; allowed: 'answer', 'auxiliary', or 'none'",
    "WSN sigmoids=auxiliary": "sigmoids is 'auxiliary'; allowed: 'answer', or 'none'",
    "CAUX sigmoids=answer++auxiliary": f"sigmoids is 'answer++auxiliary'; {JOINED}",
    "CAUX sigmoids=+": f"sigmoids is '+'; {JOINED}",
    "CAUX sigmoids=answer,auxiliary": f"sigmoids is 'answer,auxiliary'; {JOINED}",
    "CAUX sigmoid=no sigmoids=answer": "sigmoid is False; allowed: True with sigmoids 'answer', which says it by head",
    "CAUX sigmoid=no sigmoids=none": "sigmoid is False; allowed: True with sigmoids 'none', which says it by head",
    f"CAUX sigmoid=no sigmoids={MANY}": "sigmoid is False; allowed: True with sigmoids 'answer+ans",
    f"CAUX sigmoids={LONG}": "sigmoids is 'xxx",
    "CAUX auxiliary_weights=auxiliary": f"auxiliary_weights is 'auxiliary'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:": f"auxiliary_weights is 'auxiliary:'; {BY_HEAD}",
    "CAUX auxiliary_weights=:1": f"auxiliary_weights is ':1'; {BY_HEAD}",
    "CAUX auxiliary_weights=1": f"auxiliary_weights is '1'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:much": f"auxiliary_weights is 'auxiliary:much'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:1.2.3": f"auxiliary_weights is 'auxiliary:1.2.3'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:inf": f"auxiliary_weights is 'auxiliary:inf'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:nan": f"auxiliary_weights is 'auxiliary:nan'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:\u0661": f"auxiliary_weights is 'auxiliary:\u0661'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:1+auxiliary:1": f"auxiliary_weights is 'auxiliary:1+auxiliary:1'; {BY_HEAD}",
    f"{HEADS} auxiliary_weights=digits:1++parity:1": f"auxiliary_weights is 'digits:1++parity:1'; {BY_HEAD}",
    f"{HEADS} auxiliary_weights=digits:1+parity": f"auxiliary_weights is 'digits:1+parity'; {BY_HEAD}",
    "CAUX auxiliary_weights=auxiliary:-1": "the weight of auxiliary in auxiliary_weights is -1; allowed: 0 to 1,000",
    "CAUX auxiliary_weights=auxiliary:1001": "the weight of auxiliary in auxiliary_weights is 1001; allowed: 0 to",
    "CAUX auxiliary_weights=auxiliary:1e999": "the weight of auxiliary in auxiliary_weights is inf; allowed: 0 to",
    "CAUX auxiliary_weights=answer:1": "auxiliary_weights is 'answer'; allowed: 'auxiliary'",
    f"{HEADS} auxiliary_weights=digit:1": "auxiliary_weights is 'digit'; allowed: 'digits', 'parity', 'total'",
    "WSN auxiliary_weights=answer:1": "auxiliary_weights is 'answer:1', which WSN does not read; leave it out",
    "SN auxiliary_weights=nonsense": "auxiliary_weights is 'nonsense', which SN does not read; leave it out",
    f"CAUX auxiliary_weights={LONG}:1": "auxiliary_weights is 'xxx",
    f"CAUX auxiliary_weights=a:{'1+' * 5_000}": "auxiliary_weights is 'a:1+1",
    "CAUX first=auxiliary": "first_epochs is 0; allowed: at least 1 with first 'auxiliary'",
    "CAUX first=answer+auxiliary": "first_epochs is 0; allowed: at least 1 with first 'answer+auxiliary'",
    f"CAUX first={MANY}": "first_epochs is 0; allowed: at least 1 with first 'answer+ans",
    "CAUX first=extract first_epochs=1": "first is 'extract'; allowed: 'answer', 'auxiliary'",
    "CAUX first=none first_epochs=1": "first is 'none'; allowed: 'answer', 'auxiliary'",
    "CAUX first=answer+ first_epochs=1": f"first is 'answer+'; {JOINED}",
    "CAUX first_epochs=3": "first_epochs is 3; allowed: 0 without first or frozen",
    "CAUX first_epochs=-1 first=auxiliary": "first_epochs is -1; allowed: 0 to 100,000",
    "CAUX first=auxiliary first_epochs=100": "first_epochs is 100; allowed: fewer than epochs (100)",
    "CAUX frozen=extract first_epochs=7 epochs=5": "first_epochs is 7; allowed: fewer than epochs (5)",
    "CAUX frozen=extractor": f"frozen is 'extractor'; CAUX has no part 'extractor'; {PARTS}",
    "CAUX frozen=extract+extract.2": f"frozen is 'extract+extract.2'; CAUX has no part 'extract.2'; {PARTS}",
    "CAUX frozen=extract.0.weight": f"frozen is 'extract.0.weight'; CAUX has no part 'extract.0.weight'; {PARTS}",
    "CAUX frozen=.": f"frozen is '.'; CAUX has no part '.'; {PARTS}",
    "CAUX frozen=extract++compare": f"frozen is 'extract++compare'; {JOINED}",
    f"CAUX frozen={LONG}": "frozen is 'xxx",
    "CAUX frozen=extract+compare+auxiliary": "frozen is 'extract+compare+auxiliary', which is all of CAUX",
    "WSN frozen=compare+extract.0+extract.1": "frozen is 'compare+extract.0+extract.1', which is all of WSN",
    "CAUX stopped=features": f"stopped is 'features'; CAUX has no part 'features'; {PARTS}",
    "CAUX stopped=extract+compare": f"stopped is 'extract+compare'; CAUX has no part 'extract+compare'; {PARTS}",
    f"CAUX stopped={LONG}": "stopped is 'xxx",
    "WSN train_digits=1": "train_digits is 1; allowed: 2 to 2,000 for 1000 training pairs of the data set 'mnist'",
    "WSN train_digits=-2": "train_digits is -2; allowed: 2 to 2,000",
    "WSN train_digits=2001": "train_digits is 2001; allowed: 2 to 2,000",
    "WSN dataset=digits train_pairs=600 train_digits=1101": "train_digits is 1101; allowed: 2 to 1,100 for 600",
    "WSN dataset=digits train_pairs=600": "train_pairs is 600; allowed: 1 to 550 for the data set 'digits', without",
    "WSN train_pairs=30001 train_digits=9": "train_pairs is 30001; allowed: 1 to 30,000",
}


@pytest.mark.parametrize("words", REFUSED, ids=[words[:50] for words in REFUSED])
def test_what_cannot_be_is_one_sentence_that_names_the_setting_and_its_value(words):
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        Experiment.parse(words)
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(REFUSED[words])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert time.perf_counter() - start < 5, "a long text takes long to read"


# ---------------------------------------------------------------- networks of one's own

NAMELESS = """
from torch import nn

from lib.architectures import Network, comparer, extractor, head
from lib.tasks import CLASSES, COMPARISON


class Nameless(Network):
    heads = {"answer": COMPARISON, "digits": CLASSES}

    def __init__(self, sizes):
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.compare = comparer(sizes, (4,))
        self.digits = head(sizes, sizes.maps, (4,), CLASSES)

    def forward(self, images):
        maps = self.extract(images.unsqueeze(3))
        digits = self.digits(maps.flatten(1, 2)).unflatten(1, (-1, 2))
        return {"answer": self.compare(maps.flatten(2, 3)), "digits": digits}


class Unweighted(Nameless):
    reads = ("channels",)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(392, 8)
        self.answer = nn.Linear(8, 2)

    def forward(self, images):
        return self.answer(self.features(images.flatten(1)).relu())


class Two(Plain):
    heads = {"answer": COMPARISON, "second": COMPARISON}

    def forward(self, images):
        return (super().forward(images),) * 2
"""


@pytest.fixture
def own(own_module):
    """The name of a module with networks of one's own."""
    return own_module(NAMELESS)


def test_sigmoids_of_a_network_that_does_not_name_its_classifiers_heads_are_refused(own):
    sentence = r"^sigmoids is 'answer'; allowed: all heads or 'none' where a classifier does not say of which"
    with pytest.raises(ValueError, match=sentence):
        Experiment.parse(f"{own}:Nameless sigmoids=answer")
    assert str(Experiment.parse(f"{own}:Nameless sigmoids=none")) == f"{own}:Nameless sigmoid=False"
    assert Experiment.parse(f"{own}:Nameless sigmoids=answer+digits") == Experiment.parse(f"{own}:Nameless")


def test_weights_by_head_are_refused_where_the_network_reads_no_weight(own):
    assert str(Experiment.parse(f"{own}:Nameless auxiliary_weights=digits:1")).endswith(" auxiliary_weight=1.0")
    for name in ("Unweighted", "Plain"):
        with pytest.raises(ValueError, match=f"^auxiliary_weights is 'digits:1', which {own}:{name} does not read"):
            Experiment.parse(f"{own}:{name} auxiliary_weights=digits:1")


def test_a_plain_module_has_parts_and_heads_too_and_no_sigmoids(own):
    e = Experiment.parse(f"{own}:Two first=second first_epochs=2 frozen=features stopped=features")
    assert hyperparameters(e)["frozen"] == ["features"] and Experiment.parse(str(e)) == e
    assert str(Experiment.parse(f"{own}:Two auxiliary_weights=second:1")) == f"{own}:Two auxiliary_weight=1.0"
    for words, sentence in (
        ("Plain sigmoids=answer", f"sigmoids is 'answer', which {own}:Plain does not read; leave it out"),
        ("Two first=third first_epochs=1", "first is 'third'; allowed: 'answer', 'second'"),
        ("Two frozen=extract", "frozen is 'extract'; Two has no part 'extract'; its parts: features, answer"),
        ("Two stopped=feature", "stopped is 'feature'; Two has no part 'feature'; its parts: features, answer"),
        ("Plain frozen=features+answer", "frozen is 'features+answer', which is all of"),
    ):
        with pytest.raises(ValueError) as caught:
            Experiment.parse(f"{own}:{words}")
        assert str(caught.value).startswith(sentence)


def test_settling_leaves_a_network_where_it_was(own):
    """Building one to look for its parts draws from no generator of the caller's."""
    import torch

    torch.manual_seed(1)
    before = torch.get_rng_state()
    Experiment.parse(f"{own}:Two frozen=features")
    Experiment.parse(f"{own}:Nameless frozen=extract stopped=extract")
    assert torch.equal(torch.get_rng_state(), before)
    assert find(f"{own}:Two").__name__ == "Two"
