"""Pairs of digits: drawn, normalised, fingerprinted, and put side by side for many trials."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import datasets, seeds
from lib.datasets import IMAGE


@dataclass(frozen=True)
class Pairs:
    """Pairs of distinct digits, of one trial or (with a leading axis) of a stack of trials.

    `images` `[(trials,) n, 2, 14, 14]` and `classes` `[(trials,) n, 2]` int64. What is asked about them is a task's
    affair (`lib.tasks`).
    """

    images: Tensor
    classes: Tensor


def draw_pairs(digits: datasets.Digits, n: int, rng: np.random.Generator) -> Pairs:
    """Draw `n` pairs of distinct digits; no digit is used twice.

    Returns images `[n, 2, 14, 14]` and the classes `[n, 2]`. The first pairs of a larger draw are the smaller draw.

    Raises ValueError when the set has fewer than `2 * n` digits.
    """
    count = len(digits.classes)
    if 2 * n > count:
        raise ValueError(
            f"{n} pairs need {2 * n} distinct digits, and this set has {count}: at most {count // 2} pairs"
        )
    chosen = rng.permutation(count)[: 2 * n].reshape(n, 2)
    return Pairs(torch.from_numpy(digits.images[chosen]), torch.from_numpy(digits.classes[chosen]))


def normalise(train: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """Shift and scale both sets of one trial by the mean and SD of all pixels of its *training* images."""
    pixels = train.images.double()
    mean, sd = pixels.mean(), pixels.std(correction=0)
    if sd == 0:
        raise datasets.DataError("all training images are one flat grey: they cannot be normalised")
    train, test = (Pairs(((each.images.double() - mean) / sd).float(), each.classes) for each in (train, test))
    return train, test


def draw_trial(dataset: str, train_pairs: int, test_pairs: int, seed: int, trial: int) -> tuple[Pairs, Pairs]:
    """Draw the training and test pairs of one trial, not yet normalised: training digits train, test digits test."""
    rng = seeds.generator(seed, trial, "data")
    train, test = datasets.load(dataset)
    return draw_pairs(train, train_pairs, rng), draw_pairs(test, test_pairs, rng)


def fingerprint(*sets: Pairs) -> str:
    """Return the first 16 hex digits of the SHA-256 of the drawn pairs: two results may be paired where it is equal."""
    digest = hashlib.sha256()
    for pairs in sets:
        digest.update(pairs.images.numpy().astype("<f4").tobytes())
        digest.update(pairs.classes.numpy().astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def empty_stack(trials: int, n: int) -> Pairs:
    """Return room for `n` pairs of each of several trials, `[trials, n, ...]`, to be filled by `put`."""
    return Pairs(torch.empty(trials, n, 2, IMAGE, IMAGE), torch.empty(trials, n, 2, dtype=torch.int64))


def put(whole: Pairs, place: int, pairs: Pairs) -> None:
    """Write the pairs of one trial into its place of a stack."""
    whole.images[place], whole.classes[place] = pairs.images, pairs.classes


def side_by_side(trials: list[Pairs]) -> Pairs:
    """Put the pairs of several trials side by side, `[trials, n, ...]`."""
    whole = empty_stack(len(trials), len(trials[0].classes))
    for place, pairs in enumerate(trials):
        put(whole, place, pairs)
    return whole
