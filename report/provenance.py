"""Where results come from, in sentences: the stored results' own account, and this rendering's versions."""

import platform
import time
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch

from lib import Result
from lib.machine import code_version
from lib.workers import duration
from report.press.display import escape
from report.study import reading


def of(results: Sequence[Result]) -> str:
    """Say what trained these results: commits of lib, versions, processors, implementations, and how long it took."""
    origins = [record["provenance"] for result in results for record in result.records]
    trainings = sum(len(record["trials"]) for result in results for record in result.records)
    seconds = sum(origin["seconds"] for origin in origins)

    def values(name: str) -> str:
        return escape(", ".join(sorted({str(origin[name]) for origin in origins})))

    days = sorted({origin["started"][:10] for origin in origins})
    when = f"on {days[0]}" if len(days) == 1 else f"between {days[0]} and {days[-1]}"
    commits = escape(", ".join(sorted({origin["commit"][:10] for origin in origins})))
    changed = " (some with uncommitted changes)" if any(origin["dirty"] for origin in origins) else ""
    return (
        f"The results on these pages are {trainings:,} trainings of {results[0].experiment.epochs} epochs, stored in "
        f"{len(origins)} files whose checksums were verified when this page was made. They were computed {when} by "
        f"lib as of commit {commits}{changed}, with Python "
        f"{values('python')}, PyTorch {values('torch')} and NumPy {values('numpy')}, on {values('cpu')} "
        f"({values('device')}), implementation {values('implementation')}, {values('threads')} thread per process, "
        f"in stacks of {values('stack')} trials: {duration(seconds)} of one core in all, {seconds / trainings:.1f} s "
        "per training on average."
    )


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return a table's row per experiment: name, optimizer, key, number of trainings, core time in all and for each."""
    table = []
    for result in results:
        seconds = sum(record["provenance"]["seconds"] for record in result.records)
        trainings = sum(len(record["trials"]) for record in result.records)
        e = result.experiment
        table.append(
            (result.name, reading(e), e.key, str(trainings), duration(seconds), f"{seconds / trainings:.1f} s")
        )
    return table


def here() -> str:
    """Return one line about this run of a notebook: versions, lib's commit, the kernel's seconds of CPU time."""
    version = code_version()
    changed = " and changes since" if version["dirty"] else ""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"matplotlib {matplotlib.__version__}, lib {version['commit'][:10]}{changed}, {time.process_time():.0f} s"
    )
