"""Compile `block.cpp` on first use, keep the library in a per-user cache, and load it.

Nothing here raises: without a compiler, or where the library does not work, `library()` says why in one sentence.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from ctypes import c_double, c_int, c_long, c_void_p
from functools import cache
from pathlib import Path

from lib import files
from lib.machine import processor

SOURCE = Path(__file__).with_name("block.cpp")
# Contraction to fused multiply-add rounds once instead of twice; nothing else may reorder or approximate (-ffast-math).
FLAGS = ["-O3", "-shared", "-fPIC", "-std=c++17", "-ffp-contract=fast", "-Wno-psabi"]

SHAPE, SIZES, POINTER = [c_int] * 3, [c_long] * 3, c_void_p
SIGNATURES = {  # as in block.cpp
    "fused_saved": (c_long, [*SHAPE, *SIZES[:2]]),
    "fused_forward": (c_int, [*SHAPE, *SIZES, *[POINTER] * 4, c_double, *[POINTER] * 4]),
    "fused_backward": (c_int, [*SHAPE, *SIZES, *[POINTER] * 6, c_double, *[POINTER] * 6]),
    "fused_test": (c_int, [*SHAPE, *SIZES, *[POINTER] * 6, c_double, POINTER]),
}


class Unavailable(Exception):
    """The library cannot be built or loaded; the message is one sentence."""


@cache
def library() -> tuple[ctypes.CDLL | None, str]:
    """Return the library and how it was made, or None and why there is none. Works once per process."""
    try:
        command = [*compiler(), *native(), *FLAGS]
        path = cache_folder() / f"fused-{key(command)}.so"
        if intact(path):
            try:
                return load_library(path), f"compiled by {command[0]}, from the cache"
            except Unavailable:
                pass  # intact and yet of no use: compile it again
        compile_library(command, path)
        return load_library(path), f"compiled by {command[0]}"
    except Unavailable as reason:
        return None, str(reason)
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"the compiled block could not be built: {error}"


def compiler() -> list[str]:
    """Find the C++ compiler: `$CXX` if it is set, else the first of c++, g++ and clang++ that is installed."""
    wish = shlex.split(os.environ.get("CXX", ""))
    for name in wish[:1] or ["c++", "g++", "clang++"]:
        if path := shutil.which(name):
            return [path, *wish[1:]]
    if wish:
        raise Unavailable(f"the C++ compiler {wish[0]!r}, named by the variable CXX, was not found")
    raise Unavailable("no C++ compiler (c++, g++ or clang++) was found")


def native() -> list[str]:
    """Return the flag that allows all instructions of this machine's CPU."""
    return ["-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"]


def cache_folder() -> Path:
    """Where this user's compiled libraries are kept; it is created if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "pairs-of-digits"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(command: list[str]) -> str:
    """Hash of all that the library depends on: source, flags, compiler and CPU."""
    version = subprocess.run([command[0], "--version"], capture_output=True, timeout=60).stdout
    parts = [SOURCE.read_bytes(), "\0".join(command).encode(), version, processor().encode()]
    return hashlib.sha256(b"\0\0".join(parts)).hexdigest()[:16]


def compile_library(command: list[str], path: Path) -> None:
    """Compile into `path`; other processes see no library or a whole one.

    The SHA-256 of the library is appended to it, where the loader ignores it, so that a damaged file is recognised.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, path.name)
        done = subprocess.run(
            [*command, str(SOURCE), "-o", str(made)], capture_output=True, text=True, errors="replace", timeout=300
        )
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
            raise Unavailable(f"the C++ compiler {command[0]} failed: {first}")
        content = made.read_bytes()
    files.write(path, content + hashlib.sha256(content).digest())


def intact(path: Path) -> bool:
    """Whether the library exists and ends with its own SHA-256."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def load_library(path: Path) -> ctypes.CDLL:
    """Load the library and declare its functions."""
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise Unavailable(f"the compiled block could not be loaded: {error}") from error
    return loaded
