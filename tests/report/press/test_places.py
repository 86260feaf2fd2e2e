import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfReader

from report.press.export import merge, write_html, write_pdf
from report.press.made import facts, labelled
from tests.report.press.test_made import shown

END = {"tags": ["end"], "papermill": {"status": "completed"}}


def placing(label):
    return new_output("display_data", {"text/markdown": "made elsewhere"}, metadata={"report": {"place": label}})


@pytest.fixture
def write(tmp_path):
    """Write a notebook that was run, of cells with these outputs, and return its path."""

    def write(name, *cells, tags=()):
        ran = {"papermill": {"status": "completed"}}
        nb = new_notebook(cells=[new_markdown_cell(f"# {name}")])
        nb.cells += [new_code_cell("1", outputs=list(each), metadata={**ran, "tags": list(tags)}) for each in cells]
        nb.cells.append(new_code_cell("print()", metadata=END, execution_count=9))
        nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nb.metadata.papermill = {"input_path": f"/any/{name}.ipynb", "parameters": {}}
        nbformat.write(nb, tmp_path / f"{name}.ipynb")
        return tmp_path / f"{name}.ipynb"

    return write


def test_what_is_placed_stands_there_and_says_where_it_was_made(write, tmp_path):
    article = write("article", [placing("tbl-b"), placing("fig-a")])
    made = write("made", [shown("fig-c"), shown("fig-a", alt="A.")], [shown("tbl-a"), shown("tbl-b")])
    nb = merge([article, made], title="x")
    known = [facts(output) for _, output in labelled(nb)]
    assert [(each["label"], each["number"]) for each in known] == [
        ("tbl-b", "1"),
        ("fig-a", "S1"),
        ("fig-c", "S2"),
        ("tbl-a", "2"),
    ]
    assert {each["notebook"] for each in known} == {"made.ipynb"}
    assert [cell.metadata.home["cell"] for cell, _ in labelled(nb)][:2] == ["article.ipynb, cell 2"] * 2
    write_html(nb, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count('id="fig-a"') == page.count('id="tbl-b"') == 1 and "made elsewhere" not in page
    assert (
        page.index('id="tbl-b"') < page.index('id="fig-a"') < page.index("How this was made", page.index('id="fig-a"'))
    )
    assert page.index('id="fig-a"') < page.index("made<a class") < page.index('id="fig-c"')


def test_what_a_hidden_cell_makes_can_be_placed_and_a_hidden_cell_places_nothing(write):
    hidden = write("hidden", [shown("fig-a"), shown("fig-b"), placing("fig-c")], tags=["remove-cell"])
    nb = merge([hidden, write("article", [placing("fig-a")], [shown("fig-c")])], title="x")
    assert [output.metadata.report["id"] for _, output in labelled(nb)] == ["fig-a", "fig-c"]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["fig-a", "fig-a"], "fig-a is placed twice, in article.ipynb, cell 2 and in article.ipynb, cell 3; it can"),
        (["fig-z"], "fig-z is placed in article.ipynb, cell 2, and no notebook of the report makes it"),
    ],
)
def test_a_place_that_cannot_be_filled_fails_in_a_sentence(write, labels, sentence):
    paths = [write("article", *([placing(label)] for label in labels)), write("made", [shown("fig-a")])]
    with pytest.raises(ValueError, match=sentence):
        merge(paths, title="x")


def test_a_label_that_two_notebooks_make_is_refused_placed_or_not(write, tmp_path):
    paths = [write("article", [placing("fig-a")]), write("one", [shown("fig-a")]), write("two", [shown("fig-a")])]
    for several in (paths, paths[1:]):
        with pytest.raises(ValueError, match="label fig-a is used twice"):
            write_html(merge(several, title="x"), tmp_path / "a.html")


def tagged(path, tags):
    """Give the cells of a written notebook tags, by their position."""
    nb = nbformat.read(path, as_version=4)
    for position, tag in tags.items():
        nb.cells[position].metadata.setdefault("tags", []).append(tag)
    nbformat.write(nb, path)
    return path


def test_what_belongs_to_the_supplement_stands_there_in_order(write):
    first = tagged(
        write("first", [shown("fig-a")], [shown("fig-b")], [shown("fig-c")]), {1: "supplement", 3: "supplement"}
    )
    second = tagged(write("second", [shown("fig-d")], [shown("fig-e")]), {1: "supplement"})
    goal = tagged(write("goal", [shown("fig-f")]), {2: "supplements"})
    nb = merge([first, second, goal, write("last", [shown("fig-g")])], title="x")
    found = [output.metadata.report["id"] for _, output in labelled(nb)]
    assert found == [f"fig-{letter}" for letter in "befacdg"]
    assert [facts(output)["number"] for _, output in labelled(nb)] == [f"S{n}" for n in range(1, 8)]
    assert facts(list(labelled(nb))[3][1])["notebook"] == "first.ipynb"  # whose command makes it, still


def test_without_a_supplement_all_stays_and_two_are_refused(write):
    first = tagged(write("first", [shown("fig-a")], [shown("fig-b")]), {1: "supplement"})
    nb = merge([first], title="x")
    assert [output.metadata.report["id"] for _, output in labelled(nb)] == ["fig-a", "fig-b"]
    goals = [tagged(write(name, [shown(f"fig-{name}")]), {2: "supplements"}) for name in ("c", "d")]
    with pytest.raises(ValueError, match=r"begins twice, at c.ipynb, cell 3 and d.ipynb, cell 3; there can be one"):
        merge([first, *goals], title="x")


def texts(nb):
    return [cell.source for cell in nb.cells if cell.cell_type == "markdown"]


def test_what_is_on_the_page_alone_stands_at_its_end_behind_what_opens_it(write):
    whole = tagged(write("whole", [shown("fig-a")]), {0: "page-alone", 1: "page-alone"})
    nb = nbformat.read(whole, as_version=4)
    nb.cells.insert(0, new_code_cell("trials = 2", metadata={**END, "tags": ["injected-parameters"]}))
    nb.cells[-1].metadata["tags"] = ["end", "remove-cell"]
    nbformat.write(nb, whole)
    first = tagged(write("first", [shown("fig-b")], [shown("fig-c")]), {1: "page-alone"})
    last = tagged(write("last", [shown("fig-d")]), {0: "page-alone-opening"})
    nb = merge([whole, first, last], title="x", headings=["Chapter", "", ""])
    assert [output.metadata.report["id"] for _, output in labelled(nb)] == ["fig-c", "fig-d", "fig-a", "fig-b"]
    assert texts(nb) == ["# first", "# last", "# Chapter", "# whole"]
    assert [cell.source for cell in nb.cells].index("trials = 2") > [cell.source for cell in nb.cells].index(
        "# Chapter"
    )


@pytest.fixture
def supplemented(write):
    """An article, its supplement in letters, and a chapter on the page alone; links go everywhere."""
    paths = [
        write("article", [shown("fig-a")]),
        tagged(write("supplement", [shown("fig-sheet"), shown("tbl-b")]), {0: "lettered"}),
        tagged(
            write("alone", [shown("fig-c", number="6a, momentum", instead="fig-sheet"), shown("tbl-c")]),
            {0: "page-alone", 1: "page-alone"},
        ),
    ]
    words = "See [the figure](#fig-c), [the table](#tbl-c), [here](#sec-alone), [there](#sec-s) and [that](#sec-part)."
    sources = (
        f"# Article\n\n{words}",
        "# Supplement <!-- #sec-s -->\n\n## Part <!-- #sec-part -->",
        "# Alone <!-- #sec-alone -->\n\nNothing in print.",
    )
    for path, source in zip(paths, sources, strict=True):
        nb = nbformat.read(path, as_version=4)
        nb.cells[0].source = source
        nbformat.write(nb, path)
    return paths


def test_print_leaves_out_what_is_on_the_page_alone_and_no_link_of_it_leads_nowhere(supplemented, tmp_path):
    nb = merge(supplemented, title="x")
    write_html(nb, tmp_path / "a.html")
    page = re.sub(r"<[^>]*>", "", (tmp_path / "a.html").read_text().replace("\xa0", " "))
    assert "See Figure 6a, momentum, Table 2, Section B, Section A and Section A.1." in page
    assert "Nothing in print." in page and "B Alone" in page
    write_pdf(nb, tmp_path / "a.pdf")
    pdf = PdfReader(tmp_path / "a.pdf")
    text = " ".join("".join(each.extract_text() for each in pdf.pages).replace("\xa0", " ").split())
    said = "See Figure S2, 6a, Table 2 of the page, Section B of the page, Section A and Section A.1."
    assert said in text and "A Supplement" in text and "A.1 Part" in text and "1 Article" in text
    assert "Alone" not in text and "Nothing in print" not in text
    links = [link.get_object() for each in pdf.pages for link in each.get("/Annots", ())]
    named = [link["/Dest"] for link in links if "/Dest" in link]
    assert len(named) >= 3 and all(not isinstance(each, str) or each in pdf.named_destinations for each in named)


@pytest.mark.parametrize("instead", ["fig-none", "fig-alone"])
def test_what_stands_in_print_instead_must_be_there(write, tmp_path, instead):
    article = write("article", [shown("fig-a")])
    nb = nbformat.read(article, as_version=4)
    nb.cells[0].source = "# Article\n\nSee [x](#fig-c)."
    nbformat.write(nb, article)
    alone = tagged(
        write("alone", [shown("fig-c", instead=instead), shown("fig-alone")]), {0: "page-alone", 1: "page-alone"}
    )
    merged = merge([article, alone], title="x")
    write_html(merged, tmp_path / "a.html")
    with pytest.raises(ValueError, match=f"#{instead} is not in print, instead of #fig-c"):
        write_pdf(merged, tmp_path / "a.pdf")


def test_of_a_single_notebook_print_leaves_nothing_out(write, tmp_path):
    path = tagged(write("alone", [shown("fig-a")]), {0: "page-alone", 1: "page-alone"})
    write_pdf(nbformat.read(path, as_version=4), tmp_path / "a.pdf")
    assert "Any." in PdfReader(tmp_path / "a.pdf").pages[0].extract_text()


@pytest.mark.parametrize(("tag", "rows", "floats"), [("lettered", 20, True), ("lettered", 60, False), ("", 20, False)])
def test_a_table_of_the_supplement_that_is_not_long_leaves_no_hole_in_a_page(tmp_path, tag, rows, floats):
    lines = "\n\n".join(f"Line {number}." for number in range(20))
    table = "| a | b |\n|---|---|\n" + "| 1 | row |\n" * rows
    output = new_output("display_data", {"text/markdown": table}, metadata={"report": {"id": "tbl-a", "caption": "C."}})
    cells = [new_markdown_cell(f"# Text\n\n{lines}", metadata={"tags": [tag] if tag else []})]
    cells += [new_code_cell("", outputs=[output]), new_markdown_cell("After.")]
    write_pdf(new_notebook(cells=cells), tmp_path / "a.pdf")
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "a.pdf").pages)
    assert (text.index("After.") < text.index("row")) is floats
