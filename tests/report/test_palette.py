"""The figures' colours stand out on a light page and on a dark one, and the four networks' are told apart."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lib.machine import ROOT
from report.palette import PALETTE
from report.press.export import TEMPLATES

NETWORKS = ("sn", "wsn", "saux", "caux")
LINES = (*NETWORKS, "other", "line", "grey", "ink", "row-line", "row-bar")
TEXTS = ("ink", "grey", "other", "sn", "wsn-text", "saux-text", "caux-text")
scheme = pytest.mark.parametrize("scheme", ["light", "dark"])

# How colours look to those who lack a kind of cone, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1),
# and to those who see lightness alone.
SEEN = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}
APART = {"all": 40, "protan": 20, "deutan": 15, "grey": 3}  # least distances in CIELAB; 2.3 is just noticed
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


def linear(colour):
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(colour, ground):
    low, high = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (colour, ground))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    x, y, z = np.cbrt(XYZ @ rgb.clip(0, 1) / [0.95047, 1, 1.08883])  # no colour here is so dark that it would not hold
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def colours(names, scheme):
    return {name: getattr(PALETTE[name], scheme) for name in names}


@scheme
@pytest.mark.parametrize(("names", "least"), [(LINES, 3), (TEXTS, 4.5), (("ink",), 7)], ids=["lines", "texts", "ink"])
def test_what_is_drawn_stands_out_from_its_ground(scheme, names, least):
    css = (TEMPLATES / "report.css").read_text()
    boxes = re.findall(r"--box: (#\w+)", css)[1:2] if scheme == "dark" else []  # the abstract, where it has a figure
    for ground in (*colours(("paper", "pale") if names is TEXTS else ("paper",), scheme).values(), *boxes):
        found = {name: contrast(colour, ground) for name, colour in colours(names, scheme).items()}
        assert min(found.values()) >= least, (ground, found)


@scheme
@pytest.mark.parametrize("seen", SEEN)
def test_the_networks_are_told_apart(scheme, seen):
    places = {name: lab(SEEN[seen] @ linear(colour)) for name, colour in colours(NETWORKS, scheme).items()}
    distances = {pair: np.linalg.norm(places[pair[0]] - places[pair[1]]) for pair in itertools.combinations(places, 2)}
    assert min(distances.values()) >= APART[seen], distances


def test_a_colour_of_a_light_page_has_one_counterpart():
    lights = [colour.light for colour in PALETTE.values()]
    assert len(lights) == len(set(lights))
    for colour in itertools.chain(*PALETTE.values()):
        assert re.fullmatch("#[0-9a-f]{6}", colour), "as matplotlib writes it"


@scheme
def test_paper_is_the_page_s(scheme):
    found = re.findall(r"--paper: (#\w+)", (TEMPLATES / "report.css").read_text())[scheme == "dark"]
    assert to_rgb(found) == to_rgb(getattr(PALETTE["paper"], scheme))


WRITTEN = r"""["'](#[0-9a-f]{3,8}|white|black|red|green|blue|gr[ae]y|C\d)["']|(colou?r|[fe]c)="[\d.]+\""""
DRAWING = [*sorted((ROOT / "report" / "pictures").glob("*.py")), ROOT / "report" / "speed" / "tables.py"]


@pytest.mark.parametrize("path", DRAWING, ids=lambda path: path.stem)
def test_no_figure_names_a_colour_by_itself(path):
    code = path.read_text(encoding="utf-8").replace('LIGHT["grey"]', "")
    assert not (found := re.search(WRITTEN, code, re.I)), found
