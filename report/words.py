"""Sentences with numbers, computed from results: the report's prose contains no typed number that a run produced."""

from collections.abc import Mapping, Sequence

from lib import Analysis
from report import statistics
from report.figures import Curve
from report.statistics import PairedDifference
from report.style import COLOURS


def curve(analysis: Analysis, line: str = "-") -> Curve:
    """Return what a figure draws of a result."""
    colour = COLOURS.get(analysis.experiment.architecture, "#555555")
    band = statistics.simultaneous_band(analysis.accuracy) if analysis.trials > 1 else None
    return Curve(analysis.mean, analysis.sd, analysis.trials, band, colour, line)


def plus_minus(analysis: Analysis) -> str:
    """Return the accuracy after the last epoch, such as "81.3 ± 1.2 %": mean and SD over trials."""
    return f"{analysis.mean[-1]:.1f} ± {analysis.sd[-1]:.1f} %"


def interval(difference: PairedDifference) -> str:
    """Return a difference and its interval, such as "+1.2 points (95 % interval +0.8 to +1.6)"."""
    return f"{difference.mean:+.2f} points (95 % interval {difference.low:+.2f} to {difference.high:+.2f})"


def comparison(a: Analysis, b: Analysis) -> str:
    """Say what two results show after the last epoch; with few trials only which mean is higher."""
    difference = statistics.paired_difference(a.accuracy[:, -1], b.accuracy[:, -1])
    text = (
        f"After {a.experiment.epochs} epochs {a.name} reaches {plus_minus(a)} and {b.name} {plus_minus(b)} "
        f"(mean ± standard deviation over {a.trials} trials). Trial by trial, on the same pairs in the same order, "
        f"{b.name} differs from {a.name} by {interval(difference)}, and is the better one in "
        f"{100 * difference.superiority:.0f} % of the trials (ties counted half). "
    )
    if a.trials < statistics.TRIALS_FOR_A_VERDICT:
        direction = statistics.direction(difference)
        finding = "the means are equal" if direction == "equal" else f"the mean of {b.name} is the {direction} one"
        return text + f"{a.trials} trials are too few for a verdict: we report only that {finding}."
    if difference.low <= 0 <= difference.high:
        return text + "The interval contains 0: which of the two is better stays open."
    return (
        text + f"The interval does not contain 0: {b.name} is the {'better' if difference.mean > 0 else 'worse'} one."
    )


def comparison_caption(a: Analysis, b: Analysis, reading: str) -> str:
    """Return the caption of a comparison: centre, spread and n."""
    return (
        f"{a.name} and {b.name}, {reading}, {digits_shown(a.experiment.dataset)}. Above: mean test accuracy over "
        f"{a.trials} trials after each epoch; light: ± one standard deviation over trials (ddof 1), dark: "
        "simultaneous 95 % band of the mean. Below: mean of the paired difference, trial by trial, with its "
        "simultaneous 95 % band (dotted where too few trials differ). All trials draw from the same test digits: "
        "the bands hold given these."
    )


def comparison_alt(a: Analysis, b: Analysis) -> str:
    """Describe a comparison's figure to whoever cannot see it."""
    e = a.experiment.epochs
    return (
        f"Line chart over {e} epochs. {a.name} goes from {a.mean[0]:.1f} to {a.mean[-1]:.1f} percent, "
        f"{b.name} from {b.mean[0]:.1f} to {b.mean[-1]:.1f}; below, their difference, which ends at "
        f"{b.mean[-1] - a.mean[-1]:+.1f} points."
    )


def curves_caption(results: Sequence[Analysis], reading: str) -> str:
    """Return the caption of the figure with all networks."""
    first = results[0]
    return (
        f"The {len(results)} networks with {reading}: mean test accuracy over {first.trials} trials after each "
        "epoch; light: ± one standard deviation over trials (ddof 1), dark: simultaneous 95 % band of the mean."
    )


def curves_alt(results: Sequence[Analysis], reading: str) -> str:
    """Describe that figure to whoever cannot see it."""
    ends = ", ".join(f"{result.name} {result.mean[-1]:.1f}" for result in results)
    return f"Line chart over {results[0].experiment.epochs} epochs, {reading}. Percent at the end: {ends}."


def abstract(readings: Mapping[str, Sequence[Analysis]]) -> str:
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


def digits_shown(dataset: str) -> str:
    """Name a data set in prose."""
    return {"mnist": "MNIST", "digits": "the digits embedded in scikit-learn"}[dataset]
