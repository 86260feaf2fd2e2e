"""Statements that were written down before their runs, each with the trainings that judge it and the rule that does.

The reasons are in `report/preregistration.md`. A statement is not edited after its runs: what came out is the return
value of `Statement.outcome`.
"""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lib import Experiment, Result, Store, load, run_study
from lib.analysis import PREREGISTERED
from lib.foreign import find, heads_of, reads
from lib.tasks import CLASSES

SEED, TRIALS = 2023, 50  # no result of this seed had been seen
LEVEL = 0.995  # of an interval: ten statements together are falsely called in at most 5 % of such studies
SCORE, NAMES = "final_score", "named_score_auxiliary"  # in percent of 5,000 pairs of all test digits, after the end
ALONE = ("final_score", "final_train_accuracy")  # what is measured at the end of each training
WITH_NAMES = (*ALONE, "named_score", "digit_names")  # and of one with a class head

Array = NDArray[np.float64]
Outcome = Literal["confirmed", "refuted", "not settled"]
Read = Callable[[Experiment, str], Array]  # a measure's values, `[trials]`


class Term(NamedTuple):
    """What one network reaches, times a factor."""

    factor: float
    experiment: Experiment
    value: str = SCORE


@dataclass(frozen=True)
class Part:
    """A contrast of networks, trial by trial, and where its mean is said to lie: between `low` and `high` points."""

    says: str
    terms: tuple[Term, ...]
    low: float = -math.inf
    high: float = math.inf
    signs: bool = False  # judged by the signs alone, where means describe no trial

    def values(self, read: Read) -> Array:
        """Return the contrast of each trial, `[trials]`, in points."""
        return np.sum([term.factor * read(term.experiment, term.value) for term in self.terms], axis=0)

    def outcome(self, read: Read) -> Outcome:
        """Return what the trials say of this part."""
        values = self.values(read)
        return by_signs(values, below=self.high == 0) if self.signs else by_interval(values, self.low, self.high)


@dataclass(frozen=True)
class Statement:
    """A statement: confirmed where all its parts are, refuted where one is."""

    name: str
    says: str
    parts: tuple[Part, ...]

    def outcome(self, read: Read) -> Outcome:
        """Return what the trials say of it."""
        outcomes = [part.outcome(read) for part in self.parts]
        if "refuted" in outcomes:
            return "refuted"
        return "confirmed" if all(each == "confirmed" for each in outcomes) else "not settled"


def interval(values: Array, level: float = LEVEL) -> tuple[float, float, float]:
    """Return the mean of `[trials]` and its Student's t interval, low and high."""
    mean, n = float(values.mean()), len(values)
    half = float(stats.t.isf((1 - level) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half


def by_interval(values: Array, low: float, high: float) -> Outcome:
    """Judge where a mean lies: confirmed if its interval lies between both, refuted if wholly outside."""
    _, least, most = interval(values)
    if low < least and most < high:
        return "confirmed"
    return "refuted" if most < low or least > high else "not settled"


def by_signs(values: Array, below: bool) -> Outcome:
    """Judge on which side of 0 most trials lie, by a two-sided sign test without ties."""
    count, n = int((values < 0).sum() if below else (values > 0).sum()), int((values != 0).sum())
    if n == 0 or stats.binomtest(count, n).pvalue >= 1 - LEVEL:
        return "not settled"
    return "confirmed" if 2 * count > n else "refuted"


def said(*words: str) -> Experiment:
    """Return an experiment of this family: its words, and the seed."""
    return Experiment.parse(*words, f"seed={SEED}")


def against(a: Experiment, b: Experiment, value: str = SCORE) -> tuple[Term, ...]:
    """Return the contrast b - a."""
    return Term(1, b, value), Term(-1, a, value)


M = "momentum=0.9"
BARE = f"{M} sigmoid=false"  # without output Sigmoids
ADAM = "optimizer=adam learning_rate=0.001 sigmoid=false"
ONE = f"{BARE} auxiliary_weight=1"
HALVES = "first_epochs=100 epochs=200"  # a network first, then heads on its frozen extractor
LONG = "epochs=800"
NETWORKS = ("SN", "WSN", "SAUX", "CAUX")

BY_MOMENTUM = {name: said(name, M) for name in NETWORKS}
PLAIN = {name: said(name) for name in NETWORKS}
PLAIN_LONG = {name: said(name, LONG) for name in NETWORKS}
WSN_BARE, CAUX_ONE, NAMES_ONE = said("WSN", BARE), said("CAUX", ONE), said("NAMES", ONE)

# The same two heads, which read features and name digits, on four extractors that learn nothing more.
FROZEN = {
    "untrained": said("CAUX", ONE, "frozen=extract"),
    "trained to compare": said("CAUX", ONE, HALVES, "first=answer frozen=extract"),
    "trained to compare and to name": said("CAUX", ONE, HALVES, "frozen=extract"),
    "trained to name": said("CAUX", ONE, HALVES, "first=auxiliary frozen=extract+auxiliary"),
}
CLASS_TRAINED = FROZEN["trained to name"]
DIAL = {
    spread: said("DIAL", ONE, HALVES, f"first=auxiliary frozen=extract+auxiliary spread={spread}")
    for spread in (0, 0.5, 0.75, 1.5)
}
UNLABELLED = {
    centres: said("DIAL", ONE, HALVES, f"first=auxiliary frozen=extract+auxiliary spread=0.5 centres={centres}")
    for centres in (10, 50)
}
# 1,920 updates of the class head and the extractor, then 1,920 of the comparison, on pairs of the same 2,000 digits.
FEW = "first=auxiliary first_epochs=96 frozen=extract+auxiliary epochs=192"
MANY = "first=auxiliary first_epochs=6 frozen=extract+auxiliary epochs=12 train_pairs=16000 train_digits=2000"
PAIRS = {name: (said(name, ONE, FEW), said(name, ONE, MANY)) for name in ("CAUX", "NAMES")}
UNNAMED, APART = said("NAMES", BARE, "auxiliary_weight=0"), said("NARROW", ONE)


# A public network whose comparison reads features, without and with class loss, by its authors' recipe.
PUBLIC = {
    weight: said(
        "report.pooled:PooledFeatures optimizer=adam learning_rate=0.005 batch_size=50 epochs=25",
        f"auxiliary_weight={weight}",
    )
    for weight in (0, 2)
}


def side(weight: int, dropout: bool, narrow: bool, way: str = BARE) -> Experiment:
    """Return CAUX with a Linear layer before its comparison, in one of eight forms, trained in a way."""
    dropped = "dropout=0.5 auxiliary_dropout=0.5" if dropout else ""
    return said("SIDE", way, f"auxiliary_weight={weight}", dropped, "width=32" if narrow else "")


def worth(dropout: bool, narrow: bool, way: str = BARE) -> tuple[Term, ...]:
    """Return what the class loss is worth in one of four forms of SIDE."""
    return against(side(0, dropout, narrow, way), side(1, dropout, narrow, way))


def times(factor: float, terms: Iterable[Term]) -> tuple[Term, ...]:
    """Return a contrast times a factor."""
    return tuple(term._replace(factor=factor * term.factor) for term in terms)


STATEMENTS = (
    Statement(
        "1",
        "One process in two speeds: each network in plain SGD after 800 epochs is within half a point of itself with "
        "momentum after 100.",
        tuple(Part(name, against(BY_MOMENTUM[name], PLAIN_LONG[name]), -0.5, 0.5) for name in NETWORKS),
    ),
    Statement(
        "2",
        "The original stopped too early for CAUX: in plain SGD it is below SAUX after 100 epochs and above it after "
        "800.",
        (
            Part("after 100 epochs", against(PLAIN["SAUX"], PLAIN["CAUX"]), high=0),
            Part("after 800 epochs", against(PLAIN_LONG["SAUX"], PLAIN_LONG["CAUX"]), low=0),
        ),
    ),
    Statement(
        "3",
        "It helps a little on the side: without output Sigmoids, CAUX with weight 1 beats WSN by less than 4 points.",
        (Part("CAUX − WSN", against(WSN_BARE, CAUX_ONE), 0, 4),),
    ),
    Statement(
        "4",
        "The knowledge is there before it is used: comparing the names read off untrained features beats WSN, trained "
        "end to end, by 8 points or more.",
        (Part("names − WSN", (Term(1, FROZEN["untrained"], NAMES), Term(-1, WSN_BARE)), low=8),),
    ),
    Statement(
        "5",
        "Reading beats extracting: over four frozen extractors, names instead of features gain more than an extractor "
        "trained to name instead of an untrained one.",
        (
            Part(
                "reading − extracting",
                (
                    *(
                        term
                        for frozen in FROZEN.values()
                        for term in (Term(1 / 4, frozen, NAMES), Term(-1 / 4, frozen, SCORE))
                    ),
                    *(
                        term
                        for value in (NAMES, SCORE)
                        for term in times(-1 / 2, against(FROZEN["untrained"], CLASS_TRAINED, value))
                    ),
                ),
                low=0,
            ),
        ),
    ),
    Statement(
        "6",
        "The dial: with the same frozen extractor, the same head, pairs and updates, half the spread of the features "
        "within their class gains 5 points or more, one and a half times the spread costs 4 or more.",
        (
            Part("half the spread", against(CLASS_TRAINED, DIAL[0.5]), low=5),
            Part("one and a half times", against(CLASS_TRAINED, DIAL[1.5]), high=-4),
        ),
    ),
    Statement(
        "7",
        "16,000 pairs instead of 1,000 of the same digits, at equal updates, bring 4 points or more where features are "
        "read, and less than half a point where names are.",
        (
            Part("features", against(*PAIRS["CAUX"]), low=4),
            Part("names", against(*PAIRS["NAMES"]), high=0.5),
        ),
    ),
    Statement(
        "8",
        "End to end: names as the only thing read, with weight 1, beat CAUX by 8 points or more.",
        (Part("NAMES − CAUX", against(CAUX_ONE, NAMES_ONE), low=8),),
    ),
    Statement(
        "9",
        "Narrow alone does not do it: the bottleneck without class loss, and an equally narrow one with the class head "
        "apart, lie below CAUX.",
        (
            Part("without class loss", against(CAUX_ONE, UNNAMED), high=0, signs=True),
            Part("the class head apart", against(CAUX_ONE, APART), high=0, signs=True),
        ),
    ),
    Statement(
        "10",
        "Side supervision can be made to pay: the class loss is worth at least 3 points more with dropout and a narrow "
        "reading than with neither.",
        (Part("both − neither", (*worth(True, True), *times(-1, worth(False, False))), low=3),),
    ),
)

# Estimates with intervals, no tests: nothing is claimed of them.
ESTIMATES = (
    *(Part(f"the output Sigmoid off, {name}", against(BY_MOMENTUM[name], said(name, BARE))) for name in NETWORKS),
    Part("Sigmoid names instead of softmax names", against(NAMES_ONE, said("NAMES", M, "auxiliary_weight=1"))),
    Part("the answer's gradient stopped before the names", against(NAMES_ONE, said("NAMES", ONE, "stopped=auxiliary"))),
    *(
        Part(
            f"4,000 pairs of 8,000 digits instead of 2,000, {name}",
            against(
                said(name, words, "train_pairs=4000 train_digits=2000 epochs=25"),
                said(name, words, "train_pairs=4000 epochs=25"),
            ),
        )
        for name, words in (("WSN", BARE), ("CAUX", ONE))
    ),
    Part("class head first, then frozen", against(FROZEN["trained to compare and to name"], CLASS_TRAINED)),
    *(Part(f"{centres} centres without labels, half the spread", against(CLASS_TRAINED, UNLABELLED[centres]))
      for centres in UNLABELLED),
    *(Part(f"{spread} times the spread", against(CLASS_TRAINED, DIAL[spread])) for spread in (0, 0.75)),
    Part("the class loss, with dropout alone", worth(True, False)),
    Part("the class loss, with a narrow reading alone", worth(False, True)),
    Part(
        "dropout in the comparison alone", against(side(1, False, False), said("SIDE", ONE, "dropout=0.5"))
    ),
    Part(
        "dropout in the class head alone", against(side(1, False, False), said("SIDE", ONE, "auxiliary_dropout=0.5"))
    ),
    # Added on 2026-11-27, when all others were known and before these were run.
    Part("the class loss, under Adam", worth(False, False, ADAM)),
    Part("the class loss, with dropout and a narrow reading, under Adam", worth(True, True, ADAM)),
    Part("the class loss, in a public network by its own recipe", against(PUBLIC[0], PUBLIC[2])),
)  # fmt: skip

# What the original leaves open, as it can be read: its learning rate and its Sigmoid stay. A further one is a line.
READINGS = {
    f"{name}, weight {weight}": f"{words} auxiliary_weight={weight}"
    for name, words in (("plain SGD", ""), ("momentum 0.9", M), ("Adam", "optimizer=adam"))
    for weight in (0.3, 1)
} | {"momentum 0.9, channels 32-64": f"{M} channels=32-64"}
WHAT_IFS = {"Adam, learning rate 0.001": "optimizer=adam learning_rate=0.001", "output Sigmoid off": BARE}


def reading(name: str, words: str) -> Experiment:
    """Return a network under a reading; what it does not read of its words is left out."""
    known = reads(find(name))
    return said(
        name, *(each for each in words.split() if not each.startswith("auxiliary_") or "auxiliary_weight" in known)
    )


def asked() -> list[Experiment]:
    """Return all experiments of the statements, the estimates and the readings, the decisive ones first."""
    order = [STATEMENTS[i - 1] for i in (6, 5, 4, 3, 8, 9, 7, 10)]
    parts = [*(part for statement in order for part in statement.parts), *ESTIMATES]
    parts += [part for statement in STATEMENTS[1::-1] for part in statement.parts]
    first = [term.experiment for part in parts for term in part.terms if term.experiment.epochs < 800]
    standard = [*BY_MOMENTUM.values(), *PLAIN.values()]
    read = [reading(name, words) for words in {**READINGS, **WHAT_IFS}.values() for name in NETWORKS]
    return list(dict.fromkeys([*first[:8], *standard[:4], *first, *standard, *read, *PLAIN_LONG.values()]))


def names_digits(experiment: Experiment) -> bool:
    """Say whether a network has a class head."""
    return CLASSES in [task for head, task in heads_of(find(experiment.architecture)).items() if head != "answer"]


def measures(experiment: Experiment) -> tuple[str, ...]:
    """Return what is measured at the end of a training."""
    return WITH_NAMES if names_digits(experiment) else ALONE


def train(store: Store, trials: int = TRIALS, executor: Executor | None = None, **options: Any) -> None:
    """Train what a store lacks of all this, in the order of `asked`; options as of `lib.run_study`.

    An executor may have workers for all of it at once: it is given together what has the same measures.
    """
    order = asked() if executor is None else sorted(asked(), key=measures)
    for names, experiments in groupby(order, key=measures):
        run_study(list(experiments), trials, store=store, measures=names, executor=executor, **options)


def store() -> Store:
    """Return the store of the repository's trainings for the statements, which is only read."""
    return Store(PREREGISTERED)


def reader(store: Store, trials: int = TRIALS) -> Read:
    """Return how measures are read from a store. What it returns raises FileNotFoundError where one is missing."""

    def read(experiment: Experiment, value: str) -> Array:
        name = "named_score" if value == NAMES else value
        result: Result = load(experiment, trials, store, [name])
        return np.asarray(result.values(value), np.float64)

    return cache(read)
