"""What a comparison is called, how it is repeated, and what notebook 3 says of it."""

import dataclasses
import json
import shlex
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import papermill
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st
from papermill.cli import papermill as papermill_command

from lib import Experiment, Store
from lib.analysis import default_store
from lib.machine import ROOT
from report import comparison, statistics
from report.comparison import Comparison
from report.press.parameters import assigned
from tests.report.test_claims import result
from tests.report.test_publish import store_result

# Names


@pytest.mark.parametrize(
    ("a", "b", "both", "names", "title"),
    [
        ("SN", "WSN", "", ("SN", "WSN"), "WSN against SN"),
        ("SN", "WSN", "momentum=0.9", ("SN", "WSN"), "WSN against SN, momentum 0.9"),
        ("WSN", "WSN momentum=0.9", "", ("WSN", "WSN, momentum 0.9"), "WSN, momentum 0.9, against WSN"),
        ("momentum=0.5", "momentum=0.9", "CAUX", ("CAUX, momentum 0.5", "CAUX, momentum 0.9"), None),
        ("optimizer=adam", "", "WSN", ("WSN, Adam", "WSN"), "WSN against WSN, Adam"),
        (
            "SN",
            "one_hot_encoding=no SN",
            "",
            ("SN", "SN without one-hot labels"),
            "SN without one-hot labels against SN",
        ),
        (
            *("SN", "WSN", "one_hot_encoding=no epochs=30"),
            ("SN without one-hot labels", "WSN without one-hot labels"),
            "WSN against SN without one-hot labels, 30 epochs",
        ),
        (
            *("SN", "SN fully_convolutional=true", ""),
            ("SN", "fully convolutional SN"),
            "Fully convolutional SN against SN",
        ),
        ("SN", "CAUX auxiliary_weight=1", "", ("SN", "CAUX, auxiliary weight 1.0"), None),
        ("WSN", "WSN dataset=digits", "", ("WSN", "WSN, data set digits"), None),
    ],
)
def test_names_tell_the_sides_apart_and_say_what_is_shared_once(a, b, both, names, title):
    compared = Comparison.of("1", a, b, both)
    assert compared.names == names
    assert title in (None, compared.title)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module whose classes, of the given names, are small plain networks, each another one."""

    def write(name, *classes):
        source = "from torch import nn\n\n\n"
        for each in classes:
            source += f"class {each}(nn.Sequential):\n    def __init__(self):\n"
            source += f"        super().__init__(nn.Flatten(), nn.Linear(392, 2))  # {name}\n\n\n"
        (tmp_path / f"{name}.py").write_text(source)

    monkeypatch.syspath_prepend(tmp_path)
    return write


def test_two_classes_of_one_name_are_told_apart_by_their_modules(module):
    module("ours_of_test", "WSN")
    module("theirs_of_test", "WSN")
    ours, theirs = "ours_of_test:WSN", "theirs_of_test:WSN"
    assert Comparison.of("1", ours, theirs).names == (ours, theirs)
    assert Comparison.of("1", ours, theirs).title == "theirs_of_test:WSN against ours_of_test:WSN"
    assert Comparison.of("1", "WSN", f"{ours} momentum=0.9").names == ("WSN", f"{ours}, momentum 0.9")
    assert Comparison.of("1", ours, "SN").names == ("WSN", "SN")
    assert Comparison.of("1", "SN fully_convolutional=true", ours).names == ("fully convolutional SN", "WSN")


@pytest.mark.parametrize("name", ["labels", "hot", "_Mine", "fully", "encoding", "e", "one"])
def test_a_class_may_be_called_as_any_word_is(name, module):
    """Also as one that stands in the names of experiments."""
    module(f"one_{name}", name)
    module(f"two_{name}", name)
    one, two = f"one_{name}:{name}", f"two_{name}:{name}"
    compared = Comparison.of("1", one, two, "one_hot_encoding=false")
    assert compared.names == (f"{one} without one-hot labels", f"{two} without one-hot labels")
    assert compared.title == f"{two} against {one} without one-hot labels"
    assert Comparison.of("1", "CAUX", one).title == f"{name} against CAUX"


def test_stacks_of_one_name_are_told_apart_in_both_forms(tmp_path, monkeypatch):
    for module in ("stack_of_test", "other_stack_of_test"):
        source = "from lib import architectures\n\n\nclass fully(architectures.WSN):\n    pass\n"
        (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    compared = Comparison.of("1", "stack_of_test:fully", "other_stack_of_test:fully", "fully_convolutional=true")
    assert compared.names == (
        "fully convolutional stack_of_test:fully",
        "fully convolutional other_stack_of_test:fully",
    )
    assert compared.title.startswith("Fully convolutional other_stack_of_test:fully against fully convolutional stack")


# Words


SETTINGS = {
    "architecture": st.sampled_from(["SN", "WSN", "SAUX", "CAUX"]),
    "fully_convolutional": st.booleans(),
    "one_hot_encoding": st.booleans(),
    "hidden": st.sampled_from(["64-64-32", "32", "128-16"]),
    "dataset": st.sampled_from(["mnist", "digits"]),
    "train_pairs": st.sampled_from([None, 60, 500]),
    "epochs": st.integers(1, 200),
    "learning_rate": st.floats(1e-6, 10),
    "momentum": st.floats(0, 0.9999),
}
EXPERIMENTS = st.fixed_dictionaries({}, optional=SETTINGS).map(lambda said: Experiment(**said))


@given(EXPERIMENTS, EXPERIMENTS, st.sampled_from(["6a", "6a, momentum", "S-SAUX", "7"]))
def test_any_two_experiments_have_names_parameters_and_a_command_that_say_them(a, b, number):
    assume(a != b)
    compared = Comparison(number, a, b)
    assert len(set(compared.names)) == 2
    parameters = compared.parameters()
    assert Comparison.of(**parameters) == compared
    assert not set(parameters["both"].split()) & {*parameters["a"].split(), *parameters["b"].split()}
    words = shlex.split(compared.command(25))
    passed = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word in ("-p", "-r")}
    assert passed == {name: value for name, value in {**parameters, "trials": "25"}.items() if value}


def test_the_command_is_exact():
    compared = Comparison.of("6a, momentum", "SN", "WSN", "momentum=0.9")
    assert compared.command(150) == (
        ".venv/bin/papermill notebooks/3-comparison.ipynb out.ipynb -k python3 "
        "-p number '6a, momentum' -p a SN -p b WSN -p both momentum=0.9 -p trials 150"
    )
    assert (ROOT / comparison.NOTEBOOK).is_file()


def test_the_notebook_has_these_five_parameters():
    known = papermill.inspect_notebook(ROOT / comparison.NOTEBOOK)
    assert set(known) == {"number", "a", "b", "both", "trials"}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_papermill_sees_every_parameter(path):
    """It overlooks a line with a second "=", in its value or its comment."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    declared = next("".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", []))
    assert list(papermill.inspect_notebook(path)) == assigned(declared)


@pytest.mark.parametrize(
    ("number", "label"), [("6a, momentum", "6a-momentum"), ("7", "7"), ("7.50", "7-50"), ("S-SAUX", "s-saux")]
)
def test_a_number_makes_a_label(number, label):
    assert Comparison.of(number, "SN", "WSN").label == label


@pytest.mark.parametrize("number", ["7", "1e3", "7.50", "007", "6a, momentum", "nan", "None"])
def test_the_command_says_what_papermill_reads(number, tmp_path):
    compared = Comparison.of(number, "SN", "WSN", "momentum=0.9")
    _, notebook, _, *options = shlex.split(compared.command(25))
    out = tmp_path / "out.ipynb"
    done = CliRunner().invoke(papermill_command, [str(ROOT / notebook), str(out), "--prepare-only", *options])
    assert done.exit_code == 0, done.output
    passed = json.loads(out.read_text(encoding="utf-8"))["metadata"]["papermill"]["parameters"]
    assert passed == {**compared.parameters(), "trials": 25}


def test_settings_are_laid_over_both_sides():
    compared = Comparison.of("1", "SN", "WSN", "momentum=0.9").changed("dataset=digits momentum=0.5")
    assert compared == Comparison.of("1", "SN", "WSN", "dataset=digits momentum=0.5")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("1", "SN momentum=0.9", "WSN", "momentum=0.9"), ValueError, "momentum is said twice"),
        (("1", "SN", "WSN", "CAUX"), ValueError, "architecture is said twice"),
        (("1", "WSN", "WSN"), ValueError, "a and b are both WSN; a comparison needs a setting in which they differ"),
        (("1", "SN", "WNS"), ValueError, r"architecture is 'WNS'; .* \(did you mean 'WSN'\?\)"),
        (("1", "SN", "WSN epoch=3"), TypeError, r"'epoch' \(did you mean 'epochs'\?\)"),
        (("1", 5, "WSN"), TypeError, "in words such as 'CAUX momentum=0.9'; got 5"),
        (("1", "SN", "WSN epochs=0"), ValueError, r"epochs is 0; allowed: 1 to 100,000 \(b is 'WSN epochs=0'\)$"),
        (("1", "SN", "WSN", "epochs=0"), ValueError, r"epochs is 0; .* \(a is 'SN', both is 'epochs=0'\)$"),
        (("1", "lib.tasks:Task", "WSN"), ValueError, "architecture is 'lib.tasks:Task', which is neither"),
        (("?", "SN", "WSN"), ValueError, r"number is '\?'; allowed: what a figure can be called"),
        (("", "SN", "WSN"), ValueError, "number is ''; allowed: a text that is not empty"),
        (("6a\n# more", "SN", "WSN"), ValueError, r"number is '6a\\n# more'; allowed: what a figure can be called"),
        (("../6a", "SN", "WSN"), ValueError, r"number is '\.\./6a'; allowed: what a figure can be called"),
        (("6" * 41, "SN", "WSN"), ValueError, r"number is '6+\.\.\.6+'; allowed: .* in up to 40 letters"),
        ((7, "SN", "WSN"), TypeError, r"number is 7 \(int\); allowed: a text .* -r number 7\)$"),
        ((None, "SN", "WSN"), TypeError, r"number is None; allowed: a text"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        Comparison.of(*arguments)


# Results

SMALL = "epochs=2 train_pairs=50 test_pairs=10"


def test_results_come_from_the_store_that_is_given(tmp_path):
    compared, held = Comparison.of("1", "SN", "WSN", SMALL), Store(tmp_path)
    counts = np.array([[5, 6], [5, 7], [5, 8]])
    store_result(held, compared.a, counts)
    store_result(held, compared.b, counts + 1)
    a, b = compared.results(3, held)
    assert (a.experiment, b.experiment) == (compared.a, compared.b)
    assert (comparison.trial_differences(a, b) == 10).all()
    assert f"{comparison.last_difference(a, b)}" == "+10.00 points (95 % interval +10.00 to +10.00)"
    assert compared.among([b, a]) == (a, b)
    with pytest.raises(KeyError):
        compared.among([a])


EPOCHS = 100


def made(accuracy, epochs=EPOCHS, **changes):
    return result("SN", np.full(epochs, accuracy), seed=1, **changes)


def test_only_those_that_should_have_seen_the_same_pairs_must_have():
    a, b = made(75.0), made(80.0, pairs=["other"] * 120, one_hot_encoding=False)
    with pytest.raises(ValueError, match="different pairs"):
        comparison.last_difference(a, b)
    reseeded = dataclasses.replace(b, experiment=b.experiment.changed("seed=1"))
    assert not Comparison("1", a.experiment, reseeded.experiment).same_pairs
    assert comparison.trial_differences(a, reseeded).shape == (120, EPOCHS)
    shorter = made(80.0, epochs=30)
    assert comparison.trial_differences(a, shorter).shape == (120, 30)
    assert comparison.last_difference(a, shorter).n == 120


def test_a_result_is_written_as_mean_and_sd():
    assert comparison.plus_minus(made(75.0, noise=0)) == "75.0 ± 0.0 %"
    assert comparison.plus_minus(made(75.0, noise=0, trials=1)) == "75.0 %"


# What the notebook says


def said(a, b):
    """What notebook 3 says of two results: its cells behind the figure, run on them."""
    nb = json.loads((ROOT / comparison.NOTEBOOK).read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in nb["cells"]]
    first = next(i for i, source in enumerate(sources) if "finding = " in source)
    texts = []
    names = {
        "comparison": comparison,
        "statistics": statistics,
        "display": SimpleNamespace(say=texts.append, escape=str),
        "trials": a.trials,
        "compared": Comparison("1", a.experiment, b.experiment),
        "result_a": a,
        "result_b": b,
        "apart": comparison.trial_differences(a, b),
        "difference": comparison.last_difference(a, b),
    }
    exec("\n".join(sources[first : first + 2]), names)
    return texts.pop()


def test_a_difference_is_told_by_its_interval():
    text = said(made(75.0), made(80.0, one_hot_encoding=False))
    assert text.startswith(f"After the last epoch SN reaches {comparison.plus_minus(made(75.0))} and SN without")
    assert "SN without one-hot labels differs from SN by +5.00 points (95 % interval +5.00 to +5.00)" in text
    assert text.endswith("The interval does not contain 0: SN without one-hot labels is the better one.")
    other = result("WSN", np.full(EPOCHS, 75.0), seed=2)
    assert said(made(75.0), other).endswith("The interval contains 0: which of the two is better stays open.")


def test_few_trials_get_a_direction():
    text = said(made(75.0, trials=5), made(80.0, trials=5, momentum=0.9))
    assert "SN, momentum 0.9 differs from SN by +5.00" in text
    assert text.endswith("5 trials are too few for a verdict, which takes 100: the mean of SN, momentum 0.9 is higher.")


def test_equal_results_are_called_equal():
    text = said(made(75.0), made(75.0, fully_convolutional=True))
    assert "fully convolutional SN differs from SN by +0.00 points" in text
    assert text.endswith("They are equal after every epoch.")
    longer = made(75.0, epochs=2 * EPOCHS)
    shorter = dataclasses.replace(made(75.0), records=({**longer.records[0], "test_correct": first_half(longer)},))
    assert not comparison.trial_differences(shorter, longer).any()  # at the epochs that both have
    assert not said(shorter, longer).endswith("They are equal after every epoch.")


def first_half(longer):
    return [trial[:EPOCHS] for trial in longer.records[0]["test_correct"]]


def drawn(**parameters):
    """The figure of notebook 3 with its caption, its alternative text and what is said, from what is stored."""
    nb = json.loads((ROOT / comparison.NOTEBOOK).read_text(encoding="utf-8"))
    parameters_cell, checks, first, *others, _ = ["".join(c["source"]) for c in nb["cells"] if c["cell_type"] == "code"]
    shown = SimpleNamespace(said=[])
    names = {}
    exec(parameters_cell, names)
    names |= parameters
    exec("\n".join([checks, first]), names)
    names["display"] = SimpleNamespace(
        say=shown.said.append, escape=str, show_figure=lambda fig, **more: shown.__dict__.update(fig=fig, **more)
    )
    exec("\n".join(others), names)
    plt.close(shown.fig)
    return shown


@pytest.mark.parametrize(
    ("a", "b", "both", "names"),
    [
        ("net_v1:Mine", "net_v2:Mine", "", ("net_v1:Mine", "net_v2:Mine")),
        (
            "net_v1:Mine",
            "net_v1:Mine",
            "one_hot_encoding=no",
            None,
        ),
        (
            "net_v1:Mine learning_rate=0.1",
            "net_v2:Mine",
            "",
            ("net_v1:Mine, learning rate 0.1", "net_v2:Mine"),
        ),
        (
            "WSN",
            "report.peers:SharedLeNet",
            "",
            ("WSN", "SharedLeNet"),
        ),
        ("net_v1:_Mine", "net_v1:_", "", ("_Mine", "_")),
        (
            "report.peers:SharedLeNet auxiliary_weight=2",
            "report.peers:SharedLeNet auxiliary_weight=0",
            "",
            ("SharedLeNet, auxiliary weight 2.0", "SharedLeNet, auxiliary weight 0.0"),
        ),
    ],
)
def test_two_networks_are_two_curves_whatever_they_are_called(a, b, both, names, module):
    module("net_v1", "Mine", "_Mine", "_")
    module("net_v2", "Mine")
    if names is None:
        with pytest.raises(ValueError, match=f"a and b are both {a} one_hot_encoding=False; a comparison needs"):
            drawn(a=a, b=b, both=both)
        return
    compared = Comparison.of("6a", a, b, f"{SMALL} {both}")
    counts = np.array([[5, 6], [5, 7], [5, 8]])
    store_result(default_store(), compared.a, counts)
    store_result(default_store(), compared.b, counts + 1)
    shown = drawn(a=a, b=b, both=f"{SMALL} {both}", trials=3)
    first, second = names
    above = shown.fig.axes[0]
    assert [text.get_text() for text in above.get_legend().get_texts()] == [f"{first} (n = 3)", f"{second} (n = 3)"]
    curves = [line.get_ydata().tolist() for line in above.get_lines()[:2]]
    assert curves == [[50, 70], [60, 80]]
    assert f"{first} goes from 50.0 to 70.0 percent, {second} from 60.0 to 80.0" in shown.alt
    heading, sentence = shown.said
    assert heading.startswith(f"## {compared.title} ") and compared.title.startswith(second)
    assert f"{second} differs from {first} by +10.00 points" in sentence
