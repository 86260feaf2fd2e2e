"""The notebooks that are no chapters, run as a user does; the exercises' checks, on good and bad answers."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from lib.machine import ROOT
from report import exercises
from report.press.run import run
from report.statistics import paired_difference
from tests.committed import committed_text

FOLDER = ROOT / "notebooks"
SMALL = "epochs=2 train_pairs=60 test_pairs=40"
TINY = {  # parameters with which each takes seconds
    "your_architecture": {"dataset": "digits", "trials": 3, "both": f"{SMALL} sigmoid=false optimizer=adam"},
    "protocol": {"network": "SAUX", "trials": 2, "epochs": 2, "train_pairs": 60},
    "exercises": {},
}


def cells(name, *tags):
    """The source of a notebook's cells that have one of some tags."""
    nb = nbformat.reads(committed_text(FOLDER / f"{name}.ipynb"), as_version=4)
    return [cell.source for cell in nb.cells if {*tags} & {*cell.metadata.get("tags", [])}]


def outputs(path):
    """All that a notebook printed and said, and its first cells."""
    nb = nbformat.read(path, as_version=4)
    found = [each for cell in nb.cells if cell.cell_type == "code" for each in cell.outputs]
    texts = [each.get("text") or each.get("data", {}).get("text/markdown", "") for each in found]
    return "\n".join(texts), nb.cells


@pytest.mark.slow
@pytest.mark.parametrize("folder", [ROOT, FOLDER], ids=["as papermill does", "as JupyterLab does"])
def test_a_network_of_one_s_own_from_its_file_to_the_sentence(folder, tmp_path):
    ran = run(FOLDER / "your_architecture.ipynb", TINY["your_architecture"], tmp_path / "out.ipynb", folder)
    said, shown = outputs(ran)
    assert shown[2].source.startswith("# Parameters\n") and 'dataset = "digits"' in shown[2].source
    assert said.count("Nothing is wrong.") == 2, "the plain module and the stack"
    assert (tmp_path / "own" / "class_bottleneck_stack.py").is_file()
    for words in (
        "head 'digits' returns [10, 20] for classes; it must be [10, 2, 10] with one-hot labels",
        "Bottleneck's forward returns answer; allowed: a dict of its heads, answer, digits",
        "noise from outside: Bottleneck gives other numbers when it is trained again",
        "the axis of trials: Bottleneck lets what one trial has reach another",
    ):
        assert words in said
    assert re.search(r"Bottleneck differs by \S+ points \(95 % interval .* to .*\), and is the better one", said)


@pytest.mark.slow
def test_the_protocol_by_hand_is_that_of_the_stack(tmp_path):
    said, shown = outputs(run(FOLDER / "protocol.ipynb", TINY["protocol"], tmp_path / "out.ipynb", FOLDER))
    assert 'network = "SAUX"' in shown[2].source
    rows = re.findall(r"of trial (\d)'s loss, .*: (.*)", said)
    gradients = [[float(value) for value in row.split()] for _, row in rows]
    assert len(gradients) == 2
    assert all((value != 0) == (i == j) for i, row in enumerate(gradients) for j, value in enumerate(row))
    losses = re.findall(r"trial \d: stack (\S+), textbook (\S+)", said)
    assert len(losses) == 2 and all(float(stack) == pytest.approx(float(alone), abs=1e-10) for stack, alone in losses)
    assert float(re.search(r"the largest difference, .*: (\S+)", said)[1]) < 1e-10


@pytest.mark.slow
def test_the_empty_exercises_say_what_is_missing(tmp_path):
    said, _ = outputs(run(FOLDER / "exercises.ipynb", {}, tmp_path / "out.ipynb", FOLDER))
    assert said.count("Not yet: ") == 3 and "Right" not in said


@pytest.mark.slow
def test_the_solutions_are_right(tmp_path):
    said, _ = outputs(run(FOLDER / "exercises-solutions.ipynb", {}, tmp_path / "out.ipynb", ROOT))
    assert said.count("Right: ") == 3 and "Not yet" not in said and "Wrong" not in said


def test_the_solutions_differ_from_the_exercises_in_their_answers_alone():
    empty, solved = (
        nbformat.reads(committed_text(FOLDER / f"{name}.ipynb"), as_version=4).cells
        for name in ("exercises", "exercises-solutions")
    )
    assert [(cell.cell_type, cell.metadata) for cell in empty] == [(cell.cell_type, cell.metadata) for cell in solved]
    differing = [a.metadata.tags for a, b in zip(empty, solved, strict=True) if a.source != b.source]
    assert differing == [["parameters"], ["answer"], ["answer"], ["answer"]]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a cell's file, changed, as a module of one's own, and return the name of its class."""
    folder = tmp_path / "own"
    folder.mkdir(exist_ok=True)

    def write(source, *changes):
        for old, new in changes:
            assert old in source
            source = source.replace(old, new)
        name = f"answer_{tmp_path.name}_{len(list(folder.glob('*.py')))}"
        (folder / f"{name}.py").write_text(source.partition("\n")[2])
        return f"{name}:Net"

    return write


DIGITS = '"digits": CLASSES'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "Right: "),
        ([(f", {DIGITS}", ""), (', "digits": digits', "")], "Not yet: it has only its answer"),
        ([(DIGITS, '"digits": COMPARISON')], r"Wrong: 'digits' asks 'first ≤ second\?'; the exercise wants"),
        ([('"answer": COMPARISON', '"answer": CLASSES')], "Wrong: its answer is another question now"),
        ([(', "digits": digits', "")], "Wrong: ValueError: Net's forward returns answer; allowed: a dict of its heads"),
        (
            [("self.name(maps).unflatten(0, (-1, 2))", "self.name(maps).view(2, -1, 10).transpose(0, 1)")],
            "Wrong: Net's head 'digits' answers one pair by the digits of another: tested, each pair",
        ),
        ([("super", "supper")], "Wrong: NameError: name 'supper' is not defined"),
        ([("class Net", "class Met")], "Not yet: architecture is .* has no attribute 'Net'"),
        ([("def forward(", "def forward((")], "Not yet: architecture is .*, which cannot be imported: "),
    ],
    ids=[
        "right",
        "no head",
        "another head",
        "another answer",
        "not returned",
        "swapped",
        "a slip",
        "another name",
        "no Python",
    ],
)
def test_a_head_is_judged_in_words(written, changes, words):
    said = exercises.head_added(written(cells("exercises-solutions", "answer")[0], *changes))
    assert re.match(words, said), said
    assert "\n" not in said


TARGET = "(classes.sum(-1) % 2 == 0).long()"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "Right: "),
        ([(TARGET, "(classes[..., 0] <= classes[..., 1]).long()")], "Not yet: its answer is still"),
        ([("== 0", "== 1")], "Wrong: it is the other way round"),
        ([("classes.sum(-1)", "classes[..., 0]")], "Wrong: of 0 and 1 the target is 1, and their sum, 1, is odd"),
        ([(".long()", "")], "Wrong: the target is torch.bool; it must be whole numbers"),
        ([("sum(-1)", "sum(1)")], r"Wrong: of classes \[trials, n, 2\] the target must be \[trials, n\]"),
        ([(", 2, lambda", ", 3, lambda")], "Wrong: the task has 3 classes"),
        ([("sum(-1)", "some(-1)")], "Wrong: the target fails: AttributeError"),
        ([("nn.Linear(64, 2)", "nn.Linear(64, 3)")], "Wrong: Net's head 'answer' returns"),
    ],
)
def test_a_target_is_judged_in_words(written, changes, words):
    said = exercises.target_changed(written(cells("exercises-solutions", "answer")[1], *changes))
    assert re.match(words, said), said


@pytest.mark.parametrize(
    ("b", "trials", "words"),
    [
        ("", 5, "Not yet: b is empty"),
        ("WSN", 5, "Not yet: a and b are both WSN"),
        ("WSM momentum=0.9", 5, r"Not yet: architecture is 'WSM'; .* \(did you mean 'WSN'\?\)"),
        ("SN momentum=0.9", 5, "Wrong: a and b differ in architecture and momentum; the question is about momentum"),
        ("WSN learning_rate=0.1", 5, "Wrong: a and b differ in learning_rate; the question is about momentum alone"),
        ("WSN momentum=0.9", 2, "Not yet: trials is 2; take a whole number from 5 to 25"),
        ("WSN momentum=0.9", "ten", "Not yet: trials is 'ten'"),
        pytest.param(
            *("WSN momentum=0.9", 5, r"Not yet: b differs from a by .* over 5 trials\. What does that say of b\?"),
            marks=pytest.mark.slow,  # it starts workers
        ),
    ],
)
def test_a_comparison_is_judged_in_words(b, trials, words):
    both = f"dataset=digits {SMALL} channels=2-3 hidden=4"
    said = exercises.compared("WSN", b, both, trials, "", wanted="momentum")
    assert re.match(words, said), said


@pytest.mark.parametrize(
    ("values", "right"), [([3, 4, 5, 4], "better"), ([-3, -4, -5, -4], "worse"), ([-3, 4, -5, 4], "open")]
)
def test_an_interval_is_read_as_it_lies(values, right):
    difference = paired_difference([50.0] * len(values), [50.0 + value for value in values])
    for verdict in exercises.VERDICTS:
        assert exercises.read(difference, verdict).startswith("Right: " if verdict == right else "Wrong: ")
    assert exercises.read(difference, "Better").startswith("Not yet: ")


@pytest.mark.slow
def test_parameters_are_explained_at_the_command_line():
    papermill_ = Path(sys.executable).with_name("papermill")
    done = subprocess.run(
        [papermill_, "--help-notebook", FOLDER / "exercises.ipynb"], capture_output=True, text=True, check=True
    )
    for name, parameter in papermill.inspect_notebook(FOLDER / "exercises.ipynb").items():
        assert name in done.stdout and parameter["help"].split(":")[0] in done.stdout
