import dataclasses
import re

import pytest

from lib import Experiment
from report import study


def test_every_setting_says_who_chose_it():
    assert list(study.SOURCES) == [field.name for field in dataclasses.fields(Experiment)]
    rows = study.hyperparameters(Experiment())
    assert ("learning_rate", "0.01", "the original", "section 1.3") in rows
    assert len(rows) == len(study.SOURCES)


def test_the_study_is_16_forms_and_a_second_reading_of_the_four_standard_ones():
    forms = {(e.architecture, e.fully_convolutional, e.one_hot_encoding) for e in study.EXPERIMENTS if not e.momentum}
    assert len(forms) == 16
    assert [e.architecture for e in study.EXPERIMENTS if e.momentum == 0.9] == ["SN", "WSN", "SAUX", "CAUX"]
    assert len({e.key for e in study.EXPERIMENTS}) == len(study.EXPERIMENTS) == 20


def test_every_comparison_is_between_two_experiments_of_the_study():
    defaults = {field.name: field.default for field in dataclasses.fields(Experiment)}
    defaults |= {f"{name}_{which}": defaults[name] for name in study.DIFFERING for which in "ab"}
    for comparison in (c for chapter in study.CHAPTERS.values() for c in chapter):
        fields = {name: value for name, value in comparison.items() if name != "number"}
        a, b = study.two_experiments({**defaults, **fields})
        assert Experiment(**a) in study.EXPERIMENTS
        assert Experiment(**b) in study.EXPERIMENTS
        assert a != b


def test_figure_numbers_are_unique_and_make_labels():
    numbers = [comparison["number"] for chapter in study.CHAPTERS.values() for comparison in chapter]
    labels = [study.label(number) for number in numbers]
    assert len(set(labels)) == len(numbers) == 17
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", label) for label in labels)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({}, "plain SGD"), ({"momentum": 0.9}, "SGD with momentum 0.9"), ({"optimizer": "adam"}, "Adam")],
)
def test_a_reading_has_a_name(fields, words):
    assert study.reading(Experiment(**fields)) == words
