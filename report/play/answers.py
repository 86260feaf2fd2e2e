"""What trained networks answer to the test pairs of one trial: each network's answer, its confidence, its names."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib import Experiment
from lib.messages import within
from lib.pairs import draw_trial
from lib.tasks import CLASSES, COMPARISON, decide
from lib.trained import Networks
from report.play.choice import DIGITS, KINDS

HARDEST = 100  # pairs
AT_ONCE = 100  # pairs that all networks are asked about together: bounds the memory


@dataclass(frozen=True)
class Answers:
    """Answers of all networks of a stack to one trial's test pairs.

    `images` `[n, 2, 14, 14]` in [0, 1], `classes` `[n, 2]`; `answers` `[networks, n]` say whether each network answers
    "first <= second", and `leaning` its confidence in that: the softmax of its two outputs, or its only output. `names`
    `[networks, n, 2, 10]` are the confidences of a head that names digits, None where there is none. `trial` is the
    network whose pairs these are.
    """

    experiment: Experiment
    trial: int
    images: NDArray[np.float32]
    classes: NDArray[np.int64]
    answers: NDArray[np.bool_]
    leaning: NDArray[np.float32]
    names: NDArray[np.float32] | None

    @classmethod
    @torch.no_grad()
    def of(cls, networks: Networks, trial: int) -> "Answers":
        """Ask all networks about the test pairs of one trial, also beside a cell that trains.

        Raises ValueError for a trial that is not there.
        """
        within("trial", trial, 0, networks.trials - 1)
        e = networks.experiment
        _, test = draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial, e.train_digits)
        outputs = [networks(part) for part in test.images.split(AT_ONCE)]
        heads = networks.stacks[0].heads
        names = next((head for head, task in heads.items() if task == CLASSES), None)  # type: ignore[operator, union-attr]
        answer = torch.cat([each["answer"].flatten(2) for each in outputs], dim=1)
        said = torch.cat([each[names].flatten(3) for each in outputs], dim=1) if names else None
        named = None if said is None or said.shape[-1] == 1 else said.softmax(-1).numpy()
        answers, leaning = decide(answer).numpy() == 1, smaller(answer).numpy()
        return cls(e, trial, test.images.numpy(), test.classes.numpy(), answers, leaning, named)

    @property
    def target(self) -> NDArray[np.bool_]:
        """Whether the first digit is smaller than or equal to the second, `[n]`."""
        return COMPARISON.target(torch.from_numpy(self.classes)).numpy() == 1

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each network answers rightly, `[networks, n]`."""
        return self.answers == self.target

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Each network's confidence in what it answers, `[networks, n]`, from 0.5 to 1."""
        return np.maximum(self.leaning, 1 - self.leaning)

    def places(self, which: str) -> NDArray[np.int64]:
        """Return which pairs are of a kind, in an order that is worth looking at.

        "wrong": those that this trial's network gets wrong, the surest first; "unsure": its least sure ones first;
        "hardest": the 100 in whose right answer the networks together trust least; "3-8": those of two digits; "all".
        """
        trust = np.where(self.target, self.leaning, 1 - self.leaning)  # in the right answer, [networks, n]
        if which == "wrong":
            wrong = np.flatnonzero(~self.correct[self.trial])
            return wrong[np.argsort(-self.confidence[self.trial, wrong], kind="stable")]
        if which == "unsure":
            return np.argsort(self.confidence[self.trial], kind="stable")
        if which == "hardest":
            return np.argsort(trust.mean(0), kind="stable")[:HARDEST]
        if which in DIGITS:
            return np.flatnonzero((self.classes == [int(each) for each in which.split("-")]).all(1))
        if which in KINDS:
            return np.arange(len(self.target))
        raise ValueError(f"which is {which!r}; allowed: {', '.join(KINDS)}, or two digits, such as '3-8'")


def smaller(outputs: Tensor) -> Tensor:
    """Return the confidence in "smaller or equal" of outputs `[..., k]`: the second of two, or the only one."""
    return outputs[..., 0].clamp(0, 1) if outputs.shape[-1] == 1 else outputs.softmax(-1)[..., 1]


def sign(smaller_or_equal: bool) -> str:
    """Return an answer as a sign."""
    return "≤" if smaller_or_equal else ">"
