"""The compiled block computes what PyTorch does in float64, up to the rounding of float32; building it never raises."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lib import fused, machine
from lib.fused import build
from lib.fused.choice import choose_implementation
from tests.lib.stacks import compiled

EPS = 1e-5
SHAPES = [(1, 16, 14), (16, 32, 6)]  # the project's
ALL = sorted(fused.SHAPES)


def draw(shape, trials, digits, batch, kind="noise", seed=0):
    """Inputs of the block: x (`noise`, or mostly equal `background`), weights, gamma of both signs, beta."""
    channels, outputs, size = shape
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(trials, batch, digits, channels, size, size, generator=random)
    if kind == "background":  # a few bright pixels on one shade: most windows of the pooling have ties
        lit = torch.rand(x.shape, generator=random) < 0.5 / channels
        x = torch.where(lit, x.abs() + 0.1, torch.tensor(-0.42 if channels == 1 else 0.0))
    weight = (torch.rand(trials, outputs, channels, 3, 3, generator=random) * 2 - 1) / (9 * channels) ** 0.5
    gamma = torch.randn(trials, outputs, generator=random)
    beta = torch.randn(trials, outputs, generator=random) / 2
    return fused.arranged(x), weight, gamma, beta


def reference(x, weight, gamma, beta, statistics=None):
    """The definition, digit by digit of each trial, in the precision of its inputs: y, mean, variance."""
    ys, means, variances = [], [], []
    for t in range(len(x)):
        for images in x[t].unbind(1):
            z = F.conv2d(images, weight[t])
            means.append(z.mean((0, 2, 3)))
            variances.append(z.var((0, 2, 3), correction=0))
            mean, var = (None, None) if statistics is None else (statistics[0][t], statistics[1][t])
            normal = F.batch_norm(z, mean, var, gamma[t], beta[t], training=statistics is None, eps=EPS)
            ys.append(F.relu(F.max_pool2d(normal, 2)))
    y, mean, variance = (torch.stack(each).unflatten(0, (len(x), -1)) for each in (ys, means, variances))
    return y.transpose(1, 2), mean, variance


def gradients(block, inputs, direction):
    """Gradients of `sum(y * direction)`, of the inputs that require one."""
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    return torch.autograd.grad((block(*inputs)[0] * direction).sum(), wanted)


def prepare(inputs, dtype=torch.float32):
    """Leaves in `dtype` that require gradients, except images of one channel, which are data."""
    x, *others = (tensor.detach().to(dtype) for tensor in inputs)
    return [x.requires_grad_(x.shape[3] > 1), *(tensor.requires_grad_() for tensor in others)]


def ours(*inputs):
    return fused.block(*inputs, EPS)


def assert_close(actual, expected, tolerance):
    """Compare on the scale of the tensor: a sum's rounding error is relative to its terms, not to the result."""
    error = (actual.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    assert error < tolerance, f"relative error {error:.1e}"


def without_near_ties(shape, trials, digits, batch, kind="noise"):
    """Draw inputs in whose pooling windows float32 and float64 choose alike.

    Where the two greatest of a window differ by less than rounding, either choice is right and the gradients differ.
    Exact ties stay: both must give them to the first.
    """
    for seed in range(100):
        inputs = draw(shape, trials, digits, batch, kind, seed)
        x, weight, gamma, _ = (tensor.double() for tensor in inputs)
        z = torch.stack([F.conv2d(a.flatten(0, 1), w) for a, w in zip(x, weight, strict=True)])
        z = (z * gamma.sign()[:, None, :, None, None]).unfold(3, 2, 2).unfold(4, 2, 2).flatten(-2)
        gap = z.amax(-1, keepdim=True) - z
        close = (gap > 1e-12) & (gap < 2e-6 * z.abs().max())
        if not close.any():
            return inputs
        # Images with a near tie are replaced by the first image without one (and if there is none, draw again).
        bad = close.flatten(2).any(2).unflatten(1, (batch, digits)).transpose(1, 2)
        if all((~row).any() for row in bad.flatten(0, 1)):
            for t in range(trials):
                for d in range(digits):
                    inputs[0][t, bad[t, d], d] = inputs[0][t, (~bad[t, d]).nonzero()[0, 0], d].clone()
            return inputs
    raise AssertionError("no inputs without near ties")


@compiled
@pytest.mark.parametrize("kind", ["noise", "background"])
@pytest.mark.parametrize("batch", [1, 3, 7, 50])
@pytest.mark.parametrize("digits", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_block_and_its_gradients_are_those_of_pytorch(shape, digits, batch, kind):
    inputs = without_near_ties(shape, 2, digits, batch, kind)
    exact = prepare(inputs, torch.float64)
    expected = reference(*exact)
    actual = ours(*prepare(inputs))
    for ours_, theirs in zip(actual, expected, strict=True):
        assert_close(ours_, theirs, 1e-5)
    direction = torch.randn(expected[0].shape, generator=torch.Generator().manual_seed(1))
    direction[expected[0].abs() < 1e-5] = 0  # at the ReLU's corner either side is right
    pairs = zip(
        gradients(ours, prepare(inputs), direction), gradients(reference, exact, direction.double()), strict=True
    )
    for ours_, theirs in pairs:
        assert_close(ours_, theirs, 3e-5)


@compiled
@pytest.mark.parametrize("shape", ALL)
def test_every_compiled_shape(shape):
    test_block_and_its_gradients_are_those_of_pytorch(shape, 2, 7, "noise")
    test_block_test_is_pytorchs_eval_mode(shape, 7)


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_the_convolution_is_about_as_accurate_as_pytorchs_in_float32(shape):
    x, weight, gamma, beta = draw(shape, 1, 1, 50)
    one, zero = torch.ones_like(gamma), torch.zeros_like(beta)
    inputs = x, weight, one, zero
    (exact, *_), (theirs, *_) = (
        reference(*(t.to(d) for t in inputs), (zero.to(d), one.to(d))) for d in (torch.float64, torch.float32)
    )
    rounding = [(y - exact).square().mean().sqrt() for y in (fused.block_test(*inputs, zero, one, EPS), theirs)]
    assert rounding[0] < 2 * rounding[1]


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_a_channel_with_gamma_zero(shape):
    x, weight, gamma, beta = without_near_ties(shape, 2, 2, 7)
    gamma[:, 1:3], beta[:, 1], beta[:, 2] = 0, 0.5, -0.5
    inputs = x, weight, gamma, beta
    direction = torch.randn(ours(*inputs)[0].shape, generator=torch.Generator().manual_seed(1))
    actual = gradients(ours, prepare(inputs), direction)
    expected = gradients(reference, prepare(inputs, torch.float64), direction.double())
    for ours_, theirs in zip(actual, expected, strict=True):
        assert_close(ours_, theirs, 3e-5)


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_of_equals_gets_the_gradient(shape):
    _, outputs, size = shape
    inputs = draw(shape, 1, 1, 2)
    inputs[0][:, 0] = 0.5  # one image of a single shade: every window is a tie of four
    direction = torch.ones(1, 2, 1, outputs, (size - 2) // 2, (size - 2) // 2)
    direction[:, 1] = 0
    actual = gradients(ours, prepare(inputs), direction)
    expected = gradients(reference, prepare(inputs, torch.float64), direction.double())
    for ours_, theirs in zip(actual, expected, strict=True):
        assert_close(ours_, theirs, 3e-5)


@compiled
@pytest.mark.parametrize("batch", [1, 7, 50])
@pytest.mark.parametrize("shape", SHAPES)
def test_block_test_is_pytorchs_eval_mode(shape, batch):
    x, weight, gamma, beta = draw(shape, 2, 2, batch)
    mean, var = torch.randn(gamma.shape) / 4, torch.rand(gamma.shape) + 0.1
    y = fused.block_test(x, weight, gamma, beta, mean, var, EPS)
    expected, *_ = reference(*(tensor.double() for tensor in (x, weight, gamma, beta)), (mean.double(), var.double()))
    assert_close(y, expected, 1e-5)


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_call_gives_the_same_bits(shape):
    inputs = draw(shape, 3, 2, 7)
    direction = torch.randn(ours(*inputs)[0].shape)
    first, second = ([*ours(*inputs), *gradients(ours, prepare(inputs), direction)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_a_trial_has_the_same_bits_alone_and_in_a_stack(shape):
    inputs = draw(shape, 3, 2, 7)
    direction = torch.randn(ours(*inputs)[0].shape)
    together = [*ours(*inputs), *gradients(ours, prepare(inputs), direction)]
    one = [tensor[1:2] for tensor in inputs]
    alone = [*ours(*one), *gradients(ours, prepare(one), direction[1:2])]
    assert all(torch.equal(a[1:2], b) for a, b in zip(together, alone, strict=True))


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_read_or_written_outside_the_tensors(shape):
    guard = 64
    inputs = prepare(draw(shape, 2, 2, 7))
    expected = ours(*inputs)[0]
    walled = []
    for tensor in inputs:
        memory = torch.full((tensor.numel() + 2 * guard,), float("nan"))
        inner = memory[guard:-guard].as_strided(tensor.shape, tensor.stride(), guard)
        inner.copy_(tensor.detach())
        walled.append(inner)
    assert torch.equal(ours(*walled)[0], expected)


@compiled
def test_not_a_number_stays_visible():
    for shape in SHAPES:
        x, *others = draw(shape, 1, 1, 3)
        x[0, 1, 0, :, 3, 3] = float("nan")
        assert all(result.isnan().all() for result in ours(x, *others))


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gradient_in_any_order_in_memory(shape):
    inputs = draw(shape, 2, 2, 3)
    direction = torch.randn_like(ours(*inputs)[0])
    results = [
        gradients(ours, prepare(inputs), direction.permute(order).contiguous().permute(tuple(np.argsort(order))))
        for order in ((0, 1, 2, 3, 4, 5), (0, 2, 1, 4, 5, 3), (5, 4, 3, 2, 1, 0))
    ]
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@compiled
def test_nothing_is_copied_between_the_images_and_the_heads():
    images, *first = draw(SHAPES[0], 2, 2, 3)
    _, *second = draw(SHAPES[1], 2, 2, 3)
    maps = ours(images, *first)[0]
    assert fused.arranged(images).data_ptr() == images.data_ptr()
    assert fused.arranged(maps).data_ptr() == maps.data_ptr()
    assert ours(maps, *second)[0].is_contiguous()


@compiled
def test_what_does_not_fit_is_refused_in_words():
    x, weight, gamma, beta = draw(SHAPES[1], 2, 2, 3)
    for error, words, arguments in [
        (TypeError, "x is torch.float64", (x.double(), weight, gamma, beta)),
        (ValueError, "gamma.*not contiguous", (x, weight, gamma.t().contiguous().t(), beta)),
        (ValueError, "x.*not contiguous.*arranged", (x.contiguous(), weight, gamma, beta)),
        (ValueError, "x has shape", (x[0], weight, gamma, beta)),
        (ValueError, "weight has shape", (x, weight[:1], gamma, beta)),
        (ValueError, "beta has shape", (x, weight, gamma, beta[:, :3].contiguous())),
        (ValueError, "compiled:", (x, weight[:, :31].contiguous(), gamma, beta)),
        (ValueError, "without any image", (fused.arranged(x[:, :0]), weight, gamma, beta)),
    ]:
        with pytest.raises(error, match=words):
            ours(*arguments)
    x, *others = draw(SHAPES[0], 1, 1, 3)
    with pytest.raises(ValueError, match="requires a gradient"):
        ours(x.requires_grad_(), *others)


def test_covers():
    assert fused.covers(1, 16, 14) and fused.covers(16, 32, 6)
    assert not fused.covers(1, 16, 28) and not fused.covers(3, 16, 14)


# ---------------------------------------------------------------- building

TINY = 'extern "C" { void fused_saved() {} void fused_forward() {} void fused_backward() {} void fused_test() {} }'
WRONG = """
extern "C" {
long fused_saved(int, int, int, long, long) { return 1; }
int fused_forward(int, int, int, long, long, long, void *, void *, void *, void *, double, float *y) {
    y[0] = 1e9;
    return 0;
}
int fused_backward() { return 0; }
int fused_test() { return 0; }
}
"""
# A compiler that takes another source in the block's place, which compiles at once.
COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo {version}; exit; fi
for output; do :; done
exec {real} -w -shared -fPIC {source} -o "$output"
"""


def forget():
    """Let this process look for the block again."""
    build.library.cache_clear()
    fused.available.cache_clear()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A process that has not looked for the block yet, and whose cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)
    forget()
    yield
    forget()


@pytest.fixture
def compiler(tmp_path, monkeypatch, fresh):
    """Put a compiler in the place of the machine's that makes a library of the given source."""
    script, real = tmp_path / "compiler", shutil.which("c++")

    def install(source=TINY, version="1.0"):
        (tmp_path / "source.cpp").write_text(source)
        script.write_text(COMPILER.format(version=version, real=real, source=tmp_path / "source.cpp"))
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
        forget()

    return install


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CXX": "/nonexistent"}, "the C++ compiler '/nonexistent', named by the variable CXX, was not found"),
        ({"CXX": "", "PATH": ""}, "no C++ compiler (c++, g++ or clang++) was found"),
    ],
)
def test_without_a_compiler_there_is_a_reason_and_torch_runs(fresh, monkeypatch, environment, reason):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert fused.available() == (False, reason)
    assert choose_implementation(SHAPES, torch.float32) == ("torch", reason)
    with pytest.raises(ValueError) as caught:
        choose_implementation(SHAPES, torch.float32, wish="fused")
    assert str(caught.value) == f"implementation is 'fused', which cannot run here: {reason}"
    with pytest.raises(RuntimeError) as caught:
        ours(*draw((1, 16, 14), 1, 1, 3))
    assert str(caught.value) == reason


@compiled
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("this is not C++", "failed"),
        ("int nothing;", "could not be loaded"),
        (WRONG, "the compiled block's results differ from PyTorch's on this machine"),
    ],
    ids=["no C++", "no functions", "other results"],
)
def test_a_compiler_that_makes_nothing_of_use_is_a_reason(compiler, source, reason):
    compiler(source)
    works, why = fused.available()
    assert not works and reason in why and "\n" not in why
    assert choose_implementation(SHAPES, torch.float32) == ("torch", why)
    if reason == "failed":
        assert not list(build.cache_folder().iterdir())


def test_a_cache_that_cannot_be_written_is_a_reason(fresh, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    works, why = fused.available()
    assert not works and "could not be built" in why


@compiled
@pytest.mark.parametrize("damage", ["cut short", "one byte", "not a library"])
def test_a_damaged_library_is_compiled_again(compiler, damage):
    def found():
        build.library.cache_clear()
        return build.library()

    compiler()
    assert "from the cache" not in found()[1]
    (path,) = build.cache_folder().iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it is loaded in this process: change a copy
    path.write_bytes({"cut short": content[:5000], "one byte": content, "not a library": b"?"}[damage])
    assert not build.intact(path)
    loaded, why = found()
    assert loaded and "from the cache" not in why and build.intact(path)
    assert "from the cache" in found()[1]


@compiled
def test_another_compiler_flag_processor_or_source_is_another_library(compiler, monkeypatch):
    compiler(version="1.0")
    command = [*build.compiler(), *build.FLAGS]
    keys = [build.key(command), build.key([*command, "-O1"])]
    compiler(version="2.0")
    keys.append(build.key(command))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", lambda path: "model name : another\nflags : fewer")
        machine.processor.cache_clear()
        keys.append(build.key(command))
    machine.processor.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: b"int another;")
        keys.append(build.key(command))
    assert len(set(keys)) == 5
    assert build.key(command) == keys[2]


@compiled
def test_two_processes_may_compile_at_once(compiler, tmp_path):
    compiler("#include <iostream>\n" + TINY)  # half a second: both are at it
    folder = Path(build.__file__).parent
    code = "import build; loaded, why = build.library(); print(bool(loaded), why)"  # by itself: without torch
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder.parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in both] == 2 * [
        f"True compiled by {tmp_path / 'compiler'}\n"
    ]
    (path,) = (tmp_path / "cache" / "pairs-of-digits").iterdir()
    assert build.intact(path)


# ---------------------------------------------------------------- the choice of an implementation


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)


def test_torch_always_runs(unset, monkeypatch):
    assert choose_implementation(SHAPES, torch.float32, wish="torch") == ("torch", "asked for")
    monkeypatch.setenv("LIB_IMPLEMENTATION", "torch")
    assert choose_implementation(SHAPES, torch.float32).implementation == "torch"


@pytest.mark.parametrize("by_environment", [False, True])
def test_an_unknown_wish_is_refused_in_one_sentence(unset, monkeypatch, by_environment):
    if by_environment:
        monkeypatch.setenv("LIB_IMPLEMENTATION", "fast")
    with pytest.raises(ValueError, match=r"^implementation is 'fast'; allowed: 'auto', 'fused', 'torch'$"):
        choose_implementation(SHAPES, torch.float32, wish="" if by_environment else "fast")


def test_a_wish_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("LIB_IMPLEMENTATION", "nonsense")
    assert choose_implementation(SHAPES, torch.float32, wish="torch").implementation == "torch"


@pytest.mark.parametrize(
    ("shapes", "dtype", "device", "why"),
    [
        (SHAPES, torch.float64, "cpu", "computes in float32, not in torch.float64"),
        (SHAPES, torch.float32, "cuda", "runs on the CPU, not on 'cuda'"),
        ([SHAPES[0], (16, 33, 6)], torch.float32, "cpu", "does not cover these channels and image sizes"),
    ],
)
def test_what_the_compiled_block_cannot_do_torch_does_and_says_why(unset, shapes, dtype, device, why):
    choice = choose_implementation(shapes, dtype, device)
    assert choice.implementation == "torch" and why in choice.why
    with pytest.raises(ValueError, match=r"^implementation is 'fused', which cannot run here: .*") as caught:
        choose_implementation(shapes, dtype, device, "fused")
    assert why in str(caught.value)


@compiled
def test_where_it_works_the_compiled_block_runs(unset, monkeypatch):
    for wish in ("", "auto", "fused"):
        assert choose_implementation(SHAPES, torch.float32, wish=wish).implementation == "fused"
    monkeypatch.setenv("LIB_IMPLEMENTATION", "fused")
    assert choose_implementation(SHAPES, torch.float32).implementation == "fused"
