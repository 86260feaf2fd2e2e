"""No byte of a report comes from what the user has set up for other tools."""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from report.press.export import write_html, write_pdf
from report.press.run import run
from report.press.surroundings import neutral, of_matplotlib

ROOT = Path(__file__).parents[3]
FAKE = """#!/bin/sh
case "$1" in --version) echo "pandoc 99.9" ;; *) echo fake ;; esac
"""
HIJACK = 'pandoc.read = function() return pandoc.Pandoc {pandoc.Para {pandoc.Str "hijacked"}} end'
# A style for citations that prints nothing but a word.
CSL = """<style xmlns="http://purl.org/net/xbiblio/csl" version="1.0" class="in-text">
<info><title>x</title><id>x</id><updated>2020-01-01T00:00:00Z</updated></info>
<citation><layout><text value="hijacked"/></layout></citation>
<bibliography><layout><text value="hijacked"/></layout></bibliography></style>
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home in which pandoc, Jupyter, IPython and matplotlib are set up in ways of their own."""
    folder = tmp_path / "home"

    def put(name, text, mode=0o644):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    for data in (".local/share/pandoc", ".pandoc"):
        put(f"{data}/init.lua", HIJACK)
        put(f"{data}/default.csl", CSL)
        put(f"{data}/abbreviations", "e.g.\n")
        put(f"{data}/templates/report.html", "hijacked")
    put("bin/pandoc", FAKE, 0o755)
    put(".ipython/profile_default/startup/00.py", "hijacked = 'startup'\nprint('hijacked')")
    put(
        ".ipython/profile_default/ipython_kernel_config.py",
        "c.InlineBackend.rc = {'axes.facecolor': 'black'}\nc.InteractiveShellApp.exec_lines = ['hijacked = 1']",
    )
    put("startup.py", "hijacked = 'python'\nprint('hijacked')")
    put(".jupyter/jupyter_config.json", json.dumps({"InteractiveShellApp": {"exec_lines": ["hijacked = 1"]}}))
    put("jupyter/kernels/python3/kernel.json", json.dumps({"argv": ["false"], "display_name": "x", "language": "x"}))
    put(".config/matplotlib/matplotlibrc", "text.usetex: True\naxes.facecolor: black\nsvg.fonttype: none\n")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def written(folder):
    """Return the page and the PDF of a notebook that has a citation, a dash and letters of many languages."""
    folder.mkdir()
    source = 'Zoë – "said", e.g. [@one], $x$.\n\n## Ünü × 2\n\n[x](#sec-a)\n\n## B <!-- #sec-a -->'
    (folder / "a.bib").write_text("@book{one, author={One, A.}, title={T}, year={2022}}")
    nb = new_notebook(cells=[new_markdown_cell(source)], metadata={"title": "Zoë"})
    for write, name in ((write_html, "a.html"), (write_pdf, "a.pdf")):
        write(nb, folder / name, bibliography=folder / "a.bib")
    return (folder / "a.html").read_bytes(), (folder / "a.pdf").read_bytes()


def test_the_page_and_the_pdf_are_the_same_in_any_home(tmp_path, home, monkeypatch):
    with monkeypatch.context() as none:
        none.setenv("HOME", str(tmp_path / "none"))
        before = written(tmp_path / "before")
    assert b"One 2022" in before[0]
    for name, value in (
        ("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"),
        ("PYPANDOC_PANDOC", str(home / "bin" / "pandoc")),
        ("XDG_DATA_HOME", str(home / ".local" / "share")),
        ("GHCRTS", "-no-such-option"),
        ("LC_ALL", "C"),
        ("TZ", "Pacific/Kiritimati"),
        ("JUPYTER_CONFIG_DIR", str(home / ".jupyter")),
        ("TYPST_FONT_PATHS", str(home)),
        ("SOURCE_DATE_EPOCH", "1000000000"),
    ):
        monkeypatch.setenv(name, value)
    assert written(tmp_path / "after — zoë") == before


def test_a_kernel_reads_no_startup_file_no_profile_and_no_matplotlibrc(tmp_path, home, monkeypatch):
    for name, path in (
        ("IPYTHONDIR", ".ipython"),
        ("PYTHONSTARTUP", "startup.py"),
        ("JUPYTER_PATH", "jupyter"),
        ("MPLCONFIGDIR", ".config/matplotlib"),
        ("MATPLOTLIBRC", ".config/matplotlib/matplotlibrc"),
    ):
        monkeypatch.setenv(name, str(home / path))
    monkeypatch.setenv("MPLBACKEND", "no-such-backend")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    before = dict(os.environ)
    source = (
        "import sys, warnings\nimport matplotlib.pyplot as plt\nplt.figure()\nplt.close()\nwarnings.warn('x')\n"
        "print(globals().get('hijacked'), plt.rcParams['text.usetex'], plt.rcParams['axes.facecolor'], sys.executable)"
    )
    cells = [new_code_cell(source), new_code_cell("print('the end')", metadata={"tags": ["end"]})]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), tmp_path / "in.ipynb")
    done = nbformat.read(run(tmp_path / "in.ipynb", {}, tmp_path / "out.ipynb", ROOT), as_version=4)
    printed = "".join(o.text for cell in done.cells for o in cell.outputs if o.get("name") == "stdout")
    assert printed.splitlines() == [f"None False white {sys.executable}", "the end"]
    assert dict(os.environ) == before


def test_what_is_taken_away_comes_back_even_after_an_error(monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", "mine.py")
    before = dict(os.environ)
    with pytest.raises(KeyError), neutral():
        assert "PYTHONSTARTUP" not in os.environ and Path(os.environ["IPYTHONDIR"]).is_dir()
        raise KeyError
    assert dict(os.environ) == before
    assert Path(of_matplotlib("matplotlibrc")).is_file() and Path(of_matplotlib("fonts/ttf")).is_dir()
