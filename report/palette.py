"""The colours of all figures, for a light page and for a dark one: the one place where such a colour is written."""

from typing import NamedTuple


class Colour(NamedTuple):
    """A colour on a light page, in print and in files of their own, and what takes its place on a dark page."""

    light: str
    dark: str


PALETTE = {
    "paper": Colour("#ffffff", "#15191f"),  # what lies behind a figure
    "pale": Colour("#f3f5f7", "#1e242c"),  # grounds
    "grid": Colour("#e6e9ec", "#2b323b"),
    "rule": Colour("#c9cfd5", "#46505c"),  # frames
    "ink": Colour("#1f2933", "#e3e8ee"),
    "grey": Colour("#5a646e", "#a3aeba"),  # axes and secondary text
    "line": Colour("#4a5560", "#a9b4c0"),  # of drawings
    "other": Colour("#555555", "#b4bac1"),  # architectures that are none of the four
    # Of the palette of Okabe and Ito, which colour-blind readers can tell apart; on a dark page as far apart, and more
    # so where only lightness is seen.
    "sn": Colour("#0072b2", "#3b8fd6"),
    "wsn": Colour("#d55e00", "#f5803a"),
    "saux": Colour("#009e73", "#2fc796"),
    "caux": Colour("#cc79a7", "#f7addd"),
    "amber": Colour("#e69f00", "#f0b429"),
    "sky": Colour("#56b4e9", "#7cc8f2"),
    # The same as text, which needs more contrast.
    "wsn-text": Colour("#b34f00", "#f5803a"),
    "saux-text": Colour("#007a59", "#2fc796"),
    "caux-text": Colour("#a8527f", "#f7addd"),
    # What layers make, in drawings: maps of both digits, of the first and of the second, and features.
    "both": Colour("#d9e7f2", "#22374b"),
    "first": Colour("#b4cfe5", "#315577"),
    "second": Colour("#6e9dc6", "#4f86b8"),
    "features": Colour("#f4dbb3", "#574420"),
    # Of pictures in the rows of tables, which are images of their own: no page can change them.
    "row-shade": Colour("#9aa0a6", "#9aa0a6"),
    "row-line": Colour("#6b7280", "#6b7280"),
    "row-bar": Colour("#2b88d8", "#2b88d8"),
}
