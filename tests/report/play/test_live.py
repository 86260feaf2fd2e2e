"""A live training learns what the library's does, whether it is stopped or not, and stores it once."""

import os
import signal
import threading

import numpy as np
import pytest

from lib import Experiment, Store, run_analysis
from lib.analysis import lacking
from report.play import Live, live

SMALL = "dataset=digits train_pairs=40 test_pairs=30 batch_size=10 optimizer=adam learning_rate=0.01"
TINY = Experiment.parse("CAUX", SMALL, "epochs=4")


@pytest.fixture
def shown(monkeypatch):
    """What a cell shows, in order: the bar's words, and how many epochs each picture has."""
    seen = []
    monkeypatch.setattr("report.play.shown.Bar.put", lambda bar, done, total, words: seen.append((done, words)))
    monkeypatch.setattr("report.play.shown.Renewed.put", lambda self, data, metadata: seen.append(data["text/plain"]))
    return seen


def interrupt_after(training, epoch, times=1):
    """Send this process an interrupt when an epoch has been drawn, as JupyterLab does."""
    draw, left = training.draw, [times]

    def drawn():
        while training.done == epoch and left[0]:
            left[0] -= 1
            signal.raise_signal(signal.SIGINT)
        return draw()

    training.draw = drawn


def test_it_stores_the_bits_that_the_library_would(tmp_path, shown):
    training = Live(TINY, 3, Store(tmp_path / "live"))
    assert training.done == 0
    training.run()
    result = run_analysis(TINY, 3, store=Store(tmp_path / "library"), progress=False)
    stored = run_analysis(TINY, 3, store=Store(tmp_path / "live"), progress=False)
    assert np.array_equal(stored.accuracy, result.accuracy)
    for name in ("train_loss", "test_loss", "auxiliary_train_loss", "last_bits", "last_table", "fingerprints"):
        assert stored.records[0][name] == result.records[0][name], name
    assert stored.records[0]["provenance"].keys() == result.records[0]["provenance"].keys()
    assert not lacking(TINY, 3, Store(tmp_path / "live"), [], True, "cpu"), "the weights are kept, too"
    assert np.array_equal(training.accuracy, result.accuracy)
    assert str(training).startswith(f"CAUX: {result.mean[-1]:.1f} ± {result.sd[-1]:.1f} % after epoch 4")


def test_a_curve_grows_by_one_epoch_at_a_time_with_the_time_left(tmp_path, shown):
    Live(TINY, 2, Store(tmp_path)).run()
    bars, pictures = (
        [each for each in shown if isinstance(each, tuple)],
        [each for each in shown if isinstance(each, str)],
    )
    assert [done for done, _ in bars] == [0, 1, 2, 3, 4, 4]
    assert all(words.endswith("s left") for _, words in bars[1:-1])
    assert bars[-1][1] == "all 4 epochs are done, and stored"
    assert [words.rpartition("epoch ")[2] for words in pictures[1:]] == ["1.", "2.", "3.", "4."]


def test_stopped_it_keeps_what_was_learned_and_goes_on_to_the_same_bits(tmp_path, shown):
    training = Live(TINY, 2, Store(tmp_path / "stopped"))
    interrupt_after(training, 2)
    training.run()
    assert training.done == 2 and "stopped after epoch 2 of 4" in shown[-1][1]
    assert not (tmp_path / "stopped").exists(), "only what is finished is stored"
    early = training.networks
    training.run()
    assert training.done == 4
    whole = Live(TINY, 2, Store(tmp_path / "whole"))
    whole.run()
    assert np.array_equal(training.accuracy, whole.accuracy)
    after = [dict(each.state_dict()) for each in (training.networks, whole.networks)]
    assert all((value == after[1][name]).all() for name, value in after[0].items())
    assert any((value != after[0][name]).any() for name, value in early.state_dict().items()), "a copy of its time"


def test_a_second_interrupt_in_the_same_epoch_begins_anew(tmp_path, shown):
    training = Live(TINY, 2, Store(tmp_path))
    interrupt_after(training, 2, times=2)
    training.run()
    assert training.done == 0 and "run this cell, and it begins" in shown[-1][1]
    training.run()
    assert training.done == 4


def test_an_interrupt_is_the_usual_one_before_and_after(tmp_path, shown):
    before = signal.getsignal(signal.SIGINT)
    Live(TINY, 2, Store(tmp_path)).run()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)


def test_what_is_stored_is_not_trained_again(tmp_path, shown, monkeypatch):
    Live(TINY, 2, Store(tmp_path)).run()
    monkeypatch.setattr(live, "prepare", None)
    again = Live(TINY, 2, Store(tmp_path))
    again.run()
    assert again.done == 4 and again.accuracy.shape == (2, 4) and again.networks.trials == 2


def test_a_stored_result_without_weights_is_trained_for_them_and_stays(tmp_path, shown):
    store = Store(tmp_path)
    result = run_analysis(TINY, 4, store=store, progress=False)
    file = store.find(TINY.configuration, range(4))
    before = file.read_bytes()
    training = Live(TINY, 2, store)
    training.run()
    assert len(training.stack) == 4, "a group is trained as it was stored: rounding depends on the stack"
    assert file.read_bytes() == before and np.array_equal(training.accuracy, result.accuracy[:2])


def test_a_loss_that_is_not_finite_is_one_sentence(tmp_path, shown):
    wild = TINY.changed("sigmoid=false optimizer=sgd learning_rate=1000 one_hot_encoding=false")
    training = Live(wild, 2, Store(tmp_path))
    training.run()
    assert "it cannot go on: the loss of trial" in shown[-1][1] and "try a smaller learning_rate" in shown[-1][1]
    shown.clear()
    training.run()
    assert "it cannot go on" in shown[0][1] and len(shown) == 2


def test_what_is_no_single_stack_trains_in_the_librarys_way(tmp_path, shown, monkeypatch):
    asked = []
    monkeypatch.setattr(live.lib, "networks", lambda *arguments, **options: asked.append(arguments) or "networks")
    monkeypatch.setattr(live.lib, "load", lambda *_: run_analysis(TINY, 2, store=Store(tmp_path), progress=False))
    training = Live(TINY, 26, Store(tmp_path))
    with pytest.raises(RuntimeError, match="nothing is trained yet"):
        training.networks  # noqa: B018
    training.run()
    assert asked == [(TINY, 26)] and training.networks == "networks"
