"""The desk's module against the ledger in Python: in Node at many settings, and in a browser with a keyboard."""

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats

from lib.analysis import default_store
from report import build, claims, desk, study
from report.inventory import stored_results
from report.press.live import PLACE, RULES, filled, mounted
from tests.report.chromium import in_browser

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")
READING = "const { data, settings, numbers } = JSON.parse(readFileSync(0, 'utf8')), unpacked = await ready(data);\n"
ASKED = """
const said = settings.map((setting) => ledger(unpacked, setting).map((claim) => ({ ...claim, row: row(claim) })));
const tails = numbers.map(([t, degrees]) => [twoSided(t, degrees), quantile(0.05, degrees)]);
const sums = numbers.map((several) => sum(several));
const written = numbers.map(([value]) => [0, 1, 2, 3].map((digits) => fixed(value, digits)));
process.stdout.write(JSON.stringify({ said, tails, sums, written }));
"""


def asked(data, settings=(), numbers=(), script=None):
    """What the module makes of settings and of numbers, all computed by one Node."""
    code = f"import {{ readFileSync }} from 'node:fs';\n{script or desk.script()}\n{READING}{ASKED}"
    command = [NODE, "--input-type=module", "--eval", code]
    given = json.dumps({"data": data, "settings": list(settings), "numbers": list(numbers)})
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def results():
    return stored_results(default_store(), study.STANDARD, study.TRIALS, required=study.STANDARD)


@pytest.fixture(scope="module")
def data(results):
    return desk.page_data(results)


def settings_to_ask(count=200):
    """Settings drawn at random, after those at the edges of what can be chosen."""
    rng = np.random.default_rng(20261127)
    edges = [
        {"reading": reading, "trials": trials, "epochs": epochs, "margin": margin, "fewest": fewest}
        for reading in study.READINGS
        for trials, epochs, margin, fewest in (
            (150, 100, 0.5, 100),
            (2, 100, 0.5, 2),
            (2, 2, 0.05, 2),
            (3, 3, 0.05, 2),
            (99, 100, 0.5, 100),
            (100, 100, 0.05, 100),
            (150, 2, 0.05, 100),
            (150, 100, 0.001, 100),
            (150, 100, 5, 100),
            (8, 100, 5, 2),
        )
    ]
    drawn = [
        {
            "reading": list(study.READINGS)[rng.integers(2)],
            "trials": int(rng.integers(100, 151) if rng.random() < 0.4 else rng.integers(2, 151)),
            "epochs": int(100 if rng.random() < 0.3 else rng.integers(2, 101)),
            "margin": float(round(0.05 * rng.integers(1, 101 if rng.random() < 0.3 else 21), 2)),
            "fewest": int(rng.choice([2, 100])),
        }
        for _ in range(count - len(edges))
    ]
    return edges + drawn


def in_python(results, setting):
    """The ledger at a setting, with its table."""
    several = study.readings(results)[setting["reading"]]
    several = [cut(result, setting["trials"], setting["epochs"]) for result in several]
    readings = {setting["reading"]: several}
    judged = claims.ledger(readings, margin=setting["margin"], fewest=setting["fewest"])
    return judged, claims.rows(judged)


def cut(result, trials, epochs):
    """A result as if so many trials had been trained for so many epochs."""
    counts = result.values("test_correct")[:trials, :epochs].tolist()
    record = {"test_correct": counts, "fingerprints": result.fingerprints[:trials], "auxiliary_total": None}
    return dataclasses.replace(
        result, experiment=result.experiment.changed(f"epochs={epochs}"), trials=trials, records=(record,)
    )


def with_counts(results, counts):
    """The same results, with other right answers `[results, trials, epochs]`."""
    records = [{"test_correct": each.tolist(), "fingerprints": results[0].fingerprints} for each in counts]
    return [dataclasses.replace(a, records=(b,)) for a, b in zip(results, records, strict=True)]


def apart(said, wanted):
    """In what the module's ledgers differ from Python's: a sentence for each."""
    found = []
    for place, (ledger, (judged, table)) in enumerate(zip(said, wanted, strict=True)):
        for mine, claim, (_, _, difference, p, verdict, why) in zip(ledger, judged, table, strict=True):
            row = (difference, p, verdict, claim.why)
            assert why.startswith(claim.why)
            if (mine["claim"], *mine["row"]) != (claim.claim, *row):
                found.append(f"{place}: {mine['claim']} {mine['row']} and not {claim.claim} {row}")
            numbers = {"estimate": claim.estimate, "low": claim.low, "high": claim.high, "superiority": claim.share}
            for name, value in numbers.items():
                if mine[name] != pytest.approx(value, rel=1e-9, abs=1e-13):
                    found.append(f"{place}: {claim.claim} {name} is {mine[name]} and not {value}")
            if claim.adjusted_p is None or mine["adjusted_p"] is None:
                same = claim.adjusted_p is mine["adjusted_p"]
            else:
                same = mine["adjusted_p"] == pytest.approx(claim.adjusted_p, rel=1e-9, abs=0)
            if not same:
                found.append(f"{place}: {claim.claim} p is {mine['adjusted_p']} and not {claim.adjusted_p}")
    return found


@pytest.fixture(scope="module")
def wanted(results):
    return [in_python(results, setting) for setting in settings_to_ask()]


@needs_node
def test_each_verdict_and_each_digit_is_python_s(data, wanted):
    settings = settings_to_ask()
    said = asked(data, settings)["said"]
    assert len(said) == 200 and apart(said, wanted) == []
    assert {claim.verdict for judged, _ in wanted for claim in judged} > set(claims.VERDICTS)


@pytest.fixture(scope="module")
def level(results):
    """Results whose means lie halfway between two that can be shown, or at the margin; some do not vary at all."""
    rng = np.random.default_rng(3)
    steps = np.array([0, 5, 10, 5, 600, 600, 605, 595])  # what each network is above the first, in right answers
    counts = np.broadcast_to(steps[:, None, None] + 200, (8, study.TRIALS, 100)).copy()
    counts[:, :, 50:] += 5
    counts[:4, 20:] += rng.integers(-1, 2, (4, study.TRIALS - 20, 100))
    counts[4:, :, 90:] += rng.integers(-1, 2, (4, study.TRIALS, 10))
    return with_counts(results, counts)


LEVEL = [
    {"reading": reading, "trials": trials, "epochs": epochs, "margin": 0.5, "fewest": 2}
    for reading in study.READINGS
    for trials in (2, 4, 8, 20, 21, 24, 40, 80, 100, 125, 150)
    for epochs in (2, 10, 40, 64, 100)
]


@needs_node
def test_what_lies_halfway_or_at_the_margin_is_shown_and_judged_alike(results, data, level):
    given = data | {"counts": desk.packed(np.array([each.values("test_correct") for each in level]))}
    wanted = [in_python(level, setting) for setting in LEVEL]
    assert apart(asked(given, LEVEL)["said"], wanted) == []
    for right, wrong in (HALFWAY, ROUNDING, ORDER):
        changed = desk.script().replace(right, wrong)
        assert changed != desk.script() and apart(asked(given, LEVEL, script=changed)["said"], wanted) != [], right


HALFWAY = ("halves % 2 === 1", "halves % 2 === 3")
ROUNDING = ("room <= data.rounding", "room <= -data.rounding")
ORDER = ("if (n >= 8)", "if (n >= 8000)")  # of a sum
CHANGED = {  # a number or a rule of the module, and the same a little wrong
    "share of the gain": ("0.9 * gained", "0.91 * gained"),
    "start": ("share(10), share(20)", "share(9), share(20)"),
    "lag": ("share(5)]", "share(6)]"),
    "vacuous": ("chance + 1)", "chance + 0.9)"),
    "degrees": ("quantile(data.alpha, n - 1)", "quantile(data.alpha, n)"),
    "beta": ("/ (a + 2.5)", "/ (a + 2.5) && false"),
    "gamma": ("(k - 1) / (k - 2)", "(k - 1.0001) / (k - 2)"),
    "Holm": ("(p.length - rank)", "(p.length - rank + 1)"),
}


@needs_node
@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_number_or_rule_in_the_module_is_found(data, wanted, name):
    right, wrong = CHANGED[name]
    assert desk.script().count(right) == 1
    said = asked(data, settings_to_ask(), script=desk.script().replace(right, wrong))["said"]
    assert apart(said, wanted) != []


@needs_node
def test_student_s_t_and_sums_and_decimals_are_those_of_python(data):
    rng = np.random.default_rng(7)
    ts = [(float(t), int(degrees)) for degrees in range(1, 150) for t in [0, *10 ** rng.uniform(-6, 1.7, 3)]]
    for (t, degrees), (tail, quantile) in zip(ts, asked(data, numbers=ts)["tails"], strict=True):
        assert tail == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-10, abs=0), (t, degrees)
        assert quantile == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)
    rows = [rng.normal(0, 1, n).tolist() for n in range(1, 151)]
    assert asked(data, numbers=rows)["sums"] == [float(np.sum(each)) for each in rows]
    values = [0.0, 2.5, 3.5, -0.125, 0.375, 0.0625, -0.5, 1.005, 12.3456, -1e-15, 0.04, 99.995]
    written = [[f"{x:.{digits}f}".replace("-", "−") for digits in range(4)] for x in values]
    assert asked(data, numbers=[[x] for x in values])["written"] == written


def test_the_counts_are_small_in_the_page(data):
    assert len(data["counts"]) < 110_000 and len(desk.script()) < 30_000
    assert len(json.dumps(data)) - len(data["counts"]) < 3_000


def test_the_page_has_the_desk_where_the_study_s_own_trials_are_there(results):
    [part] = build.judging(results)
    assert part.element == "desk" and part.data == desk.page_data(results)
    assert part.module == mounted(desk.script(), "desk")
    fewer = [dataclasses.replace(results[0], trials=149), *results[1:]]
    assert build.judging(fewer) == build.judging(results[:7]) == []
    with pytest.raises(ValueError, match=r"^the desk needs the standard results of 150 trials each$"):
        desk.page_data(fewer)


def opened(browser, results, folder, scheme="light", data=None):
    """A page with the desk alone, 360 pixels wide, under the policy of the report's; what it asks and says is noted."""
    [part] = build.judging(results)
    part = part._replace(data=data or part.data)
    head = f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">{RULES}'
    markup = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}<title>Desk</title></head><body>{PLACE}'
    file = folder / "desk.html"
    file.write_text(filled(markup, [part]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 900}, color_scheme=scheme)
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(file.as_uri())
    return page


@pytest.fixture(params=["light", "dark"])
def page(browser, results, tmp_path, request):
    page = opened(browser, results, tmp_path, request.param)
    page.locator("tbody tr").first.wait_for()
    yield page
    assert page.said == [] and len(page.asked) == 1, "it asks for itself alone"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.close()


def shown(page):
    """The table as it is read: a list of cells per row."""
    rows = "rows => rows.map(row => [...row.cells].map(cell => cell.firstChild.textContent))"
    return page.locator("tbody tr").evaluate_all(rows)


@in_browser
def test_fewer_trials_turn_verdicts_by_keyboard_alone(page, results):
    status = page.get_by_role("status")
    assert status.inner_text() == "This is the published setting."
    published = {"reading": "plain SGD", "trials": 150, "epochs": 100, "margin": 0.5, "fewest": 100}
    assert shown(page) == cells(results, published) and page.get_by_text("(published:").count() == 0
    trials = page.get_by_role("spinbutton", name="Number of trials")
    trials.focus()
    trials.press("Control+a")
    page.keyboard.type("10")
    assert shown(page)[0][2:] == ["–", "WSN higher; too few trials for a verdict"]
    assert status.inner_text().startswith(
        "With fewer than 100 trials there is no verdict, only a direction. 8 verdicts"
    )
    page.get_by_label("judge fewer than 100 trials too").press("Space")
    ten = published | {"trials": 10, "fewest": 2}
    assert shown(page) == cells(results, ten)
    turned = [now[3] != before[3] for now, before in zip(shown(page), cells(results, published), strict=True)]
    assert sum(turned) == 5 and status.inner_text().startswith("5 verdicts differ from the published ones: WSN above")
    assert page.get_by_text("(published: reproduced)").count() >= 1
    slider = page.get_by_role("slider", name="Number of trials")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert trials.input_value() == "11" and shown(page) == cells(results, ten | {"trials": 11})
    page.get_by_label("Reading").select_option("SGD with momentum 0.9")
    margin = page.get_by_role("spinbutton", name="Margin of sameness")
    margin.fill("1.2")
    page.get_by_role("slider", name="Stopped after epoch").press("PageDown")
    chosen = {"reading": "SGD with momentum 0.9", "trials": 11, "epochs": 90, "margin": 1.2, "fewest": 2}
    assert shown(page) == cells(results, chosen)
    page.get_by_role("button", name="Back to the published setting").press("Enter")
    assert status.inner_text() == "This is the published setting."
    assert shown(page) == cells(results, published | {"reading": "SGD with momentum 0.9"})


def cells(results, setting):
    """What the table is to show, by Python."""
    judged, table = in_python(results, setting)
    return [[claim.claim, *row[2:5]] for claim, row in zip(judged, table, strict=True)]


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("Number of trials", "151", "Number of trials: a whole number from 2 to 150. The table is still of 150."),
        ("Number of trials", "1", "Number of trials: a whole number from 2 to 150. The table is still of 150."),
        ("Number of trials", "2.5", "Number of trials: a whole number from 2 to 150. The table is still of 150."),
        ("Stopped after epoch", "", "Stopped after epoch: a whole number from 2 to 100. The table is still of 100."),
        (
            "Margin of sameness",
            "0",
            "Margin of sameness, in points: a number from 0.05 to 5. The table is still of 0.5.",
        ),
    ],
)
@in_browser
def test_a_number_that_is_not_allowed_is_answered_in_a_sentence(page, name, wrong, sentence):
    before, box = shown(page), page.get_by_role("spinbutton", name=name)
    box.fill(wrong)
    box.press("Tab")
    assert box.get_attribute("aria-invalid") == "true" and shown(page) == before
    said = page.locator(f"#{box.get_attribute('aria-describedby')}")
    assert said.inner_text() == sentence and said.get_attribute("role") == "alert"
    page.get_by_role("slider", name=name).press("ArrowLeft")
    assert said.inner_text() == "" and box.get_attribute("aria-invalid") is None


@in_browser
def test_counts_that_cannot_be_unpacked_are_told_in_a_sentence(browser, results, data, tmp_path):
    page = opened(browser, results, tmp_path, data=data | {"counts": data["counts"][:4000]})
    page.get_by_text("The desk is not shown, for its results cannot be unpacked here").wait_for()
    page.close()
