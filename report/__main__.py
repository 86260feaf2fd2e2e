"""The one door to the report: `python -m report --help` lists what there is to do.

A command imports what it needs when it runs: so asking for help takes no torch, and a worker process, which imports
this file again, next to nothing.
"""

import argparse
import importlib
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lib import processes
from lib.machine import CHECKOUT, ROOT, cores

if TYPE_CHECKING:
    from report.inventory import Stored

Options = argparse.Namespace
WITHOUT_TORCH = ("about", "stored")
OF_A_CHECKOUT = (
    "build",
    "quick",
    "study",
    "publish",
    "canvas",
)  # they read the notebooks, or write the repository's stores


def build(options: Options) -> int:
    """Render the report from the stored results (a minute or two)."""
    load_ahead()
    from report import build

    return rendered(build.build_stored, options.output)


def quick(options: Options) -> int:
    """Run the whole chain, training included, small, on the embedded digits (about two minutes)."""
    load_ahead()
    from report import build

    return rendered(build.build_small, options.output)


def rendered(render: Callable[[Path], None], output: Path) -> int:
    """Render into a folder, and say where and how long it took; or, when told to stop, that nothing changed there."""
    start = time.perf_counter()
    try:
        render(output)
    except KeyboardInterrupt as told:
        raise KeyboardInterrupt(str(told) or f"stopped: {output} is as it was") from None
    print(f"{output / 'report.html'} and report.pdf, in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return 0


def load_ahead() -> None:
    """Have what notebooks need loaded by a process of its own, while this one goes on."""
    from report.press import kernels

    kernels.begin()


def study(options: Options) -> int:
    """Train what the repository's stores lack of the study and of the statements (hours; stopped, it goes on later)."""
    from lib import Store, run_study
    from lib.analysis import PREREGISTERED, PUBLISHED
    from lib.cluster import connected
    from report import implementations, inventory, statements, study

    if options.dry_run:
        for folder, asked, trials in (
            (PUBLISHED, study.EXPERIMENTS, study.TRIALS),
            (PREREGISTERED, statements.asked(), statements.TRIALS),
        ):
            print(f"{folder.name}: {inventory.outlook(Store(folder), asked, trials, cores())}")
    else:
        with connected(options.scheduler) as executor:
            run_study(study.EXPERIMENTS, study.TRIALS, store=Store(PUBLISHED), executor=executor)
            statements.train(Store(PREREGISTERED), executor=executor)
            implementations.train(executor=executor)
    return 0


def verify(options: Options) -> int:
    """Train some randomly chosen stored groups again and compare, a line per group; exit with 1 when one differs."""
    from lib.analysis import PREREGISTERED, PUBLISHED
    from report import certificate, inventory, verify
    from report.implementations import BY_TORCH

    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    folder, *also = [options.results] if options.results else [PUBLISHED, PREREGISTERED, BY_TORCH]
    if options.each:
        paths = verify.choose_each(folder, seed, also)
    else:
        paths = verify.choose(folder, options.groups, seed, also)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no stored results")
    stores = " and of ".join(str(each) for each in (folder, *also))
    print(f"training {len(paths)} stored groups of {stores} again, seed {seed}", flush=True)
    start, verdicts = time.perf_counter(), []
    for path, verdict in verify.verify_all(paths, options.trust, options.device):
        verdicts.append((path, verdict))
        result = "ok" if verdict.agrees else "MISMATCH"
        print(f"{result}: {path.parent.name}/{path.name}: {inventory.printable(verdict.words)}", flush=True)
    agreeing = sum(verdict.agrees for _, verdict in verdicts)
    print(f"{agreeing} of {len(paths)} groups agree")
    chosen = "--each" if options.each else f"--groups {options.groups}"
    command = f"python -m report verify {chosen} --seed {seed} --device {options.device}"
    page = certificate.write(verdicts, command, time.perf_counter() - start, options.output)
    print(f"{page} says so on a page, to send back", file=sys.stderr)
    return 0 if agreeing == len(paths) else 1


def bench(options: Options) -> int:
    """Measure the speed side by side with the textbook loop (minutes, on an idle machine)."""
    from report.speed.benchmark import bench

    bench(options.quick, options.long, options.output)
    return 0


def gpu(options: Options) -> int:
    """Measure a GPU: the four experiments, stacks, exactness, and the same results as a CPU's (minutes)."""
    from report.speed.gpu import gpu

    print(gpu(options.output))
    return 0


def canvas(options: Options) -> int:
    """Train the networks of the canvas again, one trial of each, and write their weights (minutes)."""
    from report import canvas

    canvas.make()
    return 0


def publish(options: Options) -> int:
    """Write README's table, claims.json and accuracy.csv, render with MNIST, and copy it all into report/published."""
    load_ahead()
    from lib import datasets
    from report import build, freshness, publish, tables

    results = publish.stored_study()
    if options.check:
        if names := [*publish.outdated(results), *tables.outdated(results)]:
            print(f"not as the stored results have it: {', '.join(names)}; `make publish` writes them", file=sys.stderr)
        if reasons := freshness.stale():
            print("\n".join(reasons), file=sys.stderr)
        return 1 if names or reasons else 0
    datasets.load("mnist")  # figure 1 must show what the results are about
    publish.products(results, publish.readme())  # what is wrong with it is said before the minutes of rendering
    sources = freshness.digests()
    rendered(build.build_stored, options.output)
    publish.write_shown(results, options.output, sources=sources, beside=tables.derived(results))
    return 0


def about(options: Options) -> int:
    """Say what is installed, which implementation runs and why, and where MNIST, the results and your files are."""
    from report.about import lines

    for line in lines():
        print(line, flush=True)
    return 0


def stored(options: Options) -> int:
    """List what is stored (trials, accuracy, size, age, key), remove an experiment, or add another store."""
    from report import inventory

    try:
        if options.carry_over is not None:
            return carry_over(options.carry_over)
        if options.remove is not None:
            return remove(" ".join(options.remove), options.yes)
        if options.add is not None:
            return add(options.add)
        return list_stored(options.results)
    except inventory.Refused as error:
        print(error, file=sys.stderr)
        return 1


def list_stored(folder: Path | None) -> int:
    """List the project's store, or another one; exit with 1 where a file is damaged."""
    from lib import Store
    from lib.analysis import default_store
    from report import inventory

    if folder is not None and not folder.is_dir():
        raise inventory.Refused(f"there is no folder {folder}")
    store = default_store() if folder is None else Store(folder)
    listed, damaged = inventory.inventory(store)
    show(listed)
    for sentence in damaged:
        print(sentence, file=sys.stderr)
    if older := [file for root in (*store.also, store.root) for file in root.glob("*/trials-*.json")]:
        over = "--carry-over" if folder is None else f"--carry-over {folder}"
        advice = f"`python -m report stored {over}` brings them to the present one"
        print(f"not listed: {len(older)} files of an older schema; {advice}", file=sys.stderr)
    return 1 if damaged else 0


def show(listed: "Sequence[Stored]") -> None:
    """Print what is stored as a table, as wide as the terminal; 120 letters where there is none."""
    from report import inventory

    width = shutil.get_terminal_size((120, 24)).columns
    print("\n".join(inventory.lines(listed, datetime.now(UTC), width)))


def remove(text: str, yes: bool) -> int:
    """Show an experiment of the user's own store, ask, and remove it."""
    from lib.analysis import default_store
    from report import inventory

    folder, files = inventory.to_remove(text, default_store())
    stored, damaged = inventory.look_into(folder)
    if stored:
        show([stored])
    print("\n".join([*damaged, f"files in {folder}: {len(files)}"]))
    if not yes and not sys.stdin.isatty():
        raise inventory.Refused("nothing is removed: there is no terminal to ask at; with --yes it is not asked")
    if not yes and not agreed(f"remove {stored.words if stored else folder.name}? [y/N] "):
        raise inventory.Refused("nothing is removed")
    inventory.remove(folder, files)
    print(f"removed {folder}")
    return 0


def agreed(question: str) -> bool:
    """Ask at the terminal; whatever is not a yes, the end of the input too, is a no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def add(folder: Path) -> int:
    """Bring another store into the user's own one; exit with 1 where a file is in conflict or damaged."""
    from lib.analysis import default_store
    from report import inventory

    store, became = default_store(), Counter[str]()
    for what, sentence in inventory.add(folder, store):
        became[what] += 1
        if sentence:
            print(f"{what}: {sentence}", file=sys.stderr)
    print(
        f"groups added to {store.root}: {became['added']}, there already: {became['there']}, "
        f"in conflict: {became['conflict']}, damaged: {became['damaged']}"
    )
    return 1 if became["conflict"] or became["damaged"] else 0


def carry_over(folders: Sequence[Path]) -> int:
    """Bring files of an older schema to the present one, in these folders or in both of the project."""
    from lib.analysis import PUBLISHED, default_store
    from lib.store import carry_over

    for folder in folders or (PUBLISHED, default_store().root):
        print(f"{folder}: {carry_over(folder)} files carried over")
    return 0


def expected() -> tuple[type[Exception], ...]:
    """Return the errors that say in a sentence what is wrong and what to do; imported only when one was raised."""
    from lib.datasets import DataError
    from lib.store import ConflictError, DamagedResultError
    from lib.workers import StudyError
    from report.publish import ReadmeError, UnfinishedError

    return OSError, DataError, ConflictError, DamagedResultError, StudyError, ReadmeError, UnfinishedError


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
        added.add_argument("--output", type=Path, default=into, metavar="FOLDER", help=f"where to write ({folder})")

    output(command(build), "build")
    output(command(quick), "build/quick")
    how = command(study).add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only say what is to be trained, and how long that takes")
    how.add_argument("--scheduler", metavar="ADDRESS", help="train on a cluster: the address of a Dask scheduler")
    added = command(verify)
    which = added.add_mutually_exclusive_group()
    which.add_argument("--groups", type=positive, default=3, metavar="N", help="how many to train again (3)")
    which.add_argument("--each", action="store_true", help="one of each stored experiment instead")
    added.add_argument("--seed", type=int, metavar="S", help="repeats an earlier choice (drawn, and printed)")
    added.add_argument("--results", type=Path, metavar="FOLDER", help="the store (those of the repository)")
    trust = "import the modules that its files name, too: their code runs"
    added.add_argument("--trust", action="store_true", help=trust)
    output(added, "build")
    added.add_argument("--device", default="cpu", help="where to train them: cpu or cuda (cpu)")
    added = command(bench)
    added.add_argument("--quick", action="store_true", help="tiny, on the embedded digits: the numbers mean nothing")
    added.add_argument("--long", action="store_true", help="only check that both implementations learn the same")
    added.add_argument("--output", type=Path, metavar="FILE", help="report/published/benchmark.json, or in build/quick")
    added = command(gpu)
    added.add_argument("--output", type=Path, metavar="FILE", help="report/speed/gpu.json; its results go beside it")
    added = command(publish)
    output(added, "build")
    added.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    command(canvas)
    command(about)
    added = command(stored)
    added.add_argument("--yes", action="store_true", help="remove without asking")
    instead = added.add_mutually_exclusive_group()
    instead.add_argument("--results", type=Path, metavar="FOLDER", help="the store to list (both of the project)")
    out = "remove an experiment from your own results: said in words, such as 'CAUX momentum=0.9', or by its key"
    instead.add_argument("--remove", nargs="+", metavar="WORD", help=out)
    into = "bring the groups of another store into your own results, each of them checked"
    instead.add_argument("--add", type=Path, metavar="FOLDER", help=into)
    over = "bring files of an older schema in these folders to the present one (report/results and your own results)"
    instead.add_argument("--carry-over", type=Path, nargs="*", metavar="FOLDER", help=over)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; an expected error, and Ctrl-C, is one sentence on stderr."""
    options = door().parse_args(arguments)
    if not CHECKOUT and options.run.__name__ in OF_A_CHECKOUT:
        print(
            f"`{options.run.__name__}` works on the project's folder, and this is an installed package ({ROOT}): clone "
            "the repository, and run it there",
            file=sys.stderr,
        )
        return 1
    try:
        if options.run.__name__ not in WITHOUT_TORCH:
            with processes.undisturbed():  # KeyboardInterrupt that meets its C++ on the way is an abort
                importlib.import_module("torch")
        code: int = options.run(options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or processes.told.is_set():  # a library may make another error of it
            processes.say_stopped(str(error) if isinstance(error, KeyboardInterrupt) else "")
            return processes.STOPPED
        if not isinstance(error, expected()):
            raise
        print(error, file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    processes.stop_when_told()
    code = main()
    if code == processes.STOPPED:
        processes.leave()
    sys.exit(code)
