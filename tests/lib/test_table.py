import copy
import json
import subprocess
import sys

import numpy as np
import pytest

from lib import Experiment, Store, load, run_analysis
from lib.experiment import SETTINGS
from lib.machine import ROOT
from lib.store import DamagedResultError
from lib.table import all_results, columns, experiment_of, of_record, once
from lib.training import train
from tests.lib.own import tiny

CAUX, SN = tiny("CAUX", momentum=0.5), tiny("SN", epochs=3)
HEADS = tiny("tests.lib.own:Heads")
HEAD_COLUMNS = ("accuracy", "train_loss", "test_loss")


@pytest.fixture(scope="module")
def records():
    stacks = [(CAUX, range(4)), (CAUX, range(25, 27)), (SN, range(2)), (HEADS, range(2))]
    return [train(*stack)[0] for stack in stacks]


@pytest.fixture
def held(tmp_path, records):
    held = Store(tmp_path)
    for record in records[:3]:
        held.write(record)
    return held


def rows(found, experiment):
    """The rows of one experiment."""
    mine = found["key"] == experiment.key
    return {name: values[mine] for name, values in found.items()}


def test_a_row_per_experiment_trial_and_epoch_holds_what_the_results_hold(held):
    found = columns(held)
    assert {len(values) for values in found.values()} == {6 * 2 + 2 * 3}
    heads = [f"auxiliary_{name}" for name in HEAD_COLUMNS]
    assert list(found) == ["experiment", "key", *SETTINGS, "trial", "epoch", *HEAD_COLUMNS, *heads]
    caux, sn = rows(found, CAUX), rows(found, SN)
    assert caux["trial"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 25, 25, 26, 26]
    assert caux["epoch"].tolist() == [1, 2] * 6
    assert sn["trial"].tolist() == [0, 0, 0, 1, 1, 1] and sn["epoch"].tolist() == [1, 2, 3] * 2
    for experiment, trials, mine in ((CAUX, 4, caux), (SN, 2, sn)):
        result, n = load(experiment, trials, held), trials * experiment.epochs
        assert mine["accuracy"][:n].tolist() == result.accuracy.ravel().tolist()
        for name in ("train_loss", "test_loss"):
            assert mine[name][:n].tolist() == result.values(name).ravel().tolist()
    assert caux["auxiliary_accuracy"][:8].tolist() == load(CAUX, 4, held).auxiliary_accuracy.ravel().tolist()
    assert (
        caux["auxiliary_test_loss"][:8].tolist() == load(CAUX, 4, held).values("auxiliary_test_loss").ravel().tolist()
    )
    assert all(np.isnan(sn[name]).all() and not np.isnan(caux[name]).any() for name in heads)


def test_every_row_says_its_experiment(held):
    found = columns(held)
    for experiment in (CAUX, SN):
        mine = rows(found, experiment)
        assert {Experiment.parse(said) for said in mine["experiment"]} == {experiment}
        assert {name: set(mine[name].tolist()) for name in SETTINGS} == {
            name: {getattr(experiment, name)} for name in SETTINGS
        }
    kinds = {name: found[name].dtype.kind for name in ("momentum", "sigmoid", "epochs", "hidden", "trial", "accuracy")}
    assert kinds == {"momentum": "f", "sigmoid": "b", "epochs": "i", "hidden": "O", "trial": "i", "accuracy": "f"}


def test_each_auxiliary_head_has_its_columns(held, records):
    held.write(records[3])
    found, record = columns(held), records[3]
    mine = rows(found, HEADS)
    for head in ("digits", "parity", "total"):
        expected = 100 * np.array(record[f"{head}_test_correct"]).ravel() / record[f"{head}_total"]
        assert mine[f"{head}_accuracy"].tolist() == expected.tolist()
        assert mine[f"{head}_train_loss"].tolist() == np.ravel(record[f"{head}_train_loss"]).tolist()
        assert np.isnan(rows(found, CAUX)[f"{head}_test_loss"]).all()
    assert record["digits_total"] == 40 and np.isnan(mine["auxiliary_accuracy"]).all()


def test_a_network_without_heads_makes_no_columns_of_them(held):
    assert not [name for name in columns(held, [SN]) if name.startswith("auxiliary_t") or name.endswith("_accuracy")]


def shorter(record, trials, loss):
    """A record of some of the trials, from the first on, with a loss that tells it."""
    cut = {
        name: values[:trials] if isinstance(values, list) and len(values) == len(record["trials"]) else values
        for name, values in copy.deepcopy(record).items()
    }
    cut["last_named"] = {head: named[:trials] for head, named in record["last_named"].items()}
    cut["train_loss"] = [[loss] * len(row) for row in cut["train_loss"]]
    return cut


def test_a_trial_that_two_files_hold_is_there_once_out_of_the_longest(held, records):
    before = columns(held)
    held.write(shorter(records[0], 3, 99.0))
    assert len(list(held.files())) == 4
    after = columns(held)
    assert all(np.array_equal(before[name], after[name], equal_nan=name not in object_names(before)) for name in before)


def object_names(found):
    return {name for name, values in found.items() if values.dtype == object}


def test_of_groups_that_overlap_in_part_every_trial_is_taken_once():
    records = [{"trials": list(range(first, first + n))} for first, n in ((0, 3), (2, 5), (6, 3), (3, 2), (2, 5))]
    assert once(records) == [(records[0], [0, 1]), (records[1], [0, 1, 2, 3, 4]), (records[2], [1, 2])]
    assert once([]) == []


def test_of_a_record_some_trials_are_taken(records):
    whole, part = of_record(records[0], range(4)), of_record(records[0], [1, 3])
    assert part["trial"].tolist() == [1, 1, 3, 3] and part["epoch"].tolist() == [1, 2, 1, 2]
    for name, values in part.items():
        assert values.tolist() == whole[name].reshape(4, 2)[[1, 3]].ravel().tolist()


def test_what_the_store_only_reads_comes_first(tmp_path, records):
    published, own = Store(tmp_path / "published"), Store(tmp_path / "own", also=[tmp_path / "published"])
    published.write(records[2])
    Store(own.root).write(shorter(records[2], 2, 99.0))
    found = columns(own)
    assert found["train_loss"].tolist() == np.ravel(records[2]["train_loss"]).tolist()


def test_some_experiments_are_asked_for_in_their_order_and_once(held):
    found = columns(held, [SN, CAUX, SN])
    assert list(dict.fromkeys(found["key"])) == [SN.key, CAUX.key]
    assert len(found["key"]) == 18
    assert set(columns(held, (SN,))["key"]) == {SN.key}


def test_what_is_asked_for_and_cannot_be_had_is_said(held):
    other = SN.changed("momentum=0.25")
    with pytest.raises(FileNotFoundError, match=r"^no stored result of SN .*momentum=0.25.* \([0-9a-f]{16}\)$"):
        columns(held, [CAUX, other])
    with pytest.raises(TypeError, match=r"^experiments has 'SN'; allowed: experiments, as Experiment\.parse makes"):
        columns(held, ["SN"])


def test_a_damaged_file_is_named_unless_it_is_not_asked_for(held):
    damaged = next(file for file in held.files() if file.parent.name.startswith("CAUX"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(DamagedResultError, match=damaged.name):
        columns(held)
    assert len(columns(held, [SN])["key"]) == 6


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"protocol": 0}, "protocol 0 there and 1 here"), ({"architecture": "no_such_module:Mine"}, "no_such_module")],
)
def test_an_experiment_that_cannot_be_said_is_left_out_and_named(held, records, change, reason, capsys):
    before = columns(held)
    assert capsys.readouterr().err == ""
    file = held.write({**records[0], "configuration": {**CAUX.configuration, **change}})
    assert columns(held)["key"].tolist() == before["key"].tolist()
    err = capsys.readouterr().err
    assert err.startswith(f"not in the table: {file.parent.name} (") and reason in err and err.count("\n") == 1


def test_a_stored_configuration_is_the_experiment_again():
    for said in ("WSN", "CAUX momentum=0.9 auxiliary_weight=1.0", "SN dataset=digits one_hot_encoding=False"):
        experiment = Experiment.parse(said)
        assert experiment_of(json.loads(json.dumps(experiment.configuration))) == experiment


def test_an_empty_store_has_the_columns_and_no_row(tmp_path):
    found = columns(Store(tmp_path))
    assert list(found) == ["experiment", "key", *SETTINGS, "trial", "epoch", *HEAD_COLUMNS]
    assert all(len(values) == 0 for values in found.values())


def test_with_pandas_it_is_a_frame(held):
    pandas = pytest.importorskip("pandas")
    frame = all_results(held)
    assert isinstance(frame, pandas.DataFrame) and list(frame) == list(columns(held))
    last = frame[frame.epoch == frame.epochs].groupby("architecture").accuracy.mean()
    assert last["SN"] == pytest.approx(load(SN, 2, held).mean[-1])
    assert all_results(Store(held.root / "nowhere")).empty


CODE = """
import sys
{before}
from lib import Experiment
from lib.table import all_results
assert "pandas" not in sys.modules or sys.modules["pandas"] is None, "it is imported before it is needed"
found = all_results(experiments=[Experiment.parse("CAUX momentum=0.9")])
print(type(found).__name__, len(found["accuracy"]), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("before", "kind"), [("", "DataFrame"), ("sys.modules['pandas'] = None", "dict")], ids=["pandas", "without"]
)
def test_it_is_made_without_torch_and_where_there_is_no_pandas_of_arrays(before, kind):
    if kind == "DataFrame":
        pytest.importorskip("pandas")
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(before=before)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{kind} {150 * 100} False\n"  # out of the published study


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory it took")
def test_the_whole_study_is_one_table_in_little_memory():
    code = "from pathlib import Path\nfrom lib import Store\nfrom lib.analysis import PUBLISHED\n"
    code += "from lib.table import columns\nfound = columns(Store(PUBLISHED))\n"
    code += "print(len(found['key']), Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, done.stdout.split())
    assert rows == 20 * 150 * 100
    assert kilobytes < 300_000


def test_measures_stand_beside_the_epochs_where_they_are_stored(tmp_path):
    held, measures = Store(tmp_path / "results"), ["weight_norms", "final_score", "digit_names"]
    with_them, without = tiny("CAUX"), tiny("CAUX", momentum=0.5)
    result = run_analysis(with_them, 2, store=held, progress=False, measures=measures)
    run_analysis(without, 2, store=held, progress=False)
    found = columns(held, [with_them, without], measures)
    rows = 2 * with_them.epochs
    np.testing.assert_array_equal(found["weight_norm_extract"][:rows], result.measures["weight_norm_extract"].ravel())
    last = found["epoch"][:rows] == with_them.epochs
    np.testing.assert_array_equal(found["final_score"][:rows][last], result.measures["final_score"])
    assert np.isnan(found["final_score"][:rows][~last]).all() and np.isnan(found["final_score"][rows:]).all()
    assert not [name for name in found if name.startswith("digit_names")], "a column has one number per row"
    assert "final_score" not in columns(held, [with_them])


def test_a_network_of_one_s_own_whose_file_has_changed_is_named(own_module):
    name = own_module(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(392, 2)\n"
    )
    configuration = Experiment(architecture=f"{name}:Net").configuration
    with pytest.raises(ValueError, match=f"^the file of {name}:Net has changed since it was trained$"):
        experiment_of({**configuration, "source": "0" * 64})
