import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from jupyter_client.provisioning import LocalProvisioner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib.machine import ROOT
from report.press.run import duration, run, run_all
from tests.lib.test_processes import marked, new_mark, none_left


def write(path, *sources):
    """Write a notebook of code cells, of which the last is the end."""
    cells = [new_code_cell(source) for source in (*sources, "print('the end')")]
    cells[0].metadata.tags, cells[-1].metadata.tags = ["parameters"], ["end"]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Any"), *cells], metadata={"kernelspec": kernelspec}), path)
    return path


def printed(path):
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return "".join(output.text for cell in code for output in cell.outputs if output.name == "stdout")


@pytest.mark.slow  # the builder's chain runs notebooks side by side, too
def test_notebooks_run_side_by_side_in_the_folder_and_come_back_in_order(tmp_path):
    (tmp_path / "here.txt").write_text("found")
    slow = write(tmp_path / "slow.ipynb", "x = 1", "import time\ntime.sleep(x)\nprint(open('here.txt').read(), x)")
    fast = write(tmp_path / "fast.ipynb", "x = 1", "print(x)")
    steps = [(slow, {"x": 0.5}), (fast, {}), (fast, {"x": "two words"})]
    lines = []
    done = run_all(steps, tmp_path / "out", tmp_path, at_a_time=2, say=lines.append)
    assert sorted(line.split()[0] for line in lines) == [path.name for path in done]
    for number, line in enumerate(lines, start=1):
        left = r", about (\d+ min )?\d+ s left" if number < 3 else ""
        assert re.fullmatch(rf"\S+ has run \({number} of 3\): (\d+ min )?\d+ s so far{left}", line), line
    assert [path.name for path in done] == ["01-slow.ipynb", "02-fast.ipynb", "03-fast.ipynb"]
    assert [printed(path).splitlines()[0] for path in done] == ["found 0.5", "1", "two words"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in done]


@pytest.mark.parametrize("code", ["print(x)", pytest.param("x / 0", marks=pytest.mark.slow)])
def test_a_kernel_is_asked_to_end_and_not_interrupted(tmp_path, monkeypatch, code):
    """An interrupt between two cells is "KeyboardInterrupt caught in kernel", an error in a build's output."""
    sent = []
    send = LocalProvisioner.send_signal

    async def send_signal(self, number):
        sent.append(number)
        await send(self, number)

    monkeypatch.setattr(LocalProvisioner, "send_signal", send_signal)
    failing = pytest.raises(papermill.PapermillExecutionError) if "/" in code else contextlib.nullcontext()
    with failing:
        run(write(tmp_path / "any.ipynb", "x = 1", code), {}, tmp_path / "out.ipynb", tmp_path)
    assert signal.SIGINT not in sent


@pytest.mark.slow
def test_a_notebook_that_fails_stops_the_others(tmp_path):
    forever = write(tmp_path / "forever.ipynb", "x = 1", "import time\ntime.sleep(3000)")
    failing, lines = write(tmp_path / "failing.ipynb", "x = 1", "x / 0"), []
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        run_all(
            [(forever, {}), (failing, {}), (forever, {})], tmp_path / "out", tmp_path, at_a_time=2, say=lines.append
        )
    assert lines == []


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3725, "62 min 5 s")])
def test_a_time_is_said_in_seconds_or_minutes(seconds, said):
    assert duration(seconds) == said


def test_a_failed_cell_leaves_the_notebook_beside_the_target(tmp_path):
    failing = write(tmp_path / "failing.ipynb", "x = 1", "x / 0")
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        run(failing, {}, tmp_path / "out.ipynb", tmp_path)
    assert not (tmp_path / "out.ipynb").exists()
    assert (tmp_path / "out.unfinished.ipynb").exists()


def test_a_notebook_whose_kernel_is_killed_is_not_finished(tmp_path):
    killed = write(tmp_path / "killed.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises((ValueError, RuntimeError, papermill.PapermillException)):
        run(killed, {}, tmp_path / "out.ipynb", tmp_path)
    assert not (tmp_path / "out.ipynb").exists()


SCRIPT = """
import sys
from pathlib import Path
from lib import processes
from report.press.run import run_all

if __name__ == "__main__":
    notebook, folder = map(Path, sys.argv[1:])
    processes.stop_when_told()
    try:
        run_all([(notebook, {"file": str(folder / "begun")})] * 3, folder / "out", folder, at_a_time=2)
    except KeyboardInterrupt:
        processes.leave()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)],
)
def test_kernels_end_with_the_process_that_runs_the_notebooks(tmp_path, how):
    """A kernel is in a session of its own: no signal of the terminal reaches it."""
    code = "import time\nopen(file, 'a').write('here\\n')\ntime.sleep(300)"
    notebook, mark = write(tmp_path / "long.ipynb", "file = ''", code), new_mark()
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", notebook, tmp_path]
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path, "MARK": mark}, start_new_session=True, stderr=subprocess.PIPE
    ) as process:
        begun, end = tmp_path / "begun", time.monotonic() + 120
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert len(marked(mark)) >= 4, "itself, two workers, a kernel"
        process.send_signal(how)
        process.communicate(timeout=5)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert none_left(mark), "a process is left"
    assert len(list((tmp_path / "out").glob("*.ipynb"))) <= 2 and not list((tmp_path / "out").glob("0?-long.ipynb"))


REFUSED = """\
import socket, urllib.request
for reach in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: urllib.request.urlopen("http://example.org"),
):
    try:
        reach()
    except OSError as error:
        print(error)
    else:
        print("REACHED")
"""
ALLOWED = """\
socket.create_connection(("localhost", port)).close()
unix = socket.socket(socket.AF_UNIX)
unix.connect(path)
print("here", port)
"""


def test_the_kernel_of_a_notebook_under_test_reaches_this_machine_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a unix socket's path has to be short
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("unix")
        unix.listen()
        port = server.getsockname()[1]
        notebook = write(tmp_path / "reach.ipynb", "port, path = 0, ''", REFUSED, ALLOWED)
        lines = printed(run(notebook, {"port": port, "path": "unix"}, tmp_path / "out.ipynb", tmp_path)).splitlines()
    assert len(lines) == 7
    assert all("tests reach no other machine" in line for line in lines[:5]), lines
    assert lines[5:] == [f"here {port}", "the end"]
    assert "offline" in {Path(folder).name for folder in os.environ["PYTHONPATH"].split(os.pathsep)}
