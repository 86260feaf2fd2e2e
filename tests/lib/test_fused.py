"""The compiled block computes what PyTorch does in float64, up to the rounding of float32; building it never raises."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F

from lib import fused, machine
from lib.fused import build
from lib.fused.choice import choose_implementation
from tests.lib.stacks import compiled

EPS = 1e-5
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
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
# A compiler that takes another source in the block's place, which compiles at once, and notes that it was called.
COMPILER = """#!/bin/sh
case "$*" in *--version*) echo {version}; exit;; esac
echo $$ >> {log}
for output; do :; done
{make} "$output"
"""


def forget():
    """Let this process look for the block again."""
    build.found.cache_clear()
    fused.computes.cache_clear()


def libraries():
    """What is kept for this user."""
    return sorted(build.private_folder().glob("*.so"))


@pytest.fixture
def real():
    """The library that works on this machine."""
    return Path(build.library()[0]._name)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A process that has not looked for the block yet, and whose cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A library that has the functions, which do nothing."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "source.cpp").write_text(TINY)
    subprocess.run(["c++", "-w", "-shared", "-fPIC", folder / "source.cpp", "-o", folder / "library"], check=True)
    return folder / "library"


@pytest.fixture
def compiler(made, tmp_path, monkeypatch, fresh):
    """Put a compiler in the place of the machine's: it makes a library of the given source, or hands one over."""
    script, there = tmp_path / "compiler", shutil.which("c++")

    def install(source="", version="1.0", make=f"cp {made}"):
        if source:
            (tmp_path / "source.cpp").write_text(source)
            make = f"{there} -w -shared -fPIC {tmp_path / 'source.cpp'} -o"
        script.write_text(COMPILER.format(version=version, log=tmp_path / "log", make=make))
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
        forget()
        return script

    return install


def called(tmp_path):
    """How often that compiler was called."""
    return len((tmp_path / "log").read_text().splitlines())


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CXX": "/nonexistent"}, "the C++ compiler '/nonexistent', named by the variable CXX, was not found"),
        ({"CXX": "", "PATH": ""}, "no C++ compiler (c++, g++ or clang++) was found"),
        ({"CXX": 'g++ "-O1'}, "the variable CXX, 'g++ \"-O1', is not a command (No closing quotation)"),
        ({"CXX": "g++ \\"}, "the variable CXX, 'g++ \\\\', is not a command (No escaped character)"),
        ({"CXX": "~no-such-user/g++"}, "the variable CXX, '~no-such-user/g++', is not a command"),
        ({"CXX": "/"}, "the C++ compiler '/', named by the variable CXX, was not found"),
        ({"XDG_CACHE_HOME": "~no-such-user/a"}, "XDG_CACHE_HOME is '~no-such-user/a'; there is no home folder"),
    ],
)
def test_without_a_compiler_there_is_a_reason_and_torch_runs(fresh, monkeypatch, environment, reason):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    works, why = fused.available()
    assert not works and why.startswith(reason)
    assert choose_implementation(SHAPES, torch.float32) == ("torch", why)
    with pytest.raises(ValueError) as caught:
        choose_implementation(SHAPES, torch.float32, wish="fused")
    assert str(caught.value) == f"implementation is 'fused', which cannot run here: {why}"
    with pytest.raises(RuntimeError) as caught:
        ours(*draw((1, 16, 14), 1, 1, 3))
    assert str(caught.value) == why


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
    assert not libraries() or reason == "could not be loaded"


@compiled
@pytest.mark.parametrize("words", ["~/compiler -O1", "$HOME/compiler", "env A=1 '{}'"])
def test_a_compiler_is_found_as_a_shell_would_find_it(compiler, words, tmp_path, monkeypatch):
    script = compiler()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CXX", words.format(script))
    loaded, why = build.library()
    assert loaded and called(tmp_path) == 1, why


@compiled
@pytest.mark.parametrize("damage", ["cut short", "one byte", "not a library", "a link to nothing"])
def test_a_damaged_library_is_compiled_again(compiler, damage):
    def found():
        build.found.cache_clear()
        return build.library()

    compiler()
    assert "from the cache" not in found()[1]
    [path] = libraries()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it is loaded in this process: change a copy
    if damage == "a link to nothing":
        path.symlink_to("nothing")
    else:
        path.write_bytes({"cut short": content[:5000], "one byte": content, "not a library": b"?"}[damage])
    loaded, why = found()
    assert loaded and "from the cache" not in why and libraries() == [path]
    assert "from the cache" in found()[1]


@compiled
def test_another_compiler_flag_processor_or_source_is_another_library(compiler, monkeypatch):
    compiler(version="1.0")

    def name(*more):
        command = [*build.compiler(), *build.FLAGS, *more]
        said = machine.finish([*build.compiler(), "--version"], 60).stdout
        return build.name_of(command, said)

    names = [name(), name("-O1")]
    compiler(version="2.0")
    names.append(name())
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", lambda *_, **__: "model name : another\nflags : fewer")
        machine.processor.cache_clear()
        names.append(name())
    machine.processor.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: b"int another;")
        names.append(name())
    assert len(set(names)) == 5
    assert name() == names[2]


@compiled
def test_behind_another_command_too_the_version_of_the_compiler_counts(compiler, tmp_path, monkeypatch):
    for version in ("1.0", "2.0"):
        monkeypatch.setenv("CXX", f"env {compiler(version=version)}")
        assert build.library()[0]
    assert called(tmp_path) == 2 and len(libraries()) == 2


# ---------------------------------------------------------------- several processes, and compilers that hang

LIBRARY = "import build; loaded, why = build.library({}); print(bool(loaded), why)"  # by itself: without torch


def in_processes(count, limit=60):
    """What as many processes at once say of the library."""
    folder = Path(build.__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(folder.parents[1])}
    command = [sys.executable, "-c", LIBRARY.format(limit)]
    several = [
        subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    return [process.communicate(timeout=120)[0] for process in several]


@compiled
def test_of_processes_that_start_at_once_one_compiles(compiler, tmp_path):
    script = compiler("#include <iostream>\n" + TINY)  # half a second: both are at it
    said = sorted(in_processes(2))
    assert said == [f"True compiled by {script}\n", f"True compiled by {script}, from the cache\n"]
    assert called(tmp_path) == 1 and len(libraries()) == 1


HANGING = "sh -c 'echo $$ >> {0}; exec sleep 300' & echo $$ >> {0}; sleep 300; true"


@compiled
@pytest.mark.parametrize("at", ["--version", "compiling"])
def test_a_compiler_that_hangs_is_ended_with_its_children_once_for_all_processes(compiler, at, tmp_path):
    hanging = HANGING.format(tmp_path / "started")
    script = compiler(make=hanging)
    if at == "--version":
        script.write_text(f"#!/bin/sh\n{hanging}\n")
    start = time.perf_counter()
    said = in_processes(3, limit=2)
    assert time.perf_counter() - start < 30
    assert len(set(said)) == 1 and said[0].startswith(f"False the C++ compiler {script} did not end within 2 s; it is")
    started = [int(line) for line in (tmp_path / "started").read_text().split()]
    assert len(started) == 2, "it was tried again"
    for number in started:
        with suppress(psutil.NoSuchProcess):
            assert psutil.Process(number).status() == psutil.STATUS_ZOMBIE, "something of it lives on"
    assert not [each for each in build.private_folder().iterdir() if each.name.startswith(".making-")]


@compiled
@pytest.mark.parametrize("remedy", ["an hour", "the file removed", "another compiler"])
def test_what_hung_is_tried_again_when_its_cause_may_be_gone(compiler, remedy, tmp_path):
    compiler(make="sleep 300; true")
    loaded, why = build.library(0.5)
    assert loaded is None and "did not end" in why
    [note] = build.private_folder().glob("no-use-*")
    assert str(note) in why and build.library(60) == (None, why)
    make = (tmp_path / "compiler").read_text().replace("sleep 300; true", f"cp {sys.executable}")  # no library
    if remedy == "another compiler":
        (tmp_path / "compiler").write_text(make)
        assert "could not be loaded" in build.library(60)[1]
        return
    if remedy == "an hour":
        os.utime(note, (time.time() - 3700,) * 2)
    else:
        note.unlink()
    build.library(0.5)
    assert called(tmp_path) == 2


# ---------------------------------------------------------------- the verdict on a library


@compiled
def test_a_wrong_library_in_the_cache_is_replaced(real, compiler, tmp_path):
    compiler(WRONG)
    build.library()
    [wrong] = libraries()
    compiler(make=f"cp {real}")
    forget()
    key = wrong.stem.split("-")[1]
    assert build.name_of([*build.compiler(), *build.native(), *build.FLAGS], "1.0\n") == key, "not the one in the cache"
    assert fused.available() == (True, f"compiled by {tmp_path / 'compiler'}")
    assert not wrong.exists() and len(libraries()) == 1


@compiled
def test_the_verdict_on_a_compiler_ends_with_the_compiler(real, compiler, tmp_path):
    compiler(WRONG)
    works, why = fused.available()
    assert not works and "differ from PyTorch's" in why and not libraries()
    before = called(tmp_path)
    assert fused.available()[0] is False and called(tmp_path) == before, "what cannot succeed is tried again"
    script = tmp_path / "compiler"
    script.write_text(COMPILER.format(version="1.0", log=tmp_path / "log", make=f"cp {real}"))
    assert fused.available()[0], "in the same process"


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@contextmanager
def precision(wish):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(wish)
    yield
    torch.set_float32_matmul_precision(before)


@compiled
@pytest.mark.parametrize(
    "state",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: default_dtype(torch.float64),
        lambda: precision("medium"),
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "autocast", "float64", "bfloat16 products", "meta"],
)
def test_what_the_caller_has_set_in_torch_does_not_decide_the_verdict(state):
    fused.computes.cache_clear()
    with state():
        assert fused.available()[0]


@compiled
def test_a_self_test_that_breaks_off_is_no_verdict(monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    fused.computes.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn", no_memory)
        assert fused.available() == (False, "the compiled block could not be tested (MemoryError)")
    assert fused.available()[0]


# ---------------------------------------------------------------- the cache


def test_a_cache_that_cannot_be_made_is_a_reason_that_says_what_to_do(fresh, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("where a folder should be")
    (tmp_path / "link").symlink_to("nowhere")
    for place, words in {
        tmp_path / "file": f"{tmp_path / 'file'} is a file where a folder should be; move it away",
        tmp_path / "link": f"{tmp_path / 'link'} is a link to nowhere",
        Path("/proc"): "/proc/pairs-of-digits",
    }.items():
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        works, why = fused.available()
        assert not works and why.startswith("the compiled block cannot be kept: ") and words in why
        assert why.endswith("; set XDG_CACHE_HOME to a folder of your own that can be written") and "\n" not in why


@compiled
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_is_read_only_is_a_reason_that_says_what_to_do(compiler):
    compiler()
    build.private_folder().chmod(0o500)
    loaded, why = build.library()
    assert loaded is None and "read-only" in why and "XDG_CACHE_HOME" in why


@compiled
def test_the_cache_is_a_folder_of_its_own_and_closed_to_others(compiler, tmp_path):
    shared = tmp_path / "cache" / "pairs-of-digits"
    (shared / "MNIST").mkdir(parents=True)
    (shared / "compiled").mkdir()
    for folder in (shared, shared / "MNIST", shared / "compiled"):
        folder.chmod(0o777)
    compiler()
    assert build.library()[0]
    assert (shared / "compiled").stat().st_mode & 0o777 == 0o700 and len(libraries()) == 1
    assert shared.stat().st_mode & 0o777 == 0o777, "what is not only ours"
    assert sorted(each.name for each in shared.iterdir()) == ["MNIST", "compiled"]


@compiled
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_library_that_others_could_write_is_compiled_again(compiler, mode, tmp_path):
    compiler()
    build.library()
    [path] = libraries()
    path.chmod(mode)
    forget()
    loaded, why = build.library()
    assert loaded and "from the cache" not in why and called(tmp_path) == 2
    assert path.stat().st_mode & 0o777 == 0o644


@compiled
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("given", ["the folder", "the library", "a link in the folder's place"])
def test_what_belongs_to_another_user_is_not_loaded(compiler, given, tmp_path):
    compiler()
    build.library()
    [path] = libraries()
    os.chown(path if given == "the library" else path.parent, 54321, -1)
    if given == "a link in the folder's place":
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
    forget()
    loaded, why = build.library()
    assert loaded is None and called(tmp_path) == 1
    named = path if given == "the library" else path.parent
    assert why.startswith(f"{named}, of the compiled block, belongs to another user: remove it, or set XDG_CACHE_HOME")


@compiled
def test_what_killed_compilers_left_is_removed_after_a_day(compiler):
    compiler()
    left = build.private_folder() / ".making-abcd1234"
    left.mkdir()
    (left / "fused.so").touch()
    os.utime(left, (time.time() - 90_000,) * 2)
    build.library()
    assert not left.exists()


# ---------------------------------------------------------------- the choice of an implementation


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)


def test_torch_always_runs(unset, monkeypatch):
    assert choose_implementation(SHAPES, torch.float32, wish="torch") == ("torch", "asked for")
    monkeypatch.setenv("LIB_IMPLEMENTATION", "torch")
    assert choose_implementation(SHAPES, torch.float32).implementation == "torch"


@pytest.mark.parametrize("name", ["implementation", "LIB_IMPLEMENTATION"])
def test_an_unknown_wish_is_refused_in_one_sentence(unset, monkeypatch, name):
    if name == "LIB_IMPLEMENTATION":
        monkeypatch.setenv(name, "fast")
    with pytest.raises(ValueError, match=rf"^{name} is 'fast'; allowed: 'auto', 'fused', 'torch'$"):
        choose_implementation(SHAPES, torch.float32, wish="" if name == "LIB_IMPLEMENTATION" else "fast")


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_wish_is_none(unset, monkeypatch, empty):
    monkeypatch.setenv("LIB_IMPLEMENTATION", empty)
    assert choose_implementation(SHAPES, torch.float64).implementation == "torch"


def test_a_wish_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("LIB_IMPLEMENTATION", "nonsense")
    assert choose_implementation(SHAPES, torch.float32, wish="torch").implementation == "torch"


@pytest.mark.parametrize(
    ("shapes", "dtype", "device", "why"),
    [
        (SHAPES, torch.float64, "cpu", "computes in float32, not in torch.float64"),
        pytest.param(SHAPES, torch.float32, "cuda", "torch sees no GPU here, which 'cuda' asks for", marks=no_gpu),
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
