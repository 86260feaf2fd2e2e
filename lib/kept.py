"""What is kept of a group beside its record, each in a file of its own: measures, and a note of weights.

Their files are written, named and checked like those of results; no file of a result ever changes for them.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from lib import files, store
from lib.store import DamagedResultError, Record, Store

SCHEMA = 1  # of these files
WEIGHTS = r"weights-(\d+)-(\d+)\.json\.gz"  # names of the notes of weights, with their first and last trial


class Measured(TypedDict):
    """What a measure said of a group of trials."""

    schema: int
    measure: str  # its name
    source: str  # SHA-256 of its file where that is not ours
    configuration: dict[str, Any]  # of the experiment
    trials: list[int]
    values: dict[str, list[Any]]  # by name: [trials], [trials][epochs], [trials][n], or a text of digits per trial
    differing: list[int]  # trials whose counts were not the stored ones in the training that was measured
    provenance: dict[str, Any]  # of that training


def encoded(values: NDArray[Any]) -> list[Any]:
    """Return an array as it is stored: classes as a text of digits per trial, other numbers to 6 significant digits."""
    if values.dtype == np.uint8 and values.ndim == 2 and (values < 10).all():
        return ["".join(map(str, row)) for row in values.tolist()]
    if values.dtype.kind in "iub":
        return cast(list[Any], values.astype(int).tolist())
    return cast(list[Any], np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist())


def decoded(rows: list[Any]) -> NDArray[Any]:
    """Return the array that `encoded` stored."""
    if rows and isinstance(rows[0], str):
        digits = np.frombuffer("".join(rows).encode(), np.uint8) - ord("0")
        if {len(text) for text in rows} != {len(rows[0])} or not (digits < 10).all():
            raise ValueError("its texts of digits are not of one length, or hold something else")
        return digits.reshape(len(rows), len(rows[0]))
    return np.asarray(rows)


def differing(held: Record, fresh: Record) -> list[int]:
    """Return the trials of `fresh` whose counts of right answers are not those of the record that is stored."""
    start = held["trials"][0]
    return [
        trial
        for trial, counts in zip(fresh["trials"], fresh["test_correct"], strict=True)
        if held["test_correct"][trial - start] != counts
    ]


def stem(name: str, source: str) -> str:
    """Return what the names of a measure's files begin with; it tells measures apart whose names look alike."""
    readable, digest = re.sub(r"[^0-9A-Za-z]+", "_", name), hashlib.sha256(f"{name} {source}".encode()).hexdigest()
    return f"measure-{readable}-{digest[:8]}"


def file_name(measured: Measured) -> str:
    """Return the name of a measure's file."""
    trials = measured["trials"]
    return f"{stem(measured['measure'], measured['source'])}-{trials[0]:03d}-{trials[-1]:03d}.json.gz"


def write_measure(root: Path, measured: Measured) -> Path:
    """Store what a measure said; a file that exists is left as it is. Raises ValueError for values of a wrong shape."""
    check_measure(measured)
    path = root / store.folder(measured["configuration"]) / file_name(measured)
    files.write(path, store.packed(measured), replace=False)
    return path


def read_measure(
    held: Store, configuration: Mapping[str, object], trials: range, name: str, source: str
) -> tuple[dict[str, NDArray[Any]], list[int]] | None:
    """Return what a measure said of some trials, by name, and the trials whose training differed; None if not stored.

    Raises DamagedResultError.
    """
    pattern, folder = re.escape(stem(name, source)) + r"-(\d+)-(\d+)\.json\.gz", store.folder(configuration)
    several: list[tuple[Measured, range]] = []
    for group in store.groups(trials):  # each in the first folder that has it, as the results
        found = (store.pieces(root / folder, pattern, group) for root in (*held.also, held.root))
        parts = next(filter(None, found), None)
        if parts is None:
            return None
        several += [(parse(path, configuration, name), part) for path, part in parts]
    names = several[0][0]["values"]
    values = {each: np.concatenate([rows(measured, part, each) for measured, part in several]) for each in names}
    return values, [trial for measured, part in several for trial in measured["differing"] if trial in part]


def rows(measured: Measured, trials: range, name: str) -> NDArray[Any]:
    """Return a measure's values of one name of some of its trials."""
    first = measured["trials"][0]
    return decoded(measured["values"][name])[trials.start - first : trials.stop - first]


def parse(path: Path, configuration: Mapping[str, object], name: str) -> Measured:
    """Read one file of a measure. Raises DamagedResultError."""
    try:
        measured = cast(Measured, store.parsed(store.unpacked(path.read_bytes()), SCHEMA))
        check_measure(measured)
        if measured["measure"] != name or store.key(measured["configuration"]) != store.key(configuration):
            raise ValueError("it holds another measure or is of another experiment")
        if path.name != (expected := file_name(measured)):
            raise ValueError(f"it holds what belongs into {expected}")
    except store.UNTRUSTED as error:
        raise DamagedResultError(
            f"{path} cannot be trusted: {error}. Remove it to have the measure taken again"
        ) from error
    return measured


def check_measure(measured: Measured) -> None:
    """Raise ValueError for a measure's file whose fields or shapes are not what they must be."""
    if set(measured) != set(Measured.__annotations__):
        raise ValueError("its fields differ from the schema")
    trials = measured["trials"]
    if not trials or trials != list(range(trials[0], trials[0] + len(trials))):
        raise ValueError("its trials are not consecutive")
    for name, rows in measured["values"].items():
        if len(rows) != len(trials) or decoded(rows).dtype.kind not in "iuf":
            raise ValueError(f"{name} is not given for each of the {len(trials)} trials, in numbers")


def write_note(path: Path, note: Mapping[str, object]) -> bool:
    """Write a note; one that exists is left as it is. Returns whether it was written."""
    return files.write(path, store.packed({"schema": SCHEMA, **note}), replace=False)


def read_note(path: Path) -> dict[str, Any]:
    """Read a note. Raises one of store.UNTRUSTED for a damaged one."""
    note: dict[str, Any] = store.parsed(store.unpacked(path.read_bytes()), SCHEMA)
    return note
