"""A figure or a table that one notebook makes can stand in another, whose cell says `display.place("fig-6a")`."""

from nbformat import NotebookNode

from report.press.made import HIDDEN


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
