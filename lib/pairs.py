"""Pairs of digits: drawn, normalised, fingerprinted, and put side by side for many trials."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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

    def take(self, places: Tensor) -> "Pairs":
        """Return the pairs at `places` `[trials, batch]` of each trial of a stack."""
        trials, n = self.classes.shape[:2]
        rows = (
            places + n * torch.arange(trials, device=places.device)[:, None]
        )  # of the flattened [trials * n, ...] sets
        return Pairs(at(self.images, rows), at(self.classes, rows))

    def part(self, places: slice) -> "Pairs":
        """Return consecutive pairs of each trial of a stack."""
        return Pairs(self.images[:, places], self.classes[:, places])


@dataclass(frozen=True)
class Gathered:
    """Pairs of a stack of trials, gathered from a set of digits a batch at a time: many pairs in little memory.

    `digits` `[count, 14, 14]` in [0, 1] and their `names` `[count]`; `rows` `[trials, n, 2]` say which are paired;
    `mean` and `sd` `[trials]` normalise each trial's images. Batches have the same numbers as those of `Pairs`.
    """

    digits: Tensor
    names: Tensor
    rows: Tensor
    mean: Tensor
    sd: Tensor

    @property
    def classes(self) -> Tensor:
        """Classes of all pairs, `[trials, n, 2]` int64."""
        return self.names[self.rows]

    def take(self, places: Tensor) -> Pairs:
        """Return the pairs at `places` `[trials, batch]` of each trial."""
        rows = self.rows.gather(1, places[..., None].expand(-1, -1, 2))
        images = standardised(
            self.digits[rows], self.mean[:, None, None, None, None], self.sd[:, None, None, None, None]
        )
        return Pairs(images, self.names[rows])

    def part(self, places: slice) -> Pairs:
        """Return consecutive pairs of each trial."""
        return self.take(torch.arange(self.rows.shape[1], device=self.rows.device)[places].expand(len(self.rows), -1))

    def on(self, device: torch.device) -> "Gathered":
        """Return a copy on another device."""
        return Gathered(*(each.to(device) for each in (self.digits, self.names, self.rows, self.mean, self.sd)))


def draw_rows(
    count: int, n: int, rng: np.random.Generator, distinct: int = 0, again: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Draw `n` pairs of distinct digits out of `count`: which they are, `[n, 2]`.

    No digit is used twice, unless the pairs are to have fewer `distinct` digits: those are then put in a new order by
    `again`, as often as it takes, so that each is used as often as any other, or once more. The first pairs of a larger
    draw are the smaller draw.

    Raises ValueError when the set has too few digits, and for `distinct` digits that are too few or too many to pair.
    """
    needed = distinct or 2 * n
    if needed > count:
        raise ValueError(
            f"{n} pairs need {needed} distinct digits, and this set has {count}: at most {count // 2} pairs"
        )
    if distinct and not 2 <= distinct <= 2 * n:
        raise ValueError(f"distinct is {distinct}; allowed: 2 to {2 * n} for {n} pairs, or 0: two per pair")
    chosen = rng.permutation(count)[:needed]
    rounds = [chosen]
    for drawn in range(needed, 2 * n, needed):
        assert again is not None
        more = again.permutation(chosen)
        if drawn % 2 and more[0] == rounds[-1][-1]:  # one was left over, and must not be paired with itself
            more[[0, 1]] = more[[1, 0]]
        rounds.append(more)
    return np.concatenate(rounds)[: 2 * n].reshape(-1, 2)


def pairs_of(digits: datasets.Digits, rows: NDArray[np.int64]) -> Pairs:
    """Return the pairs of digits that `rows` `[n, 2]` name, not normalised."""
    return Pairs(torch.from_numpy(digits.images[rows]), torch.from_numpy(digits.classes[rows]))


def draw_pairs(digits: datasets.Digits, n: int, rng: np.random.Generator) -> Pairs:
    """Draw `n` pairs of distinct digits; no digit is used twice.

    Returns images `[n, 2, 14, 14]` and the classes `[n, 2]`. Raises ValueError when the set has too few digits.
    """
    return pairs_of(digits, draw_rows(len(digits.classes), n, rng))


def scale_of(train: Pairs) -> tuple[Tensor, Tensor]:
    """Return mean and SD of all pixels of one trial's training images, in float64.

    Raises DataError when they are one flat grey.
    """
    pixels = train.images.double()
    mean, sd = pixels.mean(), pixels.std(correction=0)
    if sd == 0:
        raise datasets.DataError("all training images are one flat grey: they cannot be normalised")
    return mean, sd


def standardised(images: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Shift and scale images, in float64 before the last rounding."""
    return ((images.double() - mean) / sd).float()


def normalise(train: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """Shift and scale both sets of one trial by the mean and SD of all pixels of its *training* images."""
    scale = scale_of(train)
    train, test = (Pairs(standardised(each.images, *scale), each.classes) for each in (train, test))
    return train, test


class Rows(NamedTuple):
    """Which training and which test digits one trial pairs, `[n, 2]` each."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def draw_trial_rows(
    dataset: str, train_pairs: int, test_pairs: int, seed: int, trial: int, train_digits: int = 0
) -> Rows:
    """Draw the training and test pairs of one trial, as rows of the data set's training and test digits."""
    rng, again = (seeds.generator(seed, trial, purpose) for purpose in ("data", "pairing"))
    train, test = datasets.load(dataset)
    drawn = draw_rows(len(train.classes), train_pairs, rng, train_digits, again)
    return Rows(drawn, draw_rows(len(test.classes), test_pairs, rng))


def draw_trial(
    dataset: str, train_pairs: int, test_pairs: int, seed: int, trial: int, train_digits: int = 0
) -> tuple[Pairs, Pairs]:
    """Draw the training and test pairs of one trial, not yet normalised: training digits train, test digits test."""
    rows = draw_trial_rows(dataset, train_pairs, test_pairs, seed, trial, train_digits)
    train, test = (pairs_of(*each) for each in zip(datasets.load(dataset), rows, strict=True))
    return train, test


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


def gathered(digits: datasets.Digits, rows: list[NDArray[np.int64]], scale: Tensor) -> Gathered:
    """Return the pairs of several trials as rows of a set of digits; `scale` `[2, trials]` are means and SDs."""
    places = torch.from_numpy(np.stack(rows))
    return Gathered(torch.from_numpy(digits.images), torch.from_numpy(digits.classes), places, scale[0], scale[1])


def at(values: Tensor, rows: Tensor) -> Tensor:
    """Return the given rows `[trials, batch]` of `values` `[trials, n, ...]`, flattened over its first two axes."""
    taken: Tensor = values.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return taken
