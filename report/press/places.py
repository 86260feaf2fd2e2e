"""Where things stand in the report, which need not be where they are made.

A figure or a table that one notebook makes can stand in another, whose cell says `display.place("fig-6a")`. Cells with
the tag `supplement` leave the article: they stand before the cell with the tag `supplements`, in their order. Cells
with the tag `page-alone` stand at the page's end, and are left out of the PDF: the cell that opens them has the tag
`page-alone-opening`. In a chapter with the tag `lettered`, and from there on, chapters have letters.
"""

from collections.abc import Collection

from nbformat import NotebookNode

from report.press.made import HIDDEN

MOVED, GOAL = "supplement", "supplements"  # tags of cells
ALONE, OPENING = "page-alone", "page-alone-opening"
LETTERED = "lettered"


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


def on_the_page_alone(tags: Collection[str]) -> bool:
    """Whether a cell with these tags is left out of the PDF."""
    return ALONE in tags or OPENING in tags


def all_alone(nb: NotebookNode) -> bool:
    """Whether all that a notebook shows is on the page alone, so that its chapter's heading is, too.

    Its parameters have no say.
    """
    unsaid = {"remove-cell", "parameters", "injected-parameters"}
    shown = [tags for cell in nb.cells if not unsaid & set(tags := cell.metadata.get("tags", []))]
    return bool(shown) and all(map(on_the_page_alone, shown))


def page_alone(nb: NotebookNode) -> None:
    """Move the cells of a merged notebook that are on the page alone to its end, first the one that opens them."""
    sorts = [
        OPENING if OPENING in tags else ALONE if ALONE in tags else ""
        for tags in (cell.metadata.get("tags", []) for cell in nb.cells)
    ]
    nb.cells = [cell for sort in ("", OPENING, ALONE) for cell, own in zip(nb.cells, sorts, strict=True) if own == sort]
