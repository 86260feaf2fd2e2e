"""What is installed here, which implementation runs and why, and where everything lies."""

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from lib import Experiment, datasets
from lib.analysis import PREREGISTERED, PUBLISHED, default_store
from lib.machine import CHECKOUT, ROOT, code_version, cores, own_folder, processor
from lib.store import Store

PACKAGES = ("torch", "numpy", "scipy", "matplotlib", "jupyterlab", "papermill")
OPTIONAL = {"explore": "anywidget", "browser": "playwright", "cluster": "distributed", "test": "pytest"}
PARTS: dict[str, Callable[[], str]] = {}  # what is said, in order


def part(function: Callable[[], str]) -> Callable[[], str]:
    """Let a function have a line of its own, under its name."""
    PARTS[function.__name__] = function
    return function


def lines() -> Iterator[str]:
    """Yield what is known of this installation, a line each; what cannot be found out says why in its line."""
    for name, say in PARTS.items():
        try:
            said = say()
        except (OSError, ValueError, RuntimeError) as error:  # a variable that names no folder, say
            said = f"not known: {error}"
        yield f"{name.replace('_', ' ')}: {said}"


def installed(package: str) -> str:
    """Return a package's version, or nothing where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@part
def project() -> str:
    """Say which version of the project this is and where it lies."""
    code = code_version()
    changed = ", with changes since" if code["dirty"] else ""
    how = f"a checkout, lib of commit {str(code['commit'])[:10]}{changed}" if CHECKOUT else "installed as a package"
    return f"{installed('pairs-of-digits') or 'not installed'} in {ROOT} ({how})"


@part
def machine() -> str:
    """Say what it runs on."""
    return f"{platform.system()} {platform.machine()}, {cores()} cores, {processor()}"


@part
def packages() -> str:
    """Say the versions of what counts most."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {installed(name)}" for name in PACKAGES)])


@part
def extras() -> str:
    """Say which optional parts are installed."""
    there = {name: bool(installed(package)) for name, package in OPTIONAL.items()}
    return ", ".join(f"{name} {'yes' if is_there else 'no'}" for name, is_there in there.items())


@part
def implementation() -> str:
    """Say by which implementation networks are computed, and why."""
    from lib.training import chosen  # and torch

    choice = chosen(Experiment())
    way = {"fused": "the compiled block", "torch": "PyTorch's operations, several times as slow"}
    return f"{way[choice.implementation]} ({choice.why})"


@part
def gpu() -> str:
    """Say whether torch sees a GPU."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "torch sees none; none is needed"


@part
def MNIST() -> str:
    """Say where MNIST is, or would be put."""
    folder = datasets.mnist_root() / "MNIST" / "raw"
    missing = [name for name in datasets.MNIST_FILES if not (folder / name).is_file()]
    if not missing:
        return f"in {folder}"
    return f"not in {folder} (missing: {', '.join(missing)}); it is downloaded when it is first needed"


@part
def own_results() -> str:
    """Say where the user's results are, and how many groups."""
    return held(Store(default_store().root))


@part
def published_results() -> str:
    """Say where the stored results of the study are, and how many groups."""
    return " and ".join(held(Store(folder)) for folder in (PUBLISHED, PREREGISTERED))


@part
def own_modules() -> str:
    """Say where the user's networks and measures are looked for first."""
    return str(own_folder())


def held(store: Store) -> str:
    """Say how many groups a store holds."""
    return f"{sum(1 for _ in store.files())} groups in {store.root}"
