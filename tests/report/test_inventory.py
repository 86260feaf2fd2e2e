import json
import subprocess
import sys

import pytest

from lib import Experiment, Store, load, store
from lib.machine import ROOT
from lib.training import train
from report.inventory import Stored, experiment_of, inventory, outlook, stored_results

SMALL = Experiment.parse("CAUX dataset=digits epochs=2 train_pairs=50 test_pairs=20 momentum=0.9")
OTHER = SMALL.changed("SN epochs=3")


@pytest.fixture(scope="module")
def records():
    return [train(SMALL, range(3))[0], train(SMALL, range(25, 27))[0], train(OTHER, range(2))[0]]


@pytest.fixture
def held(tmp_path, records):
    held = Store(tmp_path)
    for record in records:
        held.write(record)
    return held


def test_a_store_is_listed_as_experiments_are_said(held):
    listed = inventory(held)
    assert listed == [Stored(str(SMALL), 5, SMALL.key), Stored(str(OTHER), 2, OTHER.key)]
    assert [Experiment.parse(each.words).key for each in listed] == [each.key for each in listed]
    assert inventory(Store(held.root / "elsewhere")) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": 0}, "protocol 0 there and 1 here"),
        ({"dropout": 0.5}, "dropout 0.5 there and None here"),
        ({"architecture": "no_such_module:Mine"}, "no_such_module"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
    ],
)
def test_an_experiment_that_this_version_cannot_say_is_listed_with_the_reason(held, records, change, reason):
    configuration = {**SMALL.configuration, **change}
    held.write({**records[0], "configuration": configuration})
    with pytest.raises((ValueError, TypeError), match=reason):
        experiment_of(configuration)
    [other] = [each for each in inventory(held) if reason in each.words]
    assert other.trials == 3 and other.key == store.key(configuration)


def test_a_stored_configuration_is_the_experiment_again():
    for said in ("WSN", "CAUX momentum=0.9 auxiliary_weight=1.0", "SN dataset=digits one_hot_encoding=False"):
        experiment = Experiment.parse(said)
        assert experiment_of(json.loads(json.dumps(experiment.configuration))) == experiment


def test_what_is_stored_is_loaded_and_what_is_required_and_missing_is_named(held):
    [found] = stored_results(held, [OTHER, SMALL], 3, required=[SMALL])
    assert found.experiment == SMALL
    assert found.accuracy.tolist() == load(SMALL, 3, held).accuracy.tolist()
    with pytest.raises(FileNotFoundError, match=r"no stored result of CAUX .* trials 0 to 24"):
        stored_results(held, [SMALL, OTHER], 30, required=[SMALL])


def test_the_outlook_counts_what_is_missing_and_takes_the_stored_seconds(held, records):
    text = outlook(held, [SMALL, OTHER], trials=30, workers=2)
    # SMALL lacks trials 0-24 and 25-29, OTHER the same
    assert text.startswith("to train: 4 of 4 groups, 150 trial-epochs, in a time that no stored group tells")
    seconds = records[2]["provenance"]["seconds"] / 2 / 3
    text = outlook(held, [OTHER, SMALL.changed("epochs=90000")], trials=2, workers=4)
    assert text.startswith("to train: 1 of 2 groups, 180,000 trial-epochs, about ")
    assert f"about {180_000 * seconds / 3600 / 4:.1f} hours with 4 at a time" in text
    assert f"(stored groups took {1000 * seconds:.1f} ms of a core per trial-epoch)" in text
    assert outlook(held, [OTHER], trials=2, workers=2) == "nothing to train: all 1 groups are stored"


def test_a_store_is_listed_without_torch():
    code = "import sys, report.inventory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
