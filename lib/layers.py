"""Layers that hold many trials side by side: trial t reads and writes only its own slice.

Public tensors are `[trials, batch, ...]` and every parameter has `trials` as its first axis; how the trials lie in
memory inside a layer is that layer's affair. The idea is PyTorch's model ensembling, written with grouped and batched
operations.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from lib import fused
from lib.messages import show


class ConvBlock(nn.Module):
    """3x3 convolution, batch normalisation, 2x2 max pooling, ReLU, for `trials` independent networks.

    Maps `[trials, batch, digits, in_channels, size, size]` to `[trials, batch, digits, out_channels, q, q]` with
    q = (size - 2) // 2. The digits of a pair pass *one after the other* (original report, section 1.2): each has batch
    statistics of its own, and each updates the running statistics in turn. The convolution has no padding, and no bias,
    which batch normalisation would cancel.
    """

    momentum, eps = 0.1, 1e-5  # as in torch.nn.BatchNorm2d

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, trials: int, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.size = in_channels, out_channels, size
        self.implementation = "torch"
        self.weight = nn.Parameter(torch.zeros(trials, out_channels, in_channels, 3, 3))
        self.gamma = nn.Parameter(torch.ones(trials, out_channels))
        self.beta = nn.Parameter(torch.zeros(trials, out_channels))
        self.register_buffer("running_mean", torch.zeros(trials, out_channels))
        self.register_buffer("running_var", torch.ones(trials, out_channels))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Channels in, channels out, and size of the image: what the compiled block must cover."""
        return self.in_channels, self.out_channels, self.size

    def draw(self, place: int, rng: np.random.Generator) -> None:
        """Give the trial at `place` its initial weights; batch normalisation starts at 1 and 0."""
        draw_uniform([self.weight], self.weight[0, 0].numel(), place, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block by the chosen implementation; both compute the same up to rounding."""
        differentiable = self.training or not (
            torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        )
        if self.implementation == "fused" and x.shape[-2:] == (self.size, self.size) and differentiable:
            return self.forward_fused(x)
        return torch.stack([self.forward_torch(digit) for digit in x.unbind(2)], dim=2)

    def forward_torch(self, x: Tensor) -> Tensor:
        """One digit, `[trials, batch, channels, H, W]`, by PyTorch's grouped convolution, one group per trial."""
        trials = len(self.weight)
        x = x.transpose(0, 1).flatten(1, 2)  # -> [batch, trials * channels, H, W]
        if x.dtype == torch.float32:
            x = x.contiguous(memory_format=torch.channels_last)  # twice as fast for grouped convolutions on a CPU
        x = F.conv2d(x, self.weight.flatten(0, 1), groups=trials)
        mean, var = self.running_mean.flatten(), self.running_var.flatten()  # views: updated in place
        x = F.batch_norm(
            x, mean, var, self.gamma.flatten(), self.beta.flatten(), self.training, self.momentum, self.eps
        )
        x = F.relu(F.max_pool2d(x, 2)).unflatten(1, (trials, -1))
        return x.transpose(0, 1)

    def forward_fused(self, x: Tensor) -> Tensor:
        """All digits at once by the compiled block."""
        if x.device.type == "cuda":
            return self.forward_cuda(x)
        x = fused.arranged(x)
        if self.training:
            y, mean, var = fused.block(x, self.weight, self.gamma, self.beta, self.eps)
            n = x.shape[1] * (self.size - 2) ** 2
            for digit in range(x.shape[2]):
                self.running_mean.lerp_(mean[:, digit], self.momentum)
                self.running_var.lerp_(var[:, digit] * (n / (n - 1)), self.momentum)  # unbiased, as in BatchNorm2d
            return y
        return fused.block_test(x, self.weight, self.gamma, self.beta, self.running_mean, self.running_var, self.eps)

    def forward_cuda(self, x: Tensor) -> Tensor:
        """All digits at once by the block for a GPU."""
        from lib import cuda  # and Triton, which there is only with a GPU

        if self.training:
            y, mean, var = cuda.block(x, self.weight, self.gamma, self.beta, self.eps)
            cuda.learn(self.running_mean, self.running_var, mean, var, self.momentum, x.shape[1] * (self.size - 2) ** 2)
            return y
        return cuda.block_test(x, self.weight, self.gamma, self.beta, self.running_mean, self.running_var, self.eps)

    def extra_repr(self) -> str:
        """Show the channels where `print(network)` shows the block."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size=3, implementation={self.implementation}"

    def plain(self, place: int) -> nn.Module:
        """Return the block of the trial at `place` in ordinary layers, for one digit `[batch, channels, h, w]`."""
        convolution = nn.Conv2d(self.in_channels, self.out_channels, 3, bias=False)
        norm = nn.BatchNorm2d(self.out_channels, self.eps, self.momentum)
        filled(convolution, weight=self.weight[place])
        filled(norm, weight=self.gamma[place], bias=self.beta[place])
        norm.running_mean, norm.running_var = self.running_mean[place].clone(), self.running_var[place].clone()
        return nn.Sequential(convolution, norm, nn.MaxPool2d(2), nn.ReLU())


class Flatten(nn.Module):
    """Maps `[trials, batch, *shape]` to `[trials, batch, features]`; it knows the map's shape, for `convolutionize`."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Flatten, refusing maps of another shape in PyTorch's words."""
        return x.flatten(2)

    def plain(self, place: int) -> nn.Module:
        """Return the ordinary layer."""
        return nn.Flatten()

    def extra_repr(self) -> str:
        """Show the shape where `print(network)` shows the layer."""
        return f"{self.shape}"


class Product(Function):
    """`trials` matrix products with a bias: x `[trials, batch, in]`, weight `[trials, out, in]`, bias `[trials, out]`.

    Autograd would form the gradient of the transposed weights and copy it into the order of the weights, at almost the
    cost of the product.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x weight^T + bias, a trial at a time. Few outputs are computed as rows, which is twice as fast."""
        ctx.save_for_backward(x, weight)
        if weight.shape[1] < 16:
            return torch.baddbmm(bias[..., None], weight, x.mT).mT
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x (if it needs one), weight and bias."""
        x, weight = ctx.saved_tensors
        return gradient @ weight if ctx.needs_input_grad[0] else None, gradient.mT @ x, gradient.sum(1)


class Linear(nn.Module):
    """`trials` independent linear layers: `[trials, batch, in_features]` to `[trials, batch, out_features]`."""

    def __init__(self, trials: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(trials, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(trials, out_features))

    def draw(self, place: int, rng: np.random.Generator) -> None:
        """Give the trial at `place` its initial weights and biases."""
        draw_uniform([self.weight, self.bias], self.weight.shape[2], place, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply each trial's features by its own matrix."""
        product: Tensor = Product.apply(x, self.weight, self.bias)
        return product

    def plain(self, place: int) -> nn.Module:
        """Return the layer of the trial at `place` as an ordinary one."""
        layer = nn.Linear(self.weight.shape[2], self.weight.shape[1])
        return filled(layer, weight=self.weight[place], bias=self.bias[place])

    def extra_repr(self) -> str:
        """Show the sizes where `print(network)` shows the layer."""
        return f"{self.weight.shape[2]}, {self.weight.shape[1]}"


class Conv2d(nn.Module):
    """`trials` independent convolutions with bias: `[trials, batch, C, H, W]` to `[trials, batch, C', H', W']`.

    Where the kernel covers the whole map, a convolution is a matrix product and is computed as one.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Take `weight` `[trials, C', C, k, k]` and `bias` `[trials, C']` as they are."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def draw(self, place: int, rng: np.random.Generator) -> None:
        """Give the trial at `place` its initial weights and biases."""
        draw_uniform([self.weight, self.bias], self.weight[0, 0].numel(), place, rng)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each trial's maps with its own kernels."""
        if x.shape[-3:] == self.weight.shape[-3:]:
            product: Tensor = Product.apply(x.flatten(2), self.weight.flatten(2), self.bias)
            return product[..., None, None]
        trials = len(self.weight)
        x = x.transpose(0, 1).flatten(1, 2)  # -> [batch, trials * C, H, W]
        x = F.conv2d(x, self.weight.flatten(0, 1), self.bias.flatten(), groups=trials)
        x = x.unflatten(1, (trials, -1))
        return x.transpose(0, 1)

    def plain(self, place: int) -> nn.Module:
        """Return the convolution of the trial at `place` as an ordinary one."""
        layer = nn.Conv2d(self.weight.shape[2], self.weight.shape[1], self.weight.shape[3])
        return filled(layer, weight=self.weight[place], bias=self.bias[place])

    def extra_repr(self) -> str:
        """Show the sizes where `print(network)` shows the layer."""
        return f"{self.weight.shape[2]}, {self.weight.shape[1]}, kernel_size={self.weight.shape[3]}"


class Dropout(nn.Module):
    """Dropout for `trials` independent networks: each trial's masks come from a stream of its own.

    Zeroes numbers of `[trials, batch, ...]` with probability `p` in training and scales the others, as in
    torch.nn.Dropout; whatever the stack, a trial sees the same masks.
    """

    def __init__(self, trials: int, p: float = 0.5) -> None:
        """Drop each number with probability `p`. Raises ValueError for one outside [0, 1)."""
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {show(p)}; allowed: 0 to less than 1")
        self.p = p
        self.streams = [np.random.default_rng(place) for place in range(trials)]

    def listen(self, place: int, rng: np.random.Generator) -> None:
        """Let the trial at `place` draw its masks from `rng`."""
        self.streams[place] = rng

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training; in evaluation mode return `x` as it is."""
        if not self.training or self.p == 0:
            return x
        size = tuple(x.shape[1:])  # drawn in numpy, a trial at a time: torch's own generator would mix the trials
        kept = np.stack([rng.random(size, np.float32) >= self.p for rng in self.streams])
        return x * torch.from_numpy(kept).to(x.device) / (1 - self.p)

    def plain(self, place: int) -> nn.Module:
        """Return the ordinary layer, whose masks come from torch's generator."""
        return nn.Dropout(self.p)

    def extra_repr(self) -> str:
        """Show the probability where `print(network)` shows the layer."""
        return f"p={self.p}"


class Shell(nn.Module):
    """Gives an ordinary layer the only trial of a stack of one: `[1, batch, ...]` in and out.

    With an axis of `digits` behind the batch, they pass one after the other.
    """

    def __init__(self, layer: nn.Module, digits: bool = False) -> None:
        super().__init__()
        self.layer, self.digits = layer, digits

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.digits:
            return torch.stack([self.layer(digit) for digit in x[0].unbind(1)], dim=1)[None]
        only: Tensor = self.layer(x[0])
        return only[None]


def filled(layer: nn.Module, **values: Tensor) -> nn.Module:
    """Give a layer these weights, as they are."""
    for name, value in values.items():
        setattr(layer, name, nn.Parameter(value.detach().clone()))
    return layer


def draw_uniform(parameters: list[Tensor], fan_in: int, place: int, rng: np.random.Generator) -> None:
    """Fill the trial at `place` with numbers uniform in +-1 / sqrt(fan-in), as torch.nn.Linear and torch.nn.Conv2d do.

    Drawn in float64 and cast: `torch.rand` in float32 depends on the processor.
    """
    bound = fan_in**-0.5
    with torch.no_grad():
        for parameter in parameters:
            parameter[place] = torch.from_numpy(rng.uniform(-bound, bound, size=tuple(parameter.shape[1:])))
