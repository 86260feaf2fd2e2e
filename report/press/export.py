"""Executed notebooks become one self-contained HTML page and one PDF.

`merge` joins finished notebooks, `write_html` and `write_pdf` render the result; `jupyter nbconvert --to report-html`
and `--to report-pdf` do the same for a single executed notebook. A notebook is first reduced to a list of blocks
(Markdown, figures, tables, code, output); pandoc, through `templates/report.lua`, makes one document of them, so
numbers, references, footnotes and citations are the same in both; Typst sets the PDF.

Nothing in a notebook reaches the page as live markup: HTML is shown as text, pictures are rebuilt from what is known
to be harmless, progress bars and everything else on stderr are left out.
"""

import base64
import html
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import nbformat
import pypandoc
import typst
from nbconvert.exporters import Exporter
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from traitlets import Bool, Unicode, default

from lib import files
from report.press.display import LABEL

TEMPLATES = Path(__file__).parent / "templates"
PARAMETERS = {"parameters", "injected-parameters"}  # the tags of papermill
WIDGET = "application/vnd.jupyter.widget-view+json"
SVG = "{http://www.w3.org/2000/svg}"
DRAWING = (
    "svg|g|defs|symbol|use|path|rect|circle|ellipse|line|polyline|polygon|text|tspan|image|clipPath|mask|pattern|marker"
    "|linearGradient|radialGradient|stop"
)
NOISE = ("Error running Lua:", "Failing because there were warnings.")
Block = dict[str, Any]  # a kind, the name of a function in templates/report.lua, and what that needs


def finished(nb: NotebookNode, name: str) -> None:
    """Check that papermill ran every cell of `nb`, up to a last code cell tagged `end`; `name` is for the message.

    A notebook whose kernel was killed looks finished: papermill calls every cell completed. Only the end marker, run,
    tells that all cells before it were run too; so that cell should be trivial, as a death within it leaves no trace.

    Raises ValueError that names the notebook and says what is missing.
    """
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for position, cell in enumerate(code, start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                raise ValueError(f"{name}: code cell {position} failed with {output.ename}: {output.evalue}")
        status = cell.metadata.get("papermill", {}).get("status")
        if status != "completed":
            raise ValueError(f"{name}: code cell {position} did not run to its end (papermill status: {status})")
    if not code or "end" not in _tags(code[-1]):
        raise ValueError(f'{name}: the last code cell is not tagged "end"; without that mark it may be incomplete')
    if code[-1].execution_count is None:
        raise ValueError(f"{name}: the last code cell has not been run")


def merge(
    paths: Sequence[str | os.PathLike[str]],
    *,
    title: str,
    headings: Sequence[str] = (),
    subtitle: str | None = None,
    authors: Sequence[str] = (),
    date: str | None = None,
    description: str | None = None,
    links: Sequence[tuple[str, str]] = (),
    lang: str = "en",
    sources: str | None = None,
) -> NotebookNode:
    """Join executed notebooks, in order, into one; the keywords are its title block.

    `headings`, if given, has a text per notebook: one that is not empty opens a chapter before that notebook. `links`
    are (text, address) pairs for a line under the title; `sources` identifies what the report was made from, a checksum
    for example, and is kept in the page's head and among the PDF's keywords.

    Raises ValueError when a notebook is not `finished` or `headings` are not as many, and what `nbformat.read` raises
    for a file that is none.
    """
    merged = nbformat.v4.new_notebook()
    merged.metadata["report"] = {
        "title": title,
        "subtitle": subtitle,
        "authors": list(authors),
        "date": date,
        "description": description,
        "links": [list(link) for link in links],
        "lang": lang,
        "sources": sources,
    }
    for path, heading in zip(paths, headings or [""] * len(paths), strict=True):
        nb = nbformat.read(path, as_version=4)
        finished(nb, Path(path).name)
        merged.metadata.setdefault("kernelspec", nb.metadata.get("kernelspec", {}))
        opening = [nbformat.v4.new_markdown_cell(f"# {heading}")] if heading else []
        for cell in opening + deepcopy(nb.cells):
            cell.metadata.pop("papermill", None)  # its times would make every build another
            cell.id = f"cell-{len(merged.cells) + 1}"
            merged.cells.append(cell)
    nbformat.validate(merged)
    return merged


def write_html(nb: NotebookNode, path: str | os.PathLike[str], *, bibliography: Path | None = None) -> None:
    """Render `nb` as one HTML page that needs no other file, script or request.

    Raises ValueError for an unresolved or repeated label, a citation that `bibliography` lacks and a faulty formula.
    """
    page, _ = ReportHTML(bibliography=str(bibliography or "")).from_notebook_node(nb)
    files.write(Path(path), page)


def write_pdf(nb: NotebookNode, path: str | os.PathLike[str], *, bibliography: Path | None = None) -> None:
    """Render `nb` as an accessible PDF (PDF/UA-1); the same notebook gives the same bytes.

    Raises ValueError as `write_html` does, and typst.TypstError when the text cannot be set.
    """
    document, _ = ReportPDF(bibliography=str(bibliography or "")).from_notebook_node(nb)
    files.write(Path(path), document)


class _Report(Exporter):
    """What both exporters share: a notebook becomes blocks, and pandoc makes the document of them."""

    bibliography = Unicode("", help="BibTeX file for [@key] citations; empty for none").tag(config=True)
    code = Bool(help="Show the code").tag(config=True)
    template = ""
    to = ""  # pandoc's name for the output

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Render a notebook; nbconvert calls this. Raises ValueError as `write_html` does."""
        nb, resources = super().from_notebook_node(nb, resources, **kw)
        self.pictures: dict[str, bytes] = {}
        # A notebook that was not merged has at most a title; otherwise its only first-level heading is the title.
        front = {"title": nb.metadata.get("title"), "authors": [], "links": [], "lang": "en"}
        front |= nb.metadata.get("report", {})
        if not re.fullmatch("[a-z]{2,3}", front["lang"]):
            raise ValueError(f"lang is {front['lang']!r}; it should be a language code of two or three letters")
        document = {
            **{key: value for key, value in front.items() if value is not None},
            "literal": {key: self.literal(front[key]) for key in ("description", "sources") if front.get(key)},
            "authors": [self.literal(author) for author in front["authors"]],
            "name": resources.get("metadata", {}).get("name") or "Notebook",
            "html": self.to == "html5",
            "citations": bool(self.bibliography),
            "blocks": list(self.blocks(nb)),
        }
        options = [f"--to={self.to}", "--standalone", f"--template={TEMPLATES / self.template}"]
        options += ["--mathml", "--wrap=preserve"]
        if self.bibliography:
            options += ["--citeproc", f"--bibliography={self.bibliography}", "--metadata=link-citations:true"]
        return self.rendered(_pandoc(json.dumps(document), options)), resources

    def blocks(self, nb: NotebookNode) -> Iterator[Block]:
        """Yield what the report shows, in order."""
        for cell in nb.cells:
            tags = _tags(cell)
            if "remove-cell" in tags:
                continue
            found = []
            if cell.cell_type == "markdown":
                found.append({"kind": "markdown", "text": cell.source})
            if cell.cell_type == "code" and self.code and cell.source.strip() and "remove-input" not in tags:
                found.append(self.listing(cell.source, "Parameters" if tags & PARAMETERS else "Code"))
            if cell.cell_type == "code" and "remove-output" not in tags:
                found += [block for output in cell.outputs if (block := self.output(output))]
            if "abstract" in tags:  # it goes under the title; prose first, its code after it
                found = [
                    {**block, "abstract": True} for block in sorted(found, key=lambda block: block["kind"] == "raw")
                ]
            yield from found

    def output(self, output: NotebookNode) -> Block | None:
        """Return the block for one output of a cell; None for what is not for the report."""
        if output.output_type == "stream":
            # Progress bars are on stderr; one on stdout overwrites its line, of which only the last state counts.
            text = "" if output.name == "stderr" else re.sub(r"^.*\r(?!\n)", "", output.text, flags=re.M)
            return _printed(text)
        if output.output_type == "error":
            return _printed("\n".join(output.traceback))
        report, data = output.metadata.get("report", {}), output.data
        label, text = report.get("id"), data.get("text/plain", "")
        if label is not None and not re.fullmatch(LABEL, label):
            raise ValueError(f"label is {label!r}; it should look like fig-6a or tbl-results")
        if report.get("notebook_only") or WIDGET in data:
            return None
        if "image/svg+xml" in data or "image/png" in data:
            return {**report, "kind": "figure", "picture": self.picture(data, report.get("alt") or text or "Figure")}
        if "text/markdown" in data:
            return {**report, "kind": "table" if label else "markdown", "text": data["text/markdown"]}
        return _printed(text)

    def picture(self, data: dict[str, str], alt: str) -> str:
        """Keep the picture's bytes and return the markup that shows it."""
        number = len(self.pictures) + 1
        if "image/svg+xml" in data:
            name, content = f"picture-{number}.svg", harmless_svg(data["image/svg+xml"], f"p{number}-", alt).encode()
        else:
            name, content = f"picture-{number}.png", base64.b64decode(data["image/png"])
        self.pictures[name] = content
        return self.shown(name, content, alt)

    def literal(self, text: str) -> str:
        """Return the output's notation for a text that is not markup."""
        raise NotImplementedError

    def listing(self, source: str, title: str) -> Block:
        """Return the block for a cell's source."""
        raise NotImplementedError

    def shown(self, name: str, content: bytes, alt: str) -> str:
        """Return the markup that shows a picture."""
        raise NotImplementedError

    def rendered(self, document: str) -> str | bytes:
        """Return the finished output for pandoc's document."""
        raise NotImplementedError


class ReportHTML(_Report):
    """One HTML page: no script, no request, no other file."""

    export_from_notebook = "Report (HTML)"
    file_extension = ".html"
    output_mimetype = "text/html"
    template, to = "report.html", "html5"

    @default("code")
    def _code(self) -> bool:
        return True

    def literal(self, text: str) -> str:
        """Return the text for an attribute or an element."""
        return html.escape(text)

    def listing(self, source: str, title: str) -> Block:
        """Return the source, highlighted and folded."""
        code = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
        text = f'<details class="code"><summary>{title}</summary><pre tabindex="0"><code>{code}</code></pre></details>'
        return {"kind": "raw", "text": text}

    def shown(self, name: str, content: bytes, alt: str) -> str:
        """Return the picture itself: inline SVG or a data address."""
        if name.endswith(".svg"):
            return content.decode()
        return f'<img alt="{self.literal(alt)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'

    def rendered(self, document: str) -> str:
        """Return the page."""
        return document


class ReportPDF(_Report):
    """An accessible PDF (PDF/UA-1), set by Typst; the code is left out unless `code` is set."""

    export_from_notebook = "Report (PDF)"
    file_extension = ".pdf"
    output_mimetype = "application/pdf"
    template, to = "report.typ", "typst-citations"  # citations: pandoc has resolved them

    def literal(self, text: str) -> str:
        """Return a Typst string."""
        return json.dumps(text, ensure_ascii=False)

    def listing(self, source: str, title: str) -> Block:
        """Return the source as a block of code."""
        return {"kind": "code", "text": source}

    def shown(self, name: str, content: bytes, alt: str) -> str:
        """Return Typst's call for the picture's file."""
        return f"#image({self.literal(name)}, alt: {self.literal(alt)})"

    def rendered(self, document: str) -> bytes:
        """Set the document; it sees only its own folder and the fonts that come with Typst and matplotlib."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in {**self.pictures, "report.typ": document.encode()}.items():
                Path(folder, name).write_bytes(content)
            return typst.compile(
                str(Path(folder, "report.typ")),
                root=folder,
                font_paths=[str(Path(matplotlib.get_data_path(), "fonts/ttf"))],
                ignore_system_fonts=True,
                pdf_standards=["ua-1"],
                package_path=folder,
                package_cache_path=folder,
                timestamp=0,
            )


def harmless_svg(source: str, prefix: str, alt: str) -> str:
    """Return an SVG picture to be set inline: its ids start with `prefix`, `alt` is its label, nothing in it is live.

    Scripts, foreign content, event handlers and addresses outside the picture are dropped.

    Raises ValueError for a text that is not XML.
    """
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError as error:
        raise ValueError(f"a picture is not valid SVG ({error})") from None
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        for child in list(element):
            if not re.fullmatch(DRAWING, child.tag.removeprefix(SVG)):
                element.remove(child)
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib = {
            name: prefix + value if name == "id" else re.sub(r"^#|(?<=url\()#", f"#{prefix}", value)
            for name, value in attributes.items()
            if not name.lower().startswith("on")
            and not (name == "href" and not re.match(r"#|data:image/png;", value))
            and not re.search(r"url\((?!#)", value)
            and name != "space"
        }
    # The style element of matplotlib would reach the whole page; its two properties are inherited just as well.
    root.attrib |= {"xmlns": SVG.strip("{}"), "role": "img", "aria-label": alt, "style": "stroke-linejoin:round"}
    return ElementTree.tostring(root, encoding="unicode")


def _pandoc(document: str, options: list[str]) -> str:
    # A warning is a hole in the report: a citation without an entry, a formula that cannot be set.
    command = [pypandoc.get_pandoc_path(), f"--from={TEMPLATES / 'report.lua'}", "--fail-if-warnings", *options]
    done = subprocess.run(command, input=document, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        lines = done.stderr.partition("stack traceback")[0].splitlines()
        reason = "\n".join(line for line in lines if line not in NOISE).strip()
        raise ValueError(f"the report cannot be made: {reason}")
    return done.stdout


def _printed(text: str) -> Block | None:
    text = strip_ansi(text).rstrip()
    return {"kind": "output", "text": text} if text else None


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))
