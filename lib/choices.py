"""Settings that name heads or parts of a network: read, checked against the network, and brought to their one form.

What an older setting can say is said by it, so that one result has one key.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, cast

from torch import nn

from lib.architectures import Network, convolutionize
from lib.experiment import SETTINGS, Experiment
from lib.foreign import find, heads_of, is_plain, reads
from lib.messages import one_of, show
from lib.plain import build_plain
from lib.state import own_state

JOINED = re.compile(r"[\w.]+(\+[\w.]+)*")
WEIGHTS = re.compile(r"\w+:[0-9.e+-]+?(\+\w+:[0-9.e+-]+?)*")


def settled(e: Experiment) -> dict[str, Any]:
    """Return the values of an experiment's settings that name heads or parts, in the form that its key has.

    Raises ValueError for heads and parts that its network has not, and for settings that contradict each other.
    """
    heads = tuple(heads_of(find(e.architecture)))
    by_head = {**sigmoids(e, heads), **weights(e, heads), **phases(e, heads)}
    return {**by_head, **parts(e, by_head.get("sigmoids", ""))}


def sigmoids(e: Experiment, heads: Collection[str]) -> dict[str, Any]:
    """Settle which heads have an output Sigmoid: all and none are `sigmoid`'s to say."""
    if not e.sigmoids:
        return {}
    chosen = () if e.sigmoids == "none" else joined("sigmoids", e.sigmoids, heads, "or 'none'")
    if not e.sigmoid:
        raise ValueError(f"sigmoid is False; allowed: True with sigmoids {show(e.sigmoids)}, which says it by head")
    if len(chosen) in (0, len(heads)):
        return {"sigmoid": bool(chosen), "sigmoids": ""}
    return {"sigmoids": "+".join(chosen)}


def weights(e: Experiment, heads: Collection[str]) -> dict[str, Any]:
    """Settle the weights of auxiliary heads: one for all is `auxiliary_weight`'s to say."""
    if not e.auxiliary_weights:
        return {}
    auxiliary = [head for head in heads if head != "answer"]
    if not auxiliary or "auxiliary_weight" not in reads(find(e.architecture)):
        raise ValueError(
            f"auxiliary_weights is {show(e.auxiliary_weights)}, which {e.architecture} does not read; leave it out"
        )
    said = by_head(e.auxiliary_weights)
    for head, weight in said.items():
        one_of("auxiliary_weights", head, auxiliary)
        if not 0 <= weight <= 1000:
            raise ValueError(f"the weight of {head} in auxiliary_weights is {weight:g}; allowed: 0 to 1,000")
    each = {head: said.get(head, e.auxiliary_weight) for head in auxiliary}
    held = list(each.values())
    usual = SETTINGS["auxiliary_weight"].default
    common = max(held, key=lambda weight: (held.count(weight), weight == usual))  # of equals the first head's
    own = "+".join(f"{head}:{weight!r}" for head, weight in each.items() if weight != common)
    return {"auxiliary_weight": common, "auxiliary_weights": own}


def phases(e: Experiment, heads: Collection[str]) -> dict[str, Any]:
    """Settle which heads train alone at first, and for how long."""
    first = joined("first", e.first, heads) if e.first else ()
    if first and not e.first_epochs:
        raise ValueError(f"first_epochs is 0; allowed: at least 1 with first {show(e.first)}")
    if e.first_epochs and not (first or e.frozen):
        raise ValueError(f"first_epochs is {e.first_epochs}; allowed: 0 without first or frozen")
    if e.first_epochs >= e.epochs:
        raise ValueError(f"first_epochs is {e.first_epochs}; allowed: fewer than epochs ({e.epochs})")
    if len(first) == len(heads):  # as it is anyway
        return {"first": "", "first_epochs": e.first_epochs if e.frozen else 0}
    return {"first": "+".join(first)}


def parts(e: Experiment, sigmoids: str) -> dict[str, Any]:
    """Settle the parts that are frozen, or that the answer's gradient does not pass."""
    if not (e.stopped or e.frozen or sigmoids):
        return {}
    network = built(e, sigmoids)  # which also refuses sigmoids that it cannot give
    if e.stopped:
        part("stopped", e.stopped, network, e.stopped)
    if not e.frozen:
        return {}
    names = joined("frozen", e.frozen)
    frozen = {id(parameter) for each in names for parameter in part("frozen", e.frozen, network, each).parameters()}
    if not e.first_epochs and all(id(parameter) in frozen for parameter in network.parameters()):
        raise ValueError(f"frozen is {show(e.frozen)}, which is all of {e.architecture}: nothing would learn")
    within = tuple(f"{name}." for name in names)  # what is in a part is frozen with it
    return {"frozen": "+".join(sorted(name for name in names if not name.startswith(within)))}


def part(name: str, value: str, network: Network, of: str) -> nn.Module:
    """Return a part of a network that a setting names. Raises ValueError that names the setting, too."""
    try:
        return network.part(of)
    except ValueError as error:
        raise ValueError(f"{name} is {show(value)}; {error}") from None


@own_state()
def built(e: Experiment, sigmoids: str) -> Network:
    """Return a network of the experiment's, as its constructor leaves it, in the form in which it is trained.

    Raises ValueError for sigmoids by head where a classifier does not say of which head it is.
    """
    architecture = find(e.architecture)
    if is_plain(architecture):
        return build_plain(architecture, seed=0, trial=0)
    sizes = replace(e.sizes(1), sigmoids=tuple(sigmoids.split("+")) if sigmoids else None)
    network = cast(type[Network], architecture)(sizes)
    return convolutionize(network) if e.fully_convolutional else network


def joined(name: str, text: str, allowed: Collection[str] = (), also: str = "") -> tuple[str, ...]:
    """Read names joined by `+`, in the order of `allowed` (else as they stand). Raises ValueError."""
    if not JOINED.fullmatch(text):
        raise ValueError(f"{name} is {show(text)}; allowed: names joined by +, such as 'answer+auxiliary'")
    names = text.split("+")
    for each in names if allowed else ():
        one_of(name, each, allowed, also)
    return tuple(each for each in allowed or dict.fromkeys(names) if each in names)


def by_head(text: str) -> Mapping[str, float]:
    """Read weights such as "digits:1+parity:0.5". Raises ValueError."""
    try:
        if not WEIGHTS.fullmatch(text):
            raise ValueError
        said = [part.split(":") for part in re.split(r"\+(?=[^\W\d]\w*:)", text)]
        weights = {head: float(weight) + 0.0 for head, weight in said}  # -0.0 equals 0.0, and so must their texts
        if len(weights) != len(said):
            raise ValueError
        return weights
    except ValueError:
        raise ValueError(
            f"auxiliary_weights is {show(text)}; allowed: head:weight joined by +, such as 'digits:1+parity:0.5'"
        ) from None
