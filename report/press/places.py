"""Where things stand in the report, which need not be where they are made.

A figure or a table that one notebook makes can stand in another, whose cell says `display.place("fig-6a")`. Cells with
the tag `supplement` leave the article: they stand before the cell with the tag `supplements`, in their order.
"""

from nbformat import NotebookNode

from report.press.made import HIDDEN

MOVED, GOAL = "supplement", "supplements"  # tags of cells


def settle(nb: NotebookNode) -> None:
    """Move each figure and table of a merged notebook that a cell places into that cell, with all that is said of it.

    Raises ValueError where a label is placed twice, and where no notebook makes what is placed.
    """
    makers = {
        output.metadata.report["id"]: (cell, output)
        for cell in nb.cells
        for output in cell.get("outputs", ())
        if "id" in output.get("metadata", {}).get("report", {})
    }
    placed: dict[str, str] = {}
    for cell in nb.cells:
        if HIDDEN & set(cell.metadata.get("tags", [])):
            continue
        for output in list(cell.get("outputs", ())):
            label = output.get("metadata", {}).get("report", {}).get("place")
            if label is None:
                continue
            here = cell.metadata["home"]["cell"]
            if label in placed:
                raise ValueError(
                    f"{label} is placed twice, in {placed[label]} and in {here}; it can stand in one place"
                )
            if label not in makers:
                raise ValueError(f"{label} is placed in {here}, and no notebook of the report makes it")
            placed[label] = here
            home, made = makers[label]
            home.outputs = [each for each in home.outputs if each is not made]
            cell.outputs = [made if each is output else each for each in cell.outputs]


def supplement(nb: NotebookNode) -> None:
    """Move the cells of a merged notebook that belong to the supplement there; without one they stay.

    Raises ValueError where there are two.
    """
    moved = [cell for cell in nb.cells if MOVED in cell.metadata.get("tags", [])]
    goals = [cell for cell in nb.cells if GOAL in cell.metadata.get("tags", [])]
    if len(goals) > 1:
        places = " and ".join(cell.metadata["home"]["cell"] for cell in goals)
        raise ValueError(f"the supplement begins twice, at {places}; there can be one cell with the tag {GOAL}")
    if goals:
        kept = [cell for cell in nb.cells if MOVED not in cell.metadata.get("tags", [])]
        position = kept.index(goals[0])
        nb.cells = [*kept[:position], *moved, *kept[position:]]
