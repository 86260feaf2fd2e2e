"""Ways to set the project up: each installs the one list of dependencies; installed as a package it works elsewhere."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib.machine import ROOT
from report.about import PARTS
from tests.committed import committed

LIST = r"-e '?\.\[(test,)?explore\]"  # of pyproject.toml, whose versions constraints.txt pins

USE = """
from lib import Experiment, run_analysis
print(run_analysis(Experiment.parse("WSN momentum=0.9"), 25, progress=False).records[0]["trials"][-1])
small = Experiment.parse("WSN dataset=digits epochs=1 train_pairs=50 test_pairs=20 channels=2-3 hidden=4")
run_analysis(small, 2, progress=False)
"""


def test_binder_and_conda_install_the_one_list():
    for name, constraints in (
        (".binder/requirements.txt", "../constraints.txt"),
        ("environment.yml", "constraints.txt"),
    ):
        text = (ROOT / name).read_text()
        assert re.search(LIST, text) and f"-c {constraints}" in text, name
        assert (ROOT / name).parent.joinpath(constraints).resolve() == ROOT / "constraints.txt", name
        packages = re.findall(r"^\s*(?:- )?([a-z][\w-]*)(?:[=<>].*)?$", text, re.M)
        assert set(packages) <= {"conda-forge", "pip", "python"}, f"{name} has a list of its own"
    assert re.fullmatch(r"python-3\.1[1-9]\n", (ROOT / ".binder" / "runtime.txt").read_text())


def test_the_container_for_development_calls_make():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make .venv/ready"
    done = subprocess.run(["make", "-n", "-B", ".venv/ready"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(LIST, done.stdout) and "-c constraints.txt" in done.stdout


def test_the_workflow_calls_ci_run_alone():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "bash .ci/run" in text and "pip install" not in text and "pytest" not in text
    assert "Untried" in text


@pytest.mark.slow
def test_installed_as_a_package_it_works_from_another_folder(tmp_path):
    """Without a network: what it depends on is installed already."""
    files = committed()
    if files is None or importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("it takes a git checkout, pip and setuptools to build a package")
    for name in files:
        if not name.startswith(("tests/", "report/published/figures/")):
            copy = tmp_path / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    install = ["install", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site", "./source"]
    subprocess.run([*pip, *install], cwd=tmp_path, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {name: value for name, value in os.environ.items() if name not in ("RESULTS_ROOT", "OWN_ROOT", "PWD")}
    variables["PYTHONPATH"] = str(tmp_path / "site")

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, cwd=elsewhere, env=variables, capture_output=True, text=True)

    done = python("-c", USE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "24\n", "the published results came with it"
    assert [file.parent.parent for file in elsewhere.rglob("trials-*.json.gz")] == [elsewhere / "results"]
    said = python("-m", "report", "about").stdout
    assert f"own results: 1 groups in {elsewhere / 'results'}" in said and "installed as a package" in said
    for command in ("build", "publish"):
        refused = python("-m", "report", command)
        assert refused.returncode == 1
        assert re.fullmatch(
            rf"`{command}` works on the project's folder, .*: clone the repository, .*\n", refused.stderr
        )


def test_about_says_all_that_it_can_and_why_where_it_cannot(capsys, monkeypatch):
    from report.__main__ import main

    monkeypatch.setenv("MNIST_ROOT", "$NO_SUCH/a")
    monkeypatch.delenv("NO_SUCH", raising=False)
    assert main(["about"]) == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert set(said) == {name.replace("_", " ") for name in PARTS}
    assert said["MNIST"].startswith("not known: MNIST_ROOT is ")
    assert said["implementation"].startswith(("the compiled block (", "PyTorch's operations, several times as slow ("))
    assert Path(said["own modules"]) == Path(os.environ["OWN_ROOT"])
