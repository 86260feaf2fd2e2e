"""What is shown while a cell runs, and by callbacks beside it: pictures without pyplot, displays that are renewed."""

import base64
import threading
from collections.abc import Callable
from html import escape
from io import BytesIO
from typing import Any

from IPython.display import display
from matplotlib.figure import Figure

DPI = 160  # sharper than a page, for the screens that have more pixels
ON_SCREEN = 100  # pixels of the page per inch of a figure

# In JupyterLab a control's callback runs in a thread beside the one that runs cells, and matplotlib is for one at a
# time. pyplot, which knows a figure as the current one, is not used at all.
drawing = threading.Lock()


def png(fig: Figure) -> bytes:
    """Return a figure as a PNG; one at a time, whichever thread asks."""
    content = BytesIO()
    with drawing:
        fig.savefig(content, format="png", dpi=DPI, facecolor="white")  # legible on a dark page, too
    return content.getvalue()


def picture(fig: Figure, alt: str) -> dict[str, Any]:
    """Return the arguments with which `display`, or an update, shows a figure; `alt` says what it shows."""
    data = {"image/png": base64.b64encode(png(fig)).decode(), "text/plain": alt}
    width = round(fig.get_size_inches()[0] * ON_SCREEN)
    return {"data": data, "metadata": {"image/png": {"width": width, "alt": alt}}}


class NotShownError(ValueError):
    """There is no such picture of these networks; the message says why in a sentence."""


def show(draw: Callable[..., tuple[Figure, str]], *arguments: Any) -> None:
    """Display what a function draws of these arguments; where there is no such picture, say why."""
    try:
        shown = picture(*draw(*arguments))
    except NotShownError as error:
        print(error)
    else:
        display(shown["data"], raw=True, metadata=shown["metadata"])


class Renewed:
    """A display of a cell that is renewed in its place: an executed notebook has its last state alone."""

    def __init__(self) -> None:
        self.handle: Any = None

    def put(self, data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        """Show this in the place of what was there."""
        if self.handle is None:
            self.handle = display(data, raw=True, metadata=metadata or {}, display_id=True)
        else:
            self.handle.update(data, raw=True, metadata=metadata or {})


class Bar:
    """The notebook's own bar: how much is done, and in words what that is."""

    def __init__(self) -> None:
        self.display = Renewed()

    def put(self, done: int, total: int, words: str) -> None:
        """Show `done` of `total`, and the words beside it."""
        bar = f'<progress value="{done}" max="{total}" style="width: 40%; vertical-align: middle"></progress>'
        self.display.put({"text/html": f"{bar} <span>{escape(words)}</span>", "text/plain": words})


def time_left(seconds: float) -> str:
    """Return seconds in words, such as "8 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


Draw = Callable[[], tuple[Figure, str]]  # a figure and its alternative text
