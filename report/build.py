"""Build the report: run the notebooks by papermill, merge them, and render HTML, PDF and the figures.

`python -m report.build` renders the stored results into `build/`; `--quick` runs the whole chain small, on the embedded
digits.
"""

import argparse
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import nbformat
import papermill
from nbformat import NotebookNode
from traitlets.config import Config

from lib import Experiment, datasets, files, run_study
from lib.analysis import PUBLISHED, load
from lib.machine import ROOT, cores
from report import study
from report.press.export import finished, merge, write_html, write_pdf

NOTEBOOKS = ROOT / "notebooks"
TITLE = "Four small networks on pairs of digits"
QUICK = {"dataset": "digits", "epochs": 20, "train_pairs": None, "test_pairs": None}  # what `make quick` changes
QUICK_TRIALS = 6

Step = tuple[str, dict[str, object]]  # a notebook's name and its parameters


def contents(experiments: Sequence[Experiment], quick: bool = False) -> list[Step]:
    """Return the report's notebooks in reading order, with the chapters for which there are results."""
    changes: dict[str, object] = {**QUICK, "trials": QUICK_TRIALS} if quick else {"trials": study.TRIALS}
    steps: list[Step] = [("1-task", {"dataset": QUICK["dataset"]} if quick else {}), ("2-architectures", {})]
    for chapter, comparisons in study.chapters(experiments).items():
        for position, comparison in enumerate(comparisons):
            heading = chapter if position == 0 else ""
            steps.append(("3-comparison", {**comparison, "chapter": heading, **changes}))
    forms = all(experiment in experiments for experiment in study.OTHER_FORMS)
    steps += [
        ("4-results", {**changes, "forms": forms}),
        ("5-benchmark", {}),
        ("6-methods", {**changes, "forms": forms}),
    ]
    return steps


def run(name: str, parameters: dict[str, object], target: Path) -> Path:
    """Run one notebook and return `target`, which appears only when every cell was run, the last one too.

    Raises papermill's error of a failed cell (the notebook with its traceback stays beside `target`), and ValueError
    when the kernel died on the way.
    """
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the user's
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a warning of the debugger in every notebook
    unfinished = target.with_suffix(".unfinished.ipynb")
    papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb",
        unfinished,
        parameters=parameters,
        kernel_name="python3",
        cwd=ROOT,
        progress_bar=False,
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # silences a warning at each start
    )
    finished(nbformat.read(unfinished, as_version=4), unfinished.name)
    return unfinished.replace(target)


def run_all(steps: list[Step], folder: Path) -> list[Path]:
    """Run the notebooks, as many at a time as there are cores, and return them in order."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{number:02d}-{name}.ipynb" for number, (name, _) in enumerate(steps, start=1)]
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        futures = [
            pool.submit(run, name, parameters, target)
            for (name, parameters), target in zip(steps, targets, strict=True)
        ]
        return [future.result() for future in futures]


def sources() -> str:
    """Return the first 16 hex digits of a SHA-256 over what the report is made from: notebooks, code and results."""
    digest = hashlib.sha256()
    patterns = (
        "notebooks/*.ipynb",
        "lib/**/*.py",
        "lib/**/*.cpp",
        "report/**/*.py",
        "report/*.bib",
        "report/press/templates/*",
        "report/published/benchmark.json",
    )
    files = [file for pattern in (*patterns, "report/results/*/*.json") for file in ROOT.glob(pattern)]
    for file in sorted(files):
        digest.update(f"{file.relative_to(ROOT).as_posix()}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def write_figures(nb: NotebookNode, folder: Path) -> None:
    """Write every figure as an SVG of its own, and a list that says which file is which figure."""
    lines = ["# Figures\n"]
    for cell in nb.cells:
        for output in cell.get("outputs", ()):
            report = output.get("metadata", {}).get("report", {})
            if "image/svg+xml" in output.get("data", {}):
                file = folder / f"{report['id']}.svg"
                files.write(file, output["data"]["image/svg+xml"])
                lines.append(f"- [{file.name}]({file.name}): {report['caption']}")
    files.write(folder / "README.md", "\n".join(lines) + "\n")


def build(output: Path, quick: bool = False) -> None:
    """Build the report into `output`: `report.html`, `report.pdf`, `figures/`, and the notebooks as they ran."""
    if quick:
        experiments, trials = study.STANDARD, QUICK_TRIALS
        results = run_study([replace(e, **QUICK) for e in experiments], trials)
    else:
        experiments, trials = study.stored(), study.TRIALS
        missing = [e for e in study.EXPERIMENTS if e not in experiments]
        if missing:
            names = "; ".join(f"{e.name}, {study.reading(e)}" for e in missing)
            print(f"not in the store, so left out (`make study` trains it): {names}", file=sys.stderr)
        if any(e in missing for e in study.STANDARD):
            raise FileNotFoundError("the report needs the results of the four standard experiments: run `make study`")
        results = [load(e, trials) for e in experiments]
    newest = max(record["provenance"]["started"] for result in results for record in result.records)
    notebooks = run_all(contents(experiments, quick), output / "notebooks")
    nb = merge(
        notebooks,
        title=TITLE,
        subtitle="A replication of a student report of 2022"
        + (", run small on the digits embedded in scikit-learn" if quick else ""),
        date=f"Results of {newest[:10]}",
        description="Four small convolutional networks compared on pairs of MNIST digits: a reproducible report.",
        links=[("PDF", "report.pdf"), ("figures", "figures/README.md")],
    )
    nb.metadata["report"]["sources"] = sources()
    bibliography = ROOT / "report" / "references.bib"
    write_html(nb, output / "report.html", bibliography=bibliography)
    write_pdf(nb, output / "report.pdf", bibliography=bibliography)
    write_figures(nb, output / "figures")


def publish(output: Path) -> None:
    """Copy a built report into the repository: `report/report.html`, `report.pdf` and `figures/`."""
    for name in ("report.html", "report.pdf"):
        shutil.copyfile(output / name, ROOT / "report" / "published" / name)
    shutil.rmtree(ROOT / "report" / "published" / "figures", ignore_errors=True)
    shutil.copytree(output / "figures", ROOT / "report" / "published" / "figures")


def main() -> None:
    """Build the report, or train the study, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m report.build", description=__doc__.splitlines()[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="the whole chain, small, on the embedded digits")
    group.add_argument("--study", action="store_true", help="train what report/results lacks, and render nothing")
    group.add_argument("--publish", action="store_true", help="with MNIST; copy the result into report/")
    parser.add_argument("--output", type=Path, help="folder (default: build, or build/quick)")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.study:
        run_study(study.EXPERIMENTS, study.TRIALS, results=PUBLISHED)
        return
    output = options.output or ROOT / ("build/quick" if options.quick else "build")
    if options.publish:
        datasets.load("mnist")  # figure 1 must show what the results are about
    build(output, options.quick)
    if options.publish:
        publish(output)
    print(f"{output / 'report.html'} and report.pdf, in {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
