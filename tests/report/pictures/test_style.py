"""The look of the figures is the report's own, whatever a user has set for matplotlib."""

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from report.pictures import style

# What a user might like, of every sort: TeX, colours, sizes, fonts, marks, a hand-drawn line, zones of time.
LIKED = {
    "text.usetex": True,
    "axes.facecolor": "black",
    "savefig.facecolor": "black",
    "savefig.transparent": True,
    "savefig.pad_inches": 2,
    "savefig.bbox": "tight",
    "font.family": ["serif"],
    "mathtext.fontset": "stix",
    "axes.formatter.use_locale": True,
    "path.sketch": (1, 100, 2),
    "lines.marker": "o",
    "image.cmap": "hot",
    "xtick.direction": "in",
    "legend.shadow": True,
    "svg.image_inline": False,
    "svg.fonttype": "none",
    "timezone": "Asia/Tokyo",
    "date.epoch": "2000-01-01",
}


def test_nothing_that_a_user_has_set_is_left():
    with matplotlib.rc_context():
        style.apply()
        expected = dict(matplotlib.rcParams)
        matplotlib.rcParams.update(LIKED)
        style.apply()
        assert dict(matplotlib.rcParams) == expected
        for name, value in (matplotlib.rcParamsDefault | style.LOOK).items():
            assert name in ("backend", "interactive") or matplotlib.rcParams[name] == value, name


def luminance(colour):
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_lines_stand_out_from_their_ground_and_are_told_apart_without_colours():
    for colour in (*style.COLOURS.values(), style.OTHER, style.INK, style.GREY):
        assert 1.05 / (luminance(colour) + 0.05) >= 3, colour
    assert 1.05 / (luminance(style.INK) + 0.05) >= 7
    assert len(set(style.LINES.values())) == len(set(style.MARKS.values())) == len(style.COLOURS)


def test_a_narrow_figure_fits_a_page_of_360_pixels_and_its_small_text_has_ten():
    inches = style.NARROW + 2 * matplotlib.rcParamsDefault["savefig.pad_inches"]
    assert 96 * inches <= 360 - 2 * 17  # the margins of the page
    assert style.SMALL / 72 * 96 == 10


@pytest.mark.parametrize("interactive", [False, True])
def test_where_figures_are_shown_is_the_users_own(interactive):
    with matplotlib.rc_context({"interactive": interactive}):
        backend = matplotlib.get_backend()
        style.apply()
        assert matplotlib.is_interactive() == interactive and matplotlib.get_backend() == backend


@pytest.mark.parametrize("liked", [{"text.usetex": True}, {"axes.facecolor": "black"}, {"savefig.pad_inches": 2}])
def test_the_same_figure_is_drawn(tmp_path, liked):
    def drawn(name):
        style.apply()
        figure = Figure()
        figure.add_subplot(title="one", xlabel="$x_1$").plot([1, 2], label="a")
        figure.savefig(tmp_path / name, format="svg", bbox_inches="tight", metadata={"Date": None})
        return (tmp_path / name).read_bytes()

    with matplotlib.rc_context():
        before = drawn("a.svg")
        matplotlib.rcParams.update(liked)
        assert drawn("b.svg") == before
