"""One page about a verification, to send back: what was trained again, where, and how equal it came out."""

import hashlib
import json
import platform
import tomllib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib import files
from lib.machine import ROOT, code_version, cores, processor
from report.inventory import printable
from report.press.display import escape
from report.verify import BIT_BY_BIT, STATISTICALLY, UNEQUAL, Verdict

MEANING = {
    BIT_BY_BIT: "every stored value came out again, to the last bit",
    STATISTICALLY: "what data alone decide is equal; what was learnt is as close as two honest trainings are",
    UNEQUAL: "something differs more than rounding explains, or could not be compared",
}
NOWHERE = "This copy of the project names no address ([project.urls] in pyproject.toml is empty): give it to whoever "
NOWHERE += "gave you the copy."


def certificate(verdicts: Sequence[tuple[Path, Verdict]], command: str, seconds: float) -> dict[str, Any]:
    """Return what is certified of stored files and their verdicts; no name of a computer, a user or a folder is in it.

    `command` repeats the choice. Raises OSError where a file cannot be read.
    """
    code, lib = code_version(folder="."), code_version()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seconds": round(seconds),
        "commit": code["commit"],
        "uncommitted changes": code["dirty"],
        "commit of lib": lib["commit"],
        "machine": f"{processor()}; {cores()} cores; {platform.system()} {platform.machine()}",
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
        "files": [
            {
                "file": "/".join(path.parts[-3:]),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "equal": verdict.equal,
                "words": printable(verdict.words).replace(f"{path.parents[2]}/", ""),
            }
            for path, verdict in verdicts
        ],
    }


def markdown(said: dict[str, Any], urls: dict[str, str]) -> str:
    """Return the page; `urls` are the addresses of the project, if it has any."""
    counts = Counter(each["equal"] for each in said["files"])
    found = ", ".join(f"{counts[kind]} {kind}" for kind in MEANING if counts[kind])
    changed = " with uncommitted changes" if said["uncommitted changes"] else ""
    rows = {
        "date": said["date"],
        "command": f"`{said['command']}`, {said['seconds']} s",
        "code": f"commit {said['commit']}{changed}; of lib {said['commit of lib']}",
        "machine": escape(said["machine"]),
        "versions": ", ".join(f"{name} {number}" for name, number in said["versions"].items()),
    }
    address = f"Send it, with certificate.json, to {next(iter(urls.values()))}." if urls else NOWHERE
    return "\n".join(
        [
            "# Certificate of trainings run again",
            f"\nStored groups of trials trained again: {len(said['files'])}. Equal to what is stored: {found}.\n",
            "| what | |\n|:--|:--|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "\n| stored file | SHA-256 of the file | equal |\n|:--|:--|:--|",
            *(f"| {escape(f['file'])} | `{f['sha256'][:16]}` | {f['equal']} |" for f in said["files"]),
            "",
            *(f"- {escape(f['file'])}: {escape(f['words'])}" for f in said["files"]),
            "",
            *(f"{kind.capitalize()}: {meaning}." for kind, meaning in MEANING.items()),
            f"\n{address}\n",
        ]
    )


def write(verdicts: Sequence[tuple[Path, Verdict]], command: str, seconds: float, folder: Path) -> Path:
    """Write certificate.md and certificate.json into a folder; return the first. Raises OSError."""
    said = certificate(verdicts, command, seconds)
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    files.write(folder / "certificate.json", json.dumps(said, indent=2) + "\n")
    files.write(folder / "certificate.md", markdown(said, urls))
    return folder / "certificate.md"
