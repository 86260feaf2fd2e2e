"""How each figure and each table was made: the same facts in a fold below it on the page, and in manifest.json."""

import ast
import base64
import hashlib
import html
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from lib.machine import ROOT
from report.press.parameters import option

SVG = "image/svg+xml"
HIDDEN = {"remove-cell", "remove-output"}  # tags of cells whose outputs are not in the report
FEW = 4  # experiments of one store that a fold names one by one; the manifest names all
REPORT = ".venv/bin/python -m report build"  # makes all of them


def labelled(nb: NotebookNode) -> Iterator[tuple[NotebookNode, NotebookNode]]:
    """Yield each figure and each table that the report numbers, in order: its cell, and the output that it is."""
    for cell in nb.cells:
        if not HIDDEN & set(cell.metadata.get("tags", [])):
            for output in cell.get("outputs", ()):
                if "id" in output.get("metadata", {}).get("report", {}):
                    yield cell, output


def number(nb: NotebookNode) -> None:
    """Give every figure and table its number: those of the original report have theirs, other figures count as S1."""
    figures = tables = 0
    for _, output in labelled(nb):
        report = output.metadata.report
        if report["id"].startswith("tbl"):
            tables += 1
            report.setdefault("number", str(tables))
        elif "number" not in report:
            figures += 1
            report["number"] = f"S{figures}"


def annotate(nb: NotebookNode) -> None:
    """Let each figure and table of a notebook that papermill ran say that notebook and its parameters."""
    ran = nb.metadata.get("papermill", {})
    if not ran.get("input_path"):
        return
    path, given = Path(ran["input_path"]), ran.get("parameters", {})
    notebook = path.relative_to(ROOT).as_posix() if ROOT in path.parents else path.name
    own = defaults(nb)
    differing = {name: value for name, value in given.items() if name not in own or own[name] != value}
    for _, output in labelled(nb):
        output.metadata.report |= {"notebook": notebook, "parameters": differing}


def defaults(nb: NotebookNode) -> dict[str, Any]:
    """Return the parameters of a notebook as its own cell has them; what is no plain value is left out."""
    found = {}
    for cell in nb.cells:
        if "parameters" in cell.metadata.get("tags", []):
            for node in ast.parse(cell.source).body:
                target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
                value = getattr(node, "value", None)
                if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                    found[target.id] = value.value
    return found


def command(notebook: str, parameters: Mapping[str, object]) -> str:
    """Return the exact command that runs a notebook with parameters, in the project's folder."""
    words = [".venv/bin/papermill", notebook, "out.ipynb", "-k", "python3"]
    for name, value in parameters.items():
        words += [option(value), name, str(value)]
    return shlex.join(words)


def facts(output: NotebookNode) -> dict[str, Any]:
    """Return what is known of how a figure or a table was made; what is not known is left out."""
    report = output.metadata.report
    kind = "table" if report["id"].startswith("tbl") else "figure"
    found = {"label": report["id"], "kind": kind, "number": report["number"], "caption": report["caption"]}
    if SVG in output.data:
        content = output.data[SVG].encode()
        found |= {"file": f"figures/{report['id']}.svg", "sha256": hashlib.sha256(content).hexdigest()}
    if "notebook" in report:
        found |= {"notebook": report["notebook"], "parameters": report["parameters"]}
        found["command"] = command(report["notebook"], report["parameters"])
    return found | {name: report[name] for name in ("inputs", "commits") if name in report}


def manifest(nb: NotebookNode) -> str:
    """Return the text of `manifest.json`: the facts of every figure and table of a merged notebook, in order."""
    return json.dumps([facts(output) for _, output in labelled(nb)], indent=1, ensure_ascii=False) + "\n"


def fold(output: NotebookNode, address: str = "") -> str:
    """Return the HTML of the fold below a figure or a table; nothing where nothing is known of how it was made.

    `address` is where the project can be seen; without one, paths and commits are text.
    """
    known = facts(output)
    rows = list(_rows(known, address))
    if table := output.metadata.report.get("csv"):
        coded = base64.b64encode(table.encode()).decode()
        name = f"{known['label']}.csv"
        rows.append(("Table", f'<a download="{name}" href="data:text/csv;base64,{coded}">{name}</a>'))
    if not rows:
        return ""
    which = f'<span class="unseen">: {known["kind"].capitalize()} {html.escape(known["number"])}</span>'
    listed = "".join(f"<dt>{name}</dt><dd>{content}</dd>" for name, content in rows)
    return f'<details class="made"><summary>How this was made{which}</summary><dl>{listed}</dl></details>'


def _rows(known: Mapping[str, Any], address: str) -> Iterator[tuple[str, str]]:
    """Yield names and contents, as HTML, of the lines of a fold."""
    if "notebook" in known:
        said = ", ".join(f"{name} = {value}" for name, value in known["parameters"].items())
        yield "Notebook", _linked(known["notebook"], address and f"{address}/blob/HEAD/{known['notebook']}")
        yield "What differs", html.escape(said or "nothing: all parameters as the notebook has them")
        yield "Command", f'<pre tabindex="0"><code>{html.escape(known["command"])}</code></pre>'
        yield "Whole report", f"<code>{REPORT}</code>"
    if "inputs" in known:
        yield "Stored files", html.escape("; ".join(_by_store(known["inputs"])))
    if "commits" in known:
        each = (_linked(f"lib {commit}", address and f"{address}/commit/{commit[:10]}") for commit in known["commits"])
        yield "Made by", ", ".join(each)


def _by_store(inputs: Sequence[str]) -> Iterator[str]:
    """Say the folders and files that were read, by the folder that holds them; of many only how many they are."""
    stores: dict[str, list[str]] = {}
    for each in inputs:
        folder, _, name = each.rpartition("/")
        stores.setdefault(folder, []).append(name)
    for folder, names in stores.items():
        yield (
            f"{folder}/{names[0]}"
            if len(names) == 1
            else (f"{folder}: {', '.join(names)}" if len(names) <= FEW else f"{folder}: {len(names)} experiments")
        )


def _linked(text: str, address: str) -> str:
    """Return text as HTML, a link where there is an address."""
    shown = html.escape(text)
    return f'<a href="{html.escape(address)}">{shown}</a>' if address else f"<code>{shown}</code>"
