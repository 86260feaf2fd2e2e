"""Every notebook in JupyterLab, in a real browser, as a user has them: run, click, stop, go on, lose the kernel."""

import json

import pytest

from lib.machine import ROOT
from tests.report.chromium import IN_BROWSER
from tests.report.play import lab

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
pytest.importorskip("ipywidgets", reason="pip install -e '.[explore]'")
pytestmark = IN_BROWSER
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = [name for name in NOTEBOOKS if name[0].isdigit()]  # of the report; they take longer
EPOCH = r"epoch (\d+) of"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with lab.server(tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in CHAPTERS else name
        for name in NOTEBOOKS
        if name != "explore"
    ],
)
def test_every_cell_runs_without_an_error(name, browser, address, tmp_path):
    with lab.Notebook(browser, address, name) as notebook:
        notebook.run_all()
        notebook.finish(600)
        notebook.page.screenshot(path=tmp_path / f"{name}.png")
        assert notebook.errors() == []


def answered(notebook):
    """Clear the canvas' first square and draw a line into it: the answers are gone, and there again at the end."""
    cell = notebook.cell("canvas.draw()")
    square, said, mouse = cell.locator("canvas").first, cell.locator(".said"), notebook.page.mouse
    square.scroll_into_view_if_needed()
    square.press("Delete")
    notebook.wait(lambda: said.inner_text().startswith("The first square is empty"))
    box = square.bounding_box()
    mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    mouse.down()
    mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
    mouse.up()
    return notebook.wait(lambda: "bottleneck: first" in said.inner_text())


def test_explore_is_played_with(browser, address, tmp_path):
    with lab.Notebook(browser, address, "explore") as notebook:
        page = notebook.page
        # A curve grows while its cell runs, once an epoch.
        notebook.run_all()
        before = notebook.wait(lambda: notebook.number("training.run()", EPOCH + r" \d+, "), 90)
        first = notebook.picture("training.run()")
        after = notebook.wait(lambda: max(0, (notebook.number("training.run()", EPOCH) or 0) - before) and before)
        assert notebook.running("training.run()") and after >= before
        notebook.wait(lambda: notebook.picture("training.run()") != first)  # it comes after the number
        page.screenshot(path=tmp_path / "running.png")
        notebook.finish(120)
        assert notebook.errors() == []
        assert "all 20 epochs are done, and stored" in notebook.printed("training.run()")
        assert "CAUX dataset=digits" in notebook.printed("play.tried()")

        assert answered(notebook), "the canvas answers"

        # A control changes the command, what cannot be is one sentence, and the command can be copied.
        choose = notebook.cell("play.choose(choice)")
        choose.locator("select").nth(1).select_option("WSN")
        notebook.wait(lambda: "-p architecture WSN" in choose.locator("code").inner_text())
        words = choose.locator('input[placeholder*="momentum"]')
        words.fill("momentum=0.9")
        words.press("Enter")
        notebook.wait(lambda: "momentum is 0.9; allowed: 0 with optimizer 'adam'" in choose.inner_text())
        words.fill("seed=1")
        words.press("Enter")
        notebook.wait(lambda: "-p settings seed=1" in choose.locator("code").inner_text())
        assert "allowed" not in choose.inner_text()
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        choose.get_by_role("button", name="copy").click()
        copied = notebook.wait(lambda: page.evaluate("navigator.clipboard.readText()"))
        assert copied == choose.locator("code").inner_text()
        assert copied.startswith(".venv/bin/papermill notebooks/explore.ipynb out.ipynb -k python3 -p dataset digits")

        # The gallery answers a click, also while a cell trains; a stopped cell goes on.
        gallery = notebook.cell("play.gallery(networks, choice)")
        seen = notebook.picture("play.gallery")
        gallery.get_by_role("button", name="hardest").click()
        notebook.wait(lambda: notebook.picture("play.gallery") != seen)
        readout = choose.locator(".widget-readout").nth(1)
        readout.fill("100")
        readout.press("Enter")
        notebook.wait(lambda: "-p epochs 100" in choose.locator("code").inner_text())
        notebook.run("training = play.Live(")
        notebook.idle()
        notebook.run("training.run()")
        notebook.wait(lambda: notebook.number("training.run()", EPOCH + " 100, "))
        seen = notebook.picture("play.gallery")
        gallery.get_by_role("button", name="unsure").click()
        notebook.wait(lambda: notebook.picture("play.gallery") != seen)
        assert answered(notebook)
        assert notebook.running("training.run()"), "the answers came while the cell trained"
        notebook.menu("Kernel", "Interrupt Kernel")
        stopped = notebook.wait(lambda: notebook.number("training.run()", r"stopped after epoch (\d+) of 100"))
        notebook.run("print(training)")
        notebook.wait(lambda: notebook.number("print(training)", r"after epoch (\d+) ") == stopped)
        notebook.run("training.run()")
        going = notebook.wait(lambda: notebook.number("training.run()", EPOCH + " 100, "))
        assert stopped < going
        notebook.menu("Kernel", "Interrupt Kernel")
        notebook.wait(lambda: not notebook.running("training.run()"))
        assert notebook.errors() == []

        # The kernel dies: a sentence, and what was finished is there.
        for kernel in address.kernels():
            kernel.kill()
        page.wait_for_selector(".jp-Dialog", timeout=60_000)
        assert "appears to have died" in page.locator(".jp-Dialog").inner_text()
        page.locator(".jp-Dialog button").last.click()
        assert answered(notebook), "of a canvas whose kernel is gone"
        notebook.idle()
        page.wait_for_timeout(lab.SETTLED)
        notebook.run_all()
        notebook.wait(lambda: "all 20 epochs are done, and stored" in notebook.printed("training.run()"), 60)
        notebook.finish(120)
        assert notebook.errors() == []


def test_explore_in_the_dark_at_the_width_of_a_phone(browser, tmp_path_factory, tmp_path):
    with (
        lab.server(tmp_path_factory.mktemp("dark"), dark=True) as address,
        lab.Notebook(browser, address, "explore", color_scheme="dark") as notebook,
    ):
        notebook.run_all()
        notebook.finish(180)
        assert notebook.errors() == []
        for width in (1500, 360):
            notebook.page.set_viewport_size({"width": width, "height": 1400})
            notebook.page.wait_for_timeout(1000)
            for source in ("play.choose", "training.run()", "play.gallery", "play.inside"):
                cell = notebook.cell(source)
                cell.scroll_into_view_if_needed()
                cell.screenshot(path=tmp_path / f"{width}-{source.strip('.()').replace('.', '-')}.png")
        ink = notebook.cell("play.tried()").locator("td").first.evaluate("cell => getComputedStyle(cell).color")
        assert sum(json.loads(f"[{ink[ink.index('(') + 1 : -1]}]")[:3]) > 500, f"the text is {ink}"
