"""The census of public solutions: every cell is there, with the place that shows it."""

import re

import pytest

from report import census


def test_every_network_has_its_places():
    networks = census.read()
    assert len(networks) == 18
    for each in networks:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", each.repository)
        assert re.fullmatch(r"[0-9a-f]{40}", each.commit), each.repository
        assert each.reads_evidence and each.result_evidence, each.repository


def test_rows_are_grouped_by_what_is_read_and_sorted():
    networks = census.read()
    rows = census.rows(networks)
    assert [row[0] for row in rows] == ["class outputs"] * 14 + ["features"] * 4
    values = [float(row[3].split(" ")[0]) for row in rows]
    assert values[:14] == sorted(values[:14]) and values[14:] == sorted(values[14:])
    assert f"{values[0]:.1f} to {values[13]:.1f} %" in census.summary(networks)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",features,", ",feelings,", "reads 'feelings'; allowed: class outputs or features"),
        (",93.94,", ",939.4,", "reaches 939.4; allowed: 0 to 100 percent"),
        ("repository,", "repo,", "has the columns"),
    ],
)
def test_a_wrong_cell_is_refused(old, new, message, tmp_path):
    file = tmp_path / "census.csv"
    text = census.FILE.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        census.read(file)
