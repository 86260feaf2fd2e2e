"""Who takes part. Each contender is prepared once, in the process that times it, and then runs epoch after epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from lib import Experiment, Teacher, prepare, textbook
from lib.architectures import Network
from lib.pairs import Gathered, Pairs
from lib.tasks import COMPARISON
from lib.teacher import Score
from report.speed.plan import Plan
from report.speed.vmap import VmapStack

Timing = tuple[float, float]  # seconds of training and of testing
Epoch = Callable[[], Timing]  # trains and tests the whole stack once


@dataclass(frozen=True)
class Contender:
    """An experiment, how it is trained, and how many trials side by side.

    The compiled block and `vmap` do better where the allocator keeps its memory (`lib.workers.set_up_process`); so does
    the textbook loop. It runs without, as PyTorch comes, and once more with it ("memory kept").
    """

    experiment: Experiment
    method: str  # of report.speed.measured.METHODS
    stack: int = 1

    @property
    def keeps_memory(self) -> bool:
        """Whether it runs in the process with our allocator settings."""
        return self.method != "textbook"


def contenders(plan: Plan) -> list[Contender]:
    """Return who takes part, in the order of a round: WSN by every method, the others by the textbook and `fused`."""
    wsn, *others = plan.experiments
    chosen = [Contender(wsn, "textbook"), Contender(wsn, "textbook, memory kept")]
    chosen += [Contender(wsn, "plain")]
    chosen += [Contender(wsn, "vmap", stack) for stack in plan.vmap_stacks]
    chosen += [Contender(wsn, method, plan.stack) for method in ("torch", "fused")]
    for e in others:
        chosen += [Contender(e, "textbook"), Contender(e, "fused", plan.stack)]
    return chosen


def run_epoch(contender: Contender) -> Timing:
    """Train and test one epoch of a contender, in this process, and return the seconds per trial."""
    train, test = ready(contender)()
    return train / contender.stack, test / contender.stack


@cache
def ready(contender: Contender) -> Epoch:
    """Return what runs one epoch of a contender; it stays in the process that asks for it."""
    if contender.method.startswith("textbook"):
        return by_textbook(contender.experiment)
    if contender.method == "vmap":
        return by_vmap(contender.experiment, contender.stack)
    if contender.method == "plain":
        return by_teacher(contender.experiment, "torch", 1, plain_module=True)
    return by_teacher(contender.experiment, contender.method, contender.stack)


class Answering(torch.nn.Module):
    """A textbook network as a plain module: only its answer."""

    def __init__(self, network: textbook.Textbook) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compare the digits of each pair."""
        answer, _ = self.network(images)
        return answer


class TimedTeacher(Teacher):
    """The Teacher as it is, with a clock on its tests."""

    seconds = 0.0

    def test(self, model: torch.nn.Module, pairs: Pairs | Gathered | None = None) -> Score:
        """Test as the Teacher does."""
        start = time.perf_counter()
        score = super().test(model, pairs)
        self.seconds = time.perf_counter() - start
        return score


def by_teacher(e: Experiment, implementation: str, stack: int, plain_module: bool = False) -> Epoch:
    """Train and test a stack as the study does, in one of our implementations; or one network as a plain module."""
    prepared = prepare(e, range(stack), implementation=implementation)
    held = prepared.teacher
    teacher = TimedTeacher(held.train_pairs, held.test_pairs, held.orders)
    model = Answering(*plain(e, prepared.network)) if plain_module else prepared.network

    def epoch() -> Timing:
        start = time.perf_counter()
        teacher.train(model, epochs=1, batch_size=e.batch_size, learning_rate=e.learning_rate)
        return time.perf_counter() - start - teacher.seconds, teacher.seconds

    return epoch


def by_vmap(e: Experiment, stack: int) -> Epoch:
    """Train and test plain networks side by side by `torch.func.vmap`."""
    prepared = prepare(e, range(stack), implementation="torch")
    networks, teacher = VmapStack(plain(e, prepared.network), e.learning_rate), prepared.teacher

    def epoch() -> Timing:
        start = time.perf_counter()
        networks.train(teacher.batches(e.batch_size, like=torch.empty(0)))
        middle = time.perf_counter()
        networks.test(whole(teacher.test_pairs))
        return middle - start, time.perf_counter() - middle

    return epoch


def by_textbook(e: Experiment) -> Epoch:
    """Train and test one plain network in a plain loop."""
    prepared = prepare(e, range(1), implementation="torch")
    [network], [order] = plain(e, prepared.network), prepared.teacher.orders
    train, test = (
        Pairs(each.images[0], each.classes[0])
        for each in map(whole, (prepared.teacher.train_pairs, prepared.teacher.test_pairs))
    )
    target, test_target = COMPARISON.target(train.classes), COMPARISON.target(test.classes)
    optimizer = textbook.make_optimizer(network, e.optimizer, e.learning_rate, e.momentum)

    def epoch() -> Timing:
        start = time.perf_counter()
        rows = torch.from_numpy(order.permutation(e.train_pairs))
        textbook.train_epoch(
            network, optimizer, train.images, target, train.classes, rows, e.batch_size, e.auxiliary_weight
        )
        middle = time.perf_counter()
        textbook.test(network, test.images, test_target)
        return middle - start, time.perf_counter() - middle

    return epoch


def whole(pairs: Pairs | Gathered) -> Pairs:
    """Return all pairs of a set side by side."""
    return pairs.part(slice(None))


def plain(e: Experiment, stack: Network) -> list[textbook.Textbook]:
    """Return plain networks with the weights that each trial of a stack starts with."""
    dtype = next(stack.parameters()).dtype
    networks = []
    for trial in range(stack.sizes.trials):
        network = textbook.Textbook(e.architecture, e.fully_convolutional, e.one_hot_encoding, e.sigmoid).to(dtype)
        textbook.copy_trial(stack, network, trial)
        networks.append(network)
    return networks
