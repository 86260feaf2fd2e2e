import json
import shutil
import subprocess
import sys

import pytest

from lib.machine import ROOT
from report import freshness

CODE = '''"""A module."""
RATE = 0.01  # per step


def step(weight, gradient):
    """Return the next weight."""
    return weight - RATE * gradient
'''
CPP = 'int a = 1; // one\nconst char* text = "no // comment";\n'
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "Words."]},
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": "trials: int = 3  # how many",
            "outputs": [],
        },
        {"cell_type": "code", "metadata": {}, "source": "draw(trials)", "outputs": []},
    ]
}


@pytest.fixture
def project(tmp_path):
    """A small project with a report that is made from it."""
    published = tmp_path / "report" / "published"
    contents = {
        "lib/a.py": CODE,
        "lib/b.cpp": CPP,
        "notebooks/1.ipynb": json.dumps(NOTEBOOK),
        "report/references.bib": "@misc{a}\n",
        "report/results/SN-0/trials-000-024.json.gz": "\n\r\n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode())
    published.mkdir(parents=True)
    made_from = freshness.digests(tmp_path)
    (published / freshness.FILE).write_text(freshness.as_json(made_from))
    for name in ("report.html", "report.pdf"):
        (published / name).write_text(freshness.whole(made_from))
    assert reasons(tmp_path) == []
    return tmp_path


def reasons(project):
    return freshness.stale(project / "report" / "published", project)


def edit(file, old, new):
    text = file.read_bytes().decode()
    assert old in text
    file.write_bytes(text.replace(old, new).encode())


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("lib/a.py", "# per step", "# per batch"),
        ("lib/a.py", "A module.", "Another sentence."),
        ("lib/a.py", "Return the next weight.", "Return it."),
        ("lib/a.py", "step(weight, gradient)", "step(\n    weight,\n    gradient,\n)"),
        ("lib/a.py", "weight - RATE * gradient", "(weight - (RATE * gradient))"),
        ("lib/a.py", "\n", "\r\n"),
        ("lib/b.cpp", "// one", "/* the\nfirst */"),
        ("notebooks/1.ipynb", "# how many", "# of them"),
        ("notebooks/1.ipynb", '"outputs": []', '"outputs": [{}]'),
        ("report/references.bib", "\n", "\r\n"),
    ],
)
def test_comments_docstrings_and_layout_make_nothing_stale(project, name, old, new):
    edit(project / name, old, new)
    assert reasons(project) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("lib/a.py", "0.01", "0.02"),
        ("lib/a.py", "weight - RATE", "weight + RATE"),
        ("lib/b.cpp", "a = 1", "a = 2"),
        ("lib/b.cpp", "no // comment", "no // other"),
        ("notebooks/1.ipynb", "trials: int = 3", "trials: int = 4"),
        ("notebooks/1.ipynb", "draw(trials)", "draw(trials);"),
        ("notebooks/1.ipynb", "Words.", "Other words."),
        ("notebooks/1.ipynb", '"parameters"', '"other"'),
        ("report/references.bib", "misc", "book"),
        ("report/results/SN-0/trials-000-024.json.gz", "\r\n", "\n"),
    ],
)
def test_what_makes_it_stale_is_named(project, name, old, new):
    edit(project / name, old, new)
    assert reasons(project) == [f"{name} has changed: {freshness.REMEDY}"]


def test_files_that_come_and_go_are_named(project):
    (project / "lib" / "a.py").rename(project / "lib" / "c.py")
    assert [reason.partition(":")[0] for reason in reasons(project)] == ["lib/a.py is gone", "lib/c.py is new"]


def test_a_page_that_bears_another_digest_is_named(project):
    (project / "report" / "published" / "report.pdf").write_text("%PDF of something else")
    assert [each.partition(" ")[0] for each in reasons(project)] == ["report.pdf"]
    (project / "report" / "published" / freshness.FILE).unlink()
    assert reasons(project) == [f"{freshness.FILE} cannot be read beside the report: {freshness.REMEDY}"]


def test_one_literal_in_the_repositorys_own_code_is_noticed_and_a_comment_is_not(tmp_path):
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    before = freshness.digests(tmp_path)
    edit(tmp_path / "lib" / "store.py", "SCHEMA = 2  # of the file", "SCHEMA = 2  # of a file")
    assert freshness.digests(tmp_path) == before
    edit(tmp_path / "lib" / "store.py", "SCHEMA = 2", "SCHEMA = 3")
    after = freshness.digests(tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["lib/store.py"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("f(None)", "f(...)"), ("f'{a}'", "f'{a!r}'"), ("{**a}", "{'a': a}"), ("'a'", "b'a'"), ("1", "1.0"), ("x", "'x'")],
)
def test_code_that_does_something_else_is_told_apart(one, other):
    assert freshness.of_code(f"y = {one}") != freshness.of_code(f"y = {other}")


def test_the_form_of_code_is_that_of_every_python():
    """Pinned: no field of a syntax tree that is empty, or that only some versions have, is in it."""
    form = "Module(body=[FunctionDef(args=arguments(args=[arg(arg='x')]),body=[Return(value=Name(id='x'))],name='f')])"
    assert freshness.of_code("def f(x):\n    'Say it.'\n    return x  # again\n") == form


def test_the_page_s_scripts_and_what_they_are_given_are_sources():
    assert {"report/canvas/canvas.js", "report/canvas/weights/sha256.json", "report/desk/desk.js"} <= set(
        freshness.digests()
    )


def test_it_takes_no_torch():
    code = "import sys, report.freshness; report.freshness.digests(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.published
def test_the_published_report_is_made_from_these_sources():
    assert freshness.stale() == []
