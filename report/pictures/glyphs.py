"""An interval as a small picture that stands in a row of a table."""

import base64

from IPython.display import Markdown

from report.pictures.style import LIGHT

WIDE, HIGH = 84, 14  # CSS pixels
SHADE, LINE, BAR = (LIGHT[name] for name in ("row-shade", "row-line", "row-bar"))


def glyph(mean: float, low: float, high: float, reach: float, claimed: tuple[float, float]) -> str:
    """Return SVG of a mean with its interval on an axis from `-reach` to `reach`, with a line at 0.

    The part of the axis that is `claimed` is shaded; it may be infinite. A `reach` of 0, where nothing differs at
    all, is taken for 1.
    """
    reach = reach or 1.0

    def x(value: float) -> str:
        return f"{(WIDE - 4) * (min(max(value / reach, -1), 1) + 1) / 2 + 2:.1f}"

    left, right = map(x, claimed)
    middle = HIGH / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" height="{HIGH}" viewBox="0 0 {WIDE} {HIGH}">'
        f'<rect x="{left}" width="{float(right) - float(left):.1f}" height="{HIGH}" fill="{SHADE}" fill-opacity=".25"/>'
        f'<path d="M{x(0)} 0V{HIGH}" stroke="{LINE}"/>'
        f'<path d="M{x(low)} {middle}H{x(high)}" stroke="{BAR}" stroke-width="3"/>'
        f'<circle cx="{x(mean)}" cy="{middle}" r="3.5" fill="{BAR}"/></svg>'
    )


def in_cell(svg: str, alt: str, text: str) -> Markdown:
    """Return a table's cell that has a picture, which `alt` says in words, and a text."""
    return Markdown(f"![{alt}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}) {text}")
