"""What the report is made of: its experiments, and the comparisons of its figures."""

from collections.abc import Iterable

from lib import Experiment, Result
from lib.experiment import SETTINGS, differences, words
from lib.messages import show
from report.comparison import Comparison

FINDING = "Knowing the names is not using them"  # guarded wherever it is said: see report/answer.py
NETWORKS = ("SN", "WSN", "SAUX", "CAUX")  # the original's, whatever else is registered
TRIALS = 150  # original report, section 1.3
READINGS = {"plain SGD": "", "SGD with momentum 0.9": "momentum=0.9"}  # the original names no optimizer
FORMS = (  # the three other forms, in plain SGD
    "one_hot_encoding=false",
    "fully_convolutional=true",
    "one_hot_encoding=false fully_convolutional=true",
)

CAPTIONS = {  # the original's, by figure; each panel's own names the first network alone
    "figure 6": "The mean and standard deviation of the test accuracy compared over the course of 100 epochs "
    "calculated for 150 trials. For the architectures in their standard form.",
    "figures 7 to 9": "The average and standard deviation of critical parameters: Region R4",
}

# The figures' comparisons, in the order of the report; a new one is a line. The original has left-over captions under
# its figures 7 to 9 ("Region R4"), so what they show here is our reading of its sections 1.2 and 1.4.
CHAPTERS = {
    "The comparisons, plain SGD": [
        Comparison.of("6a", "SN", "WSN"),
        Comparison.of("6b", "WSN", "SAUX"),
        Comparison.of("6c", "SAUX", "CAUX"),
    ],
    "The comparisons, SGD with momentum 0.9": [
        Comparison.of("6a, momentum", "SN", "WSN", both="momentum=0.9"),
        Comparison.of("6b, momentum", "WSN", "SAUX", both="momentum=0.9"),
        Comparison.of("6c, momentum", "SAUX", "CAUX", both="momentum=0.9"),
    ],
    "With and without one-hot labels": [
        Comparison.of("7a", "SN", "SN one_hot_encoding=false"),
        Comparison.of("7b", "WSN", "WSN one_hot_encoding=false"),
        Comparison.of("7c", "SAUX", "SAUX one_hot_encoding=false"),
        Comparison.of("7d", "CAUX", "CAUX one_hot_encoding=false"),
    ],
    "The comparisons without one-hot labels": [
        Comparison.of("8a", "SN", "WSN", both="one_hot_encoding=false"),
        Comparison.of("8b", "WSN", "SAUX", both="one_hot_encoding=false"),
        Comparison.of("8c", "SAUX", "CAUX", both="one_hot_encoding=false"),
    ],
    "Mixed and fully convolutional": [
        Comparison.of("9a", "SN", "SN fully_convolutional=true"),
        Comparison.of("9b", "WSN", "WSN fully_convolutional=true"),
        Comparison.of("S-SAUX", "SAUX", "SAUX fully_convolutional=true"),  # these two are not in the original
        Comparison.of("S-CAUX", "CAUX", "CAUX fully_convolutional=true"),
    ],
}
COMPARISONS = [comparison for comparisons in CHAPTERS.values() for comparison in comparisons]

STANDARD = [Experiment.parse(name, words) for words in READINGS.values() for name in NETWORKS]
OTHER_FORMS = [Experiment.parse(name, words) for words in FORMS for name in NETWORKS]
EXPERIMENTS = list(
    dict.fromkeys([*STANDARD, *OTHER_FORMS, *(side for each in COMPARISONS for side in (each.a, each.b))])
)


def asked(settings: str, forms: bool = True) -> list[Experiment]:
    """Return the study's experiments with `settings` laid over them; without `forms`, those in their standard form.

    Raises TypeError or ValueError, naming `settings`, for what no experiment can have, and for a setting in which the
    experiments differ: laid over all of them, it would leave nothing to compare.
    """
    varied = {name: None for each in EXPERIMENTS for name in differences(EXPERIMENTS[0], each)}
    if said := [name for name in words(settings) if name in varied]:
        raise ValueError(
            f"settings is {show(settings)}, which says {' and '.join(said)}; allowed: what all experiments of the "
            f"study share, so not {', '.join(varied)}"
        )
    return [each.changed(settings) for each in (EXPERIMENTS if forms else STANDARD)]


def chapters(experiments: Iterable[Experiment], settings: str = "") -> dict[str, list[Comparison]]:
    """Return the chapters whose comparisons, with `settings` laid over them, are all between these experiments."""
    known = set(experiments)
    changed = {chapter: [each.changed(settings) for each in several] for chapter, several in CHAPTERS.items()}
    return {
        chapter: several for chapter, several in changed.items() if all({each.a, each.b} <= known for each in several)
    }


def readings(results: Iterable[Result], settings: str = "") -> dict[str, list[Result]]:
    """Return the results of the networks in their standard form, `settings` laid over it, by the name of the optimizer.

    Raises KeyError where one is not among `results`.
    """
    known = {result.experiment: result for result in results}
    found: dict[str, list[Result]] = {}
    for experiment in dict.fromkeys(each.changed(settings) for each in STANDARD):
        found.setdefault(reading(experiment), []).append(known[experiment])
    return found


def reading(experiment: Experiment) -> str:
    """Name the optimizer of an experiment in words."""
    if experiment.optimizer == "adam":
        return "Adam"
    return f"SGD with momentum {experiment.momentum:g}" if experiment.momentum else "plain SGD"


def hyperparameters(experiment: Experiment) -> list[tuple[str, str, str, str]]:
    """Return a row (setting, value, who says so, remark) per setting of an experiment; neutral ones do nothing."""
    words = {True: "yes", False: "no"}
    values = {name: getattr(experiment, name) for name in SETTINGS}
    said = {name: words[value] if isinstance(value, bool) else str(value) for name, value in values.items()}
    counting = {name: known for name, known in SETTINGS.items() if values[name] != known.neutral}
    return [(name, said[name], known.source, known.remark) for name, known in counting.items()]
