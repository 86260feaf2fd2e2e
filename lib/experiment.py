"""One configuration of the comparison, checked before anything is trained; its canonical form names the result."""

import dataclasses
import difflib
import hashlib
import inspect
import math
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from lib import store
from lib.architectures import ARCHITECTURES, Sizes
from lib.datasets import DATASETS, EMBEDDED_TRAIN
from lib.foreign import find
from lib.teacher import OPTIMIZERS

# Raised by hand whenever the numbers that lib computes change: results of an older protocol are then no longer found.
PROTOCOL = 1

MOST_PAIRS = {"mnist": (30_000, 5_000), "digits": (EMBEDDED_TRAIN // 2, (1797 - EMBEDDED_TRAIN) // 2)}
SIZES = re.compile(r"[1-9][0-9]{0,3}(-[1-9][0-9]{0,3}){0,9}")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One configuration of the comparison; equal experiments share one stored result.

    The number of trials is not part of it. Raises TypeError or ValueError, naming the field, its value and what is
    allowed.
    """

    architecture: str = "WSN"  # SN, WSN, SAUX, CAUX, or module:Class
    fully_convolutional: bool = False  # original report, section 1.2: "not calling `convolutionize` will be the norm"
    one_hot_encoding: bool = True  # original report, section 1.2: CrossEntropyLoss with, MSELoss without
    sigmoid: bool = True  # original report, section 1.2: on every output
    channels: str = "16-32"  # our choice: the original does not say
    hidden: str = "64-64-32"  # original report, section 1.2
    auxiliary_hidden: int = 64  # our choice
    auxiliary_weight: float = 0.3  # our choice: "some fraction smaller than one"
    dataset: str = "mnist"  # or "digits", the embedded ones
    train_pairs: int | None = None  # the course's assignment: 1,000 (500 of the embedded digits)
    test_pairs: int | None = None  # the course's assignment: 1,000 (300 of the embedded digits)
    epochs: int = 100  # original report, section 1.3
    batch_size: int = 50  # original report, section 1.3
    optimizer: str = "sgd"  # our choice: the original calls the losses optimizers; or "adam"
    learning_rate: float = 0.01  # original report, section 1.3
    momentum: float = 0.0  # our choice, of "sgd"
    seed: int = 2022  # root of all random streams

    def __post_init__(self) -> None:
        """Bring numbers to their exact type, fill in the data set's defaults, and check every field."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, typed(field.name, getattr(self, field.name), field.type))
        one_of("dataset", self.dataset, DATASETS)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        if ":" not in self.architecture:
            one_of("architecture", self.architecture, ARCHITECTURES, "or module:Class")
        find(self.architecture)
        for name, default, most in zip(
            ("train_pairs", "test_pairs"), DATASETS[self.dataset], MOST_PAIRS[self.dataset], strict=True
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
            within(
                name, getattr(self, name), 1, most, f" for the data set {self.dataset!r}, without using a digit twice"
            )
        within("epochs", self.epochs, 1, 100_000)
        within("batch_size", self.batch_size, 1, self.train_pairs, " (train_pairs)")
        within("auxiliary_hidden", self.auxiliary_hidden, 1, 9999)
        within("auxiliary_weight", self.auxiliary_weight, 0, 1000)
        within("learning_rate", self.learning_rate, 1e-12, 1000)
        within("momentum", self.momentum, 0, 0.9999)
        within("seed", self.seed, 0, 2**32 - 1)  # more bits would run into the trial's number in the seed
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is {self.momentum!r}; allowed: 0 with optimizer {self.optimizer!r}")
        for name, example in (("channels", "16-32"), ("hidden", "64-64-32")):
            if not SIZES.fullmatch(getattr(self, name)):
                raise ValueError(
                    f"{name} is {show(getattr(self, name))}; allowed: sizes joined by hyphens, such as {example!r}"
                )
        if len(self.channels.split("-")) != 2:
            raise ValueError(
                f"channels is {show(self.channels)}; allowed: two sizes, one per convolution, such as '16-32'"
            )

    @classmethod
    def from_parameters(cls, **parameters: object) -> "Experiment":
        """Make an experiment of named values; raises TypeError for an unknown name, suggesting a known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in parameters:
            if name not in known:
                raise TypeError(unknown(name, known))
        return cls(**parameters)

    @property
    def name(self) -> str:
        """Name for legends, tables and sentences; optimizer and sizes are not in it."""
        form = "fully convolutional " if self.fully_convolutional else ""
        labels = "" if self.one_hot_encoding else " without one-hot labels"
        return form + self.architecture.rpartition(":")[2] + labels

    @property
    def configuration(self) -> dict[str, object]:
        """Everything that decides the result; of an architecture outside lib also the SHA-256 of its source."""
        configuration = {**dataclasses.asdict(self), "protocol": PROTOCOL}
        if self.architecture not in ARCHITECTURES:
            source = Path(inspect.getfile(find(self.architecture))).read_bytes()
            configuration["source"] = hashlib.sha256(source).hexdigest()
        return configuration

    @property
    def key(self) -> str:
        """Name of the stored result."""
        return store.key(self.configuration)

    def sizes(self, trials: int) -> Sizes:
        """Return the sizes of this experiment's network for a stack of so many trials."""
        return Sizes(
            trials=trials,
            channels=tuple(map(int, self.channels.split("-"))),
            hidden=tuple(map(int, self.hidden.split("-"))),
            auxiliary_hidden=self.auxiliary_hidden,
            outputs=2 if self.one_hot_encoding else 1,
            digit_outputs=10 if self.one_hot_encoding else 1,
            sigmoid=self.sigmoid,
        )


def typed(name: str, value: object, kind: object) -> object:
    """Return `value` as exactly `kind` where that loses nothing. Raises TypeError naming the field and its value."""
    if kind == int | None and value is None:
        return None
    is_bool = isinstance(value, bool) or type(value).__name__ == "bool"  # a numpy bool too
    if kind is bool and is_bool:
        return bool(value)
    if kind is str and isinstance(value, str):
        return str(value)
    if kind in (int, int | None) and isinstance(value, Integral) and not is_bool:
        return int(value)
    if kind is float and isinstance(value, Real) and not is_bool:
        try:
            number = float(value) + 0.0  # -0.0 equals 0.0, and so must their keys
        except OverflowError:  # an integer that no float can hold
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{name} is {show(value)}; allowed: a finite number")
        return number
    words = {bool: "True or False", str: "a text", int: "a whole number", float: "a number"}
    raise TypeError(
        f"{name} is {show(value)} ({type(value).__name__}); allowed: {words.get(kind, 'a whole number or None')}"
    )


def show(value: object) -> str:
    """Return a short `repr` of a value, however long it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a huge number"


def within(name: str, value: float, low: float, high: float, why: str = "") -> None:
    """Raise ValueError unless `low <= value <= high`."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {show(value)}; allowed: {low:,} to {high:,}{why}")


def one_of(name: str, value: str, allowed: Iterable[str], also: str = "") -> None:
    """Raise ValueError unless `value` is one of `allowed`, suggesting the nearest one."""
    if value not in allowed:
        rest = f", {also}" if also else ""
        raise ValueError(
            f"{name} is {show(value)}; allowed: {', '.join(map(repr, allowed))}{rest}{nearest(value, allowed)}"
        )


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that there is no parameter `name`, and which one may have been meant."""
    known = list(known)
    return f"there is no parameter {name!r}{nearest(name, known)}; known: {', '.join(known)}"


def nearest(word: str, words: Iterable[str]) -> str:
    """Return " (did you mean ...?)" or nothing."""
    by_lower = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1) if isinstance(word, str) else []
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""
