"""The sentences that correct earlier editions follow the results that they are computed from."""

import dataclasses

import numpy as np
import pytest

from lib import fused
from report import corrections, implementations, publish, study
from report.claims import ledger
from report.implementations import MARGIN, judged
from report.speed import measured
from tests.report.test_claims import four

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def results():
    try:
        return publish.stored_study()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_each_correction_quotes_what_was_said_and_says_what_is(results):
    first = measured.read("report/published/benchmark.json")["long_check"]
    rows = corrections.corrections(results, study.readings(results), ["some"], first, implementations.check())
    assert len(rows) == 8
    said = dict(rows)
    assert "1,200 of them are fully convolutional" in said["The results are 3,000 trainings."]
    assert "vacuous" in said["SAUX and CAUX start alike: reproduced under plain SGD."]


def test_the_share_of_the_finite_test_set_follows_the_spread():
    flat = {"sn": np.full(100, 80.0), "wsn": np.full(100, 80.0), "saux": np.full(100, 80.0), "caux": np.full(100, 80.0)}
    narrow, wide = ({"plain SGD": four(**flat, noise=noise)} for noise in (1.0, 8.0))
    shares = [float(corrections.finite_test_set(each)[1].split("makes ")[1].split(" to")[0]) for each in (narrow, wide)]
    assert shares[0] > 10 * shares[1]


def test_a_changed_number_changes_the_sentence(results):
    readings = study.readings(results)
    before = corrections.labels(results, readings)
    changed = []
    for result in results:
        if not result.experiment.one_hot_encoding:
            records = [{**r, "test_correct": (np.array(r["test_correct"]) - 50).tolist()} for r in result.records]
            result = dataclasses.replace(result, records=tuple(records))
        changed.append(result)
    assert corrections.labels(changed, readings) != before
    assert corrections.labels(changed, readings)[0].startswith("Without one-hot labels accuracies rise by −")


def test_a_slope_is_called_nearly_the_end_only_where_it_is(results):
    found = [c.note for c in ledger(study.readings(results)) if c.claim == "WSN steeper than SN"]
    assert "nearly the same as the difference" in found[0] and "partly the difference" in found[1]


@pytest.mark.parametrize(
    ("shift", "sd", "outcome"),
    [(0.0, 0.5, "confirmed"), (1.0, 0.5, "refuted"), (-1.0, 0.5, "refuted"), (0.2, 0.9, "not settled")],
)
def test_the_implementations_are_judged_by_their_rule(shift, sd, outcome):
    a = RNG.normal(80, 1, 150)
    d = RNG.normal(size=150)
    assert judged(a, a + shift + sd * (d - d.mean()) / d.std()) == outcome
    assert MARGIN == 0.25


def test_where_nothing_lacks_nothing_is_trained_and_no_compiler_asked_for(results, monkeypatch):
    monkeypatch.setattr(fused, "available", lambda: (False, "there is no compiler"))
    monkeypatch.delenv("LIB_IMPLEMENTATION", raising=False)
    implementations.train()
