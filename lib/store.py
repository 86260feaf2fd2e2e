"""Results on disk: one immutable file per experiment and group, `<architecture>-<key>/trials-000-024.json.gz`.

There is no index, no lock and no pickle: a result exists when its file does. A file is written whole or not at all, and
is trusted only after its checksum, its schema, its name and its numbers have been checked. This module knows nothing of
torch.
"""

import gzip
import hashlib
import json
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from lib import files
from lib.messages import show

SCHEMA = 2  # of the file; raised when its fields change

# Trials that train together. Rounding depends on the size of the stack, so groups are aligned and of one size, whatever
# the number of workers: only the last group of a run may be shorter.
GROUP = 25


class Record(TypedDict):
    """What is stored of a group of trials. Lists begin with the trials; `[trials][epochs]` where not said otherwise.

    A head beside `auxiliary` adds the same four lists and the total under its own name.
    """

    schema: int
    configuration: dict[str, Any]  # of the experiment: its key is the SHA-256 of this
    trials: list[int]
    fingerprints: list[str]  # of each trial's pairs
    test_correct: list[list[int]]
    train_loss: list[list[float]]  # losses to 6 significant digits
    test_loss: list[list[float]]
    auxiliary_test_correct: list[list[int]] | None  # None: there is no such head
    auxiliary_train_loss: list[list[float]] | None
    auxiliary_test_loss: list[list[float]] | None
    auxiliary_total: int | None  # answers of the head to the test set: 2 per pair for digit classes
    last_bits: list[str]  # after the last epoch: right (1) or wrong (0) of each test pair, in hexadecimal digits
    last_table: list[list[list[list[int]]]]  # the same, (correct, total) by first and second digit
    last_named: NotRequired[dict[str, list[str]]]  # by auxiliary head: the class named, a digit per answer (up to ten)
    provenance: dict[str, Any]  # where it comes from; decides nothing


FIELDS = set(Record.__annotations__)
OPTIONAL = {"last_named"}  # files carried over from schema 1 have none
UNTRUSTED = (  # what a damaged or hand-made file can raise
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError),
    *(EOFError, zlib.error, gzip.BadGzipFile),
)
CONVERTED = "its line ends were converted, as git does with core.autocrlf: get it again as it was"
NUMBER, MOST = (int, float), sys.float_info.max  # JSON has larger ones
PROVENANCE: dict[str, tuple[type, ...]] = {  # what each record says of where it comes from
    **dict.fromkeys(("commit", "python", "torch", "numpy", "cpu", "device", "dtype", "implementation"), (str,)),
    **dict.fromkeys(("threads", "stack"), (int, str)),  # several, where trials were joined that were trained apart
    **{"dirty": (bool,), "started": (str,), "seconds": NUMBER},
}
HEAD_LISTS = ("test_correct", "train_loss", "test_loss")


class DamagedResultError(ValueError):
    """A stored file cannot be trusted; the message names the file, the reason and what to do."""


class ConflictError(RuntimeError):
    """A result that differs from the stored one of the same experiment and trials; the stored one is left as it is."""


class Store:
    """Results below a folder, `root`, where they are written; `also` are folders that are only read, and read first."""

    def __init__(self, root: Path | str, also: Sequence[Path | str] = ()) -> None:
        self.root, self.also = Path(root), [Path(folder) for folder in also]

    def find(self, configuration: Mapping[str, object], trials: range) -> Path | None:
        """Return the file of the longest group that starts as `trials` and covers them, in the first folder that can.

        Raises DamagedResultError where a folder holds files of an older schema.
        """
        for root in (*self.also, self.root):
            found: dict[int, Path] = {}
            for file in (root / folder(configuration)).glob(f"trials-{trials[0]:03d}-*.json*"):
                if file.suffix == ".json":
                    raise DamagedResultError(
                        f"{file} is of schema 1, and this version of the code reads {SCHEMA}: "
                        f"`python -m report stored --carry-over {root}` brings it over"
                    )
                if match := re.fullmatch(r"trials-\d+-(\d+)\.json\.gz", file.name):
                    found[int(match[1])] = file
            if found and max(found) >= trials[-1]:
                return found[max(found)]
        return None

    def read(self, configuration: Mapping[str, object], trials: range) -> Record | None:
        """Return the stored record that covers a group of trials, or None. Raises DamagedResultError.

        Trials that were stored one by one, as those of a plain module are, are put together.
        """
        if path := self.find(configuration, trials):
            return read(path)
        for root in (*self.also, self.root):
            if files := pieces(root / folder(configuration), r"trials-(\d+)-(\d+)\.json\.gz", trials):
                return joined([cut(read(path), part) for path, part in files])
        return None

    def missing(self, configuration: Mapping[str, object], trials: int) -> list[range]:
        """Return the groups of the first trials that are not stored. Raises DamagedResultError."""
        return [group for group in groups(range(trials)) if self.read(configuration, group) is None]

    def gather(self, configuration: Mapping[str, object], trials: range) -> None:
        """Make one file of a group whose trials were stored one by one; those go when it was written and read again.

        Raises DamagedResultError, and OSError as `write` does.
        """
        if self.find(configuration, trials) is None and (record := self.read(configuration, trials)):
            read(self.write(record))
            for trial in trials if len(trials) > 1 else ():
                group_path(self.root, configuration, [trial]).unlink(missing_ok=True)

    def write(self, record: Record) -> Path:
        """Store one group and return its file; the file appears whole, or not at all.

        A group that is stored already is left as it is. Raises ConflictError when its results are different ones,
        ValueError when the record is not complete, and OSError when the disk is full or read-only.
        """
        path = group_path(self.root, record["configuration"], record["trials"])
        check(record, path)
        if path.exists() or not files.write(path, packed(record), replace=False):  # another writer may be faster
            keep(path, record)
        return path

    def files(self) -> Iterator[Path]:
        """Yield the files of all stored groups, in order."""
        for root in (*self.also, self.root):
            yield from sorted(root.glob("*/trials-*.json.gz"))


def pieces(folder: Path, pattern: str, trials: range) -> list[tuple[Path, range]]:
    """Return files of a folder that cover some trials together, each with those that it is to give; [] if none do.

    `pattern` matches the names and takes the first and the last trial out of them.
    """
    found = [
        (range(int(match[1]), int(match[2]) + 1), file)
        for file in folder.glob("*")
        if (match := re.fullmatch(pattern, file.name))
    ]
    chosen, at = [], trials.start
    while at < trials.stop:
        held = max(((span.stop, file) for span, file in found if at in span), default=None)
        if held is None:
            return []
        chosen.append((held[1], range(at, min(held[0], trials.stop))))
        at = held[0]
    return chosen


def cut(record: Record, trials: range) -> Record:
    """Return the record of some of a record's trials."""
    part = slice(trials.start - record["trials"][0], trials.stop - record["trials"][0])

    def cut_out(name: str, value: Any) -> Any:
        if name == "last_named":
            return {head: named[part] for head, named in value.items()}
        return value[part] if isinstance(value, list) else value

    return cast(Record, {name: cut_out(name, value) for name, value in record.items()})


def joined(records: Sequence[Record]) -> Record:
    """Return one record of consecutive trials of one experiment."""
    several = [cast(dict[str, Any], record) for record in records]
    whole = dict(several[0])
    for name, value in whole.items():
        if isinstance(value, list):
            whole[name] = [row for record in several for row in record[name]]
    named = [record["last_named"] for record in several if "last_named" in record]
    whole.pop("last_named", None)
    if len(named) == len(several):
        whole["last_named"] = {head: [text for each in named for text in each[head]] for head in named[0]}
    whole["provenance"] = origin([record["provenance"] for record in several])
    return cast(Record, whole)


def origin(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return where joined trials come from: what all say, else each answer once; the first start, and all seconds."""
    whole = dict(several[0])
    for name, value in whole.items():
        answers: list[Any] = [each.get(name) for each in several]
        if name == "seconds" and None not in answers:
            whole[name] = round(sum(answers), 3)
        elif isinstance(value, bool):
            whole[name] = any(answers)
        elif name != "started" and any(answer != value for answer in answers):
            whole[name] = " and ".join(dict.fromkeys(map(str, answers)))
    return whole


def groups(trials: range) -> list[range]:
    """Cut a range of trials into groups of 25; the last may be shorter."""
    return [range(first, min(first + GROUP, trials.stop)) for first in range(trials.start, trials.stop, GROUP)]


def canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(configuration: Mapping[str, object]) -> str:
    """Return the name of an experiment: the first 16 hex digits of the SHA-256 of its canonical configuration."""
    return hashlib.sha256(canonical(configuration).encode()).hexdigest()[:16]


def folder(configuration: Mapping[str, object]) -> str:
    """Return the folder name of an experiment, `<architecture>-<key>`."""
    architecture = re.sub(r"\W+", "_", str(configuration["architecture"]))  # module:Class is no file name everywhere
    return f"{architecture}-{key(configuration)}"


def group_path(root: Path, configuration: Mapping[str, object], trials: Sequence[int]) -> Path:
    """Return the file below `root` of one group of consecutive trials."""
    return Path(root) / folder(configuration) / f"trials-{trials[0]:03d}-{trials[-1]:03d}.json.gz"


def serialise(record: Mapping[str, object]) -> str:
    """Return the text of a record's file: a line of canonical JSON per field, then the SHA-256 of those lines."""
    lines = ",\n".join(f"{canonical(name)}:{canonical(record[name])}" for name in sorted(record))
    return f'{{\n{lines},\n"sha256":"{hashlib.sha256(lines.encode()).hexdigest()}"\n}}\n'


def is_whole(text: bytes) -> bool:
    """Say whether a text is what `serialise` wrote, by its checksum; a third of the time that writing it anew takes."""
    lines = text.rpartition(b',\n"sha256":"')[0].removeprefix(b"{\n")
    return text == b'{\n%b,\n"sha256":"%b"\n}\n' % (lines, hashlib.sha256(lines).hexdigest().encode())


def packed(record: Mapping[str, object]) -> bytes:
    """Return the bytes of a record's file: a third of its text, without the time at which it was packed."""
    return gzip.compress(serialise(record).encode(), mtime=0)


def keep(path: Path, record: Record) -> None:
    """Leave a stored group as it is. Raises ConflictError when `record` has other results for it."""
    if differing(read(path), record):
        raise ConflictError(f"{path} holds other results for the same experiment and trials: it was left as it is")


def differing(stored: Record, fresh: Record) -> list[str]:
    """Return the fields in which two records of one group differ; provenance is none, nor what only one of them has."""
    one, other = cast(dict[str, object], stored), cast(dict[str, object], fresh)
    return sorted(name for name in one.keys() & other.keys() - {"provenance"} if one[name] != other[name])


def read(path: Path) -> Record:
    """Read one group and check everything that can be checked.

    Raises DamagedResultError naming the file, the reason and what to do.
    """
    try:
        record = cast(Record, parsed(unpacked(Path(path).read_bytes()), SCHEMA))
        check(record, Path(path))
    except UNTRUSTED as error:
        raise DamagedResultError(
            f"{path} cannot be trusted: {error}. Remove it to have these trials trained again, or restore it from git"
        ) from error
    return record


def unpacked(content: bytes) -> bytes:
    """Return what was packed into the bytes of a file. Raises one of UNTRUSTED, and says if lines were converted."""
    try:
        return gzip.decompress(content)
    except UNTRUSTED as error:
        if content.count(b"\n") == content.count(b"\r\n") > 0:  # by chance one in 256 is so, to the power of the count
            raise ValueError(f"{error}; {CONVERTED}") from error
        raise


def parsed(text: bytes, schema: int) -> Any:
    """Return the record that a file's text holds. Raises ValueError for another schema and a wrong checksum."""
    record = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")
    if record.get("schema") != schema:
        raise ValueError(f"its schema is {record.get('schema')!r}, and this version of the code reads {schema}")
    stored = record.pop("sha256", None)
    if is_whole(text):
        return record
    if (whole := serialise(record).encode()) != text:  # the bytes themselves: a changed blank is damage too
        converted = f"; {CONVERTED}" if whole == text.replace(b"\r\n", b"\n") else ""
        raise ValueError(f"its checksum {stored} does not fit its contents{converted}")
    return record


def carry_over(root: Path) -> int:
    """Bring the files of schema 1 below a folder to schema 2, one to one; return how many.

    `data` is called `fingerprints` and the checksum is renewed; nothing else changes. An old file goes when the new one
    was written and read again. Raises DamagedResultError for a file that cannot be trusted; it stays.
    """
    old_files = sorted(Path(root).glob("*/trials-*.json"))
    for old in old_files:
        try:
            record = parsed(old.read_bytes(), 1)
            record |= {"schema": SCHEMA, "fingerprints": record.pop("data")}
            check(record, old.with_name(f"{old.name}.gz"))
        except UNTRUSTED as error:
            raise DamagedResultError(f"{old} cannot be trusted: {error}. It was left as it is") from error
        new = Store(root).write(record)
        if serialise(cast(Mapping[str, object], read(new))) != serialise(record):
            raise DamagedResultError(f"{old} could not be carried over to {new}: both were left as they are")
        old.unlink()
    return len(old_files)


def check(record: Record, path: Path) -> None:
    """Check a record's fields, shapes and ranges, and that it belongs into the file `path`. Raises ValueError."""
    lists = cast(Mapping[str, Any], record)
    heads = [name.removesuffix("_total") for name in record if name.endswith("_total")]
    further = {f"{head}_{name}" for head in heads for name in (*HEAD_LISTS, "total")}
    if wrong := (FIELDS | further) - OPTIONAL ^ (set(record) - OPTIONAL):
        raise ValueError(f"its fields differ from the schema: {', '.join(sorted(wrong))}")
    configuration, trials = record["configuration"], record["trials"]
    if not trials or trials != list(range(trials[0], trials[0] + len(trials))):
        raise ValueError("its trials are not consecutive")
    expected = group_path(path.parent.parent, configuration, trials)
    if (path.parent.name, path.name) != (expected.parent.name, expected.name):
        raise ValueError(f"it holds what belongs into {expected.parent.name}/{expected.name}")
    check_provenance(record["provenance"])
    epochs, n = configuration["epochs"], configuration["test_pairs"]
    check_lists({name: lists[name] for name in HEAD_LISTS}, len(trials), epochs, n)
    for head in heads:
        rows = {name: lists[name] for name in (f"{head}_{each}" for each in HEAD_LISTS)}
        total = lists[f"{head}_total"]
        if total is not None:
            if type(total) is not int or not 0 < total < 2**53:  # a float of it is exact
                raise ValueError(f"{head}_total is {show(total)}")
            check_lists(rows, len(trials), epochs, total)
        elif any(values is not None for values in rows.values()):
            raise ValueError(f"{', '.join(rows)} are given for an architecture without this head")
    for name in ("fingerprints", "last_bits", "last_table"):
        if len(lists[name]) != len(trials):
            raise ValueError(f"{name} is not given for each of the {len(trials)} trials")
    if not all(isinstance(each, str) for each in record["fingerprints"]):
        raise ValueError("its fingerprints are no texts")
    for head, named in record.get("last_named", {}).items():
        if [len(text) for text in named] != [lists[f"{head}_total"]] * len(trials) or not "".join(named).isdigit():
            raise ValueError(f"last_named of {head} is not a digit for each of its answers")
    for correct, bits, table in zip(record["test_correct"], record["last_bits"], record["last_table"], strict=True):
        cells = [cell for row in table for cell in row]
        if [len(row) for row in table] != [10] * 10 or not all(0 <= right <= total for right, total in cells):
            raise ValueError("its table by digits is not 10 x 10 times (correct, total)")
        counts = {correct[-1], binary(bits, n).count("1"), sum(right for right, total in cells)}
        if len(counts) != 1 or sum(total for right, total in cells) != n:
            raise ValueError("its counts of correct answers in the last epoch contradict each other")


def check_provenance(provenance: Any) -> None:
    """Check where a record says that it comes from: PROVENANCE, and plain values beside it. Raises ValueError."""
    if not isinstance(provenance, dict):
        raise ValueError(f"its provenance is {show(provenance)}; allowed: an object")
    for name, kinds in {**dict.fromkeys(provenance, (str, bool, *NUMBER)), **PROVENANCE}.items():
        value: Any = provenance.get(name)
        right = isinstance(value, kinds) and isinstance(value, bool) <= (bool in kinds)  # a truth value is an int
        if not right or not (isinstance(value, str) or 0 <= value <= MOST):
            raise ValueError(f"its provenance says of {show(name)}: {show(value)}")
    try:
        datetime.fromisoformat(provenance["started"])
    except ValueError as error:
        raise ValueError(f"its provenance says of 'started': {error}") from None


def check_lists(lists: Mapping[str, Any], trials: int, epochs: int, most: float) -> None:
    """Check the lists `[trials][epochs]`: counts are whole numbers up to `most`. Raises ValueError."""
    for name, rows in lists.items():
        if len(rows) != trials or any(len(row) != epochs for row in rows):
            raise ValueError(f"{name} is not {trials} trials x {epochs} epochs")
        counts = name.endswith("test_correct")
        kinds, top = ((int,), most) if counts else (NUMBER, MOST)
        if not all(set(map(type, row)) <= set(kinds) and all_within(row, top) for row in rows):
            raise ValueError(f"{name} has values outside 0 to {top:g}")


def all_within(row: Sequence[float], top: float) -> bool:
    """Say whether all numbers of a row are from 0 to `top`; NaN is not."""
    return not row or (min(row) >= 0 and max(row) <= top and not any(map(math.isnan, row)))


def hex_of(bits: Sequence[bool]) -> str:
    """Write right (1) or wrong (0) of every test pair as hexadecimal digits, the first pair in the highest bit."""
    padded = "".join("1" if bit else "0" for bit in bits).ljust(-(-len(bits) // 4) * 4, "0")
    return "".join(f"{int(padded[i : i + 4], 2):x}" for i in range(0, len(padded), 4))


def bits_of(text: str, n: int) -> list[int]:
    """Read what `hex_of` wrote, for `n` pairs. Raises ValueError for another length."""
    return list(map(int, binary(text, n)))


def binary(text: str, n: int) -> str:
    """Return the bits of hexadecimal digits as a text of `n`. Raises ValueError for another length."""
    if len(text) != -(-n // 4):
        raise ValueError(f"it has {len(text)} hexadecimal digits for {n} test pairs")
    return f"{int(text, 16):0{4 * len(text)}b}"[:n]


def unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Refuse an object that names a field twice, which `json` would silently accept."""
    pairs = list(pairs)
    if len(dict(pairs)) != len(pairs):
        raise ValueError("it names a field twice")
    return dict(pairs)


def no_constant(name: str) -> float:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(f"it contains {name}")
