"""Trained networks had back: the stack of an experiment's trials, or one of them as a plain module of ordinary layers.

Their weights are kept beside the user's results as safetensors, with a note that has their SHA-256 and the record of
their own training. They take images as the data sets give them, in [0, 1]: each trial's mean and SD are inside.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from lib import files, kept, store
from lib.architectures import Network, convolutionize
from lib.experiment import Experiment
from lib.foreign import find, is_plain
from lib.layers import ConvBlock, Shell
from lib.messages import notice
from lib.pairs import standardised
from lib.plain import Plain
from lib.store import DamagedResultError, Record, Store
from lib.training import Trained, implement, make_network


class Networks(nn.Module):
    """The trained networks of an experiment, in evaluation mode; `trials` of them.

    Maps images `[batch, 2, 14, 14]` in [0, 1], or `[trials, batch, 2, 14, 14]` for each trial its own, to the outputs
    of each head by its name, `[trials, batch, outputs]` or `[trials, batch, 2, outputs]`.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, experiment: Experiment, stacks: Sequence[Network], scale: Tensor) -> None:
        """Hold stacks of trained trials (one, or one per trial of a plain module); `scale` `[2, trials]`: mean, SD."""
        super().__init__()
        self.experiment, self.trials = experiment, scale.shape[1]
        self.stacks = nn.ModuleList(stacks)
        self.register_buffer("mean", scale[0])
        self.register_buffer("sd", scale[1])
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Ask all networks about pairs of digits. Raises ValueError for images of another shape."""
        check_images(images, self.trials)
        if images.dim() == 4:
            images = images.expand(self.trials, *images.shape)
        mean, sd = (each[:, None, None, None, None] for each in (self.mean, self.sd))
        parts = standardised(images, mean, sd).chunk(len(self.stacks))
        outputs = [stack(part) for stack, part in zip(self.stacks, parts, strict=True)]
        return {head: torch.cat([each[head] for each in outputs]) for head in outputs[0]}

    def trial(self, trial: int, fully_convolutional: bool = False) -> nn.Module:
        """Return one trial's network as a plain module: images `[batch, 2, 14, 14]` in [0, 1] to its heads' outputs.

        Its layers are ordinary ones of torch, its answers the stack's. A fully convolutional one also takes larger
        images, `[batch, 2, height, width]`, slides over them and returns maps, `[batch, outputs, h, w]`.

        Raises ValueError for a trial that is not there, and for a network that cannot be had in that form.
        """
        if isinstance(trial, bool) or not isinstance(trial, int) or not 0 <= trial < self.trials:
            raise ValueError(f"trial is {trial!r}; allowed: 0 to {self.trials - 1}")
        if is_plain(find(self.experiment.architecture)):
            if fully_convolutional:
                raise ValueError(
                    f"fully_convolutional is True; allowed: False of {self.experiment.architecture}, a plain module"
                )
            network = copy.deepcopy(cast(Network, self.stacks[trial]))
        else:
            network = single(self.experiment, cast(Network, self.stacks[0]), trial, fully_convolutional)
        return Single(network, self.mean[trial].clone(), self.sd[trial].clone())


class Single(nn.Module):
    """One trained network: images `[batch, 2, 14, 14]` in [0, 1] to each head's outputs by its name, `[batch, ...]`."""

    mean: Tensor
    sd: Tensor

    def __init__(self, network: Network, mean: Tensor, sd: Tensor) -> None:
        """Hold a stack of one trial whose layers are torch's own."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("sd", sd)
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Answer pairs of digits. Raises ValueError for images of another shape."""
        check_images(images)
        outputs: Mapping[str, Tensor] = self.network(standardised(images, self.mean, self.sd)[None])
        return {head: each[0] for head, each in outputs.items()}


def check_images(images: Tensor, trials: int = 0) -> None:
    """Raise ValueError for images that are no pairs; of several trials each may have its own."""
    own = trials and images.dim() == 5 and len(images) == trials
    if not (images.dim() == 4 or own) or images.shape[-3] != 2:
        further = f" or [{trials}, batch, 2, height, width]" if trials else ""
        raise ValueError(f"images is {list(images.shape)}; allowed: [batch, 2, height, width]{further}")


def single(experiment: Experiment, stack: Network, trial: int, fully_convolutional: bool) -> Network:
    """Return a stack of one trial in which each layer with a trial axis is an ordinary one with that trial's weights.

    What has no axis of trials is taken as it is. Raises ValueError for a layer with parameters that has no
    `plain(place)`, which returns such a layer.
    """
    network = cast(type[Network], find(experiment.architecture))(experiment.sizes(1))
    if fully_convolutional or experiment.fully_convolutional:
        network, stack = convolutionize(network), convolutionize(copy.deepcopy(stack))
    replaced: tuple[str, ...] = ()
    for name, layer in stack.named_modules(remove_duplicate=False):
        if name.startswith(replaced):  # a part of a layer that is an ordinary one by now
            continue
        if name and hasattr(layer, "plain"):
            above, _, own = name.rpartition(".")
            setattr(network.get_submodule(above), own, Shell(layer.plain(trial), digits=isinstance(layer, ConvBlock)))
            replaced += (f"{name}.",)
        elif dict(layer.named_parameters(recurse=False)):
            what = f"its part {name} ({type(layer).__name__})" if name else "it"
            raise ValueError(
                f"{type(stack).__name__}: {what} has parameters and no plain(place) giving one trial's as an ordinary "
                "layer"
            )
        else:
            for own, value in layer.named_buffers(recurse=False):
                alone = network.get_submodule(name)
                same = value.shape == alone.get_buffer(own).shape
                setattr(alone, own, (value if same else value[trial : trial + 1]).clone())
    return network


def with_trials(experiment: Experiment) -> set[str]:
    """Return the names of what a stack holds for each trial: weights and statistics, but not a constant of all."""
    one, two = (make_network(experiment, range(trials)).state_dict() for trials in (1, 2))
    return {name for name, value in two.items() if value.shape != one[name].shape}


def keep(held: Store, experiment: Experiment, trained: Trained, record: Record, differing: list[int]) -> Path:
    """Write the weights of a trained stack, and the note that names them; weights that are kept already stay.

    `differing` are the trials whose counts of right answers are not the stored ones.
    """
    configuration, trials, network = record["configuration"], record["trials"], trained.prepared.network
    part, own = trained.part(record), set() if isinstance(network, Plain) else with_trials(experiment)
    state = {name: value[part] if name in own else value for name, value in network.state_dict().items()}
    state["scale"] = trained.prepared.scale[:, part]
    # Copies, as safetensors takes no two names of one tensor, which a layer that is used twice has.
    content = save_tensors({name: value.detach().cpu().clone().contiguous() for name, value in state.items()})
    digest, folder = hashlib.sha256(content).hexdigest(), held.root / store.folder(configuration)
    span = f"{trials[0]:03d}-{trials[-1]:03d}"
    weights = folder / f"weights-{span}-{digest[:12]}.safetensors"  # named by what is in it: a note cannot name others
    files.write(weights, content)
    note = {"weights": weights.name, "sha256_of_weights": digest, "record": record, "differing": differing}
    kept.write_note(folder / f"weights-{span}.json.gz", note)
    return weights


class Kept(NamedTuple):
    """The weights in one file, and which of its trials are wanted."""

    tensors: dict[str, Tensor]
    part: slice


def load_networks(experiment: Experiment, trials: int, held: Store, progress: bool = True) -> Networks:
    """Return kept networks; says in a line where their training gave other counts than the stored results.

    Raises FileNotFoundError where some are not kept, DamagedResultError for files that cannot be trusted.
    """
    states: list[Kept] = []
    differing, ways = 0, set()
    for group in store.groups(range(trials)):
        found = store.pieces(held.root / store.folder(experiment.configuration), kept.WEIGHTS, group)
        if not found:
            raise FileNotFoundError(f"no kept networks of {experiment}, trials {group[0]} to {group[-1]}")
        for path, part in found:
            note, tensors = read(path, experiment)
            first = note["record"]["trials"][0]
            states.append(Kept(tensors, slice(part.start - first, part.stop - first)))
            differing += sum(trial in part for trial in note["differing"])
            ways.add(note["record"]["provenance"]["implementation"])
    if differing and progress:
        notice(
            f"{differing} of these {trials} networks were trained with other counts of right answers than the stored "
            "results have: on another processor, or by other versions"
        )
    way = "torch" if ways == {"torch"} else ""  # as they were trained: then their answers have the same bits
    if is_plain(find(experiment.architecture)):
        stacks = [fill(experiment, range(i, i + 1), each.tensors, way) for i, each in enumerate(states)]
    else:
        own = with_trials(experiment)
        whole = {
            name: torch.cat([tensors[name][part] for tensors, part in states]) if name in own else value
            for name, value in states[0].tensors.items()
        }
        stacks = [fill(experiment, range(trials), whole, way)]
    return Networks(experiment, stacks, torch.cat([tensors["scale"][:, part] for tensors, part in states], dim=1))


def fill(experiment: Experiment, trials: range, tensors: Mapping[str, Tensor], way: str = "") -> Network:
    """Return a network with the given weights, computed in a way of lib.fused.choice.

    Raises DamagedResultError where the weights do not fit it.
    """
    network = make_network(experiment, trials)
    implement(network, torch.float32, wish=way)
    try:
        network.load_state_dict({name: value for name, value in tensors.items() if name != "scale"})
    except RuntimeError as error:
        words = " ".join(str(error).split()).rstrip(". ")
        raise DamagedResultError(
            f"the kept weights of {experiment} do not fit its network in this version of the code: {words}. Remove "
            "its weights-* files to have them trained again"
        ) from error
    return network


def read(path: Path, experiment: Experiment) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a note and the weights that it names. Raises DamagedResultError naming the file, why, and what to do."""
    try:
        note = kept.read_note(path)
        trials = note["record"]["trials"]
        store.check(note["record"], path.with_name(f"trials-{trials[0]:03d}-{trials[-1]:03d}.json.gz"))
        if path.name != f"weights-{trials[0]:03d}-{trials[-1]:03d}.json.gz":
            raise ValueError("it holds other trials than its name says")
        if note["record"]["configuration"] != experiment.configuration:
            raise ValueError("it is of another experiment")
        weights = path.with_name(Path(note["weights"]).name)
        content = weights.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != note["sha256_of_weights"]:
            raise ValueError(f"{weights.name} has the SHA-256 {found}, and must have {note['sha256_of_weights']}")
        return note, load_tensors(content)
    except (*store.UNTRUSTED, OSError, SafetensorError) as error:
        raise DamagedResultError(
            f"{path} cannot be trusted: {error}. Remove it to have these networks trained again"
        ) from error
