"""Parameters of notebooks: their names, types and ranges, checked before anything else is done with them.

papermill takes a name that a notebook does not have (and only warns), and a value of any type: `-p forms false` passes
the text "false", which is true.
"""

import ast
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from lib.messages import nearest, show, unknown

INJECTED = "# Parameters\n"  # how papermill begins the cell that it puts behind the one with the defaults
MOST = 1_000_000  # trials
TRUTHS = {"true": True, "yes": True, 1: True, "false": False, "no": False, 0: False}  # what may have been meant

Kind = Callable[[str, object], None]  # raises TypeError or ValueError for a parameter's name and its value


def check(namespace: Mapping[str, Any], **kinds: Kind) -> None:
    """Check, in a cell after the parameters, that each is of its kind, and that papermill set no other name.

    `namespace` is the notebook's `globals()`, in which IPython keeps the source of every cell that was run. Cells may
    run again, and in any order: what counts are the present values, and of papermill's cell its last run, unless the
    cell with the defaults was run after it.

    Raises TypeError for an unknown name and a value of another type, ValueError for one out of range, NameError for a
    parameter that no cell has set yet.
    """
    own, injected = by_cell(namespace.get("In"), kinds)
    for name in injected:
        if name not in kinds and name not in own:
            raise TypeError(unknown(name, kinds))
    for name, kind in kinds.items():
        if name not in namespace:
            raise NameError(f"{name} is not set yet: run the cell with the parameters, then those below it")
        kind(name, namespace[name])


def whole(low: int, high: int = MOST) -> Kind:
    """Return the kind of a whole number from `low` to `high`."""
    allowed = f"a whole number from {low:,} to {high:,}"

    def kind(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            meant = number(value)
            fits = meant is not None and meant.is_integer() and low <= meant <= high
            remedy = how(name, f"{meant:.0f}", "-p") if fits else ""
            raise TypeError(f"{given(name, value)}; allowed: {allowed}{remedy}")
        if not low <= value <= high:
            raise ValueError(f"{name} is {show(value)}; allowed: {allowed}")

    return kind


def real(low: float, high: float) -> Kind:
    """Return the kind of a number from `low` to `high`, whole or not."""
    allowed = f"a number from {low:g} to {high:,g}"

    def kind(name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            meant = number(value)
            fits = meant is not None and low <= meant <= high
            remedy = how(name, f"{meant:g}", "-p") if fits else ""
            raise TypeError(f"{given(name, value)}; allowed: {allowed}{remedy}")
        if not low <= value <= high:  # nor is a NaN
            raise ValueError(f"{name} is {show(value)}; allowed: {allowed}")

    return kind


def truth(name: str, value: object) -> None:
    """Refuse what is neither True nor False: this is the kind itself."""
    if not isinstance(value, bool):
        meant = TRUTHS.get(value.lower() if isinstance(value, str) else value) if isinstance(value, str | int) else None
        remedy = "" if meant is None else how(name, str(meant), "-p")
        raise TypeError(f"{given(name, value)}; allowed: True or False{remedy}")


def text(example: str = "") -> Kind:
    """Return the kind of a text, such as `example`; without one it may not be empty, and may read as a number.

    papermill's `-p` makes a number of such a text: so there, and only there, its `-r` is the remedy.
    """
    allowed = f"a text, such as {example!r}" if example else "a text that is not empty"

    def kind(name: str, value: object) -> None:
        if not isinstance(value, str):
            fits = not example and isinstance(value, int | float) and abs(value) <= sys.maxsize  # a NaN is not
            remedy = how(name, str(value), "-r") if fits else ""
            raise TypeError(f"{given(name, value)}; allowed: {allowed}{remedy}")
        if not (example or value.strip()):
            raise ValueError(f"{name} is {show(value)}; allowed: {allowed}")

    return kind


def word(example: str) -> Kind:
    """Return the kind of a text that a module of Python can begin with, such as `example`."""

    def kind(name: str, value: object) -> None:
        text(example)(name, value)
        if not str(value).isidentifier():
            raise ValueError(f"{name} is {show(value)}; allowed: letters, digits and _, such as {example!r}")

    return kind


def option(value: object) -> str:
    """Return papermill's option that passes a value as it is: `-r` for a text of which `-p` makes something else."""
    other = isinstance(value, str) and (value in ("True", "False", "None") or number(value) is not None)
    return "-r" if other else "-p"


def how(name: str, value: str, option: str) -> str:
    """Say how a value is given in a cell, and to papermill."""
    return f" (in a cell: {name} = {repr(value) if option == '-r' else value}; by papermill: {option} {name} {value})"


def given(name: str, value: object) -> str:
    """Say a parameter's name, its value and type."""
    return f"{name} is {show(value)}" + ("" if value is None else f" ({type(value).__name__})")


def number(value: object) -> float | None:
    """Return the number that a text, or a float, says, or None."""
    try:
        return float(value) if isinstance(value, str | float) else None
    except ValueError:
        return None


def by_cell(history: object, names: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the names that the cell with the defaults assigned when it ran last, and those that papermill's cell did.

    The first is a cell that assigns all of `names`; where it ran after papermill's, that one has no say any more.

    papermill's is right behind it, or the first of a kernel. A cell elsewhere that begins in the same way is that one,
    run again, where it names a parameter or nearly does; else it is the user's own, of no concern here.
    """
    injected: list[str] = []
    cells = [str(cell) for cell in history if cell] if isinstance(history, list) else []
    for place in reversed(range(len(cells))):
        found = assigned(cells[place])
        if cells[place].startswith(INJECTED):
            first = place == 0 or set(names) <= set(assigned(cells[place - 1]))
            injected = injected or [name for name in found if first or name in names or nearest(name, names)]
        elif names and set(names) <= set(found):
            return found, injected
    return [], injected


def assigned(source: object) -> list[str]:
    """Return the names that a cell assigns, in order; a cell that is no Python assigns none."""
    try:
        statements = ast.parse(str(source)).body
    except (SyntaxError, ValueError):  # a ValueError for null bytes
        return []
    targets: list[ast.expr] = []
    for node in statements:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]
