"""Four small convolutional networks on pairs of digits: data, layers, architectures, teacher, analysis, store.

What is listed here is the public surface; each name is imported when it is first used, so that reading results needs no
torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.analysis import Result as Result
    from lib.analysis import load as load
    from lib.analysis import networks as networks
    from lib.analysis import paired as paired
    from lib.analysis import run_analysis as run_analysis
    from lib.analysis import run_study as run_study
    from lib.check import check_architecture as check_architecture
    from lib.experiment import Experiment as Experiment
    from lib.store import Store as Store
    from lib.table import all_results as all_results
    from lib.teacher import Teacher as Teacher
    from lib.training import prepare as prepare

PUBLIC = {
    "Experiment": "lib.experiment",
    "Result": "lib.analysis",
    "Store": "lib.store",
    "Teacher": "lib.teacher",
    "all_results": "lib.table",
    "check_architecture": "lib.check",
    "load": "lib.analysis",
    "networks": "lib.analysis",
    "paired": "lib.analysis",
    "prepare": "lib.training",
    "run_analysis": "lib.analysis",
    "run_study": "lib.analysis",
}
RENAMED = {"Analysis": "Result"}

__all__ = list(PUBLIC)  # one list


def __getattr__(name: str) -> Any:
    """Import a public name where it is used.

    Raises ImportError that says what an older name is now (`from lib import Analysis` would hide an AttributeError's
    words), AttributeError for other names.
    """
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    if name in RENAMED:
        raise ImportError(f"lib.{name} is now called lib.{RENAMED[name]}")
    raise AttributeError(f"module 'lib' has no attribute {name!r}; public: {', '.join(PUBLIC)}")
