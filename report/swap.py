"""What takes the place of something else does so whole, and one after the other where two want to."""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lib import files
from lib.processes import undisturbed

CURRENT_FOLDER = -100  # AT_FDCWD of Linux
EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block with this folder, which must exist."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF):  # of some network disks
                raise
        yield
    finally:
        os.close(descriptor)


@contextmanager
def prepared(folder: Path, name: str) -> Iterator[Path]:
    """Give an empty folder in another one, `.<name>.*.part`; whatever it holds at the end of the block goes.

    What processes that were killed left there goes, too, once it is a day old. Raises OSError.
    """
    files.make_folder(folder)
    files.sweep(folder)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix=f".{name}.", suffix=".part"))
    fresh.chmod(0o755)  # mkdtemp's 0700 would keep colleagues from reading it
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def put(new: Path, folder: Path, names: Sequence[str]) -> None:
    """Let what a folder holds under some names change places with the same of another one, for one process at a time.

    Ctrl-C waits for it; a process that is killed within these microseconds leaves some of them.
    """
    with locked(folder), undisturbed():
        for name in names:
            swap(new / name, folder / name)


def swap(new: Path, old: Path) -> None:
    """Let a file or a folder and what stands in its place, if anything does, change places.

    In one step, so that a process killed at any moment leaves the old one or the new one there, on Linux and macOS and
    most file systems; elsewhere in three, and one killed between them leaves the old one as `.<name>.old`.
    """
    kept = old.with_name(f".{old.name}.old")
    if kept.exists() and not old.exists():
        kept.rename(old)
    if not old.exists():
        new.rename(old)
    elif not exchange(new, old):
        old.rename(kept)
        new.rename(old)
        kept.rename(new)
    files.sync_folder(old.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return whether the system and the file system can. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        failed = libc.renameat2(CURRENT_FOLDER, names[0], CURRENT_FOLDER, names[1], EXCHANGE)
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*names, EXCHANGE)
    else:
        return False
    number = ctypes.get_errno() if failed else 0
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV):
        return False
    if number:
        raise OSError(number, os.strerror(number), str(other))
    return True
