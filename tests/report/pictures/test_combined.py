"""The drawing of all four says what their modules are, on a wide page and on a narrow one."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from lib.architectures import CAUX, SAUX, SN, WSN, Sizes, convolutionize
from report.pictures import combined, networks, style
from tests.report.pictures.test_diagrams import assert_legible, texts

FOUR = (SN, WSN, SAUX, CAUX)


def draw(narrow=False, fully_convolutional=False, **sizes):
    built = [architecture(Sizes(**sizes)) for architecture in FOUR]
    if fully_convolutional:
        built = [convolutionize(network) for network in built]
    return built, combined.draw_combined(built, 0.25, narrow)


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    "sizes",
    [{}, {"hidden": (7,)}, {"channels": (48, 128)}, {"one_hot": False}, {"fully_convolutional": True}],
    ids=str,
)
def test_every_layer_is_named_with_its_size_and_parameters(narrow, sizes):
    built, fig = draw(narrow, **sizes)
    assert_legible(fig)
    said = texts(fig)
    assert min(text.get_fontsize() for text in fig.axes[0].texts) >= combined.SIZE
    for part, words, size, parameters in networks.describe(built[0]):
        assert part == "extract_second" or ({size, *words.split(", ")} <= set(said))
        assert not parameters or f"{parameters:,}" in said
    for network in built:
        assert f"{network.parameters_per_trial:,} parameters" in said
    for network in built[2:]:
        head = [row for row in networks.describe(network) if row[0] == "auxiliary"]
        assert f"makes {', '.join(row[2] for row in head)}" in said
        assert f"{sum(row[3] for row in head):,} parameters" in said
    assert said.count("in training, loss × 0.25") == 2


def test_what_differs_is_in_the_colour_of_its_network_and_all_else_is_not():
    _, fig = draw()
    boxes = [to_hex(patch.get_edgecolor()) for patch in fig.axes[0].patches]
    counts = {name: boxes.count(colour) for name, colour in style.COLOURS.items()}
    assert counts == {"SN": 2, "WSN": 1, "SAUX": 1, "CAUX": 1}
    colours = {name: style.text(colour) for name, colour in style.COLOURS.items()}
    said = {name: [t.get_text() for t in fig.axes[0].texts if t.get_color() == c] for name, c in colours.items()}
    assert said == {"SN": ["SN"], "WSN": ["WSN"], "SAUX": ["SAUX", "≤ ?"], "CAUX": ["CAUX", "3, 7"]}
    assert {"E₁", "E₂", "C′", "N"} <= set(texts(fig))
    assert texts(fig).count("C") == 4 and texts(fig).count("E") == 3


def test_maps_are_to_scale():
    _, fig = draw()
    wide = {patch.get_label(): patch.get_width() for patch in fig.axes[0].patches if "×" in patch.get_label()}
    assert wide == {"16×6×6": 6, "32×2×2": 2}


@pytest.mark.parametrize("narrow", [False, True])
def test_it_fits_the_page(narrow):
    _, fig = draw(narrow)
    inches = {False: style.WIDTH, True: (360 - 34) / 96 - 2 * plt.rcParams["savefig.pad_inches"]}  # 17 px at each side
    assert fig.get_figwidth() <= inches[narrow] + 0.01


def test_networks_that_share_nothing_are_refused():
    with pytest.raises(ValueError, match=r"^WSN has another compare than the first network"):
        combined.draw_combined([SN(Sizes()), WSN(Sizes(hidden=(9,)))], 0.3)
