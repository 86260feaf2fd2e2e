"""What a process started ends with it, whatever ends it: Ctrl-C, twice, an error, or a kill that it cannot see."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from lib.machine import ROOT
from lib.processes import Pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

BODY = """
import ctypes, os, signal, subprocess, sys, time, weakref
from lib import processes

def work(seconds):
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"], start_new_session=True)
    os.write(1, b"begun\\n")  # at once: print writes the end of the line apart where Python does not buffer
    time.sleep(seconds)

def swallow():
    while True:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            pass

class Held:
    pass

class Slow:
    def __del__(self):
        time.sleep(300)

if __name__ == "__main__":
    seconds = 300
    processes.stop_when_told()
    try:
        with processes.Pool(2) as pool:
            futures = [pool.submit(work, seconds) for _ in range(3)]
            BLOCK
    except KeyboardInterrupt:
        processes.say_stopped("stopped in a sentence")
        processes.leave()
"""
WAITING = "[future.result() for future in futures]"
CALLED_BACK = "held = Held(); gone = weakref.ref(held, lambda _: time.sleep(seconds)); del held; " + WAITING
DELETED = "Slow(); " + WAITING
DEAF = "processes.PATIENCE = 0.5; swallow()"
NATIVE = (
    "processes.PATIENCE = 0.5; signal.pthread_sigmask(signal.SIG_BLOCK, {2, 15}); print(ctypes.CDLL(None).sleep(300))"
)


def marked(mark):
    """The living processes with a word in their environment, which those that they start inherit."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if mark.encode() in (process / "environ").read_bytes() and state != "Z":
                found.append(int(process.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def new_mark():
    return f"MARK_{uuid.uuid4().hex}"  # tmp_path's name is another worker's too, where tests run side by side


def none_left(mark, seconds=5):
    end = time.monotonic() + seconds
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.02)
    return not marked(mark)


@pytest.fixture
def started(tmp_path):
    """Start a script as a terminal does, with two workers that have each begun and started a process of their own."""
    mark = new_mark()
    scripts = []

    def start(block):
        file = tmp_path / "script.py"
        file.write_text(BODY.replace("BLOCK", block))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MARK": mark}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        script = subprocess.Popen([sys.executable, file], start_new_session=True, env=environment, **pipes)
        scripts.append(script)
        assert [script.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
        assert len(marked(mark)) >= 5, "itself, two workers and theirs"
        return script, mark

    yield start
    for process in marked(mark):
        os.kill(process, signal.SIGKILL)
    for script in scripts:
        script.communicate()


INT, TERM = signal.SIGINT, signal.SIGTERM
ENDS = {INT: 130, TERM: -TERM}  # what a shell says of a process that is told to stop so


@pytest.mark.parametrize(
    "signals", [(INT,) * 3, (TERM, INT), *(pytest.param(s, marks=pytest.mark.slow) for s in ((INT,), (INT, TERM)))]
)
def test_ctrl_c_or_term_ends_all_at_once_and_a_further_one_changes_nothing(started, signals):
    script, mark = started(WAITING)
    for how in signals:  # a terminal sends it to all
        os.killpg(script.pid, how)
        time.sleep(0.05)
    _, error = script.communicate(timeout=5)
    assert (script.returncode, error) == (ENDS[signals[0]], "\nstopped in a sentence\n")
    assert none_left(mark, 0.5)


@pytest.mark.parametrize("block", [CALLED_BACK, DELETED])
def test_a_ctrl_c_that_python_drops_comes_again(started, block):
    """While modules are imported, say, whose locks have callbacks: it would be printed and forgotten."""
    script, mark = started(block)
    os.killpg(script.pid, INT)
    _, error = script.communicate(timeout=5)
    assert (script.returncode, error) == (130, "\nstopped in a sentence\n")
    assert none_left(mark, 0.5)


@pytest.mark.parametrize("how", [pytest.param(INT, marks=pytest.mark.slow), TERM])
@pytest.mark.parametrize("block", [DEAF, pytest.param(NATIVE, marks=pytest.mark.slow)])
def test_a_process_that_goes_on_all_the_same_is_ended(started, block, how):
    script, mark = started(block)
    os.killpg(script.pid, how)
    _, error = script.communicate(timeout=5)
    assert (script.returncode, error) == (ENDS[how], "\nstopped\n")
    assert none_left(mark, 0.5)


HELD_BACK = """
import os, sys, time
from lib import processes

processes.stop_when_told()
try:
    with processes.undisturbed():
        for how in sys.argv[1:]:
            os.kill(os.getpid(), int(how))
        time.sleep(0.1)
        print("whole", flush=True)
    print("not reached", flush=True)
except KeyboardInterrupt:
    processes.leave()
"""


@pytest.mark.parametrize("signals", [(INT,), (TERM,), (INT, TERM), (TERM, INT, TERM)])
def test_what_must_not_be_left_half_done_is_done_first(signals):
    command = [sys.executable, "-c", HELD_BACK, *(str(int(how)) for how in signals)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (ENDS[signals[0]], "whole\n", "\nstopped\n")


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_workers_and_what_they_started_end_with_a_process_that_is_killed(started, how):
    script, mark = started(WAITING)
    script.send_signal(how)
    assert script.wait() == -how
    assert none_left(mark)


def fail_or_wait(seconds):
    if not seconds:
        raise ZeroDivisionError
    time.sleep(seconds)


def test_an_error_ends_the_others_too():
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), Pool(2) as pool:
        [future.result() for future in [pool.submit(fail_or_wait, seconds) for seconds in (0, 60, 60)]]
    assert time.monotonic() - start < 30
    assert not any(process.is_alive() for process in pool.processes())


def test_an_executor_as_any_other():
    with Pool(1, os.nice, 1) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
        assert pool.submit(os.nice, 0).result() == os.nice(0) + 1
