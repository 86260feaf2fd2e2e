"""Processes that end: all that this one started ends with it, whatever ends it, and at once when it is told to."""

import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar

import psutil

P = ParamSpec("P")
T = TypeVar("T")

STOPPED = 130  # exit code after Ctrl-C, as a shell has it
STOPPING = (signal.SIGINT, signal.SIGTERM)  # tell a process to stop: Ctrl-C, and `kill` or whoever started it
PATIENCE = 3.0  # seconds that a process told to stop is given

told, said = threading.Event(), threading.Event()  # this process was told to stop, and said that it does
by: list[int] = []  # the signals that told it


class Pool(ProcessPoolExecutor):
    """Processes that leave Ctrl-C to this one and end with it, and with them whatever they started.

    Where its `with` block is left by an error or by Ctrl-C, all of them are ended at once. `initializer` is called
    first in each of them; `method` is multiprocessing's way to start them.
    """

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., object] | None = None,
        *arguments: Any,
        method: Literal["spawn", "forkserver"] = "spawn",
    ) -> None:
        later = pickle.dumps(initializer)  # a reference: what it imports, torch for seconds, comes after `begin`
        super().__init__(workers, get_context(method), initializer=begin, initargs=(later, arguments))

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do as every executor does; a process that this starts does not see Ctrl-C while it only begins."""
        mask = blocked(signal.SIG_BLOCK, {signal.SIGINT})  # it starts with this thread's
        try:
            return super().submit(function, *args, **kwargs)
        finally:
            blocked(signal.SIG_SETMASK, mask)

    def processes(self) -> list[BaseProcess]:
        """Return those that were started so far."""
        return list((self._processes or {}).values())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the processes to end, or end them."""
        processes = self.processes()
        try:
            if kind is None:
                self.shutdown()
        finally:  # Ctrl-C while waiting, too
            with undisturbed():
                end(process.pid for process in processes if process.is_alive() and process.pid)
                self.shutdown(cancel_futures=True)


def begin(initializer: bytes, arguments: tuple[Any, ...]) -> None:
    """Begin a process of a pool; `initializer` is the pickled function to call, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    blocked(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=end_with_parent, daemon=True).start()
    listen((signal.SIGTERM,), lambda *_: None, end_all)
    if function := pickle.loads(initializer):
        function(*arguments)


def blocked(how: int, signals: Iterable[int]) -> Iterable[int]:
    """Change which signals this thread blocks, where the system can (Windows cannot); return those that it did."""
    return signal.pthread_sigmask(how, signals) if hasattr(signal, "pthread_sigmask") else ()


def end_with_parent() -> None:
    """Wait for the parent's end, then end: of a pool whose parent is killed, the workers would wait for ever."""
    if parent := parent_process():
        parent.join()
    end_children()
    os._exit(1)


def end_children() -> None:
    """End all processes that this one started, and those that they started."""
    end([child.pid for child in psutil.Process().children()])


def end(pids: Iterable[int]) -> None:
    """End processes and all that they started, whatever these are doing; of one that has ended already, nothing."""
    waiting, halted = list(pids), []
    while waiting:
        with suppress(psutil.Error):
            process = psutil.Process(waiting.pop())
            process.suspend()  # or it would start another one meanwhile, or end without saying which it started
            halted.append(process)
            waiting += [child.pid for child in process.children()]
    for process in halted:
        with suppress(psutil.Error):
            process.kill()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C and TERM to the end of the block, for what must not be left half done and takes a moment."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler or signal.SIG_DFL)
        for number in came[:1]:
            signal.raise_signal(number)


def stop_when_told() -> None:
    """From the first Ctrl-C or TERM on have this process end, with all that it started: in seconds, whatever it does.

    It gets the usual KeyboardInterrupt, once; further ones are held back. If it goes on all the same, in a library's
    code or waiting for something, it is ended: with exit code 130, or by TERM, as whoever sent that expects.
    """
    sys.unraisablehook = raise_again
    listen(STOPPING, interrupt, end_late)


def listen(signals: Iterable[int], handler: Callable[[int, Any], object], end: Callable[[], object]) -> None:
    """From the first of these signals on call `end` in a thread: the main one, and `handler`, may be kept from it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for each in signals:
        signal.signal(each, handler)

    def wait() -> None:
        while (number := os.read(reader, 1)[0]) not in signals:
            pass
        by.append(number)
        end()

    threading.Thread(target=wait, daemon=True).start()


def interrupt(number: int, _: object) -> None:
    """Raise KeyboardInterrupt, once."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    by.append(number)
    told.set()
    raise KeyboardInterrupt


def raise_again(lost: Any) -> None:
    """Raise a KeyboardInterrupt again that came into a `__del__` or a callback, where Python prints and drops it."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGINT, interrupt)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()  # by then the callback is over


def end_late() -> None:
    """End this process if it still runs a while later."""
    time.sleep(PATIENCE)
    leave()


def leave() -> None:
    """End this process, which was told to stop, with all that it started; at once: to take torch down takes seconds."""
    say_stopped()
    sys.stdout.flush()
    end_all()


def end_all() -> None:
    """End this process and all that it started, as the signal that told it would have."""
    end_children()
    if signal.SIGTERM in by[:1]:
        default = ctypes.pythonapi.PyOS_setsig  # signal.signal is for the main thread only
        default.argtypes, default.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        default(signal.SIGTERM, None)
        blocked(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(STOPPED)


def say_stopped(sentence: object = "") -> None:
    """Say that this process stops, once."""
    if not said.is_set():
        print(f"\n{sentence or 'stopped'}", file=sys.stderr, flush=True)
    said.set()
