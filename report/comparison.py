"""A comparison of two experiments: what tells them apart, what it is called, how it is repeated, and its results."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from lib import Experiment, Result, Store, paired, run_study
from lib.experiment import describe, differences
from lib.messages import show
from report import statistics
from report.pictures import curves, sheets
from report.press.parameters import option, text
from report.statistics import Array, PairedDifference

NOTEBOOK = "notebooks/3-comparison.ipynb"
PAIRS = ("dataset", "train_pairs", "test_pairs", "train_digits", "seed")  # what decides which pairs a trial sees
IN_NAMES = ("architecture", "fully_convolutional", "one_hot_encoding")  # what `Experiment.name` says
SHORT = {  # where one setting differs
    "one_hot_encoding": {True: "one-hot", False: "without"},
    "fully_convolutional": {False: "mixed", True: "conv."},
}
CONVOLUTIONAL = "fully convolutional "  # how it begins
NUMBER = re.compile(r"[A-Za-z0-9 ,.()-]{1,40}")  # it becomes a label, and a file's name


@dataclass(frozen=True)
class Comparison:
    """Experiment `b` against experiment `a`, the figure `number` of the report; any setting may differ.

    Raises ValueError for a number that makes no label, and where nothing differs.
    """

    number: str
    a: Experiment
    b: Experiment

    def __post_init__(self) -> None:
        """Check both, before anything is trained."""
        text()("number", self.number)
        if not (NUMBER.fullmatch(self.number) and self.label):
            allowed = "what a figure can be called, in up to 40 letters and digits, such as '6a, momentum'"
            raise ValueError(f"number is {show(self.number)}; allowed: {allowed}")
        if not self.differing:
            raise ValueError(f"a and b are both {self.a}; a comparison needs a setting in which they differ")

    @classmethod
    def of(cls, number: str, a: str, b: str, both: str = "") -> Self:
        """Make a comparison of words as `Experiment.parse` reads them; `both` holds what is said of `a` and of `b`.

        Raises TypeError or ValueError, as `parse` does, naming the side: also for a setting that is said in `both` and
        of a side.
        """
        return cls(number, *(read_side(name, said, both) for name, said in (("a", a), ("b", b))))

    def changed(self, settings: str) -> Self:
        """Return this comparison with what `settings` says laid over both sides."""
        return type(self)(self.number, self.a.changed(settings), self.b.changed(settings))

    @property
    def label(self) -> str:
        """The number as the end of a label: "6a-momentum" for "6a, momentum"."""
        return re.sub(r"[^a-z0-9]+", "-", self.number.lower()).strip("-")

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the settings in which the two differ."""
        return differences(self.a, self.b)

    @property
    def same_pairs(self) -> bool:
        """Whether trial i of both sees the same pairs."""
        return not set(PAIRS) & set(self.differing)

    @property
    def names(self) -> tuple[str, str]:
        """Names of `a` and `b` that tell them apart, such as "WSN" and "WSN, momentum 0.9"."""
        return self._name(self.a), self._name(self.b)

    def _name(self, side: Experiment) -> str:
        """Say a side's name and, of what differs, that which the name does not say; defaults go without saying."""
        name, (first, second) = side.name, (each.architecture.rpartition(":")[2] for each in (self.a, self.b))
        if "architecture" in self.differing and first == second:  # two classes of one name, in two modules
            form = CONVOLUTIONAL * side.fully_convolutional
            name = form + side.architecture + name.removeprefix(form).removeprefix(first)
        more = [word for word in side.said() if word in self.differing and word not in IN_NAMES]
        return ", ".join([name, *(describe(word, getattr(side, word)) for word in more)])

    @property
    def short_names(self) -> tuple[str, str]:
        """Return what tells `a` and `b` apart in as few words as a small panel has room for, else their names."""
        if len(self.differing) == 1 and self.differing[0] in SHORT:
            name = self.differing[0]
            return SHORT[name][getattr(self.a, name)], SHORT[name][getattr(self.b, name)]
        return self.names if self.differing != ("architecture",) else (self.a.architecture, self.b.architecture)

    @property
    def shared(self) -> tuple[str, ...]:
        """What both have that is neither the default nor in their names, in prose: ("momentum 0.9", "30 epochs")."""
        hidden = (*self.differing, *IN_NAMES)
        return tuple(describe(word, value) for word, value in self.a.said().items() if word not in hidden)

    @property
    def against(self) -> str:
        """Both names, such as "WSN against SN"; what both end with is said once."""
        first, second = self.names
        common = f" {describe('one_hot_encoding', False)}"
        if first.endswith(common) and second.endswith(common):
            second = second.removesuffix(common)
        return f"{second}{',' if ',' in second else ''} against {first}"

    @property
    def title(self) -> str:
        """Heading of the comparison, such as "WSN against SN, momentum 0.9"; a word of ours gets a capital letter."""
        title = ", ".join([self.against, *self.shared])
        return CONVOLUTIONAL.capitalize() + title.removeprefix(CONVOLUTIONAL) if self.b.fully_convolutional else title

    def parameters(self) -> dict[str, str]:
        """Return the notebook's parameters that `of` reads; what both say beside the architecture is in `both`."""
        a, b = str(self.a).split(), str(self.b).split()
        both = [word for word in a if word in b and "=" in word]
        sides = {name: " ".join(w for w in words if w not in both) for name, words in (("a", a), ("b", b))}
        return {"number": self.number, **sides, "both": " ".join(both)}

    def command(self, trials: int) -> str:
        """Return the exact command that runs the notebook for this comparison, in the project's folder."""
        words = [".venv/bin/papermill", NOTEBOOK, "out.ipynb", "-k", "python3"]
        for name, value in self.parameters().items():
            words += [option(value), name, value] if value else []  # nothing is the default of `both`
        return shlex.join([*words, "-p", "trials", str(trials)])

    def results(self, trials: int, store: Store | None = None) -> tuple[Result, Result]:
        """Return the results of both, training what the store lacks, as `lib.run_study` does."""
        a, b = run_study([self.a, self.b], trials, store=store)
        return a, b

    def among(self, results: Iterable[Result]) -> tuple[Result, Result]:
        """Return the results of both out of many. Raises KeyError where one is not there."""
        found = {result.experiment: result for result in results}
        return found[self.a], found[self.b]


def read_side(name: str, said: str, both: str) -> Experiment:
    """Return the experiment of one side. Raises TypeError or ValueError as `Experiment.parse` does, naming the side."""
    try:
        return Experiment.parse(both, said)
    except (TypeError, ValueError) as error:
        shared = f", both is {show(both)}" if both else ""
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} ({name} is {show(said)}{shared})") from error


def trial_differences(a: Result, b: Result) -> Array:
    """Return the differences in accuracy b - a, trial by trial, in points: `[trials, epochs]`, epochs that both have.

    Where the two train on other pairs the trials have less in common, and intervals get wider; they hold all the same,
    for the differences of two trials do not depend on each other.

    Raises ValueError where both should have seen the same pairs and did not.
    """
    if set(differences(a.experiment, b.experiment)) & {*PAIRS, "epochs"}:
        epochs = min(a.experiment.epochs, b.experiment.epochs)
        return b.accuracy[:, :epochs] - a.accuracy[:, :epochs]
    return paired(a, b)


def last_difference(a: Result, b: Result) -> PairedDifference:
    """Estimate the difference b - a after the last epoch of each. Raises ValueError as `trial_differences` does."""
    trial_differences(a, b)
    return statistics.paired_difference(a.accuracy[:, -1], b.accuracy[:, -1])


def plus_minus(result: Result) -> str:
    """Return the accuracy after the last epoch, such as "81.3 ± 1.2 %": mean and, of several trials, SD over them."""
    sd = f" ± {result.sd[-1]:.1f}" if result.trials > 1 else ""
    return f"{result.mean[-1]:.1f}{sd} %"


def curve(result: Result, line: Any = "-") -> curves.Curve:
    """Return what a figure draws of a result."""
    band = statistics.simultaneous_band(result.accuracy) if result.trials > 1 else None
    return curves.curve(result.experiment.architecture, result.mean, result.sd, result.trials, band, line)


def panel(compared: Comparison, results: Iterable[Result]) -> sheets.Panel:
    """Return what a contact sheet draws of a comparison; without bands, which would take longer than all else."""
    a, b = compared.among(results)
    lines = [
        (name, curves.curve(each.experiment.architecture, each.mean, each.sd, each.trials))
        for name, each in zip(compared.short_names, (a, b), strict=True)
    ]
    number, name = compared.number.partition(",")[0], a.experiment.architecture
    one = name if name == b.experiment.architecture and name not in number else ""
    return sheets.Panel(" ".join(filter(None, (number, one))), lines, f"{last_difference(a, b):+.2f short}")
