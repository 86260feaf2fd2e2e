"""The layers: each trial computes, starts and learns as torch.nn's layer of that name would."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lib import fused, prepare, seeds
from lib.architectures import WSN, convolutionize
from lib.check import check_architecture
from lib.layers import Conv2d, ConvBlock, Dropout, Linear, Product
from lib.training import hyperparameters
from tests.lib.own import tiny
from tests.lib.stacks import SEED, compiled, make, noise, state, with_implementation

# ---------------------------------------------------------------- initial weights

LAYERS = pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (ConvBlock(40, 1, 16, 14), nn.Conv2d(1, 16, 3, bias=False)),
        (ConvBlock(4, 16, 32, 6), nn.Conv2d(16, 32, 3, bias=False)),
        (Linear(4, 256, 64), nn.Linear(256, 64)),
        (Linear(40, 32, 2), nn.Linear(32, 2)),
        (Conv2d(torch.zeros(40, 8, 4, 2, 2), torch.zeros(40, 8)), nn.Conv2d(4, 8, 2)),
    ],
    ids=["first block", "second block", "wide", "narrow", "convolution"],
)


def drawn(layer):
    """The numbers of a layer that are drawn: of a block, batch normalisation's are not."""
    return [layer.weight] if isinstance(layer, ConvBlock) else [layer.weight, layer.bias]


@LAYERS
def test_initial_weights_have_the_distribution_of_torch_nn(layer, reference):
    trials = len(layer.weight)
    for place in range(trials):
        layer.draw(place, np.random.default_rng(place))
    bound = reference.weight[0].numel() ** -0.5
    torch.manual_seed(0)
    theirs = []
    for _ in range(trials):
        reference.reset_parameters()
        theirs.append([value.detach().clone() for value in reference.parameters()])
    for values, others in zip(drawn(layer), zip(*theirs, strict=True), strict=True):
        values, others = values.detach(), torch.stack(others)
        assert values.shape == others.shape
        for each in (values, others):
            assert 0.9 * bound < each.abs().max() <= bound * (1 + 1e-6)
        error = 5 * bound / (values.numel() / 2) ** 0.5  # five standard errors, at least
        assert abs(values.std() - others.std()) < error
        assert abs(values.mean()) < error


@LAYERS
def test_drawing_for_one_trial_leaves_the_others_as_they_are(layer, reference):
    layer.draw(0, np.random.default_rng(7))
    layer.draw(1, np.random.default_rng(7))
    before = [value.detach().clone() for value in drawn(layer)]
    layer.draw(1, np.random.default_rng(8))
    for values, old in zip(drawn(layer), before, strict=True):
        assert torch.equal(old[0], old[1]), "the place of a trial must not matter"
        assert torch.equal(values[0], old[0]) and torch.equal(values[2:], old[2:])
        assert not torch.equal(values[1], old[1])
        assert values.requires_grad and values.grad_fn is None, "drawing is no part of what is differentiated"


def test_batch_normalisation_starts_at_one_and_zero():
    block = make("WSN").extract[1]
    assert (block.gamma == 1).all() and (block.beta == 0).all()
    assert (block.running_mean == 0).all() and (block.running_var == 1).all()


# ---------------------------------------------------------------- blocks


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


@compiled
def test_on_larger_images_a_block_falls_back_to_torch():
    network = convolutionize(make("WSN", dtype=torch.float32)).eval()
    images = noise(2, 3, 2, 18, 22, dtype=torch.float32)
    with torch.no_grad():
        expected = network(images)["answer"]
        found = with_implementation(network, "fused")(images)["answer"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- products and convolutions


@pytest.mark.parametrize("outputs", [2, 20])  # few are computed as rows
@pytest.mark.parametrize("data", [True, False], ids=["of data", "of features"])
def test_the_gradients_of_a_product_are_its_derivatives(outputs, data):
    x, weight, bias = (noise(*shape, seed=i) for i, shape in enumerate([(3, 4, 5), (3, outputs, 5), (3, outputs)]))
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


# ---------------------------------------------------------------- dropout


class Dropped(WSN):
    """WSN with Dropout between the features and the classifier, and in the classifier."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.drop = Dropout(sizes.trials, 0.25)
        self.compare.insert(2, Dropout(sizes.trials))

    def forward(self, images):
        return {"answer": self.compare(self.drop(self.extract(images.unsqueeze(3))).flatten(2, 3))}


def masks(layer, *shape, times=1):
    """What the layer keeps of ones, `times` after each other."""
    return torch.stack([layer(torch.ones(shape)) != 0 for _ in range(times)])


def heard(trials, p=0.5):
    """A layer that listens to the streams of these trials."""
    layer = Dropout(len(trials), p)
    for place, trial in enumerate(trials):
        layer.listen(place, seeds.generator(SEED, trial, "dropout", "drop"))
    return layer


def test_golden_masks_of_a_trial():
    first = heard([0])(torch.ones(1, 2, 8))[0]
    assert first.tolist() == [[0, 0, 2, 2, 2, 2, 2, 2], [2, 2, 2, 0, 2, 0, 2, 2]]
    drawn = np.random.default_rng(np.random.SeedSequence([SEED, 0, 3, *b"drop"])).random((2, 8), np.float32)
    np.testing.assert_array_equal(first != 0, drawn >= 0.5)


def test_a_trial_sees_the_same_masks_whatever_the_stack_and_whoever_else_is_in_it():
    together, alone, others = heard([0, 1, 2]), heard([1]), heard([7, 1])
    whole = masks(together, 3, 4, 5, times=3)
    assert torch.equal(whole[:, 1:2], masks(alone, 1, 4, 5, times=3))
    assert torch.equal(whole[:, 1:2], masks(others, 2, 4, 5, times=3)[:, 1:])
    seen = {tuple(each.flatten().tolist()) for each in whole.flatten(0, 1)}
    assert len(seen) == 9, "two trials or two steps have the same mask"


def test_the_streams_of_a_stack_are_those_of_its_trials_and_of_the_layers_name():
    network = make(Dropped, trials=3)
    for layer, name in ((network.drop, "drop"), (network.compare[2], "compare.2")):
        for trial, stream in enumerate(layer.streams):
            assert stream.bit_generator.state == seeds.generator(SEED, trial, "dropout", name).bit_generator.state
    for name, value in make(WSN, trials=3).extract.state_dict().items():
        assert torch.equal(value, network.extract.state_dict()[name]), "dropout changed the initial weights"


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_what_is_kept_is_scaled_and_its_share_is_right(p):
    x = noise(2, 300, 50)
    y = heard([0, 1], p)(x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / (1 - p), rtol=0, atol=1e-12)
    for share in kept.double().mean((1, 2)):
        assert abs(share - (1 - p)) < 5 * (p * (1 - p) / kept[0].numel()) ** 0.5
    assert y.dtype == torch.float64 and heard([0])(x[:1].float()).dtype == torch.float32


def test_nothing_is_dropped_in_evaluation_mode_or_with_probability_0():
    for layer in (heard([0, 1]).eval(), heard([0, 1], 0.0)):
        before = [stream.bit_generator.state for stream in layer.streams]
        x = noise(2, 3, 4)
        assert torch.equal(layer(x), x)
        assert [stream.bit_generator.state for stream in layer.streams] == before, "a mask was drawn in vain"


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_a_probability_that_is_none_is_refused(p):
    with pytest.raises(ValueError, match=f"^p is {p}; allowed: 0 to less than 1$"):
        Dropout(2, p)


def test_the_gradient_passes_where_a_number_was_kept():
    x, weights = noise(2, 3, 4).requires_grad_(), noise(2, 3, 4, seed=1)
    y = heard([0, 1], 0.25)(x)
    (y * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights * (y != 0) / 0.75, rtol=0, atol=1e-12)
    assert (x.grad == 0).any() and (x.grad != 0).any()


DROPPED = "tests.lib.test_layers:Dropped"


@pytest.mark.parametrize("form", [False, True], ids=["mixed", "convolutional"])
def test_with_dropout_a_trial_learns_in_a_stack_as_it_does_alone(form):
    e = tiny(DROPPED, fully_convolutional=form, epochs=3)
    stack, held, *_ = prepare(e, range(3), dtype=torch.float64)
    losses = held.train(stack, **hyperparameters(e)).array("train_loss")
    for trial in range(3):
        alone, teacher, *_ = prepare(e, range(trial, trial + 1), dtype=torch.float64)
        own = teacher.train(alone, **hyperparameters(e)).array("train_loss")
        np.testing.assert_allclose(losses[trial], own[0], rtol=0, atol=1e-12)
        for name, value in state(alone).items():
            torch.testing.assert_close(stack.state_dict()[name][trial], value[0], rtol=0, atol=1e-10)
    without, teacher, *_ = prepare(tiny(fully_convolutional=form), range(3), dtype=torch.float64)
    usual = teacher.train(without, **hyperparameters(e)).array("train_loss")
    assert np.abs(usual - losses).min() > 1e-6, "nothing was dropped: the comparison would be vacuous"


def test_an_architecture_with_dropout_is_found_sound_and_one_with_torchs_own_is_not(own_module):
    assert check_architecture(DROPPED) == []
    source = (
        "from torch import nn\n\nfrom tests.lib.test_layers import Dropped\n\n\nclass Theirs(Dropped):\n"
        "    def __init__(self, sizes):\n        super().__init__(sizes)\n        self.drop = nn.Dropout(0.25)\n"
    )
    [fault] = check_architecture(f"{own_module(source)}:Theirs")
    assert fault.startswith("Theirs gives other numbers when it is trained again")
