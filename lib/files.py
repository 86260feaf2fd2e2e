"""A file appears whole or not at all, and outlasts a power cut: the one place where this project writes files."""

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path


def write(path: Path, content: bytes | str, *, replace: bool = True) -> bool:
    """Write a file as a whole, making its folder if need be; return whether it is this content that now stands there.

    Whoever reads it sees the old file or the new one, never a part, whenever this process or the machine ends. With
    `replace=False` a file that exists is left as it is, and False returned, also where another writer was faster.

    Raises OSError when the disk is full or read-only; nothing is left behind then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
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
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    sync_folder(path.parent.parent)
    return True


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
