"""Whatever is given as a parameter either makes a valid experiment or is refused in one sentence that names it."""

import dataclasses
import fractions
import hashlib
import json
import math
import re
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib import store
from lib.experiment import Experiment

FIELDS = [field.name for field in dataclasses.fields(Experiment)]
INTS = ("auxiliary_hidden", "train_pairs", "test_pairs", "epochs", "batch_size", "seed")
FLOATS = ("auxiliary_weight", "learning_rate", "momentum")
BOOLS = ("fully_convolutional", "one_hot_encoding", "sigmoid")
STRINGS = ("architecture", "channels", "hidden", "dataset", "optimizer")
HUGE = 10**5000
HTML = "<img src=x onerror=alert(1)>"
CODE = "__import__('os').remove('x')"

# For each field another valid value than the default.
OTHER = {
    "architecture": "SN",
    "fully_convolutional": True,
    "one_hot_encoding": False,
    "sigmoid": False,
    "channels": "8-16",
    "hidden": "64-64",
    "auxiliary_hidden": 65,
    "auxiliary_weight": 0.5,
    "dataset": "digits",
    "train_pairs": 999,
    "test_pairs": 999,
    "epochs": 99,
    "batch_size": 49,
    "optimizer": "adam",
    "learning_rate": 0.02,
    "momentum": 0.9,
    "seed": 2023,
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
    **{f"zero {name}": (name, 0, ValueError, "0; allowed: 1 to") for name in INTS if name != "seed"},
    **{f"huge {name}": (name, HUGE, ValueError, "; allowed: ") for name in (*INTS, *FLOATS)},
    **{f"huge for {name}": (name, HUGE, TypeError, "(int); allowed: ") for name in (*BOOLS, *STRINGS)},
    **{f"empty {name}": (name, "", ValueError, "''; allowed: ") for name in STRINGS},
    **{f"HTML in {name}": (name, HTML, ValueError, "<img") for name in STRINGS},
    **{f"code in {name}": (name, CODE, ValueError, "__import") for name in STRINGS},
    **{f"HTML for {name}": (name, HTML, TypeError, "a number" if name in FLOATS else "") for name in (*INTS, *FLOATS)},
    "zero learning_rate": ("learning_rate", 0.0, ValueError, "0.0; allowed: 1e-12 to 1,000"),
    "momentum of 1": ("momentum", 1.0, ValueError, "1.0; allowed: 0 to 0.9999"),
    "seed of 33 bits": ("seed", 2**32, ValueError, "4294967296; allowed: 0 to 4,294,967,295"),
    "architecture in lower case": ("architecture", "wsn", ValueError, "did you mean 'WSN'?"),
    "near-miss architecture": ("architecture", "SAUKS", ValueError, "did you mean 'SAUX'?"),
    "unlike any architecture": ("architecture", "ResNet-152", ValueError, "'SN', 'WSN', 'SAUX', 'CAUX', or module:"),
    "near-miss optimizer": ("optimizer", "Adams", ValueError, "'sgd', 'adam' (did you mean 'adam'?)"),
    "near-miss dataset": ("dataset", "MNST", ValueError, "did you mean 'mnist'?"),
    "missing module": ("architecture", "no_such_module:Net", ValueError, "No module named 'no_such_module'"),
    "missing class": ("architecture", "lib.architectures:Net", ValueError, "has no attribute 'Net'"),
    "no class": ("architecture", "lib.architectures:find", ValueError, "not a subclass of lib.architectures.Network"),
    "other class": ("architecture", "lib.architectures:Sizes", ValueError, "not a subclass"),
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
        ("learning rate", "learning_rate"),
        ("Epochs", "epochs"),
        ("onehot_encoding", "one_hot_encoding"),
        ("batchsize", "batch_size"),
        ("optimiser", "optimizer"),
        ("seeds", "seed"),
    ],
)
def test_a_misspelt_parameter_is_named_with_the_one_that_was_meant(name, meant):
    with pytest.raises(TypeError, match=f"there is no parameter '{name}' \\(did you mean '{meant}'\\?\\); known: "):
        Experiment.from_parameters(**{name: 1})


@pytest.mark.parametrize("name", ["", "trials", "1", HTML, CODE, "né", "a b c", "__class__", "zzzz"])
def test_a_parameter_that_does_not_exist_is_refused_whatever_its_name(name):
    with pytest.raises(TypeError, match="there is no parameter") as caught:
        Experiment.from_parameters(**{name: 1})
    assert repr(name) in str(caught.value) and "learning_rate" in str(caught.value)


def test_known_parameters_make_the_same_experiment_by_either_way():
    parameters = OTHER | {"momentum": 0, "train_pairs": 99, "test_pairs": 99}
    assert Experiment.from_parameters(**parameters) == Experiment(**parameters)


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
}
EXACT = (
    dict.fromkeys(INTS, int) | dict.fromkeys(FLOATS, float) | dict.fromkeys(BOOLS, bool) | dict.fromkeys(STRINGS, str)
)


@settings(max_examples=150, deadline=None)
@example({"momentum": -0.0})
@example({"auxiliary_weight": -0.0})
@example({"learning_rate": fractions.Fraction(1, 3)})
@given(st.fixed_dictionaries({}, optional={name: fine_or_weird(fine) for name, fine in FINE.items()}))
def test_random_parameters_make_a_valid_experiment_or_are_refused_by_name(parameters):
    try:
        experiment = Experiment.from_parameters(**parameters)
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


def test_the_configuration_is_every_field_and_the_protocol_but_not_the_number_of_trials():
    assert set(Experiment().configuration) == {*FIELDS, "protocol"}
    assert "trials" not in Experiment().configuration


def test_every_field_is_in_the_key():
    assert set(OTHER) == set(FIELDS)
    keys = {Experiment(**{name: value}).key for name, value in OTHER.items()}
    assert len(keys | {Experiment().key}) == len(FIELDS) + 1


def test_another_protocol_is_another_key(monkeypatch):
    before = Experiment().key
    monkeypatch.setattr("lib.experiment.PROTOCOL", 10**6)
    assert Experiment().key != before


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
    shape = Experiment(channels="3-5", hidden="7-9-11", auxiliary_hidden=13, sigmoid=False).sizes(4)
    assert dataclasses.astuple(shape) == (4, (3, 5), (7, 9, 11), 13, 2, 10, False)
    shape = Experiment(one_hot_encoding=False).sizes(1)
    assert (shape.outputs, shape.digit_outputs, shape.sigmoid) == (1, 1, True)


SOURCE = """from lib.architectures import WSN


class Net(WSN):
    pass
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's with an architecture `Net`."""
    path = tmp_path / "an_own_architecture.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop(path.stem, None)


def test_an_own_architecture_has_the_hash_of_its_source_in_the_key_and_a_changed_source_a_new_key(own_module):
    experiment = Experiment(architecture=f"{own_module.stem}:Net")
    assert experiment.configuration["source"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    before = experiment.key
    assert experiment.key == before
    changed = SOURCE + "    answer = 42\n"
    own_module.write_text(changed)
    assert experiment.configuration["source"] == hashlib.sha256(changed.encode()).hexdigest()
    assert experiment.key != before
    own_module.write_text(SOURCE)
    assert experiment.key == before


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 / 0", "division by zero"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("class", "invalid syntax"),
        ("raise SystemExit('a script, not a module')", "a script, not a module"),
    ],
)
def test_an_own_module_that_cannot_be_imported_is_refused_with_its_reason(own_module, line, reason):
    own_module.write_text(line + "\n")
    with pytest.raises(ValueError, match=f"^architecture is '{own_module.stem}:Net', which cannot be .*{reason}"):
        Experiment(architecture=f"{own_module.stem}:Net")
