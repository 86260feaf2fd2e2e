"""The whole chain, small: train, run every notebook by papermill, merge, render; then open what came out."""

import base64
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import papermill
import pytest
from pypdf import PdfReader

from lib import run_analysis
from lib.machine import ROOT
from report import build, canvas, freshness, study
from report.__main__ import main
from report.press import scheme
from report.press.live import POLICY
from tests.committed import committed_notebooks
from tests.lib.test_processes import marked, new_mark, none_left

TINY, TRIALS = "dataset=digits epochs=4 train_pairs=60 test_pairs=40", 3


FIGURES = ROOT / "report" / "published" / "figures"
PRINTED = (21 - 2 * 2.6) / 2.54 * 72  # points: the width of the PDF's text
SHOWN = tuple(figure + ending for ending in ("", ", momentum") for figure in ("6a", "6b", "6c"))  # the answer's links


def small_report(folder, whole):
    """Build a report on tiny trainings, with a store of its own; unless `whole`, with the linked comparisons alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESULTS_ROOT", str(folder / "results"))
        if whole:
            build.build_small(folder / "build", TINY, TRIALS)
        else:
            experiments = [experiment.changed(TINY) for experiment in study.STANDARD]
            results = [
                run_analysis(experiment, TRIALS, progress=False) for experiment in experiments
            ]  # in this process
            steps = [
                step
                for step in build.contents(experiments, TINY, TRIALS)
                if step.parameters.get("number") in (None, *SHOWN)
            ]
            build.render(steps, results, folder / "build")
    return folder / "build"


@pytest.fixture(
    scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["a part", "as by `make quick`"]
)
def report(request, tmp_path_factory):
    return small_report(tmp_path_factory.mktemp("report"), request.param)


def test_every_notebook_of_the_repository_is_in_the_report_or_for_exploring():
    used = {step.name for step in build.contents(study.EXPERIMENTS)}
    others = {"explore", "your_architecture", "protocol", "exercises", "exercises-solutions"}
    assert used | others == {path.stem for path in committed_notebooks()}


def test_the_contents_name_only_parameters_that_the_notebooks_have():
    small = [experiment.changed(TINY) for experiment in study.STANDARD]
    for step in [*build.contents(study.EXPERIMENTS), *build.contents(small, TINY, TRIALS)]:
        assert set(step.parameters) <= set(papermill.inspect_notebook(ROOT / "notebooks" / f"{step.name}.ipynb")), step


def test_chapters_are_those_for_which_there_are_results():
    small = [experiment.changed(TINY) for experiment in study.STANDARD]
    for steps, chapters in (
        (build.contents(study.EXPERIMENTS), list(study.CHAPTERS)),
        (build.contents(study.STANDARD), list(study.CHAPTERS)[:2]),
        (build.contents(small, TINY, TRIALS), list(study.CHAPTERS)[:2]),
        (build.contents(small), []),
    ):
        assert [step.heading for step in steps if step.heading] == chapters
        numbers = [each.number for chapter in chapters for each in study.CHAPTERS[chapter]]
        assert [step.parameters["number"] for step in steps if step.name == "3-comparison"] == numbers
        assert [step.parameters["forms"] for step in steps if step.name == "4-results"] == [len(chapters) == 5]
    steps = build.contents(small, TINY, TRIALS)
    assert all("epochs=4" in step.parameters["both"] for step in steps if step.name == "3-comparison")
    assert [step.parameters["names"] for step in steps if step.name == "0-answer"] == [False]


def test_without_the_statements_trainings_the_answer_is_that_of_the_study():
    steps = build.contents(study.EXPERIMENTS)
    assert steps[0].name == "0-answer" and steps[0].parameters["names"]
    left = build.without_statements(steps)
    assert {step.name for step in steps} - {step.name for step in left} == {"5-time", "6-names", "9-limits"}
    assert left[0].name == "0-answer" and not left[0].parameters["names"]


def test_the_page_is_whole(report):
    page = (report / "report.html").read_text().replace("\xa0", " ")
    for text in (build.TITLE, "Abstract", "Figure 1", "Figure 2 to 5", "Figure 6a", "Figure 6a, momentum", "Project 2"):
        assert text in page, text
    for chapter in list(study.CHAPTERS)[:2]:
        assert re.search(rf"{chapter}<a [^>]*></a></h\d>", page), chapter
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", (report / "report.html").read_text(), re.S)
    [(_, data), (kind, module)] = scripts
    assert kind == ' type="module"' and list(json.loads(data)["networks"]) == list(canvas.EXPERIMENTS)
    digest = base64.b64encode(hashlib.sha256(module.encode()).digest()).decode()
    assert f"{POLICY}; script-src 'sha256-{digest}'\"" in page
    assert not re.search(r"(src|href)=\"https?://", page.replace("https://doi.org", "")), "it loads nothing"
    assert re.search(r"\d+\.\d ± \d+\.\d", page), "numbers come from the results"
    assert "Traceback" not in page
    assert f'content="{freshness.whole(freshness.digests())}"' in page


def test_the_pdf_is_whole(report):
    pdf = PdfReader(report / "report.pdf")
    text = "\n".join(page.extract_text() for page in pdf.pages).replace("\xa0", " ")
    assert build.TITLE in text
    assert re.search(r"Figure\s+S\d+,\s+6a", text), "links lead to the sheet"
    assert not re.search(r"Figure\s+6a", text), "the comparisons are on the page alone"
    headings = [str(item.title) for item in pdf.outline if not isinstance(item, list)]
    assert not set(study.CHAPTERS) & set(headings) and any("Supplement" in heading for heading in headings)
    [manifest] = pdf.attachments["manifest.json"]
    assert manifest == (report / "manifest.json").read_bytes()
    assert len(pdf.outline) > 4


def test_figures_are_files_with_a_list(report):
    listed = (report / "figures" / "README.md").read_text()
    names = [f"fig-{number}.svg" for number in (1, "four", "6a", "6a-momentum", "plain", "momentum")]
    assert all((report / "figures" / name).is_file() and name in listed for name in names)


@pytest.mark.parametrize("path", sorted(FIGURES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_published_figure_has_colours_of_the_palette_and_legible_text(path):
    svg = path.read_text(encoding="utf-8")
    assert scheme.strange(svg) == set()
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]  # points, for the width is in points
    [wide] = re.findall(r'<svg [^>]*\bwidth="([\d.]+)pt"', svg)
    assert sizes and min(sizes) * min(1, PRINTED / float(wide)) >= 7


def test_every_figure_of_the_page_follows_its_scheme(report):
    for page in (report / "report.html", FIGURES.parent / "report.html"):
        pictures = re.findall(r"<svg [^>]*>", page.read_text(encoding="utf-8").partition("<main")[2])
        assert len(pictures) > 10
        assert [each for each in pictures if 'class="schemed"' not in each] == []


def test_the_manifest_says_how_each_figure_and_table_was_made(report):
    manifest = json.loads((report / "manifest.json").read_text(encoding="utf-8"))
    page = (report / "report.html").read_text(encoding="utf-8")
    assert [each["label"] for each in manifest] == re.findall(
        r'id="((?:fig|tbl)-[a-z0-9-]+?)(?<!-caption)"', page.partition("<main")[2]
    )
    files = {each["file"]: each["sha256"] for each in manifest if each["kind"] == "figure"}
    drawn = {f"figures/{path.name}": path for path in (report / "figures").glob("*.svg")}
    assert files == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in drawn.items()}
    by_label = {each["label"]: each for each in manifest}
    compared = by_label["fig-6a"]
    assert compared["number"] == "6a" and compared["caption"]
    assert compared["notebook"] == "notebooks/3-comparison.ipynb"
    assert shlex.split(compared["command"])[-2:] == ["trials", str(TRIALS)]
    assert [re.sub("-[0-9a-f]{16}$", "", each) for each in compared["inputs"]] == ["results/SN", "results/WSN"]
    assert compared["commits"] == by_label["tbl-accuracy"]["commits"]
    assert "inputs" not in by_label["fig-1"]


def test_the_notebooks_ran_from_the_first_cell_to_the_last(report):
    paths = list((report / "notebooks").iterdir())
    for path in paths:
        counts = [cell.execution_count for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1)), path.name
    assert {path.stem[3:] for path in paths} == {step.name for step in build.contents(study.STANDARD)}


HTML = "<img src=x onerror=alert(1)>"
CODE = "');import(os);os.remove('x');('"
WRONG = [  # parameters as they are typed behind `papermill -p`, and the one sentence that they get
    ("trial", "3", r"TypeError: there is no parameter 'trial' \(did you mean 'trials'\?\)"),
    ("a", "WNS", r"ValueError: architecture is 'WNS'; allowed: .* \(did you mean 'WSN'\?\)"),
]
WRONG_TOO = [
    ("both", "epoch=3", r"TypeError: there is no parameter 'epoch' \(did you mean 'epochs'\?\)"),
    ("both", "epochs=2.5", r"ValueError: epochs is '2.5'; allowed: a whole number"),
    ("both", "learning_rate=nan", r"ValueError: learning_rate is nan; allowed: a finite number"),
    ("both", "train_pairs=30001", r"ValueError: train_pairs is 30001; allowed: 1 to 30,000 for the data set 'mnist'"),
    ("both", "16", r"TypeError: both is 16 \(int\); allowed: a text, such as"),  # papermill makes a number of it
    ("a", "SN auxiliary_weight=1", r"ValueError: auxiliary_weight is 1.0, which SN does not read"),
    ("a", "SN momentum=0.5 momentum=0.1", r"ValueError: momentum is said twice"),
    ("b", CODE, r"architecture is .*; allowed: 'SN', 'WSN', 'SAUX', 'CAUX'"),
    ("b", HTML, r"TypeError: there is no parameter 'src'"),
    ("b", "SN", r"ValueError: a and b are both SN"),
    ("number", "?", r"ValueError: number is '\?'; allowed: what a figure can be called"),
    ("trials", "0", r"ValueError: trials is 0; allowed: a whole number from 2 to 1,000,000"),
    ("trials", "many", r"TypeError: trials is 'many' \(str\); allowed: a whole number from 2 to 1,000,000"),
    ("two words", "3", r"Passed unknown parameter: two words"),  # and the cell with it is no Python
    ("import", "3", r"Passed unknown parameter: import"),
]


@pytest.mark.parametrize(
    ("name", "value", "message"), [*WRONG, *(pytest.param(*each, marks=pytest.mark.slow) for each in WRONG_TOO)]
)
def test_plain_papermill_refuses_wrong_parameters_in_one_sentence(name, value, message, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path / "results"))
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"]
    command += [str(ROOT / "notebooks" / "3-comparison.ipynb"), str(tmp_path / "out.ipynb"), "-p", name, value]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr[-2000:]
    assert not (tmp_path / "results").exists(), "nothing was trained"


class Interrupted(io.StringIO):
    """A terminal at which Ctrl-C is pressed."""

    def isatty(self):
        return True

    def readline(self, *_):
        raise KeyboardInterrupt


def test_a_command_that_is_interrupted_says_so_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path))
    experiment = study.STANDARD[0].changed(TINY)
    run_analysis(experiment, 1, progress=False)
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", Interrupted())
    assert main(["stored", "--remove", experiment.key]) == 130
    assert capsys.readouterr().err == "\nstopped\n"
    assert len(list(tmp_path.rglob("trials-*"))) == 1


def texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path):
    """A folder with an earlier report."""
    folder = tmp_path / "build"
    figures = ("figures/fig-1.svg", "figures/README.md")
    for name in ("report.html", "report.pdf", "manifest.json", *figures, "notebooks/01-task.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"earlier {name}")
    return folder


@pytest.mark.parametrize("name", ["notebooks/1-task.ipynb", "notebooks/mine", "figures/photo.png"])
def test_a_report_is_not_put_over_what_is_none(earlier, name):
    """As in the project's own folder, whose notebooks would go."""
    (earlier / name).write_text("mine")
    before = texts(earlier)
    with pytest.raises(FileExistsError, match=f"{re.escape(str(earlier / name))} is no part of a report"):
        build.render([], [], earlier)
    assert texts(earlier) == before


@pytest.mark.slow
def test_a_build_that_fails_leaves_the_earlier_report_and_the_notebook_that_failed(earlier):
    before = texts(earlier)
    results = [run_analysis(study.STANDARD[0].changed(TINY), 1, progress=False)]
    with pytest.raises(papermill.PapermillExecutionError, match="number"):
        build.render([build.Step("3-comparison", {"number": "?"})], results, earlier)
    after = texts(earlier)
    assert {name: after.pop(name) for name in before} == before
    assert [*after] == ["notebooks-failed/01-3-comparison.unfinished.ipynb"]


COMMANDS = {
    "quick": ["quick", "--output"],
    "report": ["build", "--output"],
    "verify": ["verify", "--each", "--results", str(ROOT / "report" / "results")],
}


ENDS = {"TERM": signal.SIGTERM, "kill": signal.SIGKILL}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C thrice", "TERM", "kill"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stops_when_told_and_leaves_nothing(name, how, earlier, tmp_path):
    """At three moments each: early, and when it has workers, kernels or both."""
    before, moments = texts(earlier), random.Random(f"{name} {how}")
    command = [sys.executable, "-m", "report", *COMMANDS[name], *([] if name == "verify" else [str(earlier)])]
    for workers in (0, 2, 2):
        mark = new_mark()
        environment = {**os.environ, "MARK": mark, "RESULTS_ROOT": str(tmp_path / "results")}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
        ) as process:
            end = time.monotonic() + 120
            while len(marked(mark)) < workers + 2 * bool(workers) and time.monotonic() < end:  # and what tracks them
                time.sleep(0.05)
            time.sleep(2 + 15 * moments.random())
            if how in ("TERM", "kill"):
                process.send_signal(ENDS[how])
            for _ in range(3 * how.endswith("thrice") or how == "Ctrl-C"):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.2)
            start = time.monotonic()
            error = process.communicate()[1]
            took = time.monotonic() - start
        assert took < 5
        assert none_left(mark), "a process is left"
        assert process.returncode == (-ENDS[how] if how in ENDS else 130), error
        if how != "kill":
            assert error.splitlines()[-1].startswith("stopped") and "Traceback" not in error
            assert len([line for line in error.splitlines() if "stopped" in line]) == 1
            assert not list(earlier.glob(".*"))
        after = texts(earlier)
        assert {name: after[name] for name in before} == before


def test_a_checkout_that_converts_line_ends_changes_no_byte(tmp_path):
    """As git does on Windows, with core.autocrlf=true."""
    if not shutil.which("git"):
        pytest.skip("there is no git")
    names = ("Makefile", "CITATION.cff", ".ci/run", "lib/fused/block.cpp", "report/press/templates/report.lua")
    files = [ROOT / name for name in (".gitattributes", *names)]
    files += [next(ROOT.glob(f"report/{p}")) for p in ("results/*/*.gz", "published/*.pdf", "published/*.csv")]
    files += [next(ROOT.glob(pattern)) for pattern in ("notebooks/*.ipynb", "report/published/figures/*.svg")]
    there, clone = tmp_path / "there", tmp_path / "clone"
    for file in files:
        (there / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there / file.relative_to(ROOT))

    def git(*arguments):
        name = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=true")
        subprocess.run(["git", *name, *arguments], cwd=there, check=True, capture_output=True)

    git("init", "-q")
    git("add", "--all")
    git("commit", "-q", "-m", "all")
    git("clone", "-q", ".", str(clone))
    for file in files:
        assert (clone / file.relative_to(ROOT)).read_bytes() == file.read_bytes(), file
