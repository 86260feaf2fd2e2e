"""Pictures of a report: what kind they are, where those that a Markdown cell names are found, and SVG made harmless."""

import base64
import binascii
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, unquote_to_bytes
from xml.etree import ElementTree

from lib.messages import show

# In the order of preference; what a browser and Typst both show.
MIMES = {
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
}
SIGNATURES = {
    "png": rb"\x89PNG\r\n",
    "jpg": rb"\xff\xd8\xff",
    "gif": rb"GIF8",
    "webp": rb"RIFF.{4}WEBP",
    "svg": rb".*<svg",
}
SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.I)  # of two letters or more: C:\ is a disk
# What is no text: control characters but tab and line end, half of a surrogate pair, and what XML does not allow.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
# What is kept of an SVG picture: elements, attributes, properties (these as attributes and as style) and functions.
DRAWING = (
    "svg|g|defs|symbol|use|path|rect|circle|ellipse|line|polyline|polygon|text|tspan|textPath|image|clipPath|mask"
    "|pattern|marker|linearGradient|radialGradient|stop"
)
GEOMETRY = (
    "[xyrd]|[xy][12]|[cdfr][xy]|fr|points|width|height|rotate|offset|startOffset|textLength|lengthAdjust|pathLength"
    "|transform|viewBox|preserveAspectRatio|version|spreadMethod|(gradient|pattern|clipPath|mask|marker)Units"
    "|(pattern|mask)ContentUnits|(gradient|pattern)Transform|marker(Width|Height)|ref[XY]|orient"
)
PROPERTIES = (
    "(fill|clip)(-rule)?|(fill-|stroke-|stop-)?opacity|(stop-)?color|visibility|display|clip-path|mask"
    "|stroke(-dasharray|-dashoffset|-linecap|-linejoin|-miterlimit|-width)?|marker(-start|-mid|-end)?|transform"
    "|font-(family|size|stretch|style|variant|weight)|(letter|word)-spacing|text-(anchor|decoration|rendering)"
    "|(dominant|alignment)-baseline|baseline-shift|writing-mode|direction|unicode-bidi|paint-order"
    "|(shape|image)-rendering|color-interpolation|vector-effect|mix-blend-mode"
)
INHERITED = "fill(-opacity)?|stroke(-dasharray|-dashoffset|-linecap|-linejoin|-miterlimit|-opacity|-width)?"
VARIABLE = r"--[\w-]+"
FUNCTIONS = "rgba?|hsla?|var|calc|matrix|(translate|scale|skew)[xy]?|rotate"
REFERENCE = re.compile(r"(?<![\w-])url\(\s*(['\"]?)#([^'\"()\s]+)\1\s*\)", re.I)
TALL = 0.45  # of its width
SHEET = re.compile(r"\s*\*\s*\{(\s*stroke-line(join|cap)\s*:\s*(round|butt)\s*;?)*\s*\}\s*")  # matplotlib's


def clean(text: str) -> str:
    """Return a text without what cannot be printed: control characters, a byte order mark, halves of pairs."""
    return UNPRINTABLE.sub("", text)


def kind_of(content: bytes, name: str) -> str:
    """Return "png", "jpg", "gif", "webp" or "svg" for a picture's bytes; raises ValueError for any other kind."""
    for kind, start in SIGNATURES.items():
        if re.match(start, content, re.S):
            return kind
    raise ValueError(f"picture {show(name)} is of a kind that cannot be shown; allowed: PNG, JPEG, GIF, WebP, SVG")


def find(address: str, attachments: Mapping[str, Mapping[str, str]], folders: Sequence[str]) -> bytes:
    """Return the picture that a Markdown cell names by `address`.

    It is attached to the cell (`attachments`, as the notebook has them), written into the address, or a file that is
    reached from one of `folders`, those of the notebook. Raises ValueError for any other, and for a missing one.
    """
    scheme, name = SCHEME.match(address), unquote(address)
    if not scheme:
        here = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or PureWindowsPath(name).root
        files = [] if here else [file for folder in folders if (file := Path(folder, name)).is_file()]
        if not files:
            raise ValueError(
                f"picture {show(name)} is not beside the notebook; give a path that begins there, or paste the picture"
            )
        return files[0].read_bytes()
    if scheme[0].lower() == "attachment:":
        name = name.partition(":")[2]
        if name not in attachments:
            raise ValueError(f"picture {show(name)} is not attached to its cell; paste it there again")
        mime, text = next(iter(attachments[name].items()), ("", ""))
        return text.encode() if mime == "image/svg+xml" and "<" in text else decode(text, name)
    if scheme[0].lower() == "data:":
        head, _, body = address.partition(",")
        return decode(unquote(body), head) if head.lower().endswith(";base64") else unquote_to_bytes(body)
    raise ValueError(f"picture {show(name)} is at an address that is not read; paste the picture into its cell")


def decode(text: str, name: str) -> bytes:
    """Return the bytes that a text in base64 stands for; raises ValueError that names the picture."""
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        raise ValueError(f"picture {show(name)} is not valid base64 ({error})") from None


def harmless_svg(source: str | bytes, prefix: str, alt: str) -> str:
    """Return an SVG picture to be set inline: its ids start with `prefix`, `alt` is its label, nothing in it is live.

    Of elements, attributes and properties those that draw are kept, and of addresses those inside the picture; so
    nothing runs, and nothing is asked for. It is written briefly: names are short, nothing has one in vain, and there
    is no indentation.

    Raises ValueError for a text that is no SVG, and where something that is seen would be missing: HTML
    (foreignObject), what is in another file, what a style sheet says.
    """
    try:
        root = ElementTree.fromstring(clean(source) if isinstance(source, str) else source)
    except ElementTree.ParseError as error:
        raise ValueError(f"a picture is not valid SVG ({error})") from None
    if root.tag.removeprefix(SVG) != "svg":
        raise ValueError(f"a picture is not SVG: it begins with {show(root.tag)}")
    names = _Names(prefix)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        _keep_drawing(element)
        attributes = {name: _harmless_attribute(element.tag, name, value, names) for name, value in element.items()}
        element.attrib = {name.removeprefix(XLINK): value for name, value in attributes.items() if value is not None}
    # The style element of matplotlib would reach the whole page; its two properties are inherited just as well.
    root.attrib |= {"xmlns": SVG.strip("{}"), "role": "img", "aria-label": alt, "style": "stroke-linejoin:round"}
    for element in root.iter():
        if element.get("id", "") not in names.used:
            element.attrib.pop("id", None)
    _unwrap(root)
    _share(root)
    if root.find(".//text") is not None:  # read aloud is the label, and not every word of the picture as well
        seen = ElementTree.Element("g", {"aria-hidden": "true"})
        seen[:], root[:] = list(root), [seen]
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")  # no text has it: there ">" is "&gt;"


def _unwrap(element: ElementTree.Element) -> None:
    """Put what groups that say nothing hold into their places."""
    for child in element:
        _unwrap(child)
    plain = [each for child in element for each in (child if child.tag == "g" and not child.attrib else [child])]
    element[:] = plain


def _share(element: ElementTree.Element) -> None:
    """Let marks beside each other that look alike, such as the dots of a cloud, have one group that says how."""
    for child in element:
        _share(child)
    if element.tag not in ("svg", "g"):  # others hold no groups
        return
    shared: list[ElementTree.Element] = []
    for style, several in itertools.groupby(
        element, lambda child: child.get("style", "") if child.tag == "use" else ""
    ):
        marks = list(several)
        if len(marks) > 1 and all(re.fullmatch(INHERITED, each.partition(":")[0]) for each in style.split(";")):
            group = ElementTree.Element("g", {"style": style})
            group[:] = marks
            for mark in marks:
                del mark.attrib["style"]
            marks = [group]
        shared += marks
    element[:] = shared


class _Names(dict[str, str]):
    """What the ids of a picture become: a prefix and a number, in the order in which they are met."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix
        self.used: set[str] = set()  # what something points to

    def __missing__(self, name: str) -> str:
        self[name] = f"{self.prefix}{len(self) + 1}"
        return self[name]

    def to(self, name: str) -> str:
        """Return the address of an element, which is used from then on."""
        self.used.add(self[name])
        return f"#{self[name]}"


def tall(svg: str) -> bool:
    """Say whether a picture is so high that it would leave a hole in a page that has no room for it."""
    size = re.search(r"""\bviewBox\s*=\s*["'][-+\d.e]+[ ,]+[-+\d.e]+[ ,]+([\d.e+]+)[ ,]+([\d.e+]+)""", svg)
    return size is not None and float(size[2]) > TALL * float(size[1])


def _keep_drawing(element: ElementTree.Element) -> None:
    """Drop the children of an element that draw nothing, but not the text behind them."""
    text = element.tag in ("text", "tspan", "textPath")
    if not text and not (element.text or "").strip():
        element.text = None
    last: ElementTree.Element | None = None
    for child in list(element):
        name = child.tag.removeprefix(SVG)
        if name in ("a", "switch"):  # what they hold is seen
            name = child.tag = "tspan" if text else "g"
        if re.fullmatch(DRAWING, name):
            last = child
            if not text and not (child.tail or "").strip():
                child.tail = None
            continue
        if name == "style" and not SHEET.fullmatch("".join(child.itertext())):
            raise ValueError("a picture has a style sheet, which would reach the whole page; style its elements")
        if name == "foreignObject" and "".join(child.itertext()).strip():
            raise ValueError("a picture holds HTML (foreignObject), which cannot be shown; make it text of the SVG")
        if text and last is None:
            element.text = (element.text or "") + (child.tail or "")
        elif text and last is not None:
            last.tail = (last.tail or "") + (child.tail or "")
        element.remove(child)


def _harmless_attribute(tag: str, name: str, value: str, names: _Names) -> str | None:
    """Return an attribute's value, its references by their new `names`; None for one that is to be dropped."""
    if name == "id":
        return names[value]
    if name == "style":
        return _harmless_style(value, names) or None
    if name not in ("href", XLINK + "href"):
        harmless = _harmless_value(value, names) if re.fullmatch(f"{GEOMETRY}|{PROPERTIES}", name) else None
        return harmless and _brief_path(harmless) if name == "d" else harmless
    if tag in ("g", "tspan"):  # that was a link
        return None
    if value.strip().startswith("#"):
        return names.to(value.strip()[1:])
    if tag == "image" and re.match(r"data:image/(png|jpe?g|gif|webp)[;,]", value):
        return value
    raise ValueError(f"a picture needs {show(value)}, which is not in it; put it into the picture")


def _brief_path(path: str) -> str:
    """Return a path without spaces around its commands, and without those that the one before goes on."""
    brief, on = "", ""
    for command, numbers in re.findall(r"([a-df-zA-DF-Z])([^a-df-zA-DF-Z]*)", path):  # an e is of a number
        brief += (" " if command == on else command) + numbers.strip()
        on = {"M": "L", "m": "l", "Z": "", "z": ""}.get(command, command)
    return min(_by_steps(brief), brief, key=len)


def _by_steps(path: str) -> str:
    """Return a brief path of straight lines between tenths by the steps from point to point; others as they are.

    Nothing is rounded: the steps are whole tenths.
    """
    if not re.fullmatch(r"(M-?\d+(\.\d)?( -?\d+(\.\d)?)+z?)+", path):
        return path
    brief = ""
    for part, close in re.findall(r"M([^Mz]*)(z?)", path):
        tenths = [round(10 * float(number)) for number in part.split()]
        if len(tenths) % 2:
            return path
        steps = [b - a for a, b in zip(tenths, tenths[2:], strict=False)]
        brief += f"M{_numbers(tenths[:2])}" + (f"l{_numbers(steps)}" if steps else "") + close
    return brief


def _numbers(tenths: Iterable[int]) -> str:
    """Write numbers of tenths as a path may have them: no zero before a point, no space before a sign."""
    said = ""
    for each in tenths:
        number = re.sub(r"^(-?)0(?=\.)", r"\1", str(each / 10).removesuffix(".0"))
        said += number if not said or number.startswith("-") else f" {number}"
    return said


def _harmless_style(style: str, names: _Names) -> str:
    """Keep the declarations that draw, and CSS variables."""
    kept = []
    for declaration in style.split(";"):
        name, _, value = declaration.partition(":")
        harmless = _harmless_value(value, names)
        if harmless is not None and re.fullmatch(f"{PROPERTIES}|{VARIABLE}", name.strip(), re.I):
            kept.append(f"{name.strip()}:{harmless}")
    return ";".join(kept)


def _harmless_value(value: str, names: _Names) -> str | None:
    """Return a value, None if it might ask for something: by an unknown function, by an escape or round a comment."""
    if re.search(r"[\\@<{}]|/\*", value):
        return None
    if not all(re.fullmatch(FUNCTIONS, name, re.I) for name in re.findall(r"([\w-]+)\(", REFERENCE.sub("", value))):
        return None
    return REFERENCE.sub(lambda found: f"url({names.to(found[2])})", " ".join(value.split()))
