"""Measure, side by side, how long one epoch of one trial takes: a textbook loop, `torch.func.vmap`, and our stacks.

`python -m report.speed.benchmark` writes `report/published/benchmark.json` in some minutes; nothing else should run
meanwhile. On one pinned core, one thread each, all contenders take turns in every round, so what slows the machine
slows all of them; the numbers are medians over the rounds, with the smallest and the greatest. `--long` adds a check
that both implementations of the convolution block learn the same, and `--quick` does everything at a tiny size.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lib import Experiment, Teacher, datasets, files, run_study, seeds, textbook
from lib.architectures import ARCHITECTURES
from lib.layers import ConvBlock, choose_implementation
from lib.machine import ROOT, code_version, cores, processor
from lib.pairs import Pairs, draw_trial, normalise, side_by_side
from lib.store import GROUP
from lib.teacher import TEST_BATCH, Score
from lib.training import make_network
from lib.workers import duration, set_up_process
from report import statistics, study
from report.speed.memory import memory

FILE = ROOT / "report" / "published" / "benchmark.json"
SCHEMA = 1
UNITS = {
    "*_ms": "milliseconds per trial and epoch (training and one pass over the test set)",
    "*_s": "seconds",
    "*_mb": "megabytes (1,000,000 bytes)",
    "rate_gflops": "floating-point operations per nanosecond; a multiply-add is two",
    "multiply_adds": "per pair",
    "speedup": "the plain textbook loop's time over this one's, of the same experiment and round",
    "relative_to_wsn": "this speedup over WSN's, of the same round",
    "times_floor": "this time over the floor",
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much to measure."""

    dataset: str
    train_pairs: int
    test_pairs: int
    stack: int = GROUP
    vmap_stacks: tuple[int, ...] = (5, GROUP)
    rounds: int = 11
    matrices: tuple[int, ...] = (512, 1024, 1536)  # sizes of the products that measure the core's rate
    scaling_trials: tuple[int, ...] = (25, 100, 300, 600)
    scaling_epochs: int = 2
    worker_trials: int = 100
    long_trials: int = 50
    long_epochs: int = 100

    @property
    def experiments(self) -> list[Experiment]:
        """All sixteen, WSN in its standard form first."""
        forms = product((False, True), (True, False), sorted(ARCHITECTURES, key=lambda name: name != "WSN"))
        pairs = {"dataset": self.dataset, "train_pairs": self.train_pairs, "test_pairs": self.test_pairs}
        return [
            Experiment(architecture=name, fully_convolutional=form, one_hot_encoding=one_hot, **pairs)
            for form, one_hot, name in forms
        ]


def full_size() -> Size:
    """Return the size of the real benchmark: MNIST, or the embedded digits where it is not at hand."""
    dataset, _ = study.dataset_at_hand("mnist")
    train_pairs, test_pairs = datasets.DATASETS[dataset]
    return Size(dataset=dataset, train_pairs=train_pairs, test_pairs=test_pairs)


QUICK = Size(
    dataset="digits",
    train_pairs=100,
    test_pairs=50,
    stack=3,
    vmap_stacks=(2, 3),
    rounds=1,
    matrices=(256,),
    scaling_trials=(GROUP, 2 * GROUP),
    scaling_epochs=1,
    worker_trials=2 * GROUP,
    long_trials=4,
    long_epochs=2,
)


# The contenders. Each is prepared once, in the process that times it, and then trains epoch after epoch.


@dataclass(frozen=True)
class Contender:
    """An experiment, how it is trained, and how many trials side by side.

    The compiled block and `vmap` do better where the allocator keeps its memory (`lib.workers.set_up_process`); so does
    the textbook loop. It runs without, as PyTorch comes, and once more with it ("memory kept").
    """

    experiment: Experiment
    method: str  # of report.tables.METHODS
    stack: int = 1

    @property
    def keeps_memory(self) -> bool:
        """Whether it runs in the process with our allocator settings."""
        return self.method != "textbook"


Timing = tuple[float, float]  # seconds of training and of testing, of one epoch of the whole stack


def contenders(size: Size) -> list[Contender]:
    """Return who takes part, in the order of a round: WSN by every method, the others by the textbook and `fused`."""
    wsn, *others = size.experiments
    chosen = [Contender(wsn, "textbook"), Contender(wsn, "textbook, memory kept")]
    chosen += [Contender(wsn, "vmap", stack) for stack in size.vmap_stacks]
    chosen += [Contender(wsn, method, size.stack) for method in ("torch", "fused")]
    for e in others:
        chosen += [Contender(e, "textbook"), Contender(e, "fused", size.stack)]
    return chosen


@cache
def sets(dataset: str, train_pairs: int, test_pairs: int, seed: int, stack: int) -> tuple[Pairs, Pairs]:
    """Return the normalised training and test pairs of the first trials, `[trials, n, ...]`."""
    drawn = [normalise(*draw_trial(dataset, train_pairs, test_pairs, seed, trial)) for trial in range(stack)]
    return side_by_side([train for train, _ in drawn]), side_by_side([test for _, test in drawn])


class TimedTeacher(Teacher):
    """The Teacher as it is, with a clock on its tests."""

    seconds = 0.0

    def test(self, model: nn.Module) -> Score:
        """Test as the Teacher does."""
        start = time.perf_counter()
        score = super().test(model)
        self.seconds = time.perf_counter() - start
        return score


def teacher_of(e: Experiment, stack: int) -> TimedTeacher:
    """Return a Teacher of the first trials of an experiment."""
    orders = [seeds.generator(e.seed, trial, "order") for trial in range(stack)]
    return TimedTeacher(*sets(e.dataset, e.train_pairs, e.test_pairs, e.seed, stack), orders)


def prepare_stack(e: Experiment, method: str, stack: int) -> Callable[[], Timing]:
    """Return a function that trains and tests a stack by the Teacher for one epoch, in one of our implementations."""
    network, teacher = make_network(e, range(stack)), teacher_of(e, stack)
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.implementation = method

    def epoch() -> Timing:
        start = time.perf_counter()
        teacher.train(network, epochs=1, batch_size=e.batch_size, learning_rate=e.learning_rate)
        return time.perf_counter() - start - teacher.seconds, teacher.seconds

    return epoch


def textbook_networks(e: Experiment, stack: int, dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    """Return the plain networks of the first trials, with the weights that a stack starts with."""
    start = make_network(e, range(stack), dtype)
    networks = []
    for trial in range(stack):
        network = textbook.Textbook(e.architecture, e.fully_convolutional, e.one_hot_encoding, e.sigmoid).to(dtype)
        textbook.copy_trial(start, network, trial)
        networks.append(network)
    return networks


def prepare_textbook(e: Experiment) -> Callable[[], Timing]:
    """Return a function that trains one plain network in a plain loop for one epoch and tests it."""
    teacher = teacher_of(e, 1)
    [network], [order] = textbook_networks(e, 1), teacher.orders
    train, test = (
        Pairs(*(values[0] for values in vars(p).values())) for p in (teacher.train_pairs, teacher.test_pairs)
    )
    optimizer = textbook.make_optimizer(network, e.optimizer, e.learning_rate, e.momentum)

    def epoch() -> Timing:
        start = time.perf_counter()
        rows = torch.from_numpy(order.permutation(len(train.target)))
        textbook.train_epoch(network, optimizer, *vars(train).values(), rows, e.batch_size, e.auxiliary_weight)
        middle = time.perf_counter()
        textbook.test(network, test.images, test.target)
        return middle - start, time.perf_counter() - middle

    return epoch


class VmapStack:
    """Plain networks side by side by `torch.func`: `stack_module_state`, `functional_call`, `grad`, `vmap`.

    For networks that return one answer with an output per class. Batch normalisation is not changed: within `vmap` each
    network normalises by its own batch, per call of the extractor (so per digit), and updates its slice of the stacked
    running statistics in place, as it does alone.
    """

    def __init__(self, networks: list[nn.Module], learning_rate: float) -> None:
        self.network = networks[0]  # only its forward is used; weights and statistics come from the stacks
        self.parameters, self.buffers = stack_module_state(networks)
        self.optimizer = torch.optim.SGD(self.parameters.values(), lr=learning_rate)
        self.gradients = vmap(grad(self.loss))
        self.answers = vmap(self.answer)

    def answer(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        """One network's answer, `[batch, 2, 14, 14]` to `[batch, outputs]`."""
        return functional_call(self.network, (parameters, buffers), (images,))[0]

    def loss(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor, target: Tensor) -> Tensor:
        """One network's mean loss over a batch."""
        return F.cross_entropy(self.answer(parameters, buffers, images), target)

    def train(self, batches: Iterator[Pairs]) -> None:
        """Train all networks, each on its slice of the batches, `[trials, batch, ...]`."""
        self.network.train()
        for batch in batches:
            gradients = self.gradients(self.parameters, self.buffers, batch.images, batch.target)
            for name, parameter in self.parameters.items():
                parameter.grad = gradients[name]
            self.optimizer.step()

    @torch.no_grad()
    def test(self, pairs: Pairs) -> Tensor:
        """Return the number of right answers, `[trials]`, in evaluation mode."""
        self.network.eval()
        right = [
            self.answers(self.parameters, self.buffers, images).argmax(2) == target
            for images, target in zip(pairs.images.split(TEST_BATCH, 1), pairs.target.split(TEST_BATCH, 1), strict=True)
        ]
        return torch.cat(right, dim=1).sum(1)


def prepare_vmap(e: Experiment, stack: int) -> Callable[[], Timing]:
    """Return a function that trains plain networks side by side by `torch.func.vmap` for one epoch and tests them."""
    teacher, networks = teacher_of(e, stack), VmapStack(textbook_networks(e, stack), e.learning_rate)
    like = torch.empty(0)

    def epoch() -> Timing:
        start = time.perf_counter()
        networks.train(teacher.batches(e.batch_size, like))
        middle = time.perf_counter()
        networks.test(teacher.test_pairs)
        return middle - start, time.perf_counter() - middle

    return epoch


@cache
def prepare(contender: Contender) -> Callable[[], Timing]:
    """Return the function that runs one epoch of a contender; it stays in the process that asks for it."""
    if contender.method.startswith("textbook"):
        return prepare_textbook(contender.experiment)
    if contender.method == "vmap":
        return prepare_vmap(contender.experiment, contender.stack)
    return prepare_stack(contender.experiment, contender.method, contender.stack)


def run_epoch(contender: Contender) -> Timing:
    """Train and test one epoch of a contender, in this process, and return the seconds per trial."""
    train, test = prepare(contender)()
    return train / contender.stack, test / contender.stack


# The floor


def multiply_adds(e: Experiment) -> dict[str, int]:
    """Count the multiply-adds that the protocol asks for per training pair and per test pair, by running its modules.

    Convolutions and linear layers alone. Every element of an output takes as many as its kernel or row has weights. In
    training the gradient of the weights takes the same again, and so does that of the input where one is needed: not
    for the images. A test runs the auxiliary head too, whose score is stored.
    """
    network = textbook.Textbook(e.architecture, e.fully_convolutional, e.one_hot_encoding, e.sigmoid)
    counted = {"train": 0, "test": 0}

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        forward = output[0].numel() * module.weight[0].numel()
        counted["test"] += forward
        counted["train"] += forward * (3 if inputs[0].requires_grad else 2)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network(torch.zeros(1, 2, 14, 14))
    return counted


def matrix_rate(sizes: Sequence[int], repeats: int = 5) -> float:
    """Return the best rate of square float32 matrix products on this thread, in GFLOP/s."""
    best = 0.0
    for n in sizes:
        a, b, c = (torch.rand(n, n) for _ in range(3))
        for _ in range(repeats):
            start = time.perf_counter()
            torch.mm(a, b, out=c)
            best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return best


# Rounds


def measure(size: Size) -> dict[str, object]:
    """Time all contenders in turns, round by round, each process on the same core; return the rates and a row each."""
    core = pinned_core()
    chosen, times, rates = contenders(size), {}, []
    with process(core, keeps_memory=False) as plain, process(core, keeps_memory=True) as keeping:
        for number in range(size.rounds + 1):
            start = time.perf_counter()
            rate = keeping.submit(matrix_rate, size.matrices).result()
            timings = {}
            for contender in chosen:
                pool = keeping if contender.keeps_memory else plain
                timings[contender] = pool.submit(run_epoch, contender).result()
            if number > 0:  # the round before the first compiles, fills caches and is left out
                rates.append(rate)
                for contender, timing in timings.items():
                    times.setdefault(contender, []).append(timing)
            told = [f"{c.method} x {c.stack} {1e3 * sum(t):.1f}" for c, t in timings.items() if is_wsn(c.experiment)]
            name = f"round {number} of {size.rounds}" if number else "warm-up"
            seconds = time.perf_counter() - start
            print(f"{name} ({seconds:.0f} s), WSN in ms: {', '.join(told)}; {rate:.0f} GFLOP/s", flush=True)
    return {"rate_gflops": spread(rates), "rows": rows(times, max(rates))}


def is_wsn(e: Experiment) -> bool:
    """Whether an experiment is WSN in its standard form."""
    return (e.architecture, e.fully_convolutional, e.one_hot_encoding) == ("WSN", False, True)


def rows(times: Mapping[Contender, list[Timing]], rate: float) -> list[dict[str, object]]:
    """Return what is stored of each contender: its times, and its ratios round by round."""
    total = {contender: 1e3 * np.sum(each, axis=1) for contender, each in times.items()}  # [rounds], milliseconds
    speedup = {c: total[Contender(c.experiment, "textbook")] / total[c] for c in total}
    of_wsn = {(c.method, c.stack): speedup[c] for c in total if is_wsn(c.experiment)}
    stored = []
    for contender, each in times.items():
        e, counted = contender.experiment, multiply_adds(contender.experiment)
        operations = {"train": 2 * counted["train"] * e.train_pairs, "test": 2 * counted["test"] * e.test_pairs}
        floor = {part: n / rate / 1e6 for part, n in operations.items()}
        stored.append(
            {
                "experiment": e.name,
                "architecture": e.architecture,
                "fully_convolutional": e.fully_convolutional,
                "one_hot_encoding": e.one_hot_encoding,
                "method": contender.method,
                "stack": contender.stack,
                "train_ms": spread(1e3 * np.array(each)[:, 0]),
                "test_ms": spread(1e3 * np.array(each)[:, 1]),
                "total_ms": spread(total[contender]),
                "speedup": spread(speedup[contender]),
                "relative_to_wsn": spread(speedup[contender] / of_wsn[contender.method, contender.stack]),
                "times_floor": spread(total[contender] / sum(floor.values())),
                "multiply_adds": counted,
                "floor_train_ms": round(floor["train"], 4),
                "floor_test_ms": round(floor["test"], 4),
            }
        )
    return stored


def spread(values: Sequence[float]) -> dict[str, object]:
    """Return median, minimum and maximum of some measurements, and all of them, to five digits."""
    numbers = [float(f"{value:.5g}") for value in values]
    median = float(f"{np.median(numbers):.5g}")
    return {"median": median, "min": min(numbers), "max": max(numbers), "all": numbers}


def pinned_core() -> int | None:
    """Return the core that everything is timed on (the last: systems use the first for themselves), None if unknown."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def process(core: int | None, keeps_memory: bool) -> ProcessPoolExecutor:
    """Return a pool of one process on one core."""
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=start_process, initargs=(core, keeps_memory))


def start_process(core: int | None, keeps_memory: bool) -> None:
    """Begin a process that times: one core, one thread, and our allocator settings or the system's."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    if keeps_memory:
        set_up_process()


# Scaling


def measure_scaling(size: Size) -> dict[str, object]:
    """Measure two worker processes against one, and the time per trial and the memory of one as trials become more."""
    e = replace(size.experiments[0], epochs=size.scaling_epochs)
    context, rounds, sizes = get_context("spawn"), [], []
    with tempfile.TemporaryDirectory() as folder:

        def seconds(executor: ProcessPoolExecutor, trials: int) -> float:
            start = time.perf_counter()
            results = Path(tempfile.mkdtemp(dir=folder))  # a new store each time: nothing is there already
            run_study([e], trials, executor=executor, results=results, implementation="fused", progress=False)
            return time.perf_counter() - start

        ready = {"mp_context": context, "initializer": import_module, "initargs": ("lib",)}
        with ProcessPoolExecutor(1, **ready) as one, ProcessPoolExecutor(2, **ready) as two:
            imported = one.submit(memory).result()
            seconds(one, GROUP)  # reads the digits, loads the compiled block
            blocks, first = 1, one.submit(memory).result()
            for trials in size.scaling_trials:
                taken, blocks = seconds(one, trials), blocks + -(-trials // GROUP)
                held = one.submit(memory).result()
                row = {"trials": trials, "total_s": round(taken, 3), "per_trial_s": float(f"{taken / trials:.5g}")}
                sizes.append({**row, "blocks_so_far": blocks, **held})
                print(f"{trials} trials in {taken:.1f} s, {held['peak_mb']:.0f} MB after {blocks} blocks", flush=True)
            seconds(two, 2 * GROUP)
            for number in range(1, size.rounds + 1):
                rounds.append((seconds(one, size.worker_trials), seconds(two, size.worker_trials)))
                told = "{:.1f} s by one, {:.1f} s by two".format(*rounds[-1])
                print(f"workers, round {number} of {size.rounds}: {told}", flush=True)
    return {
        "experiment": e.name,
        "epochs": e.epochs,
        "worker_trials": size.worker_trials,
        "one_worker_s": spread([one for one, _ in rounds]),
        "two_workers_s": spread([two for _, two in rounds]),
        "two_over_one": spread([one / two for one, two in rounds]),
        "imported": imported,
        "first_block": first,
        "sizes": sizes,
    }


# Do both implementations learn the same?


def long_check(size: Size, progress: bool = True) -> dict[str, object]:
    """Train WSN by both implementations, with momentum 0.9, and compare the last epoch's accuracy trial by trial.

    The root seed is not the study's: the published results are not looked up, both are trained here.

    Raises RuntimeError when a result comes from another implementation than the one asked for.
    """
    e = replace(size.experiments[0], epochs=size.long_epochs, momentum=0.9, seed=1)
    accuracy = {}
    for implementation in ("torch", "fused"):
        with tempfile.TemporaryDirectory() as folder:  # a store each: an implementation is not part of the key
            options = {"results": Path(folder), "implementation": implementation, "progress": progress}
            [result] = run_study([e], size.long_trials, **options)
        if {record["provenance"]["implementation"] for record in result.records} != {implementation}:
            raise RuntimeError(f"the results of {implementation!r} were not computed by it")
        accuracy[implementation] = result.accuracy[:, -1]
    pair = accuracy["torch"], accuracy["fused"]
    return {
        "experiment": e.name,
        "optimizer": study.reading(e),
        "trials": size.long_trials,
        "epochs": e.epochs,
        "dataset": e.dataset,
        "mean_torch": float(pair[0].mean()),
        "mean_fused": float(pair[1].mean()),
        "difference": asdict(statistics.paired_difference(*pair)),
        "equivalence": asdict(statistics.equivalence(*pair)),
        "about": about(),
    }


# The file


def about() -> dict[str, object]:
    """Say what was measured where: machine, versions, commit of lib, time, and how busy the machine was before."""
    return {
        "cpu": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **code_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def write(file: Path, changes: Mapping[str, object]) -> None:
    """Put `changes` into the file's JSON object and leave its other keys; the file is replaced as a whole."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    text = json.dumps({**before, "schema": SCHEMA, "units": UNITS, **changes}, indent=1, allow_nan=False) + "\n"
    files.write(file, text)


def read(file: str | Path = FILE) -> dict:
    """Read what was measured; a relative name is looked up in the project's folder.

    Raises FileNotFoundError when there is nothing, ValueError when it is no benchmark of this version of the code.
    """
    path = ROOT / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: `make bench` measures and writes it")
    measured = json.loads(path.read_text(encoding="utf-8"))
    if measured.get("schema") != SCHEMA or "rows" not in measured:
        raise ValueError(f"{path} is not a benchmark of this version of the code: `make bench` measures again")
    return measured


def main(arguments: list[str] | None = None) -> None:
    """Measure, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m report.speed.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny, on the embedded digits: the numbers mean nothing")
    parser.add_argument("--long", action="store_true", help="only check that both implementations learn the same")
    parser.add_argument("--output", type=Path, help="default: in report/published (build/quick with --quick)")
    options = parser.parse_args(arguments)
    file = options.output or (ROOT / "build" / "quick" / "benchmark.json" if options.quick else FILE)
    size, start = QUICK if options.quick else full_size(), time.perf_counter()
    if options.long:
        write(file, {"long_check": long_check(size, progress=not options.quick)})
        print(f"{file}, in {duration(time.perf_counter() - start)}")
        return
    before = about()
    e = size.experiments[0]
    settings = {name: getattr(e, name) for name in ("dataset", "train_pairs", "test_pairs", "batch_size", "channels")}
    settings |= {
        "rounds": size.rounds,
        "pinned": pinned_core() is not None,
        "compiled_block": choose_implementation([], torch.float32, wish="fused").why,
    }
    measured = measure(size)
    write(file, {"about": before, "settings": settings, **measured, "scaling": measure_scaling(size)})
    print(f"{file}, in {duration(time.perf_counter() - start)}")


if __name__ == "__main__":
    main()
