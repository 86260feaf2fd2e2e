"""What others take away: all results as two tables, and a data dictionary of them (Frictionless Data Package).

`epochs.csv.gz` has a row per experiment of the study, trial and epoch; `final.csv.gz` a row per training of all
published stores, after its last epoch. What cannot be read off a column's name is in `datapackage.json`, beside them.
"""

import gzip
import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from lib import Experiment, Result, Store, files, kept
from lib.analysis import PREREGISTERED, PUBLISHED, sources
from lib.experiment import SETTINGS, TYPES
from lib.machine import ROOT
from lib.store import Record
from lib.table import held, once
from report.implementations import BY_TORCH

STORES = (PUBLISHED, PREREGISTERED, BY_TORCH)
MEASURES = ("final_score", "final_train_accuracy", "named_score")
LISTS = ("test_correct", "train_loss", "test_loss")  # of each head
HEADS = [f"{head}{name}" for head in ("", "auxiliary_") for name in LISTS]
MEASURED = {  # the names of the measures' values, and what they are
    "final_score": "percentage of right answers to all test digits, paired anew (`final_pairs` pairs), after the end",
    "final_pairs": "pairs of which final_score is the percentage",
    "final_train_accuracy": "percentage of the training pairs answered rightly, after the end",
    "named_score_auxiliary": "percentage of right answers that comparing the class head's two names would give",
    "names_right_auxiliary": "percentage of digits that the class head names rightly",
}
SETTINGS_MEAN = {  # what a setting's own name and remark do not say
    "architecture": "network: SN, WSN, SAUX, CAUX, one of lib/interventions.py, or module:Class",
    "fully_convolutional": "whether linear layers are convolutions",
    "one_hot_encoding": "whether there is an output per class, with cross-entropy; else one, with the squared error",
    "sigmoid": "whether every output passes a sigmoid",
    "sigmoids": "the heads whose outputs do, joined by +; empty: as sigmoid says",
    "channels": "maps of the two convolutions",
    "hidden": "features of the comparison's hidden layers",
    "auxiliary_hidden": "features of an auxiliary head's hidden layer",
    "auxiliary_weight": "factor of an auxiliary head's loss, which is added to the answer's",
    "dataset": "where the digits come from",
    "train_pairs": "pairs in a trial's training set",
    "test_pairs": "pairs in a trial's test set: accuracy in percent is 100 * test_correct / config.test_pairs",
    "train_digits": "distinct digits in a trial's training pairs; 0: two per pair, none used twice",
    "epochs": "passes over the training set",
    "batch_size": "pairs in a batch",
    "optimizer": "sgd or adam",
    "learning_rate": "of the optimizer",
    "momentum": "of SGD; 0: plain",
    "seed": "root of all random streams",
    "first": "heads that train alone for the first epochs",
    "first_epochs": "how many epochs these are",
    "frozen": "parts that learn nothing after them",
    "dropout": "share of features dropped in the comparison",
    "auxiliary_dropout": "share of features dropped in the class head",
}
DESCRIBED = MEASURED | {
    "store": "folder below report/ that holds the training",
    "experiment": "the experiment in words, as Experiment.parse of this project reads it",
    "key": "name of the experiment: the beginning of a SHA-256 of its configuration",
    "trial": "number of the training: the same pairs under the same number, where data, their number and seed agree",
    "epoch": "from 1; the values are those after it",
    "fingerprint": "of the trial's pairs: trainings with the same one may be compared pair by pair",
    "implementation": "what computed the convolution block",
    "test_correct": "right answers to the test set, of config.test_pairs",
    "train_loss": "mean loss of the answer over the epoch's training batches",
    "test_loss": "mean loss of the answer on the test set",
    "auxiliary_total": "answers of the auxiliary head to the test set: SAUX 1 per pair, a class head 2; empty without",
    "auxiliary_test_correct": "right answers of the auxiliary head to the test set: SAUX's, of config.test_pairs; a "
    "class head's, of 2 * config.test_pairs (each digit)",
    "auxiliary_train_loss": "mean loss of the auxiliary head over the epoch's training batches",
    "auxiliary_test_loss": "mean loss of the auxiliary head on the test set",
}
TEXTS = {"store", "experiment", "key", "fingerprint", "implementation"}
WHOLE = {"trial", "epoch", "test_correct", "auxiliary_test_correct", "auxiliary_total", "final_pairs"}
KINDS = {bool: "boolean", str: "string", int: "integer", float: "number"}
KEYS = {"epochs": ["key", "trial", "epoch"], "final": ["store", "key", "trial"]}
TITLES = {
    "epochs": "Every epoch of every trial of the study",
    "final": "Every training of all published stores, after its last epoch",
}

Row = list[Any]


def derived(results: Sequence[Result]) -> dict[str, str | bytes]:
    """Return the files by their names: both tables, packed the same each time, and their dictionary."""
    found = dict(zip(TITLES, (epochs(results), final()), strict=True))
    packed = {f"{name}.csv.gz": gzip.compress(table(*each).encode(), 9, mtime=0) for name, each in found.items()}
    return {**packed, "datapackage.json": dictionary({name: header for name, (header, _) in found.items()})}


def outdated(results: Sequence[Result], folder: Path = ROOT / "report" / "published") -> list[str]:
    """Return which of these files are missing or hold something else; how zlib packed them does not count."""
    return [name for name, new in derived(results).items() if unpacked(folder / name) != plain(name, new)]


def unpacked(file: Path) -> bytes | None:
    """Return what a file holds, or None where it is missing."""
    return plain(file.name, file.read_bytes()) if file.is_file() else None


def plain(name: str, content: str | bytes) -> bytes:
    """Return the content of a file without its packing."""
    content = content.encode() if isinstance(content, str) else content
    return gzip.decompress(content) if name.endswith(".gz") else content


def table(header: Sequence[str], rows: Iterable[Row]) -> str:
    """Return the text of a table."""
    return files.table(header, rows)


def counting(experiments: Iterable[Experiment]) -> list[str]:
    """Return the settings that have a column: those that do something in at least one of these experiments."""
    several = list(experiments)
    return [name for name, known in SETTINGS.items() if any(getattr(e, name) != known.neutral for e in several)]


def said(experiment: Experiment, settings: Sequence[str]) -> Row:
    """Return the columns that say an experiment."""
    return [str(experiment), experiment.key, *(getattr(experiment, name) for name in settings)]


def columns(settings: Sequence[str]) -> list[str]:
    """Return their names."""
    return ["experiment", "key", *(f"config.{name}" for name in settings)]


def epochs(results: Sequence[Result]) -> tuple[list[str], Iterator[Row]]:
    """Return the header and the rows of the table of epochs."""
    settings = counting(result.experiment for result in results)

    def rows() -> Iterator[Row]:
        for result in results:
            constant = said(result.experiment, settings)
            trials = ((record, place) for record in result.records for place in range(len(record["trials"])))
            for record, place in trials:
                trial, several = record["trials"][place], curves(record, place)
                if trial < result.trials:
                    for epoch, values in enumerate(zip(*several, strict=True), 1):
                        yield [*constant, trial, epoch, *values]

    return [*columns(settings), "trial", "epoch", *HEADS], rows()


def curves(record: Record, place: int) -> list[Sequence[Any]]:
    """Return the values of each epoch of one trial of a record, for each of HEADS; empty ones of a head it has not."""
    lists = cast(dict[str, Any], record)
    return [[""] * record["configuration"]["epochs"] if lists[n] is None else lists[n][place] for n in HEADS]


def final(stores: Sequence[Path] = STORES) -> tuple[list[str], list[Row]]:
    """Return the header and the rows of the table of trainings."""
    found = [(Store(root), *each) for root in stores for each in held(Store(root), None)]
    settings, named = counting(experiment for _, experiment, _ in found), sources(MEASURES)
    rows = []
    for store, experiment, records in found:
        for record, places in once(records):
            measured: dict[str, Any] = {}
            trials = range(record["trials"][0], record["trials"][-1] + 1)
            for each in named:
                values, _ = kept.read_measure(store, record["configuration"], trials, *each) or ({}, [])
                measured |= values
            total = record["auxiliary_total"]
            for place in places:
                rows.append(
                    [
                        store.root.name,
                        *said(experiment, settings),
                        record["trials"][place],
                        record["fingerprints"][place],
                        record["provenance"]["implementation"],
                        *(each[-1] for each in curves(record, place)),
                        "" if total is None else total,
                        *(measured[name][place].item() if name in measured else "" for name in MEASURED),
                    ]
                )
    header = ["store", *columns(settings), "trial", "fingerprint", "implementation", *HEADS, "auxiliary_total"]
    return [*header, *MEASURED], rows


def dictionary(headers: dict[str, list[str]]) -> str:
    """Return the text of `datapackage.json`, which says of each table what its columns are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    urls = project.get("urls", {})
    package = {
        "profile": "tabular-data-package",
        "name": project["name"],
        "title": "Four small networks on pairs of digits: all results",
        "description": project["description"],
        "version": project["version"],
        **({"homepage": next(iter(urls.values()))} if urls else {}),
        "licenses": [{"name": "MIT", "title": "MIT License", "path": "https://opensource.org/license/mit"}],
        "resources": [resource(name, header) for name, header in headers.items()],
    }
    return json.dumps(package, indent=2, ensure_ascii=False) + "\n"


def resource(name: str, header: Sequence[str]) -> dict[str, Any]:
    """Return what the dictionary says of one table."""
    left = [f"{setting}={SETTINGS[setting].neutral!r}" for setting in SETTINGS if f"config.{setting}" not in header]
    without = f". Settings that do nothing in any row have no column: {', '.join(left)}" if left else ""
    return {
        "profile": "tabular-data-resource",
        "name": name,
        "path": f"{name}.csv.gz",
        "title": TITLES[name],
        "description": TITLES[name] + without,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "compression": "gz",
        "schema": {"fields": [described(column) for column in header], "missingValues": [""], "primaryKey": KEYS[name]},
    }


def described(column: str) -> dict[str, Any]:
    """Return what the dictionary says of one column."""
    setting = column.removeprefix("config.")
    if setting == column:
        kind = "string" if column in TEXTS else "integer" if column in WHOLE else "number"
        return {"name": column, "type": kind, "description": DESCRIBED[column]}
    known = SETTINGS[setting]
    by = f"setting {setting}, by {known.source}{f': {known.remark}' if known.remark else ''}"
    by = f"{SETTINGS_MEAN[setting]} ({by})" if setting in SETTINGS_MEAN else by
    return {"name": column, "type": KINDS[TYPES[setting]], "description": by}
