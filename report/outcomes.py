"""What came of the statements in `report.statements`: rows of tables, and what figures draw, from a store."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from lib import Experiment, Result, Store, load
from report import claims, statements, statistics, study
from report.inventory import stored_results
from report.statements import CLASS_TRAINED, DIAL, FROZEN, NAMES, SCORE, UNLABELLED, Part, Read, Statement
from report.statistics import Array, Estimate

STATEMENTS_HEADER = ("no.", "statement, and its parts", "points (99.5 % interval)", "outcome")
ESTIMATES_HEADER = ("contrast", "points (99.5 % interval)")
READINGS_HEADER = ("reading", *(f"{b} − {a}" for a, b in itertools.pairwise(study.NETWORKS)))
CURVES_HEADER = ("reading", *(d.claim for d in claims.DEFINITIONS if d.quantity != "end"))
TABLE_HEADER = ("experiment", "key", "trial", "final_score", "final_train_accuracy", "named_score", "names_right")
SIDE_HEADER = ("dropout", "features read", "without class loss", "with it", "difference (99.5 % interval)")

Row = tuple[str, ...]


def missing(store: Store) -> list[str]:
    """Return the experiments of the statements and the estimates that a store lacks, in words."""
    parts = [*(part for each in statements.STATEMENTS for part in each.parts), *statements.ESTIMATES]
    asked = dict.fromkeys(term.experiment for part in parts for term in part.terms)
    return [str(each) for each in asked if not all_stored(store, each)]


def all_stored(store: Store, experiment: Experiment) -> bool:
    """Say whether a store has an experiment's trials with what is measured at their end."""
    try:
        load(experiment, statements.TRIALS, store, statements.measures(experiment))
    except FileNotFoundError:
        return False
    return True


def estimate(part: Part, read: Read) -> Estimate:
    """Return a part's mean with the interval that judges it."""
    mean, low, high = statements.interval(part.values(read))
    return Estimate(mean, low, high, level=statements.LEVEL)


def number(part: Part, read: Read) -> str:
    """Write what a part is judged by: a mean with its interval, or how many trials lie on the side that is said."""
    if not part.signs:
        return f"{estimate(part, read):+.2f short}"
    values = part.values(read)
    below = part.high == 0
    count = int((values < 0).sum() if below else (values > 0).sum())
    return f"{'below' if below else 'above'} in {count} of {len(values)} trials"


def said_range(part: Part) -> str:
    """Say where a part's mean is said to lie."""
    if np.isinf(part.low):
        return f"below {part.high:g}".replace("-", "−")
    if np.isinf(part.high):
        return f"above {part.low:g}".replace("-", "−")
    return f"between {part.low:g} and {part.high:g}".replace("-", "−")


def statement_rows(several: Sequence[Statement], read: Read) -> list[Row]:
    """Return a row per statement, and under it one per part where it has several."""
    rows: list[Row] = []
    for each in several:
        whole = len(each.parts) == 1
        rows.append((each.name, each.says, number(each.parts[0], read) if whole else "", each.outcome(read)))
        for part in () if whole else each.parts:
            rows.append(("", f"{part.says}: {said_range(part)}", number(part, read), part.outcome(read)))
    return rows


def estimate_rows(read: Read, parts: Sequence[Part] = statements.ESTIMATES) -> list[Row]:
    """Return a row per estimate; nothing is claimed of them."""
    return [(part.says, f"{estimate(part, read):+.2f short}") for part in parts]


def outcomes(read: Read) -> dict[str, list[str]]:
    """Return the numbers of the statements that are confirmed, refuted and not settled."""
    found: dict[str, list[str]] = {"confirmed": [], "refuted": [], "not settled": []}
    for each in statements.STATEMENTS:
        found[each.outcome(read)].append(each.name)
    return found


def dial(read: Read) -> dict[float, Array]:
    """Return what the comparison reaches at each spread of the features within their class, `[trials]` each."""
    by_spread = {**{spread: read(each, SCORE) for spread, each in DIAL.items()}, 1: read(CLASS_TRAINED, SCORE)}
    return dict(sorted(by_spread.items()))


def unlabelled(read: Read) -> dict[int, Array]:
    """Return the same at half the spread around centres that were found without labels, by their number."""
    return {centres: read(each, SCORE) for centres, each in UNLABELLED.items()}


def extractors(read: Read) -> dict[str, tuple[Array, Array]]:
    """Return what is reached on each frozen extractor by reading features, and by reading names: `[trials]` each."""
    return {name: (read(each, SCORE), read(each, NAMES)) for name, each in FROZEN.items()}


def side_rows(read: Read) -> list[Row]:
    """Return a row per form of SIDE: what the class loss is worth with and without dropout and a narrow reading."""
    rows: list[Row] = []
    for dropout in (False, True):
        for narrow in (False, True):
            without, with_ = (read(statements.side(weight, dropout, narrow), SCORE) for weight in (0, 1))
            worth = estimate(Part("", statements.worth(dropout, narrow)), read)
            words = ("0.5 in both" if dropout else "none", f"128 → {32 if narrow else 128}")
            rows.append((*words, f"{without.mean():.2f}", f"{with_.mean():.2f}", f"{worth:+.2f short}"))
    return rows


def results(store: Store, trials: int = statements.TRIALS) -> list[Result]:
    """Return all results of the statements, the estimates and the readings that are stored."""
    return stored_results(store, statements.asked(), trials, required=[])


def table(store: Store, trials: int = statements.TRIALS) -> list[list[str]]:
    """Return a row per stored experiment and trial for `statements.csv`: its measures in percent, empty where none."""
    rows = []
    for experiment in (result.experiment for result in results(store, trials)):
        names = [name for name in statements.measures(experiment) if name != "digit_names"]
        try:
            measured = load(experiment, trials, store, names).measures
        except FileNotFoundError:  # the training is stored, and its end was not measured yet
            continue
        columns = [measured.get(name, measured.get(f"{name}_auxiliary")) for name in TABLE_HEADER[3:]]
        for trial in range(trials):
            values = ("" if column is None else f"{column[trial]:.10g}" for column in columns)
            rows.append([str(experiment), experiment.key, str(trial), *values])
    return rows


def reading_results(store: Store, trials: int = statements.TRIALS) -> dict[str, list[Result]]:
    """Return the results of the four networks under each reading and what-if that is stored, with `final_score`."""
    found = {}
    for name, words in {**statements.READINGS, **statements.WHAT_IFS}.items():
        with suppress(FileNotFoundError):  # one that was written down, and not trained yet
            found[name] = [load(statements.reading(each, words), trials, store, [SCORE]) for each in study.NETWORKS]
    return found


def ends(results: Mapping[str, Sequence[Result]]) -> list[Row]:
    """Return a row per reading: the three differences at the end, on the 5,000 pairs of `final_score`."""
    rows: list[Row] = []
    for name, four in results.items():
        scores = [result.values(SCORE) for result in four]
        pairs = itertools.pairwise(scores)
        rows.append((name, *(f"{statistics.paired_difference(*pair):+.2f short}" for pair in pairs)))
    return rows


def curve_rows(results: Mapping[str, Sequence[Result]]) -> list[Row]:
    """Return a row per reading: the ledger's quantities that are about curves, described and not judged."""
    rows: list[Row] = []
    for name, four in results.items():
        found = [c for c in claims.ledger({name: four}) if c.claim in CURVES_HEADER]
        rows.append((name, *(f"{c.interval:{'+.2f' if c.unit == 'points' else '+.3f'} short}" for c in found)))
    return rows


def admitted(results: Mapping[str, Sequence[Result]], gain: float = 1.0) -> list[str]:
    """Return the readings under which every network gains less than `gain` points over its last 20 epochs."""
    return [
        name
        for name, four in results.items()
        if max(statistics.plateau(result.accuracy).mean() for result in four) < gain
    ]
