"""Ours are torch.optim's SGD and Adam, on stacks as on one network, without what its classes import."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from lib.optimizer import OPTIMIZERS, Optimizer

KINDS = {  # ours, and the class of torch.optim with its arguments
    "sgd": (("sgd", 0.01), lambda parameters: torch.optim.SGD(parameters, lr=0.01)),
    "momentum": (("sgd", 0.01, 0.9), lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9)),
    "adam": (("adam", 0.1), lambda parameters: torch.optim.Adam(parameters, lr=0.1)),
}


def parameters():
    random = torch.Generator().manual_seed(0)
    return [
        nn.Parameter(torch.randn(*shape, generator=random, dtype=torch.float64)) for shape in ((5, 3), (7,), (2, 2))
    ]


def loss(values, step):
    return sum(((value - step) ** 4).sum() for value in values)


@pytest.mark.parametrize("kind", KINDS)
def test_ours_are_those_of_torch_optim(kind):
    ours, theirs = parameters(), parameters()
    arguments, make = KINDS[kind]
    pairs = [(ours, Optimizer(ours, *arguments)), (theirs, make(theirs))]
    for step in range(20):
        for values, optimizer in pairs:
            optimizer.zero_grad()
            loss(values, step / 10).backward()
            optimizer.step()
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert not torch.equal(ours[0], parameters()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_without_gradient_stays_and_starts_when_it_gets_one(kind):
    ours, theirs = parameters(), parameters()
    arguments, make = KINDS[kind]
    for values, optimizer in ((ours, Optimizer(ours, *arguments)), (theirs, make(theirs))):
        for used in (values[1:], values[1:], values):
            optimizer.zero_grad()
            loss(used, 0).backward()
            optimizer.step()
            assert torch.equal(values[0], parameters()[0]) == (len(used) == 2)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_every_allowed_name_is_tried_above_and_another_is_refused():
    assert {arguments[0] for arguments, _ in KINDS.values()} == set(OPTIMIZERS)
    with pytest.raises(ValueError, match="optimizer is 'sdg'; allowed: 'sgd', 'adam'"):
        Optimizer(parameters(), "sdg", 0.1)


def test_training_does_not_import_the_compiler_of_torch():
    code = (
        "import sys\nfrom lib import training\nfrom lib.experiment import Experiment\n"
        "small = dict(dataset='digits', train_pairs=20, test_pairs=20, epochs=1, batch_size=10)\n"
        "[training.train(Experiment(optimizer=name, **small), range(2)) for name in ('sgd', 'adam')]\n"
        "sys.exit(int('torch._dynamo' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
