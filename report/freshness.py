"""Whether a published report is made from the present notebooks, code and results, and which file says otherwise.

A file counts by what it does. Python, in modules and in the code cells of notebooks, counts without comments,
docstrings and layout: by its syntax tree, so that a formatter's line breaks, brackets and trailing commas make nothing
stale either, which its tokens would. The tree is written out here, not by `ast.dump`, whose text changes from one
version of Python to the next: only fields that hold something, in alphabetical order, so a field that a later version
adds is not there until code uses it. C++ counts without comments. Text (Markdown cells, styles, templates, references)
counts whole, comments too, and results by their bytes.
"""

import ast
import hashlib
import io
import json
import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.machine import ROOT

SOURCES = (
    "notebooks/*.ipynb",
    "lib/**/*.py",
    "lib/**/*.cpp",
    "report/**/*.py",
    "report/**/*.js",
    "report/canvas/weights/*.json",  # their sums
    "report/references.bib",
    "report/pictures/*.mplstyle",
    "report/press/templates/*",
    "report/published/benchmark.json",
    "report/speed/cluster.json",
    "report/census.csv",
    "report/results*/*/*.json.gz",
)
FILE = "sources.json"  # beside the published report: the digest of each file that it was made from
REMEDY = "`make publish` renews the report"
LENGTH = 16  # hexadecimal digits of a digest
WITHOUT_EFFECT = {"ctx", "kind", "type_comment", "type_ignores"}  # fields of a syntax tree
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
CPP = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)  # a text first: there is no comment in it
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def digests(root: Path = ROOT) -> dict[str, str]:
    """Return the digest of each file that the report is made from, by its path in the project.

    They are the same where a checkout has other line ends, and under every version of Python that can read the code.
    """
    files = sorted({file for pattern in SOURCES for file in root.glob(pattern) if file.is_file()})
    return {file.relative_to(root).as_posix(): short(content(file)) for file in files}


def whole(found: Mapping[str, str]) -> str:
    """Return one digest of all files, which the report itself bears."""
    return short("".join(f"{name} {each}\n" for name, each in sorted(found.items())).encode())


def as_json(found: Mapping[str, str]) -> str:
    """Return the text of the file that says what a report was made from, a line per file."""
    return json.dumps(dict(sorted(found.items())), indent=0) + "\n"


def stale(folder: Path = ROOT / "report" / "published", root: Path = ROOT) -> list[str]:
    """Return why a published report is not of today, a sentence per file of the project; nothing where it is."""
    try:
        before: dict[str, str] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{FILE} cannot be read beside the report: {REMEDY}"]
    now = digests(root)
    reasons = [f"{name} is gone" for name in before.keys() - now.keys()]
    reasons += [f"{name} is new" for name in now.keys() - before.keys()]
    reasons += [f"{name} has changed" for name in before.keys() & now.keys() if before[name] != now[name]]
    for name in ("report.html", "report.pdf"):
        if not (folder / name).is_file() or whole(before).encode() not in (folder / name).read_bytes():
            reasons.append(f"{name} is not made from what {FILE} lists")
    return [f"{reason}: {REMEDY}" for reason in sorted(reasons)]


def content(file: Path) -> bytes:
    """Return what counts of a file."""
    if file.suffix == ".gz":
        return file.read_bytes()
    text = file.read_bytes().replace(b"\r\n", b"\n").decode()
    if file.suffix == ".py":
        text = of_code(text)
    elif file.suffix == ".ipynb":
        text = of_notebook(text)
    elif file.suffix == ".cpp":
        text = of_cpp(text)
    return text.encode()


def of_code(text: str) -> str:
    """Return what Python code does, whatever its layout; code that is none, as a magic of a notebook, as it stands."""
    try:
        return of_tree(ast.parse(text))
    except SyntaxError:
        return text


def of_tree(node: Any) -> str:
    """Write a syntax tree out, the same under every version of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(of_tree, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in WITHOUT_EFFECT}
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    filled = sorted((name, value) for name, value in fields.items() if value is not None and value != [])
    return f"{type(node).__name__}({','.join(f'{name}={of_tree(value)}' for name, value in filled)})"


def of_notebook(text: str) -> str:
    """Return what a notebook says and does, cell by cell: its kind, its tags, and its text or what its code does."""
    cells = []
    for cell in json.loads(text)["cells"]:
        source, tags = cell["source"], cell["metadata"].get("tags", [])
        source = source if isinstance(source, str) else "".join(source)
        if cell["cell_type"] == "code":
            shown = "" if hides(source) else "shown"  # of the value of its last line
            done = of_code("0\n" + source) if is_python(source) else source  # a text on its own is no docstring here
            source = done + shown
        cells.append([cell["cell_type"], tags, source, cell.get("attachments", {})])
    return json.dumps(cells, sort_keys=True)


def is_python(source: str) -> bool:
    """Say whether a cell is Python alone, without magics."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def hides(source: str) -> bool:
    """Say whether a cell ends with a semicolon, so that the value of its last line is not shown."""
    try:
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        found = [token.string for token in tokens if token.type not in NO_CODE]
    except (tokenize.TokenError, SyntaxError):
        found = [source.rstrip()[-1:]]
    return found[-1:] == [";"]


def of_cpp(text: str) -> str:
    """Return C++ without comments, blank lines, and blanks at the ends of lines."""
    bare = CPP.sub(lambda match: match[0] if match[0].startswith('"') else " ", text)
    return "\n".join(line.strip() for line in bare.splitlines() if line.strip())


def short(content: bytes) -> str:
    """Return the first digits of a SHA-256."""
    return hashlib.sha256(content).hexdigest()[:LENGTH]
