"""The pairs: what is drawn must not change, no digit is used twice unasked, and a fingerprint sees everything."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from lib import Teacher, datasets
from lib.datasets import DataError, Digits
from lib.machine import ROOT
from lib.pairs import (
    Pairs,
    draw_pairs,
    draw_rows,
    draw_trial,
    draw_trial_rows,
    fingerprint,
    gathered,
    normalise,
    scale_of,
    side_by_side,
    standardised,
)
from lib.training import GATHERED, prepare
from tests.lib.own import tiny
from tests.lib.stacks import compiled, make, state

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


# ---------------------------------------------------------------- digits that are used more than once


def drawn(pairs, distinct, trial=0, test_pairs=20):
    return draw_trial_rows("digits", pairs, test_pairs, 2022, trial, distinct)


def test_golden_pairs_of_few_digits():
    """Six digits: three pairs, and then the same six in other orders; five digits, of which one is left over."""
    even, odd = (drawn(7, distinct).train.tolist() for distinct in (6, 5))
    assert even == [[795, 728], [27, 697], [299, 585], [585, 299], [795, 697], [728, 27], [27, 728]]
    assert odd == [[795, 728], [27, 697], [299, 697], [299, 795], [728, 27], [299, 728], [795, 27]]


@pytest.mark.parametrize("distinct", [2, 3, 7, 38, 39])
def test_exactly_so_many_distinct_digits_are_used_and_all_alike(distinct):
    for trial in range(10):
        rows = drawn(20, distinct, trial).train
        digits, counts = np.unique(rows, return_counts=True)
        assert rows.shape == (20, 2) and len(digits) == distinct
        assert counts.max() - counts.min() <= 1, "one is used more often than another"
        assert (rows[:, 0] != rows[:, 1]).all(), "a digit is paired with itself"
        assert set(digits) <= set(drawn(20, 0, trial).train.flatten()), "others than those of the ordinary draw"


@pytest.mark.parametrize("distinct", [2, 7, 20, 39])
def test_the_first_pairs_are_those_of_the_ordinary_draw_and_the_others_are_new(distinct):
    rows, usual = drawn(20, distinct).train, drawn(20, 0).train
    whole = distinct // 2
    np.testing.assert_array_equal(rows[:whole], usual[:whole])
    np.testing.assert_array_equal(drawn(50, distinct).train[:20], rows, "a smaller draw begins a larger one")
    if distinct == 20:
        assert {frozenset(pair) for pair in rows[10:].tolist()} != {frozenset(pair) for pair in rows[:10].tolist()}


def test_the_test_pairs_do_not_depend_on_how_the_training_digits_are_used():
    usual = drawn(20, 0).test
    for pairs, distinct in ((20, 2), (20, 39), (900, 1100), (3, 0)):
        np.testing.assert_array_equal(drawn(pairs, distinct).test, usual)


def test_what_one_trial_draws_of_few_digits_depends_on_no_other_trial_and_is_another_draw():
    together = [prepared.train_pairs.classes for prepared in (teacher_of(range(3)), teacher_of(range(2, 3)))]
    assert torch.equal(together[0][2:], together[1])
    orders = {tuple(drawn(30, 4, trial).train.argsort(axis=None).tolist()) for trial in range(5)}
    assert len(orders) == 5, "the same order of the digits in several trials"


def teacher_of(trials, **settings):
    return prepare(tiny(**{"train_pairs": 30, "train_digits": 9, **settings}), trials).teacher


def test_images_are_normalised_by_the_pairs_as_often_as_they_are_used():
    e = tiny(train_pairs=30, train_digits=9)
    _, held, fingerprints, _, scale = prepare(e, range(2))
    for trial in range(2):
        train, test = draw_trial("digits", 30, 20, e.seed, trial, 9)
        usual = draw_trial("digits", 30, 20, e.seed, trial)
        assert fingerprints[trial] == fingerprint(train, test) != fingerprint(*usual)
        for ours, pairs in zip((held.train_pairs, held.test_pairs), normalise(train, test), strict=True):
            assert torch.equal(ours.images[trial], pairs.images) and torch.equal(ours.classes[trial], pairs.classes)
        mean, sd = train.images.double().mean(), train.images.double().std(correction=0)
        torch.testing.assert_close(scale[:, trial], torch.stack([mean, sd]), rtol=0, atol=1e-12)


def test_two_digits_per_pair_are_the_ordinary_draw():
    np.testing.assert_array_equal(drawn(20, 40).train, drawn(20, 0).train)
    for ours, usual in zip(draw_trial("digits", 20, 9, 1, 2, 40), draw_trial("digits", 20, 9, 1, 2), strict=True):
        assert torch.equal(ours.images, usual.images)


@pytest.mark.parametrize("distinct", [1, -1, 41])
def test_digits_that_are_too_few_or_too_many_to_be_paired_are_refused(distinct):
    with pytest.raises(
        ValueError, match=f"^distinct is {distinct}; allowed: 2 to 40 for 20 pairs, or 0: two per pair$"
    ):
        drawn(20, distinct)
    with pytest.raises(ValueError, match="600 pairs need 1200 distinct digits, and this set has 1100: at most 550"):
        drawn(600, 0)


def test_two_digits_in_very_many_pairs_are_drawn_in_no_time():
    start = time.perf_counter()
    rows = draw_rows(60_000, 30_000, np.random.default_rng(0), 2, np.random.default_rng(1))
    assert time.perf_counter() - start < 10, "each round takes longer than the one before"
    first = rows[:, 0] == rows[0, 0]
    assert len(np.unique(rows)) == 2 and 14_000 < first.sum() < 16_000, "each is as often the first one"


# ---------------------------------------------------------------- gathered from the digits

PAIRS, TRIALS = 27, 3


@pytest.fixture(scope="module", params=[0, 9], ids=["two digits per pair", "nine digits"])
def both(request):
    """The same pairs of three trials side by side and gathered, each with two digits per pair or with fewer."""
    digits, _ = datasets.load("digits")
    rows = [drawn(PAIRS, request.param, trial).train for trial in range(TRIALS)]
    raw = [draw_trial("digits", PAIRS, 20, 2022, trial, request.param)[0] for trial in range(TRIALS)]
    scales = [scale_of(pairs) for pairs in raw]
    pairs = [Pairs(standardised(each.images, *scale), each.classes) for each, scale in zip(raw, scales, strict=True)]
    scale = torch.stack([torch.stack(each) for each in scales], dim=1)
    return side_by_side(pairs), gathered(digits, rows, scale)


def assert_same(one, other):
    assert one.images.dtype == other.images.dtype and one.classes.dtype == other.classes.dtype
    assert torch.equal(one.images, other.images) and torch.equal(one.classes, other.classes)


def test_gathered_pairs_are_bit_by_bit_those_side_by_side(both):
    pairs, many = both
    assert torch.equal(many.classes, pairs.classes) and many.classes.dtype == torch.int64
    rng = np.random.default_rng(0)
    places = torch.from_numpy(np.stack([rng.permutation(PAIRS)[:10] for _ in range(TRIALS)]))
    assert_same(many.take(places), pairs.take(places))
    for part in (slice(0, 10), slice(20, 30), slice(None)):
        assert_same(many.part(part), pairs.part(part))
    for trial in range(TRIALS):
        assert torch.equal(pairs.take(places).images[trial], pairs.images[trial, places[trial]])


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adam", "learning_rate": 0.01}], ids=str)
def test_a_training_on_gathered_pairs_has_the_same_bits(both, settings):
    pairs, many = both
    test = side_by_side([draw_trial("digits", 20, 20, 2022, trial)[1] for trial in range(TRIALS)])
    histories, states = [], []
    for train in (pairs, many):
        network = make("CAUX", trials=TRIALS, dtype=torch.float32)
        held = Teacher(train, test)
        histories.append(held.train(network, epochs=2, batch_size=10, **settings))
        states.append(state(network))
        histories[-1].epochs.append(held.test(network, train).values())
    for one, other in zip(*(history.epochs for history in histories), strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_so_many_pairs_that_they_are_gathered_train_as_few_do():
    """One pair more than are put side by side, of few digits: all but the batches are the ordinary ones."""
    few, many = (teacher_of(range(2), train_pairs=n, train_digits=100) for n in (GATHERED, GATHERED + 1))
    assert isinstance(few.train_pairs, Pairs) and not isinstance(many.train_pairs, Pairs)
    part = slice(0, 50)
    assert torch.equal(many.train_pairs.part(part).classes, few.train_pairs.part(part).classes)
    torch.testing.assert_close(many.train_pairs.part(part).images, few.train_pairs.part(part).images, rtol=0, atol=1e-3)
    assert torch.equal(many.test_pairs.classes, few.test_pairs.classes)


MANY = """
import json, resource, time
import torch
from lib import Experiment
from lib.training import hyperparameters, prepare

torch.set_num_threads(1)
start = time.perf_counter()
e = Experiment.parse("WSN train_pairs=30000 batch_size=1000 epochs=1")
network, teacher, *_ = prepare(e, range(25))
history = teacher.train(network, **hyperparameters(e))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
print(json.dumps([peak, time.perf_counter() - start, history.array("test_correct").shape[0]]))
"""


@pytest.mark.slow
@compiled
def test_half_of_mnists_digits_in_each_of_25_trials_stay_in_little_memory(mnist):
    """Side by side the training images alone would be 1.1 GB; all in all 1.5 GB of a fresh process are enough."""
    done = subprocess.run([sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak, seconds, trials = json.loads(done.stdout)
    print(f"{peak:.2f} GiB, {seconds:.0f} s")
    assert trials == 25
    assert peak < 1.5, f"{peak:.2f} GiB"
