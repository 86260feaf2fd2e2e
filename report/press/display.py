"""What the notebooks show: figures, tables and sentences that carry their label, caption and alternative text.

JupyterLab shows each of them with its caption; `report.press.export` reads the label, the caption and the alternative
text from the output's metadata, numbers them and resolves links such as `[the figure](#fig-6a)`. The metadata also has
which stored files the notebook has read so far.
"""

import json
import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from lib import files
from report.press import LABEL, read
from report.press.images import clean
from report.press.letters import FONT

FAMILIES = f"'{FONT}', Verdana, sans-serif"
PICTURE = r"!?\[([^\]]*)\]\([^)]*\)"  # a picture or a link in Markdown
ALIGNMENTS = {"l": ":--", "c": ":-:", "r": "--:"}


def show_figure(
    fig: Figure,
    *,
    label: str,
    caption: str,
    alt: str,
    number: str | None = None,
    narrow: Figure | None = None,
    instead: str | None = None,
) -> None:
    """Display a matplotlib figure as SVG, with its caption below it, and close it.

    `label` starts with `fig-` and is what links point to. `caption` is Markdown, `alt` plain text that says what the
    picture shows to whoever cannot see it. `number` is the figure's number in the original report ("6a"); without it
    the report numbers the figure as a supplement (S1, S2, ...). `narrow` is the same figure as a page on a telephone
    shows it, about 80 mm wide. `instead` is the label of the figure that has the same in print, where this one stands
    on the page alone: links lead there. Equal figures give equal bytes.

    Raises ValueError for a label of another form and for an empty caption or alternative text.
    """
    report: dict[str, object] = {"id": _label(label, "fig"), "caption": _required("caption", caption)}
    report |= {"alt": _required("alt", alt), **read.account()}
    if number is not None:
        report["number"] = str(number)
    if instead is not None:
        report["instead"] = _label(instead, "fig")
    data = {"image/svg+xml": _svg(fig, label), "text/plain": f"Figure: {alt}"}
    if narrow is not None:
        report["narrow"] = _svg(narrow, f"{label}-narrow")
    display(data, raw=True, metadata={"report": report})
    _for_reading_here(f"**Figure {number}.** {caption}" if number is not None else f"**Figure.** {caption}")


def _svg(fig: Figure, salt: str) -> str:
    """Return a figure as SVG, and close it: the same bytes each time, its text as text, and no other file needed."""
    svg = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "svg.image_inline": True}):
        undated = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        fig.savefig(svg, format="svg", bbox_inches="tight", metadata=undated)
    plt.close(fig)
    # A tenth of a point in curves, and a hundredth in what is placed, is finer than any print.
    drawn = _cut(clean(svg.getvalue()), r' d="[^"]*"', 1)  # a comment has each text as it is
    drawn = re.sub(r' transform="rotate\(-0 [^"]*"', "", drawn)
    drawn = _cut(drawn, r'(?<= transform=")(translate|rotate)\([^)]*\)| [xy]="[^"]*"', 2)
    # Said once, with what stands in where it is missing and no page or PDF brings it: Verdana is nearly as wide.
    return drawn.replace(f"font-family: {FONT!r}; ", "").replace("<svg ", f'<svg font-family="{FAMILIES}" ', 1)


def _cut(svg: str, where: str, digits: int) -> str:
    """Cut the numbers in the parts of a picture that match `where`, and what says nothing at their ends."""
    long = re.compile(rf"(\.\d{{1,{digits}}})\d*")
    return re.sub(where, lambda part: long.sub(lambda number: number[1].rstrip(".0"), part[0]), svg)


def show_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, label: str, caption: str, align: str | None = None
) -> None:
    """Display a table with its caption above it; the report numbers it.

    `label` starts with `tbl-`. `align` has one of l, c, r per column; by default the first column is aligned to the
    left and the others to the right. Cells are literal text; an `IPython.display.Markdown` cell is read as Markdown.

    Raises ValueError for a label of another form, an empty caption, a row that is not as long as the header and an
    `align` that does not fit.
    """
    report: dict[str, object] = {"id": _label(label, "tbl"), "caption": _required("caption", caption)}
    align = "l" + "r" * (len(header) - 1) if align is None else align
    if not header or len(align) != len(header) or set(align) - set(ALIGNMENTS):
        raise ValueError(f"{label}: align is {align!r}; {len(header)} columns need one of l, c, r each")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"{label}: row {number} has {len(row)} cells, the header has {len(header)}")
    report |= {"csv": files.table(header, [[_plain(cell) for cell in row] for row in rows]), **read.account()}
    lines = [[_cell(cell) for cell in line] for line in (header, *rows)]
    lines.insert(1, [ALIGNMENTS[column] for column in align])
    _for_reading_here(f"**Table.** {caption}")
    display(Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines)), metadata={"report": report})


def place(label: str) -> None:
    """Let a figure or a table that another notebook makes stand here in the report, with its caption and its fold.

    JupyterLab shows a line instead, which says what makes it, as far as the published report tells.

    Raises ValueError for what is no label; what no notebook makes, or is placed twice, fails the build.
    """
    if not re.fullmatch(LABEL, label):
        raise ValueError(f"label is {label!r}; it should look like fig-6a or tbl-results")
    found = next((each for each in _manifest() if each["label"] == label), None)
    if found and "notebook" in found:
        name = f"{found['kind'].capitalize()} {found['number']}"
        text = f"{name} is made by notebook {found['notebook']}; this shows it: {found['command']}"
    else:
        text = f"{label} stands here in the report; which notebook makes it is known when that is published."
    display(Markdown(f"*{escape(text)}*"), metadata={"report": {"place": label}})


def say(text: str) -> None:
    """Display Markdown prose with computed numbers in it; pass strings of unknown origin through `escape`."""
    display(Markdown(text))


def guard(heading: str, holds: bool) -> None:
    """Raise ValueError where the results no longer carry what a heading of the notebook says of them."""
    if not holds:
        raise ValueError(f"the results do not say any more: {heading}; write another heading")


def escape(text: object) -> str:
    r"""Return `text` as one line of Markdown that reads literally: no markup, no HTML, no link, no formula.

    >>> escape("a|b <i> $x$")
    'a\\|b \\<i\\> \\$x\\$'
    """
    line = " ".join(clean(str(text)).split())
    line = re.sub(r"([\\`*_{}\[\]<>#|~$@^&\"']|-(?=-)|\.(?=\.)|:(?=\S))", r"\\\1", line)
    return re.sub(r"^(\d*)([-+=.)])(?=[-=\s]|$)", r"\1\\\2", line)  # what would open a list or a rule


def _cell(cell: object) -> str:
    if isinstance(cell, Markdown):
        return re.sub(r"(?<!\\)\|", r"\\|", " ".join(str(cell.data).split()))
    return escape(cell)


def _manifest() -> list[dict[str, Any]]:
    """Return what the published report says of its figures and tables; nothing where it cannot be read."""
    try:
        return list(json.loads(read.MANIFEST.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def _plain(cell: object) -> str:
    """Return a cell as text; of a picture what it is said to show, and of a link its text."""
    text = re.sub(PICTURE, r"\1", str(cell.data)) if isinstance(cell, Markdown) else str(cell)
    return " ".join(text.split())


def _for_reading_here(text: str) -> None:
    """Display a caption for whoever reads the notebook itself; the report sets its own, numbered."""
    display(Markdown(text), metadata={"report": {"notebook_only": True}})


def _label(label: str, kind: str) -> str:
    if not re.fullmatch(LABEL, label) or not label.startswith(kind):
        raise ValueError(f"label is {label!r}; it should be {kind}- and lower-case letters, digits and single hyphens")
    return label


def _required(name: str, text: str) -> str:
    if not text.strip():
        raise ValueError(f"{name} is empty; every figure and table needs one")
    return text
