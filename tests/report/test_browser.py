"""The published page in a real browser: wide and phone-narrow, light and dark, with nothing asked of the network."""

import shutil

import pytest

from lib.machine import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    """Chromium without a screen."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_reads_well(browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((ROOT / "report" / "published" / "report.html").as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
        "scrolls sideways"
    )
    pictures = page.locator("figure svg")
    assert pictures.count() > 10
    sizes = [pictures.nth(i).bounding_box() for i in range(pictures.count())]
    assert all(box and box["width"] > 150 and box["height"] > 60 for box in sizes), "a picture is not drawn"
    broken = """() => [...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1))
                      .filter(id => !document.getElementById(decodeURIComponent(id)))"""
    assert page.evaluate(broken) == []
    ink = page.evaluate("getComputedStyle(document.querySelector('main p')).color")
    light = sum(map(int, ink[ink.index("(") + 1 : -1].split(",")[:3]))
    assert (light < 200) if scheme == "light" else (light > 500), f"the text is {ink}"
    folded = page.locator("main details").first
    folded.locator("summary").click()
    assert folded.evaluate("element => element.open")
    page.close()
