"""The one door to the report: `python -m report --help` lists what there is to do.

A command imports what it needs when it runs: so asking for help takes no torch, and a worker process, which imports
this file again, next to nothing.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.machine import ROOT, cores

Options = argparse.Namespace


def build(options: Options) -> int:
    """Render the report from the stored results (minutes)."""
    from report import build

    return rendered(build.build_stored, options.output)


def quick(options: Options) -> int:
    """Run the whole chain, training included, small, on the embedded digits (about two minutes)."""
    from report import build

    return rendered(build.build_small, options.output)


def rendered(render: Callable[[Path], None], output: Path) -> int:
    """Render into a folder, and say where and how long it took."""
    start = time.perf_counter()
    render(output)
    print(f"{output / 'report.html'} and report.pdf, in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return 0


def study(options: Options) -> int:
    """Train what report/results lacks of the study (about an hour for all of it; stopped, it goes on later)."""
    from lib import Store, run_study
    from lib.analysis import PUBLISHED
    from report import inventory, study

    if options.dry_run:
        print(inventory.outlook(Store(PUBLISHED), study.EXPERIMENTS, study.TRIALS, cores()))
    else:
        run_study(study.EXPERIMENTS, study.TRIALS, store=Store(PUBLISHED))
    return 0


def verify(options: Options) -> int:
    """Train some randomly chosen stored groups again and compare, a line per group; exit with 1 when one differs."""
    from report import verify

    folder, seed = options.results, secrets.randbelow(2**32) if options.seed is None else options.seed
    paths = verify.choose_each(folder, seed) if options.each else verify.choose(folder, options.groups, seed)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no stored results")
    print(f"training {len(paths)} stored groups of {folder} again, seed {seed}", flush=True)
    agreeing = 0
    for path, verdict in verify.verify_all(paths):
        agreeing += verdict.agrees
        result = "ok" if verdict.agrees else "MISMATCH"
        print(f"{result}: {path.parent.name}/{path.name}: {verdict.words}", flush=True)
    print(f"{agreeing} of {len(paths)} groups agree")
    return 0 if agreeing == len(paths) else 1


def bench(options: Options) -> int:
    """Measure the speed side by side with the textbook loop (minutes, on an idle machine)."""
    from report.speed.benchmark import bench

    bench(options.quick, options.long, options.output)
    return 0


def publish(options: Options) -> int:
    """Write README's table, claims.json and accuracy.csv, render with MNIST, and copy it all into report/published."""
    from lib import datasets
    from report import build, publish

    results = publish.stored_study()
    if options.check:
        if names := publish.outdated(results):
            print(f"not as the stored results have it: {', '.join(names)}; `make publish` writes them", file=sys.stderr)
        return 1 if names else 0
    datasets.load("mnist")  # figure 1 must show what the results are about
    publish.write_shown(results)
    rendered(build.build_stored, options.output)
    publish.copy_report(options.output)
    return 0


def stored(options: Options) -> int:
    """List the stored experiments as they are said, with their number of trials and their key."""
    from lib.analysis import PUBLISHED, default_store
    from lib.store import carry_over
    from report.inventory import inventory

    store = default_store()
    folders = options.carry_over or (PUBLISHED, store.root)
    if options.carry_over is not None:
        for folder in folders:
            print(f"{folder}: {carry_over(folder)} files carried over")
        return 0
    for each in inventory(store):
        print(f"{each.words:60} {each.trials:6} trials  {each.key}")
    if older := [file for folder in folders for file in folder.glob("*/trials-*.json")]:
        advice = "`python -m report stored --carry-over` brings them to the present one"
        print(f"not listed: {len(older)} files of an older schema; {advice}", file=sys.stderr)
    return 0


def expected() -> tuple[type[Exception], ...]:
    """Return the errors that say in a sentence what is wrong and what to do; imported only when one was raised."""
    from lib.datasets import DataError
    from lib.store import ConflictError, DamagedResultError
    from lib.workers import StudyError
    from report.publish import ReadmeError

    return OSError, DataError, ConflictError, DamagedResultError, StudyError, ReadmeError


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number of at least 1")
    return int(text)


def door() -> argparse.ArgumentParser:
    """Return the parser of the command line; a command's first words of help are its docstring."""
    parser = argparse.ArgumentParser(prog="python -m report", description="Make, check and publish the report.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(run: Callable[[Options], int]) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    def output(added: argparse.ArgumentParser, folder: str) -> None:
        into = ROOT / folder
        added.add_argument("--output", type=Path, default=into, metavar="FOLDER", help=f"where to render ({folder})")

    output(command(build), "build")
    output(command(quick), "build/quick")
    added = command(study)
    added.add_argument("--dry-run", action="store_true", help="only say what is to be trained, and how long that takes")
    added = command(verify)
    which, results = added.add_mutually_exclusive_group(), ROOT / "report" / "results"
    which.add_argument("--groups", type=positive, default=3, metavar="N", help="how many to train again (3)")
    which.add_argument("--each", action="store_true", help="one of each stored experiment instead")
    added.add_argument("--seed", type=int, metavar="S", help="repeats an earlier choice (drawn, and printed)")
    added.add_argument("--results", type=Path, default=results, metavar="FOLDER", help="the store (report/results)")
    added = command(bench)
    added.add_argument("--quick", action="store_true", help="tiny, on the embedded digits: the numbers mean nothing")
    added.add_argument("--long", action="store_true", help="only check that both implementations learn the same")
    added.add_argument("--output", type=Path, metavar="FILE", help="report/published/benchmark.json, or in build/quick")
    added = command(publish)
    output(added, "build")
    added.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    added = command(stored)
    over = "bring files of an older schema in these folders to the present one (report/results and your own results)"
    added.add_argument("--carry-over", type=Path, nargs="*", metavar="FOLDER", help=over)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; an expected error is one sentence on stderr."""
    options = door().parse_args(arguments)
    try:
        code: int = options.run(options)
    except expected() as error:
        print(error, file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
