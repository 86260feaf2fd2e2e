"""What is chosen in the notebook: by parameters at first, then by controls too; said again as a command."""

import shlex
from collections.abc import Callable
from typing import Any

from lib import Experiment
from lib.messages import one_of, unknown, within
from report.press.parameters import option

WORDS = ("dataset", "architecture", "fully_convolutional", "one_hot_encoding", "optimizer", "learning_rate", "epochs")
PARAMETERS = (*WORDS, "trials", "settings", "pair_trial", "gallery", "page")  # of the notebook, in its order
NOTEBOOK = "notebooks/explore.ipynb"
KINDS = ("all", "wrong", "unsure", "hardest")  # of the pairs in the gallery; or a pair of digits, such as 3-8
DIGITS = [f"{first}-{second}" for first in range(10) for second in range(10)]


class Choice:
    """The notebook's parameters as they are chosen now, and the experiment that they say.

    `settings` are further words laid over the others. Raises TypeError or ValueError as `Experiment` does, naming the
    parameter, its value and what is allowed.
    """

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = {name: values[name] for name in PARAMETERS}
        self.experiment = experiment_of(values)
        self.on_change: list[Callable[[], None]] = []  # what shows the choice

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(unknown(name, self.__dict__.get("values", {}))) from None

    def set(self, **changes: Any) -> None:
        """Choose otherwise. Raises as the class does, and what was chosen before stays."""
        values = {**self.values, **changes}
        if "trials" in changes:  # a network that will not be there has no pairs to look at
            values["pair_trial"] = min(values["pair_trial"], values["trials"] - 1)
        self.experiment, self.values = experiment_of(values), values
        for tell in self.on_change:
            tell()

    def command(self) -> str:
        """Return the line that runs the notebook with what is chosen."""
        said = {name: value for name, value in self.values.items() if value != ""}
        words = [f"{option(value)} {name} {shlex.quote(str(value))}" for name, value in said.items()]
        return f".venv/bin/papermill {NOTEBOOK} out.ipynb -k python3 {' '.join(words)}"


def experiment_of(values: dict[str, Any]) -> Experiment:
    """Return the experiment that the parameters say. Raises TypeError or ValueError."""
    within("pair_trial", values["pair_trial"], 0, values["trials"] - 1, ", one of the trials")
    if values["gallery"] not in DIGITS:
        one_of("gallery", values["gallery"], KINDS, "or two digits, such as '3-8'")
    said = {name: values[name] for name in WORDS}
    architecture = said.pop("architecture")
    return Experiment.parse(architecture, *(f"{name}={value}" for name, value in said.items())).changed(
        values["settings"]
    )
