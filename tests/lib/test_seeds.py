"""The random streams: what they draw must not change, and none is another's."""

import pytest

from lib import seeds
from lib.architectures import CAUX, Sizes, build


def test_golden_order_of_the_training_pairs():
    assert seeds.generator(2022, 0, "order").permutation(20)[:8].tolist() == [15, 16, 13, 5, 0, 7, 1, 17]


@pytest.mark.parametrize(
    ("purpose", "layer", "first"),
    [
        ("dropout", "", [7, 0, 12, 16, 10, 9, 13, 11]),
        ("dropout", "compare.1", [14, 9, 16, 1, 2, 6, 18, 12]),
        ("pairing", "", [13, 17, 19, 14, 0, 2, 16, 10]),
        ("final", "", [11, 17, 3, 1, 0, 10, 9, 7]),
    ],
)
def test_golden_streams(purpose, layer, first):
    assert seeds.generator(2022, 0, purpose, layer).permutation(20)[:8].tolist() == first


def test_golden_initial_weights():
    network = build(CAUX, Sizes(), fully_convolutional=False, seed=2022, trials=range(1))
    first = [0.2545514404773712, -0.04476521536707878, 0.2034844607114792, -0.31678661704063416]
    matrix = [0.03892580419778824, 0.021724758669734, -0.04209495335817337, -0.037514254450798035]
    assert network.extract[0].weight[0, 0].flatten()[:4].tolist() == first
    assert network.compare[1].weight[0, 0, :4].tolist() == matrix
    assert network.compare[1].bias[0, :2].tolist() == [-0.005971611011773348, 0.04528219625353813]


def test_each_purpose_trial_layer_and_seed_has_a_stream_of_its_own():
    streams = [
        *((2022, trial, purpose) for trial in (0, 1) for purpose in seeds.PURPOSES),
        *((2022, 0, "weights", layer) for layer in ("extract.0", "extract.1", "extract_second.0", "compare.1")),
        *((2022, 0, "dropout", layer) for layer in ("compare.1", "compare.2")),
        (2023, 0, "data"),
    ]
    heads = [tuple(seeds.generator(*stream).integers(2**62, size=2)) for stream in streams]
    assert len(set(heads)) == len(streams)


def test_the_numbers_of_purposes_are_never_reused():
    assert seeds.PURPOSES == {"data": 0, "weights": 1, "order": 2, "dropout": 3, "pairing": 4, "final": 5}
