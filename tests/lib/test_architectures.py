"""The four architectures: their sizes, their starts, that both forms are one function; and own architectures."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lib import Experiment, seeds
from lib.architectures import CAUX, WSN, Sizes, build, convolutionize
from lib.datasets import IMAGE
from lib.foreign import find
from lib.layers import Conv2d, Flatten, Linear
from lib.registry import NETWORKS
from tests.lib.stacks import SEED, compiled, make, noise, teacher, weights

every = pytest.mark.parametrize(("architecture", "one_hot"), list(itertools.product(NETWORKS, (True, False))))
forms = pytest.mark.parametrize("convolutional", [False, True], ids=["mixed", "convolutional"])
LOSSES = ("train_loss", "test_loss", "auxiliary_train_loss", "auxiliary_test_loss")

# ---------------------------------------------------------------- sizes


# An extractor: 16 * 9 weights, 2 * 16 of the normalisation; 32 * 16 * 9 and 2 * 32:         144 + 32 + 4608 + 64 = 4848
# Comparison on 2 * 32 * 2 * 2 = 256 features: 256 * 64 + 64, 64 * 64 + 64, 64 * 32 + 32:  16448 + 4160 + 2080 = 22688
#   and its outputs: two, 32 * 2 + 2 = 66, or one, 32 + 1 = 33:                                        22754 or 22721
# SAUX's second head: 256 * 64 + 64, and 64 * 2 + 2 = 130 or 64 + 1 = 65:                              16578 or 16513
# CAUX's head on one digit's 128 features: 128 * 64 + 64 = 8256, and 64 * 10 + 10 = 650 or 65:           8906 or 8321
COUNTS = {
    ("SN", True): 32_450,  # 2 * 4848 + 22754
    ("SN", False): 32_417,  # 2 * 4848 + 22721
    ("WSN", True): 27_602,  # 4848 + 22754
    ("WSN", False): 27_569,  # 4848 + 22721
    ("SAUX", True): 44_180,  # 4848 + 22754 + 16578
    ("SAUX", False): 44_082,  # 4848 + 22721 + 16513
    ("CAUX", True): 36_508,  # 4848 + 22754 + 8906
    ("CAUX", False): 35_890,  # 4848 + 22721 + 8321
}


@every
@forms
def test_the_number_of_parameters(architecture, one_hot, convolutional):
    network = make(architecture, convolutional=convolutional, one_hot=one_hot, trials=3)
    assert network.parameters_per_trial == COUNTS[architecture, one_hot]


@every
@forms
def test_the_shapes_of_the_outputs(architecture, one_hot, convolutional):
    network = make(architecture, convolutional=convolutional, one_hot=one_hot, trials=3)
    ones = (1, 1) if convolutional else ()
    expected = {"answer": (3, 5, 2 if one_hot else 1, *ones)}
    if architecture == "SAUX":
        expected["auxiliary"] = (3, 5, 2 if one_hot else 1, *ones)
    if architecture == "CAUX":
        expected["auxiliary"] = (3, 5, 2, 10 if one_hot else 1, *ones)
    assert {head: values.shape for head, values in network(noise(3, 5, 2, 14, 14)).items()} == expected
    assert network.heads.keys() == expected.keys()


@pytest.mark.parametrize("architecture", NETWORKS)
@forms
def test_other_sizes_work(architecture, convolutional):
    network = make(architecture, convolutional=convolutional, channels=(3, 5), hidden=(7,), auxiliary_hidden=4)
    block = network.extract
    assert (block[0].weight.shape, block[1].weight.shape) == ((2, 3, 1, 3, 3), (2, 5, 3, 3, 3))
    widths = [layer.weight.shape[1] for layer in network.compare if isinstance(layer, Linear | Conv2d)]
    assert widths == [7, 2]
    history = teacher().train(network, epochs=1, batch_size=25)
    assert np.isfinite(history.array("train_loss")).all()


@pytest.mark.parametrize("architecture", NETWORKS)
@forms
def test_every_head_ends_in_a_sigmoid_and_none_without_it(architecture, convolutional):
    for sigmoid in (True, False):
        network = make(architecture, convolutional=convolutional, sigmoid=sigmoid)
        for head in [network.compare, *([network.auxiliary] if "auxiliary" in network.heads else [])]:
            assert isinstance(head[-1], nn.Sigmoid) == sigmoid
        for values in network(20 * noise(2, 30, 2, 14, 14)).values():
            inside = (values >= 0).all() and (values <= 1).all()
            assert inside == sigmoid


SIGMOIDS = [
    ("SN", ("answer",)),
    ("WSN", ()),
    ("SAUX", ("answer",)),
    ("SAUX", ("auxiliary",)),
    ("CAUX", ("answer",)),
    ("CAUX", ("auxiliary",)),
    ("CAUX", ("answer", "auxiliary")),
    ("tests.lib.own:Heads", ("digits", "total")),
]


@pytest.mark.parametrize(("architecture", "sigmoids"), SIGMOIDS)
@pytest.mark.parametrize("one_hot", [True, False])
@forms
def test_the_heads_that_are_named_end_in_a_sigmoid_and_the_others_do_not(
    architecture, sigmoids, one_hot, convolutional
):
    network = make(architecture, convolutional=convolutional, one_hot=one_hot, sigmoids=sigmoids)
    without = make(architecture, convolutional=convolutional, one_hot=one_hot, sigmoid=False)
    images = 20 * noise(2, 30, 2, 14, 14)
    with torch.no_grad():
        outputs, bare = network(images), without(images)
    for head, values in outputs.items():
        assert bool((values >= 0).all() and (values <= 1).all()) == (head in sigmoids), head
        assert torch.equal(values, bare[head].sigmoid() if head in sigmoids else bare[head]), head


def test_sigmoids_by_head_count_whatever_sigmoid_says_and_change_no_initial_weight():
    for sigmoid in (True, False):
        network = make("CAUX", sigmoid=sigmoid, sigmoids=("auxiliary",))
        assert isinstance(network.auxiliary[-1], nn.Sigmoid) and not isinstance(network.compare[-1], nn.Sigmoid)
        for name, value in weights(make("CAUX")).items():
            assert torch.equal(value, weights(network)[name]), name


# ---------------------------------------------------------------- initial weights


def test_layers_of_the_same_name_and_shape_start_equal_in_all_architectures():
    stacks = {name: weights(make(name)) for name in NETWORKS}
    for (_, one), (_, two) in itertools.combinations(stacks.items(), 2):
        for name in one.keys() & two.keys():
            weight = f"{name.rpartition('.')[0]}.weight"
            if one[weight].shape == two[weight].shape:  # the auxiliary heads read one digit, or two
                assert torch.equal(one[name], two[name]), name
    shared = {name for name in stacks["WSN"] if all(name in stack for stack in stacks.values())}
    assert shared == set(stacks["WSN"]), "extract and compare are in all four"
    assert not torch.equal(stacks["SN"]["extract.0.weight"], stacks["SN"]["extract_second.0.weight"])


def test_the_start_of_a_trial_depends_on_neither_the_stack_nor_the_form_nor_the_dtype():
    stack = make("CAUX", trials=3)
    alone = build(CAUX, Sizes(), fully_convolutional=False, seed=SEED, trials=range(2, 3), dtype=torch.float64)
    for name, value in weights(stack).items():
        assert torch.equal(value[2:], weights(alone)[name]), name
    single = make("CAUX", trials=3, dtype=torch.float32)
    for (name, value), whole in zip(weights(single).items(), weights(stack).values(), strict=True):
        assert value.dtype == torch.float32 and torch.equal(value, whole.float()), name
    form = make("CAUX", trials=3, convolutional=True)
    for value, whole in zip(weights(form).values(), weights(stack).values(), strict=True):
        assert torch.equal(value.flatten(), whole.flatten())


def test_trials_and_seeds_start_differently():
    stack = make("WSN", trials=2)
    other = make("WSN", trials=2, seed=4)
    for name, value in weights(stack).items():
        if not name.endswith(("gamma", "beta")):
            assert not torch.equal(value[0], value[1]), name
            assert not torch.equal(value, weights(other)[name]), name


class Drawn(WSN):
    """WSN with two own parts that draw: one behind a head, and the network itself."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.last = Linear(sizes.trials, 2, 2)
        self.start = nn.Parameter(torch.zeros(sizes.trials, 3))

    def draw(self, place, rng):
        with torch.no_grad():
            self.start[place] = torch.from_numpy(rng.normal(size=3))


def test_what_draws_its_own_weights_draws_them_from_a_stream_of_its_name():
    network = make(Drawn)
    for trial in range(2):
        expected = seeds.generator(SEED, trial, "weights", "").normal(size=3)
        np.testing.assert_array_equal(network.start[trial].detach(), expected)
        drawn = Linear(1, 2, 2).double()
        drawn.draw(0, seeds.generator(SEED, trial, "weights", "last"))
        assert torch.equal(network.last.weight[trial], drawn.weight[0])
        assert torch.equal(network.last.bias[trial], drawn.bias[0])
    for name, value in weights(make()).items():
        assert torch.equal(value, weights(network)[name]), "a part more changed another one"


class Bare(WSN):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.scale = nn.Parameter(torch.ones(sizes.trials, 3))


class Shared(WSN):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.own = nn.Linear(256, 25)


def test_what_cannot_draw_its_weights_is_refused_by_its_name():
    with pytest.raises(
        ValueError, match=r"Bare: it has parameters \(scale\) and no draw\(place, rng\) .* lib.layers, or"
    ):
        make(Bare)
    with pytest.raises(
        ValueError, match=r"Shared: own.weight is \[25, 256\]; its first axis must be the trials \(2\), as"
    ):
        make(Shared)
    # In a stack of 25 it has the right number of outputs, and would be taken for 25 trials.
    with pytest.raises(
        ValueError, match=r"Shared: its part own \(Linear\) has parameters \(weight, bias\) and no draw"
    ):
        make(Shared, trials=25)


# ---------------------------------------------------------------- the fully convolutional form


@every
def test_the_fully_convolutional_form_learns_the_same_as_the_mixed_one(architecture, one_hot):
    settings = {"epochs": 3, "batch_size": 10, "learning_rate": 0.3}
    networks = [make(architecture, convolutional=form, one_hot=one_hot) for form in (False, True)]
    mixed, form = (teacher().train(network, **settings) for network in networks)
    for name in LOSSES:
        if mixed.array(name) is not None:
            np.testing.assert_allclose(form.array(name), mixed.array(name), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(form.array("test_correct"), mixed.array("test_correct"))
    assert torch.equal(form.last.correct, mixed.last.correct)
    for one, two in zip(*(weights(network).values() for network in networks), strict=True):
        torch.testing.assert_close(one.flatten(), two.flatten(), rtol=0, atol=1e-10)


def test_convolutionize_leaves_no_linear_layer_and_works_in_place():
    for architecture in NETWORKS:
        network = make(architecture)
        assert convolutionize(network) is network
        assert not any(isinstance(module, Linear | Flatten) for module in network.modules())
    assert any(isinstance(module, Linear) for module in make("CAUX").modules())


@every
def test_the_fully_convolutional_form_slides_over_larger_images(architecture, one_hot):
    """On 18x22, it answers at 2x3 places what the mixed form answers on the 14x14 windows there, 4 pixels apart."""
    mixed = make(architecture, one_hot=one_hot)
    teacher().train(mixed, epochs=1, batch_size=25, learning_rate=0.3)  # running statistics of its own
    sliding = convolutionize(copy.deepcopy(mixed)).eval()
    mixed.eval()
    images = noise(2, 3, 2, 18, 22)
    with torch.no_grad():
        maps = sliding(images)
        for y, x in itertools.product(range(2), range(3)):
            window = mixed(images[..., 4 * y : 4 * y + IMAGE, 4 * x : 4 * x + IMAGE])
            for head, values in window.items():
                assert maps[head].shape[-2:] == (2, 3)
                torch.testing.assert_close(maps[head][..., y, x], values, rtol=0, atol=1e-12)
    assert maps["answer"].flatten(-2).std(-1).max() > 1e-6, "the same everywhere: the comparison would be vacuous"


def test_the_mixed_form_refuses_larger_images():
    with pytest.raises(RuntimeError):
        make("WSN")(noise(2, 3, 2, 18, 22))


@compiled
@every
def test_the_compiled_block_learns_the_same_as_torch_up_to_rounding(architecture, one_hot):
    settings = {"epochs": 2, "batch_size": 10, "learning_rate": 0.1}
    networks = [
        make(architecture, one_hot=one_hot, dtype=torch.float32, implementation=implementation)
        for implementation in ("torch", "fused")
    ]
    by_torch, by_fused = (teacher().train(network, **settings) for network in networks)
    for name in LOSSES:
        if by_torch.array(name) is not None:
            np.testing.assert_allclose(by_fused.array(name), by_torch.array(name), rtol=1e-4)
    for (name, one), two in zip(networks[0].state_dict().items(), networks[1].state_dict().values(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


# ---------------------------------------------------------------- architectures of one's own

OWN = """
from lib.architectures import Network, comparer, extractor


class Own(Network):
    reads = ("channels",)

    def __init__(self, sizes):
        super().__init__(sizes)
        self.extract = extractor(sizes)
        self.compare = comparer(sizes, (8,))

    def forward(self, images):
        return {"answer": self.compare(self.extract(images.unsqueeze(3)).flatten(2, 3))}
"""


@forms
def test_an_architecture_outside_lib_trains_by_its_name(own_module, convolutional):
    name = f"{own_module(OWN)}:Own"
    network = make(name, convolutional=convolutional)
    assert Experiment(architecture=name).name == "Own"
    assert network.parameters_per_trial == 4848 + 256 * 8 + 8 + 8 * 2 + 2
    assert torch.equal(network.extract[0].weight, make("WSN").extract[0].weight), "its extractor starts as WSN's"
    before = weights(network)
    teacher().train(network, epochs=1, batch_size=25)
    assert all(not torch.equal(value, before[name]) for name, value in weights(network).items())


def test_an_architecture_says_which_settings_it_reads(own_module):
    name = f"{own_module(OWN)}:Own"
    assert Experiment.parse(f"{name} channels=3-5").sizes(1).channels == (3, 5)
    with pytest.raises(ValueError, match=r"auxiliary_weight is 1\.0, which .*:Own does not read; leave it out"):
        Experiment.parse(f"{name} auxiliary_weight=1")


@pytest.mark.parametrize("name", [":Own", "{own}:", "{own}:Missing", "{own}_not_there:Own"])
def test_a_name_that_says_no_class_is_refused(own_module, name):
    name = name.format(own=own_module(OWN))
    with pytest.raises(ValueError, match=f"^architecture is '{name}', which cannot be imported: "):
        find(name)
