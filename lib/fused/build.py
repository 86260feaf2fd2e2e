"""Compile `block.cpp` on first use, keep the library in a per-user cache, and load it.

Nothing here raises: without a compiler, or where the library does not work, `library()` says why in one sentence. What
lies in the cache is run, so it is a folder of its own that nobody else can write to.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import c_double, c_int, c_long, c_void_p
from functools import cache
from pathlib import Path

from lib import files, machine
from lib.machine import finish, processor

SOURCE = Path(__file__).with_name("block.cpp")
# Contraction to fused multiply-add rounds once instead of twice; nothing else may reorder or approximate (-ffast-math).
FLAGS = ["-O3", "-shared", "-fPIC", "-std=c++17", "-ffp-contract=fast", "-Wno-psabi"]

LIMIT = 300.0  # seconds for a compiler, which takes 10: after that it hangs
BELIEVED = 3600.0  # seconds for which a compiler that was of no use is not tried again
ELSEWHERE = "set XDG_CACHE_HOME to a folder of your own that can be written"

SHAPE, SIZES, POINTER = [c_int] * 3, [c_long] * 3, c_void_p
SIGNATURES = {  # as in block.cpp
    "fused_saved": (c_long, [*SHAPE, *SIZES[:2]]),
    "fused_forward": (c_int, [*SHAPE, *SIZES, *[POINTER] * 4, c_double, *[POINTER] * 4]),
    "fused_backward": (c_int, [*SHAPE, *SIZES, *[POINTER] * 6, c_double, *[POINTER] * 6]),
    "fused_test": (c_int, [*SHAPE, *SIZES, *[POINTER] * 6, c_double, POINTER]),
}


class Unavailable(Exception):
    """The library cannot be built or loaded; the message is one sentence."""


def library(limit: float = LIMIT) -> tuple[ctypes.CDLL | None, str]:
    """Return the library and how it was made, or None and why there is none; `limit` is what a compiler may take.

    What works is remembered, and a compiler that hangs, for an hour; whatever else went wrong is tried again.
    """
    try:
        return found(limit)
    except Unavailable as reason:
        return None, str(reason)
    except Exception as error:
        return None, f"the compiled block could not be built ({named(error)})"


def named(error: Exception) -> str:
    """Return an error as part of a sentence, also one without a text."""
    return ": ".join(filter(None, [type(error).__name__, " ".join(str(error).split())]))


@cache
def found(limit: float) -> tuple[ctypes.CDLL, str]:
    """Return the library and how it was made. Raises Unavailable, and whatever else may go wrong."""
    called = compiler()
    command = [*called, *native(), *FLAGS]
    folder = private_folder()
    note = note_of(command, folder)
    with alone(folder / "lock", 3 * limit):
        if why := read_note(note):
            raise Unavailable(why)
        try:
            key = name_of(command, finish([*called, "--version"], limit).stdout)
            for path in kept(folder, key):
                with suppress(Unavailable):  # intact and yet of no use: compile it again
                    return load_library(path), f"compiled by {called[0]}, from the cache"
            path = compile_library(command, folder, key, limit)
        except subprocess.TimeoutExpired:
            why = f"the C++ compiler {called[0]} did not end within {limit:g} s"
            raise Unavailable(write_note(note, why)) from None
    return load_library(path), f"compiled by {called[0]}"


def discard(loaded: ctypes.CDLL) -> None:
    """Take a library that computes something else out of the cache: nobody else must meet it."""
    with suppress(OSError):
        Path(loaded._name).unlink()
    found.cache_clear()


def give_up(why: str) -> str:
    """Let no process try this compiler again for an hour, and return what is then said."""
    with suppress(OSError, Unavailable):
        return write_note(note_of([*compiler(), *native(), *FLAGS], private_folder()), why)
    return why


def compiler() -> list[str]:
    """Find the C++ compiler: `$CXX` if it is set, else the first of c++, g++ and clang++ that is installed."""
    said = os.environ.get("CXX", "")
    try:
        wish = shlex.split(os.path.expandvars(said))
        if wish and wish[0].startswith("~"):
            wish[0] = str(Path(wish[0]).expanduser())
    except (ValueError, RuntimeError) as error:
        raise Unavailable(f"the variable CXX, {said!r}, is not a command ({error})") from error
    for name in wish[:1] or ["c++", "g++", "clang++"]:
        if path := shutil.which(name):
            return [path, *wish[1:]]
    if wish:
        raise Unavailable(f"the C++ compiler {wish[0]!r}, named by the variable CXX, was not found")
    raise Unavailable("no C++ compiler (c++, g++ or clang++) was found")


def native() -> list[str]:
    """Return the flag that allows all instructions of this machine's CPU."""
    return ["-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"]


def private_folder() -> Path:
    """Return where this user's compiled libraries are kept: made if need be, and closed to everybody else."""
    try:
        folder = machine.cache_folder() / "compiled"
    except ValueError as error:
        raise Unavailable(str(error)) from error
    try:
        files.make_folder(folder, 0o700)
        refuse_foreign(folder)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise Unavailable(f"the compiled block cannot be kept: {error.strerror or error}; {ELSEWHERE}") from error
    return folder


def refuse_foreign(path: Path) -> None:
    """Raise Unavailable for what belongs to another user, who could let us run anything."""
    if path.stat().st_uid != os.geteuid():
        raise Unavailable(f"{path}, of the compiled block, belongs to another user: remove it, or {ELSEWHERE}")


@contextmanager
def alone(path: Path, seconds: float) -> Iterator[None]:
    """Let one process at a time do this, and the others wait for what it makes.

    Without a file to lock, on a read-only disk or one that knows no locks, and after `seconds`, all go on.
    """
    import fcntl  # Unix only

    descriptor = None
    try:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.05)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def note_of(command: Sequence[str], folder: Path) -> Path:
    """Return the file that says why a compiler is of no use; another compiler, or one that was changed, has another."""
    about = Path(command[0]).stat()
    cause = digest(SOURCE.read_bytes(), *command, f"{about.st_mtime_ns} {about.st_size}", processor())
    return folder / f"no-use-{cause}"


def read_note(note: Path) -> str:
    """Return why a compiler is of no use, or nothing where nobody has said so within an hour."""
    with suppress(OSError):
        if time.time() - note.stat().st_mtime < BELIEVED:
            return note.read_text(encoding="utf-8")
    return ""


def write_note(note: Path, why: str) -> str:
    """Let other processes know why a compiler is of no use, and return what they say then."""
    why = f"{why}; it is tried again after an hour, or when {note} is removed"
    with suppress(OSError):
        files.write(note, why)
    return why


def name_of(command: Sequence[str], version: str) -> str:
    """Return a hash of all that the library depends on: source, flags, compiler and CPU."""
    return digest(SOURCE.read_bytes(), *command, version, processor())


def digest(*parts: bytes | str) -> str:
    """Return a short hash."""
    return hashlib.sha256(b"\0\0".join(p if isinstance(p, bytes) else os.fsencode(p) for p in parts)).hexdigest()[:16]


def kept(folder: Path, key: str) -> Iterator[Path]:
    """Yield the libraries of this key that are whole, as their names say, and that only we could write.

    Raises Unavailable for one that belongs to another user.
    """
    for path in sorted(folder.glob(f"fused-{key}-*.so")):
        with suppress(OSError):
            refuse_foreign(path)
            if not path.stat().st_mode & 0o022 and path.stem.endswith(digest(path.read_bytes())):
                yield path


def compile_library(command: Sequence[str], folder: Path, key: str, limit: float) -> Path:
    """Compile into the folder and return the library; other processes see none or a whole one.

    Its name ends with its own hash, so that a damaged file is recognised, and other bytes are another file: the loader
    does not load a name twice.
    """
    if not os.access(folder, os.W_OK):
        raise Unavailable(f"the compiled block cannot be kept in {folder}, which is read-only: {ELSEWHERE}")
    files.sweep(folder, r"\.making-.+")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as making:
        made = Path(making, "fused.so")
        done = finish([*command, str(SOURCE), "-o", str(made)], limit)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            first = next((line for line in lines if "error" in line), lines[0][:200])
            raise Unavailable(f"the C++ compiler {command[0]} failed: {first}")
        content = made.read_bytes()
    path = folder / f"fused-{key}-{digest(content)}.so"
    files.write(path, content)
    return path


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
