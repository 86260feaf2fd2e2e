"""The published article is as short as it says, and everything else is its supplement."""

import math

import pytest
from pypdf import PdfReader

from lib.machine import ROOT

PUBLISHED = ROOT / "report" / "published"
PAGES, FIGURES, SUPPLEMENT = 14, 9, 12  # at most


@pytest.mark.published
def test_the_supplement_begins_after_few_pages_and_few_figures():
    pdf = PdfReader(PUBLISHED / "report.pdf")
    headings = [item for item in pdf.outline if not isinstance(item, list)]
    (supplement,) = [item for item in headings if "Supplement" in str(item.title)]
    assert 8 <= pdf.get_destination_page_number(supplement) <= PAGES  # so many pages are before its own
    assert len(pdf.pages) - pdf.get_destination_page_number(supplement) <= SUPPLEMENT + 1  # it begins within a page
    page = (PUBLISHED / "report.html").read_text(encoding="utf-8")
    article, rest = page.split('id="sec-supplement"')
    assert 4 <= article.count('<figure id="fig-') <= FIGURES < rest.count('<figure id="fig-')


@pytest.mark.published
def test_nothing_in_print_is_smaller_than_seven_points():
    found = []

    def look(text, around, matrix, font, size):
        if text.strip():
            found.append(size * math.hypot(*matrix[:2]) * math.hypot(*around[:2]))

    for page in PdfReader(PUBLISHED / "report.pdf").pages:
        page.extract_text(visitor_text=look)
    assert len(found) > 1000 and min(found) >= 7
