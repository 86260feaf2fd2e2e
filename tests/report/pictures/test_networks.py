"""What is read from a network is what it is made of."""

import torch
from torch import nn

from lib.architectures import CAUX, SN, WSN, Network, Sizes, extractor, head
from lib.layers import Flatten, Linear
from lib.tasks import CLASSES, COMPARISON
from report.pictures import networks


class Difference(Network):
    """Layers that the four lack, one of them called twice, and two auxiliary heads, called before the answer."""

    heads = {"answer": COMPARISON, "classes": CLASSES, "again": COMPARISON}  # noqa: RUF012  # declared as ClassVar in Network

    def __init__(self, sizes):
        super().__init__(sizes)
        self.look = extractor(sizes)
        self.embed = nn.Sequential(Flatten(sizes.maps), Linear(sizes.trials, 128, 20), nn.Tanh())
        self.recur = nn.GRU(20, 20)  # makes no tensor but two
        self.judge = nn.Sequential(Linear(sizes.trials, 20, 50), nn.LeakyReLU(), Linear(sizes.trials, 50, 2))
        self.name = head(sizes, sizes.maps, (8,), CLASSES)
        self.repeat = nn.Sequential(Linear(sizes.trials, 20, 2))

    def forward(self, images):
        maps = self.look(images.unsqueeze(3))
        first, second = (self.embed(maps[:, :, i]) for i in (0, 1))
        difference, _ = self.recur(first - second)
        classes = self.name(maps.flatten(1, 2)).unflatten(1, (-1, 2))
        return {"again": self.repeat(difference), "classes": classes, "answer": self.judge(difference)}


def test_the_table_has_a_row_per_layer():
    assert networks.describe(WSN(Sizes())) == [
        ("extract", "conv 3×3, batch norm, max pool 2×2, ReLU", "16×6×6", 176),
        ("extract", "conv 3×3, batch norm, max pool 2×2, ReLU", "32×2×2", 4672),
        ("compare", "Flatten", "256", 0),
        ("compare", "Linear, ReLU", "64", 16448),
        ("compare", "Linear, ReLU", "64", 4160),
        ("compare", "Linear, ReLU", "32", 2080),
        ("compare", "Linear, Sigmoid", "2", 66),
    ]
    assert "Sigmoid" not in networks.describe(WSN(Sizes(sigmoid=False)))[-1][1]


def test_another_network_has_a_table_too():
    net = Difference(Sizes())
    rows = networks.describe(net)
    assert rows[2:6] == [
        ("embed", "Flatten", "128", 0),
        ("embed", "Linear, Tanh", "20", 2580),
        ("judge", "Linear, LeakyReLU", "50", 1050),
        ("judge", "Linear", "2", 102),
    ]
    assert [row[0] for row in rows[6:]] == ["name", "name", "name", "repeat", "other"]  # auxiliary ones last
    assert rows[-1] == ("other", "parameters outside these layers", "", 2520)
    assert sum(row[-1] for row in rows) == net.parameters_per_trial


def test_heads_follow_from_the_run_and_not_from_the_names():
    heads = {lane.name: lane.head for lane in networks.read_network(Difference(Sizes()))}
    assert heads == {"look": "", "embed": "", "judge": "answer", "name": "classes", "repeat": "again"}


def test_the_alternative_text_says_the_sizes_the_roles_and_the_total():
    net = CAUX(Sizes(hidden=(50, 20)))
    text = networks.alt_text(net)
    for part in ("CAUX", "one after the other", "256, 50, 20, 2", "for training only", "class of each digit"):
        assert part in text
    assert f"{net.parameters_per_trial:,} parameters" in text
    assert "training only" not in networks.alt_text(SN(Sizes()))


def test_reading_changes_nothing():
    net = CAUX(Sizes(trials=3)).double()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    networks.read_network(net)
    assert net.training and all(not module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
