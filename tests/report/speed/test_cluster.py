"""What more cores would take is computed from what was measured, and which is which is said."""

import importlib.util
import json
import subprocess
import sys

import pytest

from lib import Store
from lib.machine import ROOT
from lib.store import GROUP
from report import study
from report.speed import cluster
from tests.lib.own import ORIGIN

UNITS = {"start_up_s": 5.0, "task_s": 0.01, "report_s": 0.001}


def measured(groups, at_a_time=2.0):
    """Made-up measurements: smaller groups take as long as they have trials, and a second more."""
    sizes = [{"trials": trials, "group_s": {"median": trials + 1.0}} for trials in cluster.SIZES]
    clock = sum(groups) / at_a_time
    return {
        **{name: {"median": value} for name, value in UNITS.items()},
        "sizes": sizes,
        "study": {"groups_s": groups, "by_the_clock_s": clock, "at_a_time": at_a_time},
    }


@pytest.mark.parametrize(
    ("seconds", "workers", "expected"),
    [([3, 1, 2], 1, 6), ([3, 1, 2], 2, 3), ([1, 1, 3], 2, 4), ([3, 1, 2], 3, 3), ([3, 1, 2], 1000, 3)],
)
def test_each_worker_takes_the_next_group_as_soon_as_it_is_free(seconds, workers, expected):
    assert cluster.makespan(seconds, workers) == expected


def test_one_and_two_cores_are_measured_and_the_rest_is_computed():
    rows = cluster.rows(measured([50.0] * 120))
    assert [(row.cores, row.trials, row.how) for row in rows] == [
        (1, GROUP, "measured"),
        (2, GROUP, "measured"),
        *((cores, GROUP, "computed") for cores in (8, 64, 1000)),
        *((1000, trials, "computed") for trials in cluster.SIZES[1:]),
    ]
    assert [row.total for row in rows[:2]] == [6000, 3000], "as it was, without parts"
    assert [row.training for row in rows[2:5]] == [15 * 50, 2 * 50, 50]
    assert all(row.total == row.start_up + row.training for row in rows[2:5])


def test_what_did_not_train_two_at_a_time_is_no_measurement_of_two_cores():
    hows = [row.how for row in cluster.rows(measured([50.0] * 120, at_a_time=8.0))]
    assert hows[:4] == ["measured", "computed", "measured", "computed"]


def test_smaller_groups_are_more_and_cost_more_work_and_the_scheduler_may_be_what_takes_the_time():
    row = cluster.computed(measured([52.0] * 120), 1000, trials=5)
    assert (row.groups, row.training, row.work) == (600, 12, 600 * 12)
    assert row.scheduler == pytest.approx(600 * 0.01 + 600 * study.EXPERIMENTS[0].epochs * 0.001)
    assert row.total == row.start_up + row.scheduler > row.start_up + row.training
    said = cluster.table(measured([52.0] * 120))
    assert said[0] == ("1", "25", "120", "6,240 s", "–", "–", "6,240 s", "100 %", "measured")
    assert said[4] == ("1,000", "25", "120", "52 s", "5.0 s", "13.2 s", "57 s", "11 %", "computed")


def test_a_study_says_how_long_it_took_by_the_clock(tmp_path, monkeypatch):
    class Stored(Store):
        def read(self, configuration, trials):
            begin, later = "2030-01-01T00:00:00+00:00", "2030-01-01T00:00:40+00:00"
            return {"provenance": {**ORIGIN, "started": later if trials[0] else begin, "seconds": 40.0 - trials[0]}}

    monkeypatch.setattr(cluster, "Store", Stored)
    monkeypatch.setattr(study, "EXPERIMENTS", study.EXPERIMENTS[:2])
    monkeypatch.setattr(study, "TRIALS", 2 * GROUP)
    told = cluster.studied(tmp_path)
    assert told["groups_s"] == [40, 15, 40, 15]
    assert (told["by_the_clock_s"], told["at_a_time"]) == (55, 2)
    assert (told["cpu"], told["days"]) == ("made up", "2030-01-01")


def test_a_study_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks SN: `make study` trains it"):
        cluster.studied(tmp_path)


def test_the_committed_measurements_are_of_this_study_and_say_where_and_how_often():
    committed = cluster.read()
    assert len(committed["study"]["groups_s"]) == len(study.EXPERIMENTS) * study.TRIALS // GROUP
    assert committed["about"]["cpu"] and committed["study"]["cpu"] and committed["rounds"] >= 3
    for name in UNITS:
        assert len(committed[name]["all"]) == committed["rounds"] and committed[name]["min"] > 0
    assert [size["trials"] for size in committed["sizes"]] == list(cluster.SIZES)
    assert {row.how for row in cluster.rows(committed)} == {"measured", "computed"}


def test_showing_what_was_measured_needs_neither_torch_nor_dask():
    code = "import sys\nfrom report.speed import cluster\ncluster.table(cluster.read())\n"
    code += "assert not {'torch', 'distributed'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow  # half a minute: schedulers and workers start
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="pip install -e '.[cluster]'")
def test_a_small_measurement_has_the_form_of_the_committed_one():
    small = cluster.measure(1, "dataset=digits train_pairs=100 test_pairs=50", tasks=20)
    committed = cluster.read()
    assert set(small) == set(committed)
    assert json.loads(json.dumps(small["study"])) == committed["study"]
    assert all(small[name]["min"] > 0 for name in UNITS)
    assert set(small["groups"]) == set(committed["groups"])
