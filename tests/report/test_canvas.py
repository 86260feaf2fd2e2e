"""The canvas' module against PyTorch: in Node, and in a browser with a pointer; the path from strokes to pictures."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from lib import datasets
from report import canvas
from report.canvas.strokes import GLYPHS
from report.press.live import mounted
from tests.report.chromium import in_browser

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")
ASKED = """
const data = JSON.parse(given), said = {};
for (const [name, network] of Object.entries(data.networks ?? {})) {
  const all = data.pairs.map((pair) => outputs(ready(network), pair));
  said[name] = all.map(({ answer, auxiliary: aside }) => ({
    answer: [...answer],
    auxiliary: aside && (Array.isArray(aside) ? aside.map((each) => [...each]) : [...aside]),
  }));
}
const listed = (grey) => { const picture = seen(grey); return picture && [...picture]; };
const pictures = (data.squares ?? []).map(listed), drawn = (data.strokes ?? []).map((each) => listed(inked(each)));
const result = JSON.stringify({ said, pictures, drawn });
"""


def asked(**data):
    """What the module makes of networks and pairs, of squares of grey values, and of strokes; computed by Node."""
    reading = "import { readFileSync } from 'node:fs';\nconst given = readFileSync(0, 'utf8');\n"
    code = f"{reading}{canvas.script()}\n{ASKED}\nprocess.stdout.write(result);"
    command = [NODE, "--input-type=module", "--eval", code]
    done = subprocess.run(command, input=json.dumps(data), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def embedded(count):
    """Pairs of the embedded digits, `[count, 2, 14, 14]`."""
    images = torch.as_tensor(datasets.load("digits")[1].images)
    return images[torch.arange(2 * count) % len(images)].reshape(count, 2, 14, 14)


@pytest.fixture(scope="module")
def drawn():
    """What the networks see of the ten digits' strokes, `[10, 196]`."""
    if NODE is None:
        pytest.skip("Node is not installed")
    return asked(strokes=list(GLYPHS.values()))["drawn"]


@pytest.fixture(scope="module")
def pairs(drawn):
    """200 pairs: of embedded digits, and all pairs of drawn ones, `[200, 2, 14, 14]`."""
    pictures = torch.tensor(drawn, dtype=torch.float32).reshape(10, 14, 14)
    both = torch.stack([pictures[[i // 10, i % 10]] for i in range(100)])
    return torch.cat([embedded(100), both])


def worst(said, name, pairs):
    """The largest difference from PyTorch in any output of a network, and whether all decisions are the same."""
    with torch.no_grad():
        wanted = canvas.restored(name)(pairs)
    found = {head: np.array([each[head] for each in said[name]]) for head in wanted}
    apart = max(np.abs(found[head] - wanted[head].numpy()).max() for head in wanted)
    return apart, all((found[head].argmax(-1) == wanted[head].numpy().argmax(-1)).all() for head in wanted)


def data_of(pairs):
    return {"networks": canvas.page_data()["networks"], "pairs": pairs.flatten(2).tolist()}


@needs_node
def test_each_network_answers_as_in_pytorch(pairs):
    said = asked(**data_of(pairs))["said"]
    assert list(said) == list(canvas.EXPERIMENTS) and len(pairs) == 200
    for name in said:
        apart, same = worst(said, name, pairs)
        assert apart < 1e-4 and same, f"{name}: {apart}"


@needs_node
def test_a_changed_weight_changes_the_answer(pairs):
    """So the comparison above could fail."""
    networks = json.loads(json.dumps(canvas.page_data()["networks"]))
    bias = networks["WSN"]["compare"][-1][1]
    values = np.array([0.5, -0.5], "<f2")
    bias["float16"] = canvas.packed(values[None])["float16"]
    said = asked(networks={"WSN": networks["WSN"]}, pairs=pairs[:5].flatten(2).tolist())["said"]
    assert worst(said, "WSN", pairs[:5])[0] > 1e-2


def test_the_digits_to_choose_are_named_right(drawn):
    """By the class bottleneck, and by CAUX's class head at least nine of them."""
    right = {name: (named(drawn, name) == torch.tensor(list(GLYPHS))).sum() for name in ("bottleneck", "CAUX")}
    assert right["bottleneck"] == 10 and right["CAUX"] >= 9, right


@needs_node
def test_the_way_of_a_drawing_leaves_mnist_s_digits_their_names():
    if not datasets.available("mnist"):
        pytest.skip("MNIST is not at hand")
    raw = datasets.mnist_root() / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    whole = np.frombuffer(raw.read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)[:2000] / 255
    pictures = asked(squares=whole.reshape(len(whole), -1).round(6).tolist())["pictures"]
    direct = datasets.load("mnist")[1].images[: len(whole)]
    for name in ("CAUX", "bottleneck"):
        assert (named(direct, name) == named(pictures, name)).float().mean() >= 0.98


@needs_node
def test_an_empty_square_is_nothing_and_a_dot_is_something():
    empty, dot = asked(strokes=[[], [[[0.5, 0.5]]]])["drawn"]
    assert empty is None and len(dot) == 196 and max(dot) > 0.5


def named(pictures, name="bottleneck"):
    """The names that a class head gives single pictures."""
    images = torch.as_tensor(np.array(pictures), dtype=torch.float32).reshape(-1, 1, 14, 14).expand(-1, 2, 14, 14)
    with torch.no_grad():
        return canvas.restored(name)(images)["auxiliary"][:, 0].argmax(-1)


@needs_node
def test_where_and_how_large_a_digit_is_drawn_matters_little():
    """It is fitted into MNIST's box; what is left is the pen's width, which does not shrink with it."""
    digits = torch.tensor(list(GLYPHS))
    for scale, x0, y0 in ((1.0, 0.1, -0.05), (0.7, 0.1, 0.25)):
        moved = [[[[x0 + scale * x, y0 + scale * y] for x, y in each] for each in glyph] for glyph in GLYPHS.values()]
        assert (named(asked(strokes=moved)["drawn"]) == digits).sum() >= 9


def test_the_weights_are_small_and_as_their_sums_say():
    content = [path.stat().st_size for path in canvas.WEIGHTS.glob("*.safetensors")]
    assert len(content) == len(canvas.EXPERIMENTS) and sum(content) < 1_000_000
    assert len(json.dumps(canvas.page_data())) < 600_000
    for name in canvas.EXPERIMENTS:
        assert canvas.weights(name)["scale"].shape == (2, 1)


@pytest.mark.parametrize("damage", ["a byte", "cut", "gone"])
def test_damaged_weights_are_refused_in_a_sentence(tmp_path, damage):
    path = tmp_path / "WSN.safetensors"
    content = bytearray((canvas.WEIGHTS / path.name).read_bytes())
    if damage != "gone":
        content[-1] ^= 1
        path.write_bytes(content[: 500 if damage == "cut" else None])
    with pytest.raises(canvas.WeightsError, match=r"WSN.safetensors cannot be used: .*git checkout .* brings it back$"):
        canvas.weights("WSN", tmp_path)


def test_weights_of_another_network_are_refused_in_a_sentence():
    for name, other in (("CAUX", "WSN"), ("WSN", "SN"), ("SN", "WSN"), ("WSN", "CAUX")):
        with pytest.raises(canvas.WeightsError, match=f"the weights of {name} are another network's"):
            canvas.described(canvas.EXPERIMENTS[name], canvas.weights(other))
    with pytest.raises(ValueError, match=r"^name is 'MINE'; allowed: SN, WSN, SAUX, CAUX, bottleneck$"):
        canvas.weights("MINE")


def test_without_the_widget_library_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"needs anywidget, which is not installed: `.venv/bin/pip install"):
        canvas.draw()


def test_the_widget_brings_its_networks_along():
    pytest.importorskip("anywidget", reason="pip install -e '.[explore]'")
    widget = canvas.draw()
    assert json.loads(widget.page) == canvas.page_data()


PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Canvas</title><body><div id="canvas"></div>'


@pytest.fixture(params=["light", "dark"])
def page(browser, tmp_path, request):
    file = tmp_path / "canvas.html"
    data = json.dumps(canvas.page_data()).replace("<", "\\u003c")
    given = f'<script type="application/json" id="canvas-data">{data}</script>'
    scheme = "<style>:root { color-scheme: light dark }</style>"
    module = mounted(canvas.script(), "canvas")
    file.write_text(f'{PAGE}{scheme}{given}<script type="module">{module}</script>', encoding="utf-8")
    page = browser.new_page(viewport={"width": 380, "height": 900}, color_scheme=request.param)
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert page.said == []
    page.close()


@in_browser
def test_the_same_outputs_in_the_browser(page, pairs):
    few = pairs[::10]
    code = f"async (given) => {{ {canvas.script().replace('export default', 'const widget =').replace('export ', '')}\n"
    said = json.loads(page.evaluate(f"{code}{ASKED}\nreturn result; }}", json.dumps(data_of(few))))["said"]
    assert all(worst(said, name, few)[0] < 1e-4 for name in said)


def draw_a_line(page):
    """From left to right, low in the first square."""
    box = page.locator("canvas").first.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.down()
    for i in range(10):
        page.mouse.move(box["x"] + (0.2 + 0.06 * i) * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.up()


@in_browser
def test_a_stroke_changes_the_answers_and_undo_brings_them_back(page):
    said, names = page.locator(".said"), page.locator("tbody tr:last-child td:last-child")
    assert said.inner_text().count(":") == len(canvas.EXPERIMENTS)
    assert names.inner_text().startswith("3 and 7")
    page.get_by_label("choose a pair").select_option("1")
    assert names.inner_text().startswith("7 and 3")
    before = page.locator("tbody").inner_html()
    draw_a_line(page)
    assert page.locator("tbody").inner_html() != before
    page.locator("canvas").first.press("Control+z")
    assert page.locator("tbody").inner_html() == before
    page.locator("canvas").first.press("Delete")
    assert said.inner_text() == "The first square is empty: draw a digit in each."
    page.get_by_role("button", name="Clear").click()
    assert said.inner_text() == "Both squares are empty: draw a digit in each."
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@in_browser
def test_the_first_stroke_takes_a_chosen_digit_away_and_the_next_ones_stay(page):
    square, chosen = page.locator("canvas").first, page.get_by_label("choose a pair")
    chosen.select_option("4 and 5")
    assert square.get_attribute("aria-label") == "first digit: 2 strokes"  # of a four
    for strokes in (1, 2):
        draw_a_line(page)
        assert square.get_attribute("aria-label") == f"first digit: {strokes} strokes"
        assert chosen.input_value() == ""
    for _ in range(2):
        page.get_by_role("button", name="Undo first").click()
    assert chosen.locator("option:checked").inner_text() == "4 and 5"
    page.get_by_role("button", name="Clear").click()
    assert chosen.input_value() == ""


@in_browser
def test_each_answer_is_marked_right_or_wrong_once_the_digits_are_said(page):
    answers, names = page.locator("tbody td:nth-child(2)"), page.locator("tbody tr:last-child td:last-child")
    first = page.get_by_label("which digit the first is")
    assert first.input_value() == "3" and all(each.endswith(" second, right") for each in answers.all_inner_texts())
    first.select_option("9")  # and 7 beside it
    assert all(each == "first ≤ second, wrong" for each in answers.all_inner_texts())
    assert names.inner_text() == "3 and 7, wrong"
    page.locator("canvas").first.press("3")
    assert names.inner_text() == "3 and 7, right"
    draw_a_line(page)
    assert first.input_value() == ""
    assert "right" not in page.locator("tbody").inner_text() and "wrong" not in page.locator("tbody").inner_text()
