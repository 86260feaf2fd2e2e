"""The published page in a real browser: wide and phone-narrow, light and dark, with nothing asked of the network."""

import re

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from lib.machine import ROOT
from report.palette import PALETTE
from report.press.export import TEMPLATES, write_html
from tests.report.chromium import IN_BROWSER

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
PUBLISHED = (ROOT / "report" / "published" / "report.html").as_uri()
# What lies behind a figure on a dark page, and in its abstract.
PAPERS = (PALETTE["paper"].dark, re.findall(r"--box: (#\w+)", (TEMPLATES / "report.css").read_text())[1])
pytestmark = IN_BROWSER


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_reads_well(browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(PUBLISHED)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
        "scrolls sideways"
    )
    pictures = page.locator("figure svg:visible")  # of those with a narrow form, one
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


def test_figures_have_no_light_ground_on_a_dark_page_and_bring_their_letters(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="dark")
    page.goto(PUBLISHED)
    drawn = "[...document.querySelectorAll('figure svg')].filter(each => each.getBoundingClientRect().width)"
    style = f"{drawn}.map(each => getComputedStyle(each))"
    assert set(page.evaluate(f"{style}.map(each => each.backgroundColor + each.padding)")) == {"rgba(0, 0, 0, 0)0px"}
    painted = f"{drawn}.map(each => getComputedStyle(each.querySelector('path')).fill)"  # the ground of each
    paper = [f"rgb({', '.join(str(int(part, 16)) for part in re.findall('..', each[1:]))})" for each in PAPERS]
    assert set(page.evaluate(painted)) <= set(paper)
    page.evaluate("document.fonts.ready")
    assert set(page.evaluate("[...document.fonts].map(each => each.family + each.status)")) == {"DejaVu Sansloaded"}
    aloud = "[...document.querySelectorAll('svg text')].filter(each => !each.closest('[aria-hidden=true]')).length"
    assert page.evaluate(aloud) == 0, "a figure is read as its description alone"
    page.close()


def test_a_telephone_shows_text_of_ten_pixels_in_figures_that_have_a_narrow_form(browser):
    page = browser.new_page(viewport={"width": 360, "height": 700})
    page.goto(PUBLISHED)
    size = "parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b)"
    found = page.evaluate(f"[...document.querySelectorAll('figure > .narrow text')].map(text => {size})")
    assert len(found) > 100 and round(min(found), 2) >= 10
    page.close()


@pytest.fixture
def long_page(tmp_path):
    """A page of two chapters with two sections each, every one longer than a screen."""
    texts = [f"# Chapter {i}\n\n## Part {i}a\n\n{LONG}\n\n## Part {i}b\n\n{LONG}" for i in (1, 2)]
    write_html(new_notebook(cells=[new_markdown_cell(text) for text in texts]), tmp_path / "long.html")
    return (tmp_path / "long.html").as_uri()


LONG = "\n\n".join(["Much is said here. " * 20] * 20)


def test_the_contents_follow_the_reading(browser, long_page):
    page = browser.new_page(viewport={"width": 1400, "height": 800})
    page.goto(long_page)
    if not page.evaluate("CSS.supports('scroll-target-group: auto')"):
        pytest.skip("this Chromium does not know what is read")
    beside = page.locator(".contents.wide")
    for read, others in (("2b", "1"), ("1b", "2")):
        page.locator(f"#s-part-{read}").evaluate("heading => heading.scrollIntoView()")
        page.mouse.wheel(0, 60)
        sync_api.expect(beside.get_by_text(f"Part {read}")).to_be_visible()
        sync_api.expect(beside.get_by_text(f"Part {read}")).to_have_css("font-weight", "600")
        sync_api.expect(beside.get_by_text(f"Part {others}a")).to_be_hidden()
        sync_api.expect(beside.get_by_text(f"Chapter {others}")).to_be_in_viewport()
    page.close()


def test_a_phone_has_a_way_back_and_a_wide_screen_none(browser, long_page):
    for width, shown in ((360, True), (1400, False)):
        page = browser.new_page(viewport={"width": width, "height": 700})
        page.goto(f"{long_page}#s-part-2b")
        back = page.locator("a.back")
        assert back.is_visible() == shown
        if shown:
            back.click()
            sync_api.expect(page.locator("details#contents")).to_be_in_viewport()
        page.close()


def test_a_heading_s_link_to_itself_shows_when_it_is_pointed_at_or_reached_by_keyboard(browser, long_page):
    page = browser.new_page(viewport={"width": 1400, "height": 800})
    page.goto(long_page)
    heading = page.get_by_role("heading", name="Part 1a")
    link = heading.get_by_role("link", name="Link to Section 1.1")
    for show in (heading.hover, link.focus):
        sync_api.expect(link).to_have_css("opacity", "0")
        show()
        sync_api.expect(link).to_have_css("opacity", "1")
        page.mouse.move(0, 0)
    link.press("Enter")
    assert page.url.endswith("#s-part-1a")
    page.close()
