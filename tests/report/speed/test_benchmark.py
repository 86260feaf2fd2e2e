"""The benchmark counts and compares what it says; times themselves are not tested."""

import json
import re
from itertools import product

import nbformat
import numpy as np
import pytest
import torch

from lib import Experiment, fused, seeds, textbook
from lib.architectures import ARCHITECTURES
from lib.pairs import Pairs
from report import build
from report.speed import benchmark, tables

compiled = pytest.mark.skipif(not fused.available()[0], reason=f"no compiled block: {fused.available()[1]}")


def test_the_multiply_adds_of_wsn_are_those_counted_by_hand():
    # Per digit: 12 x 12 x 16 outputs of 1 x 3 x 3, then 4 x 4 x 32 outputs of 16 x 3 x 3; both digits of a pair.
    first, second = 2 * 12 * 12 * 16 * 9, 2 * 4 * 4 * 32 * 16 * 9
    # The head: 2 x 32 maps of 2 x 2, flattened, to 64, 64, 32 and 2.
    head = 256 * 64 + 64 * 64 + 64 * 32 + 32 * 2
    # Forward, weights' gradient, input's gradient; none for the images, the input of the first convolution.
    expected = {"train": 2 * first + 3 * second + 3 * head, "test": first + second + head}
    assert benchmark.multiply_adds(Experiment(architecture="WSN")) == expected
    assert expected == {"train": 593_088, "test": 211_520}


def test_multiply_adds_follow_the_architecture_and_not_the_form():
    def count(**fields):
        return benchmark.multiply_adds(Experiment(**fields))

    for name, one_hot in product(ARCHITECTURES, (True, False)):
        mixed = count(architecture=name, one_hot_encoding=one_hot)
        assert count(architecture=name, one_hot_encoding=one_hot, fully_convolutional=True) == mixed
    wsn = count(architecture="WSN")
    assert count(architecture="SN") == wsn, "two extractors, each for one digit"
    assert count(architecture="SAUX")["test"] - wsn["test"] == 256 * 64 + 64 * 2
    assert count(architecture="CAUX")["train"] - wsn["train"] == 2 * 3 * (128 * 64 + 64 * 10)
    assert wsn["test"] - count(architecture="WSN", one_hot_encoding=False)["test"] == 32


def test_the_vmapped_networks_learn_as_each_alone():
    e = Experiment(dataset="digits", train_pairs=60, test_pairs=40, batch_size=10, learning_rate=0.5)
    trials, epochs = 2, 4
    teacher = benchmark.teacher_of(e, trials)
    train, test = (
        Pairs(pairs.images.double(), pairs.target, pairs.classes) for pairs in (teacher.train_pairs, teacher.test_pairs)
    )
    side_by_side = benchmark.VmapStack(benchmark.textbook_networks(e, trials, torch.float64), e.learning_rate)
    for _ in range(epochs):
        side_by_side.train(teacher.batches(e.batch_size, torch.empty(0, dtype=torch.float64)))
    right = side_by_side.test(test)
    start = benchmark.textbook_networks(e, trials, torch.float64)
    for trial, alone in enumerate(benchmark.textbook_networks(e, trials, torch.float64)):
        optimizer = textbook.make_optimizer(alone, "sgd", e.learning_rate, 0)
        order = seeds.generator(e.seed, trial, "order")
        for _ in range(epochs):
            rows = torch.from_numpy(order.permutation(e.train_pairs))
            one = train.images[trial], train.target[trial], train.classes[trial]
            textbook.train_epoch(alone, optimizer, *one, rows, e.batch_size, e.auxiliary_weight)
        assert textbook.test(alone, test.images[trial], test.target[trial]) == right[trial]
        for name, value in alone.named_parameters():
            torch.testing.assert_close(side_by_side.parameters[name][trial], value, rtol=0, atol=1e-10)
        for name, value in alone.named_buffers():  # running statistics: two updates per batch
            torch.testing.assert_close(side_by_side.buffers[name][trial], value, rtol=0, atol=1e-10)
        moved = (alone.compare[1].weight - start[trial].compare[1].weight).abs().max()
        assert moved > 1e-3, "nothing was learned: the comparison would be vacuous"


def test_a_spread_is_median_and_extremes():
    assert benchmark.spread([3.0, 1.0, 2.000004]) == {"median": 2.0, "min": 1.0, "max": 3.0, "all": [3.0, 1.0, 2.0]}


def test_ratios_are_taken_round_by_round():
    wsn, other = benchmark.QUICK.experiments[:2]
    times = {
        benchmark.Contender(wsn, "textbook"): [(0.2, 0.1), (0.4, 0.2)],  # the second round at half the speed
        benchmark.Contender(wsn, "fused", 3): [(0.02, 0.01), (0.04, 0.02)],
        benchmark.Contender(other, "textbook"): [(0.2, 0.2), (0.4, 0.4)],
        benchmark.Contender(other, "fused", 3): [(0.04, 0.04), (0.08, 0.08)],
    }
    rows = benchmark.rows(times, rate=100.0)
    speedups = [row["speedup"]["all"] for row in rows]
    assert speedups == [[1, 1], [10, 10], [1, 1], [5, 5]]
    assert [row["relative_to_wsn"]["median"] for row in rows] == [1, 1, 1, 0.5]
    operations = 2 * (593_088 * wsn.train_pairs + 211_520 * wsn.test_pairs)
    assert rows[1]["floor_train_ms"] + rows[1]["floor_test_ms"] == pytest.approx(operations / 100e9 * 1e3, rel=1e-2)
    assert rows[1]["times_floor"]["all"] == pytest.approx([30 / (operations / 1e8), 60 / (operations / 1e8)], rel=1e-3)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What the two commands write, at the tiny size, into one file."""
    file = tmp_path_factory.mktemp("benchmark") / "benchmark.json"
    benchmark.main(["--quick", "--long", "--output", str(file)])
    benchmark.main(["--quick", "--output", str(file)])
    return file


def numbers(value):
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@compiled
def test_the_quick_run_measures_everything(measured):
    assert [path.name for path in measured.parent.iterdir()] == ["benchmark.json"], "no temporary file is left"
    stored = json.loads(measured.read_text())
    assert set(stored) == {"schema", "units", "about", "settings", "rate_gflops", "rows", "scaling", "long_check"}
    assert all(np.isfinite(list(numbers(stored))))
    for name in ("cpu", "cores", "python", "torch", "numpy", "commit", "dirty", "date", "load_before"):
        assert name in stored["about"] and name in stored["long_check"]["about"], name
    methods = {(row["method"], row["stack"]) for row in stored["rows"] if row["experiment"] == "WSN"}
    assert {name for name, _ in methods} == set(tables.METHODS)
    assert {stack for name, stack in methods if name == "vmap"} == set(benchmark.QUICK.vmap_stacks)
    experiments = {e.name for e in benchmark.QUICK.experiments}
    assert len(experiments) == 16
    for method in ("textbook", "fused"):
        assert {row["experiment"] for row in stored["rows"] if row["method"] == method} == experiments
    for row in stored["rows"]:
        for name in ("train_ms", "test_ms", "total_ms", "speedup", "relative_to_wsn", "times_floor"):
            assert len(row[name]["all"]) == benchmark.QUICK.rounds
            assert 0 < row[name]["min"] <= row[name]["median"] <= row[name]["max"]
        if row["method"] == "textbook":
            assert row["speedup"]["median"] == 1
    assert [row["trials"] for row in stored["scaling"]["sizes"]] == list(benchmark.QUICK.scaling_trials)
    assert stored["scaling"]["two_over_one"]["median"] > 0
    assert stored["long_check"]["trials"] == stored["long_check"]["difference"]["n"] == benchmark.QUICK.long_trials
    assert stored["long_check"]["equivalence"]["margin"] == 0.5


@compiled
def test_the_notebook_shows_the_quick_run(measured, tmp_path):
    nb = nbformat.read(build.run("5-benchmark", {"file": str(measured)}, tmp_path / "out.ipynb"), as_version=4)
    outputs = [output for cell in nb.cells for output in cell.get("outputs", ())]
    labels = [output.get("metadata", {}).get("report", {}).get("id") for output in outputs]
    assert {"fig-benchmark", "tbl-benchmark", "tbl-benchmark-all", "tbl-benchmark-scaling"} <= set(labels)
    text = "\n".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
    assert "times as fast as a textbook loop" in text
    assert "embedded in scikit-learn" in text, "it says whose digits these are"
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_a_missing_or_foreign_file_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.json does not exist: `make bench` measures and writes it"):
        benchmark.read(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a benchmark of this version of the code"):
        benchmark.read(tmp_path / "other.json")


def test_writing_keeps_other_keys(tmp_path):
    file = tmp_path / "benchmark.json"
    benchmark.write(file, {"rows": [1], "long_check": {"trials": 50}})
    benchmark.write(file, {"rows": [2]})
    stored = json.loads(file.read_text())
    assert (stored["rows"], stored["long_check"]) == ([2], {"trials": 50})
