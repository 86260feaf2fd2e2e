"""Write what the repository shows of the stored study: README's table, `claims.json`, every trial as a CSV.

`python -m report.publish` writes them; with `--check` it writes nothing and exits with 1 when one is out of date.
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lib import Result, files
from lib.analysis import is_stored, load, paired
from lib.machine import ROOT
from report import claims, statistics, study, words

START, END = "<!-- results -->", "<!-- /results -->"
CSV_HEADER = ("experiment", "reading", "key", "trial", "accuracy")  # after the last epoch, in percent


def stored_study(root: Path = ROOT) -> list[Result]:
    """Return the stored results of the study. Raises FileNotFoundError when a standard experiment is missing."""
    folder = root / "report" / "results"
    wanted = [e for e in study.EXPERIMENTS if e in study.STANDARD or is_stored(e, study.TRIALS, folder)]
    return [load(experiment, study.TRIALS, folder) for experiment in wanted]


def standard_readings(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of the four networks in their standard form, by reading."""
    readings: dict[str, list[Result]] = {}
    for result in results:
        if result.experiment.one_hot_encoding and not result.experiment.fully_convolutional:
            readings.setdefault(study.reading(result.experiment), []).append(result)
    return readings


def section(readings: Mapping[str, Sequence[Result]]) -> str:
    """Return README's part between the markers: the table, what its columns are, and what becomes of the claims."""
    first = next(iter(readings.values()))[0]
    header = ["network", *itertools.chain(*((name, "difference") for name in readings)), "trials"]
    lines = [header, [":--", *["--:"] * (len(header) - 1)]]
    columns = [list(_columns(results)) for results in readings.values()]
    for network, *cells in zip(next(iter(readings.values())), *columns, strict=True):
        lines.append([network.name, *itertools.chain(*cells), str(network.trials)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    caption = (
        f"Test accuracy in percent after epoch {first.experiment.epochs}, mean ± standard deviation over trials; "
        "difference to the network in the row above, in points, paired by trial, with its 95 % interval. "
        "[Every trial](report/published/accuracy.csv), [every claim](report/published/claims.json)."
    )
    return f"{table}\n\n{caption}\n\n{claims.summary(claims.ledger(readings))}"


def filled(text: str, content: str) -> str:
    """Return a README's text with `content` between the markers. Raises ValueError unless each is there once."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"README.md must have the lines {START} and {END} once each, in this order")
    before, rest = text.split(START)
    return f"{before}{START}\n{content}\n{END}{rest.split(END)[1]}"


def accuracies(results: Sequence[Result]) -> list[list[str]]:
    """Return a row per experiment and trial, for the CSV."""
    return [
        [result.name, study.reading(result.experiment), result.experiment.key, str(trial), f"{accuracy:.10g}"]
        for result in results
        for trial, accuracy in enumerate(result.accuracy[:, -1])
    ]


def write(results: Sequence[Result], root: Path = ROOT) -> None:
    """Write the three files; each appears whole. Raises ValueError for a README without the markers."""
    readings = standard_readings(results)
    readme = root / "README.md"
    text = filled(readme.read_text(encoding="utf-8"), section(readings))
    files.write(readme, text)
    files.write(root / "report" / "published" / "claims.json", claims.as_json(claims.ledger(readings)))
    files.write(root / "report" / "published" / "accuracy.csv", files.table(CSV_HEADER, accuracies(results)))


def outdated(results: Sequence[Result], root: Path = ROOT) -> list[str]:
    """Return which of the three files are missing or differ from the results."""
    readings = standard_readings(results)
    readme = (root / "README.md").read_text(encoding="utf-8")
    ledger, table = root / "report" / "published" / "claims.json", root / "report" / "published" / "accuracy.csv"
    current = {
        "README.md": filled(readme, section(readings)) == readme,
        "report/published/claims.json": ledger.is_file()
        and ledger.read_text(encoding="utf-8") == claims.as_json(claims.ledger(readings)),
        "report/published/accuracy.csv": table.is_file()
        and _read_csv(table) == [list(CSV_HEADER), *accuracies(results)],
    }
    return [name for name, same in current.items() if not same]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Write or check the files, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m report.publish", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    options = parser.parse_args(arguments)
    try:
        results = stored_study(root)
        if not options.check:
            write(results, root)
        elif names := outdated(results, root):
            sys.exit(f"not as the stored results have it: {', '.join(names)}; run python -m report.publish")
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"{error}")


def _columns(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Give the accuracy and the difference to the network before it, of each network under one reading."""
    for before, network in zip([None, *results], results, strict=False):
        accuracy, difference = f"{network.mean[-1]:.1f} ± {network.sd[-1]:.1f}", ""
        if before is not None:
            paired(before, network)  # refuses trials that saw other pairs
            d = statistics.paired_difference(before.accuracy[:, -1], network.accuracy[:, -1])
            difference = words.estimate(d.mean, d.low, d.high)
        yield accuracy, difference


def _read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


if __name__ == "__main__":
    main()
