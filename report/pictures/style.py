"""One look for all figures: `report.mplstyle`, and the colours of `report.palette`, which have names here."""

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from cycler import cycler

from report.palette import PALETTE

LIGHT = {name: colour.light for name, colour in PALETTE.items()}  # figures are drawn so; a dark page changes them
INK, GREY = LIGHT["ink"], LIGHT["grey"]  # text; axes and secondary text
PAPER, PALE, GRID, RULE, LINE = (LIGHT[name] for name in ("paper", "pale", "grid", "rule", "line"))

# One colour per architecture in every figure.
COLOURS = {name: LIGHT[name.lower()] for name in ("SN", "WSN", "SAUX", "CAUX")}
OTHER = LIGHT["other"]  # all other architectures
LINES = dict(zip(COLOURS, ("-", "--", "-.", (0, (1, 1.2))), strict=True))  # and without colours
MARKS = dict(zip(COLOURS, "osD^", strict=True))

FILE = Path(__file__).with_name("report.mplstyle")
LOOK: Any = matplotlib.rc_params_from_file(FILE, use_default_template=False)  # its names are no plain text for mypy
LOOK |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK)
LOOK |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), GREY)
LOOK |= dict.fromkeys(("figure.facecolor", "axes.facecolor"), PAPER) | {"grid.color": GRID}
LOOK["axes.prop_cycle"] = cycler("color", [*COLOURS.values(), LIGHT["amber"], LIGHT["sky"], INK])

WIDTH = LOOK["figure.figsize"][0]  # of a figure in print, in inches
NARROW = 3.19  # of one for a page as wide as a telephone (360 pixels), on which SMALL are ten pixels
SMALL = 7.5  # points


def text(colour: str) -> str:
    """Return the colour in which a line of this `colour` is named: its own, or one that has the contrast of text."""
    name = next((name for name, light in LIGHT.items() if light == colour), "")
    return LIGHT.get(f"{name}-text", colour)


def apply() -> None:
    """Use this look for every figure drawn from now on, over matplotlib's own defaults: no matplotlibrc has a say.

    What is kept is where figures are shown, which is no matter of looks: the backend, and whether it is interactive.
    """
    plt.switch_backend(matplotlib.get_backend())  # a notebook's brings settings of its own when it is loaded: so now
    shown = ("backend", "backend_fallback", "interactive")
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in shown}
    matplotlib.rcParams.update(defaults | LOOK)
