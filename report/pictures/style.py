"""One look for all figures, in `report.mplstyle`; here are names for its colours."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

LOOK = matplotlib.rc_params_from_file(Path(__file__).with_name("report.mplstyle"), use_default_template=False)

# One colour per architecture in every figure: the first ones of the palette.
COLOURS = dict(zip(("SN", "WSN", "SAUX", "CAUX"), LOOK["axes.prop_cycle"].by_key()["color"], strict=False))
OTHER = "#555555"  # all other architectures
LINES = dict(zip(COLOURS, ("-", "--", "-.", (0, (1, 1.2))), strict=True))  # and without colours
MARKS = dict(zip(COLOURS, "osD^", strict=True))
INK, GREY, PALE = LOOK["text.color"], LOOK["axes.edgecolor"], "#F3F5F7"  # text; axes and secondary text; grounds
WIDTH = LOOK["figure.figsize"][0]  # of a figure in print, in inches
NARROW = 3.19  # of one for a page as wide as a telephone (360 pixels), on which SMALL are ten pixels
SMALL = 7.5  # points


def apply() -> None:
    """Use this look for every figure drawn from now on, over matplotlib's own defaults: no matplotlibrc has a say.

    What is kept is where figures are shown, which is no matter of looks: the backend, and whether it is interactive.
    """
    plt.switch_backend(matplotlib.get_backend())  # a notebook's brings settings of its own when it is loaded: so now
    shown = ("backend", "backend_fallback", "interactive")
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in shown}
    matplotlib.rcParams.update(defaults | LOOK)
