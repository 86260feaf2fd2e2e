"""Kernels that are forked: each is a fresh one, with this environment, and leaves nothing to the next."""

import os

import pytest

from report.press import kernels
from report.press.run import run, run_all
from tests.report.press.test_run import printed, write

pytestmark = pytest.mark.skipif(not kernels.FORKS, reason="kernels are forked on Linux alone")


def test_libraries_are_loaded_before_a_kernel_begins_and_nothing_of_the_report_is(tmp_path):
    ask = "import sys\nprint('torch' in sys.modules, 'scipy.stats' in sys.modules, 'report.claims' in sys.modules)"
    done = run(write(tmp_path / "any.ipynb", "x = 1", ask), {}, tmp_path / "out.ipynb", tmp_path)
    assert printed(done).splitlines()[0] == "True True False"


def test_a_kernel_knows_nothing_of_the_one_before(tmp_path):
    mark = "import numpy, os\nprint(hasattr(numpy, 'mark'), os.environ.get('MARK'), 'y' in globals())\n"
    leave = "numpy.mark = y = 1\nos.environ['MARK'] = 'left'"
    done = run_all([(write(tmp_path / "any.ipynb", mark + leave), {})] * 2, tmp_path / "out", tmp_path, at_a_time=1)
    assert [printed(path).splitlines()[0] for path in done] == ["False None False"] * 2


def test_a_kernel_has_the_environment_and_the_folder_of_now(tmp_path, monkeypatch):
    kernels.begin()  # with another environment than the one in which the notebook runs
    monkeypatch.setenv("MARK", "set later")
    monkeypatch.setenv("PATH", os.environ["PATH"] + os.pathsep + str(tmp_path))
    ask = "import os\nprint(os.environ['MARK'], os.environ['PATH'].endswith(os.getcwd()))"
    notebook = write(tmp_path / "any.ipynb", ask)
    alone = run(notebook, {}, tmp_path / "alone.ipynb", tmp_path)
    (in_pool,) = run_all([(notebook, {})], tmp_path / "out", tmp_path, at_a_time=1)
    for done in (alone, in_pool):
        assert printed(done).splitlines()[0] == "set later True"


def test_a_figure_that_a_cell_leaves_open_is_shown_as_in_every_notebook(tmp_path):
    """The backend is the one that Jupyter's kernels have."""
    ask = "import matplotlib, matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint(matplotlib.get_backend())"
    done = run(write(tmp_path / "any.ipynb", ask), {}, tmp_path / "out.ipynb", tmp_path)
    text = done.read_text(encoding="utf-8")
    assert "image/png" in text and "inline" in text


def test_elsewhere_kernels_are_started_as_jupyter_starts_them(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "FORKS", False)
    ask = "import sys\nprint('torch' in sys.modules)"
    done = run(write(tmp_path / "any.ipynb", ask), {}, tmp_path / "out.ipynb", tmp_path)
    assert printed(done).splitlines()[0] == "False"
