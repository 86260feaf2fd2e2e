"""What a store holds, each experiment said in its words; what is taken out of it and put in; what a study lacks."""

import difflib
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from lib import Experiment, Result, Store, load, store
from lib.analysis import PREREGISTERED, PUBLISHED, default_store
from lib.store import Record, groups
from lib.table import experiment_of, once


class Stored(NamedTuple):
    """An experiment in a folder of a store, and what is held of it."""

    words: str  # the experiment as it is said, or the name of its folder
    reason: str  # why this version of the code cannot say it, or nothing
    trials: int
    mean: float  # test accuracy after the last epoch, in percent
    sd: float  # of it over the trials; NaN with a single one
    size: int  # of all files in the folder, in bytes
    started: datetime | None  # when the newest group was begun, by its own account: git gives files the clone's time
    place: str  # "own", "published" or "other"
    key: str


class Refused(Exception):
    """What was asked of a store is not done; the message says why in a sentence."""


def inventory(held: Store) -> tuple[list[Stored], list[str]]:
    """Return what a store holds, and a sentence for each file that cannot be read or trusted."""
    found, damaged = [], []
    for folder in dict.fromkeys(file.parent for file in held.files()):
        stored, wrong = look_into(folder)
        found += [stored] if stored else []
        damaged += wrong
    return found, damaged


def look_into(folder: Path) -> tuple[Stored | None, list[str]]:
    """Return what the folder of an experiment holds, or None, and a sentence for each file that cannot be trusted."""
    records, damaged = [], []
    for file in sorted(folder.glob("trials-*.json.gz")):
        try:
            records.append(store.read(file))
        except (store.DamagedResultError, OSError) as error:
            damaged.append(printable(error))
    return (stored_in(folder, records) if records else None), damaged


def stored_in(folder: Path, records: Sequence[Record]) -> Stored:
    """Return what a folder holds of its experiment, each trial once, where these are its records."""
    configuration = records[0]["configuration"]
    try:
        words, reason = str(experiment_of(configuration)), ""
    except (ValueError, TypeError) as error:
        words, reason = folder.name, printable(error)
    correct = [record["test_correct"][place][-1] for record, places in once(records) for place in places]
    accuracy = 100 * np.array(correct) / configuration["test_pairs"]  # [trials]
    return Stored(
        words,
        reason,
        trials=len(accuracy),
        mean=float(accuracy.mean()),
        sd=float(accuracy.std(ddof=1)) if len(accuracy) > 1 else math.nan,
        size=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        started=max(filter(None, map(started, records)), default=None),
        place=place_of(folder.parent),
        key=key_of(folder),
    )


def started(record: Record) -> datetime | None:
    """Return when the training of a record began, or None where no clock can have said so."""
    try:
        return datetime.fromisoformat(record["provenance"]["started"]).astimezone(UTC)
    except OverflowError:
        return None


def place_of(root: Path) -> str:
    """Say which store a folder is: the user's own one, the published study, or another one."""
    published = dict.fromkeys((PUBLISHED.resolve(), PREREGISTERED.resolve()), "published")
    known = {default_store().root.resolve(): "own", **published}
    return known.get(root.resolve(), "other")


def key_of(folder: Path) -> str:
    """Return the key that the name of an experiment's folder ends with."""
    return folder.name.rpartition("-")[2]


def printable(said: object) -> str:
    """Return an error as one line without control characters, which a damaged file may hold for the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(said))


HEADER = ("experiment", "trials", "accuracy %", "MB", "age", "store", "key")
NUMBERS = ("trials", "MB")  # columns that are set to the right
LEAST = 26  # letters of room beside the other columns: `  fully_convolutional=True` is not broken


def lines(listed: Sequence[Stored], now: datetime, width: int) -> list[str]:
    """Return a table of what is stored, accuracy as mean ± SD over trials, in aligned columns and `width` letters.

    The words of an experiment take the lines that they need beside the other columns; where there is too little room,
    above them.
    """
    words = [HEADER[0], *(each.words for each in listed)]
    reasons = ["", *(each.reason for each in listed)]
    others = aligned([HEADER[1:], *(cells(each, now) for each in listed)])
    longest = max(map(len, words))
    room = min(longest, width - 2 - max(map(len, others)))
    text = []
    for said, other, reason in zip(words, others, reasons, strict=True):
        if room >= min(longest, LEAST):
            first, *more = folded(said, room)
            text += [f"{first:{room}}  {other}", *more]
        else:
            text += [*folded(said, width), f"  {other}"]
        if reason:
            text += folded(f"  cannot be said: {reason}", width)
    return text


def cells(each: Stored, now: datetime) -> tuple[str, ...]:
    """Return the columns of a row but the first."""
    sd = "" if math.isnan(each.sd) else f" ± {each.sd:.1f}"
    old = "unknown" if each.started is None else age((now - each.started).total_seconds())
    return str(each.trials), f"{each.mean:5.1f}{sd}", f"{each.size / 1e6:.2f}", old, each.place, each.key


def age(seconds: float) -> str:
    """Return a time that has passed in its largest unit, such as "3 days"."""
    units = {"year": 365 * 86_400, "month": 30 * 86_400, "day": 86_400, "hour": 3600, "minute": 60}
    for unit, length in units.items():
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "just now"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line per row; the first row has the columns' names."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kinds = [">" if name in NUMBERS else "<" for name in rows[0]]
    return [
        "  ".join(f"{cell:{kind}{n}}" for cell, kind, n in zip(row, kinds, widths, strict=True)).rstrip()
        for row in rows
    ]


def folded(text: str, width: int) -> list[str]:
    """Break a text between its words into lines, all but the first indented."""
    return textwrap.wrap(text, width, subsequent_indent="  ")


FOLDER = re.compile(r"\w+-[0-9a-f]{16}")
KEY = re.compile(r"[0-9a-f]{16}")
WRITTEN = re.compile(  # what is written into the folder of an experiment; a part is left by a writer that was killed
    r"trials-\d+-\d+\.json(\.gz)?|measure-.+\.json\.gz|weights-.+\.(safetensors|json\.gz)"
    r"|\.(trials|measure|weights)-.+\.part"
)


def to_remove(text: str, held: Store) -> tuple[Path, list[Path]]:
    """Return the folder in the user's own store of the experiment that a text says, or whose key it is, and its files.

    Raises Refused where it is not stored, or is published, and where the folder has something that is not ours.
    """
    folder = find(text, held)
    if folder.is_symlink():
        raise Refused(f"nothing is removed: {folder} is a link to another folder")
    files = sorted(folder.iterdir())
    ours = [each for each in files if WRITTEN.fullmatch(each.name) and each.is_file() and not each.is_symlink()]
    strange = ", ".join(repr(each.name) for each in files if each not in ours)
    if strange:
        raise Refused(f"nothing is removed: {folder} holds what is not ours: {strange}")
    return folder, files


def find(text: str, held: Store) -> Path:
    """Return the folder in the user's own store of the experiment that a text says, or whose key it is.

    Raises Refused where it is not stored, and where it is published.
    """
    name = text
    if not text.strip():
        raise Refused("say what to remove: an experiment, such as 'CAUX momentum=0.9', or its key")
    if not KEY.fullmatch(text) and not FOLDER.fullmatch(text):
        try:
            name = store.folder(Experiment.parse(text).configuration)
        except (ValueError, TypeError) as error:
            raise Refused(f"{text!r} is no key, and no experiment: {printable(error)}{near(text, held)}") from error

    def called(root: Path) -> list[Path]:
        known = [each for each in sorted(root.glob("*-*")) if FOLDER.fullmatch(each.name)]
        return [each for each in known if name in (each.name, key_of(each))]

    published = {root.resolve() for root in (PUBLISHED, PREREGISTERED, *held.also)}
    own = [] if held.root.resolve() in published else called(held.root)
    if len(own) > 1:
        raise Refused(f"{text!r} is the key of {' and of '.join(each.name for each in own)}; say the folder's name")
    if not own and any(map(called, published)):
        raise Refused(f"{text!r} is part of the published study, which is never removed from")
    if not own:
        raise Refused(f"{text!r} is not in {held.root}{near(text, held)}")
    return own[0]


def near(text: str, held: Store) -> str:
    """Return "; near it: ..." with the stored experiments whose words or key are similar, or where to look."""
    listed, _ = inventory(Store(held.root))
    by_name = {name: each for each in listed for name in (each.words, each.key)}
    close = [name for name in by_name if name.startswith(text)] + difflib.get_close_matches(text, by_name)
    said = dict.fromkeys(f"{by_name[name].words} ({by_name[name].key})" for name in close)
    return f"; near it: {', '.join(list(said)[:3])}" if said else "; `python -m report stored` lists what is stored"


def remove(folder: Path, files: Sequence[Path]) -> None:
    """Remove these files, and then the folder. Raises OSError where that holds another one by now; that one stays."""
    for file in files:
        file.unlink()
    folder.rmdir()


def add(folder: Path, held: Store) -> Iterator[tuple[str, str]]:
    """Bring the groups of another store into the user's own one, each read and checked before it is written.

    Yields what became of each file, "added", "there" (already, with equal results), "conflict" or "damaged", and a
    sentence about those that were not brought. No module is imported that a file names, and no file read that is not
    in that folder, wherever a link leads. Raises Refused where there is nothing to bring, OSError where it cannot be
    written.
    """
    if not folder.is_dir():
        raise Refused(f"there is no folder {folder}")
    files = list(Store(folder).files())
    if not files:
        raise Refused(f"{folder} holds no stored group, such as CAUX-1e234a8bcad4e86c/trials-000-024.json.gz")
    for file in files:
        try:
            if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
                raise store.DamagedResultError(f"{file} is no file in that folder: it was not read")
            record = store.read(file)
        except (store.DamagedResultError, OSError) as error:
            yield "damaged", printable(error)
            continue
        try:
            yield ("added" if put(record, held) else "there"), ""
        except store.ConflictError as error:
            yield "conflict", printable(error)
        except store.DamagedResultError as error:  # the file that stands here
            yield "damaged", printable(error)


def put(record: Record, held: Store) -> bool:
    """Store a record unless it is stored already, in any folder of the store; return whether it was not.

    Raises ConflictError, DamagedResultError (of the file that is stored) and OSError.
    """
    for root in (*held.also, held.root):
        path = store.group_path(root, record["configuration"], record["trials"])
        if path.exists():
            store.keep(path, record)
            return False
    held.write(record)
    return True


def stored_results(
    held: Store, experiments: Sequence[Experiment], trials: int, required: Sequence[Experiment]
) -> list[Result]:
    """Return the results of those experiments that are stored, in order.

    Raises FileNotFoundError when a required one is not, DamagedResultError.
    """
    results = []
    for experiment in experiments:
        try:
            results.append(load(experiment, trials, held))
        except FileNotFoundError as error:
            if experiment in required:
                raise FileNotFoundError(f"{error}: `make study` trains it") from None
    return results


def outlook(held: Store, experiments: Sequence[Experiment], trials: int, workers: int) -> str:
    """Say what a store lacks of a study, and how long that takes, by what the stored groups of the study took.

    Raises DamagedResultError.
    """
    asked = [(experiment, group) for experiment in experiments for group in groups(range(trials))]
    lacking, work, seconds = 0, 0, []  # groups, trial-epochs, seconds of one core per trial-epoch
    for experiment, group in asked:
        record = held.read(experiment.configuration, group)
        if record is None:
            lacking, work = lacking + 1, work + len(group) * experiment.epochs
        else:
            seconds.append(record["provenance"]["seconds"] / len(record["trials"]) / experiment.epochs)
    if not lacking:
        return f"nothing to train: all {len(asked)} groups are stored"
    text = f"to train: {lacking} of {len(asked)} groups, {work:,} trial-epochs, "
    if not seconds:
        return text + "in a time that no stored group tells"
    hours = work * fmean(seconds) / 3600 / workers
    rate = f"{1000 * fmean(seconds):.1f} ms of a core per trial-epoch"
    return text + f"about {hours:.1f} hours with {workers} at a time (stored groups took {rate})"
