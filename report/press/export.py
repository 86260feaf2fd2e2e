"""Executed notebooks become one self-contained HTML page and one PDF.

`merge` joins finished notebooks, `write_html` and `write_pdf` render the result; `jupyter nbconvert --to report-html`
and `--to report-pdf` do the same for a single executed notebook. A notebook is first reduced to a list of blocks
(Markdown, figures, tables, code, output); pandoc, through `templates/report.lua`, makes one document of them, so
numbers, references, footnotes and citations are the same in both; Typst sets the PDF.

Nothing in a notebook reaches the page as live markup: of HTML that is read which says what Markdown can say too, and
other HTML is shown as text; pictures are rebuilt from what is known to be harmless; progress bars and everything else
on stderr are left out. What cannot be shown, such as a film, is refused: nothing is missing unsaid.

Nor does the configuration of other tools: pandoc is the one that came with pypandoc, with nothing around it.
"""

import base64
import html
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

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
from lib.messages import show
from report.press import LABEL, images, letters, live, made, places, scheme
from report.press.surroundings import of_matplotlib

TEMPLATES = Path(__file__).parent / "templates"
PARAMETERS = {"parameters", "injected-parameters"}  # the tags of papermill
WIDGET = "application/vnd.jupyter.widget-view+json"
BAR = r"\d%\||it/s|s/it"  # a progress bar says so in plain text
FIGURES = "<!-- figures -->"  # in templates/report.html; no text of a notebook can say it
OBJECT = r"\s*(<[\w.]+( object)?( at 0x[0-9a-f]+)?>)?\s*"  # plain text that says nothing of what is displayed
NOISE = ("Error running Lua:", "Failing because there were warnings.")
ATTACHED = {".json": "application/json", ".csv": "text/csv"}  # kinds of files that a PDF can bring along
Block = dict[str, Any]  # a kind, the name of a function in templates/report.lua, and what that needs


class Attachment(NamedTuple):
    """A file that a PDF brings along: its name, what it is in a few words, and its text."""

    name: str
    description: str
    text: str


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
    address: str = "",
) -> NotebookNode:
    """Join executed notebooks, in order, into one; the keywords are its title block.

    `headings`, if given, has a text per notebook: one that is not empty opens a chapter before that notebook. `links`
    are (text, address) pairs for a line under the title; `sources` identifies what the report was made from, a checksum
    for example, and is kept in the page's head and among the PDF's keywords. `address` is where the project can be
    seen, if anywhere: what a fold says of how a figure was made then links there.

    A figure or table that a notebook places (`display.place`) stands there, and not where it was made; cells with the
    tag `supplement` stand in the supplement, and cells with the tag `page-alone` at the page's end: not in the PDF.

    Raises ValueError when a notebook is not `finished` or `headings` are not as many, when a label is placed twice or
    made by no notebook, when there are two supplements, and what `nbformat.read` raises for a file that is none.
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
        "address": address,
    }
    for path, heading in zip(paths, headings or [""] * len(paths), strict=True):
        nb = nbformat.read(path, as_version=4)
        finished(nb, Path(path).name)
        made.annotate(nb)
        merged.metadata.setdefault("kernelspec", nb.metadata.get("kernelspec", {}))
        opening = [nbformat.v4.new_markdown_cell(f"# {heading}")] if heading else []
        alone = [places.ALONE] if places.all_alone(nb) else []
        for number, cell in enumerate(opening + deepcopy(nb.cells), start=1 - len(opening)):
            cell.metadata.pop("papermill", None)  # its times would make every build another
            cell.metadata["home"] = _home(nb, Path(path), number)
            cell.metadata["tags"] = list(dict.fromkeys([*cell.metadata.get("tags", []), *alone]))
            cell.id = f"cell-{len(merged.cells) + 1}"
            merged.cells.append(cell)
    places.supplement(merged)
    places.page_alone(merged)
    places.settle(merged)
    made.number(merged)
    nbformat.validate(merged)
    return merged


def write_html(
    nb: NotebookNode,
    path: str | os.PathLike[str],
    *,
    bibliography: Path | None = None,
    parts: Sequence[live.Live] = (),
) -> None:
    """Render `nb` as one HTML page that needs no other file and no request, with live parts below its abstract.

    Raises ValueError for an unresolved or repeated label, a citation that `bibliography` lacks and a faulty formula.
    """
    exporter = ReportHTML(bibliography=str(bibliography or ""))
    exporter.parts = parts
    page, _ = exporter.from_notebook_node(nb)
    files.write(Path(path), page)


def write_pdf(
    nb: NotebookNode,
    path: str | os.PathLike[str],
    *,
    bibliography: Path | None = None,
    attachments: Sequence[Attachment] = (),
) -> None:
    """Render `nb` as an accessible PDF (PDF/UA-1) that brings `attachments` along; the same gives the same bytes.

    Raises ValueError as `write_html` does and for an attachment that is neither JSON nor CSV, and typst.TypstError when
    the text cannot be set.
    """
    if strange := [each.name for each in attachments if Path(each.name).suffix not in ATTACHED]:
        raise ValueError(f"attachments have {show(strange[0])}; allowed: names that end with {' or '.join(ATTACHED)}")
    exporter = ReportPDF(bibliography=str(bibliography or ""))
    exporter.attachments = attachments
    document, _ = exporter.from_notebook_node(nb)
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
        nb = _printable(nb)
        made.annotate(nb)
        made.number(nb)
        name = resources.get("metadata", {}).get("name") or "Notebook"
        path = Path(resources.get("metadata", {}).get("path") or ".", f"{name}.ipynb")
        self.cells = [
            {"home": _home(nb, path, number), **cell.metadata, "attachments": cell.get("attachments", {})}
            for number, cell in enumerate(nb.cells, start=1)
        ]
        self.pictures: dict[str, bytes] = {}
        self.mark = secrets.token_hex(16)  # no text can have it: around what stands for a picture in pandoc's document
        # A notebook that was not merged has at most a title; otherwise its only first-level heading is the title.
        front = {"title": nb.metadata.get("title"), "authors": [], "links": [], "lang": "en"}
        front |= nb.metadata.get("report", {})
        self.project = front.pop("address", "")
        if not re.fullmatch("[a-z]{2,3}", front["lang"]):
            raise ValueError(f"lang is {front['lang']!r}; it should be a language code of two or three letters")
        document = {
            **{key: value for key, value in front.items() if value is not None},
            "literal": {key: self.literal(front[key]) for key in ("description", "sources") if front.get(key)},
            "authors": [self.literal(author) for author in front["authors"]],
            "name": name,
            "html": self.to == "html5",
            "mark": self.mark,
            "places": [cell["home"]["cell"] for cell in self.cells],
            "citations": bool(self.bibliography),
            "blocks": list(self.blocks(nb)),
        }
        options = [f"--to={self.to}", "--standalone", f"--template={TEMPLATES / self.template}"]
        options += ["--mathml", "--wrap=preserve"]
        if self.bibliography:
            options += ["--citeproc", f"--bibliography={self.bibliography}", "--metadata=link-citations:true"]
        text = images.clean(_pandoc(json.dumps(document), options))  # Markdown has other ways to say a character
        return self.rendered(re.sub(f"{self.mark}(.*?){self.mark}", self.named, text)), resources

    def blocks(self, nb: NotebookNode) -> Iterator[Block]:
        """Yield what the report shows, in order; each block has the number of its cell."""
        merged = "report" in nb.metadata  # of a single notebook nothing is left out
        listed: set[str] = set()
        for number, cell in enumerate(nb.cells):
            tags = _tags(cell)
            if "remove-cell" in tags:
                continue
            found = []
            if cell.cell_type == "markdown":
                found.append({"kind": "markdown", "text": cell.source})
            if cell.cell_type == "raw" and (block := _printed(cell.source)):
                found.append(block)
            if cell.cell_type == "code" and self.code and cell.source.strip() and "remove-input" not in tags:
                if cell.source not in listed:  # of a notebook that ran several times, once
                    found.append(self.listing(cell.source, "Parameters" if tags & PARAMETERS else "Code"))
                listed.add(cell.source)
            if cell.cell_type == "code" and "remove-output" not in tags:
                try:
                    found += [block for output in cell.outputs for block in self.outputs(output)]
                except ValueError as error:
                    raise ValueError(f"{self.cells[number]['home']['cell']}: {error}") from None
            if "abstract" in tags:  # it goes under the title; prose first, its code after it
                found = [
                    {**block, "abstract": True} for block in sorted(found, key=lambda block: block["kind"] == "raw")
                ]
            if merged and places.on_the_page_alone(tags):
                found = [{**block, "alone": True} for block in found]
            if places.LETTERED in tags:
                found = [{**block, "lettered": True} for block in found]
            yield from ({**block, "cell": number} for block in found)

    def outputs(self, output: NotebookNode) -> Iterator[Block]:
        """Yield the block for one output of a cell, if it is for the report, and what goes below it."""
        if block := self.output(output):
            yield block
            if "id" in block and (below := self.below(output)):
                yield {"kind": "raw", "text": below}

    def output(self, output: NotebookNode) -> Block | None:
        """Return the block for one output of a cell; None for what is not for the report.

        Raises ValueError for what cannot be shown, where no picture and no text of it can be shown instead.
        """
        if output.output_type == "stream":
            # Progress bars are on stderr; one on stdout overwrites its line, of which only the last state counts.
            text = "" if output.name == "stderr" else re.sub(r"^.*\r(?!\n)", "", output.text, flags=re.M)
            return _printed(text)
        if output.output_type == "error":
            return _printed("\n".join(output.traceback))
        report, data = dict(output.metadata.get("report", {})), output.data
        label, text = report.get("id"), data.get("text/plain", "")
        if label is not None and not re.fullmatch(LABEL, label):
            raise ValueError(f"label is {label!r}; it should look like fig-6a or tbl-results")
        if report.get("notebook_only") or (WIDGET in data and re.search(BAR, text)):
            return None
        if mime := next((mime for mime in images.MIMES if mime in data), ""):
            alt = report.get("alt") or (text if not re.fullmatch(OBJECT, text) else "Figure")
            content = data[mime] if mime == "image/svg+xml" else images.decode(data[mime], alt)
            picture, narrow = self.shown(self.kept(content, alt, alt), alt), report.get("narrow", "")
            return {
                **_said(report),
                "kind": "figure",
                "tall": isinstance(content, str) and images.tall(content),
                "picture": self.either(picture, narrow, alt) if narrow else picture,
            }
        if "text/markdown" in data:
            return {**_said(report), "kind": "table" if label else "markdown", "text": data["text/markdown"]}
        others = sorted(set(data) - {"text/plain"})
        if not others or (WIDGET not in data and not re.fullmatch(OBJECT, text)):
            return _printed(text)
        if others == ["text/html"]:
            return {"kind": "html", "text": data["text/html"]}
        if others == ["text/latex"]:
            return {"kind": "markdown", "text": data["text/latex"]}
        raise ValueError(
            f"an output is {' and '.join(others)} ({show(text)}), which cannot be shown; display it as a picture, as "
            "Markdown or as text, or tag its cell remove-output"
        )

    def kept(self, content: str | bytes, alt: str, name: str) -> str:
        """Keep a picture, an SVG harmless, and return by which name `pictures` has it; `name` is for the message."""
        kind = "svg" if isinstance(content, str) else images.kind_of(content, name)
        number = len(self.pictures) + 1
        if isinstance(content, str) or kind == "svg":
            content = images.harmless_svg(content, f"p{number}-", alt).encode()
        self.pictures[f"picture-{number}.{kind}"] = content
        return f"picture-{number}.{kind}"

    def named(self, found: re.Match[str]) -> str:
        """Return the markup for a picture that a text of a cell names, given what the Lua reader found of it."""
        image = json.loads(found[1])
        cell, alt = self.cells[image["cell"]], image["alt"] or "Figure"
        try:
            content = images.find(image["source"], cell["attachments"], cell["home"]["folders"])
            return self.placed(self.kept(content, alt, image["source"]), alt, image["width"])
        except ValueError as error:
            raise ValueError(f"{cell['home']['cell']}: {error}") from None

    def literal(self, text: str) -> str:
        """Return the output's notation for a text that is not markup."""
        raise NotImplementedError

    def listing(self, source: str, title: str) -> Block:
        """Return the block for a cell's source."""
        raise NotImplementedError

    def shown(self, name: str, alt: str) -> str:
        """Return the markup that shows one of `pictures` as a figure."""
        raise NotImplementedError

    def below(self, output: NotebookNode) -> str:
        """Return the markup that goes below a numbered figure or table; most outputs have none."""
        return ""

    def either(self, picture: str, narrow: str, alt: str) -> str:
        """Return the markup that shows `picture`, or on a narrow page, if the output knows one, the SVG `narrow`."""
        return picture

    def placed(self, name: str, alt: str, width: str) -> str:
        """Return the markup that shows one of `pictures` within a text; `width` is "300px", "50%" or empty."""
        raise NotImplementedError

    def rendered(self, document: str) -> str | bytes:
        """Return the finished output for pandoc's document."""
        raise NotImplementedError


class ReportHTML(_Report):
    """One HTML page: no request, no other file, and no script but that of its live parts."""

    export_from_notebook = "Report (HTML)"
    file_extension = ".html"
    output_mimetype = "text/html"
    template, to = "report.html", "html5"
    parts: Sequence[live.Live] = ()

    @default("code")
    def _code(self) -> bool:
        return True

    def literal(self, text: str) -> str:
        """Return the text for an attribute or an element."""
        return html.escape(text)

    def listing(self, source: str, title: str) -> Block:
        """Return the source, highlighted and folded."""
        code = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
        code = re.sub(r'<span class="(?:n|p|o|w|nn)">([^<]*)</span>', r"\1", code)  # they have no colour of their own
        text = f'<details class="code"><summary>{title}</summary><pre tabindex="0"><code>{code}</code></pre></details>'
        return {"kind": "raw", "text": text}

    def shown(self, name: str, alt: str) -> str:
        """Return the picture itself: inline SVG, in the page's scheme, or a data address."""
        if name.endswith(".svg"):
            return scheme.schemed(self.pictures[name].decode())
        return f'<img alt="{self.literal(alt)}" src="{self.address(name)}">'

    def below(self, output: NotebookNode) -> str:
        """Return the fold that says how a figure or a table was made."""
        return made.fold(output, self.project)

    def either(self, picture: str, narrow: str, alt: str) -> str:
        """Return both; the style sheet shows one of them, by the page's width."""
        both = {"wide": picture, "narrow": self.shown(self.kept(narrow, alt, alt), alt)}
        return "".join(f'<div class="{name}">{svg}</div>' for name, svg in both.items())

    def placed(self, name: str, alt: str, width: str) -> str:
        """Return the picture with a data address, no wider than the page."""
        style = f"max-width:100%;width:{width}" if width else "max-width:100%"
        return f'<img alt="{self.literal(alt)}" src="{self.address(name)}" style="{style}">'

    def address(self, name: str) -> str:
        """Return a picture as a data address."""
        mime = next(mime for mime, kind in images.MIMES.items() if name.endswith(f".{kind}"))
        return f"data:{mime};base64,{base64.b64encode(self.pictures[name]).decode()}"

    def rendered(self, document: str) -> str:
        """Return the page, with what its pictures need, and its live parts."""
        drawn = [content.decode() for name, content in self.pictures.items() if name.endswith(".svg")]
        style = f"<style>\n{scheme.DARK}{letters.faces(drawn)}</style>" if drawn else ""
        return live.filled(document.replace(FIGURES, style, 1), self.parts)


class ReportPDF(_Report):
    """An accessible PDF (PDF/UA-1), set by Typst; the code is left out unless `code` is set."""

    export_from_notebook = "Report (PDF)"
    file_extension = ".pdf"
    output_mimetype = "application/pdf"
    template, to = "report.typ", "typst-citations"  # citations: pandoc has resolved them
    attachments: Sequence[Attachment] = ()

    def literal(self, text: str) -> str:
        """Return a Typst string."""
        return json.dumps(text, ensure_ascii=False)

    def listing(self, source: str, title: str) -> Block:
        """Return the source as a block of code."""
        return {"kind": "code", "text": source}

    def shown(self, name: str, alt: str) -> str:
        """Return Typst's call for the picture's file."""
        return f"#image({self.literal(name)}, alt: {self.literal(alt)})"

    def placed(self, name: str, alt: str, width: str) -> str:
        """Return Typst's call for the picture's file, within a line."""
        wide = f", width: {float(width[:-2]) * 0.75:g}pt" if width.endswith("px") else width and f", width: {width}"
        return f"#box(image({self.literal(name)}, alt: {self.literal(alt)}{wide}));"

    def attached(self, file: Attachment) -> str:
        """Return Typst's call that attaches a file."""
        kind, name, what = map(self.literal, (ATTACHED[Path(file.name).suffix], file.name, file.description))
        return f'\n#pdf.attach({name}, description: {what}, mime-type: {kind}, relationship: "supplement")'

    def rendered(self, document: str) -> bytes:
        """Set the document; it sees only its own folder and the fonts that come with Typst and matplotlib."""
        with tempfile.TemporaryDirectory() as folder:
            brought = {each.name: each.text.encode() for each in self.attachments}
            document += "".join(map(self.attached, self.attachments))
            for name, content in {**self.pictures, **brought, "report.typ": document.encode()}.items():
                Path(folder, name).write_bytes(content)
            return typst.compile(
                str(Path(folder, "report.typ")),
                root=folder,
                font_paths=[of_matplotlib("fonts/ttf")],
                ignore_system_fonts=True,
                pdf_standards=["ua-1"],
                package_path=folder,
                package_cache_path=folder,
                timestamp=0,
            )


def _pandoc(document: str, options: list[str]) -> str:
    # A warning is a hole in the report: a citation without an entry, a formula that cannot be set.
    command = [_pandoc_path(), f"--from={TEMPLATES / 'report.lua'}", "--fail-if-warnings", *options]
    # The user's templates, styles and scripts for pandoc are in its data folder; options of its runtime and the names
    # of letters are in the environment, where a path with other letters than English ones needs the latter.
    command.append(f"--data-dir={TEMPLATES}")
    bare = {"LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"}
    done = subprocess.run(command, input=document, capture_output=True, encoding="utf-8", check=False, env=bare)
    if done.returncode:
        lines = done.stderr.partition("stack traceback")[0].splitlines()
        reason = "\n".join(line for line in lines if line not in NOISE).strip()
        raise ValueError(f"the report cannot be made: {reason}")
    return done.stdout


def _pandoc_path() -> str:
    """Return the pandoc of this environment; `pypandoc` by itself prefers a newer one, wherever it is installed."""
    ours = Path(pypandoc.__file__).parent / "files" / "pandoc"
    return str(ours) if ours.exists() else str(pypandoc.get_pandoc_path())


def _home(nb: NotebookNode, path: Path, number: int) -> dict[str, Any]:
    """Say which cell this is, for messages, and where pictures beside its notebook may be.

    That is beside `path`, or beside the notebook from which papermill made it.
    """
    taken_from = nb.metadata.get("papermill", {}).get("input_path")
    folders = [str(Path(each).parent) for each in (path, taken_from) if each]
    return {"cell": f"{path.name}, cell {number}", "folders": folders}


def _printable(node: Any) -> Any:
    """Return a notebook, or a part of one, whose texts have neither a terminal's colours nor what is not printed."""
    if isinstance(node, str):
        return images.clean(strip_ansi(node))
    if isinstance(node, Mapping):
        return NotebookNode({key: _printable(value) for key, value in node.items()})
    return [_printable(each) for each in node] if isinstance(node, list) else node


def _said(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what templates/report.lua needs of an output's metadata."""
    return {name: report[name] for name in ("id", "number", "caption", "instead") if name in report}


def _printed(text: str) -> Block | None:
    text = text.rstrip()
    return {"kind": "output", "text": text} if text else None


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))
