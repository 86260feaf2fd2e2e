"""Every parameter of every notebook has a type and a range; cells may run again, in any order."""

import ast
import json
import math
import re
import subprocess
import sys

import nbclient
import nbformat
import pytest
from click.testing import CliRunner
from papermill.cli import papermill

from lib import Experiment
from lib.machine import ROOT
from report.press.parameters import assigned, check, option, real, text, truth, whole

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def path_of(notebook):
    return ROOT / "notebooks" / f"{notebook}.ipynb"


def code(notebook):
    """The sources of a notebook's code cells: the parameters, their check, and all others."""
    cells = [c for c in json.loads(path_of(notebook).read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert cells[0]["metadata"]["tags"] == ["parameters"]
    return ["".join(cell["source"]) for cell in cells]


def prepared(folder, notebook, *options):
    """The notebook as papermill writes it, with the cell that it puts in, before any cell is run."""
    out = folder / "prepared.ipynb"
    done = CliRunner().invoke(papermill, [str(path_of(notebook)), str(out), "--prepare-only", *options])
    assert done.exit_code == 0, done.output
    return nbformat.read(out, as_version=4)


def injected(folder, notebook, *options):
    cells = prepared(folder, notebook, *options).cells
    return next(cell.source for cell in cells if "injected-parameters" in cell.metadata.get("tags", []))


def every(notebook, **changes):
    """Options of papermill that give every parameter of a notebook, so that its injected cell can stand for all."""
    values = {}
    exec(code(notebook)[0], values)
    given = {name: values[name] for name in assigned(code(notebook)[0])} | changes
    return [
        each for name, value in given.items() for each in ("-r" if isinstance(value, str) else "-p", name, str(value))
    ]


def ran(*cells, kernel=None):
    """Run cells as IPython does, each after its source was put into `In`; return the kernel's names."""
    kernel = {"In": [""]} if kernel is None else kernel
    for cell in cells:
        kernel["In"].append(cell)
        exec(cell, kernel)
    return kernel


# Types and ranges

OF_NO_TYPE = [None, [], [1], {}, (1,), b"1", 3.5, math.nan, math.inf, 1j, object()]
WRONG = {
    int: [*OF_NO_TYPE, "5", "", "many", 1e2, True, -1, 10**7, 10**400, 10**5000],
    bool: [*OF_NO_TYPE, "false", "False", "no", "", 0, 1, 0.0],
    float: [*(value for value in OF_NO_TYPE if value != 3.5), "0.1", "", "many", True, -1, 0, 10**7, 10**400],
    str: [*OF_NO_TYPE, 7, 1e2, True, 10**5000],
}


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_parameter_has_a_type_and_a_range(notebook):
    parameters, checks, *_ = code(notebook)
    defaults = ran(parameters, checks)
    assert assigned(parameters)
    for name in assigned(parameters):
        for value in WRONG[type(defaults[name])]:
            with pytest.raises((TypeError, ValueError)) as error:
                ran(checks, kernel=ran(parameters) | {name: value})
            words = str(error.value)
            assert re.match(rf"{name} is .*; allowed: ", words) and "\n" not in words and len(words) < 300, words


def test_parameters_are_checked_before_torch_is_imported():
    script = f"""
import sys
for parameters, checks in {[code(notebook)[:2] for notebook in NOTEBOOKS]!r}:
    exec(parameters)
    exec(checks)
print("torch" in sys.modules, "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False False\n", done.stderr


@pytest.mark.parametrize(
    ("notebook", "options", "message"),
    [
        ("4-results", ("-p", "forms", "false"), r"^forms is 'false' \(str\); allowed: True or False"),
        ("8-methods", ("-y", "forms: 'no'"), r"^forms is 'no' \(str\); allowed: True or False"),
        ("3-comparison", ("-p", "trials", "1e2"), r"^trials is 100.0 \(float\); allowed: a whole number"),
        ("3-comparison", ("-p", "number", "7"), r"^number is 7 \(int\); allowed: a text that is not empty"),
        ("1-task", ("-y", "pairs:"), r"^pairs is None; allowed: a whole number from 1 to 10$"),
        ("2-architectures", ("-p", "settings", "3"), r"^settings is 3 \(int\); allowed: a text, such as 'hidden="),
        ("7-benchmark", ("-p", "file", ""), r"^file is ''; allowed: a text that is not empty$"),
        ("explore", ("-p", "trials", "-1"), r"^trials is -1; allowed: a whole number from 1 to 1,000,000$"),
    ],
)
def test_a_wrong_value_that_papermill_passes_is_refused(notebook, options, message, tmp_path):
    parameters, checks, *_ = code(notebook)
    with pytest.raises((TypeError, ValueError), match=message):
        ran(parameters, injected(tmp_path, notebook, *options), checks)


SMALL = "dataset=digits train_pairs=20 test_pairs=20 batch_size=10"
REFUSED = [
    ("1-task", {"pairs": 11}, r"^pairs is 11; allowed: a whole number from 1 to 10$"),
    ("1-task", {"trial": 10**6}, r"^trial is 1000000; allowed: a whole number from 0 to 999,999$"),
    ("2-architectures", {"settings": "WSN"}, "architecture is said twice: SN and WSN"),
    ("3-comparison", {"trials": 1}, r"^trials is 1; allowed: a whole number from 2 to 1,000,000$"),
    ("3-comparison", {"number": "6\n"}, r"^number is '6\\n'; allowed: what a figure can be called"),
    ("3-comparison", {"number": "6" * 300}, r"^number is '666.*\.\.\..*666'; allowed: what a figure"),
    ("3-comparison", {"b": "WNS"}, r"did you mean 'WSN'\?\) \(b is 'WNS'\)$"),
    ("3-comparison", {"both": "epochs=0"}, r"^epochs is 0; allowed: .* \(a is 'SN', both is 'epochs=0'\)$"),
    ("4-results", {"trials": 1}, r"^trials is 1; allowed: a whole number from 2 to 1,000,000$"),
    ("4-results", {"settings": f"{SMALL} epochs=1"}, r"^epochs is 1; allowed: 2 to 100,000, for the claims"),
    (
        "4-results",
        {"settings": f"{SMALL} momentum=0.9", "forms": False},
        r"^settings is .*, which says momentum; allow",
    ),
    ("4-results", {"settings": f"{SMALL} one_hot_encoding=no"}, r"which says one_hot_encoding; allowed: "),
    ("4-results", {"settings": f"WSN {SMALL}"}, r"^settings is .*, which says architecture; allowed: .* so not arch"),
    (
        "4-results",
        {"settings": "auxiliary_weight=1"},
        r"^auxiliary_weight is 1.0, which SN does not read; leave it out$",
    ),
    ("7-benchmark", {"file": "README.md"}, r"README\.md is not a benchmark of this version of the code: `make bench`"),
    ("7-benchmark", {"file": "report/published/figures/fig-1.svg"}, r"fig-1\.svg is not a benchmark of this version"),
    ("8-methods", {"settings": f"CAUX {SMALL}"}, r"^settings is .*, which says architecture; allowed: .* so not arch"),
    ("explore", {"pair_trial": 5}, r"^pair_trial is 5; allowed: 0 to 4, one of the trials$"),
    ("explore", {"gallery": "wrnog"}, r"^gallery is 'wrnog'; allowed: 'all', .*, or two digits.*did you mean 'wrong'"),
    ("explore", {"settings": "momentum=0.9"}, r"^momentum is 0.9; allowed: 0 with optimizer 'adam'$"),
    ("explore", {"settings": "epoch=3"}, r"there is no parameter 'epoch' \(did you mean 'epochs'\?\)"),
    ("exercises", {"answers": "my/exercise"}, r"^answers is 'my/exercise'; allowed: letters, digits and _, such as"),
    ("exercises", {"answers": ""}, r"^answers is ''; allowed: letters, digits and _, such as 'exercise'$"),
    ("exercises", {"dataset": "letters"}, r"^dataset is 'letters'; allowed: 'mnist', 'digits'$"),
    ("your_architecture", {"dataset": "letters"}, r"^dataset is 'letters'; allowed: 'mnist', 'digits'$"),
    ("your_architecture", {"both": "momentum"}, r"^momentum is said without a value; write momentum=value, without"),
]


@pytest.mark.parametrize(("notebook", "changes", "message"), REFUSED)
def test_what_cannot_end_well_is_refused_before_any_training(notebook, changes, message, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path / "results"))
    parameters, checks, first, *_ = code(notebook)
    with pytest.raises((TypeError, ValueError), match=message):
        ran(checks, first, kernel=ran(parameters) | changes)
    assert not (tmp_path / "results").exists()


# Messages


@pytest.mark.parametrize(
    ("kind", "value", "remedy"),
    [
        (text(), 7, "-r number 7"),
        (text(), 100.0, "-r number 100.0"),
        (text(), True, "-r number True"),
        (whole(2), 1e2, "-p number 100"),
        (whole(2), "1e2", "-p number 100"),
        (whole(2), "5", "-p number 5"),
        (real(0, 1), "1e-1", "-p number 0.1"),
        (truth, "false", "-p number False"),
        (truth, 1, "-p number True"),
    ],
)
def test_the_remedy_is_what_papermill_takes(kind, value, remedy, tmp_path):
    with pytest.raises(TypeError) as error:
        kind("number", value)
    assert str(error.value).endswith(f"; by papermill: {remedy})")
    passed = prepared(tmp_path, "3-comparison", *remedy.split()).metadata.papermill["parameters"]
    kind("number", passed["number"])
    cell = re.search(r"in a cell: (.*); by", str(error.value))[1]
    assert ran(cell)["number"] == passed["number"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (text("CAUX momentum=0.9"), 3),
        (text(), [7]),
        (text(), None),
        (whole(2), 1.5),
        (whole(2), "1"),
        (truth, "x"),
        (real(0, 1), "2"),
    ],
)
def test_no_remedy_is_named_where_none_would_help(kind, value):
    with pytest.raises(TypeError, match="allowed") as error:
        kind("number", value)
    assert "papermill" not in str(error.value)


def test_a_setting_that_is_a_text_is_asked_for_in_quotes():
    with pytest.raises(TypeError, match=r"^hidden is 64 \(int\); allowed: a text, in quotes: hidden='64'$"):
        Experiment(hidden=64)
    assert Experiment(hidden="64") == Experiment.parse("hidden=64"), "said in words, it needs none"


@pytest.mark.parametrize(
    "value", ["7", "1e3", "007", "1_0", " 7", "nan", "None", "True", "6a", "true", "[1]", "0x1", ""]
)
def test_a_text_reaches_the_notebook_as_it_is(value, tmp_path):
    passed = prepared(tmp_path, "3-comparison", option(value), "number", value).metadata.papermill["parameters"]
    assert passed["number"] == value
    other = {"-p": "-r", "-r": "-p"}[option(value)]
    again = prepared(tmp_path, "3-comparison", other, "number", value).metadata.papermill["parameters"]
    assert (again["number"] == value) == (option(value) == "-p"), "only where it matters"


# Running cells again

DEFAULTS = "epochs: int = 100  # comment\ntrials = 5\n"
CHECK = "from report.press.parameters import check, whole\n\ncheck(globals(), epochs=whole(1), trials=whole(1))"
RIGHT, RIGHT_TOO, WHOLE = "# Parameters\nepochs = 3", "# Parameters\nepochs = 4", "# Parameters\nepochs = 3\ntrials = 2"
MISSPELT = "# Parameters\nepoch = 3"
OWN = "# Parameters\nrate, size = 0.1, 3\nlayers = [size] * 2"  # a cell of the user's that looks like papermill's


def test_a_misspelt_name_is_refused_with_the_nearest_one():
    with pytest.raises(TypeError, match=r"no parameter 'epoch' \(did you mean 'epochs'\?\); known: epochs, trials$"):
        ran(DEFAULTS, MISSPELT, CHECK)


@pytest.mark.parametrize(
    "cells",
    [
        (DEFAULTS, RIGHT, CHECK, CHECK),
        (DEFAULTS, RIGHT, CHECK, RIGHT_TOO, CHECK),
        (DEFAULTS, RIGHT, CHECK, DEFAULTS, RIGHT, CHECK),
        (WHOLE, CHECK),  # a new kernel, from papermill's cell on
        (WHOLE, CHECK, RIGHT_TOO, CHECK),
        (RIGHT, DEFAULTS, CHECK),
        (DEFAULTS, CHECK, RIGHT, CHECK, DEFAULTS, CHECK),
        (DEFAULTS, RIGHT, "other = 3", "epoch = 3", CHECK),  # a user's own
        (DEFAULTS, "# Parameters of mine\nlr = 1", CHECK),
        (DEFAULTS + "mine = 1", "# Parameters\nmine = 2", CHECK),
        (DEFAULTS, CHECK, OWN, CHECK),
        (DEFAULTS, RIGHT, CHECK, OWN, CHECK, RIGHT_TOO, CHECK),
        (WHOLE, CHECK, OWN, "other = 3", CHECK),
        (DEFAULTS, "other = 3", OWN, CHECK),
    ],
)
def test_cells_may_run_again_in_any_order(cells):
    ran(*cells)


@pytest.mark.parametrize("name", ["lr", "rate", "x"])
@pytest.mark.parametrize("cells", [(DEFAULTS,), ()], ids=["behind the defaults", "first of a kernel"])
def test_a_name_unlike_any_is_refused_where_papermill_puts_it(cells, name):
    with pytest.raises(TypeError, match=f"no parameter '{name}'; known: epochs, trials"):
        ran(*cells, f"# Parameters\nepochs = 3\ntrials = 2\n{name} = 3", CHECK)
    with pytest.raises(TypeError, match=f"no parameter '{name}'; known: epochs, trials"):
        ran(*cells, f"# Parameters\n{name} = 3", CHECK)


@pytest.mark.parametrize("wrong", [MISSPELT, "# Parameters\nepochs = 3\nTrials = 4", "# Parameters\nepochs = 'many'"])
@pytest.mark.parametrize("mended", [(RIGHT,), (DEFAULTS,), (DEFAULTS, RIGHT)], ids=["edited", "deleted", "from above"])
def test_after_a_refusal_the_kernel_is_as_good_as_new(wrong, mended):
    kernel = ran(DEFAULTS)
    for _ in range(2):
        with pytest.raises(TypeError):
            ran(wrong, CHECK, kernel=kernel)
        with pytest.raises(TypeError):
            ran(CHECK, kernel=kernel)
        ran(*mended, CHECK, kernel=kernel)


def test_a_parameter_that_no_cell_has_set_is_asked_for():
    with pytest.raises(NameError, match=r"^epochs is not set yet: run the cell with the parameters, then those below"):
        ran(CHECK)
    kernel = {"In": [""]}
    with pytest.raises(NameError, match=r"^trials is not set yet"):
        ran(RIGHT, CHECK, kernel=kernel)
    ran(DEFAULTS, RIGHT, CHECK, kernel=kernel)
    assert (kernel["epochs"], kernel["trials"]) == (3, 5)


def test_without_a_history_values_are_checked_all_the_same():
    for history in ({}, {"In": None}, {"In": "text"}, {"In": [None, 3, "1 +", "\0"]}):
        check({**history, "epochs": 3}, epochs=whole(1))
        with pytest.raises(ValueError, match="epochs is 0"):
            check({**history, "epochs": 0}, epochs=whole(1))


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_no_cell_below_the_check_changes_a_parameter(notebook):
    parameters, _, *others = code(notebook)
    run = [cell for cell in others if not cell.startswith("%%writefile")]  # the others set nothing here
    nodes = [node for cell in run for node in ast.walk(ast.parse(cell))]
    changed = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert changed and not changed & set(assigned(parameters))


def test_a_notebook_that_papermill_wrote_goes_on_from_its_injected_cell(tmp_path):
    """As in JupyterLab with a new kernel: edit the cell that papermill put in, and run on."""
    _, checks, *_ = code("explore")
    cell = injected(tmp_path, "explore", *every("explore", trials=3, pair_trial=2, settings="WSN epochs=3"))
    ran(cell, checks)
    kernel = ran(cell.replace("trials = 3", "trials = 4"), checks)
    with pytest.raises(TypeError, match=r"no parameter 'trial' \(did you mean 'trials'\?\)"):
        ran(cell.replace("trials", "trial"), checks, kernel=kernel)
    ran(cell, checks, kernel=kernel)
    assert (kernel["trials"], kernel["pair_trial"], kernel["settings"]) == (3, 2, "WSN epochs=3")


@pytest.mark.slow  # the same in kernels, the trainings too
def test_a_notebook_that_papermill_ran_runs_again_in_a_new_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path / "results"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    out, settings = tmp_path / "out.ipynb", f"WSN {SMALL} epochs=2"
    given = every("explore", settings=settings, trials=3, pair_trial=1)
    done = CliRunner().invoke(papermill, [str(path_of("explore")), str(out), "-k", "python3", *given])
    assert done.exit_code == 0, done.output
    nb = nbformat.read(out, as_version=4)
    place = next(i for i, cell in enumerate(nb.cells) if "injected-parameters" in cell.metadata.get("tags", []))
    nb.cells = nb.cells[place:]
    nb.cells[0].source = nb.cells[0].source.replace("trials = 3", "trials = 2")
    nb.cells += [nbformat.v4.new_code_cell(cell.source) for cell in nb.cells if cell.cell_type == "code"]  # once more
    nbclient.NotebookClient(nb, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    said = [output.text for cell in nb.cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    assert sum("trials: 2" in text for text in said) == 2
