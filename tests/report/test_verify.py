"""A stored group trained again: equal bits where that can be asked for, else close, and never with other content."""

import copy
import re

import numpy as np
import pytest

from lib import Experiment, Store, store, training
from report import verify
from report.__main__ import main

CLEAN = {"commit": "0" * 40, "dirty": False}
SMALL = Experiment.parse("SAUX dataset=digits train_pairs=100 epochs=3 learning_rate=0.3")


def train(experiment, trials, **options):
    """Train as in a clean checkout: these tests hold in one with changes, and without git."""
    records = training.train(experiment, trials, **options)
    return [{**record, "provenance": {**record["provenance"], **CLEAN}} for record in records]


@pytest.fixture(scope="module")
def trained():
    """One group of 25 trials, as `make study` would store it, but for the commit."""
    [record] = train(SMALL, range(25))
    return record


@pytest.fixture
def record(trained):
    return copy.deepcopy(trained)


def elsewhere(record):
    return {**record, "provenance": {**record["provenance"], "cpu": "another one"}}


def tamper_loss(record):
    record["train_loss"][3][0] *= 1.002


def tamper_auxiliary_loss(record):
    record["auxiliary_train_loss"][24][0] *= 1.002


def tamper_fingerprints(record):
    record["fingerprints"][24] = "0" * 16


def tamper_accuracy(record):
    """Two more right answers in the last epoch of every trial, where they are bookkept."""
    for i, counts in enumerate(record["test_correct"]):
        bits = store.bits_of(record["last_bits"][i], SMALL.test_pairs)
        for wrong in np.flatnonzero(np.array(bits) == 0)[:2]:
            bits[wrong] = 1
            cell = next(cell for row in record["last_table"][i] for cell in row if cell[0] < cell[1])
            cell[0] += 1
        counts[-1] += 2
        record["last_bits"][i] = store.hex_of(bits)


TAMPERED = (tamper_loss, tamper_auxiliary_loss, tamper_fingerprints, tamper_accuracy)


def test_a_group_trained_again_on_the_same_machine_has_the_same_bits(record, tmp_path):
    verdict = verify.verify(Store(tmp_path).write(record), train)
    assert verdict.agrees
    assert "bitwise" in verdict.words and "every stored value is equal" in verdict.words


def test_elsewhere_the_comparison_is_statistical_and_says_why(record, tmp_path):
    record = elsewhere(record)
    verdict = verify.verify(Store(tmp_path).write(record), train)
    assert verdict.agrees
    assert "statistical (cpu another one there and" in verdict.words
    assert "every stored value is equal" in verdict.words  # it need not be, but is worth saying


@pytest.mark.parametrize("tamper", TAMPERED)
@pytest.mark.parametrize("place", [dict, elsewhere])
def test_a_tampered_group_with_a_valid_checksum_is_refused_in_both_modes(tamper, place, record, trained):
    tamper(record)
    verdict = verify.compare(place(record), trained)
    assert not verdict.agrees
    assert verdict.words.startswith("statistical" if place is elsewhere else "bitwise")


def test_a_tampered_file_is_trained_again_and_refused(record, tmp_path):
    tamper_accuracy(record)
    path = Store(tmp_path).write(record)  # the store itself has nothing against it
    verdict = verify.verify(path, train)
    assert not verdict.agrees
    assert "bitwise" in verdict.words and "last_bits, last_table, test_correct differ" in verdict.words


def test_a_difference_in_the_last_digit_is_refused_bitwise_only(record, trained):
    record["test_loss"][0][2] *= 1.00001
    here, there = verify.compare(record, trained), verify.compare(elsewhere(record), trained)
    assert not here.agrees and "test_loss differ; statistically: last epoch agrees" in here.words
    assert there.agrees and "first-epoch loss agrees" in there.words


@pytest.mark.parametrize(
    ("field", "value"), [("commit", "1" * 40), ("torch", "0.4"), ("stack", 150), ("dirty", True), ("threads", 2)]
)
def test_equal_bits_are_asked_for_only_where_all_that_decides_them_is_equal(field, value, record, trained):
    record["provenance"][field] = value
    assert verify.compare(record, trained).words.startswith("statistical")
    record["provenance"] = trained["provenance"] | {"started": "2000-01-01T00:00:00+00:00", "seconds": 1.0}
    assert verify.compare(record, trained).words.startswith("bitwise")


def test_four_standard_errors_are_the_limit(record, trained):
    n = SMALL.test_pairs
    for shifts, agrees in (((2, -1), True), ((1, 1), False), ((3, 0), False), ((0, 0), True)):
        for i, counts in enumerate(record["test_correct"]):
            counts[-1] = min(trained["test_correct"][i][-1] + shifts[i % 2], n)
        # (2, -1): mean 0.56 of 300 pairs, 1.8 standard errors; (3, 0): 1.56, five; (1, 1): no spread at all
        assert verify.statistically(record, trained)[0] is agrees, shifts


def test_one_trial_says_nothing_about_a_mean(trained):
    one = copy.deepcopy(trained)
    for name in ("test_correct", "train_loss", "auxiliary_train_loss", "fingerprints"):
        one[name] = one[name][:1]
    other = copy.deepcopy(one)
    other["test_correct"][0][-1] += 5
    assert verify.statistically(one, other)[0]


def test_a_record_that_was_carried_over_is_compared_in_what_it_has(record, trained, tmp_path):
    del record["last_named"]  # schema 1 had none
    path = Store(tmp_path).write(record)
    assert verify.compare(store.read(path), trained).agrees
    record["last_bits"][0] = record["last_bits"][1]
    assert not verify.compare(record, trained).agrees


def test_a_loss_of_a_further_head_counts_too(record, trained):
    here, there = ({**each, "third_train_loss": copy.deepcopy(each["train_loss"])} for each in (trained, record))
    assert verify.statistically(here, there)[0]
    there["third_train_loss"][7][0] *= 1.002
    assert not verify.statistically(here, there)[0]


def test_a_group_trained_by_torch_is_trained_by_torch_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LIB_IMPLEMENTATION", "auto")
    [record] = train(SMALL.changed("epochs=1"), range(2), implementation="torch")
    verdict = verify.verify(Store(tmp_path).write(record), train)
    assert verdict.agrees and "bitwise" in verdict.words


def test_a_damaged_file_and_another_protocol_are_refused_with_the_reason(record, tmp_path):
    path = Store(tmp_path).write({**record, "configuration": {**record["configuration"], "protocol": 0}})
    verdict = verify.verify(path)
    assert not verdict.agrees and "protocol 0 there and 1 here" in verdict.words
    path.write_bytes(store.packed({**record, "train_loss": record["test_loss"]})[:-9])
    verdict = verify.verify(path)
    assert not verdict.agrees and "cannot be trusted" in verdict.words


@pytest.fixture
def many(tmp_path):
    """A folder with empty files where three experiments have two groups each."""
    for name in ("SN-0", "WSN-1", "CAUX-2"):
        for group in ("000-024", "025-049"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"trials-{group}.json.gz").touch()
    return tmp_path


def test_the_choice_is_repeated_by_its_seed(many):
    chosen = verify.choose(many, 3, seed=7)
    assert chosen == verify.choose(many, 3, seed=7)
    assert len(set(chosen)) == 3
    assert len({tuple(verify.choose(many, 3, seed)) for seed in range(20)}) > 5
    assert len(set(verify.choose(many, 99, seed=7))) == 6


def test_one_group_of_each_experiment_can_be_chosen(many):
    for seed in range(3):
        chosen = verify.choose_each(many, seed)
        assert [path.parent.name for path in chosen] == ["CAUX-2", "SN-0", "WSN-1"]
        assert chosen == verify.choose_each(many, seed)
    assert {path.name for seed in range(20) for path in verify.choose_each(many, seed)} == {
        "trials-000-024.json.gz",
        "trials-025-049.json.gz",
    }


@pytest.mark.slow  # trains in processes
def test_the_command_prints_a_line_per_group_and_its_exit_code_is_the_result(record, tmp_path, capsys):
    small, held = SMALL.changed("epochs=1"), Store(tmp_path)
    tamper_fingerprints(record)
    held.write(record)
    held.write(train(small, range(3))[0])
    assert main(["verify", "--results", str(tmp_path), "--each", "--seed", "3"]) == 1
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first == f"training 2 stored groups of {tmp_path} again, seed 3"
    assert {line.partition(".json.gz: ")[0] for line in lines} == {
        f"MISMATCH: SAUX-{SMALL.key}/trials-000-024",
        f"ok: SAUX-{small.key}/trials-000-002",
    }
    assert last == "1 of 2 groups agree"


@pytest.mark.slow
def test_groups_that_all_agree_are_a_success(record, tmp_path, capsys):
    Store(tmp_path).write(record)
    assert main(["verify", "--results", str(tmp_path)]) == 0
    first, _, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"training 1 stored groups of .* again, seed \d+", first)
    assert last == "1 of 1 groups agree"


def test_an_empty_store_is_no_success(tmp_path, capsys):
    assert main(["verify", "--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path} holds no stored results\n"
