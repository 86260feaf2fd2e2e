"""What the benchmark measured, in words, tables and a figure (notebook 5)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from lib.store import GROUP
from report.pictures.style import COLOURS, INK
from report.press.display import escape
from report.words import signed

METHODS = {  # how tables and figures call them
    "textbook": "textbook loop",
    "textbook, memory kept": "textbook loop, memory kept",
    "vmap": "torch.func.vmap",
    "torch": "ours, PyTorch",
    "fused": "ours, compiled block",
}


def of_wsn(measured: Mapping) -> list[dict]:
    """Return the rows of WSN in its standard form, in the order of METHODS."""
    chosen = [row for row in measured["rows"] if row["experiment"] == "WSN"]
    return sorted(chosen, key=lambda row: (list(METHODS).index(row["method"]), row["stack"]))


def one(measured: Mapping, method: str, experiment: str = "WSN") -> dict:
    """Return the row of one experiment and method (of several stacks the fastest)."""
    found = [row for row in measured["rows"] if (row["experiment"], row["method"]) == (experiment, method)]
    return min(found, key=lambda row: row["total_ms"]["median"])


def span(values: Mapping[str, float], digits: int = 1) -> str:
    """Write a spread as median and range, such as "26.1 (25.8-27.0)"."""
    low, high = (f"{values[name]:.{digits}f}" for name in ("min", "max"))
    return f"{values['median']:.{digits}f} ({low}–{high})"


def answer(measured: Mapping) -> str:
    """Say how fast it is."""
    textbook, kept, vmapped, grouped, fused = (one(measured, method)["total_ms"]["median"] for method in METHODS)
    row = one(measured, "fused")
    return (
        f"Training WSN for one epoch and testing it takes {fused:.1f} ms per trial on one core by the compiled block, "
        f"{row['stack']} trials side by side: {row['speedup']['median']:.1f} times as fast as a textbook loop over one "
        f"network ({textbook:.0f} ms). By PyTorch's own operations it takes {grouped:.1f} ms, and by torch.func.vmap "
        f"over the textbook's network {vmapped:.0f} ms. The textbook loop, too, gains from an allocator that keeps its "
        f"memory ({kept:.0f} ms); against that, the compiled block is {kept / fused:.1f} times as fast."
    )


def floor_words(measured: Mapping) -> str:
    """Say what the floor is and how far the compiled block is from it."""
    row, rate = one(measured, "fused"), measured["rate_gflops"]["max"]
    train, test = row["multiply_adds"]["train"], row["multiply_adds"]["test"]
    return (
        f"Counted from WSN's modules, the protocol takes {train:,} multiply-adds per training pair and {test:,} per "
        f"test pair. At {rate:.0f} GFLOP/s, the best rate of this core in float32 matrix products, an epoch takes "
        f"{row['floor_train_ms'] + row['floor_test_ms']:.1f} ms ({row['floor_train_ms']:.1f} to train, "
        f"{row['floor_test_ms']:.1f} to test) if all of them are carried out and nothing else is done. The compiled "
        f"block takes {row['times_floor']['median']:.2f} times that."
    )


def wsn_table(measured: Mapping) -> list[tuple[str, ...]]:
    """Return a row per way to train WSN, and the floor."""
    table = [
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
    row = one(measured, "fused")
    floor, textbook = row["floor_train_ms"] + row["floor_test_ms"], one(measured, "textbook")["total_ms"]["median"]
    last = (f"{row['floor_train_ms']:.1f}", f"{row['floor_test_ms']:.1f}", f"{floor:.1f}", f"{textbook / floor:.2f}")
    return [*table, ("floor", "", *last, "1.00")]


def experiments_table(measured: Mapping) -> list[tuple[str, ...]]:
    """Return a row per experiment: textbook loop and compiled block."""
    table = []
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


def experiments_words(measured: Mapping) -> str:
    """Say whether the other experiments gain as much as WSN."""
    fused = [row for row in measured["rows"] if row["method"] == "fused" and row["experiment"] != "WSN"]
    low, *_, high = sorted(fused, key=lambda row: row["relative_to_wsn"]["median"])
    return (
        f"Of the {len(fused) + 1} experiments, each against its own textbook loop, {escape(low['experiment'])} gains "
        f"least, {low['relative_to_wsn']['median']:.2f} times what WSN gains, and {escape(high['experiment'])} most, "
        f"{high['relative_to_wsn']['median']:.2f} times."
    )


def scaling_table(measured: Mapping) -> list[tuple[str, ...]]:
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


def scaling_words(measured: Mapping) -> str:
    """Say what a second worker brings, and whether time and memory grow."""
    scaling = measured["scaling"]
    sizes = scaling["sizes"]
    per_trial = [1e3 * row["per_trial_s"] for row in sizes]
    return (
        f"On {measured['about']['cores']} cores two worker processes train {scaling['worker_trials']} trials "
        f"{span(scaling['two_over_one'], 2)} times as fast as one. From {sizes[0]['trials']} to {sizes[-1]['trials']} "
        f"trials one worker takes {min(per_trial):.0f} to {max(per_trial):.0f} ms per trial ({scaling['epochs']} "
        "epochs, the drawing of its data and the storing of its result included). The most memory it has held is "
        f"{scaling['imported']['peak_mb']:.0f} MB before any training (Python and the libraries), "
        f"{scaling['first_block']['peak_mb']:.0f} MB after its first block of {GROUP} trials and "
        f"{sizes[-1]['peak_mb']:.0f} MB after {sizes[-1]['blocks_so_far']} blocks; {sizes[-1]['own_mb']:.0f} MB "
        "of that are its own, which is what one worker more takes; the rest are pages of the libraries, which all "
        "workers share."
    )


def long_check_words(measured: Mapping) -> str:
    """Say whether both implementations learn the same, where that was measured."""
    check = measured.get("long_check")
    if check is None:
        return "The long comparison of what both implementations learn is not part of this measurement."
    difference, equivalence = check["difference"], check["equivalence"]
    verdict = "equivalent" if equivalence["equivalent"] else "not shown to be equivalent"
    zero = "contains 0" if difference["low"] <= 0 <= difference["high"] else "does not contain 0"
    return (
        "Rounding differs between the two implementations, and training amplifies it; what they learn should not "
        f"differ. {check['trials']} trials of {escape(check['experiment'])} over {check['epochs']} epochs "
        f"({check['optimizer']}) end at {check['mean_torch']:.2f} % by PyTorch's operations and at "
        f"{check['mean_fused']:.2f} % by the compiled block: trial by trial "
        f"{signed(difference['mean'], 3)} points (95 % interval {signed(difference['low'], 3)} to "
        f"{signed(difference['high'], 3)}, which {zero}). By two one-sided t tests with a margin of "
        f"{equivalence['margin']:g} points they are {verdict} (p = {equivalence['p']:.2g}, power "
        f"{equivalence['power']:.2f}; trained on {check['about']['date'][:10]} on {escape(check['about']['cpu'])}, lib "
        f"{check['about']['commit'][:10]})."
    )


def about_words(measured: Mapping) -> str:
    """Say on what machine, with which versions, and how it was measured."""
    origin, settings = measured["about"], measured["settings"]
    digits = (
        "MNIST" if settings["dataset"] == "mnist" else "the digits embedded in scikit-learn, as MNIST was not at hand"
    )
    changed = " with changes" if origin["dirty"] else ""
    pinned = "pinned to one core" if settings["pinned"] else "on a core that the system chose"
    return (
        f"Measured on {origin['date'][:10]} on {escape(origin['cpu'])} ({origin['cores']} cores, "
        f"{escape(origin['system'])}; load before: {origin['load_before']}), with Python {escape(origin['python'])}, "
        f"PyTorch {escape(origin['torch'])}, NumPy {escape(origin['numpy'])} and lib as of commit "
        f"{escape(origin['commit'][:10])}{changed}; the compiled block: {escape(settings['compiled_block'])}. "
        f"{settings['train_pairs']:,} training and {settings['test_pairs']:,} test pairs of {digits}, batches of "
        f"{settings['batch_size']}; one thread, {pinned}; {settings['rounds']} rounds in which all take turns, after "
        "one that is not counted: medians, with the smallest and the greatest in brackets."
    )


def plot(ax: Axes, measured: Mapping) -> Axes:
    """Milliseconds per trial and epoch of WSN, a bar per method: training, then testing; a line marks the floor."""
    chosen = of_wsn(measured)[::-1]
    names = [METHODS[row["method"]] + (f", {row['stack']} trials" if row["stack"] > 1 else "") for row in chosen]
    train, test, total = (
        np.array([row[name]["median"] for row in chosen]) for name in ("train_ms", "test_ms", "total_ms")
    )
    ends = [[abs(row["total_ms"][end] - row["total_ms"]["median"]) for row in chosen] for end in ("min", "max")]
    ax.barh(names, train, height=0.62, color=COLOURS["SN"], label="training")
    ax.barh(names, test, height=0.62, left=train, color=COLOURS["SN"], alpha=0.45, label="testing")
    ax.errorbar(train + test, names, xerr=ends, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    for row, name, x in zip(chosen, names, total + ends[1], strict=True):
        text = f"{row['total_ms']['median']:.0f} ms, {row['speedup']['median']:.1f} ×"
        ax.annotate(text, (x, name), (5, 0), textcoords="offset points", va="center", fontsize=8)
    floor = chosen[0]["floor_train_ms"] + chosen[0]["floor_test_ms"]
    ax.axvline(floor, color=COLOURS["WSN"], lw=1.1, ls=(0, (4, 2)), label=f"floor, {floor:.1f} ms")
    ax.set(xlabel="milliseconds per trial and epoch", xlim=(0, 1.3 * (total + ends[1]).max()))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return ax


def plot_alt(measured: Mapping) -> str:
    """Describe the figure to whoever cannot see it."""
    bars = ", ".join(
        f"{METHODS[row['method']]} with {row['stack']} {row['total_ms']['median']:.0f}" for row in of_wsn(measured)
    )
    row = one(measured, "fused")
    floor = row["floor_train_ms"] + row["floor_test_ms"]
    return f"Horizontal bars, milliseconds per trial and epoch: {bars}; the floor is a line at {floor:.1f}."
