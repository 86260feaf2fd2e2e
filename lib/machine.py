"""Where we run: the project's folder, the version of its code, the processor and its cores."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def code_version() -> dict[str, object]:
    """Return the last commit that touched lib, and whether lib has changed since ("unknown" outside a git checkout)."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments, "--", "lib"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("log", "-1", "--format=%H"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": True}


@cache
def processor() -> str:
    """Describe the CPU: a library for another one must not be loaded, and results of another one differ in rounding.

    Virtual machines give many processors one name, so it goes with their numbers and a hash of what they can do.
    """
    try:
        pairs = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
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
