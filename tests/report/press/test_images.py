"""Pictures are found where a notebook has them, and of SVG only what draws is left."""

import base64
from pathlib import Path

import pytest

from report.press.images import clean, find, harmless_svg, kind_of, tall

# The smallest pictures of their kind: one pixel each.
GIF = base64.b64decode("R0lGODlhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs=")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
DRAWING = b'<?xml version="1.0" encoding="utf-8"?><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'


def svg(inner, attributes=""):
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return harmless_svg(f"<svg {space} {attributes}>{inner}</svg>", "p1-", 'A "picture"')


def test_a_picture_is_stripped_of_what_is_live():
    made = svg(
        '<script>x()</script><foreignObject/><a xlink:href="javascript:x()"><path/></a><animate onbegin="x()"/>'
        '<image xlink:href="data:image/png;base64,AA=="/><handler/>'
        '<g id="a" class="skip" tabindex="0" style="position:fixed;fill:url(#a)"><use xlink:href="#a"/>'
        '<path clip-path="url(#a)"/></g>',
        'onload="x()"',
    )
    for gone in ("script", "foreign", "onload", "animate", "handler", "<a", "class", "tabindex", "position"):
        assert gone not in made
    for kept in ('id="p1-1"', 'href="#p1-1"', "url(#p1-1)", 'aria-label="A &quot;picture&quot;"', "image/png;base64"):
        assert kept in made


@pytest.mark.parametrize(
    "value",
    [
        "url(http://e.org)",
        "URL(http://e.org)",
        r"u\72l(http://e.org)",
        "url('http://e.org')",
        "image-set('http://e.org' 1x)",
        "-webkit-image-set(url(#a) 1x, 'http://e.org' 2x)",
        "var(--x, src('http://e.org'))",
        "url(/**/http://e.org)",
        "url(#a) url(//e.org)",
        "cross-fade(url(#a), 'http://e.org')",
    ],
)
def test_no_property_asks_for_anything(value):
    quoted = value.replace("'", "&apos;")
    made = svg(f'<path fill="{quoted}" style="stroke:red;fill:{quoted}"/><g style="--y:{quoted};mask:{quoted}"/>')
    assert "e.org" not in made
    assert 'style="stroke:red"' in made


@pytest.mark.parametrize("name", ["background", "cursor", "filter", "list-style", "content", "behavior", "@import"])
def test_only_properties_that_draw_are_kept(name):
    made = svg(f'<path {name.strip("@")}="url(#a)" style="{name}:url(#a); fill: #fff"/>')
    assert '<path style="fill:#fff"' in made and "url" not in made


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("url(#a)", "url(#p1-1)"),
        ("URL( '#a' ) none", "url(#p1-1) none"),
        ("var(--ink, #fff)", "var(--ink, #fff)"),
        ("rgba(0, 0, 0, 50%)", "rgba(0, 0, 0, 50%)"),
        ("HSL(calc(1 + 2), 5%, 5%)", "HSL(calc(1 + 2), 5%, 5%)"),
    ],
)
def test_references_into_the_picture_and_variables_remain(value, kept):
    quoted = value.replace("'", "&apos;")
    made = svg(f'<path fill="{quoted}" style="--ink: {quoted};fill:{quoted}"/>')
    assert f'<path fill="{kept}" style="--ink:{kept};fill:{kept}"' in made


def test_the_text_of_a_picture_remains():
    made = svg("<text>one<title>t</title> two<a> three</a><script/> four</text><switch><text>five</text></switch>")
    assert "<text>one two<tspan> three</tspan> four</text><text>five</text></g></svg>" in made


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("<script xmlns='http://www.w3.org/2000/svg'>x()</script>", "is not SVG: it begins with .*script"),
        ("<html/>", "is not SVG"),
        ("<svg", "not valid SVG"),
        ("<svg>&#7;</svg>", "not valid SVG"),
        ("<svg><image href='photo.jpg'/></svg>", "needs 'photo.jpg', which is not in it"),
        ("<svg><use href='http://e.org/a.svg#b'/></svg>", "which is not in it"),
        ("<svg><image href='data:image/svg+xml,x'/></svg>", "which is not in it"),
        ("<svg><style>.a{fill:red}</style></svg>", "style sheet"),
        ("<svg><foreignObject><p>words</p></foreignObject></svg>", "foreignObject"),
    ],
)
def test_what_would_be_missing_is_refused(source, message):
    source = source.replace("<svg", "<svg xmlns='http://www.w3.org/2000/svg'")
    with pytest.raises(ValueError, match=message):
        harmless_svg(source, "p1-", "x")


def test_what_cannot_be_printed_goes():
    assert clean("\ufeffa\x00b\x1b\x7f\x85\ud800\uffff c\td\n") == "ab c\td\n"
    source = '\ufeff<svg xmlns="http://www.w3.org/2000/svg"><!-- \x07 --><text>a\x08b</text></svg>'
    assert "<text>ab</text>" in harmless_svg(source, "p1-", "x")


def test_pictures_are_known_by_their_bytes():
    webp, jpg = b"RIFF\x00\n\x00\x00WEBPVP8 ", b"\xff\xd8\xff\xe0"
    assert [kind_of(each, "x") for each in (PNG, GIF, DRAWING, webp, jpg)] == ["png", "gif", "svg", "webp", "jpg"]
    with pytest.raises(ValueError, match=r"picture 'x\.png' is of a kind that cannot be shown; allowed: PNG"):
        kind_of(b"BM\x00\x00", "x.png")


def test_a_picture_is_found_where_the_notebook_has_it(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my dot.png").write_bytes(PNG)
    (tmp_path / "up.gif").write_bytes(GIF)
    folders = [str(tmp_path / "nowhere"), str(tmp_path / "here")]
    text, attached = base64.b64encode(PNG).decode(), {"dot.png": {"image/png": base64.b64encode(PNG).decode()}}
    for address in ("my%20dot.png", "./my dot.png", "attachment:dot.png", f"data:image/png;base64,{text}"):
        assert find(address, attached, folders) == PNG
    assert find("../up.gif", {}, folders) == GIF
    assert find("attachment:a.svg", {"a.svg": {"image/svg+xml": DRAWING.decode()}}, []) == DRAWING


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("none.png", "'none.png' is not beside the notebook; .* paste the picture"),
        ("HERE/dot.png", "is not beside the notebook"),
        ("C:\\dot.png", "is not beside the notebook"),
        ("attachment:none.png", "'none.png' is not attached to its cell"),
        ("attachment:broken.png", "'broken.png' is not valid base64"),
        ("file:HERE/dot.png", "at an address that is not read"),
        ("ftp://e.org/dot.png", "at an address that is not read"),
    ],
)
def test_a_picture_that_is_not_there_is_named(tmp_path, address, message):
    (tmp_path / "dot.png").write_bytes(PNG)
    address = address.replace("HERE", Path(tmp_path).as_posix())
    with pytest.raises(ValueError, match=message):
        find(address, {"broken.png": {"image/png": "a"}}, [str(tmp_path)])


def test_it_is_written_briefly_and_each_name_is_pointed_to():
    drawing = (
        '<defs>\n  <path id="m1"   d="M 0 0\nL 0.125 1 L -2e-3 .5 C 1 2 3 4 5 6 z M 1 1 m 2 2"/>\n </defs>'
        '<g id="vain"> <use href="#m1" x="0.125"/><g opacity="0.5"><g/></g></g>'
        '<clipPath id="c"><rect width="1"/></clipPath><path clip-path="url(#c)" style="fill: none; stroke: red"/>'
        "<text> a <tspan>b</tspan> c </text>"
    )
    made = svg(drawing)
    assert made.partition(">")[2] == (
        '<g aria-hidden="true"><defs><path id="p1-1" d="M0 0 0.125 1 -2e-3 .5C1 2 3 4 5 6zM1 1m2 2"/></defs>'
        '<use href="#p1-1" x="0.125"/><g opacity="0.5"/>'
        '<clipPath id="p1-3"><rect width="1"/></clipPath><path clip-path="url(#p1-3)" style="fill:none;stroke:red"/>'
        "<text> a <tspan>b</tspan> c </text></g></svg>"
    )


def test_marks_that_look_alike_say_so_once():
    red, clear = 'style="fill:red;stroke-width:2"', 'style="fill:red;opacity:0.5"'
    dots = [f'<use href="#m" x="{x}" {{}}/>' for x in range(3)]
    made = svg('<defs><path id="m" d="M0 0"/></defs>' + "".join(dots).format(red, red, clear))
    moved = [each.replace(" {}", "").replace("#m", "#p1-1") for each in dots]
    assert f"<g {red}>{moved[0]}{moved[1]}</g>" in made
    apart = "".join(dots[:2]).format(clear, clear).replace("#m", "#p1-1")  # together they would be as clear as one
    assert apart in svg('<defs><path id="m" d="M0 0"/></defs>' + "".join(dots[:2]).format(clear, clear))
    inside = f'<clipPath id="c">{"".join(dots[:2]).format(red, red)}</clipPath><path clip-path="url(#c)"/>'
    assert "<g " not in svg('<defs><path id="m" d="M0 0"/></defs>' + inside)


@pytest.mark.parametrize(
    ("path", "brief"),
    [
        ("M 37.3 108.3 L 240.3 108.3 L 240.2 8 z", "M37.3 108.3l203 0-.1-100.3z"),
        ("M 0 0.1 L 0.3 -0.1 M 100.2 5 L 99.9 5.1 L 99.9 5.1", "M0 .1l.3-.2M100.2 5l-.3 .1 0 0"),
        ("M 1 2 L 3", "M1 2 3"),  # half a point
        ("M 1.25 2 L 3 4", "M1.25 2 3 4"),  # finer than tenths
        ("M 1 2 L 3 4 H 5", "M1 2 3 4H5"),
    ],
)
def test_straight_lines_go_by_steps_and_nothing_is_rounded(path, brief):
    assert f'd="{brief}"' in svg(f'<path d="{path}"/>')


def test_text_is_not_read_aloud_beside_the_label():
    assert "aria-hidden" not in svg("<path/>")
    made = svg("<defs/><text>a</text><path/>")
    assert made.endswith(
        'aria-label="A &quot;picture&quot;" style="stroke-linejoin:round">'
        + ('<g aria-hidden="true"><defs/><text>a</text><path/></g></svg>')
    )


@pytest.mark.parametrize(
    ("box", "is_tall"),
    [("0 0 100 46", True), ("0 0 100 45", False), ("0,0,453.6,158.4", False), ("-1.5 0 2e2 9e1", False), ("", False)],
)
def test_a_tall_picture_is_known_by_its_view_box(box, is_tall):
    assert tall(f'<svg xmlns="http://www.w3.org/2000/svg" width="9" viewBox="{box}"/>') is is_tall
