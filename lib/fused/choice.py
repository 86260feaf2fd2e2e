"""Which implementation of the hot block runs: the compiled one where it works, else PyTorch's own operations."""

import os
from collections.abc import Iterable
from typing import NamedTuple

import torch

from lib import fused
from lib.messages import one_of

IMPLEMENTATIONS = ("auto", "fused", "torch")


class Choice(NamedTuple):
    """Which implementation of the hot block runs, and why."""

    implementation: str
    why: str


def choose_implementation(
    shapes: Iterable[tuple[int, int, int]], dtype: torch.dtype, device: str = "cpu", wish: str = ""
) -> Choice:
    """Choose how the convolution blocks of a network are computed: `fused` (compiled) or `torch`.

    Compiled by a C++ compiler for the CPU, in float32; by Triton for a GPU.

    `shapes` are those of the blocks: channels in, channels out, size of the image. `wish`, or the environment variable
    `LIB_IMPLEMENTATION`, forces one of them; "auto" takes `fused` where it works.

    Raises ValueError for another wish, or when `fused` is asked for and cannot run.
    """
    if wish:
        checked(wish)
    else:
        wish = checked(os.environ.get("LIB_IMPLEMENTATION", "").strip() or "auto", "LIB_IMPLEMENTATION")
    if wish == "torch":
        return Choice("torch", "asked for")
    if device != "cpu":
        works, why = works_on_gpu(shapes, dtype, device)
    elif dtype != torch.float32:
        works, why = False, f"the compiled block computes in float32, not in {dtype}"
    elif not all(fused.covers(*shape) for shape in shapes):
        works, why = False, "the compiled block does not cover these channels and image sizes"
    else:
        works, why = fused.available()
    if wish == "fused" and not works:
        raise ValueError(f"implementation is 'fused', which cannot run here: {why}")
    return Choice("fused" if works else "torch", why)


def works_on_gpu(shapes: Iterable[tuple[int, int, int]], dtype: torch.dtype, device: str) -> tuple[bool, str]:
    """Whether the block for a GPU computes these shapes there, and in a sentence how or why not."""
    if not torch.cuda.is_available():
        return False, f"torch sees no GPU here, which {device!r} asks for"
    try:
        from lib import cuda  # and Triton, which does not come with every torch
    except ImportError as error:
        return False, f"the block for a GPU needs Triton ({error})"
    return cuda.available(tuple(shapes), dtype, device)


def checked(wish: str, name: str = "implementation") -> str:
    """Return a wish for an implementation. Raises ValueError for another word."""
    one_of(name, wish, IMPLEMENTATIONS)
    return wish
