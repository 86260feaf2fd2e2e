"""The hot block of the networks, relu(maxpool2(batchnorm(conv3x3(x)))), on a GPU: many trials, by Triton's kernels.

The arithmetic is in `kernels.py`; here is how it is called and differentiated. Nothing imports this without a GPU.
"""

import functools
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor
from torch.autograd import Function

from lib.cuda import kernels

# How products of float32 are computed: "ieee" in float32, "tf32x3" as three products of halves on the tensor cores,
# whose error is no greater (and whose time is half).
EXACT = "tf32x3"

# What a program works on at once: channels or outputs, windows or places; and its warps. Measured on an H100.
FIRST = {"CH": 4, "P": 64, "num_warps": 2}
FIRST_BACK = {"CH": 1, "P": 128, "num_warps": 4}
FORWARD = {"OC": 32, "M": 64, "num_warps": 4}
CENTRE = {"OC": 16, "M": 64, "num_warps": 4}
WEIGHT = {"K": 16, "R": 32, "num_warps": 2}
INPUT = {"M": 64, "num_warps": 4}
TEST = {"OC": 32, "M": 128, "num_warps": 4}
TESTED = 2048  # windows of a test set per program


def block(x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Training: normalise by the statistics of the batch, each digit of each trial by its own; differentiable.

    `x` is `[trials, batch, digits, channels, size, size]`, `weight` `[trials, outputs, channels, 3, 3]`, `gamma` and
    `beta` `[trials, outputs]`. Returns y `[trials, batch, digits, outputs, q, q]` with q = (size - 2) // 2, and for the
    running statistics mean and (biased) variance of the convolution, `[trials, digits, outputs]`, through which no
    gradient passes. Nor does one reach `x` in the first block (one channel), which reads data.
    """
    done: tuple[Tensor, Tensor, Tensor] = Block.apply(x, weight, gamma, beta, eps)
    return done


def block_test(
    x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor, eps: float
) -> Tensor:
    """Test: normalise by running statistics, `[trials, outputs]`; not differentiable. Shapes are those of `block`."""
    x = by_image(x)
    (trials, batch, digits, *_), (channels, outputs, size, q) = x.shape, sizes(x, weight)
    y = x.new_empty(trials, batch, digits, outputs, q, q)
    parts = -(-batch * q * q // TESTED)
    others = gamma, beta, running_mean, running_var, y, *x.stride()[:3], batch, digits, eps, TESTED
    if channels == 1:
        grid = trials * digits, outputs // FIRST["CH"], parts
        kernels.first_test[grid](x, weight.contiguous(), *others, C=outputs, SIZE=size, Q=q, **FIRST)
    else:
        grid = trials * digits, outputs // TEST["OC"], parts
        kernels.second_test[grid](x, packed(weight), *others, IN=channels, C=outputs, SIZE=size, EXACT=EXACT, **TEST)
    return y


def learn(running_mean: Tensor, running_var: Tensor, mean: Tensor, var: Tensor, momentum: float, n: int) -> None:
    """Move running statistics `[trials, outputs]` by those of each digit in turn, of `n` numbers each, in place."""
    trials, digits, outputs = mean.shape
    unbiased = n / (n - 1)  # as in BatchNorm2d
    kernels.learn_statistics[trials,](running_mean, running_var, mean, var, digits, momentum, unbiased, C=outputs)


class Block(Function):
    """The autograd rule of `block`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute y, mean and variance; of the second block keep the convolution, too."""
        x = by_image(x)
        (trials, batch, digits, *_), (channels, outputs, size, q) = x.shape, sizes(x, weight)
        y = x.new_empty(trials, batch, digits, outputs, q, q)
        mean, var = (x.new_empty(trials, digits, outputs) for _ in range(2))
        shape = *x.stride()[:3], batch, digits, eps
        if channels == 1:
            z, weight = x.new_empty(0), weight.contiguous()
            grid = trials * digits, outputs // FIRST["CH"]
            kernels.first_forward[grid](
                x, weight, gamma, beta, y, mean, var, *shape, C=outputs, SIZE=size, Q=q, **FIRST
            )
        else:
            z, weight = x.new_empty(trials, digits, batch, size - 2, size - 2, outputs), packed(weight)
            grid = trials * digits, outputs // FORWARD["OC"]
            kernels.second_forward[grid](
                x, weight, gamma, beta, y, z, mean, var, *shape,
                IN=channels, C=outputs, SIZE=size, EXACT=EXACT, **FORWARD,
            )  # fmt: skip
        ctx.save_for_backward(x, weight, gamma, beta, mean, var, z)
        ctx.eps, ctx.sizes = eps, (channels, outputs, size, q)
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x (if it needs one), weight, gamma and beta."""
        back = first_back if ctx.sizes[0] == 1 else second_back
        return *back(ctx, gradient.contiguous(), *ctx.saved_tensors), None


def first_back(
    ctx: Any,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    var: Tensor,
    *nothing: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of the first block's weight, gamma and beta; none of the images."""
    (trials, batch, digits, *_), (_, outputs, size, q) = x.shape, ctx.sizes
    shape = *x.stride()[:3], batch, digits
    dw, dgamma, dbeta = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(beta)
    kernels.first_backward[trials, outputs // FIRST_BACK["CH"]](
        gradient, x, weight, gamma, beta, mean, var, dw, dgamma, dbeta, *shape, ctx.eps,
        C=outputs, SIZE=size, Q=q, **FIRST_BACK,
    )  # fmt: skip
    return None, dw, dgamma, dbeta


def second_back(
    ctx: Any,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    var: Tensor,
    z: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of the second block's maps (if they need one), weight, gamma and beta."""
    (trials, batch, digits, *_), (channels, outputs, size, _) = x.shape, ctx.sizes
    form: dict[str, Any] = {"IN": channels, "C": outputs, "SIZE": size, "EXACT": EXACT}
    dz, dgamma, dbeta = torch.empty_like(z), torch.empty_like(gamma), torch.empty_like(beta)
    kernels.second_centre[trials, outputs // CENTRE["OC"]](
        gradient, z, gamma, beta, mean, var, dz, dgamma, dbeta, batch, digits, ctx.eps, C=outputs, SIZE=size, **CENTRE
    )
    dw = x.new_empty(trials, outputs, channels, 3, 3)
    parts = -(-9 * channels // WEIGHT["K"])
    kernels.second_weight[trials, parts](dz, x, dw, *x.stride()[:3], batch, digits, **form, **WEIGHT)
    if not ctx.needs_input_grad[0]:
        return None, dw, dgamma, dbeta
    dx = x.new_empty(x.shape)
    parts = -(-batch * size * size // INPUT["M"])
    kernels.second_input[trials * digits, parts](dz, weight, dx, batch, digits, **form, **INPUT)
    return dx, dw, dgamma, dbeta


def packed(weight: Tensor) -> Tensor:
    """Return weights as the second block's kernels read them, `[trials, 9, channels, outputs]`."""
    return weight.flatten(3).permute(0, 3, 2, 1).contiguous()


def by_image(x: Tensor) -> Tensor:
    """Return `x` with the pixels of each digit's maps side by side; copied if need be."""
    return x if x[0, 0, 0].is_contiguous() else x.contiguous()


def sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int, int]:
    """Channels, outputs, size of the image and of what is made of it."""
    return x.shape[3], weight.shape[1], x.shape[-1], (x.shape[-1] - 2) // 2


def covers(channels: int, outputs: int, size: int) -> bool:
    """Whether there are kernels for this many channels and images of `size` x `size`: powers of two, even sizes."""
    powers = all(number & (number - 1) == 0 for number in (channels, outputs))
    wide = (channels == 1 and outputs >= 4) or (channels >= 16 and outputs >= 32)
    return powers and wide and size % 2 == 0 and max(channels, outputs) <= 128


@functools.cache
def available(shapes: tuple[tuple[int, int, int], ...], dtype: torch.dtype, device: str) -> tuple[bool, str]:
    """Whether the block works on a GPU, and in one sentence how or why not. Compiles it if need be (seconds)."""
    name = torch.cuda.get_device_name(device)
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False, f"the block for a GPU needs one of 2020 or later, and this is {name}"
    if dtype not in (torch.float32, torch.float64):
        return False, f"the block for a GPU computes in float32 and float64, not in {dtype}"
    if not all(covers(*shape) for shape in shapes):
        return False, "the block for a GPU does not cover these channels and image sizes"
    try:
        if all(agrees(*shape, dtype, device) for shape in shapes):
            return True, f"Triton {triton.__version__} on {name}"
        return False, f"the results of the block for a GPU differ from PyTorch's on {name}"
    except Exception as error:  # whatever a compiler or a driver says
        return False, f"the block for a GPU could not be tested ({type(error).__name__}: {error})"


def agrees(channels: int, outputs: int, size: int, dtype: torch.dtype, device: str) -> bool:
    """Whether y and the gradients of one shape are PyTorch's in float64, for two trials with one digit."""
    random = torch.Generator().manual_seed(0)
    forms = (2, 3, 1, channels, size, size), (2, outputs, channels, 3, 3), (2, outputs), (2, outputs)
    exact = [torch.randn(form, generator=random, dtype=torch.float64) for form in forms]
    exact = [tensor.to(device).requires_grad_(place > 0 or channels > 1) for place, tensor in enumerate(exact)]
    drawn = [tensor.detach().to(dtype).requires_grad_(tensor.requires_grad) for tensor in exact]
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cuda", enabled=False):
        x, weight, gamma, beta = exact
        maps = F.conv2d(x[:, :, 0].transpose(0, 1).flatten(1, 2), weight.flatten(0, 1), groups=2)
        maps = F.batch_norm(maps, None, None, gamma.flatten(), beta.flatten(), training=True)
        wanted = F.relu(F.max_pool2d(maps, 2)).unflatten(1, (2, -1)).transpose(0, 1)
        y = Block.apply(*drawn, 1e-5)[0][:, :, 0]
        ours, theirs = ([made, *gradients(made, of)] for made, of in ((y, drawn), (wanted, exact)))
    return all(bool((a - b).abs().max() < 1e-3 * b.abs().max()) for a, b in zip(ours, theirs, strict=True))


def gradients(y: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of the sum of squares, of those that have one."""
    return torch.autograd.grad(y.square().sum(), [tensor for tensor in tensors if tensor.requires_grad])
