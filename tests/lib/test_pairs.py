"""The pairs: what is drawn must not change, no digit is used twice, and a fingerprint sees everything."""

import re

import numpy as np
import pytest
import torch

from lib import datasets
from lib.datasets import DataError, Digits
from lib.pairs import Pairs, draw_pairs, draw_trial, fingerprint, normalise, side_by_side

# ---------------------------------------------------------------- pinned draws


def test_golden_pairs_of_the_embedded_digits():
    train, test = draw_trial("digits", 20, 20, 2022, 0)
    assert train.classes[:8].tolist() == [[9, 6], [7, 2], [7, 9], [9, 5], [0, 9], [5, 0], [2, 4], [6, 3]]
    assert test.classes[:8].tolist() == [[0, 9], [4, 9], [8, 9], [0, 8], [8, 2], [4, 6], [7, 8], [4, 3]]
    assert fingerprint(train, test) == "0910732203ccb3be"
    assert draw_trial("digits", 20, 20, 2022, 1)[0].classes[:4].tolist() == [[8, 4], [8, 8], [4, 1], [8, 1]]


def test_golden_pairs_of_mnist(mnist):
    train, test = draw_trial("mnist", 20, 20, 2022, 0)
    assert train.classes[:8].tolist() == [[7, 4], [6, 7], [7, 2], [2, 3], [7, 0], [8, 7], [1, 8], [7, 5]]
    assert test.classes[:8].tolist() == [[9, 6], [9, 1], [6, 7], [4, 2], [0, 0], [2, 5], [0, 1], [0, 8]]
    assert fingerprint(train, test) == "7263ed4e08d6ea50"
    assert draw_trial("mnist", 20, 20, 2022, 1)[0].classes[:4].tolist() == [[4, 4], [4, 3], [9, 7], [2, 7]]


# ---------------------------------------------------------------- what is drawn


def numbered(count):
    """Digits whose pixels say which digit they are."""
    images = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 14, 14))
    return Digits(images, np.arange(count) % 10)


def numbers(pairs):
    return pairs.images[:, :, 0, 0].long()


def rows(images):
    """The images as a set of bytes."""
    return {np.asarray(image).tobytes() for image in images.reshape(-1, 14, 14)}


def test_no_digit_is_used_twice_in_a_set_and_all_can_be_used():
    pairs = draw_pairs(numbered(41), 20, np.random.default_rng(0))
    used = numbers(pairs).flatten().tolist()
    assert len(set(used)) == 40
    assert pairs.images.shape == (20, 2, 14, 14) and pairs.classes.shape == (20, 2)


def test_images_and_classes_of_a_pair_belong_together():
    pairs = draw_pairs(numbered(400), 200, np.random.default_rng(0))
    assert torch.equal(pairs.classes, numbers(pairs) % 10)
    assert pairs.images.dtype == torch.float32 and pairs.classes.dtype == torch.int64


def test_more_pairs_than_digits_is_a_value_error_that_says_how_many_there_can_be():
    with pytest.raises(ValueError, match="21 pairs need 42 distinct digits, and this set has 41: at most 20 pairs"):
        draw_pairs(numbered(41), 21, np.random.default_rng(0))


def test_a_smaller_draw_is_the_beginning_of_a_larger_one():
    small, large = (draw_trial("digits", n, n // 2, 7, 3) for n in (20, 60))
    for part, whole in zip(small, large, strict=True):
        for name, values in vars(part).items():
            assert torch.equal(values, getattr(whole, name)[: len(values)]), name


@pytest.mark.parametrize("dataset", datasets.DATASETS)
def test_training_pairs_are_of_training_digits_and_test_pairs_of_test_digits(dataset, request):
    if dataset == "mnist":
        request.getfixturevalue("mnist")
    train_digits, test_digits = datasets.load(dataset)
    train, test = draw_trial(dataset, 60, 60, 0, 0)
    assert rows(train.images) <= rows(train_digits.images)
    assert rows(test.images) <= rows(test_digits.images)
    assert not rows(train.images) & rows(test_digits.images)
    assert not rows(test.images) & rows(train_digits.images)


def test_trials_and_seeds_draw_other_pairs_and_the_same_ones_again():
    draws = {
        (seed, trial): fingerprint(*draw_trial("digits", 20, 20, seed, trial)) for seed in (0, 1) for trial in (0, 1, 2)
    }
    assert len(set(draws.values())) == len(draws)
    assert fingerprint(*draw_trial("digits", 20, 20, 1, 2)) == draws[1, 2]


def test_the_fingerprint_sees_every_image_class_and_set():
    train, test = draw_trial("digits", 5, 5, 0, 0)
    prints = {fingerprint(train, test), fingerprint(train), fingerprint(test, train)}
    for which in range(2):
        for name in ("images", "classes"):
            sets = [Pairs(*(values.clone() for values in vars(pairs).values())) for pairs in (train, test)]
            getattr(sets[which], name).view(-1)[-1] += 1
            prints.add(fingerprint(*sets))
    assert len(prints) == 7
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in prints)


def test_trials_are_put_side_by_side():
    trials = [draw_trial("digits", 5, 5, 0, trial)[0] for trial in range(3)]
    stacked = side_by_side(trials)
    assert stacked.images.shape == (3, 5, 2, 14, 14)
    for trial, pairs in enumerate(trials):
        for name, values in vars(pairs).items():
            assert torch.equal(getattr(stacked, name)[trial], values)


def test_normalise_uses_the_training_images_only():
    train, test = draw_trial("digits", 30, 20, 0, 0)
    shifted = Pairs(5 * test.images - 3, test.classes)
    (a, b), (a_again, c) = normalise(train, test), normalise(train, shifted)
    assert torch.equal(a.images, a_again.images), "the test images changed the training images"
    mean, sd = train.images.double().mean(), train.images.double().std(correction=0)
    for pairs, raw in ((a, train), (b, test), (c, shifted)):
        torch.testing.assert_close(pairs.images.double(), (raw.images.double() - mean) / sd, rtol=1e-6, atol=1e-6)
        assert torch.equal(pairs.classes, raw.classes)
        assert pairs.images.dtype == torch.float32
    assert a.images.double().mean().abs() < 1e-7 and abs(a.images.double().std(correction=0) - 1) < 1e-6


def test_flat_images_are_refused_and_not_divided_by_zero():
    train, test = draw_trial("digits", 5, 5, 0, 0)
    with pytest.raises(DataError, match="flat grey"):
        normalise(Pairs(torch.full_like(train.images, 0.5), train.classes), test)
