"""The project's own files: dependencies in one list, notebooks as they should be, prose about the project alone."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from lib.machine import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
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
    assert "-e .[test]" in text
    assert "-c constraints.txt" in text


def test_every_dependency_is_pinned_in_the_constraints():
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    assert {re.match(r"[\w-]+", name)[0].lower().replace("_", "-") for name in wanted} <= pinned


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_clean_and_typed(path):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    tags = [cell.metadata.get("tags", []) for cell in nb.cells]
    assert len(nb.cells) <= 30
    assert sum("parameters" in each for each in tags) == 1
    assert "end" in code[-1].metadata.tags
    for cell in code:
        assert not cell.outputs, "outputs are not committed"
        assert cell.execution_count is None
        tree = ast.parse(cell.source)
        if "parameters" in cell.metadata.get("tags", []):
            assert all(isinstance(node, ast.AnnAssign) for node in tree.body), "papermill shows types of annotated ones"
        else:
            assert len(cell.source.splitlines()) <= 16
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body), (
            "definitions are for lib"
        )


def tracked() -> list[str]:
    try:
        listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()


def test_no_data_set_and_no_absolute_path_is_committed():
    files = tracked()
    assert not [name for name in files if "ubyte" in name or name.startswith("build/")]
    for name in files:
        if (
            name.endswith((".py", ".md", ".ipynb", ".cpp", ".toml", ".yml", "Makefile"))
            and name != "tests/test_project.py"
        ):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"(/home/|/root/|/Users/|C:\\\\Users)", text), name
