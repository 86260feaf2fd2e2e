"""Sentences with numbers, computed from results: the report's prose contains no typed number that a run produced."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lib import Result
from lib.analysis import paired
from report import statistics
from report.pictures.curves import Curve
from report.pictures.style import COLOURS
from report.statistics import PairedDifference


def curve(analysis: Result, line: str = "-") -> Curve:
    """Return what a figure draws of a result."""
    colour = COLOURS.get(analysis.experiment.architecture, "#555555")
    band = statistics.simultaneous_band(analysis.accuracy) if analysis.trials > 1 else None
    return Curve(analysis.mean, analysis.sd, analysis.trials, band, colour, line)


def plus_minus(analysis: Result) -> str:
    """Return the accuracy after the last epoch, such as "81.3 ± 1.2 %": mean and SD over trials."""
    return f"{analysis.mean[-1]:.1f} ± {analysis.sd[-1]:.1f} %"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, a minus being a minus and no hyphen: "+1.20" or "−0.35"."""
    return f"{value:+.{digits}f}".replace("-", "−")


def estimate(mean: float, low: float, high: float, digits: int = 2) -> str:
    """Return an estimate with its interval, for tables: "+1.20 (+0.80 to +1.60)"."""
    return f"{signed(mean, digits)} ({signed(low, digits)} to {signed(high, digits)})"


def interval(difference: PairedDifference) -> str:
    """Return a difference and its interval, such as "+1.20 points (95 % interval +0.80 to +1.60)"."""
    low, high = signed(difference.low), signed(difference.high)
    return f"{signed(difference.mean)} points (95 % interval {low} to {high})"


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def against(a: Result, b: Result) -> str:
    """Name a comparison, such as "WSN against SN"; what both have in common is said once."""
    first, second, common = a.name, b.name, " without one-hot labels"
    if first.endswith(common) and second.endswith(common):
        second = second.removesuffix(common)
    return f"{second} against {first}"


def comparison(a: Result, b: Result) -> str:
    """Say what two results show after the last epoch; with few trials only which mean is higher."""
    difference = statistics.paired_difference(a.accuracy[:, -1], b.accuracy[:, -1])
    first, second, end = a.name, b.name, f"After {a.experiment.epochs} epochs"
    over = f"(mean ± standard deviation over {a.trials} trials). Trial by trial, on the same pairs in the same order,"
    if np.array_equal(a.accuracy, b.accuracy):
        return f"{end} {first} and {second} both reach {plus_minus(a)} {over} they are equal after every epoch."
    text = (
        f"{end} {first} reaches {plus_minus(a)} and {second} {plus_minus(b)} {over} "
        f"{second} differs from {first} by {interval(difference)}, and is the better one in "
        f"{100 * difference.superiority:.0f} % of the trials (ties counted half). "
    )
    if a.trials < statistics.TRIALS_FOR_A_VERDICT:
        direction = statistics.direction(difference)
        finding = "the means are equal" if direction == "equal" else f"the mean of {second} is the {direction} one"
        return text + f"{a.trials} trials are too few for a verdict: we report only that {finding}."
    if difference.low <= 0 <= difference.high:
        return text + "The interval contains 0: which of the two is better stays open."
    return (
        text + f"The interval does not contain 0: {second} is the {'better' if difference.mean > 0 else 'worse'} one."
    )


def comparison_caption(a: Result, b: Result, reading: str) -> str:
    """Return the caption of a comparison: centre, spread and n."""
    return (
        f"{capital(a.name)} and {b.name}, {reading}, {digits_shown(a.experiment.dataset)}. Above: mean test "
        f"accuracy over {a.trials} trials after each epoch; light: ± one standard deviation over trials (ddof 1), "
        "dark: simultaneous 95 % band of the mean. Below: mean of the paired difference, the second minus the first "
        "trial by trial, with its simultaneous 95 % band (dotted where too few trials differ). All trials draw from "
        "the same test digits: the bands hold given these."
    )


def difference_label(a: Result, b: Result) -> str:
    """Return the label of the axis of differences; long names would not fit beside it."""
    label = f"{b.name} − {a.name}"
    return f"{label if len(label) < 15 else 'difference'} (points)"


def comparison_alt(a: Result, b: Result) -> str:
    """Describe a comparison's figure to whoever cannot see it."""
    e = a.experiment.epochs
    return (
        f"Line chart over {e} epochs. {a.name} goes from {a.mean[0]:.1f} to {a.mean[-1]:.1f} percent, "
        f"{b.name} from {b.mean[0]:.1f} to {b.mean[-1]:.1f}; below, their difference, which ends at "
        f"{signed(b.mean[-1] - a.mean[-1], 1)} points."
    )


def curves_caption(results: Sequence[Result], reading: str) -> str:
    """Return the caption of the figure with all networks."""
    first = results[0]
    return (
        f"The {len(results)} networks with {reading}: mean test accuracy over {first.trials} trials after each "
        "epoch; light: ± one standard deviation over trials (ddof 1), dark: simultaneous 95 % band of the mean."
    )


def curves_alt(results: Sequence[Result], reading: str) -> str:
    """Describe that figure to whoever cannot see it."""
    ends = ", ".join(f"{result.name} {result.mean[-1]:.1f}" for result in results)
    return f"Line chart over {results[0].experiment.epochs} epochs, {reading}. Percent at the end: {ends}."


def abstract(readings: Mapping[str, Sequence[Result]]) -> str:
    """Return the report's abstract, its numbers from the results."""
    first = next(iter(readings.values()))[0]
    parts = [
        "Four small convolutional networks judge whether the first of two handwritten digits is smaller than or "
        "equal to the second: two feature extractors (SN), a shared one (WSN), and a shared one with an auxiliary "
        "head that repeats the comparison (SAUX) or names the digits (CAUX). We replicate a student report of 2022 "
        f"with independent code, {first.trials} trials of {first.experiment.epochs} epochs per network on "
        f"{digits_shown(first.experiment.dataset)}, paired by trial."
    ]
    for reading, results in readings.items():
        ends = ", ".join(f"{result.name} {plus_minus(result)}" for result in results)
        parts.append(f"With {reading} the last epoch's accuracies are {ends} (mean ± SD over trials).")
    return " ".join(parts)


def forms(results: Sequence[Result]) -> str:
    """Say what the other forms of the networks change in plain SGD; nothing where the study has none of them."""
    found = {result.experiment: result for result in results}
    standard = [e for e in found if e.one_hot_encoding and not e.fully_convolutional and not e.momentum]

    def changes(**form: bool) -> list[np.ndarray]:
        others = [(found[e], found.get(replace(e, **form))) for e in standard]
        return [paired(result, other) for result, other in others if other is not None]  # [trials, epochs] each

    text = ""
    if labels := [change[:, -1].mean() for change in changes(one_hot_encoding=False)]:
        text += (
            f" Without one-hot labels the networks' accuracies under plain SGD change by {signed(min(labels), 1)} to "
            f"{signed(max(labels), 1)} points."
        )
    if convolutional := changes(fully_convolutional=True):
        apart = max(np.abs(change).max() for change in convolutional)
        text += " The fully convolutional forms "
        text += f"differ from the mixed ones by up to {apart:.1f} points." if apart else "give the same curves."
    return text


def digits_shown(dataset: str) -> str:
    """Name a data set in prose."""
    return {"mnist": "MNIST", "digits": "the digits embedded in scikit-learn"}[dataset]
