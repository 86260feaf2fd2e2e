import shlex

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lib.machine import ROOT
from report.press import made

CELL = 'a: str = "SN"\ntrials: int = 150\nforms = True\nfar = len("x")\n'


def shown(label, **report):
    report = {"id": label, "caption": "Any.", **report}
    data = (
        {made.SVG: "<svg xmlns='http://www.w3.org/2000/svg'/>"}
        if label.startswith("fig")
        else {"text/markdown": "| a |\n|---|\n| 1 |"}
    )
    return new_output("display_data", data, metadata={"report": report})


def notebook(*outputs, tags=(), **parameters):
    nb = new_notebook(cells=[new_code_cell(CELL, metadata={"tags": ["parameters"]})])
    nb.cells.append(new_code_cell("1", outputs=list(outputs), metadata={"tags": list(tags)}))
    nb.metadata.papermill = {"input_path": str(ROOT / "notebooks" / "3-any.ipynb"), "parameters": parameters}
    made.annotate(nb)
    made.number(nb)
    return nb


def facts(nb):
    return [made.facts(output) for _, output in made.labelled(nb)]


def test_figures_and_tables_count_by_themselves_and_what_has_a_number_keeps_it():
    labels = [shown("fig-a"), shown("tbl-a"), shown("fig-b", number="6a"), shown("fig-c"), shown("tbl-b")]
    nb = notebook(*labels)
    assert [each["number"] for each in facts(nb)] == ["S1", "1", "6a", "S2", "2"]
    made.number(nb)
    assert [each["number"] for each in facts(nb)] == ["S1", "1", "6a", "S2", "2"]


@pytest.mark.parametrize("tag", ["remove-cell", "remove-output"])
def test_what_the_report_does_not_show_is_not_counted(tag):
    assert facts(notebook(shown("fig-a"), tags=[tag])) == []


def test_only_parameters_that_differ_from_the_notebooks_own_are_said():
    [known] = facts(notebook(shown("fig-a"), a="SN", trials=25, forms=True, far=1, number="6"))
    assert known["parameters"] == {"trials": 25, "far": 1, "number": "6"}
    words = "papermill notebooks/3-any.ipynb out.ipynb -k python3 -p trials 25 -p far 1 -r number 6"
    assert known["command"] == f".venv/bin/{words}"
    [same] = [made.fold(output) for _, output in made.labelled(notebook(shown("fig-a"), trials=150))]
    assert "nothing: all parameters as the notebook has them" in same


@pytest.mark.parametrize("value", ["", "two words", "it's", "16", "True", True, 0.5])
def test_the_command_gives_a_value_back_as_it_was(value):
    *_, how, name, said = shlex.split(made.command("a.ipynb", {"a": value}))
    assert (how, name, said) == ("-r" if value in ("16", "True") else "-p", "a", str(value))


def test_many_experiments_of_a_store_are_counted_in_the_fold_and_named_in_the_facts():
    inputs = [f"report/results/SN-{i}" for i in range(9)] + ["report/census.csv", "a/X", "a/Y"]
    nb = notebook(shown("fig-a", inputs=inputs, commits=["0123456789"]))
    assert facts(nb)[0]["inputs"] == inputs
    [fold] = [made.fold(output) for _, output in made.labelled(nb)]
    assert "report/results: 9 experiments; report/census.csv; a: X, Y<" in fold
    assert "<code>lib 0123456789</code>" in fold


def test_a_figure_of_which_nothing_is_known_has_no_fold():
    nb = notebook(shown("fig-a"))
    bare = new_notebook(cells=[new_code_cell("1", outputs=[shown("fig-a", number="1")])])
    assert [bool(made.fold(output)) for each in (nb, bare) for _, output in made.labelled(each)] == [True, False]
