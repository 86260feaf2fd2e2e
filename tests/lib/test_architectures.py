"""The layers and the four architectures: their sizes, their starts, and that both forms are one function."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lib import fused, seeds
from lib.architectures import ARCHITECTURES, IMAGE, Sizes, build, convolutionize, draw_weights
from lib.experiment import Experiment
from lib.foreign import find
from lib.layers import Conv2d, ConvBlock, Flatten, Linear, Product, choose_implementation
from lib.pairs import draw_trial, normalise, side_by_side
from lib.teacher import Teacher

compiled = pytest.mark.skipif(not fused.available()[0], reason=f"no compiled block: {fused.available()[1]}")
every = pytest.mark.parametrize(("architecture", "one_hot"), list(itertools.product(ARCHITECTURES, (True, False))))


def make(architecture, *, convolutional=False, one_hot=True, trials=2, dtype=torch.float64, seed=3, **sizes):
    e = Experiment(architecture=architecture, one_hot_encoding=one_hot, **sizes)
    return build(
        find(architecture),
        e.sizes(trials),
        fully_convolutional=convolutional,
        seed=seed,
        trials=range(trials),
        dtype=dtype,
    )


def teacher(trials=2, pairs=40):
    """A Teacher with a few embedded pairs per trial, and always the same order."""
    sets = [normalise(*draw_trial("digits", pairs, pairs, 3, trial)) for trial in range(trials)]
    orders = [seeds.generator(3, trial, "order") for trial in range(trials)]
    return Teacher(side_by_side([train for train, _ in sets]), side_by_side([test for _, test in sets]), orders)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


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
@pytest.mark.parametrize("convolutional", [False, True])
def test_the_number_of_parameters(architecture, one_hot, convolutional):
    network = make(architecture, convolutional=convolutional, one_hot=one_hot, trials=3)
    assert network.parameters_per_trial == COUNTS[architecture, one_hot]


@every
@pytest.mark.parametrize("convolutional", [False, True])
def test_the_shapes_of_the_outputs(architecture, one_hot, convolutional):
    outputs = make(architecture, convolutional=convolutional, one_hot=one_hot, trials=3)(noise(3, 5, 2, 14, 14))
    ones = (1, 1) if convolutional else ()
    assert outputs.answer.shape == (3, 5, 2 if one_hot else 1, *ones)
    expected = {
        "SAUX": (3, 5, 2 if one_hot else 1, *ones),
        "CAUX": (3, 5, 2, 10 if one_hot else 1, *ones),
    }.get(architecture)
    assert (outputs.auxiliary is None) == (expected is None) == (ARCHITECTURES[architecture].auxiliary_task is None)
    assert expected is None or outputs.auxiliary.shape == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("convolutional", [False, True])
def test_other_sizes_work(architecture, convolutional):
    network = make(architecture, convolutional=convolutional, channels="3-5", hidden="7", auxiliary_hidden=4)
    block = network.extract
    assert (block[0].weight.shape, block[1].weight.shape) == ((2, 3, 1, 3, 3), (2, 5, 3, 3, 3))
    widths = [layer.weight.shape[1] for layer in network.compare if isinstance(layer, Linear | Conv2d)]
    assert widths == [7, 2]
    history = teacher().train(network, epochs=1, batch_size=20)
    assert np.isfinite(history.array("train_loss")).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("convolutional", [False, True])
def test_every_head_ends_in_a_sigmoid_and_none_without_it(architecture, convolutional):
    for sigmoid in (True, False):
        network = make(architecture, convolutional=convolutional, sigmoid=sigmoid)
        heads = [network.compare, *([network.auxiliary] if network.auxiliary_task else [])]
        for head in heads:
            assert isinstance(head[-1], nn.Sigmoid) == sigmoid
        outputs = network(20 * noise(2, 30, 2, 14, 14))
        for values in outputs if outputs.auxiliary is not None else outputs[:1]:
            inside = (values >= 0).all() and (values <= 1).all()
            assert inside == sigmoid


# ---------------------------------------------------------------- initial weights


def weights(network):
    return {name: value.detach() for name, value in network.named_parameters()}


def test_layers_of_the_same_name_and_shape_start_equal_in_all_architectures():
    stacks = {name: weights(make(name)) for name in ARCHITECTURES}
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
    alone = build("CAUX", Sizes(), fully_convolutional=False, seed=3, trials=range(2, 3), dtype=torch.float64)
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


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (ConvBlock(40, 1, 16, 14), nn.Conv2d(1, 16, 3, bias=False)),
        (ConvBlock(4, 16, 32, 6), nn.Conv2d(16, 32, 3, bias=False)),
        (Linear(4, 256, 64), nn.Linear(256, 64)),
        (Linear(40, 32, 2), nn.Linear(32, 2)),
    ],
    ids=["first block", "second block", "wide", "narrow"],
)
def test_initial_weights_have_the_distribution_of_torch_nn(layer, reference):
    trials = len(layer.weight)
    draw_weights(nn.ModuleDict({"layer": layer}), seed=0, trials=range(trials))
    drawn = [layer.weight] + ([layer.bias] if isinstance(layer, Linear) else [])
    bound = reference.weight[0].numel() ** -0.5
    torch.manual_seed(0)
    theirs = []
    for _ in range(trials):
        reference.reset_parameters()
        theirs.append([value.detach().clone() for value in reference.parameters()])
    for values, others in zip(drawn, zip(*theirs, strict=True), strict=True):
        values, others = values.detach(), torch.stack(others)
        assert values.shape == others.shape
        for each in (values, others):
            assert 0.9 * bound < each.abs().max() <= bound * (1 + 1e-6)
        error = 5 * bound / (values.numel() / 2) ** 0.5  # five standard errors, at least
        assert abs(values.std() - others.std()) < error
        assert abs(values.mean()) < error


def test_batch_normalisation_starts_at_one_and_zero():
    block = make("WSN").extract[1]
    assert (block.gamma == 1).all() and (block.beta == 0).all()
    assert (block.running_mean == 0).all() and (block.running_var == 1).all()


# ---------------------------------------------------------------- the fully convolutional form


@every
def test_the_fully_convolutional_form_learns_the_same_as_the_mixed_one(architecture, one_hot):
    settings = {"epochs": 3, "batch_size": 10, "learning_rate": 0.3}
    networks = [make(architecture, convolutional=form, one_hot=one_hot) for form in (False, True)]
    mixed, form = (teacher().train(network, **settings) for network in networks)
    for name in ("train_loss", "test_loss", "auxiliary_train_loss", "auxiliary_test_loss"):
        if mixed.array(name) is not None:
            np.testing.assert_allclose(form.array(name), mixed.array(name), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(form.array("test_correct"), mixed.array("test_correct"))
    assert torch.equal(form.last.correct, mixed.last.correct)
    for one, two in zip(*(weights(network).values() for network in networks), strict=True):
        torch.testing.assert_close(one.flatten(), two.flatten(), rtol=0, atol=1e-10)


def test_convolutionize_leaves_no_linear_layer_and_works_in_place():
    for architecture in ARCHITECTURES:
        network = make(architecture)
        assert convolutionize(network) is network
        assert not any(isinstance(module, Linear | Flatten) for module in network.modules())
    assert any(isinstance(module, Linear) for module in make("CAUX").modules())


@every
def test_the_fully_convolutional_form_slides_over_larger_images(architecture, one_hot):
    """On 18x22, it answers at 2x3 places what the mixed form answers on the 14x14 windows there, 4 pixels apart."""
    mixed = make(architecture, one_hot=one_hot)
    teacher().train(mixed, epochs=1, batch_size=20, learning_rate=0.3)  # running statistics of its own
    sliding = convolutionize(copy.deepcopy(mixed)).eval()
    mixed.eval()
    images = noise(2, 3, 2, 18, 22)
    with torch.no_grad():
        maps = sliding(images)
        assert maps.answer.shape[-2:] == (2, 3)
        for y, x in itertools.product(range(2), range(3)):
            window = mixed(images[..., 4 * y : 4 * y + IMAGE, 4 * x : 4 * x + IMAGE])
            torch.testing.assert_close(maps.answer[..., y, x], window.answer, rtol=0, atol=1e-12)
            if window.auxiliary is not None:
                torch.testing.assert_close(maps.auxiliary[..., y, x], window.auxiliary, rtol=0, atol=1e-12)
        assert maps.answer.flatten(-2).std(-1).max() > 1e-6, "the same everywhere: the comparison would be vacuous"


def test_the_mixed_form_refuses_larger_images():
    with pytest.raises(RuntimeError):
        make("WSN")(noise(2, 3, 2, 18, 22))


# ---------------------------------------------------------------- architectures of one's own

OWN = """
from lib.architectures import Network, Outputs, comparer, extractor
from torch import nn
from lib.pairs import draw_trial, normalise, side_by_side
from lib.foreign import find


class Own(Network):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.extract = extractor(shape)
        self.compare = comparer(shape, (8,))

    def forward(self, images):
        return Outputs(self.compare(self.extract(images.unsqueeze(3)).flatten(2, 3)))


class Shared(Own):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.own = nn.Linear(3, 4)


class Stranger(nn.Module):
    pass


number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Name of a module with architectures, new for each test."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    (tmp_path / f"{name}_broken.py").write_text("raise OSError('no such luck')")
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("convolutional", [False, True])
def test_an_architecture_outside_lib_trains_by_its_name(own, convolutional):
    experiment = Experiment(architecture=f"{own}:Own")
    network = make(f"{own}:Own", convolutional=convolutional)
    assert type(network).__module__ == own and experiment.name == "Own"
    assert network.parameters_per_trial == 4848 + 256 * 8 + 8 + 8 * 2 + 2
    assert torch.equal(network.extract[0].weight, make("WSN").extract[0].weight), "its extractor starts as WSN's"
    before = copy.deepcopy(weights(network))
    teacher().train(network, epochs=1, batch_size=20)
    assert all(not torch.equal(value, before[name]) for name, value in weights(network).items())


@pytest.mark.parametrize("attribute", ["Stranger", "number"])
def test_what_is_no_network_is_refused(own, attribute):
    with pytest.raises(ValueError, match=f"{attribute}', which is not a subclass of lib.architectures.Network|import"):
        find(f"{own}:{attribute}")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("{own}_broken:Own", "no such luck"),
        ("{own}:Missing", "Missing"),
        ("{own}_not_there:Own", "No module named"),
        (":Own", "cannot be imported"),
        ("{own}:", "cannot be imported"),
    ],
)
def test_what_cannot_be_imported_is_a_value_error_that_says_why(own, name, why):
    name = name.format(own=own)
    with pytest.raises(ValueError, match=f"architecture is '{name}', which cannot be imported: .*") as caught:
        find(name)
    assert why in str(caught.value)


def test_an_unknown_name_is_a_value_error_that_names_the_near_and_the_allowed_ones():
    with pytest.raises(ValueError, match="architecture is 'WSM'; allowed: SN, WSN, SAUX, CAUX, or module:Class"):
        find("WSM")
    with pytest.raises(ValueError, match="did you mean 'CAUX'"):
        Experiment(architecture="caux")


def test_an_edited_module_is_imported_again(own, tmp_path):
    """As in a running notebook: the key names the source as it is now, so that is what must run."""
    assert find(f"{own}:Own").auxiliary_task is None
    (tmp_path / f"{own}.py").write_text(OWN + "\n\nOwn.auxiliary_task = 'comparison'\n")
    assert find(f"{own}:Own").auxiliary_task == "comparison"
    edited = find(f"{own}:Own")
    assert find(f"{own}:Own") is edited, "imported again without a reason"
    (tmp_path / f"{own}.py").write_text(OWN + "\n\nOwn.auxiliary_task = \n")
    for _ in range(2):  # the second time too: the code of before must not pass for that of the file
        with pytest.raises(ValueError, match="cannot be imported: invalid syntax"):
            find(f"{own}:Own")


def test_a_layer_that_the_trials_would_share_is_refused(own):
    with pytest.raises(ValueError, match=r"own.weight of .*:Shared is \[4, 3\]; its first axis must be the trials"):
        make(f"{own}:Shared")


# ---------------------------------------------------------------- layers


def random_block(channels_in, channels_out, size, trials=3, dtype=torch.float64):
    """A block with weights, gamma (of both signs: pooling comes after it) and beta that are not the initial ones."""
    block = ConvBlock(trials, channels_in, channels_out, size).to(dtype)
    with torch.no_grad():
        for i, parameter in enumerate(block.parameters()):
            parameter.copy_(noise(*parameter.shape, seed=i))
        block.running_mean.copy_(noise(*block.running_mean.shape, seed=8))
        block.running_var.copy_(noise(*block.running_var.shape, seed=9).abs() + 0.5)
    return block


def references(block):
    """The same block in torch.nn's own words, one per trial."""
    modules = []
    for trial in range(len(block.weight)):
        convolution = nn.Conv2d(block.in_channels, block.out_channels, 3, bias=False)
        normalisation = nn.BatchNorm2d(block.out_channels)
        module = nn.Sequential(convolution, normalisation, nn.MaxPool2d(2), nn.ReLU()).to(block.weight.dtype)
        convolution.weight.data.copy_(block.weight[trial])
        for theirs, ours in (
            (normalisation.weight.data, block.gamma),
            (normalisation.bias.data, block.beta),
            (normalisation.running_mean, block.running_mean),
            (normalisation.running_var, block.running_var),
        ):
            theirs.copy_(ours[trial].detach())
        modules.append(module)
    return modules


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("implementation", "shape"),
    [
        *(("torch", shape) for shape in ((1, 16, 14), (16, 32, 6), (2, 3, 9))),
        *(pytest.param("fused", shape, marks=compiled) for shape in sorted(fused.SHAPES)),
    ],
    ids=str,
)
def test_a_block_equals_torch_nn_for_each_trial_and_digit(implementation, shape, training):
    dtype, near = (torch.float32, 1e-4) if implementation == "fused" else (torch.float64, 1e-11)
    block = random_block(*shape, dtype=dtype).train(training)
    modules = [module.train(training) for module in references(block)]
    block.implementation = implementation
    x = noise(3, 7, 2, shape[0], shape[2], shape[2], seed=20, dtype=dtype)
    for _ in range(2):  # the second time with the statistics of the first
        y = block(x)
        assert y.shape == (3, 7, 2, shape[1], (shape[2] - 2) // 2, (shape[2] - 2) // 2)
        for trial, module in enumerate(modules):
            for digit in range(2):  # one after the other: the second updates after the first
                torch.testing.assert_close(y[trial, :, digit], module(x[trial, :, digit]), rtol=near, atol=near)
            for name in ("running_mean", "running_var"):
                ours, theirs = getattr(block, name)[trial], getattr(module[1], name)
                torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
                assert not training or module[1].num_batches_tracked % 2 == 0


def test_in_evaluation_mode_a_block_keeps_its_running_statistics():
    block = random_block(1, 16, 14).eval()
    before = copy.deepcopy(block.state_dict())
    block(noise(3, 7, 2, 1, 14, 14))
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_the_gradients_of_a_block_are_those_of_torch_nn():
    block = random_block(2, 3, 9)
    modules = references(block)
    x = noise(3, 7, 2, 2, 9, 9, seed=20)
    (block(x) ** 2).sum().backward()
    for trial, module in enumerate(modules):
        sum((module(x[trial, :, digit]) ** 2).sum() for digit in range(2)).backward()
        for ours, theirs in zip(
            (block.weight, block.gamma, block.beta), (module[0].weight, module[1].weight, module[1].bias), strict=True
        ):
            torch.testing.assert_close(ours.grad[trial], theirs.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("outputs", [2, 20])  # few are computed as rows
@pytest.mark.parametrize("data", [True, False], ids=["of data", "of features"])
def test_the_gradients_of_a_product_are_its_derivatives(outputs, data):
    random = torch.Generator().manual_seed(0)
    shapes = (3, 4, 5), (3, outputs, 5), (3, outputs)
    x, weight, bias = (torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes)
    inputs = x.requires_grad_(not data), weight.requires_grad_(), bias.requires_grad_()
    assert torch.autograd.gradcheck(Product.apply, inputs)


def test_linear_and_convolution_equal_torch_nn_for_each_trial():
    layer = Linear(3, 5, 4).double()
    layer.weight.data, layer.bias.data = noise(3, 4, 5), noise(3, 4, seed=1)
    x = noise(3, 7, 5, seed=2)
    for trial in range(3):
        expected = nn.functional.linear(x[trial], layer.weight[trial], layer.bias[trial])
        torch.testing.assert_close(layer(x)[trial], expected, rtol=0, atol=1e-12)
    layer = Conv2d(noise(3, 4, 5, 2, 2), noise(3, 4, seed=1))
    for size in (2, 4):  # as large as the kernel, and larger
        x = noise(3, 7, 5, size, size, seed=2)
        for trial in range(3):
            expected = nn.functional.conv2d(x[trial], layer.weight[trial], layer.bias[trial])
            torch.testing.assert_close(layer(x)[trial], expected, rtol=0, atol=1e-12)


# ---------------------------------------------------------------- the choice of an implementation


@pytest.fixture
def blocks(monkeypatch):
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)
    return list(make("WSN").extract)


def test_torch_always_runs(blocks, monkeypatch):
    assert choose_implementation(blocks, torch.float32, wish="torch").implementation == "torch"
    monkeypatch.setenv("LIB_IMPLEMENTATION", "torch")
    assert choose_implementation(blocks, torch.float32).implementation == "torch"


@pytest.mark.parametrize("by_environment", [False, True])
def test_an_unknown_wish_is_refused_in_one_sentence(blocks, monkeypatch, by_environment):
    if by_environment:
        monkeypatch.setenv("LIB_IMPLEMENTATION", "fast")
    with pytest.raises(ValueError, match=r"^implementation is 'fast'; allowed: 'auto', 'fused', 'torch'$"):
        choose_implementation(blocks, torch.float32, wish="" if by_environment else "fast")


def test_a_wish_goes_before_the_environment(blocks, monkeypatch):
    monkeypatch.setenv("LIB_IMPLEMENTATION", "nonsense")
    assert choose_implementation(blocks, torch.float32, wish="torch").implementation == "torch"


@pytest.mark.parametrize(
    ("dtype", "device", "channels", "why"),
    [
        (torch.float64, "cpu", "16-32", "computes in float32, not in torch.float64"),
        (torch.float32, "cuda", "16-32", "runs on the CPU, not on 'cuda'"),
        (torch.float32, "cpu", "7-11", "does not cover these channels and image sizes"),
    ],
)
def test_what_the_compiled_block_cannot_do_torch_does_and_says_why(dtype, device, channels, why, monkeypatch):
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)
    blocks = list(make("WSN", channels=channels).extract)
    choice = choose_implementation(blocks, dtype, device)
    assert choice.implementation == "torch" and why in choice.why
    with pytest.raises(ValueError, match=r"^implementation is 'fused', which cannot run here: .*") as caught:
        choose_implementation(blocks, dtype, device, "fused")
    assert why in str(caught.value)


def test_without_a_compiler_torch_runs_and_the_reason_is_told(blocks, monkeypatch):
    monkeypatch.setattr(fused, "available", lambda: (False, "there is no compiler"))
    assert choose_implementation(blocks, torch.float32) == ("torch", "there is no compiler")
    with pytest.raises(ValueError, match="'fused', which cannot run here: there is no compiler"):
        choose_implementation(blocks, torch.float32, wish="fused")


@compiled
def test_where_it_works_the_compiled_block_runs(blocks, monkeypatch):
    for wish in ("", "auto", "fused"):
        assert choose_implementation(blocks, torch.float32, wish=wish).implementation == "fused"
    monkeypatch.setenv("LIB_IMPLEMENTATION", "fused")
    assert choose_implementation(blocks, torch.float32).implementation == "fused"


def set_implementation(network, implementation):
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.implementation = implementation
    return network


@compiled
@every
def test_the_compiled_block_learns_the_same_as_torch_up_to_rounding(architecture, one_hot):
    settings = {"epochs": 2, "batch_size": 10, "learning_rate": 0.1}
    networks = [
        set_implementation(make(architecture, one_hot=one_hot, dtype=torch.float32), implementation)
        for implementation in ("torch", "fused")
    ]
    by_torch, by_fused = (teacher().train(network, **settings) for network in networks)
    for name in ("train_loss", "test_loss", "auxiliary_train_loss", "auxiliary_test_loss"):
        if by_torch.array(name) is not None:
            np.testing.assert_allclose(by_fused.array(name), by_torch.array(name), rtol=1e-4)
    for (name, one), two in zip(networks[0].state_dict().items(), networks[1].state_dict().values(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@compiled
def test_on_larger_images_a_block_falls_back_to_torch():
    network = make("WSN", convolutional=True, dtype=torch.float32).eval()
    images = noise(2, 3, 2, 18, 22, dtype=torch.float32)
    with torch.no_grad():
        expected = network(images).answer
        found = set_implementation(network, "fused")(images).answer
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
