"""An architecture from outside lib, named `module:Class`: its class and its source."""

import importlib
import inspect
import sys
from pathlib import Path

from lib.architectures import ARCHITECTURES, Network

sources: dict[Path, bytes] = {}  # of the architectures outside this file, as they were imported last


def find(name: str) -> type[Network]:
    """Return the class of a registered architecture, or of one outside this file named `module:Class`.

    Raises ValueError when there is none, saying why.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"architecture is {name!r}; allowed: {', '.join(ARCHITECTURES)}, or module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)
        path = Path(inspect.getfile(found))
        source = path.read_bytes()
        if sources.setdefault(path, source) != source:  # edited while a notebook runs: the key names the new source
            for each in dict.fromkeys((found.__module__, module)):
                importlib.reload(sys.modules[each])
            found, sources[path] = getattr(sys.modules[module], attribute), source
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise ValueError(f"architecture is {name!r}, which cannot be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, Network)):
        raise ValueError(f"architecture is {name!r}, which is not a subclass of lib.architectures.Network")
    return found
