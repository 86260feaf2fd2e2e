"""Numbers of a small training, pinned: no change to lib may move them unnoticed, or stored results would lie."""

from dataclasses import replace

import numpy as np
import pytest

from lib import training
from lib.experiment import Experiment
from lib.pairs import draw_trial

CHANGED = "lib's numbers changed: raise PROTOCOL in lib/experiment.py and pin the new ones"

FINGERPRINTS = ["20fb7750d75fe39c", "76778fadf8d3137d", "b094cdb23fec1128"]
LOSSES = {
    "SAUX": {
        "train_loss": [[0.693807, 0.691898], [0.694944, 0.68932], [0.69344, 0.691682]],
        "test_loss": [[0.698103, 0.697729], [0.692769, 0.68915], [0.690855, 0.689739]],
        "auxiliary_train_loss": [[0.700227, 0.682706], [0.690937, 0.672193], [0.697604, 0.679438]],
        "auxiliary_test_loss": [[0.685167, 0.680357], [0.686313, 0.679545], [0.68918, 0.676644]],
    },
    "CAUX": {
        "train_loss": [[0.693697, 0.691638], [0.694979, 0.689489], [0.693493, 0.692044]],
        "test_loss": [[0.69788, 0.697553], [0.692622, 0.68895], [0.69086, 0.689923]],
        "auxiliary_train_loss": [[2.29933, 2.25407], [2.28892, 2.24268], [2.29001, 2.25737]],
        "auxiliary_test_loss": [[2.29889, 2.27364], [2.28877, 2.25704], [2.29436, 2.26673]],
    },
}
COUNTS = {
    "SAUX": {
        "test_correct": [[21, 21], [33, 34], [34, 34]],
        "auxiliary_test_correct": [[40, 41], [34, 34], [37, 47]],
    },
    "CAUX": {
        "test_correct": [[21, 21], [34, 34], [34, 34]],
        "auxiliary_test_correct": [[9, 10], [32, 50], [24, 42]],
    },
}


def experiment(architecture):
    return Experiment(
        architecture=architecture,
        dataset="digits",
        train_pairs=60,
        test_pairs=60,
        epochs=2,
        batch_size=10,
        learning_rate=0.3,
    )


@pytest.fixture(scope="module", params=["SAUX", "CAUX"])
def trained(request):
    """The architecture's name and the record of three trials."""
    (record,) = training.train(experiment(request.param), range(3), implementation="torch")
    return request.param, record


def test_the_pairs_have_not_changed(trained):
    assert trained[1]["fingerprints"] == FINGERPRINTS, CHANGED


def test_the_losses_have_not_changed(trained):
    architecture, record = trained
    for name, expected in LOSSES[architecture].items():
        np.testing.assert_allclose(record[name], expected, rtol=1e-4, err_msg=f"{name}: {CHANGED}")


def test_the_counts_have_not_changed(trained):
    architecture, record = trained
    for name, expected in COUNTS[architecture].items():
        difference = np.abs(np.array(record[name]) - np.array(expected))
        assert difference.max() <= 1, f"{name}: {CHANGED}"  # 1: rounding may tip a tie


def test_the_table_counts_the_test_pairs_by_first_and_second_digit(trained):
    e, record = experiment(trained[0]), trained[1]
    for trial, table in enumerate(record["last_table"]):
        _, test = draw_trial(e.dataset, e.train_pairs, e.test_pairs, e.seed, trial)
        expected = np.zeros((10, 10), dtype=int)
        for first, second in test.classes.tolist():
            expected[first, second] += 1
        np.testing.assert_array_equal(np.array(table)[:, :, 1], expected)
        assert np.array(table)[:, :, 0].sum() == record["test_correct"][trial][-1]


@pytest.mark.parametrize(
    "change",
    [{"auxiliary_weight": 0.7}, {"batch_size": 20}, {"optimizer": "adam"}, {"learning_rate": 0.02}, {"momentum": 0.5}],
    ids=str,
)
def test_every_hyperparameter_reaches_the_training(change):
    base = Experiment(architecture="SAUX", dataset="digits", train_pairs=100, test_pairs=20, epochs=1)
    [usual], [changed] = (training.train(e, range(1)) for e in (base, replace(base, **change)))
    assert changed["test_loss"] != usual["test_loss"]
