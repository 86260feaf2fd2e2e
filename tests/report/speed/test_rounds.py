"""Ratios are taken within a round: both sides were slowed by the same."""

import pytest

from report.speed.contenders import Contender
from report.speed.plan import QUICK
from report.speed.rounds import rows


def test_ratios_are_taken_round_by_round():
    wsn, other = QUICK.experiments[:2]
    times = {
        Contender(wsn, "textbook"): [(0.2, 0.1), (0.4, 0.2)],  # the second round at half the speed
        Contender(wsn, "fused", 3): [(0.02, 0.01), (0.04, 0.02)],
        Contender(other, "textbook"): [(0.2, 0.2), (0.4, 0.4)],
        Contender(other, "fused", 3): [(0.04, 0.04), (0.08, 0.08)],
    }
    stored = rows(times, rate=100.0)
    assert [row["speedup"]["all"] for row in stored] == [[1, 1], [10, 10], [1, 1], [5, 5]]
    assert [row["relative_to_wsn"]["median"] for row in stored] == [1, 1, 1, 0.5]
    operations = 2 * (593_088 * wsn.train_pairs + 211_520 * wsn.test_pairs)
    assert stored[1]["floor_train_ms"] + stored[1]["floor_test_ms"] == pytest.approx(operations / 1e8, rel=1e-2)
    assert stored[1]["times_floor"]["all"] == pytest.approx(
        [30 / (operations / 1e8), 60 / (operations / 1e8)], rel=1e-3
    )
