"""Light and dark for a page's pictures: their colours become variables, which the page sets anew where it is dark."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from report.palette import PALETTE
from report.press.images import SVG

COLOURED = ("fill", "stroke", "color", "stop-color")  # the properties that are colours
NONE = ("none", "currentColor")  # no colour of their own
SHAPES = ("path", "use", "text", "rect", "circle", "ellipse", "line", "polyline", "polygon")
APART = ("defs", "clipPath", "mask")  # what these hold is drawn where something points to it, or not at all
VARIABLES = {colour.light: f"var(--fig-{name},{colour.light})" for name, colour in PALETTE.items()}
COLOUR = re.compile(rf"""((?:["; ])(?:{"|".join(COLOURED)})(?:=["']|:\s*))(#[0-9a-fA-F]{{6}})\b""")
CLASS = "schemed"
DARK = (
    "@media screen and (prefers-color-scheme:dark){:root{"
    + ";".join(f"--fig-{name}:{colour.dark}" for name, colour in PALETTE.items())
    + "}}\n"
)


def schemed(picture: str) -> str:
    """Return a harmless SVG picture that follows the page's scheme, if all its colours are of the palette.

    Any other stays as it is, to be shown on a light ground: half of its colours changed, it might not be legible.
    Pictures made of pixels within it stay, too.
    """
    if strange(picture):
        return picture
    picture = COLOUR.sub(lambda found: found[1] + VARIABLES[found[2].lower()], picture)
    return picture.replace("<svg ", f'<svg class="{CLASS}" ', 1)


def strange(picture: str) -> set[str]:
    """Return the colours of an SVG picture that the palette lacks; black, too, where a shape has no colour said."""
    return set(_colours(ElementTree.fromstring(picture), None)) - VARIABLES.keys()


def _colours(element: ElementTree.Element, fill: str | None) -> Iterator[str]:
    declared = [each.partition(":")[::2] for each in element.get("style", "").split(";")]
    said = {**element.attrib, **{name.strip(): value.strip() for name, value in declared}}
    yield from (said[name].lower() for name in COLOURED if name in said and not said[name].startswith(("url(", *NONE)))
    tag, fill = element.tag.removeprefix(SVG), said.get("fill", fill)
    if tag in SHAPES and fill is None:
        yield "#000000"
    for child in element:
        yield from _colours(child, "" if tag in APART else fill)
