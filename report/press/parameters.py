"""Parameters of notebooks: refuse names that a notebook does not have, which papermill only warns of."""

import ast
import itertools
from collections.abc import Mapping

from lib.experiment import unknown

INJECTED = "# Parameters\n"  # how papermill begins the cell that it puts behind the one with the defaults


def check(namespace: Mapping[str, object]) -> None:
    """Check, in the cell after the parameters, that papermill set no name that the notebook does not declare.

    `namespace` is the notebook's `globals()`, in which IPython keeps the source of every cell that was run. Values are
    checked where they are used, by `lib.Experiment` and `lib.run_study`. Raises TypeError naming the unknown parameter.
    """
    cells = list(namespace.get("In", ()))
    for declared, injected in itertools.pairwise(cells):
        if injected.startswith(INJECTED):
            known = assigned(declared)
            for name in assigned(injected):
                if name not in known:
                    raise TypeError(unknown(name, known))


def assigned(source: str) -> list[str]:
    """Return the names that a cell assigns, in order."""
    targets = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]
