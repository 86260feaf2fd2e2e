"""Parameters of notebooks: refuse names that a notebook does not have, which papermill only warns of."""

import ast
from collections.abc import Mapping
from typing import Any

from lib.messages import unknown

INJECTED = "# Parameters\n"  # how papermill begins the cell that it puts behind the one with the defaults


def check(namespace: Mapping[str, Any]) -> None:
    """Check, in a cell after the parameters, that papermill set no name that the notebook does not declare.

    `namespace` is the notebook's `globals()`, in which IPython keeps the source of every cell that was run. Only the
    last run of papermill's cell counts, so a name that was corrected by hand is no error any more. Values are checked
    where they are used. Raises TypeError naming the unknown parameter.
    """
    cells = list(namespace.get("In", ()))
    places = [place for place, cell in enumerate(cells) if cell.startswith(INJECTED)]
    if places:
        declared = [name for cell in cells[: places[-1]] if not cell.startswith(INJECTED) for name in assigned(cell)]
        for name in assigned(cells[places[-1]]):
            if name not in declared:
                raise TypeError(unknown(name, declared))


def assigned(source: str) -> list[str]:
    """Return the names that a cell assigns, in order; a cell that is no Python assigns none."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return []
    targets: list[ast.expr] = []
    for node in statements:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]
