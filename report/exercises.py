"""The checks of notebooks/exercises.ipynb: each says in a sentence whether an answer is right, wrong or not there yet.

None raises an error for what a student has written: a file that is missing, a class that fails, an answer left empty.
"""

import torch

from lib import check_architecture
from lib.foreign import find, heads_of
from lib.messages import show
from lib.store import GROUP
from lib.tasks import CLASSES, COMPARISON, Task
from report import comparison
from report.statistics import PairedDifference

LEAST = 5  # trials of a comparison: of fewer, the interval says next to nothing
VERDICTS = ("better", "worse", "open")
PAIRS = torch.cartesian_prod(torch.arange(10), torch.arange(10))[None]  # each pair of classes once, [1, 100, 2]


def head_added(name: str) -> str:
    """Check a network `module:Class` that was to get a second head, which tells the class of each digit."""
    try:
        heads = heads_of(find(name))
    except ValueError as error:
        return f"Not yet: {error}."
    others = {head: task for head, task in heads.items() if head != "answer"}
    if not others:
        return "Not yet: it has only its answer. Declare a second head in `heads`, and return it from `forward`."
    if not any(same(task, CLASSES) for task in others.values()):
        asked = ", ".join(f"{head!r} asks {show(task.question)}" for head, task in others.items())
        return f"Wrong: {asked}; the exercise wants a head that answers lib.tasks.CLASSES, the class of each digit."
    if not same(heads["answer"], COMPARISON):
        return "Wrong: its answer is another question now; leave that to the next exercise."
    if faults := check_architecture(name):
        return f"Wrong: {' '.join(faults)}"
    return "Right: it answers, says which digits it sees, and learns both."


def target_changed(name: str) -> str:
    """Check a network `module:Class` that was to answer whether the sum of the two digits is even."""
    try:
        task = heads_of(find(name))["answer"]
    except ValueError as error:
        return f"Not yet: {error}."
    if same(task, COMPARISON):
        return "Not yet: its answer is still whether the first digit is at most the second."
    if fault := wrong_target(task):
        return f"Wrong: {fault}"
    if faults := check_architecture(name):
        return f"Wrong: {' '.join(faults)}"
    return "Right: its target is 1 where the sum is even, for each of the 100 pairs of digits."


def wrong_target(task: Task) -> str:
    """Say what is wrong with a task that should ask whether the sum is even; nothing where it is right."""
    try:
        target = task.target(PAIRS.clone())
    except Exception as error:  # whatever the student's function raises
        return f"the target fails: {type(error).__name__}: {error}."
    wanted = (PAIRS.sum(2) % 2 == 0).long()
    if not isinstance(target, torch.Tensor) or target.shape != wanted.shape:
        found = list(target.shape) if isinstance(target, torch.Tensor) else type(target).__name__
        return f"of classes [trials, n, 2] the target must be [trials, n]; it is {found} of {list(PAIRS.shape)}."
    if target.dtype != torch.int64:
        return f"the target is {target.dtype}; it must be whole numbers: `.long()` makes them."
    if task.classes != 2:
        return f"the task has {task.classes} classes; a question with a yes and a no has 2."
    if torch.equal(target, 1 - wanted):
        return "it is the other way round: 1 is for an even sum, 0 for an odd one."
    if (wrong := (target != wanted).nonzero()).numel():
        first, second = PAIRS[0, wrong[0, 1]].tolist()
        says, even = int(target[0, wrong[0, 1]]), "even" if (first + second) % 2 == 0 else "odd"
        return f"of {first} and {second} the target is {says}, and their sum, {first + second}, is {even}."
    return ""


def same(task: Task, other: Task) -> bool:
    """Say whether two tasks ask the same: an equal target of each pair of classes."""
    try:
        found = task.target(PAIRS.clone())
    except Exception:  # whatever the student's function raises
        return False
    return task.classes == other.classes and isinstance(found, torch.Tensor) and found.equal(other.target(PAIRS))


def compared(a: str, b: str, both: str, trials: int, verdict: str, wanted: str) -> str:
    """Check a comparison that was to ask about the setting `wanted` alone, and what was read from its interval.

    `verdict` says of `b` against `a`: "better", "worse", or "open" where the interval contains 0. Trains what the store
    lacks.
    """
    if not (isinstance(b, str) and b.strip()):
        return "Not yet: b is empty; say the second network in words, as a is said."
    try:
        pair = comparison.Comparison.of("exercise", a, b, both)
    except (TypeError, ValueError) as error:
        return f"Not yet: {error}."
    if pair.differing != (wanted,):
        return (
            f"Wrong: a and b differ in {' and '.join(pair.differing)}; the question is about {wanted} alone: whatever "
            "else differs may be the reason, too."
        )
    if isinstance(trials, bool) or not isinstance(trials, int) or not LEAST <= trials <= GROUP:
        return f"Not yet: trials is {show(trials)}; take a whole number from {LEAST} to {GROUP}."
    return read(comparison.last_difference(*pair.results(trials)), verdict)


def read(difference: PairedDifference, verdict: str) -> str:
    """Check what was read from the interval of a difference b - a."""
    low, high = difference.low, difference.high
    right = "better" if low > 0 else "worse" if high < 0 else "open"
    found = f"b differs from a by {difference:+.2f}, over {difference.n} trials"
    if verdict not in VERDICTS:
        return f"Not yet: {found}. What does that say of b? Set verdict to {', '.join(map(repr, VERDICTS))}."
    why = {"better": "lies above 0", "worse": "lies below 0", "open": "contains 0"}[right]
    return f"{'Right' if verdict == right else 'Wrong'}: {found}; the interval {why}."
