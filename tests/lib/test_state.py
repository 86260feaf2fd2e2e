"""What the calling process has set in torch reaches no training and no stored number, and is as it was afterwards."""

import contextlib

import pytest
import torch

from lib import Store, networks, run_analysis
from lib.training import train
from tests.lib.own import tiny


@contextlib.contextmanager
def set_to(setter, value, before):
    """Set something of torch's for a while."""
    setter(value)
    try:
        yield
    finally:
        setter(before)


def mkldnn(enabled):
    torch.backends.mkldnn.enabled = enabled


STATES = {
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: set_to(torch._C._set_grad_enabled, False, True),
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default dtype": lambda: set_to(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: torch.device("meta"),
    "set_default_device": lambda: set_to(torch.set_default_device, "meta", None),
    "matmul precision": lambda: set_to(torch.set_float32_matmul_precision, "medium", "highest"),
    "deterministic algorithms": lambda: set_to(torch.use_deterministic_algorithms, True, False),
    "denormals": lambda: set_to(torch.set_flush_denormal, True, False),
    "mkldnn": lambda: set_to(mkldnn, False, True),
}


def state():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
        torch.get_num_threads(),
        torch.get_rng_state().sum().item() if torch.get_default_device().type == "cpu" else None,
    )


@pytest.fixture(scope="module")
def usual():
    return {name: results(name) for name in ("CAUX", PLAIN)}


PLAIN = "report.peers:SharedLeNet"


def results(name):
    sizes = {} if name == "CAUX" else {"channels": "16-32", "hidden": "64-64-32"}
    [record] = train(tiny(name, **sizes), range(2), measures=["gradient_norms", "final_score"])
    return {field: value for field, value in record.items() if field != "provenance"}


@pytest.mark.parametrize("name", ["CAUX", pytest.param(PLAIN, marks=pytest.mark.slow)])
@pytest.mark.parametrize("setting", STATES.values(), ids=STATES)
def test_a_training_has_a_state_of_its_own(usual, name, setting):
    with setting():
        before = state()
        found = results(name)
        assert state() == before, "it is the caller's afterwards"
    assert found == usual[name]


@pytest.mark.parametrize("setting", [torch.inference_mode, STATES["default dtype"]], ids=["inference_mode", "dtype"])
def test_the_door_that_a_user_takes_has_it_too(tmp_path, setting):
    """One group, which trains in this very process, and its networks."""
    inside, outside = Store(tmp_path / "inside"), Store(tmp_path / "outside")
    with setting():
        result = run_analysis(tiny("WSN"), 3, store=inside, progress=False)
        held = networks(tiny("WSN"), 3, store=inside, progress=False)
    assert (
        result.records[0]["test_correct"]
        == (run_analysis(tiny("WSN"), 3, store=outside, progress=False).records[0]["test_correct"])
    )
    assert held(torch.zeros(1, 2, 14, 14))["answer"].dtype == torch.float32
