import doctest
import json
import re

import matplotlib
import matplotlib.pyplot as plt
import pypandoc
import pytest
from IPython.display import Markdown

from report.pictures import style
from report.press import display, read
from report.press.display import escape, place, say, show_figure, show_table

FIGURE = {"label": "fig-6a", "caption": "SN against WSN.", "alt": "Two rising curves."}


@pytest.fixture
def outputs(monkeypatch):
    """Every (data, metadata) that is displayed, as a notebook would store it."""
    stored = []

    def store(shown, raw=False, metadata=None):
        stored.append((shown if raw else {"text/markdown": shown.data}, metadata or {}))

    monkeypatch.setattr(display, "display", store)
    monkeypatch.setattr(display.read, "noted", {})  # what other tests have read
    return stored


def line():
    fig, ax = plt.subplots()
    ax.plot([1, 2], clip_on=True)
    return fig


def test_a_figure_carries_its_label_number_caption_and_alternative_text(outputs):
    show_figure(line(), number="6a", **FIGURE)
    (data, metadata), (caption, note) = outputs
    assert metadata["report"] == {
        "id": "fig-6a",
        "number": "6a",
        "caption": "SN against WSN.",
        "alt": "Two rising curves.",
    }
    assert data["image/svg+xml"].endswith("</svg>\n")
    assert caption["text/markdown"] == "**Figure 6a.** SN against WSN."
    assert note["report"] == {"notebook_only": True}
    json.dumps([data, metadata])


def test_equal_figures_give_equal_bytes_and_are_closed(outputs):
    for _ in range(2):
        show_figure(line(), **FIGURE)
    assert outputs[0] == outputs[2]
    assert "date" not in outputs[0][0]["image/svg+xml"]
    assert not plt.get_fignums()


def test_coordinates_have_the_decimals_that_print_shows_and_nothing_else_is_cut(outputs):
    fig, ax = plt.subplots()
    ax.plot([0, 1 / 3, 1 / 7])
    show_figure(fig, **FIGURE)
    svg = outputs[0][0]["image/svg+xml"]
    paths = re.findall(r' d="([^"]*)"', svg)
    numbers = [number for path in paths for number in re.findall(r"\.(\d+)", path)]
    assert numbers and max(map(len, numbers)) == 1
    placed = re.findall(r'(?:translate\(| [xy]=")([^")]*)', svg)
    assert max(len(number) for each in placed for number in re.findall(r"\.(\d+)", each)) == 2
    assert not re.search(r"\.\d*0\b", " ".join(paths + placed)), "no noughts at the end"
    assert re.search(r' (width|height)="\d+\.\d{3,}"', svg)


def test_text_is_text_in_a_font_that_is_said_once_with_what_stands_in_for_it(outputs):
    with matplotlib.rc_context():
        style.apply()
        fig, ax = plt.subplots()
        ax.set(title="A title", xlabel="across", ylabel="upwards")
        show_figure(fig, **FIGURE)
    svg = outputs[0][0]["image/svg+xml"]
    assert {"A title", "across", "upwards"} <= set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    assert svg.count("DejaVu Sans") - svg.count("<!--") == 1
    assert "<svg font-family=\"'DejaVu Sans', Verdana, sans-serif\" " in svg
    assert "rotate(-0" not in svg and "rotate(-90" in svg


def test_a_narrow_figure_goes_with_the_wide_one_and_both_are_closed(outputs):
    show_figure(line(), narrow=line(), **FIGURE)
    data, metadata = outputs[0]
    assert metadata["report"]["narrow"].endswith("</svg>\n") and data["image/svg+xml"].endswith("</svg>\n")
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "6a"}, "label is '6a'"),
        ({"label": "tbl-a"}, "tbl-a"),
        ({"caption": " "}, "caption"),
        ({"alt": ""}, "alt"),
    ],
)
def test_a_figure_without_what_the_report_needs_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        show_figure(line(), **{**FIGURE, **change})
    plt.close("all")


MADE = {"label": "fig-6b", "kind": "figure", "number": "6b", "notebook": "notebooks/3.ipynb", "command": "papermill x"}


@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        (json.dumps([MADE]), "*Figure 6b is made by notebook notebooks/3.ipynb; this shows it: papermill x*"),
        ("[]", "*fig-6b stands here in the report; which notebook makes it is known when that is published.*"),
        ("no JSON", "*fig-6b stands here in the report; which notebook makes it is known when that is published.*"),
    ],
)
def test_a_place_says_in_jupyterlab_what_stands_there(outputs, tmp_path, monkeypatch, manifest, line):
    monkeypatch.setattr(read, "MANIFEST", tmp_path / "manifest.json")
    read.MANIFEST.write_text(manifest)
    place("fig-6b")
    [(data, metadata)] = outputs
    assert data["text/markdown"].replace("\\", "") == line
    assert metadata == {"report": {"place": "fig-6b"}}


def test_a_place_without_a_label_is_refused():
    with pytest.raises(ValueError, match="label is 'Figure 6b'; it should look like fig-6a"):
        place("Figure 6b")


def test_a_table_is_markdown_with_literal_cells(outputs):
    rows = [["<script>", 1], [Markdown("**x** | y"), 2]]
    show_table(["network", "a|b"], rows, label="tbl-x", caption="All.")
    (_, note), (data, metadata) = outputs
    assert note["report"] == {"notebook_only": True}
    table = "network,a|b\n<script>,1\n**x** | y,2\n"
    assert metadata["report"] == {"id": "tbl-x", "caption": "All.", "csv": table}
    assert data["text/markdown"].splitlines() == [
        r"| network | a\|b |",
        "| :-- | --: |",
        r"| \<script\> | 1 |",
        r"| **x** \| y | 2 |",
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rows": [[1]]}, "row 1 has 1 cells, the header has 2"),
        ({"align": "l"}, "align is 'l'"),
        ({"align": "lx"}, "one of l, c, r"),
        ({"label": "fig-x"}, "label is 'fig-x'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        show_table(**{"header": ["a", "b"], "rows": [], "label": "tbl-x", "caption": "All.", **table})


def test_say_shows_markdown(outputs):
    say("**71.7 %**")
    assert outputs == [({"text/markdown": "**71.7 %**"}, {})]


@pytest.mark.parametrize(
    "text",
    [
        "a|b",
        "<script>alert(1)</script>",
        "$x$ *y* _z_ `c` [l](http://e.org)",
        "- item",
        "1. one",
        "---",
        "&lt; a--b ...",
        "\\",
    ],
)
def test_escaped_text_reads_literally(text):
    for reader in ("markdown", "gfm", "commonmark"):
        read = pypandoc.convert_text(escape(text), "json", format=reader, extra_args=["--columns=999"])
        (paragraph,) = json.loads(read)["blocks"]
        assert paragraph["t"] == "Para"
        assert {inline["t"] for inline in paragraph["c"]} <= {"Str", "Space"}
        assert "".join(inline.get("c", " ") for inline in paragraph["c"]) == text


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(display).failed == 0
