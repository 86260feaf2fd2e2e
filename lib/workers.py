"""Many groups at once: spawned one-thread processes (or any Executor), progress, and what happens when one dies."""

import ctypes
import errno
import functools
import io
import os
import queue
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from tqdm import tqdm

from lib import datasets, kept, registry
from lib.cluster import NotSharedError, Wire, wired
from lib.experiment import Experiment, told_apart
from lib.foreign import find as find_architecture
from lib.foreign import is_plain
from lib.machine import cores
from lib.measures import Measure, Values
from lib.messages import NOTEBOOK_ONLY, display, notice
from lib.processes import Pool
from lib.store import Record, Store
from lib.trained import keep
from lib.training import Trained, chosen, train_fully

Task = tuple[Experiment, range]
NAMED = 3  # groups that a message names
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a full or read-only disk
GIVE_UP = 3  # rounds in which processes died and no group was finished
UNGUARDED = 97  # exit code of a worker that is a script which trains as soon as it is imported
BROKEN = 1  # exit code of a worker that failed while it imported the script: what it is given to do ends none so
GUARD = 'put what trains below the line if __name__ == "__main__":'

Job = Callable[..., None]
Failed = dict[Task, BaseException]
Bar = Any  # tqdm's bar, which has no types

tick: Callable[[int], object] | None = None  # how this process reports finished trial-epochs; set while it trains


class StudyError(RuntimeError):
    """Some groups could not be trained; the message names them and the first reason. All others are stored."""


def train_all(
    tasks: list[Task],
    store: Store,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = True,
    **options: Any,
) -> None:
    """Train and store every task, a stack of trials of an experiment; options as in `lib.training.train`.

    A single task runs in this process. A process that dies takes its pool with it: the pool is rebuilt for what is
    still missing. Ctrl-C keeps what is finished and leaves nothing running. Raises StudyError, after all other tasks
    ended.
    """
    if getattr(current_process(), "_inheriting", False):  # a worker that is still importing the script of its parent
        os._exit(UNGUARDED)
    job = functools.partial(train_group, store=store, registered=dict(registry.ARCHITECTURES), **options)
    workers = min(workers or cores(), len(tasks))
    threads = torch.get_num_threads()
    try:
        if progress:
            announce(
                tasks,
                "by the executor's workers" if executor else f"{workers} at a time",
                None if executor else options.get("implementation", ""),
                options["device"],
            )
        with progress_bar(tasks, progress) as bar:
            if executor is not None:
                with wired(executor, store.root) as (wire, ticks):
                    job = functools.partial(job, wire=wire)
                    failed = collect({executor.submit(job, *task): task for task in tasks}, bar, ticks)
            elif len(tasks) == 1:
                failed = train_here(job, tasks[0], bar)
            else:
                failed = train_in_processes(job, tasks, workers, bar)
    except KeyboardInterrupt:
        done = sum(store.find(experiment.configuration, trials) is not None for experiment, trials in tasks)
        raise KeyboardInterrupt(
            f"stopped: {done} of {len(tasks)} groups are finished and kept; run again, it goes on from there"
        ) from None
    finally:
        torch.set_num_threads(threads)
    if failed:
        called = told_apart(e for e, _ in tasks)
        several = [f"{called[e]} trials {t[0]} to {t[-1]}" for e, t in tasks if (e, t) in failed]
        names = ", ".join(several[:NAMED]) + (f" and {len(several) - NAMED} more" if len(several) > NAMED else "")
        first = next(failed[task] for task in tasks if task in failed)
        raise StudyError(f"{len(failed)} of {len(tasks)} groups failed ({names}): {worded(first)}") from first


def worded(error: BaseException) -> str:
    """Return an error's words; of one without any its type, which a MemoryError often is."""
    return str(error) or type(error).__name__


def train_here(job: Job, task: Task, bar: Bar) -> Failed:
    """Run one task in this process; return it with its error if it failed."""
    globals()["tick"] = bar.update
    try:
        job(*task)
    except Exception as error:
        return {task: error}
    finally:
        globals()["tick"] = None
    return {}


def train_in_processes(job: Job, tasks: list[Task], workers: int, bar: Bar) -> Failed:
    """Run the tasks on a pool of spawned processes, rebuilding it when one dies; return what failed for good.

    Raises StudyError when the workers cannot import the script, or import one that has no guard.
    """
    failed, idle_rounds = cast(Failed, {}), 0
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if script and main.__spec__ is None and not Path(script).is_file():  # as in `python < study.py`
        raise StudyError(f"worker processes import this script again, and {script} is no file: run it as one, {GUARD}")
    while tasks:
        ticks = get_context("spawn").Queue()
        with Pool(workers, report_to, ticks) as pool:  # left by Ctrl-C, nothing goes on in the background
            futures = {pool.submit(job, *task): task for task in tasks}
            processes = pool.processes()
            errors = collect(futures, bar, ticks)
        if any(process.exitcode == UNGUARDED for process in processes):
            raise StudyError(f"a worker process imports this script again and must not train there: {GUARD}")
        if any(process.exitcode == BROKEN for process in processes):
            raise StudyError(
                "a worker process imports this script again and failed there, with the error that it has printed: "
                'put what is for the first process only below the line if __name__ == "__main__":'
            )
        lost = {task: error for task, error in errors.items() if isinstance(error, BrokenExecutor)}
        failed |= {task: error for task, error in errors.items() if task not in lost}
        idle_rounds = idle_rounds + 1 if len(errors) == len(tasks) else 0
        if idle_rounds == GIVE_UP:
            return failed | lost
        tasks = [task for task in tasks if task in lost]
    return failed


def collect(futures: dict[Future[None], Task], bar: Bar, ticks: Any = None) -> Failed:
    """Wait for all futures, moving the bar by what workers tick (else by finished tasks); return the errors.

    Raises StudyError where there is no room for more results, or they would go astray. Then, and after Ctrl-C, what has
    not begun never does.
    """
    pending, errors = set(futures), cast(Failed, {})
    try:
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                if error := error_of(future):
                    errors[futures[future]] = error
                    if isinstance(error, NotSharedError):  # and such a worker would soon have failed with all groups
                        raise StudyError(f"{error}; nothing is trained by it, and what is finished is kept") from error
                    if isinstance(error, OSError) and error.errno in NO_ROOM:  # no other group could be stored either
                        why = f"{worded(error)}; what is finished is kept, and run again, it goes on from there"
                        raise StudyError(f"results cannot be stored any more: {why}") from error
                elif ticks is None:
                    bar.update(size(futures[future]))
            while ticks is not None:
                try:
                    bar.update(ticks.get_nowait())
                except queue.Empty:
                    break
    except BaseException:
        for future in pending:
            future.cancel()
        raise
    return errors


def error_of(future: Future[None]) -> BaseException | None:
    """Return how a future that is done has failed, or None."""
    try:
        return future.exception()
    except CancelledError:  # not by us, who wait for it
        return ConnectionError("the executor has given them up: it was shut down, or its scheduler has ended")


def train_group(
    experiment: Experiment,
    trials: range,
    store: Store,
    registered: Mapping[str, str] | None = None,
    weights: bool = False,
    wire: Wire | None = None,
    **options: Any,
) -> None:
    """Train one stack of trials and store it, group by group: the unit of work of any executor.

    `registered` are the names of architectures, which a process of its own need not know; `weights` as in `put`;
    `wire` is how a worker of a cluster reports.
    """
    if wire:
        wire.check()
    registry.ARCHITECTURES.update(registered or {})
    datasets.load(experiment.dataset)  # before the allocator is told to keep all that reading takes
    set_up_process()

    def on_epoch(network: nn.Module) -> None:
        if report := wire or tick:
            report(len(trials))

    put(store, experiment, train_fully(experiment, trials, on_epoch=on_epoch, **options), weights)


def put(store: Store, experiment: Experiment, trained: Trained, weights: bool) -> None:
    """Store a trained stack, group by group; `weights` keeps the networks, too.

    Of a group that is stored already only these and the measures are written, with the trials whose counts came out
    otherwise this time.
    """
    for record in trained.records:
        held = store.read(experiment.configuration, range(record["trials"][0], record["trials"][-1] + 1))
        if held is None or not (trained.measures or weights):
            store.write(record)
        differing = kept.differing(held, record) if held else []
        for measure, values in trained.measures.items():
            kept.write_measure(store.root, measured(measure, values, trained.part(record), record, differing))
        if weights:
            keep(store, experiment, trained, record, differing)


def measured(measure: Measure, values: Values, part: slice, record: Record, differing: list[int]) -> kept.Measured:
    """Return what is kept of a measure of the trials of a record."""
    return {
        "schema": kept.SCHEMA,
        "measure": measure.name,
        "source": measure.source,
        "configuration": record["configuration"],
        "trials": record["trials"],
        "values": {each: kept.encoded(value[part].numpy()) for each, value in values.items()},
        "differing": differing,
        "provenance": record["provenance"],
    }


def report_to(ticks: Any) -> None:
    """Have this process, one of a pool's, report to a queue how much it has trained."""
    globals()["tick"] = ticks.put


def set_up_process() -> None:
    """Give a process that trains, whoever started it, one thread and an allocator that keeps its memory."""
    # One process per core, one thread each: faster than threads, which spin and collapse when another job shares the
    # machine.
    torch.set_num_threads(1)
    if sys.platform == "linux":
        # glibc would give every large tensor back to the system and page it in again at the next step: keep memory
        # instead (no mmap for allocations, never trim, grow by 64 MB).
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:  # musl
            return
        for parameter, value in ((-4, 0), (-1, -1), (-2, 64 << 20)):
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)  # but what the group before has left in pieces goes back


def announce(tasks: list[Task], whom: str, implementation: str | None, device: str) -> None:
    """Say what is to be trained, and by which implementation and why; None leaves that to other machines."""
    experiments = list(dict.fromkeys(experiment for experiment, _ in tasks))
    trials = sum(len(trials) for _, trials in tasks)
    called = told_apart(experiments)
    notice(f"training {trials} trials ({', '.join(called.values())}), {whom}")
    ways: dict[str, list[str]] = {}
    for experiment in experiments:
        if is_plain(find_architecture(experiment.architecture)):
            way = "a plain module, whose trials train one by one: slower than a stack of trials"
        elif implementation is None:
            continue
        else:
            choice = chosen(experiment, implementation, device)
            way = {
                "fused": f"computed by the compiled block ({choice.why})",
                "torch": f"computed by PyTorch's operations, which takes several times as long ({choice.why})",
            }[choice.implementation]
        ways.setdefault(way, []).append(called[experiment])
    for way, several in ways.items():
        notice(f"{', '.join(several)}: {way}")


def progress_bar(tasks: list[Task], show: bool) -> Bar:
    """Return a bar over trial-epochs, which knows the time left after an epoch; in a notebook it is a display."""
    kind, file = (tqdm, sys.stderr) if display() is None else (Displayed, io.StringIO())
    total = sum(map(size, tasks))
    return kind(total=total, unit="trial-epoch", smoothing=0.05, mininterval=1, disable=not show, file=file)


class Displayed(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar that is one display of a notebook, renewed in its place: no text on stderr, and no line for each state."""

    shown: Any = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show the bar as it is now."""
        state = {"text/plain": str(self) if msg is None else msg}
        if self.shown is None:
            show = display()
            assert show is not None  # else there is a bar on stderr
            self.shown = show(state, raw=True, display_id=True, metadata=NOTEBOOK_ONLY)
        else:
            self.shown.update(state, raw=True, metadata=NOTEBOOK_ONLY)


def size(task: Task) -> int:
    """Return the work of a task in trial-epochs."""
    return task[0].epochs * len(task[1])
