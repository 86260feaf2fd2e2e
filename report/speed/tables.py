"""What the benchmark measured, in tables and a picture (notebook 7)."""

import numpy as np
from matplotlib.figure import Figure

from report.pictures.style import COLOURS, INK, NARROW, WIDTH
from report.speed.measured import METHODS, Measured, floor_ms, of_wsn, one, span

Table = list[tuple[str, ...]]


def wsn(measured: Measured) -> Table:
    """Return a row per way to train WSN, and the floor."""
    table: Table = [
        (
            METHODS[row["method"]],
            str(row["stack"]),
            f"{row['train_ms']['median']:.1f}",
            f"{row['test_ms']['median']:.1f}",
            span(row["total_ms"]),
            f"{row['speedup']['median']:.2f}",
            f"{row['times_floor']['median']:.2f}",
        )
        for row in of_wsn(measured)
    ]
    row, textbook = one(measured, "fused"), one(measured, "textbook")["total_ms"]["median"]
    floor = (f"{row['floor_train_ms']:.1f}", f"{row['floor_test_ms']:.1f}", f"{floor_ms(row):.1f}")
    return [*table, ("floor", "", *floor, f"{textbook / floor_ms(row):.2f}", "1.00")]


def experiments(measured: Measured) -> Table:
    """Return a row per experiment: textbook loop and compiled block."""
    table: Table = []
    for name in dict.fromkeys(row["experiment"] for row in measured["rows"]):
        textbook, fused = one(measured, "textbook", name), one(measured, "fused", name)
        table.append(
            (
                name,
                f"{textbook['total_ms']['median']:.1f}",
                f"{fused['total_ms']['median']:.1f}",
                span(fused["speedup"]),
                f"{fused['relative_to_wsn']['median']:.2f}",
                f"{fused['times_floor']['median']:.2f}",
            )
        )
    return table


def scaling(measured: Measured) -> Table:
    """Return a row per number of trials on one worker."""
    return [
        (
            str(row["trials"]),
            f"{row['total_s']:.1f}",
            f"{1e3 * row['per_trial_s']:.0f}",
            str(row["blocks_so_far"]),
            f"{row['peak_mb']:.0f}",
        )
        for row in measured["scaling"]["sizes"]
    ]


def plot(measured: Measured, narrow: bool = False) -> Figure:
    """Milliseconds per trial and epoch of WSN, a bar per method: training, then testing; a line marks the floor."""
    chosen = of_wsn(measured)[::-1]
    names = [METHODS[row["method"]] + (f", {row['stack']} trials" if row["stack"] > 1 else "") for row in chosen]
    names = [name.replace(", ", ",\n") if narrow else name for name in names]
    train = np.array([row["train_ms"]["median"] for row in chosen])
    total = np.array([row["total_ms"]["median"] for row in chosen])  # no sum of medians
    below = total - [row["total_ms"]["min"] for row in chosen]
    above = [row["total_ms"]["max"] for row in chosen] - total
    fig = Figure(figsize=(NARROW, 3.8) if narrow else (WIDTH, 3.0))
    ax = fig.subplots()
    ax.barh(names, train, height=0.62, color=COLOURS["SN"], label="training")
    ax.barh(names, total - train, height=0.62, left=train, color=COLOURS["SN"], alpha=0.45, label="testing")
    ax.errorbar(total, names, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    for row, name, x in zip(chosen, names, total + above, strict=True):
        times = row["speedup"]["median"]
        words = f"{row['total_ms']['median']:.0f} ms,{chr(10) if narrow else ' '}{times:.{1 if times >= 2 else 2}f} ×"
        ax.annotate(words, (x, name), (5, 0), textcoords="offset points", va="center", fontsize=8)
    floor = floor_ms(chosen[0])
    ax.axvline(floor, color=COLOURS["WSN"], lw=1.1, ls=(0, (4, 2)), label=f"floor, {floor:.1f} ms")
    ax.set(xlabel="milliseconds per trial and epoch", xlim=(0, (1.45 if narrow else 1.3) * (total + above).max()))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    fig.tight_layout(pad=0.4)
    return fig
