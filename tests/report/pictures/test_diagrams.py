"""The diagrams say what the modules are, and nothing overlaps."""

import itertools
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from torch import nn

from lib.architectures import ARCHITECTURES, Network, Outputs, Sizes, build, extractor, head
from lib.layers import ConvBlock, Flatten, Linear
from report.pictures import diagrams, style

ONE_HOT, SINGLE = {}, {"outputs": 1, "digit_outputs": 1}


def network(name, *, fully_convolutional=False, **sizes):
    return build(ARCHITECTURES[name], Sizes(**sizes), fully_convolutional=fully_convolutional, seed=1, trials=range(1))


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


class Difference(Network):
    """Layers of its own, no parts of the usual names, one extractor called twice and a question of its own."""

    auxiliary_task = "parity"

    def __init__(self, sizes):
        super().__init__(sizes)
        self.look = extractor(sizes)
        self.embed = nn.Sequential(Flatten(sizes.maps), Linear(sizes.trials, 128, 20), nn.Tanh())
        self.judge = nn.Sequential(Linear(sizes.trials, 20, 1000), nn.LeakyReLU(), Linear(sizes.trials, 1000, 2))
        self.a_rather_long_name = head(sizes, sizes.maps, (8,), 2)
        self.scale = nn.Parameter(torch.ones(sizes.trials, 1, 1))

    def forward(self, images):
        maps = [self.look(images[:, :, i : i + 1].unsqueeze(3)).flatten(2, 3) for i in (0, 1)]
        difference = self.scale * (self.embed(maps[0]) - self.embed(maps[1]))
        return Outputs(self.judge(difference), self.a_rather_long_name(torch.cat(maps, dim=1)))


class Headless(Network):
    """The answer is no child's output."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.left, self.right = extractor(sizes), extractor(sizes)

    def forward(self, images):
        first, second = images.unsqueeze(3).split(1, dim=2)
        return Outputs((self.left(first) - self.right(second)).flatten(2)[..., :2])


class Early(Network):
    """The digits meet before the first layer."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.both = nn.Sequential(ConvBlock(sizes.trials, 2, 8, 14))
        self.compare = head(sizes, (8, 6, 6), (64,), sizes.outputs)

    def forward(self, images):
        return Outputs(self.compare(self.both(images.unsqueeze(2)).flatten(2, 3)))


@pytest.mark.parametrize("encoding", [ONE_HOT, SINGLE], ids=["one-hot", "single"])
@pytest.mark.parametrize("fully_convolutional", [False, True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_form_is_legible_and_its_parameters_add_up(name, fully_convolutional, encoding):
    net = network(name, fully_convolutional=fully_convolutional, **encoding)
    fig = diagrams.draw_architecture(net, auxiliary_weight=0.3)
    assert_legible(fig)
    assert sum(row[-1] for row in diagrams.describe(net)) == net.parameters_per_trial
    assert any(text.endswith(f"{net.parameters_per_trial:,} parameters (grey: in each layer)") for text in texts(fig))
    assert any("fully convolutional" in text for text in texts(fig)) == fully_convolutional


@pytest.mark.parametrize("architecture", [Difference, Headless, Early])
def test_a_network_from_elsewhere_is_drawn_too(architecture):
    net = architecture(Sizes(trials=2))
    assert_legible(diagrams.draw_architecture(net, auxiliary_weight=0.1))
    assert sum(row[-1] for row in diagrams.describe(net)) == net.parameters_per_trial
    assert architecture.__name__ in diagrams.alt_text(net)


def test_roles_follow_from_the_run_and_not_from_the_names():
    lanes = {lane.name: lane for lane in diagrams.read(Difference(Sizes()))}
    assert [(lane.digits, lane.auxiliary, lane.answers) for lane in lanes.values()] == [
        (2, False, ""),
        (2, False, ""),
        (0, False, "first ≤ second?"),
        (2, True, "a_rather_long_name"),
    ]


@pytest.mark.parametrize("fully_convolutional", [False, True])
@pytest.mark.parametrize(
    "sizes", [{"hidden": (7,)}, {"hidden": (512, 256, 128, 96, 48)}, {"channels": (48, 128), "auxiliary_hidden": 999}]
)
def test_other_sizes_change_what_the_drawing_says_and_stay_legible(sizes, fully_convolutional):
    net = network("CAUX", fully_convolutional=fully_convolutional, **sizes)
    fig = diagrams.draw_architecture(net)
    assert_legible(fig)
    usual = texts(diagrams.draw_architecture(network("CAUX", fully_convolutional=fully_convolutional)))
    said = texts(fig)
    assert said != usual
    for _, words, size, parameters in diagrams.describe(net):
        assert size in said and set(words.split(", ")) <= set(said)
        assert not parameters or f"{parameters:,}" in said
    for size in sizes.get("hidden", [999]):
        assert f"{size}×1×1" * fully_convolutional or str(size) in said


def test_what_is_shared_and_what_only_helps_training():
    said = {name: texts(diagrams.draw_architecture(network(name), auxiliary_weight=0.25)) for name in ARCHITECTURES}
    shared, helps = "shared weights, one digit after the other", "helps training only, loss × 0.25"
    assert [shared in said[name] for name in ARCHITECTURES] == [False, True, True, True]
    assert [helps in said[name] for name in ARCHITECTURES] == [False, False, True, True]
    assert [said[name].count("second?") for name in ARCHITECTURES] == [1, 1, 2, 1]
    assert [said[name].count("each digit") for name in ARCHITECTURES] == [0, 0, 0, 1]
    assert [said[name].count("conv 3×3") for name in ARCHITECTURES] == [4, 2, 2, 2]
    assert all("concatenate" in said[name] for name in ARCHITECTURES)
    assert "helps training only" in texts(diagrams.draw_architecture(network("SAUX")))


def test_the_four_have_one_geometry():
    figures = {name: diagrams.draw_architecture(network(name)) for name in ARCHITECTURES}
    assert {fig.get_figwidth() for fig in figures.values()} == {style.WIDTH}

    def places(fig):  # from the upper left corner
        return {(t.get_text(), *t.get_position()) for t in fig.axes[0].texts if t.get_text() in ("Linear", "256", "64")}

    assert places(figures["SN"]) == places(figures["WSN"]) < places(figures["SAUX"])


def test_the_table_has_a_row_per_layer():
    assert diagrams.describe(network("WSN")) == [
        ("extract", "conv 3×3, batch norm, max pool 2×2, ReLU", "16×6×6", 176),
        ("extract", "conv 3×3, batch norm, max pool 2×2, ReLU", "32×2×2", 4672),
        ("compare", "Flatten", "256", 0),
        ("compare", "Linear, ReLU", "64", 16448),
        ("compare", "Linear, ReLU", "64", 4160),
        ("compare", "Linear, ReLU", "32", 2080),
        ("compare", "Linear, Sigmoid", "2", 66),
    ]
    assert "Sigmoid" not in diagrams.describe(network("WSN", sigmoid=False))[-1][1]


def test_the_alternative_text_says_the_sizes_the_roles_and_the_total():
    text = diagrams.alt_text(network("CAUX", hidden=(50, 20)))
    for part in ("CAUX", "one after the other", "256, 50, 20, 2", "for training only", "class of each digit"):
        assert part in text
    assert f"{network('CAUX', hidden=(50, 20)).parameters_per_trial:,} parameters" in text
    assert "training only" not in diagrams.alt_text(network("SN"))


def test_looking_changes_nothing():
    net = build("CAUX", Sizes(trials=3), fully_convolutional=False, seed=1, trials=range(3), dtype=torch.float64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    diagrams.draw_architecture(net)
    assert net.training and all(not module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_stack_is_drawn_as_one_of_its_trials():
    stack = build("SAUX", Sizes(trials=4), fully_convolutional=False, seed=1, trials=range(4))
    assert texts(diagrams.draw_architecture(stack)) == texts(diagrams.draw_architecture(network("SAUX")))


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_network_gives_the_same_bytes(kind):
    def drawn(images=None):
        style.apply()
        file = BytesIO()
        metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"]) if kind == "svg" else None
        diagrams.draw_architecture(network("CAUX"), images).savefig(file, format=kind, metadata=metadata)
        return file.getvalue()

    assert drawn() == drawn()
    assert drawn() != drawn(np.eye(14)[None].repeat(2, axis=0))
