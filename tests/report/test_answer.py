"""The answer's sentences follow the intervals, and a finding is said only where the results carry it."""

import base64
import re

import numpy as np
import pytest

from report import answer, claims, statements, study
from report.pictures import glyphs
from report.press import display
from report.statements import BY_MOMENTUM, NAMES, NAMES_ONE, SCORE
from tests.report.test_claims import AS_CLAIMED, NO_DIFFERENCE, OPPOSITE, curve, four

PLAIN, MOMENTUM = "plain SGD", "SGD with momentum 0.9"


def readings(plain, momentum):
    """Two readings whose trials reach 65 %, so that take-off can be told."""
    return {PLAIN: four(**plain), MOMENTUM: four(**momentum)}


def read(known=96.0, used=97.0):
    """Read scores of 80 % but for the names of CAUX, and for the network that reads nothing but names."""
    special = {(BY_MOMENTUM["CAUX"], NAMES): known, (NAMES_ONE, SCORE): used}
    rng = np.random.default_rng(0)
    return lambda experiment, value: special.get((experiment, value), 80.0) + rng.normal(0, 0.5, 50)


def test_what_an_interval_decides_chooses_the_word():
    both = readings({**AS_CLAIMED, "caux": curve(at_80=70, last=71)}, {**AS_CLAIMED, "caux": curve(last=86)})
    assert "under plain SGD it brings +" in answer.sharing(both)
    naming = answer.naming(both)
    beside, alone = naming.split(". Against WSN, which has neither, the differences are ")
    assert "under plain SGD it brings less, −" in beside and "under momentum 0.9 it brings more, +" in beside
    assert beside.endswith(": behind where a hundred plain epochs stop, ahead at the end")
    assert re.fullmatch(r"−.* and \+.*\.", alone)
    other = answer.naming(readings(AS_CLAIMED, AS_CLAIMED))
    assert "it brings less, −" in other and "ahead at the end" not in other


def test_an_interval_that_holds_nought_settles_no_sign():
    said = answer.worth(answer.steps(readings(NO_DIFFERENCE, OPPOSITE))[0])
    assert said.startswith("under plain SGD its sign stays open: ") and "it costs −" in said


def test_where_no_training_takes_off_nothing_is_said_of_starts():
    both = readings(AS_CLAIMED, AS_CLAIMED)
    assert re.search(
        r"takes off \d+ and \d+ epochs earlier in the median, first in \d+ and", answer.second_comparison(both)
    )
    low = dict.fromkeys(("sn", "wsn", "saux", "caux"), curve(at_80=55, last=56))
    said = answer.second_comparison(readings(low, low))
    assert "epochs" not in said and said.endswith(").")


def test_a_changed_result_changes_its_sentence():
    before, after = (readings(AS_CLAIMED, AS_CLAIMED) for _ in range(2))
    correct = after[PLAIN][1].records[0]["test_correct"]
    correct[0][-1] -= 50
    assert answer.sharing(before) != answer.sharing(after)
    beside, alone = zip(*(answer.naming(each).split(". Against WSN") for each in (before, after)), strict=True)
    assert beside[0] == beside[1] and alone[0] != alone[1]  # it is of SAUX and CAUX, and of WSN and CAUX


def test_the_finding_is_said_only_where_names_are_known_and_pay():
    assert answer.holds(read())
    assert "would answer 96" in answer.names(read()) and answer.FINDING in answer.names(read())
    for changed in (read(known=80.0), read(used=80.0), read(known=70.0)):
        assert not answer.holds(changed)
        with pytest.raises(ValueError, match="the results do not say any more: Knowing the names"):
            answer.names(changed)
        with pytest.raises(ValueError, match="the results do not say any more: A heading"):
            display.guard("A heading", answer.holds(changed))
    display.guard("A heading", holds=True)


def test_the_study_alone_says_three_sentences_and_the_statements_the_first_of_four():
    both = readings(AS_CLAIMED, AS_CLAIMED)
    alone, whole = answer.sentences(both), answer.sentences(both, read())
    assert len(alone) == 3 and whole[1:] == alone and whole[0].startswith("**Knowing the names is not using them")


def test_the_short_table_has_the_ledger_s_verdicts():
    both = readings(AS_CLAIMED, OPPOSITE)
    ledger = claims.ledger(both)
    rows = answer.claim_rows(ledger)
    assert [row[0] for row in rows] == [d.claim for d in claims.DEFINITIONS]
    verdicts = {(c.claim, c.reading): c.verdict for c in ledger}
    figures = {d.claim: d.figure for d in claims.DEFINITIONS}
    for name, *cells in rows:
        said = [re.fullmatch(r"(.*) \(\[figure\]\(#fig-(.*)\)\)", cell).groups() for cell in cells]
        assert said == [
            (verdicts[name, reading], figures[name] + ending)
            for reading, ending in zip(both, ("", "-momentum"), strict=True)
        ]
    assert rows[3][1].endswith("(#fig-6b))")
    labels = {comparison.label for comparison in study.COMPARISONS}
    assert {cell.rpartition("#fig-")[2].rstrip(")") for row in rows for cell in row[1:]} <= labels


def test_the_scores_of_further_readings_are_paired_in_the_same_steps():
    scores = {name: np.array([80.0, 81.0, 82.0]) + i for i, name in enumerate(statements.NETWORKS)}

    class Scored:
        def __init__(self, name):
            self.name = name

        def values(self, name):
            assert name == SCORE
            return scores[self.name]

    found = answer.at_the_end({"Adam": [Scored(name) for name in statements.NETWORKS]})
    assert [each.mean for each in found["Adam"]] == [1, 1, 1]


def test_a_row_has_each_reading_s_interval_as_a_picture_in_words_and_in_a_verdict():
    ledger = claims.ledger(readings(AS_CLAIMED, OPPOSITE))
    rows = answer.interval_rows(ledger)
    assert [row[0] for row in rows] == list(dict.fromkeys(claim.claim for claim in ledger)) and len(rows) == 8
    for name, *cells in rows:
        for cell, claim in zip(cells, (c for c in ledger if c.claim == name), strict=True):
            alt, picture, verdict = re.fullmatch(
                r"!\[(.*)\]\(data:image/svg\+xml;base64,(.*)\) (.*)", cell.data
            ).groups()
            number = re.match(r"[+−][\d.]+", alt)[0]
            assert verdict == f"{number},\u00a0{claim.verdict}"
            assert alt.startswith(f"{claim.estimate:+.2f}"[:4].replace("-", "−"))
            svg = base64.b64decode(picture).decode()
            shade = float(re.search(r'<rect x="([\d.]+)"', svg)[1])
            dot, line = (float(re.search(each, svg)[1]) for each in (r'cx="([\d.]+)"', r'd="M([\d.]+) 0V'))
            assert (dot > line) == (claim.estimate > 0) or abs(claim.estimate) < 0.05
            assert (shade < line) == (answer.CLAIMED[{d.claim: d.claimed for d in claims.DEFINITIONS}[name]][0] < 0)


def test_a_table_s_text_has_a_picture_in_words():
    assert display._plain(answer.interval_rows(claims.ledger(readings(AS_CLAIMED, OPPOSITE)))[0][1]).startswith("+")


def test_where_nothing_differs_at_all_an_interval_is_a_point_on_its_line():
    picture = glyphs.glyph(0, 0, 0, 0, claimed=(0, np.inf))
    assert re.search(r'cx="([\d.]+)"', picture)[1] == re.search(r'd="M([\d.]+) 0V', picture)[1]
