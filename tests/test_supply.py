"""What is installed is what was tested; what `make` starts is as safe as it says."""

import os
import re
import signal
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import pytest

from lib.machine import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = (ROOT / ".ci" / "locked.txt").read_text()
LINE = r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}"


def named(requirement: str) -> str:
    return re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")


def pins(text: str) -> dict[str, str]:
    """The versions, by package."""
    lines = [line.split(" ")[0] for line in text.splitlines() if "==" in line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_every_locked_package_has_one_version_and_a_hash():
    lines = [line for line in LOCKED.splitlines() if not line.startswith("#")]
    matches = [re.fullmatch(LINE, line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    names = [match[1] for match in matches]
    assert names == sorted(set(names))


def test_what_is_locked_is_what_the_constraints_pin_and_all_that_is_needed():
    locked, pinned = pins(LOCKED), pins((ROOT / "constraints.txt").read_text())
    assert {name: locked.get(name) for name in pinned} == pinned, "`make lock` renews the locked file"
    extra = {name for name in locked.keys() - pinned.keys() if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert extra == {named(each) for each in PROJECT["build-system"]["requires"]}
    several = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + several["test"] + several["browser"] + several["cluster"]
    assert {named(each) for each in wanted} <= locked.keys()


def make(*arguments: str, **variables: str) -> str:
    """What `make` would do."""
    command = ["make", "-n", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True).stdout


def test_ci_installs_what_is_locked_and_nothing_else():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make locked" in script and "pip install" not in script
    installs = [line for line in make("locked").replace("\\\n", "").splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0] and "-r .ci/locked.txt" in installs[0]
    assert "--no-deps --no-build-isolation -e ." in installs[1]


def test_the_lab_takes_options():
    assert "jupyter lab --notebook-dir=. --allow-root --port=9 notebooks/explore.ipynb" in make(
        "lab", "ARGS=--allow-root --port=9"
    )
    assert "--no-browser" in make("lab", ARGS="--no-browser")


def answer(address: str, token: str = "") -> int | None:
    """The status of what a server says, or None where nobody listens."""
    request = urllib.request.Request(f"http://{address}/api/contents", headers={"Authorization": f"token {token}"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


SETTINGS = {  # of a user who opens it to everybody, in each of the ways
    "jupyter_server_config.py": 'c.ServerApp.ip = "0.0.0.0"\nc.IdentityProvider.token = ""\nc.ServerApp.token = ""\n',
    "jupyter_lab_config.py": 'c.ServerApp.ip = "0.0.0.0"\nc.LabApp.token = ""\n',
    "jupyter_notebook_config.py": 'c.NotebookApp.ip = "0.0.0.0"\nc.NotebookApp.token = ""\n',
    "jupyter_server_config.json": '{"ServerApp": {"ip": "0.0.0.0"}, "IdentityProvider": {"token": ""}}',
}


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv" / "bin" / "jupyter").exists(), reason="needs the environment of `make`")
@pytest.mark.parametrize(
    "files", [[], *([name] for name in SETTINGS), list(SETTINGS)], ids=lambda files: " ".join(files)
)
def test_the_lab_listens_to_this_machine_alone_and_asks_for_a_token(files, tmp_path):
    (tmp_path / ".jupyter").mkdir()
    for name in files:
        (tmp_path / ".jupyter" / name).write_text(SETTINGS[name])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "PYTHONPATH"))}
    with log.open("w") as out:
        lab = subprocess.Popen(
            ["make", "--assume-old=.venv/ready", "lab", f"ARGS=--allow-root --no-browser --port={port}"],
            cwd=ROOT,
            env={**environment, "HOME": str(tmp_path)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 120
        while answer(f"127.0.0.1:{port}") is None:
            assert lab.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        assert answer(f"127.0.0.1:{port}") == 403
        assert answer(f"127.0.0.1:{port}", "another") == 403
        [token] = re.findall(r"the token of this server: ([0-9a-f]{48})\n", log.read_text())
        assert answer(f"127.0.0.1:{port}", token) == 200
        assert answer(f"127.0.0.2:{port}", token) is None, "it listens to more than one address"
    finally:
        os.killpg(lab.pid, signal.SIGKILL)
        lab.wait()
