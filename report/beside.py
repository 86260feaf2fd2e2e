"""Code shown side by side in a notebook: as it is in its file, coloured, wrapping one below the other where narrow."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lib.machine import ROOT

# Its own background, for the colours of the text are made for a light one, and JupyterLab may be dark.
STYLE = "flex:1 1 22em;min-width:0;overflow-x:auto;font-size:85%;background:#f8f8f8;color:#222;padding:0 .8em"


def beside(*functions: Callable[..., Any]) -> str:
    """Return HTML that shows the sources of functions side by side, each under its name and the place of its file."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(map(shown, functions))}</div>'


def shown(function: Callable[..., Any]) -> str:
    """Return HTML that shows the source of a function."""
    lines, first = inspect.getsourcelines(function)
    file = inspect.getsourcefile(function)
    place = f"{file}".removeprefix(f"{ROOT}/")
    code = highlight(textwrap.dedent("".join(lines)), PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True))
    return f'<div style="{STYLE}"><b>{function.__qualname__}</b> ({place}, line {first}){code}</div>'
