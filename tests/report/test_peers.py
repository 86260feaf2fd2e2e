"""Networks of other people's: their sizes, that sharing shares, what reads what, that dropout is for training."""

import pytest
import torch

from lib.tasks import CLASSES, COMPARISON
from report.peers import SharedLeNet, TwinLeNet, comparer, lenet
from report.pooled import PooledFeatures

every = pytest.mark.parametrize("network", [TwinLeNet, SharedLeNet])


def made(network):
    """The network with its initial weights, in evaluation mode."""
    torch.manual_seed(0)
    return network().eval()


def images(n=6):
    """Pairs of noise."""
    return torch.randn(n, 2, 14, 14, generator=torch.Generator().manual_seed(1))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@every
def test_heads_and_shapes(network):
    assert network.heads == {"answer": COMPARISON, "digits": CLASSES}
    outputs = made(network)(images())
    assert {name: list(values.shape) for name, values in outputs.items()} == {"answer": [6, 2], "digits": [6, 2, 10]}


def test_the_parts_have_as_many_parameters_as_their_report_says():
    # The report's 9,322: 16 * 9 + 16, 32 * 16 * 9 + 32, 128 * 32 + 32, 2 * 32, 32 * 10 + 10. Its 252: 20 * 10 + 10,
    # 2 * 10, 10 * 2 + 2.
    assert (parameters(lenet()), parameters(comparer())) == (9_322, 252)
    assert parameters(TwinLeNet()) == 2 * 9_322 + 252 == 18_896  # "about 20,000"
    assert parameters(SharedLeNet()) == 9_322 + 252 == 9_574


@pytest.mark.parametrize(("network", "shares"), [(TwinLeNet, False), (SharedLeNet, True)])
def test_only_the_shared_network_reads_both_places_alike(network, shares):
    made_network, pairs = made(network), images()
    digits, swapped = (made_network(each)["digits"] for each in (pairs, pairs.flip(1)))
    assert torch.allclose(digits, swapped.flip(1), atol=1e-6) is shares


@every
def test_the_comparison_reads_nothing_but_the_class_outputs(network):
    made_network = made(network)
    outputs = made_network(images())
    assert torch.equal(outputs["answer"], made_network.compare(outputs["digits"].flatten(1)))


@every
def test_a_loss_on_the_answer_alone_trains_every_weight(network):
    made_network = made(network).train()
    made_network(images(40))["answer"].square().sum().backward()
    assert [name for name, parameter in made_network.named_parameters() if not parameter.grad.any()] == []


@every
@pytest.mark.parametrize("head", ["answer", "digits"])
def test_dropout_only_in_training(network, head):
    made_network, pairs = made(network), images()
    assert torch.equal(made_network(pairs)[head], made_network(pairs)[head])
    made_network.train()  # here batch normalisation takes the batch's own statistics: only dropout differs
    assert not torch.equal(made_network(pairs)[head], made_network(pairs)[head])


def test_the_pooled_network_has_the_size_that_its_authors_allowed():
    assert parameters(PooledFeatures()) == 70_572  # of widths between 65,000 and 75,000 parameters
    features = made(PooledFeatures).extract(images()[:, :1])
    assert features.shape == (6, 64)


def test_both_heads_of_the_pooled_network_read_the_same_features_of_either_digit():
    network, pairs = made(PooledFeatures), images()
    outputs, swapped = network(pairs), network(pairs.flip(1))
    assert torch.allclose(outputs["auxiliary"], swapped["auxiliary"].flip(1), atol=1e-6)
    features = torch.stack([network.extract(pairs[:, :1]), network.extract(pairs[:, 1:])], dim=1)
    assert torch.equal(outputs["answer"], network.compare(features.flatten(1)))
    outputs["answer"].sum().backward()
    assert all(parameter.grad is None for parameter in network.name.parameters())  # the answer reads no name


@pytest.mark.parametrize("head", ["answer", "auxiliary"])
def test_the_pooled_network_drops_only_in_training(head):
    network, pairs = made(PooledFeatures), images()
    assert torch.equal(network(pairs)[head], network(pairs)[head])
    network.train()
    assert not torch.equal(network(pairs)[head], network(pairs)[head])
