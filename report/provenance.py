"""Where results come from: the stored results' own account, and this rendering's versions."""

import platform
import time
from collections.abc import Sequence
from importlib.metadata import version

from lib import Result
from lib.machine import code_version
from report.press.display import escape
from report.study import reading


def distinct(results: Sequence[Result], name: str) -> str:
    """Return what the records say under one name of their provenance ("cpu"), each value once, as literal Markdown."""
    values = {str(record["provenance"][name]) for result in results for record in result.records}
    return escape(", ".join(sorted(values)))


def commits(results: Sequence[Result]) -> str:
    """Return the commits of lib that trained these results, and whether it had changes that were not committed."""
    origins = [record["provenance"] for result in results for record in result.records]
    changed = " (some with uncommitted changes)" if any(origin["dirty"] for origin in origins) else ""
    return ", ".join(sorted({escape(origin["commit"][:10]) for origin in origins})) + changed


def days(results: Sequence[Result]) -> str:
    """Return the first and the last day on which these results were trained, such as "2026-01-05 to 2026-01-07"."""
    started = [record["provenance"]["started"][:10] for result in results for record in result.records]
    return " to ".join(dict.fromkeys((min(started), max(started))))


def trainings(results: Sequence[Result]) -> int:
    """Return how many trainings are stored of these results: whole groups, so it may be more than was asked for."""
    return sum(len(record["trials"]) for result in results for record in result.records)


def seconds(results: Sequence[Result]) -> float:
    """Return how long they took of one core."""
    return float(sum(record["provenance"]["seconds"] for result in results for record in result.records))


def experiment_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return a table's row per experiment: name, optimizer, key, number of trainings, core time in all and for each."""
    table: list[tuple[str, ...]] = []
    for result in results:
        e, n, taken = result.experiment, trainings([result]), seconds([result])
        table.append((result.name, reading(e), e.key, str(n), duration(taken), f"{taken / n:.1f} s"))
    return table


def duration(seconds: float) -> str:
    """Return a time in words, such as "40 s" or "1 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def here() -> str:
    """Return one line about this run of a notebook: versions, lib's commit, the kernel's seconds of CPU time."""
    lib = code_version()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "matplotlib"))
    changed = " and changes since" if lib["dirty"] else ""
    commit = str(lib["commit"])[:10]
    return f"Python {platform.python_version()}, {versions}, lib {commit}{changed}, {time.process_time():.0f} s"
