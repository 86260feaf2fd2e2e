"""What the report is made of: the experiments, the comparisons of its figures, and who chose each setting."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from lib import Experiment
from lib.analysis import is_stored
from lib.architectures import ARCHITECTURES
from lib.datasets import mnist_available

TRIALS = 150  # original report, section 1.3
READINGS = {"plain SGD": 0.0, "SGD with momentum 0.9": 0.9}  # momentum; the original names no optimizer
FORMS = [  # the three other forms, in plain SGD
    {"one_hot_encoding": False},
    {"fully_convolutional": True},
    {"one_hot_encoding": False, "fully_convolutional": True},
]

STANDARD = [Experiment(architecture=name, momentum=m) for m in READINGS.values() for name in ARCHITECTURES]
OTHER_FORMS = [Experiment(architecture=name, **form) for form in FORMS for name in ARCHITECTURES]
EXPERIMENTS = [*STANDARD, *OTHER_FORMS]

DIFFERING = ("architecture", "fully_convolutional", "one_hot_encoding")  # what the comparison notebook has twice

# The figures' comparisons, in the order of the report: the parameters of `3-comparison.ipynb` for each. The original
# has left-over captions under its figures 7 to 9 ("Region R4"), so what they show here is our reading of its sections
# 1.2 and 1.4.
STEPS = {"a": ("SN", "WSN"), "b": ("WSN", "SAUX"), "c": ("SAUX", "CAUX")}
FIGURE_6 = [
    {"number": f"6{letter}{suffix}", "architecture_a": a, "architecture_b": b, "momentum": momentum}
    for suffix, momentum in zip(("", ", momentum"), READINGS.values(), strict=True)
    for letter, (a, b) in STEPS.items()
]
FIGURE_7 = [
    {"number": f"7{letter}", "architecture_a": name, "architecture_b": name, "one_hot_encoding_b": False}
    for letter, name in zip("abcd", ARCHITECTURES, strict=True)
]
FIGURE_8 = [
    {
        "number": f"8{letter}",
        "architecture_a": a,
        "architecture_b": b,
        "one_hot_encoding_a": False,
        "one_hot_encoding_b": False,
    }
    for letter, (a, b) in STEPS.items()
]
FIGURE_9 = [  # the last two are not in the original: the supplement
    {"number": number, "architecture_a": name, "architecture_b": name, "fully_convolutional_b": True}
    for number, name in zip(("9a", "9b", "S-SAUX", "S-CAUX"), ARCHITECTURES, strict=True)
]
CHAPTERS = {
    "The comparisons, plain SGD": FIGURE_6[:3],
    "The comparisons, SGD with momentum 0.9": FIGURE_6[3:],
    "With and without one-hot labels": FIGURE_7,
    "The comparisons without one-hot labels": FIGURE_8,
    "Mixed and fully convolutional": FIGURE_9,
}

# Who says so, and a remark; a test holds that no field of Experiment is missing.
SOURCES = {
    "architecture": ("the original", "section 1.2"),
    "fully_convolutional": ("the original", "section 1.2: off unless said otherwise"),
    "one_hot_encoding": ("the original", "section 1.2: on unless said otherwise"),
    "sigmoid": ("the original", "section 1.2: output activation; ReLU inside"),
    "channels": ("we", "two convolutions, 3 × 3, no padding"),
    "hidden": ("the original", "section 1.2: 64, 64 and 32"),
    "auxiliary_hidden": ("we", "one hidden layer"),
    "auxiliary_weight": ("we", "the original: a fraction smaller than one"),
    "dataset": ("the original", "section 1.1"),
    "train_pairs": ("the assignment", ""),
    "test_pairs": ("the assignment", ""),
    "epochs": ("the original", "section 1.3"),
    "batch_size": ("the original", "section 1.3"),
    "optimizer": ("we", "the original calls the losses optimizers"),
    "learning_rate": ("the original", "section 1.3"),
    "momentum": ("we", "0.9 as a second reading"),
    "seed": ("we", "root of all random streams"),
}


def stored() -> list[Experiment]:
    """Return the experiments of the study whose trials are all in the store, in order."""
    return [experiment for experiment in EXPERIMENTS if is_stored(experiment, TRIALS)]


def chapters(experiments: Sequence[Experiment]) -> dict[str, list[dict[str, object]]]:
    """Return the chapters of comparisons that can be written about these experiments of the study."""

    def sides(comparison: Mapping[str, object]) -> list[Experiment]:
        values = {**dataclasses.asdict(Experiment()), **comparison}
        values |= {
            f"{name}_{which}": comparison.get(f"{name}_{which}", values[name]) for name in DIFFERING for which in "ab"
        }
        return [Experiment(**fields) for fields in two_experiments(values)]

    return {
        chapter: comparisons
        for chapter, comparisons in CHAPTERS.items()
        if all(experiment in experiments for comparison in comparisons for experiment in sides(comparison))
    }


def hyperparameters(experiment: Experiment) -> list[tuple[str, str, str, str]]:
    """Return a row (setting, value, who says so, remark) per field of an experiment."""
    words = {True: "yes", False: "no"}
    return [
        (name, words.get(value, str(value)) if isinstance(value, bool) else str(value), *SOURCES[name])
        for name, value in dataclasses.asdict(experiment).items()
    ]


def two_experiments(parameters: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Return the fields of experiment a and of experiment b, from a notebook's parameters (its `globals()`)."""
    shared = {
        field.name: parameters[field.name] for field in dataclasses.fields(Experiment) if field.name not in DIFFERING
    }
    a, b = ({name: parameters[f"{name}_{which}"] for name in DIFFERING} for which in "ab")
    return {**shared, **a}, {**shared, **b}


def reading(experiment: Experiment) -> str:
    """Name the optimizer of an experiment in words."""
    if experiment.optimizer == "adam":
        return "Adam"
    return f"SGD with momentum {experiment.momentum:g}" if experiment.momentum else "plain SGD"


def label(number: str) -> str:
    """Turn a figure's number into a label's end: "6a, momentum" into "6a-momentum"."""
    return re.sub(r"[^a-z0-9]+", "-", str(number).lower()).strip("-")


def dataset_at_hand(dataset: str) -> tuple[str, str]:
    """Return a data set whose digits can be shown here, and a sentence for the caption if it is another one."""
    if dataset == "mnist" and not mnist_available():
        return "digits", " MNIST could not be had where this page was made; the results are those of MNIST."
    return dataset, ""
