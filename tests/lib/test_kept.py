"""Files of measures: beside the results, which never change for them; trusted only where they are what they say."""

import gzip
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lib import Store, kept, load, run_analysis, store, training
from lib.kept import decoded, encoded, read_measure
from lib.store import DamagedResultError
from tests.lib.own import tiny

PLAIN = "tests.lib.own:Mixed"
networks = pytest.mark.parametrize("architecture", ["CAUX", PLAIN], ids=["stack", "plain"])
NAMES = ("final_score", "weight_norms")


def run(experiment, trials, folder, *measures, **options):
    """Train or read in this process."""
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "progress": False, **options}
        return run_analysis(experiment, trials, measures=measures, store=Store(folder), **options)


def files_of(folder, pattern="*"):
    """Names below a folder, with what is in the files and when they were written."""
    found = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def content(path):
    """What a file says, as JSON."""
    return json.loads(gzip.decompress(path.read_bytes()))


def same_measures(one, other):
    assert one.measures.keys() == other.measures.keys()
    for name, values in one.measures.items():
        np.testing.assert_array_equal(values, other.measures[name])


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Three trials of CAUX with two measures."""
    folder = tmp_path_factory.mktemp("taken")
    return folder, run(tiny("CAUX"), 3, folder, *NAMES)


@pytest.fixture
def folder(taken, tmp_path):
    """A copy of them, to do harm to."""
    return shutil.copytree(taken[0], tmp_path / "results")


def path_of(folder, name="final_score"):
    [path] = folder.rglob(f"measure-{name}-*")
    return path


# ---------------------------------------------------------------- what is written


def test_each_measure_has_a_file_beside_the_group(taken):
    folder, result = taken
    [group] = (path.parent for path in Store(folder).files())
    assert group.name == f"CAUX-{tiny('CAUX').key}", "measures are no part of the key"
    paths = {name: folder / group.name / f"{kept.stem(name, '')}-000-002.json.gz" for name in NAMES}
    assert {path.name for path in group.iterdir()} == {"trials-000-002.json.gz", *(p.name for p in paths.values())}
    measured = content(paths["final_score"])
    assert measured["values"]["final_score"] == result.measures["final_score"].tolist()
    assert (measured["measure"], measured["trials"], measured["differing"]) == ("final_score", [0, 1, 2], [])
    assert measured["configuration"] == tiny("CAUX").configuration
    assert measured["provenance"] == result.records[0]["provenance"]
    assert "measures" not in result.records[0] and "final_score" not in str(result.records[0])


def test_what_is_stored_and_measured_is_not_trained_again(folder):
    before = files_of(folder)
    again = run(tiny("CAUX"), 3, folder, *NAMES)
    fewer = run(tiny("CAUX"), 2, folder, "final_score")
    assert files_of(folder) == before
    assert fewer.measures["final_score"].tolist() == again.measures["final_score"].tolist()[:2]
    same_measures(load(tiny("CAUX"), 3, Store(folder), NAMES), again)
    assert load(tiny("CAUX"), 3, Store(folder)).measures == {}


@networks
def test_a_measure_asked_for_later_is_the_same_and_no_byte_of_a_result_changes(architecture, tmp_path):
    experiment = tiny(architecture)
    at_once = run(experiment, 3, tmp_path / "at once", *NAMES)
    run(experiment, 3, tmp_path / "later")
    before = files_of(tmp_path / "later")
    assert list(before) == ["trials-000-002.json.gz"]
    later = run(experiment, 3, tmp_path / "later", *NAMES)
    assert before.items() <= files_of(tmp_path / "later").items(), "neither its content nor its time"
    assert len(files_of(tmp_path / "later")) == len(files_of(tmp_path / "at once"))
    same_measures(later, at_once)
    results = [
        [{name: value for name, value in each.items() if name != "provenance"} for each in result.records]
        for result in (later, at_once)
    ]
    assert results[0] == results[1]


def test_of_more_trials_of_a_stack_all_are_measured_as_the_longer_group(tmp_path):
    """A group of three is no part of one of five: rounding depends on the size of the stack."""
    first = run(tiny(), 3, tmp_path / "grown", *NAMES)
    before = files_of(tmp_path / "grown")
    more = run(tiny(), 5, tmp_path / "grown", *NAMES)
    assert before.items() <= files_of(tmp_path / "grown").items()
    assert {name[-15:-8] for name in files_of(tmp_path / "grown", "measure-*")} == {"000-002", "000-004"}
    same_measures(more, run(tiny(), 5, tmp_path / "at once", *NAMES))
    before = files_of(tmp_path / "grown")
    again = run(tiny(), 3, tmp_path / "grown", *NAMES)
    assert files_of(tmp_path / "grown") == before
    for name in again.measures:
        np.testing.assert_array_equal(again.measures[name], more.measures[name][:3])
        assert first.measures[name].shape == again.measures[name].shape
    # Another one, of three, is taken in the training of those five that stand for them.
    run(tiny(), 3, tmp_path / "grown", "train_accuracy")
    assert list(files_of(tmp_path / "grown", "measure-train_accuracy-*")) == [
        f"{kept.stem('train_accuracy', '')}-000-004.json.gz"
    ]


def test_of_more_trials_of_a_plain_module_only_those_that_lack_are_trained(tmp_path, monkeypatch):
    log = tmp_path / "trained.log"
    experiment = tiny("tests.lib.own:Bare")
    run(experiment, 1, tmp_path / "battery", *NAMES)  # which builds some, too
    monkeypatch.setenv("EVENT_LOG", str(log))
    first = run(experiment, 3, tmp_path / "grown", *NAMES)
    before, built = files_of(tmp_path / "grown", "measure-*"), len(log.read_text().splitlines())
    assert {name[-15:-8] for name in before} == {"000-000", "001-001", "002-002"}
    more = run(experiment, 5, tmp_path / "grown", *NAMES)
    after = files_of(tmp_path / "grown", "measure-*")
    assert before.items() <= after.items() and len(after) == 2 * 5
    assert len(log.read_text().splitlines()) - built == 1 + 2, "one to try the measures, two trials"
    for name in first.measures:
        np.testing.assert_array_equal(more.measures[name][:3], first.measures[name])
        assert more.measures[name].shape[0] == 5
    assert "trials-000-004.json.gz" in files_of(tmp_path / "grown")


def test_groups_may_have_their_measures_in_different_folders(tmp_path):
    """Some are in one that is only read; what lacks is written to one's own, and read together."""
    experiment, published, own = tiny(epochs=1), tmp_path / "published", tmp_path / "own"
    run(experiment, 25, published, "final_score")
    before = files_of(published)
    both = Store(own, also=[published])
    with ThreadPoolExecutor(1) as executor:
        options = {"store": both, "progress": False, "executor": executor}
        run_analysis(experiment, 26, **options)
        result = run_analysis(experiment, 26, measures=["final_score"], **options)
        later = run_analysis(experiment, 26, measures=["weight_norms"], **options)
    assert result.measures["final_score"].shape == (26,)
    assert files_of(published) == before
    assert {name[-15:-8] for name in files_of(own, "measure-final*")} == {"025-025"}
    assert {name[-15:-8] for name in files_of(own, "measure-weight*")} == {"000-024", "025-025"}
    same_measures(run(experiment, 26, tmp_path / "at once", "final_score"), result)
    assert later.measures["weight_norm_extract"].shape == (26, 1)


# ---------------------------------------------------------------- trained anew, and otherwise


@networks
def test_what_came_out_otherwise_when_it_was_measured_is_said_in_a_line_and_stored(architecture, tmp_path, capsys):
    """As on another processor: the stored record has other counts of one of three trials."""
    experiment = tiny(architecture)
    [record] = training.train(experiment, range(3))
    counts = record["test_correct"][1]
    counts[0] += 1 if counts[0] < experiment.test_pairs else -1
    stored = Store(tmp_path).write(record)
    before = stored.read_bytes(), stored.stat().st_mtime_ns
    for _ in range(2):  # it is taken, and then read
        result = run(experiment, 3, tmp_path, "final_score", progress=True)
        said = [line for line in capsys.readouterr().err.splitlines() if "other counts" in line]
        assert said == [
            f"final_score of {experiment.name}: when it was taken, 1 of 3 trials had other counts of right answers "
            "than the stored ones: on another processor, or by other versions"
        ]
    assert (stored.read_bytes(), stored.stat().st_mtime_ns) == before
    assert result.values("test_correct")[1].tolist() == counts
    differing = [content(path)["differing"] for path in sorted(tmp_path.rglob("measure-*"))]
    assert differing == ([[], [1], []] if experiment.is_plain() else [[1]])
    load(experiment, 3, Store(tmp_path), ["final_score"])
    run(experiment, 1, tmp_path, "final_score", progress=True)  # which was the same
    assert capsys.readouterr().err == ""


def test_nothing_is_said_where_the_counts_are_the_same(tmp_path, capsys):
    run(tiny(), 3, tmp_path)
    run(tiny(), 3, tmp_path, "final_score", progress=True)
    assert "other counts" not in capsys.readouterr().err


# ---------------------------------------------------------------- what cannot be had or trusted


@pytest.mark.parametrize("name", ["weight_norms", "no_such_measure"])
def test_a_measure_that_is_not_stored_is_not_loaded(folder, name):
    for path in folder.rglob("measure-weight_norms-*"):
        path.unlink()
    experiment = tiny("CAUX")
    sentence = f"^no stored measure {name} of {experiment}, trials 0 to 2$"
    with pytest.raises(FileNotFoundError, match=sentence):
        load(experiment, 3, Store(folder), measures=["final_score", name])
    with pytest.raises(TypeError, match=r"^measures is 'final_score'; allowed: a list of names$"):
        load(experiment, 3, Store(folder), measures="final_score")


def rewritten(path, **changes):
    """Write a file anew with other fields and the checksum that belongs to them."""
    measured = {name: value for name, value in content(path).items() if name != "sha256"}
    path.write_bytes(store.packed({**measured, **changes}))


def rename(path, old, new):
    assert old in path.name
    path.rename(path.with_name(path.name.replace(old, new)))


def of_another(folder):
    """Put another experiment's file in the place of this one's."""
    other = folder.parent / "other"
    run(tiny("CAUX", seed=1), 3, other, "final_score")
    shutil.copyfile(path_of(other), path_of(folder))


STEMS = {name: kept.stem(name, "") for name in (*NAMES, "final_train_accuracy")}
DAMAGE = {
    "Compressed file ended before the end-of-stream marker was reached|invalid|incorrect": lambda folder: path_of(
        folder
    ).write_bytes(path_of(folder).read_bytes()[:-20]),
    "Not a gzipped file": lambda folder: path_of(folder).write_bytes(b"{}"),
    r"its checksum \w+ does not fit its contents": lambda folder: path_of(folder).write_bytes(
        gzip.compress(gzip.decompress(path_of(folder).read_bytes()).replace(b'"final_score":[', b'"final_score":[9'))
    ),
    "its schema is 9, and this version of the code reads 1": lambda folder: rewritten(path_of(folder), schema=9),
    "its fields differ from the schema": lambda folder: rewritten(path_of(folder), more=1),
    "its trials are not consecutive": lambda folder: rewritten(path_of(folder), trials=[0, 2, 1]),
    "final_score is not given for each of the 3 trials, in numbers": lambda folder: rewritten(
        path_of(folder), values={"final_score": [1.0, 2.0]}
    ),
    "it holds another measure or is of another experiment": of_another,
    r"it holds what belongs into measure-final_score-\w+-000-002.json.gz": lambda folder: rename(
        path_of(folder), "000-002", "000-003"
    ),
    "it holds another measure": lambda folder: rename(
        path_of(folder), STEMS["final_score"], STEMS["final_train_accuracy"]
    ),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_a_file_that_is_not_what_it_says_is_found_named_and_can_be_taken_again(reason, folder, taken):
    DAMAGE[reason](folder)
    name = "final_train_accuracy" if reason == "it holds another measure" else "final_score"
    path, experiment = path_of(folder, name), tiny("CAUX")
    for read in (load, lambda e, trials, held, measures: run(e, trials, held.root, *measures)):
        with pytest.raises(DamagedResultError, match=reason) as caught:
            read(experiment, 3, Store(folder), [name])
        sentence = str(caught.value)
        assert sentence.startswith(f"{path} cannot be trusted: ") and "\n" not in sentence
        assert sentence.endswith(". Remove it to have the measure taken again")
    assert load(experiment, 3, Store(folder), ["weight_norms"]).accuracy.shape == (3, 2), "the rest is as it was"
    path.unlink()
    again = run(experiment, 3, folder, name)
    if name == "final_score":
        np.testing.assert_array_equal(again.measures[name], taken[1].measures[name])


def test_a_file_that_was_taken_by_another_source_is_not_read_by_another_name(tmp_path, own_module):
    source = "import torch\ndef own(network, teacher): return torch.ones(teacher.trials)"
    name = own_module(source)
    run(tiny(), 3, tmp_path / "results", f"{name}:own")
    [first] = (tmp_path / "results").rglob("measure-*")
    (tmp_path / f"{name}.py").write_text(source.replace("ones", "zeros"))
    run(tiny(), 3, tmp_path / "results", f"{name}:own")
    [second] = set((tmp_path / "results").rglob("measure-*")) - {first}
    first.replace(second)
    with pytest.raises(DamagedResultError, match=f"it holds what belongs into {first.name}"):
        load(tiny(), 3, Store(tmp_path / "results"), [f"{name}:own"])


def test_a_flipped_bit_is_found_or_changes_nothing(folder, taken):
    path, rng, experiment = path_of(folder), random.Random(4), tiny("CAUX")
    raw, found = path.read_bytes(), 0
    for _ in range(200):
        damaged = bytearray(raw)
        damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            [(values, differing)] = [read_measure(Store(folder), experiment.configuration, range(3), "final_score", "")]
        except DamagedResultError as error:
            assert str(error).startswith(f"{path} cannot be trusted: ")
            found += 1
        else:  # in what gzip does not look at, such as the time
            np.testing.assert_array_equal(values["final_score"], taken[1].measures["final_score"])
            assert differing == []
    assert found > 150


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (np.array([[1, 2, 9], [0, 0, 7]], np.uint8), ["129", "007"]),
        (np.array([[1, 10], [255, 0]], np.uint8), [[1, 10], [255, 0]]),
        (np.array([3, 4], np.uint8), [3, 4]),
        (np.array([[True, False]]), [[1, 0]]),
        (np.array([2**53 + 1, -5]), [2**53 + 1, -5]),
        (np.array([1 / 3, 1e-12 / 7, -0.0, 1e300]), [0.333333, 1.42857e-13, 0.0, 1e300]),
        (np.array([[0.1], [2 / 3]], np.float32), [[0.1], [0.666667]]),
        (np.zeros((2, 0)), [[], []]),
    ],
)
def test_values_are_stored_as_digits_whole_numbers_or_six_of_their_digits(values, rows):
    assert encoded(values) == rows
    back = decoded(json.loads(json.dumps(rows)))
    assert back.shape == values.shape
    np.testing.assert_allclose(back, values, rtol=5e-6)
    assert (back.dtype == np.uint8) == isinstance(rows[0], str)
