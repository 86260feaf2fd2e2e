"""Results on disk: one immutable JSON per experiment and block of trials, `<architecture>-<key>/trials-000-024.json`.

There is no index, no lock and no pickle: a result exists when its file does. A file is written whole or not at all, and
is trusted only after its checksum, its schema, its name and its numbers have been checked. This module knows nothing of
torch.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lib import files

SCHEMA = 1  # of the file; raised when its fields change
COUNTS = ("test_correct", "auxiliary_test_correct")  # [trials][epochs]
LOSSES = ("train_loss", "test_loss", "auxiliary_train_loss", "auxiliary_test_loss")  # the same, to 6 digits
FIELDS = {
    *("schema", "configuration", "trials", "data", *COUNTS, *LOSSES),
    *("auxiliary_total", "last_bits", "last_table", "provenance"),
}

# Trials that train together. Rounding depends on the size of the stack, so blocks are aligned and of one size, whatever
# the number of workers: only the last block of a run may be shorter.
GROUP = 25


def groups(trials: range) -> list[range]:
    """Cut a range of trials into blocks of 25; the last may be shorter."""
    return [range(first, min(first + GROUP, trials.stop)) for first in range(trials.start, trials.stop, GROUP)]


class DamagedResultError(ValueError):
    """A stored file cannot be trusted; the message names the file, the reason and what to do."""


class ConflictError(RuntimeError):
    """A result that differs from the stored one of the same experiment and trials; the stored one is left as it is."""


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
    """Return the file below `root` of one block of consecutive trials."""
    return Path(root) / folder(configuration) / f"trials-{trials[0]:03d}-{trials[-1]:03d}.json"


def find(roots: Iterable[Path], configuration: Mapping[str, object], trials: range) -> Path | None:
    """Return the file of the longest block that starts as `trials` and covers them, in the first root that can."""
    for root in roots:
        files = (Path(root) / folder(configuration)).glob(f"trials-{trials[0]:03d}-*.json")
        last = {int(m[1]): file for file in files if (m := re.fullmatch(r"trials-\d+-(\d+)\.json", file.name))}
        if last and max(last) >= trials[-1]:
            return last[max(last)]
    return None


def serialise(record: Mapping[str, object]) -> bytes:
    """Return the bytes of a record's file: a line of canonical JSON per field, then the SHA-256 of those lines."""
    lines = ",\n".join(f"{canonical(name)}:{canonical(record[name])}" for name in sorted(record))
    return f'{{\n{lines},\n"sha256":"{hashlib.sha256(lines.encode()).hexdigest()}"\n}}\n'.encode()


def write(root: Path, record: Mapping[str, object]) -> Path:
    """Store one block and return its file; the file appears whole, or not at all.

    A block that is stored already is left as it is. Raises ConflictError when its results are different ones,
    ValueError when the record is not complete, and OSError when the disk is full or read-only.
    """
    path = group_path(root, record["configuration"], record["trials"])
    check(record, path)
    if path.exists():
        return keep(path, record)
    if not files.write(path, serialise(record), replace=False):  # another writer was faster
        return keep(path, record)
    return path


def keep(path: Path, record: Mapping[str, object]) -> Path:
    """Leave a stored block as it is. Raises ConflictError when `record` has other results for it."""
    stored = read(path)
    if any(stored[name] != record[name] for name in FIELDS - {"provenance"}):
        raise ConflictError(f"{path} holds other results for the same experiment and trials: it was left as it is")
    return path


def read(path: Path) -> dict:
    """Read one block and check everything that can be checked.

    Raises DamagedResultError naming the file, the reason and what to do.
    """
    raw = Path(path).read_bytes()
    try:
        record = json.loads(raw, object_pairs_hook=unique, parse_constant=no_constant)
        if not isinstance(record, dict):
            raise ValueError("it is not a JSON object")
        if record.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {record.get('schema')!r}, and this version of the code reads {SCHEMA}")
        stored = record.pop("sha256", None)
        if serialise(record) != raw:  # the bytes themselves: a changed blank is damage too
            raise ValueError(f"its checksum {stored} does not fit its contents")
        check(record, Path(path))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # a hand-made file can do any
        raise DamagedResultError(
            f"{path} cannot be trusted: {error}. Remove it to have these trials trained again, or restore it from git"
        ) from error
    return record


def check(record: Mapping[str, object], path: Path) -> None:
    """Check a record's fields, shapes and ranges, and that it belongs into the file `path`. Raises ValueError."""
    if set(record) != FIELDS:
        raise ValueError(f"its fields differ from the schema: {', '.join(sorted(set(record) ^ FIELDS))}")
    configuration, trials = record["configuration"], record["trials"]
    if not trials or trials != list(range(trials[0], trials[0] + len(trials))):
        raise ValueError("its trials are not consecutive")
    expected = group_path(path.parent.parent, configuration, trials)
    if (path.parent.name, path.name) != (expected.parent.name, expected.name):
        raise ValueError(f"it holds what belongs into {expected.parent.name}/{expected.name}")
    epochs, n = configuration["epochs"], configuration["test_pairs"]
    has_auxiliary = record["auxiliary_total"] is not None
    for name in (*COUNTS, *LOSSES):
        rows = record[name]
        if name.startswith("auxiliary") and not has_auxiliary:
            if rows is not None:
                raise ValueError(f"{name} is given for an architecture without an auxiliary head")
            continue
        if len(rows) != len(trials) or any(len(row) != epochs for row in rows):
            raise ValueError(f"{name} is not {len(trials)} trials x {epochs} epochs")
        top = math.inf if name in LOSSES else record["auxiliary_total"] if name.startswith("auxiliary") else n
        kinds = (int,) if name in COUNTS else (int, float)
        if not all(type(value) in kinds and 0 <= value <= top for row in rows for value in row):
            raise ValueError(f"{name} has values outside 0 to {top}")
    for name in ("data", "last_bits", "last_table"):
        if len(record[name]) != len(trials):
            raise ValueError(f"{name} is not given for each of the {len(trials)} trials")
    for correct, bits, table in zip(record["test_correct"], record["last_bits"], record["last_table"], strict=True):
        cells = [cell for row in table for cell in row]
        if [len(row) for row in table] != [10] * 10 or not all(0 <= right <= total for right, total in cells):
            raise ValueError("its table by digits is not 10 x 10 times (correct, total)")
        counts = {correct[-1], sum(bits_of(bits, n)), sum(right for right, total in cells)}
        if len(counts) != 1 or sum(total for right, total in cells) != n:
            raise ValueError("its counts of correct answers in the last epoch contradict each other")


def hex_of(bits: Sequence[bool]) -> str:
    """Write right (1) or wrong (0) of every test pair as hexadecimal digits, the first pair in the highest bit."""
    padded = "".join("1" if bit else "0" for bit in bits).ljust(-(-len(bits) // 4) * 4, "0")
    return "".join(f"{int(padded[i : i + 4], 2):x}" for i in range(0, len(padded), 4))


def bits_of(text: str, n: int) -> list[int]:
    """Read what `hex_of` wrote, for `n` pairs. Raises ValueError for another length."""
    if len(text) != -(-n // 4):
        raise ValueError(f"it has {len(text)} hexadecimal digits for {n} test pairs")
    return [int(bit) for bit in f"{int(text, 16):0{4 * len(text)}b}"][:n]


def unique(pairs: list[tuple[str, object]]) -> dict:
    """Refuse an object that names a field twice, which `json` would silently accept."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("it names a field twice")
    return dict(pairs)


def no_constant(name: str) -> float:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(f"it contains {name}")
