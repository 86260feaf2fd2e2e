"""From experiments to results: what is stored is read, what is missing is trained, and nothing else."""

import dataclasses
import inspect
import itertools
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lib import datasets, store, training
from lib.analysis import PREREGISTERED, PUBLISHED, STACK, default_store, load, paired, run_analysis, run_study, stacks
from lib.experiment import Experiment
from lib.machine import ROOT
from lib.pairs import draw_trial, fingerprint
from lib.store import Store
from lib.workers import StudyError
from tests.lib.own import norms, tiny

TRIALS = 30  # two groups: 25 and 5
TINY = Experiment(
    architecture="CAUX",
    dataset="digits",
    channels="2-3",
    hidden="4",
    train_pairs=20,
    test_pairs=30,
    batch_size=10,
    epochs=2,
)
OTHER = dataclasses.replace(TINY, architecture="SN")


def run(experiment, trials=TRIALS, folder=None, **options):
    """Train in this process, one stack after the other; two of them would otherwise go to spawned processes."""
    with ThreadPoolExecutor(1) as executor:
        common = {"store": folder and Store(folder), "executor": executor, "implementation": "torch"}
        return run_analysis(experiment, trials, **{**common, "progress": False, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with 30 trials of two experiments, and their results."""
    root = tmp_path_factory.mktemp("trained")
    return root, run(TINY, folder=root), run(OTHER, folder=root)


@pytest.fixture
def root(trained, tmp_path):
    """A copy of that store, to do harm to."""
    return shutil.copytree(trained[0], tmp_path / "results")


@pytest.fixture
def built(tmp_path, monkeypatch):
    """The trials of each stack of `tests.lib.own:Eventful` that was built since."""
    log = tmp_path / "built.log"
    monkeypatch.setenv("EVENT_LOG", str(log))
    return lambda: [int(line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []


def is_stored(experiment, trials, held=None):
    """Whether a result can be loaded, and so without training."""
    try:
        return load(experiment, trials, held).trials == trials
    except FileNotFoundError:
        return False


def files_of(root):
    """Everything below a folder: what trained, or wrote, would show."""
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in root.rglob("*") if file.is_file()}


def results_of(result):
    """Everything that must not depend on when, where and in what pieces it was computed."""
    return [{name: value for name, value in record.items() if name != "provenance"} for record in result.records]


def path_of(root, experiment, first, last):
    return store.group_path(root, experiment.configuration, range(first, last + 1))


def test_a_result_unpacks_as_name_mean_and_standard_deviation_with_ddof_1(trained):
    root, result, _ = trained
    files = [path_of(root, TINY, *ends) for ends in ((0, 24), (25, 29))]
    correct = [row for file in files for row in store.read(file)["test_correct"]]
    assert len(correct) == TRIALS
    name, mean, sd = result
    assert name == "CAUX"
    assert mean.shape == sd.shape == (TINY.epochs,)
    for epoch in range(TINY.epochs):
        percent = [100 * row[epoch] / TINY.test_pairs for row in correct]
        assert mean[epoch] == pytest.approx(statistics.mean(percent), rel=1e-12)
        assert sd[epoch] == pytest.approx(statistics.stdev(percent), rel=1e-12)
        assert sd[epoch] > 0  # else ddof would not be seen
        assert min(percent) >= 0 and max(percent) <= 100


def test_a_single_trial_has_no_standard_deviation_and_says_so_without_a_warning(root):
    _, mean, sd = load(TINY, 1, store=Store(root))
    assert sd.shape == (TINY.epochs,) and np.isnan(sd).all()
    assert np.isfinite(mean).all()
    assert not np.isnan(load(TINY, 2, store=Store(root)).sd).any()


def test_a_result_cannot_be_changed_and_knows_its_experiment(trained):
    result = trained[1]
    assert (result.experiment, result.trials, result.accuracy.shape) == (TINY, TRIALS, (TRIALS, TINY.epochs))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.trials = 1
    assert result.values("train_loss").shape == (TRIALS, TINY.epochs)


def test_the_fingerprints_are_those_of_each_trials_pairs(trained):
    expected = [
        fingerprint(*draw_trial("digits", TINY.train_pairs, TINY.test_pairs, TINY.seed, trial))
        for trial in range(TRIALS)
    ]
    assert trained[1].fingerprints == expected
    assert len(set(expected)) == TRIALS


def test_the_auxiliary_accuracy_is_that_of_its_own_head_over_its_own_answers(trained):
    _, caux, sn = trained
    assert sn.auxiliary_accuracy is None
    total = 2 * TINY.test_pairs  # both digits of a pair
    assert caux.auxiliary_accuracy.shape == (TRIALS, TINY.epochs)
    expected = [[100 * right / total for right in row] for r in caux.records for row in r["auxiliary_test_correct"]]
    np.testing.assert_allclose(caux.auxiliary_accuracy, expected, rtol=1e-12)
    assert not np.array_equal(caux.auxiliary_accuracy, caux.accuracy)


def test_what_is_stored_is_not_trained_again_and_its_files_are_not_touched(root):
    before = files_of(root)
    again = run_study([TINY, OTHER, TINY], TRIALS, store=Store(root))
    assert [result.experiment for result in again] == [TINY, OTHER, TINY]
    assert files_of(root) == before


def test_nothing_is_built_for_what_is_stored(tmp_path, built):
    experiment = tiny("tests.lib.own:Eventful")
    run(experiment, folder=tmp_path)
    assert built() == [25, 5]
    run(experiment, folder=tmp_path)
    run(experiment, 27, folder=tmp_path)
    assert built() == [25, 5]


def test_fewer_trials_than_are_stored_are_the_first_of_them(trained, root):
    fewer = run_analysis(TINY, 27, store=Store(root))  # the second group's file reaches to trial 29
    assert np.array_equal(fewer.accuracy, trained[1].accuracy[:27])
    assert np.array_equal(fewer.auxiliary_accuracy, trained[1].auxiliary_accuracy[:27])
    assert fewer.fingerprints == trained[1].fingerprints[:27]
    assert np.array_equal(fewer.mean, trained[1].accuracy[:27].mean(0))


@pytest.mark.parametrize(("first", "last"), [(0, 24), (25, 29)])
def test_only_the_missing_group_is_trained_and_the_result_is_as_if_never_interrupted(trained, root, first, last):
    path_of(root, TINY, first, last).unlink()
    before = files_of(root)
    resumed = run(TINY, folder=root)
    assert results_of(resumed) == results_of(trained[1])
    after = files_of(root)
    assert {file: after[file] for file in before} == before
    assert set(after) - set(before) == {path_of(root, TINY, first, last)}


def test_more_trials_are_added_to_those_that_are_stored(trained, tmp_path):
    few = run(TINY, 3, folder=tmp_path)
    # A group of three is no part of one of 25: rounding depends on the size of the stack.
    more = run(TINY, folder=tmp_path)
    names = {path.name for path in Store(tmp_path).files()}
    assert names == {f"trials-{ends}.json.gz" for ends in ("000-002", "000-024", "025-029")}
    assert results_of(more) == results_of(trained[1])
    assert few.fingerprints == more.fingerprints[:3]


def test_a_group_trained_in_this_process_has_the_same_bits_as_one_of_an_executor(trained, tmp_path):
    alone = run(TINY, 25, folder=tmp_path / "results", executor=None)
    assert results_of(alone) == results_of(trained[1])[:1]


def test_an_experiment_asked_for_twice_is_trained_once(tmp_path, built):
    own, without = tiny("tests.lib.own:Eventful"), tiny("tests.lib.own:Eventful", one_hot_encoding=False)
    with ThreadPoolExecutor(1) as executor:
        options = {"store": Store(tmp_path / "results"), "executor": executor, "progress": False}
        results = run_study([own, without, own], 5, **options)
    assert built() == [5, 5]
    assert [result.experiment for result in results] == [own, without, own]


def test_any_iterable_of_experiments_will_do(root):
    assert [result.name for result in run_study(iter([TINY, OTHER]), TRIALS, store=Store(root))] == ["CAUX", "SN"]
    assert run_study([], TRIALS, store=Store(root)) == []


def test_the_default_store_is_the_users_own_and_the_published_study(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path / "mine"))
    run_analysis(tiny(), 2, progress=False)
    assert [path.name for path in Store(tmp_path / "mine").files()] == ["trials-000-001.json.gz"]
    assert is_stored(tiny(), 2) and not is_stored(tiny(), 3)
    assert (default_store().root, default_store().also) == (tmp_path / "mine", [PUBLISHED, PREREGISTERED])
    assert is_stored(Experiment(), 150), "what is published is read"
    assert is_stored(Experiment.parse("WSN momentum=0.9 seed=2023"), 150), "so are the trainings of the statements"
    monkeypatch.delenv("RESULTS_ROOT")
    assert default_store().root == ROOT / "results"


def test_two_stores_in_one_process(trained, tmp_path):
    """Each has its own results, and neither those of the other."""
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    run(OTHER, 25, store=one)
    run(OTHER, 5, store=other)
    assert (is_stored(OTHER, 25, one), is_stored(OTHER, 5, other), is_stored(OTHER, 6, other)) == (True, True, False)
    assert results_of(load(OTHER, 25, one)) == results_of(trained[2])[:1]
    assert len(list(one.files())) == len(list(other.files())) == 1


def test_what_is_only_read_is_read_first_and_nothing_is_written_for_it(trained, root, tmp_path):
    published = shutil.copytree(root, tmp_path / "published")
    held = Store(tmp_path / "own", also=[published])
    assert results_of(run_analysis(TINY, TRIALS, store=held)) == results_of(trained[1])
    assert not (tmp_path / "own").exists()
    path = path_of(published, TINY, 0, 24)
    record = store.read(path)
    origin = {**record["provenance"], "cpu": "the publisher's"}
    path.write_bytes(store.packed({**record, "provenance": origin}))
    assert load(TINY, TRIALS, Store(root, also=[published])).records[0]["provenance"] == origin
    assert load(TINY, TRIALS, Store(published)).records[0]["provenance"] == origin


def test_nothing_is_ever_written_where_it_is_only_read(trained, tmp_path):
    published, own = tmp_path / "published", tmp_path / "own"
    path = path_of(published, OTHER, 0, 24)
    path.parent.mkdir(parents=True)
    shutil.copy(path_of(trained[0], OTHER, 0, 24), path)
    before = files_of(published)
    mixed = run(OTHER, store=Store(own, also=[published]))
    assert results_of(mixed) == results_of(trained[2])
    assert files_of(published) == before
    assert set(files_of(own)) == {path_of(own, OTHER, 25, 29)}


def test_loading_trains_nothing_and_says_what_is_missing(root):
    path_of(root, TINY, 25, 29).unlink()
    assert is_stored(TINY, 25, Store(root)) and not is_stored(TINY, 26, Store(root))
    assert is_stored(OTHER, TRIALS, Store(root))
    with pytest.raises(FileNotFoundError, match=f"^no stored result of {TINY}, trials 25 to 29 .{TINY.key}.$"):
        load(TINY, TRIALS, store=Store(root))
    with pytest.raises(FileNotFoundError, match="trials 0 to 9"):
        load(dataclasses.replace(TINY, epochs=3), 10, store=Store(root))


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "edited"])
def test_a_damaged_file_is_said_before_training(root, damage):
    path = path_of(root, TINY, 25, 29)
    raw, record = path.read_bytes(), store.read(path)
    record["test_correct"][0][0] += 1
    path.write_bytes(
        {
            "flipped": raw[:99] + bytes([raw[99] ^ 1]) + raw[100:],
            "cut": raw[:-40],
            "empty": b"",
            "edited": store.packed({**record, "train_loss": None}),
        }[damage]
    )
    assert path.read_bytes() != raw
    before = files_of(root)
    said = pytest.raises(store.DamagedResultError, match=r"trials-025-029\.json\.gz cannot be trusted: .* Remove it")
    for ask in (run_analysis, load):
        with said:
            ask(TINY, TRIALS, store=Store(root))
    path = path_of(root, TINY, 0, 24)
    path.unlink()  # something is to be trained: the damage is said first all the same
    with said:
        run_analysis(TINY, TRIALS, store=Store(root))
    del before[path]
    assert files_of(root) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"trials": value}, r"^trials is .*; allowed: a whole number from 1 to 1,000,000$")
            for value in (0, -1, 1_000_001, 10**5000, 1.0, True, "3", None, math.nan, "9" * 10**5)
        ),
        *(
            ({"workers": value}, r"^workers is .*; allowed: None \(one per core\) or a whole number of at least 1$")
            for value in (0, -1, -(10**5000), 1.0, True, "2", math.nan)
        ),
        *(
            ({"implementation": value}, r"^implementation is .*; allowed: 'auto', 'fused', 'torch'$")
            for value in (None, 1, ["torch"], "x")
        ),
        ({"implementation": "Torch"}, r"did you mean 'torch'\?"),
        *(({"device": value}, r"^device is .*; allowed: 'cpu'") for value in (None, 0, "gpu", "cuda:99", "<b>cpu</b>")),
    ],
    ids=itertools.count(),
)
def test_bad_arguments_are_refused_before_any_training(tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        run_study([TINY], **{"trials": 3, "store": Store(tmp_path / "results")} | options)
    assert len(str(caught.value)) < 300
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("experiments", "shown"), [("x", "'x'"), (["SN"], "'SN'"), (b"SN", "b'SN'"), (None, "None"), ([TINY, 3], "3")]
)
def test_what_is_no_experiment_is_refused_in_a_sentence(tmp_path, experiments, shown):
    with pytest.raises(TypeError) as caught:
        run_study(experiments, 3, store=Store(tmp_path / "results"))
    assert str(caught.value) == f"experiments has {shown}; allowed: an Experiment each, as Experiment.parse('SN') is"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["worker", "results"])
def test_an_unknown_option_is_refused(tmp_path, name):
    with pytest.raises(TypeError, match=name):
        run_analysis(TINY, 3, store=Store(tmp_path), **{name: 1})
    assert not files_of(tmp_path)


def test_missing_digits_are_said_before_training(tmp_path):
    """In a process that has not read MNIST before; torch is not even imported."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.MNIST_FILES:
        (raw / name).write_text("damaged")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from lib import Experiment, run_analysis
from lib.datasets import DataError
try:
    run_analysis(Experiment(epochs=1), 3)
except DataError as error:
    print(error, "torch" in sys.modules)
"""
    results = tmp_path / "results"
    environment = {**os.environ, "MNIST_ROOT": str(tmp_path), "RESULTS_ROOT": str(results)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert str(raw / "train-images-idx3-ubyte") in done.stdout and done.stdout.endswith("False\n")
    assert not results.exists()


def test_a_read_only_folder_is_said_before_training(root, monkeypatch):
    access = os.access  # asked instead of tried: permissions do not stop the superuser
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK) and access(path, mode))
    assert len(run_study([TINY], TRIALS, store=Store(root))) == 1  # what is stored can be read from there
    path_of(root, TINY, 25, 29).unlink()
    with pytest.raises(PermissionError, match=r"cannot be written to .*results: the folder is read-only"):
        run_analysis(TINY, TRIALS, store=Store(root))


def a_file(path):
    path.write_text("not a folder")


def a_dangling_link(path):
    path.symlink_to("nowhere")


def below_a_file(path):
    path.parent.write_text("not a folder")


@pytest.mark.parametrize(
    ("put", "sentence"),
    [
        (a_file, "{path} is a file where a folder should be; move it away"),
        (a_dangling_link, "{path} is a link to nowhere, which does not exist; make that, or remove the link"),
        (below_a_file, "{path.parent} is a file where a folder should be; move it away"),
    ],
)
def test_what_stands_in_the_folders_place_is_said_before_training(tmp_path, built, put, sentence):
    path = tmp_path / "mine" / "results" if put is below_a_file else tmp_path / "results"
    put(path)
    with pytest.raises(OSError) as caught:
        run_analysis(tiny("tests.lib.own:Eventful"), 3, store=Store(path))
    assert sentence.format(path=path) in str(caught.value) and str(path) in str(caught.value)
    assert not built()


def test_what_killed_writers_left_beside_results_is_removed_when_a_study_starts(tmp_path):
    held = Store(tmp_path / "results")
    folders = [held.root / store.folder(each.configuration) for each in (tiny(), tiny(seed=1))]
    for folder in folders:
        folder.mkdir(parents=True)
        for name, age in ((".trials-000-024.json.gz.abcdefgh.part", 90_000), (".weights.pt.abcdefg0.part", 80_000)):
            (folder / name).touch()
            os.utime(folder / name, (time.time() - age,) * 2)
        os.utime(folder, (0, 0))
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(StudyError, match="1 of 1 groups failed"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("lib.workers.train_group", lambda *_, **__: 1 / 0)  # nothing is written, which sweeps, too
        run_study([tiny()], 2, store=held, executor=executor, progress=False)
    assert [sorted(each.name for each in folder.iterdir()) for folder in folders] == [
        [".weights.pt.abcdefg0.part"],  # of a writer that may still live
        [".trials-000-024.json.gz.abcdefgh.part", ".weights.pt.abcdefg0.part"],  # nothing is to be trained there
    ]


def test_two_experiments_of_one_name_are_told_apart_in_every_message(tmp_path, monkeypatch, capsys):
    held, a, b = Store(tmp_path), tiny(), tiny(epochs=3)
    monkeypatch.setattr("lib.workers.train_group", lambda *_, **__: 1 / 0)
    with ThreadPoolExecutor(1) as executor, pytest.raises(StudyError) as caught:
        run_study([a, b], 2, store=held, executor=executor)
    assert a.name == b.name and str(a) != str(b)
    assert f"2 of 2 groups failed ({a} trials 0 to 1, {b} trials 0 to 1): " in str(caught.value)
    assert f"training 4 trials ({a}, {b}), " in capsys.readouterr().err


def test_two_results_of_one_name_that_cannot_be_paired_are_told_apart(trained):
    _, caux, _ = trained
    other = dataclasses.replace(caux, experiment=dataclasses.replace(TINY, seed=7), trials=29)
    with pytest.raises(ValueError) as caught:
        paired(caux, other)
    assert str(caught.value).startswith(f"{TINY} has (30, 2) (trials, epochs) and {other.experiment} (29, 2)")


def test_paired_differences_are_second_minus_first_trial_by_trial(trained):
    _, caux, sn = trained
    difference = paired(caux, sn)
    assert difference.shape == (TRIALS, TINY.epochs)
    for trial, epoch in itertools.product(range(TRIALS), range(TINY.epochs)):
        assert difference[trial, epoch] == sn.accuracy[trial, epoch] - caux.accuracy[trial, epoch]
    assert np.array_equal(paired(sn, caux), -difference)
    assert difference.any() and not paired(caux, caux).any()


def test_only_trials_of_the_same_pairs_are_paired(trained):
    _, caux, sn = trained
    for trial in (0, 7, 29):
        group, row = divmod(trial, 25)
        records = [dict(record) for record in sn.records]
        records[group]["fingerprints"] = [*records[group]["fingerprints"]]
        records[group]["fingerprints"][row] = "0123456789abcdef"
        with pytest.raises(
            ValueError, match=f"^trial {trial} of CAUX and of SN saw different pairs .*0123456789abcdef"
        ):
            paired(caux, dataclasses.replace(sn, records=tuple(records)))


def test_results_of_different_sizes_are_not_paired(root, trained, tmp_path):
    caux = trained[1]
    with pytest.raises(ValueError, match=r"^CAUX has \(30, 2\) \(trials, epochs\) and SN \(29, 2\)$"):
        paired(caux, load(OTHER, 29, store=Store(root)))
    longer = run(dataclasses.replace(OTHER, epochs=3), 5, folder=tmp_path / "longer")
    with pytest.raises(ValueError, match=r"^CAUX has \(5, 2\) \(trials, epochs\) and SN \(5, 3\)$"):
        paired(load(TINY, 5, store=Store(root)), longer)
    other_seed = run(dataclasses.replace(OTHER, seed=1), 5, folder=tmp_path / "seed")
    with pytest.raises(ValueError, match=r"^trial 0 of CAUX and of SN saw different pairs"):
        paired(load(TINY, 5, store=Store(root)), other_seed)


@pytest.mark.parametrize(
    ("device", "stored", "expected"),
    [
        ("cpu", [], [(0, 24), (25, 49), (50, 74), (75, 99), (100, 124), (125, 149), (150, 174), (175, 179)]),
        ("cuda", [], [(0, 149), (150, 179)]),
        ("cuda:1", [], [(0, 149), (150, 179)]),
        ("cuda", [1], [(0, 24), (50, 149), (150, 179)]),
        ("cuda", [0, 6], [(25, 149), (175, 179)]),
        ("cpu", [0, 1, 2, 3, 4, 5, 6], [(175, 179)]),
        ("cuda", [0, 1, 2, 3, 4, 5, 6, 7], []),
    ],
)
def test_stacks_are_what_is_missing_aligned_to_the_size_that_the_device_wants(device, stored, expected):
    assert (STACK["cpu"], STACK["cuda"]) == (25, 150)
    missing = [group for i, group in enumerate(store.groups(range(180))) if i not in stored]
    assert [(stack[0], stack[-1]) for stack in stacks(missing, device)] == expected


def test_a_stack_of_many_groups_is_stored_as_groups_of_25(trained, tmp_path):
    held = Store(tmp_path)
    for record in training.train(TINY, range(TRIALS), implementation="torch"):
        held.write(record)
    assert {path.name for path in held.files()} == {"trials-000-024.json.gz", "trials-025-029.json.gz"}
    whole = load(TINY, TRIALS, held)
    assert whole.fingerprints == trained[1].fingerprints
    assert [record["provenance"]["stack"] for record in whole.records] == [TRIALS] * 2
    # Other rounding, the same trials: after two epochs the counts differ by a few answers at most.
    assert np.abs(whole.values("test_correct") - trained[1].values("test_correct")).max() <= 2
    np.testing.assert_allclose(whole.values("train_loss"), trained[1].values("train_loss"), rtol=1e-3)


def test_further_heads_and_measures_are_stored_and_read(tmp_path):
    """Four heads of an architecture of one's own, and what was measured after each epoch."""
    experiment, held = tiny("tests.lib.own:Heads", auxiliary_weight=1), Store(tmp_path)
    result = run(experiment, folder=tmp_path, measures=["tests.lib.own:norms"])
    pairs, shape = experiment.test_pairs, (TRIALS, experiment.epochs)
    seen = []  # by hand, of the same stacks
    for group in store.groups(range(TRIALS)):
        by_epoch = []

        def look(network, by_epoch=by_epoch):
            by_epoch.append(norms(network, None))

        training.train_fully(experiment, group, implementation="torch", on_epoch=look)
        seen.append({name: torch.stack([each[name] for each in by_epoch], dim=1) for name in by_epoch[0]})
    for name in ("norm", "positive"):
        measured = result.values(name)
        assert measured.shape == shape
        np.testing.assert_allclose(measured, torch.cat([each[name] for each in seen]), rtol=1e-5)
        assert np.array_equal(load(experiment, TRIALS, held, ["tests.lib.own:norms"]).measures[name], measured)
    assert result.records == load(experiment, TRIALS, held).records, "a measure is no part of the result"
    for record in result.records:
        assert (record["digits_total"], record["parity_total"], record["total_total"]) == (2 * pairs, pairs, pairs)
        assert record["auxiliary_total"] is None and result.auxiliary_accuracy is None
        assert set(record["last_named"]) == {"digits", "parity"}, "a digit says no one of 19 classes"
        assert {len(text) for text in record["last_named"]["digits"]} == {2 * pairs}
        assert {len(text) for text in record["last_named"]["parity"]} == {pairs}
    for head in ("digits", "parity", "total"):
        for name in ("train_loss", "test_loss", "test_correct"):
            assert result.values(f"{head}_{name}").shape == shape
        assert len(np.unique(result.values(f"{head}_test_loss"))) > TRIALS
    for trial in (0, 7, TRIALS - 1):  # the named digits are as often right as the counts say
        _, test = draw_trial("digits", experiment.train_pairs, pairs, experiment.seed, trial)
        group, row = divmod(trial, 25)
        right = {"digits": test.classes.flatten(), "parity": test.classes.sum(1) % 2}
        for head, wanted in right.items():
            named = [int(digit) for digit in result.records[group]["last_named"][head][row]]
            assert (torch.tensor(named) == wanted).sum() == result.values(f"{head}_test_correct")[trial, -1]


def test_a_bar_is_shown_on_stderr_only_where_asked_for_and_change_no_bit(trained, tmp_path, capsys):
    quiet = run(OTHER, 25, folder=tmp_path / "quiet", executor=None)
    assert capsys.readouterr() == ("", "")
    shown = run(OTHER, 25, folder=tmp_path / "shown", executor=None, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("training 25 trials (SN), 1 at a time\n")
    assert f"{25 * OTHER.epochs}/{25 * OTHER.epochs}" in err and "trial-epoch" in err
    assert results_of(shown) == results_of(quiet) == results_of(trained[2])[:1]
    run(OTHER, 25, folder=tmp_path / "shown", progress=True)  # nothing to train: nothing to say
    assert capsys.readouterr() == ("", "")
    run(OTHER, 28, folder=tmp_path / "shown", executor=None, progress=True)
    kept, training, *_ = capsys.readouterr().err.splitlines()
    assert kept == "25 of 28 trials are stored and kept"
    assert training == "training 3 trials (SN), 1 at a time"


def test_options_have_one_meaning_in_both_functions():
    assert list(inspect.signature(run_analysis).parameters) == ["experiment", "trials", "options"]
    defaults = {name: p.default for name, p in inspect.signature(run_study).parameters.items()}
    assert defaults["trials"] == inspect.signature(run_analysis).parameters["trials"].default == 150
    assert inspect.signature(load).parameters["trials"].default == 150
