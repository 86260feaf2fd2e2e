"""Where we run: the project's folder, the version of its code, the user's folders, the processor, other programs."""

import hashlib
import os
import platform
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = (ROOT / "pyproject.toml").is_file()  # else it is installed as a package, among those of others
UNKNOWN: dict[str, object] = {"commit": "unknown", "dirty": True}


@cache
def code_version(seconds: float = 20, folder: str = "lib") -> dict[str, object]:
    """Return the last commit that touched a folder of the project, and whether that has changed since.

    It is "unknown" outside a git checkout: also in a folder that lies in another repository, or in one that does not
    track this file, and where git does not answer within `seconds`. What the environment says of another repository
    does not count.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # It must neither ask for a password nor fetch what a partial clone lacks.
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), "-c", "core.fsmonitor=false", *arguments]
        done = finish(command, seconds, environment)
        done.check_returncode()
        return done.stdout.removesuffix("\n")

    try:
        if not Path(git("rev-parse", "--show-toplevel")).samefile(ROOT):
            return UNKNOWN
        git("ls-files", "--error-unmatch", "--", "lib/machine.py")
        commit = git("rev-list", "-1", "HEAD", "--", folder)
        changes = git("status", "--porcelain", "--untracked-files=all", "--", folder)
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return {"commit": commit, "dirty": bool(changes)} if commit else UNKNOWN


# A shell that runs a command and ends all of its group as soon as its standard input, which we hold open, is closed:
# the command does not outlive us, however we end.
GUARDED = """
exec 3<&0
(read -r gone <&3; kill -9 0) >/dev/null 2>&1 &
"$@" </dev/null 3<&-
code=$?
{ kill -9 $!; wait $!; } 2>/dev/null
exit $code
"""


def finish(
    command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that needs no input; return what it wrote and its exit code, 127 where it was not found.

    It ends, and all that it has started with it, after `seconds`, on Ctrl-C, and when this process ends. Raises
    subprocess.TimeoutExpired where it took too long.
    """
    theirs, ours = os.pipe()
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", GUARDED, "sh", *command],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # its own group, and no terminal at which something may ask
        ) as process:
            try:
                out, err = process.communicate(timeout=seconds)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)
    except subprocess.TimeoutExpired as error:
        error.cmd = list(command)
        raise
    finally:
        os.close(theirs)
        os.close(ours)


def folder_from(name: str, default: Path | Callable[[], Path]) -> Path:
    """Return the folder that an environment variable names, or else the default; always an absolute path.

    It is read as a shell would: `~`, `~user` and `$NAME` stand for what they mean, also where no shell has replaced
    them, and blanks or quotes around it are none of its name. A relative path begins where the command was given.
    Raises ValueError for a user or a variable that does not exist.
    """
    said = os.environ.get(name, "").strip()
    if len(said) > 1 and said[0] == said[-1] and said[0] in "\"'":
        said = said[1:-1].strip()
    if not said:
        return default() if callable(default) else default
    text = os.path.expandvars(said)
    if unset := re.search(r"\$(\w+|\{\w+\})", text):
        raise ValueError(f"{name} is {said!r}; the variable {unset[1].strip('{}')} in it is not set")
    try:
        return here() / Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{name} is {said!r}; there is no home folder {Path(text).parts[0]!r}") from None


def here() -> Path:
    """Return the folder in which the command was given: Jupyter starts the kernel of a notebook in another one."""
    shell = os.environ.get("PWD", "")
    return Path(shell) if "JPY_PARENT_PID" in os.environ and Path(shell).is_absolute() else Path.cwd()


def workplace() -> Path:
    """Return the folder of what is the user's own: the checkout or, of an installed package, the one `here()`."""
    return ROOT if CHECKOUT else here()


def own_folder() -> Path:
    """Return the folder for the user's modules: the environment variable `OWN_ROOT`, or `own` in the workplace.

    What lies there is found from JupyterLab, from papermill and by workers alike. Raises ValueError as `folder_from`
    does.
    """
    return folder_from("OWN_ROOT", lambda: workplace() / "own")


def cache_folder() -> Path:
    """Return this user's folder for what this project downloads and makes. Raises ValueError as `folder_from` does."""
    return folder_from("XDG_CACHE_HOME", home_cache) / "pairs-of-digits"


def home_cache() -> Path:
    """Return the folder of caches in this user's home. Raises ValueError where there is no home."""
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        raise ValueError("this user has no home folder; set XDG_CACHE_HOME to a folder") from None


@cache
def processor() -> str:
    """Describe the CPU: a library for another one must not be loaded, and results of another one differ in rounding.

    Virtual machines give many processors one name, so it goes with their numbers and a hash of what they can do.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        pairs = [line.split(":", 1) for line in lines if ":" in line]
        said = {name.strip().lower(): value.strip() for name, value in reversed(pairs)}  # of the first core
        features = hashlib.sha256((said.get("flags") or said["features"]).encode()).hexdigest()[:8]  # x86, else ARM
    except (OSError, LookupError):
        return platform.processor() or platform.machine()
    numbers = [name for name in ("cpu family", "model", "cpu implementer", "cpu part") if name in said]
    known = [f"{name.removeprefix('cpu ')} {said[name]}" for name in numbers]
    return ", ".join([said.get("model name", platform.machine()), *known, f"features {features}"])


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
