"""The block for a GPU: its arithmetic is held here without one, by Triton's interpreter; what needs one says so."""

import os
import subprocess
import sys

import pytest
import torch

from lib import Experiment, Teacher, prepare
from lib.fused.choice import choose_implementation
from lib.training import hyperparameters
from tests.lib.stacks import make, teacher

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
SHAPES = [(1, 16, 14), (16, 32, 6)]

# Triton reads once, when the kernels are imported, whether to interpret them: so in a process of its own.
COMPARED = """
import torch
from lib import cuda
from lib.layers import ConvBlock

torch.manual_seed(0)
for trials, batch, digits, channels, outputs, size in ((2, 5, 2, 1, 8, 14), (2, 5, 2, 16, 32, 6), (1, 1, 1, 16, 32, 6)):
    block = ConvBlock(trials, channels, outputs, size).double()
    images = torch.randn(batch, trials, digits, channels, size, size, dtype=torch.float64).transpose(0, 1)  # no order
    drawn = [torch.randn_like(parameter).requires_grad_() for parameter in block.parameters()]
    for parameter, value in zip(block.parameters(), drawn):
        parameter.data.copy_(value.data)
    both = [images.clone().requires_grad_(channels > 1) for _ in range(2)]
    theirs = block(both[0])
    ours, mean, var = cuda.block(both[1], *drawn, block.eps)
    running = torch.zeros_like(mean[:, 0]), torch.ones_like(mean[:, 0])
    cuda.learn(*running, mean, var, block.momentum, batch * (size - 2) ** 2)
    some = torch.randn_like(theirs)
    pairs = [(ours, theirs), (running[0], block.running_mean), (running[1], block.running_var)]
    theirs = torch.autograd.grad(theirs, [*both[:1][: channels > 1], *block.parameters()], some)
    ours = torch.autograd.grad(ours, [*both[1:][: channels > 1], *drawn], some)
    pairs += zip(ours, theirs)
    with torch.no_grad():
        tested = cuda.block_test(images, *drawn, *running, block.eps)
        pairs.append((tested, block.eval()(images)))
    print(max(float((a - b).detach().abs().max()) for a, b in pairs))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: the tests below run the kernels themselves")
def test_the_block_is_pytorchs_values_and_gradients():
    pytest.importorskip("triton", reason="Triton does not come with this torch")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMPARED], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    distances = [float(line) for line in done.stdout.split()]
    assert len(distances) == 3 and max(distances) < 1e-11


def test_nothing_of_it_is_imported_without_a_gpu():
    code = "import sys, lib.training, lib.workers; print('lib.cuda' in sys.modules or 'triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_not_chosen_and_says_why(monkeypatch):
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)
    choice = choose_implementation(SHAPES, torch.float32, "cuda")
    assert choice == ("torch", "torch sees no GPU here, which 'cuda' asks for")


@pytest.mark.parametrize(
    ("name", "settings", "steady"),
    [("SN", {}, True), ("CAUX", {}, True), ("DIAL", {}, False), ("SIDE", {"dropout": 0.5}, False)],
)
def test_only_networks_that_wait_for_nothing_are_replayed(name, settings, steady):
    assert make(name, **settings).steady is steady


def test_an_epochs_work_of_an_order_is_the_epoch(monkeypatch):
    """What a GPU records and replays is all of an epoch: called again with its order, it does the same."""
    monkeypatch.setattr(Teacher, "replayed", lambda self, network, settings, work: work)
    network, other = make(), make()
    history = teacher().train(network, epochs=3, batch_size=10)
    monkeypatch.undo()
    again = teacher().train(other, epochs=3, batch_size=10)
    for ours, theirs in zip(history.epochs, again.epochs, strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert all(map(torch.equal, network.state_dict().values(), other.state_dict().values()))


# With a GPU


def trained(e, trials, dtype=torch.float64, launched=False, implementation="", running=None):
    """Return, by trial, what a stack has learned on the GPU; `running` tells running statistics and weights apart."""
    prepared = prepare(e, trials, device="cuda", dtype=dtype, implementation=implementation)
    held = prepared.teacher
    if launched:
        held.replayed = lambda *_: None
    history = held.train(prepared.network, **hyperparameters(e))
    state = prepared.network.state_dict().items()
    own = [value for name, value in state if running is None or running == ("running" in name)]
    values = [*own, *(epoch["train_loss"] for epoch in history.epochs)]
    return {trial: [value[place].cpu() for value in values] for place, trial in enumerate(trials)}


def apart(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


SMALL = "dataset=digits train_pairs=60 test_pairs=40 batch_size=20 epochs=4 learning_rate=0.1"


@gpu
@pytest.mark.parametrize("name", ["SN", "WSN", "SAUX", "CAUX"])
def test_on_a_gpu_a_trial_in_a_stack_learns_as_if_alone(name):
    e = Experiment.parse(name, SMALL)
    stack = trained(e, range(3))
    assert all(apart(stack[t], trained(e, range(t, t + 1))[t]) < 1e-12 for t in range(3))


@gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_is_replayed_is_what_would_be_launched(optimizer):
    e = Experiment.parse("CAUX", SMALL, f"optimizer={optimizer}")
    one, other = trained(e, range(2)), trained(e, range(2), launched=True)
    assert all(apart(one[t], other[t]) == 0 for t in range(2))


@gpu
def test_on_a_gpu_both_implementations_learn_the_same():
    e = Experiment.parse("WSN", SMALL)
    for running, most in ((False, 1e-12), (True, 1e-7)):  # Triton takes a Python number, the momentum, as float32
        one, other = (trained(e, range(2), implementation=each, running=running) for each in ("fused", "torch"))
        assert all(apart(one[t], other[t]) < most for t in range(2))
