"""A stored group trained again: equal bits where that can be asked for, else close, and never with other content."""

import copy
import re
import sys

import numpy as np
import pytest

from lib import Experiment, Store, store, training
from report import calibration, verify
from report.__main__ import main
from report.calibration import LIES, another_fingerprint, improve, improve_all, scale, shuffle_bits

CLEAN = {"commit": "0" * 40, "dirty": False}
SMALL = Experiment.parse("SAUX dataset=digits train_pairs=100 epochs=6 learning_rate=0.3")
FUSED, TORCH = calibration.STORED, calibration.FRESH


def train(experiment, trials, **options):
    """Train as in a clean checkout: these tests hold in one with changes, and without git."""
    records = training.train(experiment, trials, **options)
    return [{**record, "provenance": {**record["provenance"], **CLEAN}} for record in records]


@pytest.fixture(scope="module")
def trained():
    """One group of 25 trials, as `make study` would store it, but for the commit."""
    [record] = train(SMALL, range(25))
    return record


@pytest.fixture(scope="module")
def retrained():
    """The same, trained honestly by other means: rounding differs in every step."""
    [record] = train(SMALL, range(25), implementation="torch")
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


def tamper_accuracy(record):
    improve(record, 0.7, range(25))  # two pairs


TAMPERED = (tamper_loss, tamper_auxiliary_loss, another_fingerprint, tamper_accuracy)


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
    assert not here.agrees and "test_loss differ; statistically: all that was compared agrees" in here.words
    assert there.agrees and "losses of single trials (within 1 times)" in there.words


@pytest.mark.parametrize(
    ("field", "value"), [("commit", "1" * 40), ("torch", "0.4"), ("stack", 150), ("dirty", True), ("threads", 2)]
)
def test_equal_bits_are_asked_for_only_where_all_that_decides_them_is_equal(field, value, record, trained):
    record["provenance"][field] = value
    assert verify.compare(record, trained).words.startswith("statistical")
    record["provenance"] = trained["provenance"] | {"started": "2000-01-01T00:00:00+00:00", "seconds": 1.0}
    assert verify.compare(record, trained).words.startswith("bitwise")


def test_honest_trainings_by_other_means_agree(trained, retrained):
    assert store.differing(trained, retrained), "they are not the same"
    assert verify.statistically(trained, retrained)[0]


def shift_digits(record):
    """Name the digits of the next pair."""
    record["last_named"]["auxiliary"] = [text[2:] + text[:2] for text in record["last_named"]["auxiliary"]]


def turn_tables(record):
    """Count what is right by second and first digit, where there are as many of both."""
    for table in record["last_table"]:
        for i in range(10):
            for j in range(i):
                (right, total), (other, of_other) = table[i][j], table[j][i]
                if right <= of_other and other <= total:
                    table[i][j][0], table[j][i][0] = other, right


FURTHER_LIES = {
    "the first trial's training loss those of the second": lambda record: record["train_loss"].__setitem__(
        0, record["train_loss"][1]
    ),
    "auxiliary training loss x 0.7": scale("auxiliary_train_loss", 0.7, first=1),
    "test loss of two trials x 0.01": scale("test_loss", 0.01, first=2, trials=slice(4, 6)),
    "digits of the next pair": shift_digits,
    "tables by second and first digit": turn_tables,
    "3 points less in the middle": lambda record: [
        counts.__setitem__(3, max(counts[3] - 9, 0)) for counts in record["test_correct"]
    ],
}


@pytest.mark.parametrize("name", [*LIES, *FURTHER_LIES])
def test_a_lie_is_found_on_another_machine_too(name, record, retrained, tmp_path):
    ({**LIES, **FURTHER_LIES}[name])(record)
    record["provenance"]["cpu"] = "another one"
    Store(tmp_path).write(record)  # which has nothing against it
    verdict = verify.compare(record, retrained)
    assert not verdict.agrees
    assert verdict.words.startswith("statistical (cpu another one there") and "DIFFER" in verdict.words


def by_torch():
    """Return the names of the groups at full size that both implementations trained honestly."""
    return [str(path.relative_to(TORCH)) for path in Store(TORCH).files()]


NO_CALIBRATION = pytest.mark.skipif(not TORCH.is_dir(), reason="report/results_by_torch is not in this checkout")


@NO_CALIBRATION
@pytest.mark.parametrize("name", by_torch())
def test_honest_trainings_at_full_size_agree(name):
    fused, torch = store.read(FUSED / name), store.read(TORCH / name)
    assert store.differing(fused, torch), "they are not the same"
    for stored, fresh in ((fused, torch), (torch, fused)):
        agrees, words = verify.statistically(stored, fresh)
        assert agrees, words


@NO_CALIBRATION
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_at_full_size_is_found(lie):
    for name in by_torch():
        stored, fresh = store.read(FUSED / name), store.read(TORCH / name)
        if "auxiliary" in lie and stored["auxiliary_total"] is None:
            continue
        LIES[lie](stored)
        store.check(stored, FUSED / name)  # it contradicts nothing in the file
        assert not verify.statistically(stored, fresh)[0], name


def test_the_calibration_says_what_is_far_apart_and_what_is_found(trained, retrained, tmp_path, capsys):
    for folder, each in (("there", trained), ("here", retrained), ("tampered", retrained)):
        each = copy.deepcopy(each)
        if folder == "tampered":
            tamper_accuracy(each)
            improve_all(20)(each)
        Store(tmp_path / folder).write(each)
    calibration.main(tmp_path / "there", tmp_path / "here")
    said = capsys.readouterr().out
    assert "false alarms: 0 of 1 groups" in said
    assert all(f"{lie}: found in 1 of 1 groups" in said for lie in LIES)
    calibration.main(tmp_path / "there", tmp_path / "tampered")
    assert "FALSE ALARM" in (said := capsys.readouterr().out) and "false alarms: 1 of 1 groups" in said


def test_chance_seldom_makes_mean_curves_differ_and_a_difference_in_each_trial_does():
    rng = np.random.default_rng(5)
    noise = {"test_correct": (rng.normal(size=(25, 6)), 0.1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "spreads", lambda *_: noise)
        assert calibration.flipped({"trials": range(25)}, {}, 500) == 0
        patch.setattr(verify, "CHANCE", 0.05)
        assert 0.1 < calibration.flipped({"trials": range(25)}, {}, 500) < 0.35  # six means, nearly independent


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_few_trials_say_little_about_a_mean_and_much_about_each_answer(trials):
    experiment = SMALL.changed("epochs=3")
    [old], [new] = (train(experiment, range(trials), implementation=each) for each in ("", "torch"))
    assert verify.statistically(old, new)[0]
    shuffle_bits(old)
    agrees, words = verify.statistically(old, new)
    assert not agrees and words.startswith("single answers DIFFER: last_bits")


def test_a_record_that_was_carried_over_is_compared_in_what_it_has(record, trained, tmp_path):
    del record["last_named"]  # schema 1 had none
    path = Store(tmp_path).write(record)
    assert verify.compare(store.read(path), trained).agrees
    record["last_bits"][0] = record["last_bits"][1]
    assert not verify.compare(record, trained).agrees


def test_a_further_head_counts_too(record, trained):
    here, there = (
        {**each, **{f"third_{name}": copy.deepcopy(each[f"auxiliary_{name}"]) for name in (*store.HEAD_LISTS, "total")}}
        for each in (trained, record)
    )
    assert verify.statistically(here, there)[0]
    there["third_train_loss"][7][0] *= 1.002
    agrees, words = verify.statistically(here, there)
    assert not agrees and "first-epoch losses DIFFER: third_train_loss, trial 7 by 0.002" in words


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


@pytest.mark.parametrize(
    "wrong",
    [
        lambda record: record.__setitem__("provenance", None),
        lambda record: record.__setitem__("provenance", [1]),
        lambda record: record["provenance"].__setitem__("implementation", ["torch"]),
        lambda record: record["test_loss"][2].__setitem__(1, 10**400),
        lambda record: record.__setitem__("auxiliary_total", 10**400),
    ],
)
def test_what_no_training_can_have_written_is_a_damaged_file(wrong, record, tmp_path):
    wrong(record)
    path = store.group_path(tmp_path, record["configuration"], record["trials"])
    path.parent.mkdir()
    path.write_bytes(store.packed(record))
    verdict = verify.verify(path, train)
    assert not verdict.agrees and f"{path} cannot be trusted: " in verdict.words


@pytest.mark.parametrize("value", [10**400, "0.1", None, [0.1]])
def test_a_setting_that_is_none_is_not_comparable(value, record, tmp_path):
    record["configuration"]["learning_rate"] = value
    verdict = verify.verify(Store(tmp_path).write(record), train)
    assert not verdict.agrees and "not comparable: learning_rate is" in verdict.words


@pytest.mark.parametrize("place", ["{}:Mine", "{}.inner:Mine", "{}", "libx{}:Mine"])
def test_no_module_is_imported_that_a_file_names(place, record, tmp_path, monkeypatch):
    module = f"named_{tmp_path.name.replace('[', '_').replace(']', '_')}"
    name, ran = place.format(module), tmp_path / "ran"
    code = f"from pathlib import Path\nPath({str(ran)!r}).touch()\n"
    for file in (tmp_path / module / "__init__.py", tmp_path / module / "inner.py", tmp_path / f"libx{module}.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    record["configuration"] |= {"architecture": name, "source": "0" * 64}
    path = Store(tmp_path / "store").write(record)
    verdict = verify.verify(path, train)
    assert not verdict.agrees
    assert f"its architecture is in the module {name.partition(':')[0]!r}, not part of this project" in verdict.words
    assert not ran.exists() and module not in sys.modules
    if ":" in name:
        assert "has no attribute 'Mine'" in verify.verify(path, train, trust=True).words
        assert ran.exists(), "it is, where the user says so"


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
    another_fingerprint(record)
    held.write(record)
    held.write(train(small, range(3))[0])
    assert main(["verify", "--results", str(tmp_path), "--each", "--seed", "3", "--output", str(tmp_path / "out")]) == 1
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
    assert main(["verify", "--results", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    assert "1 bit by bit" in (tmp_path / "out" / "certificate.md").read_text()
    first, _, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"training 1 stored groups of .* again, seed \d+", first)
    assert last == "1 of 1 groups agree"


def test_an_empty_store_is_no_success(tmp_path, capsys):
    assert main(["verify", "--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path} holds no stored results\n"


def test_a_cpus_group_is_verified_on_a_gpu_statistically(tmp_path):
    """There it is trained on that device, and no equal bits are asked for."""
    where = []

    def on_a_gpu(experiment, trials, **options):
        where.append(options.pop("device"))
        [record] = training.train(experiment, trials, **options)
        record["provenance"]["device"] = "some GPU"
        return [record]

    [record] = training.train(SMALL, range(3))
    held = Store(tmp_path)
    held.write(record)
    verdict = verify.verify(held.find(SMALL.configuration, range(3)), train=on_a_gpu, device="cuda")
    assert where == ["cuda"] and verdict.agrees
    assert "device cpu there and some GPU here" in verdict.words
