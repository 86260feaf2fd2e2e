import base64
import hashlib
import json
import re

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from report.press.export import write_html
from report.press.live import POLICY, Live

PART = Live("desk", "A <heading>", "Text & more.", {"text": "</script><b>"}, "document.title = 'ran';\n")


def page_with(tmp_path, *parts):
    text = "Said: <!-- live --> and <!-- policy -->."
    write_html(new_notebook(cells=[new_markdown_cell(text)]), tmp_path / "a.html", parts=parts)
    return (tmp_path / "a.html").read_text()


def test_a_part_brings_its_data_and_its_module_and_the_policy_lets_no_other_run(tmp_path):
    page = page_with(tmp_path, PART)
    [(_, data), (_, module)] = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.S)
    assert json.loads(data) == PART.data and module == PART.module
    digest = base64.b64encode(hashlib.sha256(module.encode()).digest()).decode()
    assert f"content=\"{POLICY}; script-src 'sha256-{digest}'\"" in page
    assert "A &lt;heading&gt;" in page and "Text &amp; more." in page
    assert page.count("document.title") == 1


def test_a_page_without_parts_runs_nothing(tmp_path):
    page = page_with(tmp_path)
    assert f'content="{POLICY}"' in page and "<script" not in page and "default-src 'none'" in POLICY


@pytest.mark.parametrize("module", ["'</script>'", "'</SCRIPT >'", "1 <!-- 2"])
def test_a_module_that_would_end_its_own_element_is_refused(tmp_path, module):
    with pytest.raises(ValueError, match="the module of desk holds markup"):
        page_with(tmp_path, PART._replace(module=module))
