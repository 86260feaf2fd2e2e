"""A page brings the letters that its pictures use, and no others."""

import base64
import re
from io import BytesIO

import pytest
from fontTools.ttLib import TTFont

from report.press.letters import FONT, faces

FAMILY = f"font-family=\"'{FONT}', Verdana\""


def brought(*pictures):
    """What is said of each font, and the font."""
    rules = re.findall(r"@font-face\{(.*?)src:url\(data:font/woff;base64,([^)]*)\)\}", faces(pictures))
    return {said: TTFont(BytesIO(base64.b64decode(coded))) for said, coded in rules}


def letters(font):
    return {chr(code) for code in font.getBestCmap()}


def test_letters_of_all_pictures_are_in_one_font_per_face():
    one = f'<svg {FAMILY}><text>ab<tspan style="font-weight: 700">c</tspan>d</text></svg>'
    two = f'<svg {FAMILY}><g font-style="oblique"><text style="font-weight:bold">e</text></g><text>−₁</text></svg>'
    found = {said.partition(";")[2]: letters(font) for said, font in brought(one, two).items()}
    assert found == {"": set("abd−₁"), "font-weight:700;": {"c"}, "font-weight:700;font-style:italic;": {"e"}}


def test_letters_have_the_shapes_and_widths_of_matplotlib_s_font():
    [(said, font)] = brought(f"<svg {FAMILY}><text>difference</text></svg>").items()
    from matplotlib import get_data_path

    whole = TTFont(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    assert said == f'font-family:"{FONT}";'
    for code, name in font.getBestCmap().items():
        assert font["hmtx"][name] == whole["hmtx"][whole.getBestCmap()[code]]
    assert len(font.getGlyphOrder()) > len(set("difference")) + 1, "ligatures, as matplotlib sets them, are there"
    names = {each.nameID: str(each) for each in font["name"].names}
    assert "Bitstream" in names[0] and "Permission is hereby granted" in names[13], "the licence goes with the letters"


def test_the_same_pictures_give_the_same_bytes():
    assert faces([f"<svg {FAMILY}><text>zyx ab</text></svg>"]) == faces([f"<svg {FAMILY}><text>ab xyz</text></svg>"])


@pytest.mark.parametrize(
    "picture",
    [
        "<svg><text>a</text></svg>",
        '<svg font-family="serif"><text>a</text></svg>',
        f"<svg {FAMILY}><text> </text><path/></svg>",
        f'<svg {FAMILY}><text style="font-family: serif">a</text></svg>',
    ],
)
def test_what_is_set_in_another_font_or_not_at_all_needs_none(picture):
    assert faces([picture]) == ""
