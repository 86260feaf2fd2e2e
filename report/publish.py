"""What the repository shows of the stored study: README's table, `claims.json`, every trial as a CSV, the report."""

import csv
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import numpy as np

from lib import Result, Store, files
from lib.analysis import PUBLISHED
from lib.machine import ROOT
from lib.processes import undisturbed
from report import claims, freshness, study
from report.comparison import last_difference
from report.inventory import stored_results
from report.speed import measured
from report.swap import locked, prepared, swap

RESULTS, SPEED = (("<!-- results -->", "<!-- /results -->"), ("<!-- speed -->", "<!-- /speed -->"))
CSV_HEADER = ("experiment", "reading", "key", "trial", "accuracy")  # after the last epoch, in percent
REPORT = ("report.html", "report.pdf", "figures", "manifest.json")
RENDER = ", so nothing is published: render the report again"


class UnfinishedError(ValueError):
    """A built report is not whole, or made from other sources; the message says what to do."""


class ReadmeError(ValueError):
    """README.md has no place for the results; the message says what it should have."""


def stored_study(store: Store | None = None, settings: str = "", trials: int = study.TRIALS) -> list[Result]:
    """Return the results of the study, `settings` laid over it, from `store` (default: the published one).

    Raises FileNotFoundError when a standard experiment is missing; another one is left out.
    """
    experiments, standard = ([e.changed(settings) for e in several] for several in (study.EXPERIMENTS, study.STANDARD))
    return stored_results(store or Store(PUBLISHED), experiments, trials, required=standard)


def readme(root: Path = ROOT) -> str:
    """Return a project's README."""
    return (root / "README.md").read_text(encoding="utf-8")


def products(results: Sequence[Result], text: str, settings: str = "") -> dict[str, str]:
    """Return the text of each file that shows the results, by its path in the project; `text` is README's own.

    Raises ReadmeError.
    """
    readings = study.readings(results, settings)
    ledger = claims.ledger(readings)
    beside = {} if settings else {"report/published/statements.csv": statements_table()}
    return beside | {
        "README.md": filled(filled(text, section(readings, claims.summary(ledger))), speed(), SPEED),
        "report/published/claims.json": claims.as_json(ledger),
        "report/published/accuracy.csv": files.table(CSV_HEADER, accuracies(results)),
    }


def statements_table() -> str:
    """Return the text of `statements.csv`, the ends of all trainings of the statements."""
    from report import outcomes, statements  # and torch

    return files.table(outcomes.TABLE_HEADER, outcomes.table(statements.store()))


def write_shown(
    results: Sequence[Result],
    built: Path,
    root: Path = ROOT,
    settings: str = "",
    sources: Mapping[str, str] = MappingProxyType({}),
    beside: Mapping[str, str | bytes] = MappingProxyType({}),
) -> None:
    """Write these files below `root` and, with them, copy a built report there; all of it or nothing.

    `sources` are the digests of what the report is made from, `beside` further files by their names in the published
    folder. Raises what `copy_report` does, and ReadmeError.
    """
    texts = products(results, readme(root), settings)
    published = root / "report" / "published"
    shown: dict[Path, str | bytes] = {root / name: text for name, text in texts.items()}
    shown |= {published / name: content for name, content in beside.items()}
    if sources:
        shown[published / freshness.FILE] = freshness.as_json(sources)
    copy_report(built, published, shown, freshness.whole(sources) if sources else "")


def outdated(results: Sequence[Result], root: Path = ROOT, settings: str = "") -> list[str]:
    """Return which of these files are missing or differ from the results. Raises ReadmeError."""
    current = products(results, readme(root), settings)
    return [name for name, text in current.items() if not _shows(root / name, text)]


def section(readings: Mapping[str, Sequence[Result]], summary: str) -> str:
    """Return README's part between the markers: the table, what its columns are, and what becomes of the claims."""
    networks = next(iter(readings.values()))
    header = ["network", *itertools.chain(*((name, "difference") for name in readings)), "trials"]
    lines = [header, [":--", *["--:"] * (len(header) - 1)]]
    columns = [list(_columns(results)) for results in readings.values()]
    for network, *cells in zip(networks, *columns, strict=True):
        lines.append([network.name, *itertools.chain(*cells), str(network.trials)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    caption = (
        f"Test accuracy in percent after epoch {networks[0].experiment.epochs}, mean ± standard deviation over trials, "
        "and the median, which describes a training where some have not taken off; "
        "difference to the network in the row above, in points, paired by trial, with its 95 % interval. "
        "[Every trial](report/published/accuracy.csv), [every claim](report/published/claims.json), "
        "[the last results of all trainings for the ten statements](report/published/statements.csv)."
    )
    return f"{table}\n\n{caption}\n\n{summary}"


def speed(file: Path = measured.FILE) -> str:
    """Return README's sentence on what a plain module costs, out of the benchmark."""
    rows = measured.read(file)
    stack, alone = (measured.one(rows, method)["total_ms"]["median"] for method in ("fused", "plain"))
    return (
        f"A plain module's trials train one by one: WSN written so takes {alone / stack:.0f} times as long as in a "
        f"stack of {measured.one(rows, 'fused')['stack']} ([benchmark](report/published/benchmark.json))."
    )


def filled(text: str, content: str, marks: tuple[str, str] = RESULTS) -> str:
    """Return a README's text with `content` between two marks. Raises ReadmeError unless each is there once."""
    start, end = marks
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ReadmeError(f"README.md must have the lines {start} and {end} once each, in this order")
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"


def accuracies(results: Sequence[Result]) -> list[list[str]]:
    """Return a row per experiment and trial, for the CSV."""
    return [
        [result.name, study.reading(result.experiment), result.experiment.key, str(trial), f"{accuracy:.10g}"]
        for result in results
        for trial, accuracy in enumerate(result.accuracy[:, -1])
    ]


def copy_report(
    built: Path,
    published: Path = ROOT / "report" / "published",
    shown: Mapping[Path, str | bytes] = MappingProxyType({}),
    sources: str = "",
) -> None:
    """Copy a built report, its figures too, into the folder `published`; figures that it no longer has go.

    Everything is copied and checked before the first file is replaced, and the folder changes in one step: whenever
    this process ends, the old report is there or the new one. `shown` are the contents of further files by their paths:
    those in the folder change with it, others right after. Raises UnfinishedError, as `check_report` does, and OSError;
    then nothing has changed.
    """
    published = published.resolve()  # a link stays one
    with prepared(published.parent, published.name) as fresh:
        whole, others = fresh / "whole", {path: fresh / path.name for path in shown if published not in path.parents}
        with locked(built):
            for name in REPORT:
                for file in sorted((built / name).iterdir()) if name == "figures" else [built / name]:
                    files.write(whole / file.relative_to(built), file.read_bytes())
        check_report(whole, sources)
        with locked(published.parent):
            if published.exists():
                shutil.copytree(published, whole, ignore=shutil.ignore_patterns(*REPORT), dirs_exist_ok=True)
            for path, text in shown.items():
                files.write(others.get(path) or whole / path.relative_to(published), text)
            with undisturbed():
                swap(whole, published)
                for path, new in others.items():
                    swap(new, path)


def check_report(folder: Path, sources: str = "") -> None:
    """Raise UnfinishedError unless a folder holds a whole report; it is made from `sources`, where these are given."""
    page, document, figures, manifest = (folder / name for name in REPORT)
    if empty := [path for path in (page, document, manifest, *figures.glob("*")) if not path.stat().st_size]:
        raise UnfinishedError(f"{empty[0].name} is empty{RENDER}")
    if not any(figures.glob("*.svg")):
        raise UnfinishedError(f"there are no figures{RENDER}")
    if not sources:
        return
    for path, first, last in ((page, b"<!DOCTYPE html>", b"</html>"), (document, b"%PDF-", b"%%EOF")):
        content = path.read_bytes().strip()
        if not (content.startswith(first) and content.endswith(last)):
            raise UnfinishedError(f"{path.name} is not whole{RENDER}")
        if sources.encode() not in content:
            raise UnfinishedError(f"{path.name} is not made from the present notebooks, code and results{RENDER}")
    listed = re.findall(r"^- \[(.+?)\]", (figures / "README.md").read_text(encoding="utf-8"), re.M)
    if sorted(listed) != sorted(path.name for path in figures.glob("*.svg")):
        raise UnfinishedError(f"the figures are not those that figures/README.md lists{RENDER}")
    for path in figures.glob("*.svg"):
        try:
            ElementTree.parse(path)
        except ElementTree.ParseError as error:
            raise UnfinishedError(f"{path.name} is not whole ({error}){RENDER}") from error
    made = {each["file"]: each["sha256"] for each in json.loads(manifest.read_bytes()) if "file" in each}
    drawn = {f"figures/{path.name}": path.read_bytes() for path in figures.glob("*.svg")}
    if made != {name: hashlib.sha256(content).hexdigest() for name, content in drawn.items()}:
        raise UnfinishedError(f"the figures are not those of {manifest.name}{RENDER}")


def _columns(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Give the accuracy and the difference to the network before it, of each network under one reading."""
    for before, network in zip([None, *results], results, strict=False):
        difference = "" if before is None else f"{last_difference(before, network):+.2f short}"
        middle = np.median(network.accuracy[:, -1])
        yield f"{network.mean[-1]:.1f} ± {network.sd[-1]:.1f}, median {middle:.1f}", difference


def _shows(path: Path, text: str) -> bool:
    """Say whether a file holds `text`; a CSV may have been written with other line ends or quotes."""
    if not path.is_file():
        return False
    there = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.reader(there.splitlines())) == list(csv.reader(text.splitlines()))
    return there == text
