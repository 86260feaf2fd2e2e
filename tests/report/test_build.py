"""The whole chain, small: train, run every notebook by papermill, merge, render; then open what came out."""

import re
import subprocess
import sys

import nbformat
import papermill
import pytest
from pypdf import PdfReader

from lib import run_analysis
from lib.machine import ROOT
from report import build, study

TINY, TRIALS = "dataset=digits epochs=4 train_pairs=60 test_pairs=40", 3


def small_report(folder, whole):
    """Build a report on tiny trainings, with a store of its own; unless `whole`, with one comparison per chapter."""
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
                if step.name != "3-comparison" or step.heading
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
    assert used | {"explore"} == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


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
    assert "epochs=4" in build.contents(small, TINY, TRIALS)[2].parameters["both"]


def test_the_page_is_whole(report):
    page = (report / "report.html").read_text().replace("\xa0", " ")
    for text in (build.TITLE, "Abstract", "Figure 1", "Figure 5", "Figure 6a", "Figure 6a, momentum", "Project 2"):
        assert text in page, text
    for chapter in list(study.CHAPTERS)[:2]:
        assert re.search(rf"{chapter}</h\d>", page), chapter
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"https?://", page.replace("https://doi.org", "")), "it loads nothing"
    assert re.search(r"\d+\.\d ± \d+\.\d", page), "numbers come from the results"
    assert "Traceback" not in page
    assert f'content="{build.sources()}"' in page


def test_the_pdf_is_whole(report):
    pdf = PdfReader(report / "report.pdf")
    text = "\n".join(page.extract_text() for page in pdf.pages).replace("\xa0", " ")
    assert build.TITLE in text
    assert "Figure 6a" in text
    assert len(pdf.outline) > 4


def test_figures_are_files_with_a_list(report):
    listed = (report / "figures" / "README.md").read_text()
    names = [f"fig-{number}.svg" for number in (1, 2, 3, 4, 5, "6a", "6a-momentum", "plain", "momentum")]
    assert all((report / "figures" / name).is_file() and name in listed for name in names)


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


@pytest.mark.published
def test_the_published_report_is_made_from_these_sources():
    page = ROOT / "report" / "published" / "report.html"
    assert f'content="{build.sources()}"' in page.read_text(), "run `make publish` and commit what it writes"
    assert (ROOT / "report" / "published" / "report.pdf").is_file()
