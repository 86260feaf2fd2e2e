"""What the tests train: small experiments, and architectures of one's own as a user writes them."""

import _thread
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from torch import nn

from lib.architectures import WSN, Network, comparer, extractor, head
from lib.experiment import Experiment
from lib.foreign import find, is_plain
from lib.tasks import CLASSES, COMPARISON, Task

ORIGIN = {  # where a made-up record comes from
    **dict.fromkeys(("commit", "python", "torch", "numpy", "cpu", "device", "dtype", "implementation"), "made up"),
    **{"dirty": False, "threads": 1, "stack": 25, "started": "2030-01-01T00:00:00+00:00", "seconds": 1.5},
}
LEAST = 4  # trials of a stack that counts: the battery's have fewer


def tiny(architecture="WSN", **settings):
    """An experiment whose groups train in a moment; a plain module has its own sizes."""
    small = {"train_pairs": 20, "test_pairs": 20, "epochs": 2, "batch_size": 10, "learning_rate": 0.1}
    sizes = {} if is_plain(find(architecture)) else {"channels": "2-3", "hidden": "4"}
    return Experiment(**{"architecture": architecture, "dataset": "digits", **sizes, **small, **settings})


def look_in(folder):
    """Let a process that lives already find the modules of a folder."""
    sys.path.insert(0, folder)


def small(sizes):
    """Sizes with which the battery takes a moment, too."""
    return replace(sizes, channels=(2, 3), hidden=(4,))


class Eventful(WSN):
    """Notes each stack that is built of it in EVENT_LOG, and there does what EVENT says: `kill 2`, `fail always`.

    The small WSN of `tiny` by another name.
    """

    def __init__(self, sizes):
        super().__init__(small(sizes))
        log = os.environ.get("EVENT_LOG")
        if log is None or sizes.trials < LEAST:
            return
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {sizes.trials}\n")
        event, _, when = os.environ.get("EVENT", "").partition(" ")
        if when in ("always", str(len(Path(log).read_text().splitlines()))):
            if event == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if event == "fail":
                raise MemoryError("no room for this stack")
            if event == "sleep":
                time.sleep(300)


class Waiting(WSN):
    """Notes its process in EVENT_LOG when its second epoch begins, and goes on when the file beside it, `go`, is there.

    The small WSN of `tiny` by another name.
    """

    epochs = 0

    def __init__(self, sizes):
        super().__init__(small(sizes))

    def train(self, mode=True):
        self.epochs += mode
        if mode and self.epochs == 2 and self.sizes.trials >= LEAST and (log := os.environ.get("EVENT_LOG")):
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {self.sizes.trials}\n")
            end = time.monotonic() + 180
            while not Path(log).with_name("go").exists():
                assert time.monotonic() < end, "nobody said go"
                time.sleep(0.02)
        return super().train(mode)


PARITY = Task("parity", "even sum?", 2, lambda classes: classes.sum(-1) % 2)
SUM = Task("sum", "sum of the digits?", 19, lambda classes: classes.sum(-1))


def norms(network, teacher):
    """A measure of `Heads`, in two values: the norm of a layer's weights, and how many of them are positive."""
    weight = network.digits[1].weight.detach().flatten(1)
    return {"norm": weight.norm(dim=1), "positive": (weight > 0).sum(1)}


class Heads(Network):
    """Four heads: the answer, the class of each digit, and two questions of our own."""

    heads = {"answer": COMPARISON, "digits": CLASSES, "parity": PARITY, "total": SUM}  # noqa: RUF012  # as a user writes it
    factors = {"parity": 0.5}  # noqa: RUF012

    def __init__(self, sizes):
        sizes = small(sizes)
        super().__init__(sizes)
        channels, height, width = sizes.maps
        self.extract = extractor(sizes)
        self.compare = comparer(sizes, sizes.hidden)
        self.digits = head(sizes, sizes.maps, (5,), CLASSES, "digits")
        self.parity = head(sizes, (2 * channels, height, width), (5,), PARITY, "parity")
        self.total = head(sizes, (2 * channels, height, width), (5,), SUM, "total")

    def forward(self, images):
        maps = self.extract(images.unsqueeze(3))
        both = maps.flatten(2, 3)
        digits = self.digits(maps.flatten(1, 2)).unflatten(1, (-1, 2))
        return {
            "answer": self.compare(both),
            "digits": digits,
            "parity": self.parity(both),
            "total": self.total(both),
        }


class Mixed(nn.Module):
    """A plain module whose heads are a dict: batch and layer normalisation, a residual connection, dropout."""

    heads = {"answer": COMPARISON, "digits": CLASSES}  # noqa: RUF012
    factors = {"digits": 0.5}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.read = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(49, 8), nn.BatchNorm1d(8))
        self.more = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.3))
        self.name, self.compare = nn.Linear(8, 10), nn.Linear(16, 2)

    def forward(self, images):
        features = self.read(images.flatten(0, 1).unsqueeze(1))
        digits = (features + self.more(features)).unflatten(0, (-1, 2))
        return {"digits": self.name(digits), "answer": self.compare(digits.flatten(1))}


class Attentive(nn.Module):
    """A plain module whose heads are a tuple: the rows of both digits attend to each other."""

    heads = {"answer": COMPARISON, "parity": PARITY}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.look, self.attend = nn.Linear(14, 8), nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
        self.norm, self.compare, self.sum = nn.LayerNorm(8), nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, images):
        rows = self.look(images.flatten(1, 2))
        rows = self.norm(rows + self.attend(rows, rows, rows, need_weights=False)[0]).mean(1)
        return self.compare(rows), self.sum(rows)


class Bare(nn.Module):
    """A plain module that has nothing but its answer. It notes each of its trainings in EVENT_LOG, as `Eventful` does.

    EVENT says what happens when the n-th is built: `fail 2`, `interrupt 2`.
    """

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(392, 4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 2))
        if log := os.environ.get("EVENT_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()}\n")
            event, _, when = os.environ.get("EVENT", "").partition(" ")
            count = len(Path(log).read_text().splitlines())
            if when == str(count) or (event == "interrupt" and count > int(when)):
                if event == "interrupt" and when == str(count):
                    _thread.interrupt_main()
                raise MemoryError("no room for this module")

    def forward(self, images):
        return self.layers(images)
