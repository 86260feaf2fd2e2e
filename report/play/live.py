"""A stack of trials that trains before one's eyes, an epoch at a time: it can be stopped, and goes on."""

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray

import lib
from lib import Experiment, Result, Store, datasets
from lib.analysis import default_store, lacking
from lib.messages import notice
from lib.store import GROUP, groups
from lib.teacher import DivergedError, Epoch, History
from lib.trained import Networks, load_networks
from lib.training import Trained, hyperparameters, prepare, provenance, record
from lib.workers import put
from report.play import pictures
from report.play.shown import Bar, Renewed, picture, time_left


class Live:
    """The training of an experiment's first trials, in the notebook's own process.

    `run()` trains, drawing after each epoch; an interrupt stops it after the epoch that it is in, and `run()` goes on
    from there. When all epochs are done, the result and the weights are stored, with the same bits as by
    `lib.networks`: what is stored is not trained again. More trials than one stored group, and plain modules, train in
    the library's own way, group by group.

    Raises DataError when the digits cannot be had.
    """

    def __init__(self, experiment: Experiment, trials: int, store: Store | None = None) -> None:
        self.experiment, self.trials, self.store = experiment, trials, store or default_store()
        self.result: Result | None = None
        self.kept: Networks | None = None
        self.failed = ""  # why it cannot go on
        missing = lacking(experiment, trials, self.store, [], True, "cpu")
        self.stack = missing[0] if len(missing) == 1 and alone(experiment, missing[0]) else None
        if not missing:
            self.load()
        elif self.stack:
            self.begin()

    def begin(self) -> None:
        """Draw pairs and initial weights; nothing is trained yet."""
        assert self.stack
        datasets.load(self.experiment.dataset)
        self.seconds = 0.0
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.prepared = prepare(self.experiment, self.stack)
        self.history = History()
        self.answers: list[NDArray[np.bool_]] = []  # right or wrong after each epoch, `[trials, pairs]`
        self.epochs: Iterator[Epoch] = self.prepared.teacher.epochs(
            self.prepared.network, **hyperparameters(self.experiment)
        )

    def load(self) -> None:
        """Take what is stored."""
        self.result = lib.load(self.experiment, self.trials, self.store)
        self.kept = load_networks(self.experiment, self.trials, self.store)

    @property
    def done(self) -> int:
        """How many epochs are done."""
        return self.experiment.epochs if self.result else len(self.history.epochs) if self.stack else 0

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Test accuracy so far, `[trials, epochs]` in percent."""
        if self.result:
            return self.result.accuracy
        if not self.stack or not self.answers:
            return np.empty((self.trials, 0))
        return np.stack([100 * each.mean(1) for each in self.answers], axis=1)[: self.trials]

    @property
    def networks(self) -> Networks:
        """The networks as they are now, a copy: more training does not change it.

        Raises RuntimeError where there are none yet.
        """
        if self.kept is not None:
            return self.kept
        if not self.stack:
            raise RuntimeError("nothing is trained yet: run the cell with training.run()")
        return Networks(self.experiment, [copy.deepcopy(self.prepared.network)], self.prepared.scale)

    def run(self) -> None:
        """Train on, drawing after each epoch, until all are done or the cell is stopped; store what is finished."""
        if self.result is None and not self.stack:
            self.train_as_library()
        bar, curves = Bar(), Renewed()
        bar.put(self.done, self.experiment.epochs, self.words())
        curves.put(**picture(*self.draw()))
        if self.result is None and self.stack and not self.failed:
            try:
                self.train(lambda left: bar.put(self.done, self.experiment.epochs, self.words(left)), curves)
            except DivergedError as error:
                self.failed = str(error)
            except KeyboardInterrupt:  # a second one, in the middle of an epoch
                self.begin()
            bar.put(self.done, self.experiment.epochs, self.words())

    def train(self, tell: Callable[[float], None], curves: Renewed) -> None:
        """Train on, and store a training that is finished."""
        begun, before = time.perf_counter(), self.done
        with stopping() as stopped, one_thread():
            while not stopped() and (epoch := next(self.epochs, None)):
                self.history.epochs.append(epoch.values)
                self.history.last = epoch.score
                self.answers.append(epoch.score.correct.numpy())
                each = (time.perf_counter() - begun) / (self.done - before)
                tell(each * (self.experiment.epochs - self.done))
                curves.put(**picture(*self.draw()))
        self.seconds += time.perf_counter() - begun
        if self.done == self.experiment.epochs:
            self.keep()

    def keep(self) -> None:
        """Store the finished training, as lib.workers does, and take it from there."""
        assert self.stack
        way = provenance(self.prepared.choice, "cpu", torch.float32, len(self.stack))
        origin = {**way, "threads": 1, "started": self.started, "seconds": round(self.seconds, 3)}
        records = [
            record(self.experiment, group, self.prepared, self.history, self.stack.start, origin)
            for group in groups(self.stack)
        ]
        put(self.store, self.experiment, Trained(self.prepared, records, {}), weights=True)
        self.load()

    def train_as_library(self) -> None:
        """Train what is no single stack as `lib.networks` does, with its bar."""
        try:
            self.kept = lib.networks(self.experiment, self.trials, store=self.store)
        except KeyboardInterrupt as stopped:
            notice(str(stopped))
            return
        self.result = lib.load(self.experiment, self.trials, self.store)

    def words(self, left: float | None = None) -> str:
        """Say how far it is."""
        epochs = self.experiment.epochs
        if self.failed:
            return f"it cannot go on: {self.failed}"
        if self.result:
            return f"all {epochs} epochs are done, and stored"
        if left is not None:
            return f"epoch {self.done} of {epochs}, {time_left(left)} left"
        if not self.done:
            return f"epoch 0 of {epochs}: run this cell, and it begins"
        return f"stopped after epoch {self.done} of {epochs}: nothing is lost, run this cell again and it goes on"

    def __str__(self) -> str:
        """Say what is reached: mean and SD over the trials."""
        if not self.done:
            return f"{self.experiment.name}: no epoch is trained yet (trials: {self.trials})"
        last = self.accuracy[:, -1]
        sd = f" ± {last.std(ddof=1):.1f}" if self.trials > 1 else ""
        name, epochs = self.experiment.name, self.done
        return f"{name}: {last.mean():.1f}{sd} % after epoch {epochs} (mean ± SD; trials: {self.trials})"

    def draw(self) -> tuple[pictures.Figure, str]:
        """Draw the curves so far."""
        return pictures.curves(self.accuracy, self.experiment)


def alone(experiment: Experiment, stack: range) -> bool:
    """Say whether trials train as one stack of one stored group."""
    return stack.start == 0 and len(stack) <= GROUP and not experiment.is_plain()


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Take the first interrupt as a wish, to be asked for after each epoch; the second one is the usual one."""
    came: list[int] = []

    def note(number: int, _: object) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as the library's workers do: the same bits, and room for the controls."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
