"""The source of one's own: what it imports of one's own belongs to it, in the key and in importing anew."""

import importlib
import sys

import pytest

from lib import Experiment, sources
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
