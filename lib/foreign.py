"""The class of an architecture: one of lib's, or one from any importable module, named `module:Class`."""

import hashlib
import importlib
import inspect
import sys
from pathlib import Path

from lib import registry
from lib.architectures import Network
from lib.tasks import Task

imported: dict[Path, bytes] = {}  # the sources of architectures outside lib, as they were imported last


def find(name: str) -> type[Network]:
    """Return the class of an architecture, imported anew where its file was edited since.

    Raises ValueError when there is none, or none that is a network, saying why.
    """
    module, colon, attribute = registry.place(name).partition(":")
    if not colon:
        raise ValueError(f"architecture is {name!r}; allowed: {', '.join(registry.ARCHITECTURES)}, or module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)
        if inspect.isclass(found) and not registry.is_ours(name):
            path = Path(inspect.getfile(found))
            content = path.read_bytes()
            if imported.setdefault(path, content) != content:  # edited while a notebook runs: the key names the new one
                for each in dict.fromkeys((found.__module__, module)):
                    importlib.reload(sys.modules[each])
                found, imported[path] = getattr(sys.modules[module], attribute), content
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise ValueError(f"architecture is {name!r}, which cannot be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, Network)):
        raise ValueError(f"architecture is {name!r}, which is not a subclass of lib.architectures.Network")
    heads = getattr(found, "heads", None)
    if not (isinstance(heads, dict) and "answer" in heads and all(isinstance(task, Task) for task in heads.values())):
        raise ValueError(
            f"architecture is {name!r}, whose heads are {heads!r}; allowed: a lib.tasks.Task for 'answer' and for each "
            "auxiliary head"
        )
    return found


def source(architecture: type[Network]) -> str:
    """Return the SHA-256 of the file that an architecture's class is in."""
    return hashlib.sha256(Path(inspect.getfile(architecture)).read_bytes()).hexdigest()
