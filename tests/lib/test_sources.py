"""The source of one's own: what it imports of one's own belongs to it, in the key and in importing anew."""

import importlib
import sys

import pytest

from lib import Experiment, machine, sources
from lib.analysis import default_store
from lib.foreign import find

NET = """
{imports}
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(392, 2)
        self.scale = {scale}

    def forward(self, images):
        return self.scale * self.layer(images.flatten(1))
"""

IMPORTS = {  # how a network reads its constant, and the file that has it
    "from": ("from parts import SCALE", "SCALE", "parts.py"),
    "import": ("import parts", "parts.SCALE", "parts.py"),
    "another name": ("import parts as p", "p.SCALE", "parts.py"),
    "in a function": ("def read():\n    from parts import SCALE\n    return SCALE", "read()", "parts.py"),
    "by another file": ("from between import SCALE", "SCALE", "parts.py"),
    "of a package": ("from package.parts import SCALE", "SCALE", "package/parts.py"),
    "a package's own": ("from package import SCALE", "SCALE", "package/__init__.py"),
    "through a package": ("import package", "package.relative.SCALE", "package/deep.py"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "package").mkdir()
    files = {
        "parts.py": "SCALE = 1.0",
        "between.py": "from parts import SCALE",
        "package/__init__.py": "from . import relative\nSCALE = 1.0",
        "package/parts.py": "SCALE = 1.0",
        "package/relative.py": "from .deep import SCALE",
        "package/deep.py": "SCALE = 1.0",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("net", "parts", "between", "package", "package.parts", "package.relative", "package.deep"):
        sys.modules.pop(name, None)
        sources.imported.pop(name, None)


@pytest.mark.parametrize(("imports", "scale", "file"), IMPORTS.values(), ids=IMPORTS)
def test_an_edited_file_that_a_network_imports_makes_another_experiment(folder, imports, scale, file):
    (folder / "net.py").write_text(NET.format(imports=imports, scale=scale))
    before = Experiment(architecture="net:Net")
    assert find("net:Net")().scale == 1
    (folder / file).write_text((folder / file).read_text().replace("1.0", "2.0"))
    after = Experiment(architecture="net:Net")
    assert after.key != before.key
    assert find("net:Net")().scale == 2, "it is imported anew, too"
    (folder / file).write_text((folder / file).read_text().replace("2.0", "1.0"))
    assert Experiment(architecture="net:Net").key == before.key


def test_what_is_installed_or_ours_is_no_part_of_it(folder):
    named = ("json", "numpy.linalg", "torch.nn.functional", "lib.tasks", "report.study")
    imports = "\n".join(f"import {each}" for each in named)
    (folder / "net.py").write_text(NET.format(imports=imports, scale=1))
    assert list(sources.closure("net")) == ["net"]


def test_files_that_import_each_other_and_names_that_are_none_end(folder):
    (folder / "parts.py").write_text("import net\nSCALE = 1.0")
    text = "import parts\ntry:\n    import nowhere.at_all\nexcept ImportError:\n    pass"
    (folder / "net.py").write_text(NET.format(imports=text, scale="parts.SCALE"))
    assert list(sources.closure("net")) == ["parts", "net"]


def test_a_class_of_a_script_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="'__main__:Net', which no worker can import: put the class into a file"):
        Experiment(architecture="__main__:Net")


@pytest.mark.parametrize("converted", [("net.py",), ("parts.py",), ("net.py", "parts.py")])
def test_other_line_ends_make_no_other_experiment(folder, converted):
    """As git writes them on Windows, with core.autocrlf=true."""
    (folder / "net.py").write_text(NET.format(imports='from parts import SCALE\nWORDS = """a\nb"""', scale="SCALE"))
    (folder / "parts.py").write_text("SCALE = 1.0\n")
    before = sources.digest("net")
    for name in converted:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content.replace(b"\n", b"\r\n"))
    assert sources.digest("net") == before
    (folder / "parts.py").write_text("SCALE = 2.0\n")
    assert sources.digest("net") != before


# ---------------------------------------------------------------- where one's own files are


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder of its own, and a current folder elsewhere."""
    monkeypatch.setattr(machine, "ROOT", tmp_path / "project")
    monkeypatch.setattr(machine, "CHECKOUT", True)
    monkeypatch.delenv("OWN_ROOT")
    for name in ("project/notebooks", "project/own", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield tmp_path / "project"
    sys.modules.pop("mine", None)
    sources.imported.pop("mine", None)


@pytest.mark.parametrize("place", ["own", "", "notebooks", "../elsewhere"])
def test_a_file_of_one_s_own_is_found_wherever_the_process_was_started(project, place):
    with pytest.raises(ValueError, match="No module named 'mine'"):
        find("mine:Net")
    folder = project / place
    (folder / "mine.py").write_text(NET.format(imports="", scale="1.0"))
    experiment = Experiment(architecture="mine:Net")
    assert find("mine:Net").__module__ == "mine"
    (folder / "mine.py").write_text(NET.format(imports="", scale="2.0"))
    assert Experiment(architecture="mine:Net") != experiment, "the edited file was read"


def test_the_one_place_comes_first(project, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")  # as a kernel has its current folder
    for folder, scale in (("own", 1.0), ("", 2.0), ("notebooks", 3.0), ("../elsewhere", 4.0)):
        (project / folder / "mine.py").write_text(NET.format(imports="", scale=scale))
    assert find("mine:Net")().scale == 1.0


def test_where_it_lies_is_no_part_of_the_key(project):
    (project / "mine.py").write_text(NET.format(imports="", scale="1.0"))
    experiment = Experiment(architecture="mine:Net")
    sys.modules.pop("mine")
    (project / "mine.py").rename(machine.own_folder() / "mine.py")
    assert Experiment(architecture="mine:Net").key == experiment.key


def test_a_module_that_is_not_found_is_looked_for_where_the_message_says(project, tmp_path):
    with pytest.raises(ValueError) as caught:
        find("mine:Net")
    assert str(caught.value) == (
        "architecture is 'mine:Net', which cannot be imported: No module named 'mine'; put mine.py into "
        f"{project / 'own'} (looked for there, in {tmp_path / 'elsewhere'}, {project}, {project / 'notebooks'} and "
        "among what is installed)"
    )


def test_a_class_that_its_file_has_not_is_missed_in_that_file(project):
    file = machine.own_folder() / "mine.py"
    file.write_text(NET.format(imports="", scale="1.0"))
    with pytest.raises(
        ValueError, match=f"has no attribute 'Nets' \\(did you mean 'Net'\\?\\) \\(its file is {file}\\)$"
    ):
        find("mine:Nets")


def test_without_a_checkout_the_user_s_own_is_where_the_command_was_given(project, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CHECKOUT", False)
    monkeypatch.delenv("RESULTS_ROOT")
    assert machine.own_folder() == tmp_path / "elsewhere" / "own"
    assert default_store().root == tmp_path / "elsewhere" / "results"
