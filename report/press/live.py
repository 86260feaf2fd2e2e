"""Parts of the page that answer its reader: modules with their data, inline; a content policy forbids all else."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
PLACE, RULES = "<!-- live -->", "<!-- policy -->"  # in templates/report.html; no text of a notebook can say them
FIRST = '<li><a href="#abstract">Abstract</a></li>'  # of the contents, both times that they stand in the page
WITHOUT = "This part is computed in your browser, by a script in this page; without one the page lacks nothing else."


class Live(NamedTuple):
    """A part: the id of its element, its heading, its text in one paragraph, what its module is given, and the module.

    The module fills the element by itself, from the JSON in the element whose id ends in `-data`.
    """

    element: str
    heading: str
    text: str
    data: Any
    module: str


def mounted(script: str, element: str) -> str:
    """Return the module of a part: a script that has a function `mount`, called for its element and its data."""
    ids = json.dumps([element, f"{element}-data"])
    last = f"const [there, given] = {ids}.map((id) => document.getElementById(id));"
    return f"{script}\n{last}\nmount(there, JSON.parse(given.textContent));\n"


def section(part: Live) -> str:
    """Return the markup of a part. Raises ValueError for a module that would end its own element."""
    if "</script" in part.module.lower() or "<!--" in part.module:
        raise ValueError(f"the module of {part.element} holds markup that ends a script, or begins a comment")
    given = json.dumps(part.data, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<section class="live" id="{part.element}-part" aria-labelledby="{part.element}-heading">\n'
        f'<h2 class="heading" id="{part.element}-heading">{escape(part.heading)}</h2>\n<p>{escape(part.text)}</p>\n'
        f'<div id="{part.element}"><p>{WITHOUT}</p></div>\n'
        f'<script type="application/json" id="{part.element}-data">{given}</script>\n'
        f'<script type="module">{part.module}</script>\n</section>'
    )


def policy(parts: Sequence[Live]) -> str:
    """Return the markup that lets a page run these modules, and nothing else, and ask nobody for anything."""
    sums = [base64.b64encode(hashlib.sha256(part.module.encode()).digest()).decode() for part in parts]
    scripts = "; script-src " + " ".join(f"'sha256-{each}'" for each in sums) if sums else ""
    return f'<meta http-equiv="Content-Security-Policy" content="{POLICY}{scripts}">'


def filled(page: str, parts: Sequence[Live]) -> str:
    """Return a page with its live parts, these in its contents, and its policy."""
    listed = "".join(f'\n<li><a href="#{part.element}-heading">{escape(part.heading)}</a></li>' for part in parts)
    page = page.replace(FIRST, FIRST + listed)
    return page.replace(RULES, policy(parts), 1).replace(PLACE, "\n".join(map(section, parts)), 1)
