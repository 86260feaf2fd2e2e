"""What is committed, as git has it: what else lies in a checkout, or was changed there, is the user's own."""

import subprocess
from pathlib import Path

from lib.machine import ROOT


def git(*arguments: str) -> str | None:
    """What git says, or None where this is no checkout."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode()


def committed() -> list[str] | None:
    """The files that are committed or staged, or None where this is no checkout."""
    listed = git("ls-files")
    return None if listed is None else listed.splitlines()


def committed_notebooks() -> list[Path]:
    """The committed notebooks; where this is no checkout all that are there."""
    files = committed()
    there = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return there if files is None else [path for path in there if path.relative_to(ROOT).as_posix() in files]


def committed_text(path: Path) -> str:
    """A file as it is committed or staged; where this is no checkout as it is there."""
    found = git("show", f":{path.relative_to(ROOT).as_posix()}")
    return path.read_text(encoding="utf-8") if found is None else found
