"""One configuration of the comparison: a line per setting, said and read as text, checked before anything is trained.

Its canonical form names the stored result.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from lib import registry, store
from lib.datasets import DATASETS
from lib.messages import one_of, show, unknown, within

if TYPE_CHECKING:
    from lib.architectures import Sizes

# Raised by hand whenever the numbers that lib computes change: results of an older protocol are then no longer found.
PROTOCOL = 1

ORIGINAL, ASSIGNMENT, WE = "the original", "the assignment", "we"  # who says so
OPTIMIZERS = ("sgd", "adam")
SIZES = re.compile(r"[1-9][0-9]{0,3}(-[1-9][0-9]{0,3}){0,9}")
ALWAYS = object()  # no value is neutral
BY_NAME = ("sigmoids", "auxiliary_weights", "stopped", "first", "first_epochs", "frozen")  # name heads or parts
MOST_PAIRS = 30_000  # of 60,000 digits; of fewer where they are used more than once
LONGEST = 120  # characters of what a message calls an experiment
ONCE = ", without using a digit twice"


@dataclass(frozen=True)
class Setting:
    """What is known of a setting beside its name and type; `words` says a value in prose, by value or with `{}`."""

    default: Any
    source: str
    remark: str = ""
    limits: tuple[float, float] | None = None
    allowed: tuple[str, ...] = ()
    words: str | Mapping[object, str] = ""
    optional: bool = False  # read by some networks only: an architecture says which
    stacks_only: bool = False  # of no use to a plain module
    since: str = "1.0"
    neutral: object = ALWAYS


def setting(default: Any, source: str, remark: str = "", **more: Any) -> Any:
    """Return a field of Experiment with what is known of it.

    A setting that is added later names the `neutral` value that reproduces the older behaviour: with it, it is left out
    of the key, so that results which are stored already keep theirs.
    """
    return field(default=default, metadata={"setting": Setting(default, source, remark, **more)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """One configuration of the comparison; equal experiments share one stored result.

    The number of trials is not part of it. `Experiment.parse("CAUX momentum=0.9")` reads it and `str` says it again.
    Raises TypeError or ValueError, naming the field, its value and what is allowed.
    """

    architecture: str = setting("WSN", ORIGINAL, "section 1.2", words="{}")  # or module:Class
    fully_convolutional: bool = setting(
        False,
        ORIGINAL,
        "section 1.2: off unless said otherwise",
        stacks_only=True,
        words={True: "fully convolutional", False: "mixed"},
    )
    one_hot_encoding: bool = setting(
        True,
        ORIGINAL,
        "section 1.2: on unless said otherwise",
        words={True: "with one-hot labels", False: "without one-hot labels"},
    )
    sigmoid: bool = setting(
        True,
        ORIGINAL,
        "section 1.2: output activation; ReLU inside",
        stacks_only=True,
        words={True: "with output Sigmoid", False: "without output Sigmoid"},
    )
    sigmoids: str = setting(  # "answer", "answer+digits" or "none"; "" leaves it to sigmoid
        "", WE, "the heads that have one", since="1.1", neutral="", stacks_only=True, words="Sigmoid on {}"
    )
    channels: str = setting("16-32", WE, "two convolutions, 3 × 3, no padding", optional=True)
    hidden: str = setting("64-64-32", ORIGINAL, "section 1.2: 64, 64 and 32", words="hidden layers {}", optional=True)
    auxiliary_hidden: int = setting(64, WE, "one hidden layer", limits=(1, 9999), optional=True)
    auxiliary_weight: float = setting(
        0.3, WE, "the original: a fraction smaller than one", limits=(0, 1000), optional=True
    )
    auxiliary_weights: str = setting(  # "digits:1+parity:0.5"; a head that is not named has auxiliary_weight
        "", WE, "by head", since="1.1", neutral="", words="auxiliary weights {}"
    )
    stopped: str = setting(
        "",
        WE,
        "a part that the answer's gradient does not pass",
        since="1.1",
        neutral="",
        words="stopped at {}",
    )
    first: str = setting("", WE, "heads that train alone at first", since="1.1", neutral="", words="first {} alone")
    first_epochs: int = setting(0, WE, "how long", limits=(0, 100_000), since="1.1", neutral=0, words="for {} epochs")
    frozen: str = setting(
        "", WE, "parts that learn nothing after those epochs", since="1.1", neutral="", words="then {} frozen"
    )
    spread: float = setting(
        1.0,
        WE,
        "of features within their class, before they are compared",
        limits=(0, 100),
        optional=True,
        since="1.2",
        neutral=1.0,
        words="{} times the spread within classes",
    )
    centres: int = setting(
        0,
        WE,
        "of groups found without labels; 0: of the classes named",
        limits=(0, 1000),
        optional=True,
        since="1.2",
        neutral=0,
        words="{} centres without labels",
    )
    width: int = setting(
        128,
        WE,
        "numbers per digit that are compared",
        limits=(1, 9999),
        optional=True,
        since="1.2",
        neutral=128,
        words="{} numbers read per digit",
    )
    dropout: float = setting(
        0.0, WE, "in the comparison", limits=(0, 0.99), optional=True, since="1.2", neutral=0.0, words="dropout {}"
    )
    auxiliary_dropout: float = setting(
        0.0,
        WE,
        "in the class head",
        limits=(0, 0.99),
        optional=True,
        since="1.2",
        neutral=0.0,
        words="dropout {} in the class head",
    )
    dataset: str = setting("mnist", ORIGINAL, "section 1.1", allowed=tuple(DATASETS), words="data set {}")
    train_pairs: int = setting(None, ASSIGNMENT, words="{} training pairs")  # None: the data set's own
    test_pairs: int = setting(None, ASSIGNMENT, words="{} test pairs")
    train_digits: int = setting(  # 0: two per pair, none used twice
        0, WE, "distinct digits behind the training pairs", since="1.1", neutral=0, words="{} distinct training digits"
    )
    epochs: int = setting(100, ORIGINAL, "section 1.3", limits=(1, 100_000), words="{} epochs")
    batch_size: int = setting(50, ORIGINAL, "section 1.3")
    optimizer: str = setting(
        "sgd",
        WE,
        "the original calls the losses optimizers",
        allowed=OPTIMIZERS,
        words={"sgd": "SGD", "adam": "Adam"},
    )
    learning_rate: float = setting(0.01, ORIGINAL, "section 1.3", limits=(1e-12, 1000))
    momentum: float = setting(0.0, WE, "0.9 as a second reading", limits=(0, 0.9999))
    # More bits of a seed would run into the trial's number.
    seed: int = setting(2022, WE, "root of all random streams", limits=(0, 2**32 - 1))

    def __post_init__(self) -> None:
        """Bring values to their exact type, fill in the data set's defaults, check everything, and compute the key."""
        for name, known in SETTINGS.items():
            value = getattr(self, name)
            if value is None and known.default is None:
                value = getattr(DATASETS[self.dataset], name)  # which was checked before: its line comes first
            object.__setattr__(self, name, typed(name, value, TYPES[name]))
            if known.limits:
                within(name, getattr(self, name), *known.limits)
            if known.allowed:
                one_of(name, getattr(self, name), known.allowed)
        self.check_pairs()
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is {self.momentum!r}; allowed: 0 with optimizer {self.optimizer!r}")
        for name, example in (("channels", "16-32"), ("hidden", "64-64-32")):
            if not SIZES.fullmatch(getattr(self, name)):
                value = show(getattr(self, name))
                raise ValueError(f"{name} is {value}; allowed: sizes joined by hyphens, such as {example!r}")
        if len(self.channels.split("-")) != 2:
            raise ValueError(
                f"channels is {show(self.channels)}; allowed: two sizes, one per convolution, such as '16-32'"
            )
        self.check_architecture(self.said())
        if any(getattr(self, name) for name in BY_NAME):
            from lib.choices import settled  # and torch: these name heads and parts of the network

            for name, value in settled(self).items():
                object.__setattr__(self, name, value)
        assert self.key  # computed once, now: a source file may be edited later

    def check_pairs(self) -> None:
        """Raise ValueError for numbers of pairs, digits and a batch that do not fit each other or the data set."""
        most = DATASETS[self.dataset].most
        within("test_pairs", self.test_pairs, 1, most["test_pairs"], f" for the data set {self.dataset!r}{ONCE}")
        if self.train_digits:
            within("train_pairs", self.train_pairs, 1, MOST_PAIRS)
            top = min(2 * self.train_pairs, 2 * most["train_pairs"])
            why = f" for {self.train_pairs} training pairs of the data set {self.dataset!r}, or 0: two per pair"
            within("train_digits", self.train_digits, 2, top, why)
            if self.train_digits == 2 * self.train_pairs:
                object.__setattr__(self, "train_digits", 0)  # which says the same
        else:
            why = f" for the data set {self.dataset!r}{ONCE} (train_digits allows that)"
            within("train_pairs", self.train_pairs, 1, most["train_pairs"], why)
        within("batch_size", self.batch_size, 1, self.train_pairs, " (train_pairs)")

    def check_architecture(self, said: Iterable[str]) -> None:
        """Raise ValueError for an architecture that there is not, and for a setting `said` that it does not read."""
        if ":" not in self.architecture:
            one_of("architecture", self.architecture, registry.ARCHITECTURES, "or module:Class")
        ours = registry.is_ours(self.architecture)
        asked = [
            name
            for name in said
            if name in SETTINGS and (SETTINGS[name].optional or (SETTINGS[name].stacks_only and not ours))
        ]
        if asked or not (ours and self.architecture in registry.ARCHITECTURES):
            from lib.foreign import find, reads  # and torch, which reading results does without

            read = reads(find(self.architecture))
            for name in asked:
                if name not in read:
                    raise ValueError(
                        f"{name} is {show(getattr(self, name))}, which {self.architecture} does not read; leave it out"
                    )

    @classmethod
    def parse(cls, *texts: str) -> "Experiment":
        """Make an experiment of words such as `CAUX momentum=0.9`; what is not said is the default.

        A word without `=` is the architecture, in any place. Raises TypeError or ValueError, as the class does, and for
        a setting that is not known or said twice.
        """
        said = words(*texts)
        experiment = cls(**said)
        experiment.check_architecture(said)
        return experiment

    def changed(self, *texts: str) -> "Experiment":
        """Return this experiment with what the words say laid over it."""
        return self.parse(" ".join(spoken(name, value) for name, value in {**self.said(), **words(*texts)}.items()))

    def said(self) -> dict[str, Any]:
        """Return the settings that are not at their default; numbers of pairs that are the data set's own are."""
        own = vars(DATASETS[self.dataset])
        values = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in values.items() if value != own.get(name, SETTINGS[name].default)}

    def __str__(self) -> str:
        """Say the experiment in words that `parse` reads."""
        said = {"architecture": self.architecture, **self.said()}
        return " ".join(spoken(name, value) for name, value in said.items())

    def __eq__(self, other: object) -> bool:
        """Compare by the key: the same result."""
        return self.key == other.key if isinstance(other, Experiment) else NotImplemented

    def __hash__(self) -> int:
        """Hash the key."""
        return hash(self.key)

    @property
    def name(self) -> str:
        """Name for legends, tables and sentences; optimizer and sizes are not in it."""
        form = "fully convolutional " if self.fully_convolutional else ""
        labels = "" if self.one_hot_encoding else " without one-hot labels"
        return form + self.architecture.rpartition(":")[2] + labels

    @functools.cached_property
    def configuration(self) -> dict[str, object]:
        """Everything that decides the result; of an architecture outside lib also the SHA-256 of its source."""
        values = {name: getattr(self, name) for name in SETTINGS}
        kept = {name: value for name, value in values.items() if value != SETTINGS[name].neutral}
        return {**kept, "protocol": PROTOCOL, **self.source()}

    @functools.cached_property
    def key(self) -> str:
        """Name of the stored result."""
        return store.key(self.configuration)

    def source(self) -> dict[str, str]:
        """Return what the key must know of an architecture outside lib."""
        if registry.is_ours(self.architecture):
            return {}
        from lib.foreign import find, source

        return {"source": source(find(self.architecture))}

    def is_plain(self) -> bool:
        """Say whether the architecture is a plain module, whose trials train one by one."""
        if registry.is_ours(self.architecture):
            return False
        from lib.foreign import find, is_plain

        return is_plain(find(self.architecture))

    def sizes(self, trials: int) -> "Sizes":
        """Return the sizes of this experiment's network for a stack of so many trials."""
        from lib.architectures import Sizes

        return Sizes(
            trials=trials,
            channels=tuple(map(int, self.channels.split("-"))),
            hidden=tuple(map(int, self.hidden.split("-"))),
            auxiliary_hidden=self.auxiliary_hidden,
            one_hot=self.one_hot_encoding,
            sigmoid=self.sigmoid,
            sigmoids=tuple(self.sigmoids.split("+")) if self.sigmoids else None,
            spread=self.spread,
            centres=self.centres,
            width=self.width,
            dropout=self.dropout,
            auxiliary_dropout=self.auxiliary_dropout,
        )


SETTINGS: dict[str, Setting] = {each.name: each.metadata["setting"] for each in fields(Experiment)}
TYPES: dict[str, Any] = {each.name: each.type for each in fields(Experiment)}
WORDS = {bool: "True or False", str: "a text", int: "a whole number", float: "a number"}


def differences(a: Experiment, b: Experiment) -> tuple[str, ...]:
    """Return the names of the settings in which two experiments differ, in the order of the settings."""
    return tuple(name for name in SETTINGS if getattr(a, name) != getattr(b, name))


def told_apart(experiments: Iterable[Experiment]) -> dict[Experiment, str]:
    """Return what messages call experiments: the name, and where two of them share it all that is said of each.

    What is longer than LONGEST is cut, and ends with the key.
    """
    once = list(dict.fromkeys(experiments))
    shared = Counter(each.name for each in once)
    words = {each: each.name if shared[each.name] == 1 else str(each) for each in once}
    return {
        each: text if len(text) <= LONGEST else f"{text[: LONGEST - 24]} ... ({each.key})"
        for each, text in words.items()
    }


def describe(name: str, value: object) -> str:
    """Say a setting's value in prose, such as "momentum 0.9" or "without one-hot labels"."""
    known = SETTINGS[name].words or name.replace("_", " ") + " {}"
    return known.format(value) if isinstance(known, str) else known[value]


def spoken(name: str, value: object) -> str:
    """Say a setting as `parse` reads it: `momentum=0.9`, and the architecture by itself."""
    return str(value) if name == "architecture" else f"{name}={value}"


def words(*texts: str) -> dict[str, Any]:
    """Read settings from texts such as `CAUX momentum=0.9`, each value of its setting's type.

    Raises TypeError for what is no text and for an unknown setting, ValueError for a value that is missing or cannot be
    read and for a setting that is said twice.
    """
    said: dict[str, Any] = {}
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"an experiment is said in words such as 'CAUX momentum=0.9'; got {show(text)}")
        for word in text.split():
            name, equals, value = word.strip("'\"").partition("=")
            if name in SETTINGS and not equals:
                raise ValueError(f"{name} is said without a value; write {name}=value, without blanks")
            if not equals:
                name, value = "architecture", name
            if name not in SETTINGS:
                raise TypeError(unknown(name, SETTINGS))
            if name in said:
                raise ValueError(f"{name} is said twice: {said[name]} and {value}")
            said[name] = value_of(name, value.strip("'\""))
    return said


def value_of(name: str, text: str) -> Any:
    """Return the value of a setting that a text says. Raises ValueError."""
    kind = TYPES[name]
    if text == "None" and SETTINGS[name].default is None:
        return None
    if kind is bool:
        if text.lower() in ("true", "yes", "false", "no"):
            return text.lower() in ("true", "yes")
    else:
        try:
            return kind(text)
        except ValueError:
            pass
    raise ValueError(f"{name} is {show(text)}; allowed: {WORDS[kind]}")


def typed(name: str, value: object, kind: Any) -> Any:
    """Return `value` as exactly `kind` where that loses nothing. Raises TypeError naming the field and its value."""
    is_bool = isinstance(value, bool) or type(value).__name__ == "bool"  # a numpy bool too
    if kind is bool and is_bool:
        return bool(value)
    if kind is str and isinstance(value, str):
        return str(value)
    if kind is int and isinstance(value, Integral) and not is_bool:
        return int(value)
    if kind is float and isinstance(value, Real) and not is_bool:
        try:
            number = float(value) + 0.0  # -0.0 equals 0.0, and so must their keys
        except OverflowError:  # an integer that no float can hold
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{name} is {show(value)}; allowed: a finite number")
        return number
    none = " or None" if SETTINGS[name].default is None else ""
    quotes = f", in quotes: {name}='{show(value)}'" if kind is str and type(value) is int and abs(value) < 10**6 else ""
    raise TypeError(f"{name} is {show(value)} ({type(value).__name__}); allowed: {WORDS[kind]}{none}{quotes}")
