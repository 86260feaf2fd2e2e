"""What the repository shows of the stored study: README's table, `claims.json`, every trial as a CSV, the report."""

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lib import Result, Store, files
from lib.analysis import PUBLISHED
from lib.machine import ROOT
from report import claims, study
from report.comparison import last_difference
from report.inventory import stored_results
from report.speed import measured

RESULTS, SPEED = (("<!-- results -->", "<!-- /results -->"), ("<!-- speed -->", "<!-- /speed -->"))
CSV_HEADER = ("experiment", "reading", "key", "trial", "accuracy")  # after the last epoch, in percent
REPORT = (Path("report.html"), Path("report.pdf"))


class ReadmeError(ValueError):
    """README.md has no place for the results; the message says what it should have."""


def stored_study(store: Store | None = None, settings: str = "", trials: int = study.TRIALS) -> list[Result]:
    """Return the results of the study, `settings` laid over it, from `store` (default: the published one).

    Raises FileNotFoundError when a standard experiment is missing; another one is left out.
    """
    experiments, standard = ([e.changed(settings) for e in several] for several in (study.EXPERIMENTS, study.STANDARD))
    return stored_results(store or Store(PUBLISHED), experiments, trials, required=standard)


def products(results: Sequence[Result], readme: str, settings: str = "") -> dict[str, str]:
    """Return the text of each file that shows the results, by its path in the project; `readme` is README's own.

    Raises ReadmeError.
    """
    readings = study.readings(results, settings)
    ledger = claims.ledger(readings)
    return {
        "README.md": filled(filled(readme, section(readings, claims.summary(ledger))), speed(), SPEED),
        "report/published/claims.json": claims.as_json(ledger),
        "report/published/accuracy.csv": files.table(CSV_HEADER, accuracies(results)),
    }


def write_shown(results: Sequence[Result], root: Path = ROOT, settings: str = "") -> None:
    """Write the three files below `root`; each appears whole. Raises ReadmeError before anything is written."""
    for name, text in products(results, (root / "README.md").read_text(encoding="utf-8"), settings).items():
        files.write(root / name, text)


def outdated(results: Sequence[Result], root: Path = ROOT, settings: str = "") -> list[str]:
    """Return which of the three files are missing or differ from the results. Raises ReadmeError."""
    current = products(results, (root / "README.md").read_text(encoding="utf-8"), settings)
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
        f"Test accuracy in percent after epoch {networks[0].experiment.epochs}, mean ± standard deviation over trials; "
        "difference to the network in the row above, in points, paired by trial, with its 95 % interval. "
        "[Every trial](report/published/accuracy.csv), [every claim](report/published/claims.json)."
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


def copy_report(built: Path, published: Path = ROOT / "report" / "published") -> None:
    """Copy a built report, its figures too, into the folder `published`; figures that it no longer has go."""
    figures = [file.relative_to(built) for file in sorted((built / "figures").iterdir())]
    for name in (*REPORT, *figures):
        files.write(published / name, (built / name).read_bytes())
    for old in (published / "figures").iterdir():
        if old.relative_to(published) not in figures:
            old.unlink()


def _columns(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Give the accuracy and the difference to the network before it, of each network under one reading."""
    for before, network in zip([None, *results], results, strict=False):
        difference = "" if before is None else f"{last_difference(before, network):+.2f short}"
        yield f"{network.mean[-1]:.1f} ± {network.sd[-1]:.1f}", difference


def _shows(path: Path, text: str) -> bool:
    """Say whether a file holds `text`; a CSV may have been written with other line ends or quotes."""
    if not path.is_file():
        return False
    there = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.reader(there.splitlines())) == list(csv.reader(text.splitlines()))
    return there == text
