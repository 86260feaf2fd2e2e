import dataclasses
import itertools
import json

import numpy as np
import pytest

from lib import Experiment, Result
from report import claims, statistics, study
from report.press import display

# What the original says, section 1.4: the sentences that hold its claims.
SECTION = """
Figure 6a shows the WSN performing better on average than the SN. not only does it reach a higher value at the end of
the training, it also as a steeper slope for the evolution of the test accuracy.
The WSN is then compared to the SAUX with the result of them having nearly indistinguishable performance
SAUX seems to perform better overall with both architectures starting out very similar but the SAUX plateaus less
aggressively. This result is unexpected as one might guess the introduction of additional information might have led to
a boost in performance.
"""
NAMES = ("SN", "WSN", "SAUX", "CAUX")
TRIALS, EPOCHS = 120, 100
AVERAGE, END, SLOPE, ALIKE, OVERALL, START, PLATEAU, BOOST = (d.claim for d in claims.DEFINITIONS)


def curve(first=55.0, at_80=76.0, last=80.0):
    """A mean accuracy per epoch: `first` until epoch 10, straight to `at_80` at epoch 80, straight to `last`."""
    return np.interp(np.arange(1, EPOCHS + 1), [1, 10, 80, EPOCHS], [first, first, at_80, last])


def result(name, mean, *, seed, noise=1.0, trials=TRIALS, pairs=None, **changes):
    """A result whose trials scatter around a mean curve, each with a level of its own; counts of 1,000 pairs."""
    rng = np.random.default_rng(seed)
    shape = (trials, len(mean))
    accuracy = mean + rng.normal(0, noise, shape) + rng.normal(0, noise, (trials, 1))
    experiment = Experiment(architecture=name, epochs=len(mean), **changes)
    record = {
        "test_correct": np.clip(np.rint(10 * accuracy), 0, 1000).astype(int).tolist(),
        "fingerprints": pairs or [f"pairs-{trial}" for trial in range(trials)],
        "auxiliary_total": None,
    }
    return Result(experiment, trials, (record,))


def four(sn, wsn, saux, caux, **options):
    networks = zip(NAMES, (sn, wsn, saux, caux), strict=True)
    return [result(name, mean, seed=i, **options) for i, (name, mean) in enumerate(networks)]


AS_CLAIMED = {
    "sn": curve(at_80=74, last=77),
    "wsn": curve(),
    "saux": curve(),
    "caux": curve(at_80=75.5, last=77),
}
OPPOSITE = {
    "sn": curve(),
    "wsn": curve(at_80=74, last=77),
    "saux": curve(first=58, at_80=81.5, last=82),
    "caux": curve(at_80=79.5, last=86),
}
NO_DIFFERENCE = dict.fromkeys(("sn", "wsn", "saux", "caux"), curve())


def verdicts(results, reading="plain SGD"):
    return {claim.claim: claim.verdict for claim in claims.ledger({reading: results})}


# The original's words


def test_quotes_are_the_originals_exact_words():
    words = " ".join(SECTION.split())
    for definition in claims.DEFINITIONS:
        assert definition.quote in words


# Verdicts


def test_claims_that_are_true_are_reproduced():
    assert verdicts(four(**AS_CLAIMED, noise=0.5)) == dict.fromkeys(
        (AVERAGE, END, SLOPE, ALIKE, OVERALL, PLATEAU, BOOST), "reproduced"
    ) | {START: "vacuous"}


def test_claims_that_are_false_are_contradicted():
    found = verdicts(four(**OPPOSITE, noise=0.5))
    assert found.pop(OVERALL) == "reproduced"  # SAUX leads until late: only its end is the lower one
    assert set(found.values()) == {"contradicted"}


def test_overall_is_contradicted_by_a_higher_caux():
    assert verdicts(four(**AS_CLAIMED | {"caux": curve(last=82, at_80=80)}))[OVERALL] == "contradicted"


def test_what_the_trials_cannot_tell_is_undecided():
    found = verdicts(four(**NO_DIFFERENCE, noise=3))
    assert found.pop(START) == "vacuous"
    assert set(found.values()) == {"undecided"}


def test_a_start_beyond_chance_is_judged():
    later = {name: mean + 5 for name, mean in NO_DIFFERENCE.items()}
    assert verdicts(four(**later, noise=0.5))[START] == "reproduced"


def test_a_start_below_the_majority_share_is_vacuous_and_was_not_at_first():
    below = {name: mean - 4 for name, mean in NO_DIFFERENCE.items()}  # still guessing, and often the rarer class
    start = next(c for c in claims.ledger({"": four(**below, noise=0.5)}) if c.claim == START)
    assert (start.verdict, start.first_verdict) == ("vacuous", "reproduced")
    assert start.why.startswith("neither is more than a point above 55 %")


def test_identical_networks_are_alike_and_nothing_is_higher():
    one = result("SN", curve(first=60), seed=0)
    same = [dataclasses.replace(one, experiment=Experiment(architecture=name)) for name in NAMES]
    ledger = claims.ledger({"plain SGD": same})
    assert all((c.estimate, c.low, c.high) == (0, 0, 0) for c in ledger)
    assert {c.claim: c.verdict for c in ledger} == {d.claim: "undecided" for d in claims.DEFINITIONS} | {
        ALIKE: "reproduced",
        START: "reproduced",
    }
    json.dumps(claims.as_data(ledger), allow_nan=False)


def test_few_trials_get_a_direction_and_no_verdict_word():
    ledger = claims.ledger({"plain SGD": four(**AS_CLAIMED, trials=99)})
    table = " ".join(" ".join(row) for row in claims.rows(ledger))
    assert not any(word in table + claims.summary(ledger) for word in claims.VERDICTS)
    assert all(c.adjusted_p is None and c.verdict.endswith(claims.TOO_FEW) for c in ledger)
    assert ledger[1].verdict.startswith("WSN higher")
    assert "99 trials" in claims.summary(ledger)


def test_a_boost_that_is_undecided_but_small_is_called_so():
    ledger = claims.ledger({"": four(**NO_DIFFERENCE, noise=0.5)})
    boost = next(c for c in ledger if c.claim == BOOST)
    assert (boost.verdict, boost.note) == ("undecided", "the two are the same to within 0.5 points")


# Numbers


def test_estimates_are_the_definitions_of_the_statistics():
    sn, wsn, saux, caux = results = four(**AS_CLAIMED)
    slopes = statistics.slope(sn.accuracy, wsn.accuracy)
    expected = {
        AVERAGE: wsn.accuracy.mean() - sn.accuracy.mean(),
        END: wsn.mean[-1] - sn.mean[-1],
        SLOPE: (slopes.b - slopes.a).mean(),
        ALIKE: saux.mean[-1] - wsn.mean[-1],
        OVERALL: saux.accuracy.mean() - caux.accuracy.mean(),
        START: (saux.mean - caux.mean)[:10].mean(),
        PLATEAU: (saux.mean - caux.mean)[95:].mean() - (saux.mean - caux.mean)[75:80].mean(),
        BOOST: caux.mean[-1] - saux.mean[-1],
    }
    found = {c.claim: c.estimate for c in claims.ledger({"": results})}
    assert found == pytest.approx(expected)


def test_p_values_are_adjusted_within_their_family():
    results = four(**NO_DIFFERENCE)
    ends = [r.accuracy[:, -1] for r in results]
    pairs = list(itertools.pairwise(ends))
    differences = statistics.holm([statistics.paired_difference(*pair).p for pair in pairs])
    equivalences = statistics.holm([statistics.equivalence(*pair).p for pair in pairs])
    curves = {r.name: r.accuracy for r in results}
    slopes = statistics.slope(curves["SN"], curves["WSN"])
    words = {
        AVERAGE: (statistics.overall(curves["SN"]), statistics.overall(curves["WSN"])),
        SLOPE: (slopes.a, slopes.b),
        OVERALL: (statistics.overall(curves["CAUX"]), statistics.overall(curves["SAUX"])),
        PLATEAU: (statistics.plateau(curves["CAUX"]), statistics.plateau(curves["SAUX"])),
    }
    p = {claim: statistics.paired_difference(*pair).p for claim, pair in words.items()}
    p[START] = statistics.equivalence(statistics.start(curves["CAUX"]), statistics.start(curves["SAUX"])).p
    expected = {END: differences[0], BOOST: differences[2], ALIKE: equivalences[1]}
    expected |= dict(zip(p, statistics.holm(list(p.values())), strict=True))
    assert {c.claim: c.adjusted_p for c in claims.ledger({"": results})} == pytest.approx(expected)


def test_readings_are_judged_apart():
    plain, momentum = four(**AS_CLAIMED), four(**OPPOSITE)
    both = claims.ledger({"plain SGD": plain, "SGD with momentum 0.9": momentum})
    for reading, results in (("plain SGD", plain), ("SGD with momentum 0.9", momentum)):
        assert [c for c in both if c.reading == reading] == claims.ledger({reading: results})


@pytest.mark.parametrize("epochs", [2, 7, 20])
def test_short_trainings_have_the_same_shares_of_their_epochs(epochs):
    results = [result(name, np.linspace(60, 70, epochs), seed=i) for i, name in enumerate(NAMES)]
    assert all(np.isfinite(c.estimate) for c in claims.ledger({"": results}))


def test_the_statement_names_the_epochs():
    statements = {c.claim: c.statement for c in claims.ledger({"": four(**AS_CLAIMED)})}
    assert "epochs 1-10:" in statements[START]
    assert "epochs 96-100 minus mean of epochs 76-80" in statements[PLATEAU]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda results: results[::-1], "in this order"),
        (lambda results: [*results[:3], result("CAUX", curve(), seed=3, pairs=["other"] * TRIALS)], "different pairs"),
        (lambda results: four(**AS_CLAIMED, trials=1), "at least 2 trials"),
    ],
)
def test_results_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        claims.ledger({"plain SGD": change(four(**AS_CLAIMED))})


# Texts and tables


def test_a_sameness_that_is_reproduced_beside_a_difference_is_explained():
    apart = {"a": four(**{**AS_CLAIMED, "saux": curve(last=80.3)}, noise=0.1)}
    said = claims.alike(claims.ledger(apart))
    assert said == [
        '"SAUX like WSN" is reproduced under a although the difference is not 0: it is there, and smaller than the 0.5 '
        "points that count."
    ]
    assert claims.alike(claims.ledger({"a": four(**NO_DIFFERENCE)})) == []


def test_the_summary_counts_and_names_the_contradicted():
    ledger = claims.ledger(
        {"plain SGD": four(**AS_CLAIMED, noise=0.5), "SGD with momentum 0.9": four(**OPPOSITE, noise=0.5)}
    )
    text = claims.summary(ledger)
    assert text.startswith("Of the original's 8 claims, under plain SGD our trials reproduce 7, contradict none, leave")
    assert "none undecided and call 1 vacuous" in text
    assert "reproduce 1, contradict 7 (WSN above SN on average, WSN above SN at the end" in text


def test_the_tables_can_be_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(display, "display", lambda *args, **kwargs: shown.append(args))
    readings = {"plain SGD": four(**AS_CLAIMED), "SGD with momentum 0.9": four(**OPPOSITE)}
    ledger = claims.ledger(readings)
    table = claims.rows(ledger)
    assert [row[0] == "" for row in table] == [False, True] * 8  # a quote is said once
    display.show_table(claims.HEADER, table, label="tbl-claims", caption="Claims.")
    display.show_table(claims.DEFINITIONS_HEADER, claims.definitions(ledger), label="tbl-meant", caption="Meaning.")
    assert len(claims.definitions(ledger)) == 8
    assert len(shown) == 4


def test_a_wider_margin_makes_alike_what_was_not_and_nothing_else():
    results = {"": four(**AS_CLAIMED | {"saux": curve(last=80.6)}, noise=0.5)}
    narrow, wide = (claims.ledger(results, margin=margin) for margin in (0.2, 2.0))
    turned = [(a.claim, a.verdict, b.verdict) for a, b in zip(narrow, wide, strict=True) if a.verdict != b.verdict]
    assert turned == [(ALIKE, "contradicted", "reproduced")]
    assert narrow[3].why == "the whole interval lies outside ±0.2 points"
    assert narrow[3].statement.endswith("differ by less than 0.2 points")
    assert claims.ledger(results) == claims.ledger(results, margin=0.5, fewest=100)


def test_fewer_trials_get_verdicts_where_fewer_are_asked():
    results = {"": four(**AS_CLAIMED, trials=20)}
    assert all(c.adjusted_p is None for c in claims.ledger(results, fewest=21))
    ledger = claims.ledger(results, fewest=20)
    assert all(c.verdict in claims.VERDICTS for c in ledger) and "our trials reproduce" in claims.summary(ledger)


@pytest.mark.parametrize("rule", [{"margin": 0}, {"margin": np.inf}, {"margin": np.nan}, {"fewest": 1}])
def test_a_rule_that_is_none_is_refused(rule):
    with pytest.raises(ValueError, match="needs a margin above 0 and at least 2 trials for a verdict, got"):
        claims.ledger({"": four(**AS_CLAIMED)}, **rule)


def test_the_ledger_as_json_reads_back():
    ledger = claims.ledger({"plain SGD": four(**AS_CLAIMED)})
    read = json.loads(claims.as_json(ledger))
    assert read == claims.as_data(ledger)
    assert set(read[0]) == {field.name for field in dataclasses.fields(claims.Claim)}
    assert read[0]["estimate"] == pytest.approx(ledger[0].estimate, rel=1e-5)


def test_epochs_to_reach_are_restricted_means_with_the_share_that_do():
    rising = result("SN", np.linspace(50.5, 100, EPOCHS), seed=0, noise=0, trials=3)  # 0.5 points per epoch
    flat = result("WSN", np.full(EPOCHS, 65.0), seed=0, noise=0, trials=3)
    assert claims.epochs_to_reach({"plain SGD": [rising, flat]}) == [
        ("plain SGD", "SN", "20.0 (100 %)", "40.0 (100 %)", "60.0 (100 %)"),
        ("plain SGD", "WSN", "1.0 (100 %)", "100.0 (0 %)", "100.0 (0 %)"),
    ]


# Families of figures


SHORT = "epochs=3"


def whole_study(trials=TRIALS):
    """Results of every experiment of the study; the two forms of a network are equal, and labels matter only to SN."""
    results = []
    for e in study.EXPERIMENTS:
        seed = [1, NAMES.index(e.architecture), e.one_hot_encoding, int(10 * e.momentum)]
        mean = np.full(3, 80.0) + (e.architecture == "SN" and e.one_hot_encoding)
        changes = {"fully_convolutional": e.fully_convolutional, "one_hot_encoding": e.one_hot_encoding}
        results.append(result(e.architecture, mean, seed=seed, trials=trials, momentum=e.momentum, **changes))
    return results


def chapters_of(results):
    return study.chapters((r.experiment for r in results), SHORT)


def families_of(results):
    return claims.comparison_families(chapters_of(results), results)


def test_each_figures_family_has_its_comparisons_adjusted_together():
    results = whole_study()
    families = families_of(results)
    assert list(families) == list(study.CHAPTERS)[:-1]  # the last one has two forms of each network
    seven = families["With and without one-hot labels"]
    assert [row[0] for row in seven] == ["7a", "7b", "7c", "7d"]
    assert seven[0][1] == "SN without one-hot labels against SN"
    assert [row[-1] for row in seven] == ["lower", *["undecided at Holm 5 %"] * 3]
    found = {(r.experiment.architecture, r.experiment.one_hot_encoding): r.accuracy[:, -1] for r in results[8:12]}
    found |= {(r.experiment.architecture, True): r.accuracy[:, -1] for r in results[:4]}
    p = statistics.holm([statistics.paired_difference(found[n, True], found[n, False]).p for n in NAMES])
    assert [row[3] for row in seven] == [claims.p_text(x) for x in p]
    assert [row[1] for row in families["The comparisons without one-hot labels"]] == [
        "WSN against SN without one-hot labels",
        "SAUX against WSN without one-hot labels",
        "CAUX against SAUX without one-hot labels",
    ]


def test_the_family_of_figure_6_agrees_with_the_ledger():
    results = whole_study()
    end = next(c for c in claims.ledger({"plain SGD": results[:4]}) if c.claim == END)
    row = families_of(results)["The comparisons, plain SGD"][0]
    assert row[3] == claims.p_text(end.adjusted_p)
    assert row[2] == f"{end.interval:+.2f short}"


def test_families_without_all_results_are_left_out():
    results = whole_study()[:8]  # the standard forms
    assert list(families_of(results)) == list(study.CHAPTERS)[:2]
    assert claims.numerical_checks(chapters_of(results), results) == []


def test_a_family_with_few_trials_tells_directions():
    for row in families_of(whole_study(trials=5))["With and without one-hot labels"]:
        assert row[3] == "–" and row[-1].endswith(claims.TOO_FEW)


def test_equal_forms_are_identical_and_one_wrong_answer_shows():
    results = whole_study(trials=4)
    checks = claims.numerical_checks(chapters_of(results), results)
    assert [row[0] for row in checks] == ["9a", "9b", "S-SAUX", "S-CAUX"]
    assert {row[2:] for row in checks} == {("0.00 points", "identical in every trial and epoch")}
    changed = next(r for r in results if r.name == "fully convolutional WSN")
    changed.records[0]["test_correct"][2][1] += 1
    changed = dataclasses.replace(changed)  # its accuracy was computed already
    results = [changed if r.experiment == changed.experiment else r for r in results]
    assert claims.numerical_checks(chapters_of(results), results)[1] == (
        "9b",
        "fully convolutional WSN against WSN",
        "0.10 points",
        "1 of 4 trials differ, the first at epoch 2",
    )
