import base64
import csv
import html
import re
import shlex
import subprocess
import sys
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from pypdf import PdfReader

from report.palette import PALETTE
from report.press.display import escape
from report.press.export import Attachment, finished, merge, write_html, write_pdf
from tests.report.press.test_images import DRAWING, GIF, PNG

ROOT = Path(__file__).parents[3]
ATTACK = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "hr", "col", "input"}
LOADING = {"src", "srcset", "poster", "data", "action"}

SOURCE = [
    new_markdown_cell(
        "# Does it rise? <!-- #sec-question -->\n\nYes: see [the curves](#fig-6a), [the other one](#fig-more), "
        "[this table](#tbl-results) and [the method](#sec-method).[^1] Figures [6a](#fig-6a) alone.\n\n"
        "[^1]: A note with $\\sqrt{x}$."
    ),
    new_code_cell("owner = 'nobody'", metadata={"tags": ["parameters"]}),
    new_code_cell(
        "import sys\nimport matplotlib.pyplot as plt\nfrom report.press.display import say, show_figure, show_table"
    ),
    new_code_cell('say(f"An abstract of **{1 + 1}** words.")', metadata={"tags": ["abstract"]}),
    new_code_cell(
        "fig, ax = plt.subplots(figsize=(3, 2))\nax.plot([1, 2])\nax.set_title('Efficient letters')\n"
        'show_figure(fig, label="fig-6a", number="6a", caption="A line, $y = x$.", alt="A rising line.")'
    ),
    new_markdown_cell("## Method <!-- #sec-method -->\n\n$$\\sum_i x_i^2$$\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
    new_code_cell(
        "fig, ax = plt.subplots(figsize=(3, 2))\nax.imshow([[0, 1]])\n"
        'show_figure(fig, label="fig-more", caption="Two pixels.", alt="Two pixels.")'
    ),
    new_code_cell(
        'show_table(["network", "accuracy"], [["WSN", "71.7 ± 8.0"], [owner, 2]], label="tbl-results", caption="All.")'
    ),
    new_code_cell("say(owner)\nprint(owner)\nprint(f'{5 * 11} %', file=sys.stderr)"),
    new_code_cell("'hidden'", metadata={"tags": ["remove-cell"]}),
    new_code_cell("print('the end')", metadata={"tags": ["end"]}),
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """One small notebook, run by papermill with HTML in a parameter."""
    folder = tmp_path_factory.mktemp("executed")
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=deepcopy(SOURCE), metadata={"kernelspec": kernelspec}), folder / "in.ipynb")
    papermill.execute_notebook(
        folder / "in.ipynb",
        folder / "out.ipynb",
        {"owner": ATTACK},
        cwd=ROOT,
        kernel_name="python3",
        progress_bar=False,
    )
    return folder / "out.ipynb"


@pytest.fixture(scope="module")
def report(executed):
    title = {"title": "Four <small> networks", "subtitle": "A & B", "authors": ["A. Author"], "date": "2026"}
    return merge([executed], **title, description='"Quoted" & short', links=[("PDF", "report.pdf")], sources="abc123")


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("html") / "report.html"
    write_html(report, path)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pdf(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("pdf") / "report.pdf"
    write_pdf(report, path)
    return PdfReader(path)


class Page(HTMLParser):
    """Every element of a page with its attributes, its visible text, and a check that elements are closed."""

    def __init__(self, source):
        super().__init__()
        self.source, self.elements, self.open, self.words = source, [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "annotation"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).replace("\u00a0", " ").split())


def notebook(*texts):
    return new_notebook(cells=[new_markdown_cell(text) for text in texts])


def text_of(pdf):
    return " ".join(" ".join(page.extract_text() for page in pdf.pages).replace("\u00a0", " ").split())


def test_the_page_runs_nothing_and_asks_for_nothing(page):
    assert "script" not in {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert all(value.startswith("data:") for name, value in attributes.items() if name in LOADING)
        if tag in ("link", "image", "use"):
            assert attributes["href"].startswith(("data:", "#"))
    assert not re.search(r"url\((?!#|data:font/woff;base64,)|@import", page.source)


def test_text_of_a_figure_is_text_and_its_letters_go_with_it(page, pdf):
    assert "<text" in page.source and "Efficient letters" in page.text
    assert page.source.count("@font-face{") == 1 and "font-family=\"'DejaVu Sans', Verdana, sans-serif\"" in page.source
    assert "Efficient letters" in text_of(pdf)
    fonts = {font.get_object()["/BaseFont"] for each in pdf.pages for font in each["/Resources"]["/Font"].values()}
    assert any(name.endswith("+DejaVuSans") for name in fonts)


def test_a_figure_in_the_report_s_look_follows_the_page_s_scheme_and_another_does_not(executed, tmp_path):
    assert "var(--fig-" not in write_page(executed, tmp_path), "drawn in matplotlib's own look, black and all"
    nb = nbformat.read(executed, as_version=4)
    figure = next(o for cell in nb.cells for o in cell.get("outputs", ()) if "image/svg+xml" in o.get("data", {}))
    ink = PALETTE["ink"].light
    figure.data["image/svg+xml"] = f"<svg xmlns='http://www.w3.org/2000/svg'><path fill='{ink}' d='M0 0h9v9z'/></svg>"
    nbformat.write(nb, tmp_path / "in.ipynb")
    page = write_page(tmp_path / "in.ipynb", tmp_path)
    assert f"var(--fig-ink,{ink})" in page and f"--fig-ink:{PALETTE['ink'].dark}" in page
    write_pdf(nb, tmp_path / "a.pdf")  # which knows no variables


def write_page(path, folder):
    write_html(nbformat.read(path, as_version=4), folder / "a.html")
    return (folder / "a.html").read_text(encoding="utf-8")


def test_html_from_the_notebook_is_shown_as_text(page, pdf):
    # in the injected parameter, the table, the sentence and the printed line; twice in each fold
    assert page.text.count(ATTACK) == 4 + 2 * 3
    assert ATTACK in text_of(pdf)


def test_ids_are_unique_and_internal_links_resolve(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")]
    assert set(targets) <= set(ids)
    assert {"fig-6a", "fig-more", "tbl-results", "sec-question", "sec-method"} <= set(targets) & set(ids)


def test_every_picture_and_every_scrolling_table_has_a_name(page):
    pictures = [a for tag, a in page.elements if tag == "svg"]
    assert [a["aria-label"] for a in pictures] == ["A rising line.", "Two pixels."]
    assert {a["role"] for a in pictures} == {"img"}
    regions = [a for _, a in page.elements if a.get("role") == "region"]
    assert len(regions) == 2
    assert all(a["tabindex"] == "0" and (a.get("aria-label") or a.get("aria-labelledby")) for a in regions)


def test_the_page_says_what_it_is(page):
    assert ("html", {"lang": "en"}) in page.elements
    assert ("meta", {"name": "description", "content": '"Quoted" & short'}) in page.elements
    assert ("meta", {"name": "sources", "content": "abc123"}) in page.elements
    assert ("a", {"href": "report.pdf"}) in page.elements
    assert [tag for tag, _ in page.elements].count("h1") == 1
    assert "Four <small> networks A & B A. Author · 2026" in page.text


EXPECTED = [
    "Figure 6a. A line,",
    "Figure S1. Two pixels.",
    "Table 1. All.",
    "see Figure 6a, Figure S1, Table 1 and Section 1.1.",
    "Figures 6a alone.",
    "71.7 ± 8.0",
    "An abstract of 2 words.",
    "A note with",
    "the end",
]


@pytest.mark.parametrize("text", EXPECTED)
def test_both_outputs_number_and_refer_alike(page, pdf, text):
    assert text in page.text.replace("1.1.1", "1.1.").replace(".1 Figures", ". Figures")
    assert text in re.sub(r"1\.1\.1", "1.1.", text_of(pdf))


def test_code_is_folded_in_the_page_and_left_out_of_the_pdf(page, pdf):
    summaries = re.findall(r"<summary>(\w+)</summary>", page.source)
    assert summaries.count("Parameters") == 2
    assert "plt.subplots" in page.text
    assert "subplots" not in text_of(pdf)


def test_every_heading_and_caption_has_a_link_to_itself(page):
    links = [(a["href"], a["aria-label"]) for _, a in page.elements if a.get("class") == "permalink"]
    assert links == [
        ("#sec-question", "Link to Section 1"),
        ("#fig-6a", "Link to Figure 6a"),
        ("#sec-method", "Link to Section 1.1"),
        ("#fig-more", "Link to Figure S1"),
        ("#tbl-results", "Link to Table 1"),
    ]
    for contents in re.findall("<nav.*?</nav>", page.source, re.S):
        assert "permalink" not in contents and 'href="#sec-method"' in contents


def test_there_is_a_way_back_to_the_contents(page):
    assert ("a", {"class": "back", "href": "#contents"}) in page.elements
    assert ("details", {"class": "contents narrow", "id": "contents"}) in page.elements


def test_a_link_to_itself_says_a_number_as_text(tmp_path):
    picture = "<svg xmlns='http://www.w3.org/2000/svg'/>"
    report = {"id": "fig-a", "caption": "Any.", "alt": "Any.", "number": ATTACK}
    output = new_output("display_data", {"image/svg+xml": picture}, metadata={"report": report})
    write_html(new_notebook(cells=[new_code_cell("1", outputs=[output])]), tmp_path / "a.html")
    page = Page((tmp_path / "a.html").read_text())
    assert [a["aria-label"] for _, a in page.elements if a.get("class") == "permalink"] == [f"Link to Figure {ATTACK}"]


@pytest.mark.parametrize(("height", "floats"), [(100, True), (30, False)], ids=["tall", "flat"])
def test_a_tall_figure_leaves_no_hole_in_a_page_and_a_flat_one_stays_where_it_is_told_of(tmp_path, height, floats):
    lines = "\n\n".join(f"Line {number}." for number in range(20))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 {4 * height}"><path d="M0 0H9"/></svg>'
    report = {"id": "fig-a", "caption": "Here.", "alt": "A line."}
    shown = new_output("display_data", {"image/svg+xml": svg}, metadata={"report": report})
    cells = [new_markdown_cell(f"# Text\n\n{lines}"), new_code_cell("", outputs=[shown]), new_markdown_cell("After.")]
    write_pdf(new_notebook(cells=cells), tmp_path / "a.pdf")
    pages = [page.extract_text() for page in PdfReader(tmp_path / "a.pdf").pages]
    caption, after = (next(i for i, text in enumerate(pages) if word in text) for word in ("Here.", "After."))
    assert (caption > after) is floats


def test_a_pdf_brings_files_along_and_is_accessible_all_the_same(report, tmp_path):
    attachments = [
        Attachment("claims.json", 'What "became" of #each', '["a"]\n'),
        Attachment("all.csv", "All", "a,b\n1,±\n"),
    ]
    for name in ("a.pdf", "b.pdf"):
        write_pdf(report, tmp_path / name, attachments=attachments)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    pdf = PdfReader(tmp_path / "a.pdf")
    assert {name: [text.decode() for text in texts] for name, texts in pdf.attachments.items()} == {
        "claims.json": ['["a"]\n'],
        "all.csv": ["a,b\n1,±\n"],
    }
    kept = pdf.trailer["/Root"]["/Names"]["/EmbeddedFiles"]["/Names"]
    assert [each.get_object()["/Desc"] for each in kept[1::2]] == ["All", 'What "became" of #each']
    assert "<pdfuaid:part>1</pdfuaid:part>" in pdf.trailer["/Root"]["/Metadata"].get_data().decode()
    write_pdf(report, tmp_path / "bare.pdf")
    assert len(pdf.pages) == len(PdfReader(tmp_path / "bare.pdf").pages)
    with pytest.raises(ValueError, match=r"attachments have 'run.exe'; allowed: names that end with .json or .csv"):
        write_pdf(report, tmp_path / "c.pdf", attachments=[Attachment("run.exe", "Any", "")])


def folds_of(source):
    return re.findall(r'<details class="made">.*?</details>', source, re.S)


def test_a_fold_below_each_figure_and_table_says_how_it_was_made(page, pdf):
    folds = [Page(fold) for fold in folds_of(page.source)]
    assert [fold.text.partition("Notebook")[0] for fold in folds] == [
        f"How this was made: {name}" for name in ("Figure 6a", "Figure S1", "Table 1")
    ]
    for fold in folds:
        assert len(fold.source) < 1000
        assert f"What differsowner = {ATTACK}Command" in fold.text
        words = shlex.split(re.search("<pre.*?<code>(.*?)</code></pre>", html.unescape(fold.source))[1])
        assert words == [".venv/bin/papermill", "in.ipynb", "out.ipynb", "-k", "python3", "-p", "owner", ATTACK]
        assert "python -m report build" in fold.text
    assert "How this was made" not in text_of(pdf)


def test_the_fold_of_a_table_has_the_table(page):
    links = [a for fold in folds_of(page.source) for tag, a in Page(fold).elements if tag == "a"]
    [(name, address)] = [(a["download"], a["href"]) for a in links]
    table = base64.b64decode(address.removeprefix("data:text/csv;base64,")).decode()
    assert name == "tbl-results.csv"
    assert list(csv.reader(table.splitlines())) == [["network", "accuracy"], ["WSN", "71.7 ± 8.0"], [ATTACK, "2"]]


def test_a_project_with_an_address_is_linked(executed, tmp_path):
    write_html(merge([executed], title="x", address="https://example.org/p"), tmp_path / "a.html")
    assert '<a href="https://example.org/p/blob/HEAD/in.ipynb">in.ipynb</a>' in (tmp_path / "a.html").read_text()


def test_what_is_not_for_the_report_is_left_out(page, pdf):
    for text in (page.text, text_of(pdf)):
        assert "55 %" not in text  # stderr
        assert "hidden" not in text
        assert text.count("Figure 6a. A line,") == 1  # not the caption for JupyterLab too


def test_the_pdf_is_accessible_and_brings_its_fonts(pdf):
    root = pdf.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert "<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data().decode()
    assert pdf.metadata.title == "Four <small> networks"
    assert pdf.metadata.author == "A. Author"
    assert pdf.metadata.keywords == "abc123"
    headings = [item.title for item in pdf.outline if not isinstance(item, list)]
    assert any("Does it rise?" in title for title in headings)
    fonts = [font.get_object() for page in pdf.pages for font in page["/Resources"]["/Font"].values()]
    for font in fonts:
        (descendant,) = font["/DescendantFonts"]
        assert {"/FontFile2", "/FontFile3"} & set(descendant["/FontDescriptor"])
    assert float(pdf.pages[0].mediabox.width) == pytest.approx(595.28, abs=0.1)


@pytest.mark.parametrize("write", [write_html, write_pdf])
def test_rendering_twice_gives_the_same_bytes_and_no_other_file(report, tmp_path, write):
    for name in ("a", "b"):
        write(report, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("write", [write_html, write_pdf])
@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["[x](#fig-none)"], "#fig-none"),
        (["# A <!-- #sec-a -->", "# B <!-- #sec-a -->"], "label sec-a is used twice"),
        (["a note[^1]", "[^1]: in another cell"], r"\[\^1\]"),
        (["$\\undefined{x}$"], "undefined"),
    ],
)
def test_a_hole_in_the_report_is_an_error(tmp_path, write, texts, message):
    with pytest.raises(ValueError, match=message):
        write(notebook(*texts), tmp_path / "report")
    assert not any(tmp_path.iterdir())


def test_citations_are_resolved_and_a_missing_one_is_an_error(tmp_path):
    bibliography = tmp_path / "references.bib"
    bibliography.write_text("@book{fleuret2022, author={Fleuret, F.}, title={Deep Learning}, year={2022}}")
    write_html(notebook("As [@fleuret2022] says."), tmp_path / "a.html", bibliography=bibliography)
    write_pdf(notebook("As [@fleuret2022] says."), tmp_path / "a.pdf", bibliography=bibliography)
    for text in (Page((tmp_path / "a.html").read_text()).text, text_of(PdfReader(tmp_path / "a.pdf"))):
        assert "(Fleuret 2022)" in text
        assert "References Fleuret, F. 2022." in text
    with pytest.raises(ValueError, match="nobody"):
        write_html(notebook("As [@nobody] says."), tmp_path / "b.html", bibliography=bibliography)


@pytest.mark.parametrize(
    "text",
    [
        ATTACK,
        "a <b onclick=alert(1)>b</b>",
        "a <a href='javascript:alert(1)' onclick=alert(1)>b</a>",
        "<p onclick=alert(1) class=skip id=main>b</p>",
        "<table onclick=alert(1)><tr id=main><td onclick=alert(1) class=skip>b</td></tr></table>",
        "<details>\n\n<script>\n\n</details>",
        "[x](javascript:alert(1))",
        "![x](http://example.org/x.png)",
        '<svg onload="alert(1)">',
        "[x]{onclick=alert(1)}",
        "`<script>`{=html}",
        "```{=html}\n<script>\n```",
        "<!-- <script> -->",
        "<div>\n\n<script>\n\n</div>",
    ],
)
def test_no_markdown_becomes_live(tmp_path, text):
    write_html(notebook("Before.", text, "After."), tmp_path / "a.html")
    page = Page((tmp_path / "a.html").read_text())
    tags = [tag for tag, _ in page.elements]
    assert not {"script", "img", "svg", "b"} & set(tags)
    assert not {"main", "skip"} & {a.get("id", a.get("class")) for tag, a in page.elements[tags.index("main") + 1 :]}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert not [a for _, a in page.elements if a.get("href", "").startswith("javascript")]
    assert "After." in page.text


PLAIN = "text/plain"
OBJECT = "<IPython.core.display.HTML object>"
WIDGET = "application/vnd.jupyter.widget-view+json"


def displayed(**data):
    """A cell that displayed data, in which the names of kinds have _ for /."""
    return new_code_cell("1", outputs=[new_output("display_data", {k.replace("_", "/"): v for k, v in data.items()})])


def both(nb, folder):
    """Return the page and the PDF of a notebook."""
    write_html(nb, folder / "a.html")
    write_pdf(nb, folder / "a.pdf")
    return Page((folder / "a.html").read_text(encoding="utf-8")), PdfReader(folder / "a.pdf")


def encoded(content):
    return base64.b64encode(content).decode()


def test_every_way_to_a_picture_leads_into_the_report(tmp_path):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "a dot.gif").write_bytes(GIF)
    (tmp_path / "beside" / "drawn.svg").write_bytes(DRAWING)
    texts = [
        "![pasted](attachment:image.png)",
        "Within ![beside](beside/a%20dot.gif) a line, [![linked](beside/drawn.svg)](http://e.org), and by [name][1].",
        '<p align="center"><img src="beside/drawn.svg" width="50%" alt="in HTML"></p>',
        "| a |\n|---|\n| ![in a table](<beside/a dot.gif>) |\n\n- ![listed][1]\n\n[1]: beside/drawn.svg",
        f"<details>\n\n![written out](data:image/png;base64,{encoded(PNG)})\n\n</details>",
    ]
    nb = notebook(*texts)
    nb.cells[0].attachments = {"image.png": {"image/png": encoded(PNG)}}
    nb.cells.append(displayed(image_gif=encoded(GIF), text_plain="shown by code"))
    nb.metadata.papermill = {"input_path": str(tmp_path / "in.ipynb")}
    page, pdf = both(nb, tmp_path)
    pictures = [a for tag, a in page.elements if tag == "img"]
    assert [a["alt"] for a in pictures] == [
        "pasted",
        "beside",
        "linked",
        "in HTML",
        "in a table",
        "listed",
        "written out",
        "shown by code",
    ]
    assert pictures[0]["src"] == f"data:image/png;base64,{encoded(PNG)}"
    assert all(a["src"].startswith("data:image/") for a in pictures)
    assert "width:50%" in pictures[3]["style"]
    kinds = [image.name.rpartition(".")[2] for each in pdf.pages for image in each.images]
    assert len(kinds) == 2  # one PNG and one GIF, each kept once; the others are drawings
    assert text_of(pdf).count("Within") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("![x](attachment:gone.png)", "Notebook.ipynb, cell 2: picture 'gone.png' is not attached"),
        ("<img src=x onerror=alert(1)>", "cell 2: picture 'x' is not beside the notebook"),
        ("![x](data:image/bmp;base64,Qk0=)", "cell 2: .* is of a kind that cannot be shown"),
        ("# A ![x](attachment:image.png)", 'cell 2: a picture in the heading "A '),
        ("<video src=film.mp4></video>", "cell 2: <video> cannot be shown"),
        ("a <iframe src=page.html></iframe>", "cell 2: <iframe> cannot be shown"),
        ("[^1]: a note that nobody calls", "not used"),
    ],
)
def test_what_a_text_cannot_show_is_refused_by_cell(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        write_html(notebook("Before.", text), tmp_path / "a.html")


def test_html_that_says_what_markdown_can_say_is_read(tmp_path):
    texts = [
        "H<sub>2</sub>O <b>b <i>i *e*</i></b> $x$(y) <kbd>K</kbd> <a href='http://e.org'>l</a><!-- c --> <foo>",
        "<table class=x>\n<tr><th>head</th></tr>\n\n<tr><td colspan=1>**cell**</td></tr></table>",
        "<details><summary>More</summary>\n\n- **item**\n\n</details>",
        "\\begin{align}\\label{eq:a}\na &= b\n\\end{align}",
    ]
    page, pdf = both(notebook(*texts), tmp_path)
    tags = [tag for tag, _ in page.elements]
    assert {"sub", "table", "th", "li", "math"} <= set(tags)
    assert (tags.count("strong"), tags.count("em")) == (2, 2)
    for text in (page.text, text_of(pdf)):
        for words in ("H2O", "(y)", "<foo>", "head", "**cell**", "More", "item"):
            assert words in text
        assert "begin{align}" not in text


def test_no_link_and_no_cell_is_lost(tmp_path):
    nb = notebook("[the data](data.csv), [](http://e.org/a), ![](http://e.org/b.png), [top](#), [x](ftp://e.org)")
    nb.cells += [new_raw_cell("raw <b>"), displayed(text_html="<ul><li>listed</li></ul>", text_plain=OBJECT)]
    nb.cells += [displayed(text_latex="$x_1$", text_plain="<IPython.core.display.Math object>")]
    nb.cells += [displayed(**{WIDGET: {}, PLAIN: " 20%|##        | 1/5 [00:01<00:04, 1.00s/it]"})]
    page, pdf = both(nb, tmp_path)
    for text in (page.text, text_of(pdf)):
        for words in ("the data (data.csv)", "http://e.org/a", "http://e.org/b.png", "top", "x (ftp://e.org)"):
            assert words in text
        assert "raw <b>" in text and "listed" in text
        assert "IPython" not in text and "20%" not in text
    assert "math" in {tag for tag, _ in page.elements}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"text_html": ATTACK, "text_plain": OBJECT}, "HTML with <script>"),
        ({"text_html": "<audio src=x>", "text_plain": "<IPython.lib.display.Audio object>"}, "<audio> cannot be shown"),
        ({"application_vnd.plotly.v1+json": {}, "text_html": "<div></div>"}, "cell 1: an output is .*plotly"),
        ({"application_json": {}, "text_plain": "<IPython.core.display.JSON object>"}, "an output is application/json"),
        ({"image_png": encoded(b"BM"), "text_plain": OBJECT}, "is of a kind that cannot be shown"),
        ({"image_jpeg": "a"}, "is not valid base64"),
        ({WIDGET: {}, "text_plain": "IntSlider(value=0)"}, "widget-view.*IntSlider"),
    ],
)
def test_an_output_that_cannot_be_shown_is_refused_by_cell(tmp_path, data, message):
    with pytest.raises(ValueError, match=f"(?s)Notebook.ipynb, cell 1: .*{message.removeprefix('cell 1: ')}"):
        write_html(new_notebook(cells=[displayed(**data)]), tmp_path / "a.html")


def test_escaped_text_breaks_nothing_and_reads_literally(tmp_path):
    texts = ["[^1]", "[x](#)", "^[y]", "\\[^2]", "data:<img src=x>", "\ufeffno mark", "<b>B</b>", "mailto:<i>"]
    table = "| a |\n|---|\n" + "".join(f"| {escape(text)} |\n" for text in texts)
    page, pdf = both(notebook(*map(escape, texts), table), tmp_path)
    for text in texts:
        assert page.text.count(text.strip("\ufeff")) >= 2
        assert text_of(pdf).count(text.strip("\ufeff")) >= 2


def test_characters_that_cannot_be_printed_are_left_out(tmp_path):
    nb = notebook("\ufeff# A\x00 heading", "One &#7;\x1b[31mred\x1b[0m \x85word\ud800 `c\x08o`")
    nb.cells += [new_code_cell("print('\x07')", outputs=[new_output("stream", name="stdout", text="st\x01ream\x0c")])]
    picture = "<svg xmlns='http://www.w3.org/2000/svg'><!-- \x07 --><text>pic\x02ture</text></svg>"
    nb.cells += [displayed(**{"image/svg+xml": picture, PLAIN: "the\x03 alt"})]
    nb = new_notebook(cells=nb.cells, metadata={"report": {"title": "T\x04itle", "description": "d\x05"}})
    nb.metadata.report |= {"authors": ["A\x7f"], "links": [], "lang": "en"}
    page, pdf = both(nb, tmp_path)
    for text in (page.text, text_of(pdf)):
        for words in ("Title", "A heading", "One red word co", "stream", "picture"):
            assert words in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]", page.source)
    assert [a["aria-label"] for tag, a in page.elements if tag == "svg"] == ["the alt"]


def test_what_cannot_be_printed_hides_nothing_at_the_beginning_of_a_line(tmp_path):
    """Its next character must be escaped, or the text becomes a list or a heading."""
    lines = ["- bom", "1. bom", "= bom", "+ bom", "/ bom: x", "- control", "1. control", "= next line", "- no letter"]
    characters = ["&#xFEFF;"] * 2 + ["&#65279;"] * 3 + ["&#8;"] * 2 + ["&#x85;", "&#xFFFE;"]
    page, pdf = both(notebook(*map(str.__add__, characters, lines)), tmp_path)
    for line in lines:
        assert line in page.text and line in text_of(pdf), line


def break_status(nb):
    nb.cells[-1].metadata.papermill.status = "running"


def drop_end(nb):
    nb.cells[-1].metadata.tags = []


def not_run(nb):
    nb.cells[-1].execution_count = None


def fail(nb):
    nb.cells[2].outputs = [new_output("error", ename="KeyError", evalue="'x'", traceback=[])]


def no_code(nb):
    nb.cells = nb.cells[:1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_status, "did not run to its end"),
        (drop_end, 'not tagged "end"'),
        (not_run, "has not been run"),
        (fail, "failed with KeyError"),
        (no_code, "last code cell"),
    ],
)
def test_an_unfinished_or_failed_notebook_is_refused_by_name(executed, tmp_path, damage, message):
    nb = nbformat.read(executed, as_version=4)
    finished(nb, "ok.ipynb")
    damage(nb)
    nbformat.write(nb, tmp_path / "broken.ipynb")
    with pytest.raises(ValueError, match=f"broken.ipynb: .*{message}"):
        merge([tmp_path / "broken.ipynb"], title="x")


def test_merged_notebooks_keep_their_order_and_no_times(executed):
    nb = merge([executed, executed], title="x")
    assert [cell.source for cell in nb.cells[: len(nb.cells) // 2]] == [
        cell.source for cell in nb.cells[len(nb.cells) // 2 :]
    ]
    assert not any("papermill" in cell.metadata for cell in nb.cells)


def test_a_heading_opens_a_chapter_before_its_notebook(executed, tmp_path):
    nb = merge([executed, executed], title="x", headings=["", "Again <!-- #sec-again -->"])
    half = len(nb.cells) // 2
    assert nb.cells[half].source == "# Again <!-- #sec-again -->"
    assert nb.cells[half].cell_type == "markdown"
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    with pytest.raises(ValueError):
        merge([executed, executed], title="x", headings=["One"])


def test_nbconvert_renders_a_single_notebook_whose_heading_is_its_title(executed, tmp_path):
    exporter = ["--to", "report.press.export.ReportHTML", "--output-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "nbconvert", *exporter, str(executed)], check=True, cwd=ROOT)
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert "<h1>Does it rise?</h1>" in page.source
    assert "1 Method" in page.text


def test_a_page_has_the_narrow_figure_too_and_print_has_one(tmp_path):
    drawn = '<rect id="a" width="{0}" height="9"/><use href="#a"/>'
    box = f'<svg xmlns="http://www.w3.org/2000/svg" width="{{0}}" height="9">{drawn}</svg>'
    cell = displayed(**{"image/svg+xml": box.format(90), "text/plain": "A box"})
    cell.outputs[0].metadata = {"report": {"id": "fig-a", "caption": "C.", "alt": "A box", "narrow": box.format(20)}}
    nb = notebook("[x](#fig-a)")
    nb.cells.insert(1, cell)
    page, pdf = both(nb, tmp_path)
    forms = [a["class"] for tag, a in page.elements if tag == "div" and a.get("class") in ("wide", "narrow")]
    shown = [(a["width"], a["aria-label"]) for tag, a in page.elements if tag == "svg"]
    assert forms == ["wide", "narrow"] and shown == [("90", "A box"), ("20", "A box")]
    assert len({a["id"] for tag, a in page.elements if tag == "rect"}) == 2
    assert "narrow" not in text_of(pdf)
