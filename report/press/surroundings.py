"""What a kernel finds around it: this environment, and nothing that the user has set up for tools of other work."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

# Where kernels are, where figures go, code to run first, warnings that are errors: each would reach a notebook.
UNSET = ("JUPYTER_PATH", "MPLBACKEND", "PYTHONSTARTUP", "PYTHONWARNINGS")


def of_matplotlib(name: str) -> str:
    """Return the path of what came with matplotlib, without importing it, which would read the user's matplotlibrc."""
    found = find_spec("matplotlib")
    assert found is not None and found.origin is not None  # it is a dependency
    return str(Path(found.origin).parent / "mpl-data" / name)


@contextmanager
def neutral() -> Iterator[None]:
    """Take the user's configuration of Jupyter, IPython, matplotlib and Python out of the environment, for a while.

    A kernel that is started meanwhile is this environment's own and reads no startup file, profile or matplotlibrc.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a kernel may still write its history
        for name in UNSET:
            os.environ.pop(name, None)
        os.environ["IPYTHONDIR"] = folder
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the user's
        os.environ["MATPLOTLIBRC"] = of_matplotlib("matplotlibrc")
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a warning of the debugger in every notebook
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
