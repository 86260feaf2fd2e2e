"""Torch's global settings while something is trained: those it starts with, whatever the calling process has set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def own_state() -> Iterator[None]:
    """Compute under torch's defaults in float32, TF32 off, gradients on; afterwards all is as the caller had it.

    So a notebook's `set_grad_enabled(False)`, `inference_mode`, default dtype or device, `autocast` and the like decide
    neither whether a training works nor what is stored of it. The number of threads is the workers' affair.
    """
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    uninitialized: Any = torch.utils.deterministic  # a module whose attribute is a property
    fill, flushing = uninitialized.fill_uninitialized_memory, flushes_denormals()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        stack.enter_context(torch.autocast("cpu", enabled=False))
        before = torch.backends.mkldnn.set_flags(True, False)  # enabled, deterministic
        stack.callback(torch.backends.mkldnn.set_flags, *before[:2])
        if torch.get_default_device().type != "cpu":  # as a mode it would slow every call
            stack.enter_context(torch.device("cpu"))
        if torch.cuda.is_available():
            stack.enter_context(torch.autocast("cuda", enabled=False))
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        try:
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision("highest")
            if deterministic:  # setting it imports torch's compiler, which takes seconds
                torch.use_deterministic_algorithms(False)
            uninitialized.fill_uninitialized_memory = False
            torch.set_flush_denormal(False)
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(precision)
            if deterministic:
                torch.use_deterministic_algorithms(True, warn_only=warn_only)
            uninitialized.fill_uninitialized_memory = fill
            torch.set_flush_denormal(flushing)


def flushes_denormals() -> bool:
    """Say whether numbers close to 0 become 0, which torch can set and not tell."""
    return bool((torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 0.5 == 0).item())
