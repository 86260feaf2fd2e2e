"""Many groups at once: spawned one-thread processes (or any Executor), progress, and what happens when one dies."""

import ctypes
import functools
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch
from torch import nn
from tqdm import tqdm

from lib import datasets, registry
from lib.experiment import Experiment
from lib.machine import cores
from lib.store import Store
from lib.training import train

Task = tuple[Experiment, range]
GIVE_UP = 3  # rounds in which processes died and no group was finished
UNGUARDED = 97  # exit code of a worker that is a script which trains as soon as it is imported

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
        with progress_bar(tasks, workers, progress) as bar:
            if executor is not None:
                failed = collect({executor.submit(job, *task): task for task in tasks}, bar)
            elif len(tasks) == 1:
                failed = train_here(job, tasks[0], bar)
            else:
                failed = train_in_processes(job, tasks, workers, bar)
    finally:
        torch.set_num_threads(threads)
    if failed:
        names = ", ".join(f"{e.name} trials {t[0]} to {t[-1]}" for e, t in tasks if (e, t) in failed)
        first = next(failed[task] for task in tasks if task in failed)
        raise StudyError(f"{len(failed)} of {len(tasks)} groups failed ({names}): {first}") from first


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

    Raises StudyError when the workers import a script that has no guard.
    """
    context, idle_rounds = get_context("spawn"), 0
    failed: Failed = {}
    while tasks:
        ticks = context.Queue()
        pool = ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(ticks,))
        processes: list[BaseProcess] = []
        try:
            futures = {pool.submit(job, *task): task for task in tasks}
            processes = list((pool._processes or {}).values())
            errors = collect(futures, bar, ticks)
        except BaseException:  # Ctrl-C, or an error of ours: nothing goes on in the background
            for process in processes:
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if any(process.exitcode == UNGUARDED for process in processes):
            raise StudyError(
                "a worker process imports this script again and must not train there: put what trains below the line "
                'if __name__ == "__main__":'
            )
        lost = {task: error for task, error in errors.items() if isinstance(error, BrokenExecutor)}
        failed |= {task: error for task, error in errors.items() if task not in lost}
        idle_rounds = idle_rounds + 1 if len(errors) == len(tasks) else 0
        if idle_rounds == GIVE_UP:
            return failed | lost
        tasks = [task for task in tasks if task in lost]
    return failed


def collect(futures: dict[Future[None], Task], bar: Bar, ticks: Any = None) -> Failed:
    """Wait for all futures, moving the bar by what workers tick (else by finished tasks); return the errors."""
    pending, errors = set(futures), cast(Failed, {})
    while pending:
        done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            if error := future.exception():
                errors[futures[future]] = error
            elif ticks is None:
                bar.update(size(futures[future]))
        while ticks is not None:
            try:
                bar.update(ticks.get_nowait())
            except queue.Empty:
                break
    return errors


def train_group(
    experiment: Experiment, trials: range, store: Store, registered: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Train one stack of trials and store it, group by group: the unit of work of any executor.

    `registered` are the names of architectures, which a process of its own need not know.
    """
    registry.ARCHITECTURES.update(registered or {})
    datasets.load(experiment.dataset)  # before the allocator is told to keep all that reading takes
    set_up_process()

    def on_epoch(network: nn.Module) -> None:
        if tick:
            tick(len(trials))

    for record in train(experiment, trials, on_epoch=on_epoch, **options):
        store.write(record)


def start_worker(ticks: Any) -> None:
    """Begin a process of our own pool: it reports to `ticks`, leaves Ctrl-C to its parent, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    globals()["tick"] = ticks.put
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the parent's end, then end: of a pool whose parent is killed, the workers would wait for ever."""
    if parent := parent_process():
        parent.join()
    os._exit(1)


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


def progress_bar(tasks: list[Task], workers: int, show: bool) -> Bar:
    """Say what is to be trained, and return a bar over trial-epochs, which knows the time left after an epoch."""
    total = sum(map(size, tasks))
    if show:
        names = ", ".join(dict.fromkeys(e.name for e, _ in tasks))
        trials = sum(len(trials) for _, trials in tasks)
        print(f"training {trials} trials ({names}), {workers} at a time", file=sys.stderr)
    return tqdm(total=total, unit="trial-epoch", smoothing=0.05, mininterval=1, disable=not show, file=sys.stderr)


def size(task: Task) -> int:
    """Return the work of a task in trial-epochs."""
    return task[0].epochs * len(task[1])
