"""The file of what was measured, `report/published/benchmark.json`: written, read, and looked up."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from lib import files
from lib.machine import ROOT, code_version, cores, processor

FILE = ROOT / "report" / "published" / "benchmark.json"
SCHEMA = 1
UNITS = {
    "*_ms": "milliseconds per trial and epoch (training and one pass over the test set)",
    "*_s": "seconds",
    "*_mb": "megabytes (1,000,000 bytes)",
    "rate_gflops": "floating-point operations per nanosecond; a multiply-add is two",
    "multiply_adds": "per pair",
    "speedup": "the plain textbook loop's time over this one's, of the same experiment and round",
    "relative_to_wsn": "this speedup over WSN's, of the same round",
    "times_floor": "this time over the floor",
}
LEAST_SPEEDUP, MOST_FLOORS = 10, 1.2  # times the textbook loop, times the floor: beyond these the benchmark warns
METHODS = {  # how tables and figures call them
    "textbook": "textbook loop",
    "textbook, memory kept": "textbook loop, memory kept",
    "plain": "ours, a plain module",
    "vmap": "torch.func.vmap",
    "torch": "ours, PyTorch",
    "fused": "ours, compiled block",
}

Measured = dict[str, Any]  # the file: about, settings, rate_gflops, rows, scaling and, if measured, long_check


class Spread(TypedDict):
    """Some measurements of one thing, in the order of the rounds."""

    median: float
    min: float
    max: float
    all: list[float]


class Row(TypedDict):
    """What is stored of one contender; of its multiply-adds and floor each for training and for testing."""

    experiment: str
    architecture: str
    fully_convolutional: bool
    one_hot_encoding: bool
    method: str  # of METHODS
    stack: int
    train_ms: Spread
    test_ms: Spread
    total_ms: Spread
    speedup: Spread
    relative_to_wsn: Spread
    times_floor: Spread
    multiply_adds: dict[str, int]
    floor_train_ms: float
    floor_test_ms: float


def spread(values: Iterable[float]) -> Spread:
    """Return median, minimum and maximum of some measurements, and all of them, to five digits."""
    numbers = [float(f"{value:.5g}") for value in values]
    median = float(f"{np.median(numbers):.5g}")
    return {"median": median, "min": min(numbers), "max": max(numbers), "all": numbers}


def about() -> dict[str, object]:
    """Say what is measured where: machine, versions, commit of lib, time, and how busy the machine was before."""
    import torch  # here: whoever reads the file needs none of it

    return {
        "cpu": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **code_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def write(file: Path, changes: Mapping[str, object]) -> None:
    """Put `changes` into the file's JSON object and leave its other keys; the file is replaced as a whole."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    text = json.dumps({**before, "schema": SCHEMA, "units": UNITS, **changes}, indent=1, allow_nan=False) + "\n"
    files.write(file, text)


def read(file: str | Path = FILE) -> Measured:
    """Read what was measured; a relative name is looked up in the project's folder.

    Raises FileNotFoundError when there is nothing, ValueError when it is no benchmark of this version of the code.
    """
    path = ROOT / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: `make bench` measures and writes it")
    try:
        measured: Measured = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no text at all
        measured = {}
    if not isinstance(measured, dict) or measured.get("schema") != SCHEMA or "rows" not in measured:
        raise ValueError(f"{path} is not a benchmark of this version of the code: `make bench` measures again")
    return measured


def of_wsn(measured: Measured) -> list[Row]:
    """Return the rows of WSN in its standard form, in the order of METHODS."""
    chosen: list[Row] = [row for row in measured["rows"] if row["experiment"] == "WSN"]
    return sorted(chosen, key=lambda row: (list(METHODS).index(row["method"]), row["stack"]))


def one(measured: Measured, method: str, experiment: str = "WSN") -> Row:
    """Return the row of one experiment and method (of several stacks the fastest)."""
    found: list[Row] = [row for row in measured["rows"] if (row["experiment"], row["method"]) == (experiment, method)]
    return min(found, key=lambda row: row["total_ms"]["median"])


def warnings(measured: Measured) -> list[str]:
    """Say which experiments the compiled block trains too slowly: a sentence per limit, nothing where all is well."""
    rows: list[Row] = [row for row in measured["rows"] if row["method"] == "fused"]
    speed = {row["experiment"]: row["speedup"]["median"] for row in rows}
    floors = {row["experiment"]: row["times_floor"]["median"] for row in rows}
    slow = [f"{name} {value:.1f}" for name, value in speed.items() if value < LEAST_SPEEDUP]
    high = [f"{name} {value:.2f}" for name, value in floors.items() if value > MOST_FLOORS]
    said = {
        f"below {LEAST_SPEEDUP} times the textbook loop's speed": slow,
        f"above {MOST_FLOORS} times the floor": high,
    }
    return [f"warning: the compiled block is {limit}: {', '.join(found)}" for limit, found in said.items() if found]


def floor_ms(row: Row) -> float:
    """Return the floor of one epoch of a row's experiment, training and testing together."""
    return row["floor_train_ms"] + row["floor_test_ms"]


def span(values: Spread, digits: int = 1) -> str:
    """Write a spread as median and range, such as "26.1 (25.8–27.0)"."""
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}–{values['max']:.{digits}f})"
