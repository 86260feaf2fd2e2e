"""The whole chain, small: train, run every notebook by papermill, merge, render; then open what came out."""

import re
import subprocess
import sys

import nbformat
import papermill
import pytest
from pypdf import PdfReader

from lib.machine import ROOT
from report import build, study

TINY = {"dataset": "digits", "epochs": 30, "train_pairs": 60, "test_pairs": 40}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on tiny trainings, built as `make quick` builds it, with a store of its own."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESULTS_ROOT", str(folder / "results"))
        patch.setattr("lib.analysis.OWN", folder / "results")
        patch.setattr(build, "QUICK", TINY)
        patch.setattr(build, "QUICK_TRIALS", 3)
        build.build(folder / "build", quick=True)
    return folder / "build"


def test_every_notebook_of_the_repository_is_in_the_report_or_for_exploring():
    used = {name for name, _ in build.contents(study.EXPERIMENTS)}
    exploring = {"explore", "your_architecture"}
    assert used | exploring == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} | exploring


def test_the_contents_name_only_parameters_that_the_notebooks_have():
    for name, parameters in [*build.contents(study.EXPERIMENTS), *build.contents(study.STANDARD, quick=True)]:
        assert set(parameters) <= set(papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb")), name


def test_the_page_is_whole(report):
    page = (report / "report.html").read_text().replace("\xa0", " ")
    for text in (build.TITLE, "Abstract", "Figure 1", "Figure 5", "Figure 6a", "Figure 6c, momentum", "Project 2"):
        assert text in page, text
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"https?://", page.replace("https://doi.org", "")), "it loads nothing"
    assert re.search(r"\d+\.\d ± \d+\.\d", page), "numbers come from the results"
    assert "Traceback" not in page


def test_the_pdf_is_whole(report):
    pdf = PdfReader(report / "report.pdf")
    text = "\n".join(page.extract_text() for page in pdf.pages).replace("\xa0", " ")
    assert build.TITLE in text
    assert "Figure 6a" in text
    assert len(pdf.outline) > 4


def test_figures_are_files_with_a_list(report):
    listed = (report / "figures" / "README.md").read_text()
    names = [f"fig-{number}.svg" for number in (1, 2, 3, 4, 5, "6a", "6b", "6c", "6a-momentum")]
    assert all((report / "figures" / name).is_file() and name in listed for name in names)


def test_the_notebooks_ran_from_the_first_cell_to_the_last(report):
    for path in (report / "notebooks").glob("*.ipynb"):
        counts = [cell.execution_count for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1)), path.name
    assert not list((report / "notebooks").glob("*.unfinished.ipynb"))


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(TypeError, match=r"3-comparison.ipynb: there is no parameter 'epoch' \(did you mean 'epochs'"):
        build.run("3-comparison", {"epoch": 3}, tmp_path / "out.ipynb")


HTML = "<img src=x onerror=alert(1)>"
CODE = "'); import os; os.remove('x'); ('"
WRONG = [  # parameters as they are typed behind `papermill -p`, and the one sentence that they get
    ("epoch", "3", r"TypeError: there is no parameter 'epoch' \(did you mean 'epochs'\?\)"),
    ("epochs", "abc", r"TypeError: epochs is 'abc' \(str\); allowed: a whole number"),
    ("architecture_a", "WNS", r"ValueError: architecture is 'WNS'; allowed: .* \(did you mean 'WSN'\?\)"),
    ("architecture_b", CODE, r"ValueError: architecture is \"'\); .*\"; allowed: 'SN', 'WSN', 'SAUX', 'CAUX'"),
]
WRONG_TOO = [
    ("epochs", "2.5", r"TypeError: epochs is 2.5 \(float\); allowed: a whole number"),
    ("epochs", "0", r"ValueError: epochs is 0; allowed: 1 to 100,000"),
    ("epochs", "-5", r"ValueError: epochs is -5; allowed: 1 to 100,000"),
    ("epochs", "9" * 40, r"ValueError: epochs is 99.*99; allowed: 1 to 100,000"),
    ("epochs", "True", r"TypeError: epochs is True \(bool\); allowed: a whole number"),
    ("learning_rate", "nan", r"ValueError: learning_rate is nan; allowed: a finite number"),
    ("learning_rate", "1e999", r"ValueError: learning_rate is inf; allowed: a finite number"),
    ("learning_rate", "0", r"ValueError: learning_rate is 0.0; allowed: 1e-12 to 1,000"),
    ("momentum", "-0.1", r"ValueError: momentum is -0.1; allowed: 0 to 0.9999"),
    ("optimizer", "adma", r"ValueError: optimizer is 'adma'; allowed: 'sgd', 'adam' \(did you mean 'adam'\?\)"),
    ("dataset", "fashion", r"ValueError: dataset is 'fashion'; allowed: 'mnist', 'digits'"),
    ("train_pairs", "30001", r"ValueError: train_pairs is 30001; allowed: 1 to 30,000 for the data set 'mnist'"),
    ("one_hot_encoding_a", "yes", r"TypeError: one_hot_encoding is 'yes' \(str\); allowed: True or False"),
    ("channels", "16", r"TypeError: channels is 16 \(int\); allowed: a text"),
    ("channels", "16-", r"ValueError: channels is '16-'; allowed: sizes joined by hyphens, such as '16-32'"),
    ("hidden", HTML, r"ValueError: hidden is '<img src=x onerror=alert\(1\)>'; allowed: sizes joined by hyphens"),
    ("trials", "0", r"ValueError: trials is 0; allowed: a whole number from 1 to 1,000,000"),
    ("trials", "many", r"ValueError: trials is 'many'; allowed: a whole number from 1 to 1,000,000"),
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


def test_a_notebook_whose_kernel_is_killed_is_not_finished(tmp_path, monkeypatch):
    nb = nbformat.read(ROOT / "notebooks" / "1-task.ipynb", as_version=4)
    nb.cells[2].source += "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    nbformat.write(nb, tmp_path / "killed.ipynb")
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    with pytest.raises((ValueError, RuntimeError, papermill.PapermillException)):
        build.run("killed", {}, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


def test_the_published_report_is_made_from_these_sources():
    page = ROOT / "report" / "published" / "report.html"
    assert f'content="{build.sources()}"' in page.read_text(), "run `make publish` and commit what it writes"
    assert (ROOT / "report" / "published" / "report.pdf").is_file()
    assert study.TRIALS >= 25
