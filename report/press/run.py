"""Notebooks run by papermill, each in a kernel of its own, several at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

import nbformat
import papermill
from traitlets.config import Config

from report.press import kernels
from report.press.export import finished
from report.press.surroundings import neutral

Step = tuple[Path, Mapping[str, object]]  # a notebook and its parameters


def run(notebook: Path, parameters: Mapping[str, object], target: Path, folder: Path) -> Path:
    """Run a notebook in `folder` and return `target`, which appears only when every cell was run, the last one too.

    Raises papermill's error of a failed cell (the notebook with its traceback stays beside `target`), and ValueError
    when the kernel died on the way.
    """
    unfinished = target.with_suffix(".unfinished.ipynb")
    with neutral():
        papermill.execute_notebook(
            notebook,
            unfinished,
            parameters=dict(parameters),
            kernel_name="python3",
            cwd=folder,
            progress_bar=False,
            kernel_manager_class=kernels.Manager,
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # silences a warning at each start
        )
    finished(nbformat.read(unfinished, as_version=4), unfinished.name)
    return unfinished.replace(target)


def run_all(
    steps: Sequence[Step], targets: Path, folder: Path, at_a_time: int, say: Callable[[str], object] = lambda _: None
) -> list[Path]:
    """Run notebooks in `folder`, `at_a_time` of them side by side; return them in order, numbered, in `targets`.

    `say` gets a line whenever one is done: its name, how many are, and the time so far and left. Raises what `run`
    raises, for the first of them that failed. Then, and after Ctrl-C, none goes on; kernels end with this process in
    any case.
    """
    start = time.perf_counter()
    targets.mkdir(parents=True, exist_ok=True)
    with kernels.pool(at_a_time) as pool:  # in threads, papermill leaves event loops open
        futures = [
            pool.submit(run, notebook, parameters, targets / f"{place:02d}-{notebook.name}", folder)
            for place, (notebook, parameters) in enumerate(steps, start=1)
        ]
        for done, future in enumerate(as_completed(futures), start=1):
            name, seconds = future.result().name, time.perf_counter() - start
            left = f", about {duration(seconds / done * (len(steps) - done))} left" if done < len(steps) else ""
            say(f"{name} has run ({done} of {len(steps)}): {duration(seconds)} so far{left}")
        return [future.result() for future in futures]


def duration(seconds: float) -> str:
    """Return a time in words, such as "40 s" or "2 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
