"""The diagrams say what the modules are, and nothing overlaps."""

import itertools
from io import BytesIO

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch

from lib.architectures import CAUX, SAUX, SN, WSN, Sizes, convolutionize
from report.pictures import diagrams, networks, style

four = pytest.mark.parametrize("architecture", diagrams.DRAWN, ids=lambda each: each.__name__)
both_forms = pytest.mark.parametrize("fully_convolutional", [False, True], ids=["mixed", "fully convolutional"])


def network(architecture, fully_convolutional=False, **sizes):
    net = architecture(Sizes(**sizes))
    return convolutionize(net) if fully_convolutional else net


def draw(net):
    return diagrams.draw_architecture(net, auxiliary_weight=0.25)


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts]


def assert_legible(fig):
    """Texts overlap neither each other nor the edge of a box nor that of the figure."""
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in fig.axes[0].texts]
    frames = [patch.get_window_extent() for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]

    def inside(box, frame):
        return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1

    for (a, box), (b, other) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other), f"{a!r} overlaps {b!r}"
    for text, box in boxes:
        assert inside(box, fig.bbox), f"{text!r} leaves the figure"
        for frame in frames:
            assert inside(box, frame) or not box.overlaps(frame), f"{text!r} crosses the edge of a box"


@pytest.mark.parametrize("one_hot", [True, False], ids=["one-hot", "single"])
@both_forms
@four
def test_every_form_is_legible_and_its_parameters_add_up(architecture, fully_convolutional, one_hot):
    net = network(architecture, fully_convolutional, one_hot=one_hot)
    fig = draw(net)
    assert_legible(fig)
    assert sum(row[-1] for row in networks.describe(net)) == net.parameters_per_trial
    assert any(text.endswith(f"{net.parameters_per_trial:,} parameters (grey: in each layer)") for text in texts(fig))
    assert any("fully convolutional" in text for text in texts(fig)) == fully_convolutional


@both_forms
@pytest.mark.parametrize(
    "sizes", [{"hidden": (7,)}, {"hidden": (512, 256, 128, 96, 48)}, {"channels": (48, 128), "auxiliary_hidden": 999}]
)
def test_other_sizes_change_what_the_drawing_says_and_stay_legible(sizes, fully_convolutional):
    net = network(CAUX, fully_convolutional, **sizes)
    fig = draw(net)
    assert_legible(fig)
    said = texts(fig)
    assert said != texts(draw(network(CAUX, fully_convolutional)))
    for _, words, size, parameters in networks.describe(net):
        assert size in said and set(words.split(", ")) <= set(said)
        assert not parameters or f"{parameters:,}" in said
    for size in sizes.get("hidden", [999]):
        assert f"{size}×1×1" * fully_convolutional or str(size) in said


def test_what_is_shared_and_what_only_helps_training():
    said = [texts(draw(network(architecture))) for architecture in (SN, WSN, SAUX, CAUX)]
    shared, helps = "shared weights, one digit after the other", "helps training only, loss × 0.25"
    assert [shared in each for each in said] == [False, True, True, True]
    assert [helps in each for each in said] == [False, False, True, True]
    assert [each.count("second?") for each in said] == [1, 1, 2, 1]
    assert [each.count("each digit") for each in said] == [0, 0, 0, 1]
    assert [each.count("conv 3×3") for each in said] == [4, 2, 2, 2]
    assert all("concatenate" in each for each in said)


def test_the_four_have_one_geometry():
    sn, wsn, saux, caux = (draw(network(architecture)) for architecture in (SN, WSN, SAUX, CAUX))
    assert {fig.get_figwidth() for fig in (sn, wsn, saux, caux)} == {style.WIDTH}

    def places(fig):  # from the upper left corner
        return {(t.get_text(), *t.get_position()) for t in fig.axes[0].texts if t.get_text() in ("Linear", "256", "64")}

    assert places(sn) == places(wsn) < places(saux)


def test_a_stack_is_drawn_as_one_of_its_trials():
    assert texts(draw(network(SAUX, trials=4))) == texts(draw(network(SAUX)))


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_network_gives_the_same_bytes(kind):
    def drawn(**sizes):
        style.apply()
        file = BytesIO()
        metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"]) if kind == "svg" else None
        draw(network(CAUX, **sizes)).savefig(file, format=kind, metadata=metadata)
        return file.getvalue()

    assert drawn() == drawn()
    assert drawn() != drawn(hidden=(7,))


def test_another_network_is_refused_in_one_sentence():
    class Other(WSN):
        pass

    assert diagrams.drawable(network(WSN)) and not diagrams.drawable(network(Other))
    with pytest.raises(ValueError, match=r"^Other cannot be drawn, only SN, WSN, SAUX and CAUX"):
        draw(network(Other))
