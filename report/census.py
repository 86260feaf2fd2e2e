"""What public solutions of the same task report, by what their comparison reads: `census.csv`, coded by hand.

Context and no statistic: the solutions differ in everything else. What each network reads was coded from its code; the
file names the place of that and of every figure.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

FILE = Path(__file__).with_name("census.csv")
HEADER = ("reads", "repository", "network", "accuracy (%)")
READS = ("class outputs", "features")  # by the comparison; of what is beside it, the class head, all have one

Row = tuple[str, ...]


class Network(NamedTuple):
    """A network with weight sharing and a class loss, in a public repository; a cell that is not known is empty."""

    repository: str
    commit: str
    network: str
    reads: str
    reads_evidence: str
    accuracy: str  # percent
    sd: str
    rounds: str
    epochs: str
    result_evidence: str
    note: str


def read(file: Path = FILE) -> list[Network]:
    """Return all networks of the file. Raises ValueError for a column, a number or a reading that there is not."""
    with file.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        if tuple(table.fieldnames or ()) != Network._fields:
            raise ValueError(f"{file} has the columns {table.fieldnames}; allowed: {Network._fields}")
        networks = [Network(**row) for row in table]
    for each in networks:
        if each.reads not in READS:
            raise ValueError(f"{each.repository} reads {each.reads!r}; allowed: {' or '.join(READS)}")
        if not 0 <= float(each.accuracy) <= 100:
            raise ValueError(f"{each.repository} reaches {each.accuracy}; allowed: 0 to 100 percent")
    return networks


def reading(networks: Sequence[Network], what: str) -> list[Network]:
    """Return the networks whose comparison reads `what`, by their accuracy."""
    return sorted((each for each in networks if each.reads == what), key=lambda each: float(each.accuracy))


def summary(networks: Sequence[Network]) -> str:
    """Say what there is, without testing anything."""
    said = []
    for what in READS:
        values = [float(each.accuracy) for each in reading(networks, what)]
        said.append(
            f"{len(values)} let their comparison read {what}, and report {min(values):.1f} to {max(values):.1f} % "
            f"(median {median(values):.1f})"
        )
    return (
        f"Of {len(networks)} networks with weight sharing and a class loss in {len({e.repository for e in networks})} "
        f"public solutions of the same course's task, {'; '.join(said)}."
    )


def rows(networks: Sequence[Network]) -> list[Row]:
    """Return a table's row per network."""
    return [
        (what, each.repository, each.network, f"{each.accuracy} ± {each.sd}" if each.sd else each.accuracy)
        for what in READS
        for each in reading(networks, what)
    ]
