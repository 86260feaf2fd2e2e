"""The project's own files: dependencies in one list, notebooks as they should be, prose about the project alone."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest

from lib.machine import ROOT
from tests.committed import committed, committed_notebooks, committed_text

NOTEBOOKS = committed_notebooks()
WRITES = "%%writefile"  # how a cell begins that writes a file: the one place for definitions in a notebook
# Of these every parameter is explained.
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("tool", [["mypy"], ["lint-imports", "--no-logo", "--no-cache"]], ids=["types", "imports"])
def test_types_fit_and_imports_point_downwards(tool):
    """A test among the others, so that it runs beside them: mypy takes half a minute the first time."""
    name, *options = tool
    done = subprocess.run([Path(sys.executable).with_name(name), *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_environment_installs_the_one_list_of_dependencies():
    text = (ROOT / "environment.yml").read_text()
    assert f"python={PROJECT['requires-python'].removeprefix('>=')}" in text
    assert "-e .[test,explore]" in text
    assert "-c constraints.txt" in text


def test_every_dependency_is_pinned_in_the_constraints():
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    assert {re.match(r"[\w-]+", name)[0].lower().replace("_", "-") for name in wanted} <= pinned


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook as it is committed: that of a user who ran it, or changed it, is not ours to judge."""
    return nbformat.reads(committed_text(path), as_version=4)


def fault_of(cell: nbformat.NotebookNode) -> str:
    """What is wrong with a code cell, or nothing."""
    if cell.outputs or cell.execution_count is not None:
        return "outputs are not committed"
    written, lines = cell.source.startswith(WRITES), cell.source.splitlines()
    tree = ast.parse("\n".join(lines[1:] if written else lines))
    if "parameters" in cell.metadata.get("tags", []):
        annotated = all(isinstance(node, ast.AnnAssign) for node in tree.body)
        return "" if annotated else "papermill shows types of annotated parameters only"
    if len(lines) > 16 or max(map(len, lines), default=0) > 120:
        return "a cell has up to 16 lines of up to 120 letters"
    if not written and any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body
    ):
        return "definitions are for lib"
    return ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_clean_and_typed(path):
    nb = read(path)
    nbformat.validate(nb)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    tags = [cell.metadata.get("tags", []) for cell in nb.cells]
    assert len(nb.cells) <= 30
    assert sum("parameters" in each for each in tags) == 1
    assert "end" in code[-1].metadata.tags
    for cell in code:
        assert not (fault := fault_of(cell)), f"{fault}:\n{cell.source}"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("x = 1", ""),
        ("class A: pass", "definitions are for lib"),
        ("x = 1\ndef f(): pass", "definitions are for lib"),
        ("# %%writefile a.py\ndef f(): pass", "definitions are for lib"),
        ("%%writefile a.py\ndef f(): pass", ""),
        ("%%writefile a.py\n" + "x = 1\n" * 16, "a cell has up to 16 lines of up to 120 letters"),
        (f"x = '{'a' * 120}'", "a cell has up to 16 lines of up to 120 letters"),
    ],
)
def test_definitions_are_for_files_that_a_cell_writes(source, fault):
    assert fault_of(nbformat.v4.new_code_cell(source)) == fault


def test_code_in_the_committed_notebooks_is_as_tidy_as_in_files():
    """Here and not in `make test`'s ruff, which would judge what a user has written into a notebook."""
    ruff = Path(sys.executable).with_name("ruff")
    for path in NOTEBOOKS:
        for order in (["check"], ["format", "--check"]):
            command = [ruff, *order, "--stdin-filename", path, "-"]
            done = subprocess.run(command, input=committed_text(path), cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"{path.name}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_explains_every_parameter(path):
    for name, parameter in papermill.inspect_notebook(path).items():
        assert parameter["help"], f"{path.name}: {name} has no comment on its line"
        assert parameter["inferred_type_name"] not in ("", "None"), name


def tracked() -> list[str]:
    files = committed()
    if files is None:
        pytest.skip("not a git checkout")
    return files


def test_no_data_set_and_no_absolute_path_is_committed():
    files = tracked()
    assert not [name for name in files if "ubyte" in name or name.startswith("build/")]
    for name in files:
        if (
            name.endswith((".py", ".md", ".ipynb", ".cpp", ".toml", ".yml", "Makefile"))
            and name != "tests/test_project.py"
        ):
            text = committed_text(ROOT / name)
            assert not re.search(r"(/home/|/root/|/Users/|C:\\\\Users)", text), name


def test_the_report_s_prose_names_every_figure_and_table():
    """What has a label in a numbered notebook is pointed to in the prose of one of them."""
    sources = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    prose = "\n".join([*sources.values(), (ROOT / "report" / "answer.py").read_text(encoding="utf-8")])
    labels = {label for text in sources.values() for label in re.findall(r'label=f?\\"((?:fig|tbl)-[^\\"]+)', text)}
    of_many = {"fig-{compared.label}", "fig-{number}"}  # each has a section of its own
    unnamed = {label for label in labels - of_many if f"(#{label.replace('{number}', '1')})" not in prose}
    assert len(labels) > 20 and unnamed == set()
