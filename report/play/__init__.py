"""Playing with the networks: train a few live, look into them, ask them; what `notebooks/explore.ipynb` is made of.

A wing of its own, for it is the only one that needs a reader who clicks: everything here works without the controls,
too, and then shows what the parameters say.
"""

from report.play.answers import Answers
from report.play.choice import PARAMETERS, Choice
from report.play.controls import choose, gallery
from report.play.inside import inside
from report.play.live import Live
from report.play.pictures import by_digits, by_distance
from report.play.shown import show
from report.play.sliding import slide
from report.play.tables import heads, tried
from report.play.twins import Twins

__all__ = [
    "PARAMETERS",
    "Answers",
    "Choice",
    "Live",
    "Twins",
    "by_digits",
    "by_distance",
    "choose",
    "gallery",
    "heads",
    "inside",
    "show",
    "slide",
    "tried",
]
