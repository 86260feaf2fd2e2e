"""Digits as strokes of a pen, drawn by hand for who does not draw: points `[x, y]` in a square of side 1."""

import math

Stroke = list[list[float]]


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, points: int = 24) -> Stroke:
    """Return points on an ellipse; angles in turns, clockwise from the right as y points down."""
    turns = [start + (end - start) * i / (points - 1) for i in range(points)]
    return [[round(x + rx * math.cos(2 * math.pi * t), 4), round(y + ry * math.sin(2 * math.pi * t), 4)] for t in turns]


GLYPHS: dict[int, list[Stroke]] = {
    0: [arc(0.5, 0.5, 0.2, 0.3, -0.25, 0.77)],
    1: [[[0.54, 0.2], [0.5, 0.5], [0.46, 0.8]]],
    2: [[*arc(0.48, 0.36, 0.19, 0.17, -0.5, 0.1), [0.3, 0.78], [0.74, 0.76]]],
    3: [[*arc(0.46, 0.34, 0.18, 0.15, -0.45, 0.25), *arc(0.46, 0.65, 0.21, 0.17, -0.25, 0.42)]],
    4: [[[0.36, 0.2], [0.3, 0.52], [0.7, 0.5]], [[0.66, 0.24], [0.6, 0.82]]],
    5: [[[0.68, 0.22], [0.4, 0.22], [0.37, 0.46], *arc(0.46, 0.62, 0.2, 0.18, -0.25, 0.4)]],
    6: [[[0.6, 0.18], [0.42, 0.4], *arc(0.5, 0.64, 0.17, 0.17, -0.45, 0.6)]],
    7: [[[0.3, 0.24], [0.7, 0.22], [0.56, 0.5], [0.46, 0.82]]],
    8: [[*arc(0.5, 0.34, 0.15, 0.15, 0.25, -0.75), *arc(0.5, 0.66, 0.18, 0.17, -0.25, 0.75)]],
    9: [[*arc(0.48, 0.36, 0.17, 0.16, 0.0, 1.0), [0.64, 0.5], [0.58, 0.82]]],
}
PAIRS = [
    {"label": f"{a} and {b}", "digits": [a, b], "strokes": [GLYPHS[a], GLYPHS[b]]}
    for a, b in ((3, 7), (7, 3), (4, 5), (5, 4), (8, 8), (0, 9), (6, 5), (2, 2))
]
