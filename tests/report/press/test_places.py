import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from report.press.export import merge, write_html
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
