import re
import subprocess
import sys

import pytest

from lib import Experiment
from lib.experiment import SETTINGS
from lib.machine import ROOT
from report import study
from report.comparison import Comparison


def test_every_setting_that_does_something_says_who_chose_it():
    rows = study.hyperparameters(Experiment())
    assert [name for name, *_ in rows] == [name for name, known in SETTINGS.items() if known.neutral != known.default]
    assert {"architecture", "hidden", "train_pairs", "seed"} <= {name for name, *_ in rows}
    more = study.hyperparameters(Experiment.parse("CAUX train_digits=100 auxiliary_weights=auxiliary:0.5"))
    assert ("train_digits", "100", "we", "distinct digits behind the training pairs") in more
    assert ("auxiliary_weight", "0.5", "we", SETTINGS["auxiliary_weight"].remark) in more, "one weight for all"
    assert all(source for _, _, source, _ in rows)
    assert ("learning_rate", "0.01", "the original", "section 1.3") in rows
    assert ("sigmoid", "yes", "the original", "section 1.2: output activation; ReLU inside") in rows


def test_the_study_is_16_forms_and_a_second_reading_of_the_four_standard_ones():
    forms = {(e.architecture, e.fully_convolutional, e.one_hot_encoding) for e in study.EXPERIMENTS if not e.momentum}
    assert len(forms) == 16
    assert [e.architecture for e in study.EXPERIMENTS if e.momentum == 0.9] == ["SN", "WSN", "SAUX", "CAUX"]
    assert len({e.key for e in study.EXPERIMENTS}) == len(study.EXPERIMENTS) == 20


def test_every_comparison_is_between_two_experiments_of_the_study():
    for comparison in study.COMPARISONS:
        assert {comparison.a, comparison.b} <= set(study.EXPERIMENTS)
        assert Comparison.of(**comparison.parameters()) == comparison


def test_each_figure_differs_in_what_its_chapter_is_about():
    found = {chapter: {each.differing for each in several} for chapter, several in study.CHAPTERS.items()}
    network, labels, form = ("architecture",), ("one_hot_encoding",), ("fully_convolutional",)
    assert list(found.values()) == [{network}, {network}, {labels}, {network}, {form}]


def test_figure_numbers_are_unique_and_make_labels():
    labels = [comparison.label for comparison in study.COMPARISONS]
    assert len(set(labels)) == len(labels) == 17
    assert "6a-momentum" in labels
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", label) for label in labels)


def test_chapters_need_the_results_of_all_their_comparisons():
    assert list(study.chapters(study.EXPERIMENTS)) == list(study.CHAPTERS)
    assert list(study.chapters(study.STANDARD)) == list(study.CHAPTERS)[:2]
    assert study.chapters(study.STANDARD[1:]) == dict([list(study.CHAPTERS.items())[1]])  # without SN, plain SGD


def test_settings_are_laid_over_the_comparisons_too():
    small = [e.changed("dataset=digits epochs=20") for e in study.STANDARD]
    assert study.chapters(small) == {}
    chapters = study.chapters(small, "dataset=digits epochs=20")
    assert list(chapters) == list(study.CHAPTERS)[:2]
    first = next(iter(chapters.values()))[0]
    assert first.parameters() == {"number": "6a", "a": "SN", "b": "WSN", "both": "dataset=digits epochs=20"}


def test_the_study_is_asked_for_with_settings_that_all_of_it_shares():
    assert study.asked("") == study.EXPERIMENTS and study.asked("", forms=False) == study.STANDARD
    small = study.asked("dataset=digits epochs=20", forms=False)
    assert len(set(small)) == 8 and {(e.dataset, e.epochs) for e in small} == {("digits", 20)}


@pytest.mark.parametrize(
    ("settings", "forms", "message"),
    [
        (
            "momentum=0.5",
            False,
            r"^settings is 'momentum=0.5', which says momentum; .*not architecture, momentum",
        ),
        (
            "optimizer=adam momentum=0",
            True,
            r"which says momentum; allowed: .*, fully_convolutional$",
        ),
        ("report.peers:SharedLeNet", True, r"which says architecture; allowed: "),
        ("one_hot_encoding=true", True, r"which says one_hot_encoding; allowed: "),
        ("fully_convolutional=true", False, r"which says fully_convolutional; allowed: "),
        ("one_hot_encoding=no momentum=0", True, r"says one_hot_encoding and momentum; allowed: .*convolutional$"),
        ("hidden=0", False, r"^hidden is '0'; allowed: sizes joined by hyphens"),
    ],
)
def test_settings_that_leave_nothing_to_compare_are_refused(settings, forms, message):
    with pytest.raises(ValueError, match=message):
        study.asked(settings, forms)


@pytest.mark.parametrize(
    ("said", "words"),
    [("", "plain SGD"), ("momentum=0.9", "SGD with momentum 0.9"), ("optimizer=adam", "Adam")],
)
def test_a_reading_has_a_name(said, words):
    assert study.reading(Experiment.parse(said)) == words


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.slow  # a process that imports everything
def test_a_fifth_architecture_in_the_registry_breaks_nothing():
    """In a process of its own, where it is registered before anything else is imported."""
    script = """
from lib.registry import ARCHITECTURES
ARCHITECTURES["FIFTH"] = "lib.architectures:WSN"
import importlib, pkgutil
import lib, report
for package in (lib, report):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from lib import Experiment
from report import build, study
assert Experiment.parse("FIFTH momentum=0.9") not in study.EXPERIMENTS
print(len(study.EXPERIMENTS), len(build.contents(study.EXPERIMENTS)))
"""
    assert run(script) == ["20", "27"]  # 17 comparisons and 10 other notebooks


def test_reading_results_takes_no_torch():
    script = """
import sys
from report import claims, comparison, provenance, statistics, study
from report.pictures import curves
study.chapters(e.changed("dataset=digits epochs=20") for e in study.EXPERIMENTS)
provenance.here()
print("torch" in sys.modules)
"""
    assert run(script) == ["False"]
