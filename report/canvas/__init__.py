"""Two digits to draw, and what trained networks answer at once: the module `canvas.js`, and what it is given.

The module holds the drawing and the arithmetic, so it answers while a cell trains, after the kernel has ended, and in a
page that has no Python at all. One trained trial of each network is in `weights/`, made by `python -m report canvas`.
Their weights are rounded to 16 bits; with these, the module's outputs are PyTorch's to 1e-4.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from lib import Experiment, files
from lib.messages import show
from report.canvas.strokes import PAIRS

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"
SUMS = WEIGHTS / "sha256.json"  # of each file of weights
BOTTLENECK = "bottleneck"  # how the class bottleneck is called beside the original's four
EXPERIMENTS = {
    **{name: Experiment.parse(name, "momentum=0.9") for name in ("SN", "WSN", "SAUX", "CAUX")},
    BOTTLENECK: Experiment.parse("NAMES momentum=0.9 sigmoid=false auxiliary_weight=1"),
}
EPSILON = 1e-5  # of batch normalisation, as in lib.layers.ConvBlock
BLOCK = ("weight", "gamma", "beta", "running_mean", "running_var")
Tensors = Mapping[str, NDArray[Any]]


class WeightsError(ValueError):
    """A file of weights is missing, damaged or another network's; the message says which, and what to do."""


def make(trial: int = 0) -> None:
    """Train one trial of each network on MNIST, and write its weights, rounded, and their SHA-256. Takes a minute."""
    from safetensors.numpy import save as save_tensors

    from lib.training import train_fully

    sums = {}
    for name, experiment in EXPERIMENTS.items():
        prepared = train_fully(experiment, range(trial, trial + 1)).prepared
        state = {**prepared.network.state_dict(), "scale": prepared.scale}
        content = save_tensors({each: value.numpy().astype(np.float16) for each, value in sorted(state.items())})
        files.write(WEIGHTS / f"{name}.safetensors", content)
        sums[name] = hashlib.sha256(content).hexdigest()
    files.write(SUMS, json.dumps(sums, indent=1) + "\n")


def weights(name: str, folder: Path = WEIGHTS) -> Tensors:
    """Return a network's weights, `[1, ...]` each, float16. Raises WeightsError, ValueError for another name."""
    if name not in EXPERIMENTS:
        raise ValueError(f"name is {show(name)}; allowed: {', '.join(EXPERIMENTS)}")
    path, remedy = folder / f"{name}.safetensors", "`git checkout report/canvas/weights` brings it back"
    try:
        content = path.read_bytes()
        found, wanted = hashlib.sha256(content).hexdigest(), json.loads(SUMS.read_text(encoding="utf-8"))[name]
        if found != wanted:
            raise ValueError(f"it has the SHA-256 {found}, and must have {wanted}")
        return load_tensors(content)
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be used: {error}; {remedy}") from error


def restored(name: str, folder: Path = WEIGHTS) -> "nn.Module":
    """Return the same network in PyTorch: images `[batch, 2, 14, 14]` in [0, 1] to each head's outputs by its name."""
    import torch

    from lib.trained import Networks, fill

    experiment = EXPERIMENTS[name]
    tensors = {each: torch.from_numpy(value.astype(np.float32)) for each, value in weights(name, folder).items()}
    stack = fill(experiment, range(1), tensors, "torch")
    return Networks(experiment, [stack], tensors["scale"]).trial(0)


def described(experiment: Experiment, tensors: Tensors) -> dict[str, Any]:
    """Return a network as the module reads it: its parts by their names, each layer's tensors in order.

    Raises WeightsError for the weights of another architecture.
    """
    try:
        blocks = {
            part: [[packed(tensors[f"{part}.{i}.{each}"]) for each in BLOCK] for i in (0, 1)]
            for part in ("extract", "extract_second")
            if f"{part}.0.weight" in tensors
        }
        heads = {
            part: [
                [packed(tensors[f"{part}.{i}.{each}"]) for each in ("weight", "bias")]
                for i in sorted(
                    int(key.split(".")[1]) for key in tensors if key.startswith(f"{part}.") and "weight" in key
                )
            ]
            for part in ("compare", "auxiliary")
            if any(key.startswith(f"{part}.") for key in tensors)
        }
        whole = {"SN": {"extract", "extract_second", "compare"}, "WSN": {"extract", "compare"}}
        if {*blocks, *heads} != whole.get(experiment.architecture, {"extract", "compare", "auxiliary"}):
            raise LookupError(f"it has the parts {', '.join([*blocks, *heads])}")
        mean, sd = (float(each) for each in tensors["scale"][:, 0])
    except LookupError as error:
        raise WeightsError(f"the weights of {experiment.architecture} are another network's: {error}") from error
    names = "" if "auxiliary" not in heads or experiment.architecture == "SAUX" else "auxiliary"
    return {
        "mean": mean,
        "sd": sd,
        "epsilon": EPSILON,
        "sigmoid": experiment.sigmoid,
        "names": names,  # the head that names digits
        "reads": "names" if experiment.architecture == "NAMES" else "features",
        **blocks,
        **heads,
    }


def packed(tensor: NDArray[Any]) -> dict[str, Any]:
    """Return a tensor `[1, ...]` of one trial as JSON can hold it."""
    return {"shape": list(tensor.shape[1:]), "float16": base64.b64encode(tensor.astype("<f2").tobytes()).decode()}


@cache
def page_data() -> dict[str, Any]:
    """Return all that the module needs, as JSON can hold it: the networks, and pairs of strokes to begin with."""
    networks = {name: described(each, weights(name)) for name, each in EXPERIMENTS.items()}
    return {"networks": networks, "pairs": PAIRS}


def script() -> str:
    """Return the text of the module."""
    return (HERE / "canvas.js").read_text(encoding="utf-8")


def draw() -> Any:
    """Return the canvas as a widget for a notebook.

    It is computed in the browser alone: the kernel gives it its networks once. Raises ImportError in a sentence where
    anywidget is missing.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ImportError(
            "the canvas needs anywidget, which is not installed: `.venv/bin/pip install -e '.[explore]'`"
        ) from None

    class Canvas(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
        """Two digits to draw; see report/canvas/canvas.js."""

        _esm = HERE / "canvas.js"
        page = traitlets.Unicode("").tag(sync=True)

    return Canvas(page=json.dumps(page_data()))
