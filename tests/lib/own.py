"""What the tests train: small experiments, and architectures of one's own as a user writes them."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from lib.architectures import WSN, Network, comparer, extractor, head
from lib.experiment import Experiment
from lib.tasks import CLASSES, COMPARISON, Task

LEAST = 4  # trials of a stack that counts: the battery's have fewer


def tiny(architecture="WSN", **settings):
    """An experiment whose groups train in a moment."""
    small = {"train_pairs": 20, "test_pairs": 20, "epochs": 2, "batch_size": 10, "learning_rate": 0.1}
    sizes = {"channels": "2-3", "hidden": "4"}
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


PARITY = Task("parity", "even sum?", 2, lambda classes: classes.sum(-1) % 2)
SUM = Task("sum", "sum of the digits?", 19, lambda classes: classes.sum(-1))


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
        self.digits = head(sizes, sizes.maps, (5,), CLASSES)
        self.parity = head(sizes, (2 * channels, height, width), (5,), PARITY)
        self.total = head(sizes, (2 * channels, height, width), (5,), SUM)

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
