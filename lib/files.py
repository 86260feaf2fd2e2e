"""A file appears whole or not at all, and outlasts a power cut: the one place where this project writes files."""

import contextlib
import csv
import errno
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

DAY = 24 * 3600.0  # seconds after which what a writer has not finished belongs to none that still lives
UNFINISHED = r"\..+\.[a-z0-9_]{8}\.part"  # the names of files that are being written
REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "get the right to write there, or choose another folder",
    errno.EPERM: "get the right to write there, or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write(path: Path, content: bytes | str, *, replace: bool = True) -> bool:
    """Write a file as a whole, making its folder if need be; return whether it is this content that now stands there.

    Whoever reads it sees the old file or the new one, never a part, whenever this process or the machine ends. With
    `replace=False` a file that exists is left as it is, and False returned, also where another writer was faster. What
    a killed writer left in the folder more than a day ago is removed.

    Raises OSError, with the system's number and a sentence that says what to do, when the disk is full or read-only or
    something else stands in the way; nothing is left behind then.
    """
    path = Path(path)
    make_folder(path.parent)
    sweep(path.parent)
    try:
        written = put(path, content, replace)
        sync_folder(path.parent)
        sync_folder(path.parent.parent)
    except OSError as error:
        raise explained(error, path) from error
    return written


def put(path: Path, content: bytes | str, replace: bool) -> bool:
    """Do what `write` says, without its folder."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would keep colleagues from reading it
        if replace or not link(temporary, path):
            temporary.replace(path)
    except FileExistsError:
        if not path.is_file():
            raise
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it, unless it is there. Raises OSError as `write` does."""
    try:
        path.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise explained(error, path, folder=True) from error


def explained(error: OSError, path: Path, *, folder: bool = False) -> OSError:
    """Return the error of writing a file or making a folder with a sentence that says which, why and what to do."""
    what = in_the_way(path, folder=folder) or REMEDIES.get(error.errno or 0, "")
    return OSError(error.errno, f"{path} cannot be written ({error.strerror or error}){what and f': {what}'}")


def in_the_way(path: Path, *, folder: bool = False) -> str:
    """Say what stands where a file, or a folder, should be, and what to do; "" where nothing does."""
    try:
        there = next(each for each in (path, *path.parents) if each.exists() or each.is_symlink())
        if not there.exists():
            return f"{there} is a link to {there.readlink()}, which does not exist; make that, or remove the link"
        wanted = "folder" if folder or there != path else "file"
        found = "folder" if there.is_dir() else "file" if there.is_file() else "special file"
        return "" if found == wanted else f"{there} is a {found} where a {wanted} should be; move it away"
    except (OSError, StopIteration):  # a folder that one may not look into
        return ""


def sweep(folder: Path, names: str = UNFINISHED) -> None:
    """Remove what killed writers left in a folder: files and folders of such names, unchanged for a day.

    What cannot be removed stays, without a word: it is only in nobody's way.
    """
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            with contextlib.suppress(OSError):  # another process may be removing it, too
                if re.fullmatch(names, each.name) and time.time() - each.lstat().st_mtime > DAY:
                    shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def link(temporary: Path, path: Path) -> bool:
    """Give a file its second name unless that exists: a rename would replace what another writer stored meanwhile.

    Returns whether the file system can. Raises FileExistsError.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        return False
    return True


def sync_folder(path: Path) -> None:
    """Make a rename last through a power cut, where the system can (Windows cannot)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
