"""The letters of a page's pictures: of the font in which matplotlib measured them, those that they use."""

import base64
from collections import defaultdict
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from fontTools import subset

from report.press.images import SVG
from report.press.surroundings import of_matplotlib

FONT = "DejaVu Sans"
NAMES = (0, 1, 2, 13, 14)  # of its table: copyright, family and form, licence and its address; it goes with the letters
BOLD = 600  # and heavier
TEXTS = ("text", "tspan", "textPath")


class Face(NamedTuple):
    """A form of the font."""

    bold: bool = False
    oblique: bool = False

    @property
    def file(self) -> Path:
        """Where it came with matplotlib."""
        form = "-" * any(self) + "Bold" * self.bold + "Oblique" * self.oblique
        return Path(of_matplotlib(f"fonts/ttf/DejaVuSans{form}.ttf"))


def faces(pictures: Iterable[str]) -> str:
    """Return the style that brings the letters of SVG pictures, a font per face that they use; empty for none.

    The same pictures give the same bytes.
    """
    used: dict[Face, set[str]] = defaultdict(set)
    for picture in pictures:
        for face, text in _said(ElementTree.fromstring(picture), {}):
            used[face] |= set(text)
    return "".join(_rule(face, letters) for face, letters in sorted(used.items()) if "".join(letters).strip())


def _said(element: ElementTree.Element, above: dict[str, str]) -> Iterable[tuple[Face, str]]:
    """Yield the texts that are set in the font, and in which face."""
    style = (each.partition(":") for each in element.get("style", "").split(";"))
    own = {**above, **element.attrib, **{name.strip(): value.strip() for name, _, value in style}}
    look = {name: value.lower() for name, value in own.items() if name.startswith("font-")}
    if element.tag.removeprefix(SVG) in TEXTS and FONT.lower() in look.get("font-family", ""):
        weight = look.get("font-weight", "").replace("bold", "700")
        face = Face(weight.isdigit() and int(weight) >= BOLD, look.get("font-style", "normal") != "normal")
        yield face, "".join([element.text or "", *(child.tail or "" for child in element)])
    for child in element:
        yield from _said(child, look)


def _rule(face: Face, letters: Iterable[str]) -> str:
    options = subset.Options(flavor="woff", hinting=False, name_IDs=NAMES)
    options.drop_tables = [*options.drop_tables, "FFTM"]  # when it was made: of no use, and not known there
    with subset.load_font(face.file, options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(text="".join(letters))
        subsetter.subset(font)
        content = BytesIO()
        subset.save_font(font, content, options)
    look = "font-weight:700;" * face.bold + "font-style:italic;" * face.oblique
    coded = base64.b64encode(content.getvalue()).decode()
    return f'@font-face{{font-family:"{FONT}";{look}src:url(data:font/woff;base64,{coded})}}\n'
