"""Whatever is given as a parameter either makes a valid experiment or is refused in one sentence that names it."""

import dataclasses
import fractions
import json
import math
import re
import shutil
import subprocess
import sys
from itertools import groupby

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib import Experiment, Store, store
from lib.analysis import PUBLISHED
from lib.experiment import (
    ALWAYS,
    ASSIGNMENT,
    LONGEST,
    ORIGINAL,
    PROTOCOL,
    SETTINGS,
    WE,
    describe,
    differences,
    told_apart,
)
from lib.machine import ROOT

FIELDS = [field.name for field in dataclasses.fields(Experiment)]
POSITIVE = ("auxiliary_hidden", "width", "train_pairs", "test_pairs", "epochs", "batch_size")
INTS = (*POSITIVE, "seed", "train_digits", "first_epochs", "centres")
FLOATS = ("auxiliary_weight", "learning_rate", "momentum", "spread", "dropout", "auxiliary_dropout")
BOOLS = ("fully_convolutional", "one_hot_encoding", "sigmoid")
FULL = ("architecture", "channels", "hidden", "dataset", "optimizer")
BY_NAME = ("sigmoids", "auxiliary_weights", "stopped", "first", "frozen")  # name heads or parts of the network; or ""
STRINGS = (*FULL, *BY_NAME)
HEADS = "tests.lib.own:Heads"
HUGE = 10**5000
NEITHER = "which is neither a torch.nn.Module nor a subclass of lib.architectures.Network"
HTML = "<img src=x onerror=alert(1)>"
CODE = "__import__('os').remove('x')"

# For each field another valid value than that of BASE, or of what it needs beside it.
OTHER = {
    "architecture": "SN",
    "fully_convolutional": True,
    "one_hot_encoding": False,
    "sigmoid": False,
    "channels": "8-16",
    "hidden": "64-64",
    "auxiliary_hidden": 65,
    "auxiliary_weight": 0.5,
    "sigmoids": "answer",
    "auxiliary_weights": "parity:0.7",  # not what auxiliary_weight says
    "stopped": "extract",
    "first": "answer",
    "first_epochs": 3,
    "frozen": "extract",
    "spread": 0.5,
    "centres": 7,
    "width": 32,
    "dropout": 0.25,
    "auxiliary_dropout": 0.5,
    "dataset": "digits",
    "train_pairs": 999,
    "test_pairs": 999,
    "train_digits": 999,
    "epochs": 99,
    "batch_size": 49,
    "optimizer": "adam",
    "learning_rate": 0.02,
    "momentum": 0.9,
    "seed": 2023,
}
BASE = {"architecture": "CAUX"}  # which reads all settings but those of the interventions
DIAL, SIDE = ("spread", "centres"), ("width", "dropout", "auxiliary_dropout")
NEEDS = {  # what else a field needs
    "auxiliary_weights": {"architecture": HEADS},  # of a single head it is what auxiliary_weight says
    "first": {"first_epochs": 2, "first": "auxiliary"},
    "first_epochs": {"first_epochs": 2, "first": "auxiliary"},
    **{name: {"architecture": "DIAL"} for name in DIAL},
    **{name: {"architecture": "SIDE"} for name in SIDE},
}

# case: (parameter, value, error, words that the message must hold)
REFUSED = {
    **{f"None for {name}": (name, None, TypeError, "None") for name in (*FLOATS, *BOOLS, *STRINGS, "epochs", "seed")},
    **{f"a list for {name}": (name, [1], TypeError, "[1] (list)") for name in FIELDS},
    **{f"a text for {name}": (name, "1", TypeError, "'1' (str); allowed") for name in (*INTS, *FLOATS, *BOOLS)},
    **{f"bytes for {name}": (name, b"SN", TypeError, "(bytes); allowed: a text") for name in STRINGS},
    **{f"bool for {name}": (name, True, TypeError, "True (bool)") for name in (*INTS, *FLOATS)},
    **{f"numpy bool for {name}": (name, np.bool_(True), TypeError, "bool") for name in (*INTS, *FLOATS)},
    **{f"a float for {name}": (name, 10.0, TypeError, "10.0 (float); allowed: a whole number") for name in INTS},
    **{f"1 for {name}": (name, 1, TypeError, "1 (int); allowed: True or False") for name in BOOLS},
    **{f"complex for {name}": (name, 1j, TypeError, "1j (complex)") for name in (*INTS, *FLOATS)},
    **{f"NaN for {name}": (name, math.nan, ValueError, "nan; allowed: a finite number") for name in FLOATS},
    **{f"inf for {name}": (name, math.inf, ValueError, "inf; allowed: a finite number") for name in FLOATS},
    **{f"-inf for {name}": (name, -math.inf, ValueError, "-inf; allowed") for name in FLOATS},
    **{f"NaN for {name}, a whole number": (name, math.nan, TypeError, "nan (float)") for name in INTS},
    **{f"negative {name}": (name, -1, ValueError, "-1") for name in (*INTS, *FLOATS)},
    **{f"zero {name}": (name, 0, ValueError, "0; allowed: 1 to") for name in POSITIVE},
    **{f"huge {name}": (name, HUGE, ValueError, "; allowed: ") for name in (*INTS, *FLOATS)},
    **{f"huge for {name}": (name, HUGE, TypeError, "(int); allowed: ") for name in (*BOOLS, *STRINGS)},
    **{f"empty {name}": (name, "", ValueError, "''; allowed: ") for name in FULL},
    **{f"HTML in {name}": (name, HTML, ValueError, "<img") for name in STRINGS},
    **{f"code in {name}": (name, CODE, ValueError, "__import") for name in STRINGS},
    **{f"HTML for {name}": (name, HTML, TypeError, "a number" if name in FLOATS else "") for name in (*INTS, *FLOATS)},
    "zero learning_rate": ("learning_rate", 0.0, ValueError, "0.0; allowed: 1e-12 to 1,000"),
    "momentum of 1": ("momentum", 1.0, ValueError, "1.0; allowed: 0 to 0.9999"),
    "seed of 33 bits": ("seed", 2**32, ValueError, "4294967296; allowed: 0 to 4,294,967,295"),
    "architecture in lower case": ("architecture", "wsn", ValueError, "did you mean 'WSN'?"),
    "near-miss architecture": ("architecture", "SAUKS", ValueError, "did you mean 'SAUX'?"),
    "unlike any architecture": (
        "architecture",
        "ResNet-152",
        ValueError,
        "'SN', 'WSN', 'SAUX', 'CAUX', 'NAMES', 'NARROW', 'SIDE', 'DIAL', or module:",
    ),
    "near-miss optimizer": ("optimizer", "Adams", ValueError, "'sgd', 'adam' (did you mean 'adam'?)"),
    "near-miss dataset": ("dataset", "MNST", ValueError, "did you mean 'mnist'?"),
    "missing module": ("architecture", "no_such_module:Net", ValueError, "No module named 'no_such_module'"),
    "missing class": ("architecture", "lib.architectures:Net", ValueError, "has no attribute 'Net'"),
    "no class": ("architecture", "lib.architectures:build", ValueError, NEITHER),
    "other class": ("architecture", "lib.architectures:Sizes", ValueError, NEITHER),
    "only a colon": ("architecture", ":", ValueError, "cannot be imported"),
    "code for a module": ("architecture", f"{CODE}:Net", ValueError, "cannot be imported"),
    "more training pairs than digits": ("train_pairs", 30_001, ValueError, "1 to 30,000 for the data set 'mnist'"),
    "more test pairs than digits": ("test_pairs", 5_001, ValueError, "1 to 5,000 for the data set 'mnist'"),
    "batch larger than the set": ("batch_size", 1_001, ValueError, "1001; allowed: 1 to 1,000 (train_pairs)"),
    "one convolution": ("channels", "16", ValueError, "two sizes, one per convolution"),
    "three convolutions": ("channels", "16-32-64", ValueError, "two sizes, one per convolution"),
    "no size": ("hidden", "64--32", ValueError, "sizes joined by hyphens, such as '64-64-32'"),
    "size of zero": ("hidden", "0", ValueError, "sizes joined by hyphens"),
    "size with a leading zero": ("hidden", "064", ValueError, "sizes joined by hyphens"),
    "size of five digits": ("channels", "10000-1", ValueError, "sizes joined by hyphens"),
    "eleven hidden layers": ("hidden", "-".join(["8"] * 11), ValueError, "sizes joined by hyphens"),
    "size and newline": ("hidden", "64\n", ValueError, "sizes joined by hyphens"),
    "size in other digits": ("channels", "1\u0666-32", ValueError, "sizes joined by hyphens"),
    "a text of a million letters": ("hidden", "6" * 10**6, ValueError, "..."),
}


@pytest.mark.parametrize(("name", "value", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_a_bad_value_is_refused_in_one_sentence_that_names_parameter_and_value(name, value, error, words):
    with pytest.raises(error) as caught:
        Experiment(**{name: value})
    message = str(caught.value)
    assert type(caught.value) is error  # UnicodeError and the like are ValueErrors too
    assert message.startswith(f"{name} is ")
    assert words in message
    assert "\n" not in message and len(message) < 500


def test_pairs_are_limited_by_the_digits_of_each_data_set():
    assert Experiment(train_pairs=30_000, test_pairs=5_000).train_pairs == 30_000
    assert Experiment(dataset="digits", train_pairs=550, test_pairs=348).test_pairs == 348
    with pytest.raises(ValueError, match=r"^train_pairs is 551; allowed: 1 to 550 for the data set 'digits', without"):
        Experiment(dataset="digits", train_pairs=551)
    with pytest.raises(ValueError, match=r"^test_pairs is 349; allowed: 1 to 348 for the data set 'digits', without"):
        Experiment(dataset="digits", test_pairs=349)


def test_momentum_without_sgd_is_refused():
    with pytest.raises(ValueError, match=r"^momentum is 0\.9; allowed: 0 with optimizer 'adam'"):
        Experiment(optimizer="adam", momentum=0.9)
    assert Experiment(optimizer="adam", momentum=0).momentum == 0


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("learningrate", "learning_rate"),
        ("learning-rate", "learning_rate"),
        ("Epochs", "epochs"),
        ("onehot_encoding", "one_hot_encoding"),
        ("batchsize", "batch_size"),
        ("optimiser", "optimizer"),
        ("seeds", "seed"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(name, meant):
    with pytest.raises(TypeError, match=f"^there is no parameter '{name}' \\(did you mean '{meant}'\\?\\); known: "):
        Experiment.parse(f"CAUX {name}=1")


@pytest.mark.parametrize("name", ["", "trials", "1", "<img", "né", "__class__", "zzzz", "protocol", "source"])
def test_a_setting_that_does_not_exist_is_refused_whatever_its_name(name):
    with pytest.raises(TypeError, match=r"^there is no parameter") as caught:
        Experiment.parse(f"{name}=1")
    assert repr(name) in str(caught.value) and "learning_rate" in str(caught.value)


# words: (the settings they say)
SAID = {
    "": {},
    "CAUX momentum=0.9 auxiliary_weight=1": {"architecture": "CAUX", "momentum": 0.9, "auxiliary_weight": 1.0},
    "momentum=0.9 CAUX auxiliary_weight=1": {"architecture": "CAUX", "momentum": 0.9, "auxiliary_weight": 1.0},
    "architecture=SN": {"architecture": "SN"},
    "  SN \n\t epochs=7 ": {"architecture": "SN", "epochs": 7},
    "lib.architectures:SN": {"architecture": "lib.architectures:SN"},
    "sigmoid=False": {"sigmoid": False},
    "sigmoid=NO fully_convolutional=yes": {"sigmoid": False, "fully_convolutional": True},
    "sigmoid=true fully_convolutional=TRUE": {"sigmoid": True, "fully_convolutional": True},
    "optimizer='adam' learning_rate=\"0.001\"": {"optimizer": "adam", "learning_rate": 0.001},
    "'SN' 'epochs=7'": {"architecture": "SN", "epochs": 7},
    "epochs=1_000 learning_rate=1e-3": {"epochs": 1000, "learning_rate": 0.001},
    "learning_rate=.5 momentum=0": {"learning_rate": 0.5, "momentum": 0.0},
    "channels=8-16 hidden=64": {"channels": "8-16", "hidden": "64"},
    "train_pairs=None": {},
    "dataset=digits train_pairs=500": {"dataset": "digits", "train_pairs": 500},
    "seed=0": {"seed": 0},
}


@pytest.mark.parametrize("words", SAID)
def test_an_experiment_can_be_said(words):
    experiment = Experiment.parse(words)
    assert experiment == Experiment(**SAID[words])
    assert Experiment.parse(*words.split()) == experiment, "in several texts, too"
    assert Experiment.parse(str(experiment)) == experiment


# words: (error, what the sentence holds)
UNSAID = {
    "CAUX WSN": (ValueError, "architecture is said twice: CAUX and WSN"),
    "epochs=3 epochs=3": (ValueError, "epochs is said twice: 3 and 3"),
    "CAUX architecture=CAUX": (ValueError, "architecture is said twice"),
    "CAUKS": (
        ValueError,
        "architecture is 'CAUKS'; allowed: 'SN', 'WSN', 'SAUX', 'CAUX', 'NAMES', 'NARROW', 'SIDE', 'DIAL', or "
        "module:Class (did you",
    ),
    "''": (ValueError, "architecture is ''; allowed: "),
    "momentum": (ValueError, "momentum is said without a value; write momentum=value"),
    "momentum = 0.9": (ValueError, "momentum is said without a value; write momentum=value, without blanks"),
    "momentum=": (ValueError, "momentum is ''; allowed: a number"),
    "momentum=0,9": (ValueError, "momentum is '0,9'; allowed: a number"),
    "momentum=1": (ValueError, "momentum is 1.0; allowed: 0 to 0.9999"),
    "learning_rate=nan": (ValueError, "learning_rate is nan; allowed: a finite number"),
    "epochs=1e2": (ValueError, "epochs is '1e2'; allowed: a whole number"),
    "epochs=None": (ValueError, "epochs is 'None'; allowed: a whole number"),
    "sigmoid=1": (ValueError, "sigmoid is '1'; allowed: True or False"),
    "optimizer=adams": (ValueError, "optimizer is 'adams'; allowed: 'sgd', 'adam' (did you mean 'adam'?)"),
    "dataset=MNST": (ValueError, "dataset is 'MNST'; allowed: 'mnist', 'digits' (did you mean 'mnist'?)"),
    "SN auxiliary_weight=1": (ValueError, "auxiliary_weight is 1.0, which SN does not read; leave it out"),
    "SN auxiliary_weight=0.3": (ValueError, "auxiliary_weight is 0.3, which SN does not read; leave it out"),
    "auxiliary_hidden=64": (ValueError, "auxiliary_hidden is 64, which WSN does not read; leave it out"),
    "epochs=" + "9" * 5000: (ValueError, "epochs is '999"),
    "epochs=" + "9" * 1000: (ValueError, "allowed: 1 to 100,000"),
}


@pytest.mark.parametrize("words", UNSAID, ids=[f"{words[:30]}" for words in UNSAID])
def test_what_cannot_be_read_is_one_sentence(words):
    error, sentence = UNSAID[words]
    with pytest.raises(error) as caught:
        Experiment.parse(words)
    assert type(caught.value) is error
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_setting_is_said_in_one_text_only():
    assert Experiment.parse("WSN", "momentum=0.9") == Experiment(momentum=0.9)
    with pytest.raises(ValueError, match=r"^momentum is said twice: 0.9 and 0.5$"):
        Experiment.parse("WSN momentum=0.9", "momentum=0.5")


@pytest.mark.parametrize("value", [None, 1, ["CAUX"], Experiment()], ids=str)
def test_only_texts_are_read(value):
    with pytest.raises(TypeError, match=r"^an experiment is said in words such as 'CAUX momentum=0\.9'; got "):
        Experiment.parse(value)


def test_what_is_not_said_is_the_default_and_what_is_the_default_is_not_said():
    assert str(Experiment()) == "WSN"
    assert str(Experiment(architecture="CAUX", momentum=0.9)) == "CAUX momentum=0.9"
    assert str(Experiment(dataset="digits", train_pairs=500, test_pairs=300)) == "WSN dataset=digits"
    assert str(Experiment(dataset="digits", train_pairs=499)) == "WSN dataset=digits train_pairs=499"
    assert str(Experiment(sigmoid=False, learning_rate=1e-5)) == "WSN sigmoid=False learning_rate=1e-05"


def test_words_are_laid_over_an_experiment():
    caux = Experiment.parse("CAUX momentum=0.9 auxiliary_weight=1")
    assert caux.changed() == caux == caux.changed("")
    assert str(caux.changed("momentum=0 epochs=3")) == "CAUX auxiliary_weight=1.0 epochs=3"
    assert str(caux.changed("dataset=digits", "SAUX")) == "SAUX auxiliary_weight=1.0 dataset=digits momentum=0.9"
    small = Experiment(dataset="digits")
    assert small.changed("dataset=mnist").train_pairs == 1000, "the data set's own number, not 500"
    assert small.changed("train_pairs=20 batch_size=10").changed("train_pairs=None batch_size=50") == small
    with pytest.raises(ValueError, match=r"^auxiliary_weight is 1.0, which SN does not read"):
        caux.changed("SN")
    with pytest.raises(ValueError, match=r"^epochs is said twice"):
        caux.changed("epochs=3", "epochs=4")


def test_a_setting_that_a_network_does_not_read_stands_at_its_default_and_in_the_key():
    for experiment in (Experiment(architecture="SN"), Experiment(architecture="SN", auxiliary_weight=0.3)):
        assert experiment.configuration["auxiliary_weight"] == 0.3
        assert experiment.key == "f66ac1cd3df3069c"  # under which it is published
    with pytest.raises(ValueError, match=r"^auxiliary_weight is 0.5, which SN does not read; leave it out$"):
        Experiment(architecture="SN", auxiliary_weight=0.5)
    for name in ("SAUX", "CAUX"):
        assert Experiment(architecture=name, auxiliary_weight=0.5, auxiliary_hidden=5).auxiliary_weight == 0.5


def test_every_setting_says_whose_it_is_and_its_value_in_prose():
    for name, known in SETTINGS.items():
        assert known.source in (ORIGINAL, ASSIGNMENT, WE)
        for value in (OTHER[name], getattr(Experiment(), name)):
            assert "{" not in describe(name, value) and "_" not in describe(name, value)
    assert describe("momentum", 0.9) == "momentum 0.9"
    assert describe("one_hot_encoding", False) == "without one-hot labels"
    assert describe("architecture", "CAUX") == "CAUX"
    assert describe("auxiliary_weight", 1.0) == "auxiliary weight 1.0"


def test_the_differences_of_two_experiments_are_the_names_of_their_settings_in_order():
    a, b = Experiment.parse("WSN momentum=0.9"), Experiment.parse("CAUX epochs=3")
    assert differences(a, b) == differences(b, a) == ("architecture", "epochs", "momentum")
    assert differences(a, a) == ()


def fine_or_weird(fine):
    weird = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.fractions(),
        st.complex_numbers(),
        st.text(max_size=20),
        st.binary(max_size=4),
        st.lists(st.integers(), max_size=2),
        st.sampled_from([HUGE, -HUGE, np.float32(0.5), np.int64(3), np.bool_(True), np.nan, object()]),
    )
    return st.one_of(fine, fine, fine, weird)


SIZES = st.lists(st.integers(1, 99).map(str), min_size=1, max_size=3).map("-".join)
FINE = {
    **{name: st.booleans() for name in BOOLS},
    **{name: st.integers(0, 700) for name in INTS},
    **{name: st.one_of(st.floats(0, 1), st.integers(0, 1)) for name in FLOATS},
    "architecture": st.sampled_from(["SN", "WSN", "SAUX", "CAUX", "lib.architectures:SN", "os:path", "sn"]),
    "channels": SIZES,
    "hidden": SIZES,
    "dataset": st.sampled_from(["mnist", "digits", "digit"]),
    "optimizer": st.sampled_from(["sgd", "adam"]),
    "sigmoids": st.sampled_from(["", "none", "answer", "answer+auxiliary"]),
    "auxiliary_weights": st.sampled_from(["", "auxiliary:1", "other:1"]),
    "stopped": st.sampled_from(["", "extract", "no_such_part"]),
    "first": st.sampled_from(["", "auxiliary", "answer+other"]),
    "frozen": st.sampled_from(["", "extract", "extract+compare"]),
}
EXACT = (
    dict.fromkeys(INTS, int) | dict.fromkeys(FLOATS, float) | dict.fromkeys(BOOLS, bool) | dict.fromkeys(STRINGS, str)
)


@settings(max_examples=100, deadline=None)
@example({"momentum": -0.0})
@example({"auxiliary_weight": -0.0})
@example({"learning_rate": fractions.Fraction(1, 3)})
@given(st.fixed_dictionaries({}, optional={name: fine_or_weird(fine) for name, fine in FINE.items()}))
def test_random_parameters_make_a_valid_experiment_or_are_refused_by_name(parameters):
    try:
        experiment = Experiment(**parameters)
    except (ValueError, TypeError) as error:
        named = re.match(r"(\w+) is ", str(error))
        assert named and named[1] in FIELDS, str(error)
        assert any(name in str(error) for name in parameters), str(error)
        return
    for name, kind in EXACT.items():
        assert type(getattr(experiment, name)) is kind, name
    assert json.loads(store.canonical(experiment.configuration)) == experiment.configuration
    again = Experiment(**dataclasses.asdict(experiment))
    assert again == experiment and again.key == experiment.key
    assert experiment.sizes(3).trials == 3
    assert 1 <= experiment.batch_size <= experiment.train_pairs


READ = {  # the architectures, and the optional settings that they read
    "SN": ("channels", "hidden"),
    "WSN": ("channels", "hidden"),
    "SAUX": ("channels", "hidden", "auxiliary_hidden", "auxiliary_weight"),
    "CAUX": ("channels", "hidden", "auxiliary_hidden", "auxiliary_weight"),
    "lib.architectures:CAUX": ("channels", "hidden", "auxiliary_hidden", "auxiliary_weight"),
}


@st.composite
def experiments(draw):
    """A valid experiment with any of its settings said."""
    architecture = draw(st.sampled_from(list(READ)))
    dataset = draw(st.sampled_from(["mnist", "digits"]))
    optimizer = draw(st.sampled_from(["sgd", "adam"]))
    by_name = draw(st.booleans())  # settings that name heads or parts: then the network is built
    size = st.integers(1, 20 if by_name else 9999)
    values = {
        "channels": st.tuples(size, size).map("{0[0]}-{0[1]}".format),
        "hidden": st.lists(size.map(str), min_size=1, max_size=10).map("-".join),
        "auxiliary_hidden": size,
        "auxiliary_weight": st.floats(0, 1000),
        "fully_convolutional": st.booleans(),
        "one_hot_encoding": st.booleans(),
        "sigmoid": st.booleans(),
        "train_pairs": st.integers(50, 550),
        "test_pairs": st.integers(1, 348),
        "epochs": st.integers(1, 100_000),
        "batch_size": st.integers(1, 50),
        "learning_rate": st.floats(1e-12, 1000),
        "momentum": st.floats(0, 0.9999) if optimizer == "sgd" else st.just(0.0),
        "seed": st.integers(0, 2**32 - 1),
        "train_digits": st.integers(2, 100),
    }
    fits = {name: each for name, each in values.items() if name in READ[architecture] or not SETTINGS[name].optional}
    said = draw(st.fixed_dictionaries({}, optional=fits))
    if not by_name:
        return Experiment(architecture=architecture, dataset=dataset, optimizer=optimizer, **said)
    said["stopped"] = draw(st.sampled_from(["", "extract", "compare.1"]))
    if said.get("sigmoid", True):
        said["sigmoids"] = draw(st.sampled_from(["", "none", "answer"]))
    if said.get("epochs", 100) > 9 and draw(st.booleans()):
        said["first_epochs"] = draw(st.integers(1, 9))
        said["first"] = draw(st.sampled_from(["answer", "auxiliary"] if "AUX" in architecture else ["answer"]))
        said["frozen"] = draw(st.sampled_from(["", "extract", "extract.1+extract.0"]))
    return Experiment(architecture=architecture, dataset=dataset, optimizer=optimizer, **said)


@settings(max_examples=60, deadline=None)
@given(experiments(), st.randoms(use_true_random=False))
def test_parse_and_str_are_inverses(experiment, random):
    words = str(experiment).split()
    random.shuffle(words)
    again = Experiment.parse(" ".join(words))
    assert again == experiment and str(again) == str(experiment)
    assert [getattr(again, name) for name in FIELDS] == [getattr(experiment, name) for name in FIELDS]
    assert not differences(again, experiment)


@settings(max_examples=40, deadline=None)
@given(experiments(), experiments())
def test_equality_and_hash_are_those_of_the_key(one, other):
    assert (one == other) == (one.key == other.key) == (not differences(one, other))
    assert one == dataclasses.replace(one) and hash(one) == hash(dataclasses.replace(one)) == hash(one.key)
    assert one != one.key and one != str(one)


def test_an_experiment_cannot_be_changed():
    experiment = Experiment()
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.epochs = 1
    with pytest.raises(TypeError):
        Experiment("SN")  # only by name: the order of the fields is nobody's business
    assert {experiment: 1}[Experiment()] == 1


def test_the_key_of_the_default_experiment_never_changes():
    # A changed literal means that every result ever stored is lost: raise PROTOCOL only when the numbers change.
    assert Experiment().key == "9eda340a44f0fdef"
    assert Experiment.parse("CAUX momentum=0.9").key == "c83d6e874c528f66"


def test_the_configuration_is_every_field_and_the_protocol_but_not_the_number_of_trials():
    """A field that came later is left out at its neutral value: no key of a stored result changes."""
    always = {name for name in FIELDS if SETTINGS[name].neutral is ALWAYS}
    assert set(FIELDS) - always == {*BY_NAME, "first_epochs", "train_digits", *DIAL, *SIDE}
    assert set(Experiment().configuration) == {*always, "protocol"}
    read = {name: value for name, value in OTHER.items() if name not in (*DIAL, *SIDE)}
    every = Experiment(**{**read, "architecture": HEADS, "dataset": "mnist", "sigmoid": True, "momentum": 0})
    assert set(every.configuration) == {*read, "protocol", "source"}
    for name, own in (("DIAL", DIAL), ("SIDE", SIDE)):
        assert set(own) <= set(Experiment(architecture=name, **{each: OTHER[each] for each in own}).configuration)
    assert "trials" not in every.configuration


def test_every_field_is_in_the_key():
    assert set(OTHER) == set(FIELDS)
    without = {name: {**BASE, **NEEDS.get(name, {})} for name in FIELDS}
    before = {name: Experiment(**settings).key for name, settings in without.items()}
    after = {name: Experiment(**{**settings, name: OTHER[name]}).key for name, settings in without.items()}
    assert len({*before.values(), *after.values()}) == len(FIELDS) + 5, (
        "five bases: CAUX, Heads, CAUX in phases, DIAL, SIDE"
    )


def test_another_protocol_is_another_key():
    configuration = Experiment().configuration
    assert configuration["protocol"] == PROTOCOL
    assert Experiment().key == store.key(configuration) != store.key({**configuration, "protocol": PROTOCOL + 1})


def published_files():
    """The published files of each experiment, by folder."""
    return [list(files) for _, files in groupby(Store(PUBLISHED).files(), lambda file: file.parent)]


def assert_published(files):
    for file in files:
        record = store.read(file)
        kept = record["configuration"]
        experiment = Experiment(**{name: kept.get(name, known.neutral) for name, known in SETTINGS.items()})
        assert experiment.configuration == record["configuration"]
        assert file.parent.name == f"{experiment.architecture}-{experiment.key}"
        again = Experiment.parse(str(experiment))
        assert Store(PUBLISHED).find(again.configuration, range(record["trials"][0], record["trials"][-1] + 1)) == file


def test_every_published_experiment_is_read_and_is_found_under_its_words():
    """A file of each."""
    every = published_files()
    assert len(every) == 20
    assert_published(files[i % len(files)] for i, files in enumerate(every))


@pytest.mark.slow
def test_every_published_file_is_read_and_is_found_under_its_words():
    every = [file for files in published_files() for file in files]
    assert len(every) == 120
    assert_published(every)


LATER = """
import sys
from pathlib import Path
from lib import Experiment, Store, store
from lib.experiment import SETTINGS

held = Store(sys.argv[1])
files = {file.parent: file for file in held.files()}
for file in files.values():
    record = store.read(file)
    experiment = Experiment(**{n: record["configuration"].get(n, known.neutral) for n, known in SETTINGS.items()})
    assert experiment.weight_decay == 0.0
    assert file.parent.name == f"{experiment.architecture}-{experiment.key}", experiment
    again = Experiment.parse(str(experiment))
    assert held.find(again.configuration, range(record["trials"][0], record["trials"][-1] + 1)) == file
other = Experiment.parse("CAUX momentum=0.9 weight_decay=0.1")
print(len(files), other, Experiment.parse("CAUX momentum=0.9").key, other.configuration["weight_decay"])
assert other.key not in {file.parent.name.partition("-")[2] for file in files.values()}
"""


def test_a_setting_that_is_added_later_leaves_every_published_result_where_it_is(tmp_path):
    """One line, in a copy of lib: its neutral value is left out of the key, any other one is in it."""
    copy = shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    source = (copy / "experiment.py").read_text()
    place = re.search(r"^    momentum: float = .*\n", source, re.M).end()
    line = '    weight_decay: float = setting(0.0, WE, limits=(0, 1), since="1.1", neutral=0.0)\n'
    (copy / "experiment.py").write_text(source[:place] + line + source[place:])
    command = [sys.executable, "-c", LATER, PUBLISHED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "20 CAUX momentum=0.9 weight_decay=0.1 c83d6e874c528f66 0.1\n"


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({}, {"train_pairs": 1000, "test_pairs": 1000}),
        ({"dataset": "digits"}, {"dataset": "digits", "train_pairs": 500, "test_pairs": 300}),
        ({"learning_rate": 1}, {"learning_rate": 1.0}),
        ({"learning_rate": 0.5}, {"learning_rate": np.float32(0.5)}),
        ({"learning_rate": 0.5}, {"learning_rate": fractions.Fraction(1, 2)}),
        ({"epochs": 7}, {"epochs": np.int64(7)}),
        ({"sigmoid": False}, {"sigmoid": np.bool_(False)}),
        ({"architecture": "SN"}, {"architecture": np.str_("SN")}),
        ({"momentum": 0}, {"momentum": -0.0}),
    ],
)
def test_equal_experiments_have_the_same_key(one, same):
    a, b = Experiment(**one), Experiment(**same)
    assert a == b and hash(a) == hash(b) and a.key == b.key
    assert store.canonical(a.configuration) == store.canonical(b.configuration)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "WSN"),
        ({"architecture": "CAUX", "fully_convolutional": True}, "fully convolutional CAUX"),
        ({"one_hot_encoding": False, "fully_convolutional": True}, "fully convolutional WSN without one-hot labels"),
        ({"architecture": "lib.architectures:SAUX"}, "SAUX"),
    ],
)
def test_the_name_says_what_the_legends_need(parameters, name):
    assert Experiment(**parameters).name == name


def test_the_shape_follows_the_fields():
    shape = Experiment.parse("CAUX channels=3-5 hidden=7-9-11 auxiliary_hidden=13 sigmoid=False").sizes(4)
    assert dataclasses.astuple(shape) == (4, (3, 5), (7, 9, 11), 13, True, False, None, 1.0, 0, 128, 0.0, 0.0)
    assert Experiment.parse("CAUX sigmoids=answer").sizes(1).sigmoids == ("answer",)
    shape = Experiment(one_hot_encoding=False).sizes(1)
    assert (shape.trials, shape.one_hot, shape.sigmoid) == (1, False, True)


@pytest.mark.parametrize(
    ("said", "called"),
    [
        (["SN", "WSN momentum=0.9"], ["SN", "WSN"]),
        (["SN", "SN", "WSN"], ["SN", "WSN"]),
        (["SN", "SN momentum=0.9", "WSN"], ["SN", "SN momentum=0.9", "WSN"]),
        (["WSN seed=1", "WSN seed=2"], ["WSN seed=1", "WSN seed=2"]),
    ],
)
def test_messages_call_two_experiments_by_two_names(said, called):
    experiments = [Experiment.parse(each) for each in said]
    assert list(told_apart(experiments).values()) == called


def test_what_messages_call_an_experiment_is_short_and_still_its_own():
    layers = "-".join(["9999"] * 9)
    long = f"CAUX hidden={layers}-{{}} channels=1111-2222 train_pairs=999 test_pairs=998 batch_size=33"
    experiments = [Experiment.parse(long.format(last)) for last in (1, 2)]
    called = told_apart(experiments)
    assert len(set(called.values())) == 2
    for experiment in experiments:
        assert len(called[experiment]) <= LONGEST and experiment.key in called[experiment]
