"""The hot block of the networks, relu(maxpool2(batchnorm(conv3x3(x)))), compiled: many trials, on a CPU.

The arithmetic is in `block.cpp`, which a C++ compiler turns into a library on first use (`build.py`). Without a
compiler `available()` says so, and PyTorch's own operations do the same work, slower.
"""

import ctypes
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from lib.fused import build
from lib.fused.build import library

__all__ = ["arranged", "available", "block", "block_test", "covers"]

# Channels, outputs and size, as in the table in block.cpp: the project's widths, half and twice of them.
SHAPES = {(1, 8, 14), (1, 16, 14), (1, 32, 14), (8, 16, 6), (16, 32, 6), (32, 64, 6)}


def covers(channels_in: int, channels_out: int, size: int) -> bool:
    """Whether the block is compiled for this many channels and images of `size` x `size`."""
    return (channels_in, channels_out, size) in SHAPES


def available() -> tuple[bool, str]:
    """Whether the compiled block works here, and in one sentence how or why not. Compiles it if need be (seconds)."""
    try:
        for _ in range(2):  # a library from the cache may have been damaged before it was kept: once more
            loaded, why = library()
            if loaded is None or computes(loaded):
                return loaded is not None, why
            build.discard(loaded)
    except Exception as error:
        return False, f"the compiled block could not be tested ({build.named(error)})"
    return False, build.give_up("the compiled block's results differ from PyTorch's on this machine")


def block(x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Training: normalise by the statistics of the batch, each digit of each trial by its own; differentiable.

    `x` is `[trials, batch, digits, channels, size, size]`, in memory as `arranged` puts it; `weight` is
    `[trials, outputs, channels, 3, 3]`, `gamma` and `beta` `[trials, outputs]`: one set of weights serves all digits of
    a trial. Returns y `[trials, batch, digits, outputs, q, q]` with q = (size - 2) // 2, arranged for the second block
    by the first, and for the running statistics the mean and the (biased) variance of the convolution,
    `[trials, digits, outputs]`, through which no gradient passes. Nor does one reach `x` in the first block (one
    channel), which reads data.

    Raises TypeError for tensors that are not float32 on the CPU, ValueError for shapes that do not fit, for memory in
    another order, and for a first block whose `x` requires a gradient.
    """
    check_tensors(x, weight, gamma=gamma, beta=beta)
    if first(x) and x.requires_grad:
        raise ValueError("x has one channel and requires a gradient, which the first block does not compute")
    done: tuple[Tensor, Tensor, Tensor] = Block.apply(x, weight, gamma, beta, eps)
    return done


def block_test(
    x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor, eps: float
) -> Tensor:
    """Test: normalise by running statistics, `[trials, outputs]`; not differentiable.

    Shapes and errors are those of `block`.
    """
    check_tensors(x, weight, gamma=gamma, beta=beta, running_mean=running_mean, running_var=running_var)
    y = empty_output(x, weight)
    others = pointers(x, weight, gamma, beta, running_mean, running_var)
    functions().fused_test(*shape(x, weight), *x.shape[:3], *others, eps, y.data_ptr())
    return y


class Block(Function):
    """The autograd rule of `block`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute y, mean and variance; keep what the gradients need."""
        sizes = [*shape(x, weight), *x.shape[:3]]
        y = empty_output(x, weight)
        mean = x.new_empty(len(x), x.shape[2], weight.shape[1])
        var = torch.empty_like(mean)
        kept = x.new_empty(len(x), functions().fused_saved(*sizes[:3], *sizes[4:]))
        functions().fused_forward(*sizes, *pointers(x, weight, gamma, beta), eps, *pointers(y, mean, var, kept))
        ctx.save_for_backward(x, weight, gamma, mean, var, y, kept)
        ctx.eps, ctx.sizes = eps, sizes
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x (if it needs one), weight, gamma and beta."""
        x, weight, gamma, mean, var, y, kept = ctx.saved_tensors
        gradient = between(gradient).contiguous() if first(x) else gradient.contiguous()  # as y is
        dx = back(torch.empty_like(between(x))) if ctx.needs_input_grad[0] else None
        dw, dgamma, dbeta = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(gamma)
        functions().fused_backward(
            *ctx.sizes,
            *pointers(gradient, x, weight, gamma, mean, var),
            ctx.eps,
            *pointers(y, kept, dx, dw, dgamma, dbeta),
        )
        return dx, dw, dgamma, dbeta, None


def functions() -> ctypes.CDLL:
    """Return the library; raise RuntimeError with the reason where there is none."""
    loaded, why = library()
    if loaded is None:
        raise RuntimeError(why)
    return loaded


def shape(x: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Channels, outputs and size: what selects the compiled block."""
    return x.shape[3], weight.shape[1], x.shape[-1]


def first(x: Tensor) -> bool:
    """Whether `x` are images, which the first block reads."""
    return x.shape[3] == 1


def between(x: Tensor) -> Tensor:
    """Return maps in the order of axes that they have in memory between the blocks."""
    return x.permute(0, 2, 1, 4, 5, 3)


def back(maps: Tensor) -> Tensor:
    """Undo `between`."""
    return maps.permute(0, 2, 1, 5, 3, 4)


def arranged(x: Tensor) -> Tensor:
    """Return `x` `[trials, batch, digits, channels, size, size]`, in memory as `block` reads it, copied if need be."""
    return x.contiguous() if first(x) else back(between(x).contiguous())


def empty_output(x: Tensor, weight: Tensor) -> Tensor:
    """Memory for y."""
    trials, batch, digits, *_, size = x.shape
    outputs, q = weight.shape[1], (size - 2) // 2
    if first(x):
        return back(x.new_empty(trials, digits, batch, q, q, outputs))
    return x.new_empty(trials, batch, digits, outputs, q, q)


def pointers(*tensors: Tensor | None) -> list[int | None]:
    """Where the tensors' floats are."""
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def check_tensors(x: Tensor, weight: Tensor, **per_output: Tensor) -> None:
    """Refuse what the library, which sees only addresses, would misread."""
    for name, tensor in {"x": x, "weight": weight, **per_output}.items():
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}; the compiled block takes float32 on the CPU")
    if x.ndim != 6 or x.shape[4] != x.shape[5]:
        raise ValueError(f"x has shape {list(x.shape)}; allowed: [trials, batch, digits, channels, size, size]")
    for name, tensor in {"x": x if first(x) else between(x), "weight": weight, **per_output}.items():
        if not tensor.is_contiguous():
            raise ValueError(f"{name}, of shape {list(tensor.shape)}, is not contiguous (x: as `arranged` puts it)")
    if weight.ndim != 5 or weight.shape[0] != x.shape[0] or weight.shape[2:] != (x.shape[3], 3, 3):
        wanted = f"[{x.shape[0]}, outputs, {x.shape[3]}, 3, 3]"
        raise ValueError(f"weight has shape {list(weight.shape)}; with this x it must have {wanted}")
    if not covers(*shape(x, weight)):
        raise ValueError(f"channels, outputs and size are {shape(x, weight)}; compiled: {sorted(SHAPES)}")
    if 0 in x.shape:
        raise ValueError(f"x has shape {list(x.shape)}, without any image")
    for name, tensor in per_output.items():
        if tensor.shape != weight.shape[:2]:
            raise ValueError(f"{name} has shape {list(tensor.shape)}; it must have {list(weight.shape[:2])}")


@cache
def computes(loaded: ctypes.CDLL) -> bool:
    """Compare a library with PyTorch once, on a few images: a miscompiled one must not decide a result.

    What the caller has set in torch decides nothing here: PyTorch's side is computed in float64, which none of its
    switches for speed touches.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        return all(agrees(*each) for each in sorted(SHAPES))


def agrees(channels: int, outputs: int, size: int) -> bool:
    """Whether y and the gradients of one compiled shape are PyTorch's, for one trial with one digit."""
    random = torch.Generator("cpu").manual_seed(0)
    shapes = (3, channels, size, size), (outputs, channels, 3, 3), (outputs,), (outputs,)
    drawn = [torch.randn(s, generator=random, dtype=torch.float32, device="cpu").requires_grad_() for s in shapes]
    exact = [tensor.detach().double().requires_grad_() for tensor in drawn]
    x, weight, gamma, beta = exact
    wanted = F.relu(F.max_pool2d(F.batch_norm(F.conv2d(x, weight), None, None, gamma, beta, training=True), 2))
    x, *others = drawn
    x = arranged(x.detach()[None, :, None] if channels == 1 else x[None, :, None])
    y = Block.apply(x, *(tensor[None] for tensor in others), 1e-5)[0][0, :, 0]
    part = slice(1 if channels == 1 else 0, None)  # the first block has no gradient of x
    pairs = [(y, wanted), *zip(gradients(y, drawn[part]), gradients(wanted, exact[part]), strict=True)]
    return all(bool((ours - theirs).abs().max() < 1e-3 * theirs.abs().max()) for ours, theirs in pairs)


def gradients(y: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of the sum of squares."""
    return torch.autograd.grad(y.square().sum(), tensors)
