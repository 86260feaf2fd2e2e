"""The class of an architecture: one of lib's, or one from any importable module, named `module:Class`.

It is a stack of trials (a subclass of `lib.architectures.Network`) or a plain `torch.nn.Module` (see `lib.plain`).
"""

import inspect
import sys
from collections.abc import Mapping

from torch import nn

from lib import registry, sources
from lib.architectures import Network
from lib.messages import nearest
from lib.tasks import COMPARISON, Task

STACK_SETTINGS = ("fully_convolutional", "sigmoid", "sigmoids")  # which every stack reads, and no plain module


def find(name: str) -> type[nn.Module]:
    """Return the class of an architecture, imported anew where its file was edited since.

    Raises ValueError when there is none, or none that is a network, saying why.
    """
    module, colon, attribute = registry.place(name).partition(":")
    if not colon:
        raise ValueError(f"architecture is {name!r}; allowed: {', '.join(registry.ARCHITECTURES)}, or module:Class")
    if module == "__main__":
        raise ValueError(f"architecture is {name!r}, which no worker can import: put the class into a file of its own")
    try:
        found = getattr(sources.load(module), attribute)
        if inspect.isclass(found) and not registry.is_ours(name):
            sources.renew(module)
            found = getattr(sys.modules[module], attribute)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        file = getattr(sys.modules.get(module), "__file__", None) if isinstance(error, AttributeError) else None
        classes = [each for each, what in vars(sys.modules[module]).items() if inspect.isclass(what)] if file else []
        where = f"{nearest(attribute, classes)} (its file is {file})" if file else ""
        raise ValueError(f"architecture is {name!r}, which cannot be imported: {error}{where}") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ValueError(
            f"architecture is {name!r}, which is neither a torch.nn.Module nor a subclass of lib.architectures.Network"
        )
    heads = heads_of(found)
    if not (isinstance(heads, Mapping) and "answer" in heads and all(isinstance(t, Task) for t in heads.values())):
        raise ValueError(
            f"architecture is {name!r}, whose heads are {heads!r}; allowed: a lib.tasks.Task for 'answer' and for each "
            "auxiliary head"
        )
    return found


def is_plain(architecture: type[nn.Module]) -> bool:
    """Say whether an architecture is a plain module, whose trials train one by one."""
    return not issubclass(architecture, Network)


def heads_of(architecture: type[nn.Module]) -> Mapping[str, Task]:
    """Return the heads that an architecture declares; a plain module that declares none has its answer."""
    heads: Mapping[str, Task] = getattr(architecture, "heads", {"answer": COMPARISON})
    return heads


def reads(architecture: type[nn.Module]) -> tuple[str, ...]:
    """Return the settings, of those that not every architecture has a use for, which this one reads."""
    if issubclass(architecture, Network):
        alone = architecture.reads is Network.reads and len(heads_of(architecture)) == 1
        own = [name for name in architecture.reads if not (alone and name.startswith("auxiliary_"))]
        return (*own, *STACK_SETTINGS)
    return ("auxiliary_weight",) if len(heads_of(architecture)) > 1 else ()


def source(architecture: type[nn.Module]) -> str:
    """Return the SHA-256 of an architecture's source: the file of its class, and what that imports of one's own."""
    return sources.digest(architecture.__module__)
