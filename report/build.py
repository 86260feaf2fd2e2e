"""Build the report: run the notebooks, merge them into chapters, and render HTML, PDF and the figures."""

import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml  # type: ignore[import-untyped]
from nbformat import NotebookNode

from lib import Experiment, Result, files, run_study
from lib.analysis import default_store
from lib.machine import ROOT, cores
from report import canvas, claims, desk, freshness, provenance, publish, study
from report.inventory import stored_results
from report.press import kernels, made
from report.press.export import Attachment, merge, write_html, write_pdf
from report.press.live import Live, mounted
from report.press.run import run_all
from report.swap import prepared, put, swap

NOTEBOOKS = ROOT / "notebooks"
BIBLIOGRAPHY = ROOT / "report" / "references.bib"
TITLE = "[Re] Four small networks on pairs of digits"
SUBTITLE = "A replication of a student report of 2022"
QUICK = "dataset=digits epochs=20"  # laid over the study's experiments by the quick run
QUICK_TRIALS = 6
PARTS = ("report.html", "report.pdf", "manifest.json", "figures", "notebooks")  # of a report, as it lies in a folder
FAILED = "notebooks-failed"
NOTEBOOK, FIGURE = r"\d\d-.+\.ipynb|\.ipynb_checkpoints", r".+\.svg|README\.md"  # names of files in its folders


class Step(NamedTuple):
    """A notebook of the report: its name, its parameters, and the heading of the chapter that begins with it."""

    name: str
    parameters: dict[str, object]
    heading: str = ""


def contents(experiments: Sequence[Experiment], settings: str = "", trials: int = study.TRIALS) -> list[Step]:
    """Return the report's notebooks in reading order, with the chapters for which there are results.

    `settings` are the words that were laid over the study's experiments.
    """
    forms = all(each.changed(settings) in experiments for each in study.OTHER_FORMS)
    whole = forms and not settings and trials == study.TRIALS  # what some notebooks are about
    shared: dict[str, object] = {"settings": settings, "trials": trials}
    comparisons = []
    for chapter, several in study.chapters(experiments, settings).items():
        for heading, comparison in zip([chapter, *[""] * len(several)], several, strict=False):
            comparisons.append(Step("3-comparison", {**comparison.parameters(), "trials": trials}, heading))
    return [
        Step("0-answer", {**shared, "names": whole}),
        Step("1-task", {"settings": settings}),
        Step("2-architectures", {"settings": settings}),
        *([Step("5-time", {}), Step("6-names", {})] if whole else []),
        Step("4-results", {**shared, "forms": forms}),
        *([Step("9-limits", {})] if whole else []),
        Step("7-benchmark", {}),
        Step("10-tables", {**shared, "forms": forms}),
        Step("8-methods", {**shared, "forms": forms}),
        *comparisons,  # on the page alone
    ]


def without_statements(steps: Sequence[Step]) -> list[Step]:
    """Return those notebooks that need no training of the statements; the answer says what the study alone says."""
    return [
        step._replace(parameters={**step.parameters, "names": False}) if step.name == "0-answer" else step
        for step in steps
        if step.name not in ("5-time", "6-names", "9-limits")
    ]


def build_stored(output: Path) -> None:
    """Build the report on the stored results of the study into the folder `output`, as `render` says.

    What is not stored is left out, and said; raises FileNotFoundError where that is a standard experiment.
    """
    from report import outcomes, statements  # and torch

    results = stored_results(default_store(), study.EXPERIMENTS, study.TRIALS, required=study.STANDARD)
    experiments = [result.experiment for result in results]
    if missing := [str(experiment) for experiment in study.EXPERIMENTS if experiment not in experiments]:
        print(f"not in the store, so left out (`make study` trains it): {'; '.join(missing)}", file=sys.stderr)
    steps = contents(experiments)
    if lacking := outcomes.missing(statements.store()):
        print(f"not in the store, so three chapters are left out: {'; '.join(lacking)}", file=sys.stderr)
        steps = without_statements(steps)
    render(steps, results, output, attachments=attached(results))


def build_small(output: Path, settings: str = QUICK, trials: int = QUICK_TRIALS) -> None:
    """Run the whole chain, small: train the standard experiments with `settings` laid over them, and report on them."""
    experiments = [experiment.changed(settings) for experiment in study.STANDARD]
    results = run_study(experiments, trials)
    subtitle = f"{SUBTITLE}, run small: {settings}"
    render(contents(experiments, settings, trials), results, output, subtitle, attached(results, settings))


def attached(results: Sequence[Result], settings: str = "") -> list[Attachment]:
    """Return what the PDF brings along of the study's results, `settings` laid over it: the claims, and every trial."""
    ledger = claims.ledger(study.readings(results, settings))
    trials = files.table(publish.CSV_HEADER, publish.accuracies(results))
    return [
        Attachment("claims.json", "The original's claims, and what became of each", claims.as_json(ledger)),
        Attachment("accuracy.csv", "The accuracy of every trial after the last epoch", trials),
    ]


def render(
    steps: Sequence[Step],
    results: Sequence[Result],
    output: Path,
    subtitle: str = SUBTITLE,
    attachments: Sequence[Attachment] = (),
) -> None:
    """Run the notebooks and write the report, its figures and the notebooks as they ran to `output`.

    These are `report.html`, `report.pdf`, `figures/`, `notebooks/`, and `manifest.json`, which says of every figure and
    table how it was made; the PDF brings it along, and `attachments`.

    All of them are made in a folder of this build's own and put into their places at the end: a build that fails or is
    stopped leaves an earlier report as it was, and two at once do not mix. Notebooks of one that failed are in
    `notebooks-failed/`.

    The report bears the date of the newest of `results`, for then every build on the same results is the same. Raises
    FileExistsError where `output` holds something else under one of these names.
    """
    check_output(output)
    with prepared(output, "report") as fresh:
        try:
            write(steps, results, fresh, subtitle, attachments)
        except Exception:
            with suppress(OSError):  # there may be none
                swap(fresh / "notebooks", output / FAILED)
            raise
        put(fresh, output, PARTS)
        shutil.rmtree(output / FAILED, ignore_errors=True)


def check_output(output: Path) -> None:
    """Raise FileExistsError where a folder holds what is no report's, but would go when one is put there."""
    for folder, ours in (("notebooks", NOTEBOOK), (FAILED, NOTEBOOK), ("figures", FIGURE)):
        for file in sorted((output / folder).glob("*")):
            if not re.fullmatch(ours, file.name):
                raise FileExistsError(f"{file} is no part of a report, and would be lost: choose another folder")


def write(
    steps: Sequence[Step], results: Sequence[Result], folder: Path, subtitle: str, attachments: Sequence[Attachment]
) -> None:
    """Run the notebooks and write the whole report to an empty folder."""
    to_run = [(NOTEBOOKS / f"{step.name}.ipynb", step.parameters) for step in steps]
    finding = f": {study.FINDING[0].lower()}{study.FINDING[1:]}" if any(s.name == "6-names" for s in steps) else ""
    newest = max(record["provenance"]["started"] for result in results for record in result.records)
    nb = merge(
        run_all(to_run, folder / "notebooks", ROOT, at_a_time=cores(), say=said),
        headings=[step.heading for step in steps],
        title=TITLE + finding,
        authors=authors(),
        subtitle=subtitle,
        date=f"The study's results of {newest[:10]}, by lib as of commit {provenance.commits(results)}",
        description="Four small convolutional networks compared on pairs of MNIST digits: a reproducible report.",
        links=[("PDF", "report.pdf"), ("figures", "figures/README.md")],
        sources=freshness.whole(freshness.digests()),
        address=address(),
    )
    said("all notebooks have run; the page and the PDF are rendered")
    manifest = Attachment("manifest.json", "How each figure and each table was made", made.manifest(nb))
    parts, given = [drawing(), *judging(results)], [manifest, *attachments]
    with kernels.pool(2) as pool:  # side by side
        pdf = pool.submit(write_pdf, nb, folder / "report.pdf", bibliography=BIBLIOGRAPHY, attachments=given)
        page = pool.submit(write_html, nb, folder / "report.html", bibliography=BIBLIOGRAPHY, parts=parts)
        write_figures(nb, folder / "figures")
        page.result(), pdf.result()
    files.write(folder / manifest.name, manifest.text)


def said(text: str) -> None:
    """Say at once, on stderr, how far the report is."""
    print(text, file=sys.stderr, flush=True)


def drawing() -> Live:
    """Return the page's part in which a reader draws two digits."""
    text = (
        "One trained trial of each network, and of one more, the class bottleneck, whose comparison can read nothing "
        "but the names that its class head gives. Look for pairs that are named right and compared wrong."
    )
    return Live("canvas", "Try it: draw two digits", text, canvas.page_data(), mounted(canvas.script(), "canvas"))


def judging(results: Sequence[Result]) -> list[Live]:
    """Return the page's part in which a reader judges the claims; none where the study's own trials are lacking."""
    if not desk.complete(results):
        return []
    text = (
        "The claims and the rules of the ledger, on every trial and epoch of the standard results. Take fewer trials, "
        "stop the training earlier, or call other differences small, and see which verdicts hang on it."
    )
    module = mounted(desk.script(), "desk")
    return [Live("desk", "Try it: judge the claims yourself", text, desk.page_data(results), module)]


def authors() -> list[str]:
    """Return the names of the authors, as CITATION.cff has them."""
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["authors"]
    return [each.get("name") or f"{each['given-names']} {each['family-names']}" for each in said]


def address(root: Path = ROOT) -> str:
    """Return where the project can be seen, the first of its addresses in pyproject.toml; nothing where it has none."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next((str(each).rstrip("/") for each in project.get("urls", {}).values()), "")


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
