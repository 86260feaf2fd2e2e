"""One clear sentence for bad input: the name, its value and what is allowed; and which word may have been meant."""

import difflib
import reprlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

NOTEBOOK_ONLY = {"report": {"notebook_only": True}}  # how the report knows what is for whoever runs a notebook


def show(value: object) -> str:
    """Return a short `repr` of a value, however long it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a huge number"


def within(name: str, value: float, low: float, high: float, why: str = "") -> None:
    """Raise ValueError unless `low <= value <= high`."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {show(value)}; allowed: {low:,} to {high:,}{why}")


def one_of(name: str, value: str, allowed: Iterable[str], also: str = "") -> None:
    """Raise ValueError unless `value` is one of `allowed`, suggesting the nearest one."""
    if value not in allowed:
        rest = f", {also}" if also else ""
        raise ValueError(
            f"{name} is {show(value)}; allowed: {', '.join(map(repr, allowed))}{rest}{nearest(value, allowed)}"
        )


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that there is no parameter `name`, and which one may have been meant."""
    known = list(known)
    return f"there is no parameter {name!r}{nearest(name, known)}; known: {', '.join(known)}"


def nearest(word: str, words: Iterable[str]) -> str:
    """Return " (did you mean ...?)" or nothing."""
    by_lower = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1) if isinstance(word, str) else []
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def display() -> Callable[..., Any] | None:
    """Return what displays something in the notebook that this process is the kernel of, or None elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    return display


def notice(text: str) -> None:
    """Say something in passing: on stderr, in a notebook as a display, where stderr is red and looks like an error.

    The report leaves it out.
    """
    if (shown := display()) is None:
        print(text, file=sys.stderr)
    else:
        shown({"text/plain": text}, raw=True, metadata=NOTEBOOK_ONLY)
