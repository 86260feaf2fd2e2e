import os
import socket
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from report.press.run import run, run_all


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
    done = run_all(steps, tmp_path / "out", tmp_path, at_a_time=2)
    assert [path.name for path in done] == ["01-slow.ipynb", "02-fast.ipynb", "03-fast.ipynb"]
    assert [printed(path).splitlines()[0] for path in done] == ["found 0.5", "1", "two words"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [path.name for path in done]


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
