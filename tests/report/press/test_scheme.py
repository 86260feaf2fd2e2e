"""A page's pictures follow its scheme, as far as their colours are of the palette."""

import pytest

from report.palette import PALETTE
from report.press import scheme
from report.press.images import harmless_svg

INK, GREY = PALETTE["ink"].light, PALETTE["grey"].light


def made(inner, attributes=""):
    source = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{inner}</svg>'
    return harmless_svg(source, "p1-", "x")


def test_colours_of_the_palette_become_variables_and_the_light_ones_stay_beside_them():
    drawn = f'<path style="fill: {INK.upper()}; fill-opacity: 0.5; stroke: none"/><text fill="{GREY}">{INK}</text>'
    page = scheme.schemed(made(drawn))
    assert page.startswith('<svg class="schemed" ')
    assert f'style="fill:var(--fig-ink,{INK});fill-opacity:0.5;stroke:none"' in page
    assert f'<text fill="var(--fig-grey,{GREY})">{INK}</text>' in page, "a colour's name in a text is no colour"


@pytest.mark.parametrize(
    ("drawn", "lacking"),
    [
        ('<path style="fill: #123456"/>', {"#123456"}),
        (f'<path fill="{INK}" stroke="red"/>', {"red"}),
        ('<path fill="rgb(1, 2, 3)"/>', {"rgb(1, 2, 3)"}),
        ('<path stroke="#fff" fill="none"/>', {"#fff"}),
        ("<text>black, as nothing is said</text>", {"#000000"}),
        (f'<g fill="{INK}"><path/></g><path/>', {"#000000"}),
        ('<stop stop-color="#123456"/>', {"#123456"}),
    ],
)
def test_a_picture_with_another_colour_stays_as_it_is(drawn, lacking):
    picture = made(drawn)
    assert scheme.strange(picture) == lacking
    assert scheme.schemed(picture) == picture


@pytest.mark.parametrize(
    "drawn",
    [
        f'<g style="fill: {INK}"><path/></g>',
        f'<defs><path id="m" d="M0 0"/></defs><use href="#m" fill="{INK}"/>',
        '<clipPath id="c"><rect width="1"/></clipPath><path clip-path="url(#c)" fill="none"/>',
        '<image href="data:image/png;base64,AA=="/><path fill="url(#a)"/>',
    ],
)
def test_what_is_inherited_or_not_drawn_or_made_of_pixels_is_no_other_colour(drawn):
    assert scheme.strange(made(drawn)) == set()


def test_a_dark_page_has_every_colour_and_a_printed_one_none():
    assert scheme.DARK.startswith("@media screen and (prefers-color-scheme:dark){:root{")
    for name, colour in PALETTE.items():
        assert f"--fig-{name}:{colour.dark}" in scheme.DARK
