"""The source of what comes from outside lib: the file of a module and those of its own that it imports.

An architecture or a measure of one's own is known by all of it: an edited constant in a file that it imports makes
another one. Installed packages, Python's library, and this project's `lib` and `report` are not part of it; what is
imported in other ways than by statements is not seen.
"""

import ast
import hashlib
import importlib
import sys
import sysconfig
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType

from lib.machine import ROOT, own_folder, workplace

INSTALLED = tuple(Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith("lib"))
COVERED = (ROOT / "lib", ROOT / "report")  # by the protocol's number and the golden tests
imported: dict[str, bytes] = {}  # sources of modules, as they were imported last


def load(module: str) -> ModuleType:
    """Import a module, of one's own or installed, from wherever this process was started.

    JupyterLab starts kernels in the notebook's folder, papermill where it was called. Raises ModuleNotFoundError that
    says where it was looked for, and whatever the module raises.
    """
    own, also = own_folder(), list(dict.fromkeys([Path.cwd(), workplace(), workplace() / "notebooks"]))
    if str(own) not in sys.path:
        sys.path.insert(0, str(own))  # the one place comes first; worker processes take over their parent's path
    sys.path += [path for path in map(str, also) if path not in sys.path]
    importlib.invalidate_caches()  # a cell may have written the file just now
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and something that it imports is not
        raise ModuleNotFoundError(
            f"{error}; put {module.replace('.', '/')}.py into {own} (looked for there, in "
            f"{', '.join(map(str, also))} and among what is installed)",
            name=error.name,
        ) from error


def closure(module: str) -> dict[str, Path]:
    """Return the files of a module and of those of one's own that it imports, by name, what is imported first."""
    found: dict[str, Path] = {}
    visit(module, found, set())
    return found


def visit(module: str, found: dict[str, Path], seen: set[str]) -> None:
    """Add a module's own imports to what was found, then the module itself."""
    path = file_of(module)
    if module in seen or path is None:
        return
    seen.add(module)
    for name in imports(module, path):
        if (file := file_of(name)) is not None and is_own(file):
            visit(name, found, seen)
    found[module] = path


def imports(module: str, path: Path) -> list[str]:
    """Return the names of the modules that a file's import statements may mean."""
    return named(path.read_bytes(), module if path.name == "__init__.py" else module.rpartition(".")[0])


@cache
def named(content: bytes, package: str) -> list[str]:
    """Return the names of the modules that the import statements of a package's file may mean."""
    names: list[str] = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    packages = [name[:at] for name in names for at, letter in enumerate(name) if letter == "."]
    return list(dict.fromkeys([*packages, *names]))


def file_of(module: str) -> Path | None:
    """Return the file of a module written in Python, or None where it is none."""
    try:
        spec = find_spec(module)
    except (ImportError, AttributeError, ValueError):  # a name that is no module
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def is_own(path: Path) -> bool:
    """Say whether a file is neither installed nor part of this project's lib and report."""
    resolved = path.resolve()
    if {"site-packages", "dist-packages"} & set(resolved.parts):
        return False
    return not any(resolved.is_relative_to(folder) for folder in (*INSTALLED, *COVERED))


def digest(module: str) -> str:
    """Return the SHA-256 of a module's source: of its file or, where it imports more of one's own, of all of them.

    It is the same in a checkout with other line ends.
    """
    texts = {name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in closure(module).items()}
    hashes = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    if len(hashes) == 1:
        return hashes[module]
    return hashlib.sha256("\n".join(f"{name} {each}" for name, each in sorted(hashes.items())).encode()).hexdigest()


def renew(module: str) -> None:
    """Import a module, and all of one's own that it imports, anew where a file was edited since, as in a notebook."""
    load(module)
    contents = {name: path.read_bytes() for name, path in closure(module).items()}
    edited = False
    for name, content in contents.items():  # what is imported first comes first, and what reads it is imported anew too
        edited = edited or imported.setdefault(name, content) != content
    if edited:
        importlib.invalidate_caches()
        for name in contents:
            if name in sys.modules:
                importlib.reload(sys.modules[name])
        imported.update(contents)
