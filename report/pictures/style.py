"""One look for all figures, in `report.mplstyle`; here are names for its colours."""

from pathlib import Path

import matplotlib

LOOK = matplotlib.rc_params_from_file(Path(__file__).with_name("report.mplstyle"), use_default_template=False)

# One colour per architecture in every figure: the first ones of the palette.
COLOURS = dict(zip(("SN", "WSN", "SAUX", "CAUX"), LOOK["axes.prop_cycle"].by_key()["color"], strict=False))
OTHER = "#555555"  # all other architectures
INK, GREY, PALE = LOOK["text.color"], LOOK["axes.edgecolor"], "#F3F5F7"  # text; axes and secondary text; grounds
WIDTH = LOOK["figure.figsize"][0]  # of a figure in print, in inches


def apply() -> None:
    """Use this look for every figure drawn from now on."""
    matplotlib.rcParams.update(LOOK)
