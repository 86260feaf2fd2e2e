"""One look for all figures: colours that colour-blind readers can tell apart, DejaVu Sans, text as outlines in SVG."""

import matplotlib
from cycler import cycler

# One colour per architecture in every figure, from the palette of Okabe and Ito.
COLOURS = {"SN": "#0072B2", "WSN": "#D55E00", "SAUX": "#009E73", "CAUX": "#CC79A7"}
INK, GREY, PALE = "#1F2933", "#66707A", "#F3F5F7"  # text and lines; secondary text; the ground of a group
WIDTH = 6.3  # of a figure in print, in inches: 16 cm

RC = {
    "figure.figsize": (WIDTH, 3.9),
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E9EC",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=[*COLOURS.values(), "#E69F00", "#56B4E9", "#000000"]),
    "svg.fonttype": "path",  # text as outlines: the same in the browser, in Typst and without the font
    "svg.hashsalt": "pairs-of-digits",  # the same bytes each time
    "pdf.fonttype": 42,
}


def apply() -> None:
    """Use this look for every figure drawn from now on."""
    matplotlib.rcParams.update(RC)
