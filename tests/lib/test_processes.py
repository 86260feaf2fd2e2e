"""What a process started ends with it, whatever ends it: Ctrl-C, twice, an error, or a kill that it cannot see."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.machine import ROOT
from lib.processes import Pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

BODY = """
import ctypes, os, signal, subprocess, sys, time
from lib import processes

def work(seconds):
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"], start_new_session=True)
    print("begun", flush=True)
    time.sleep(seconds)

def swallow():
    while True:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            pass

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
DEAF = "processes.PATIENCE = 0.5; swallow()"
NATIVE = "processes.PATIENCE = 0.5; signal.pthread_sigmask(signal.SIG_BLOCK, {2}); print(ctypes.CDLL(None).sleep(300))"


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


def none_left(mark, seconds=5):
    end = time.monotonic() + seconds
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.02)
    return not marked(mark)


@pytest.fixture
def started(tmp_path):
    """Start a script as a terminal does, with two workers that have each begun and started a process of their own."""
    mark = f"MARK_{tmp_path.name}"
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


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_ctrl_c_ends_all_at_once_and_a_further_one_changes_nothing(started, times):
    script, mark = started(WAITING)
    for _ in range(times):  # a terminal sends it to all
        os.killpg(script.pid, signal.SIGINT)
        time.sleep(0.05)
    _, error = script.communicate(timeout=5)
    assert (script.returncode, error) == (130, "\nstopped in a sentence\n")
    assert none_left(mark, 0.5)


@pytest.mark.parametrize("block", [DEAF, pytest.param(NATIVE, marks=pytest.mark.slow)])
def test_a_process_that_goes_on_all_the_same_is_ended(started, block):
    script, mark = started(block)
    os.killpg(script.pid, signal.SIGINT)
    _, error = script.communicate(timeout=5)
    assert (script.returncode, error) == (130, "\nstopped\n")
    assert none_left(mark, 0.5)


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
