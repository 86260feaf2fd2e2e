"""Which stored files this process has read, and what they say of the code that made them.

Python tells every reader of files by an audit event: so what a figure was made from needs nobody to write it down.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from lib import store
from lib.machine import ROOT

STORED = ROOT / "report"  # whose tables and measurements count, too
MANIFEST = STORED / "published" / "manifest.json"  # says how figures were made: of them it is no part
GROUP = ".json.gz"  # how the name of a stored group of trials ends
noted: dict[Path, None] = {}  # in the order of reading


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """Note a file that is opened to be read, where it is one that stores results."""
    if event != "open" or not isinstance(arguments[0], str) or not str(arguments[1]).startswith("r"):
        return
    if arguments[0].endswith((GROUP, ".json", ".csv")):
        file = Path(arguments[0]).absolute()
        if (file.name.endswith(GROUP) or STORED in file.parents) and file != MANIFEST:
            noted[file] = None


sys.addaudithook(note)


def account() -> dict[str, list[str]]:
    """Return what was read so far, `inputs`, and the commits of lib that made it, `commits`; without either, nothing.

    Of an experiment it is the folder of its groups, of other files the file itself.
    """
    inputs = {named(file.parent if file.name.endswith(GROUP) else file) for file in noted}
    commits = {found for file in noted if file.name.endswith(GROUP) and (found := commit(file))}
    return {name: sorted(found) for name, found in (("inputs", inputs), ("commits", commits)) if found}


def named(path: Path) -> str:
    """Return a path as it is in the project; of a store that lies elsewhere, as on every machine, only its end."""
    inside = path.relative_to(ROOT) if ROOT in path.parents else Path(*path.parts[-2:])
    return inside.as_posix()


@cache
def commit(file: Path) -> str:
    """Return the commit that a stored group was made with; nothing where it cannot be read, which others say."""
    try:
        origin = json.loads(store.unpacked(file.read_bytes()))["provenance"]
        return str(origin["commit"])[:10] + " with uncommitted changes" * bool(origin["dirty"])
    except (OSError, *store.UNTRUSTED):
        return ""
