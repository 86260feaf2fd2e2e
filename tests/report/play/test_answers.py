"""What the gallery, the sliding window, the drawing and the twins show is what the networks say."""

import numpy as np
import pytest
import torch

import lib
from lib import Experiment, Store
from lib.store import bits_of
from report.pictures import style
from report.play import Answers, Live, Twins, by_digits, by_distance, heads, inside, show, slide
from report.play.answers import HARDEST
from report.play.inside import looked_into, mosaic
from report.play.pictures import SHOWN, cards
from report.play.shown import NotShownError, png
from report.play.sliding import STEP, STRIDE, answers_along

SMALL = "dataset=digits train_pairs=60 test_pairs=150 batch_size=10 optimizer=adam learning_rate=0.01 epochs=3"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    style.apply()
    monkeypatch.setattr("report.play.shown.Renewed.put", lambda *_, **__: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained stack of CAUX."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("report.play.shown.Renewed.put", lambda *_, **__: None)
        training = Live(Experiment.parse("CAUX", SMALL), 3, Store(tmp_path_factory.mktemp("trained")))
        training.run()
    return training


@pytest.fixture(scope="module")
def answers(trained):
    return Answers.of(trained.networks, 1)


def untrained(words, trials=2):
    return Live(Experiment.parse(words), trials, Store("/nonexistent")).networks


def test_its_own_networks_answers_are_the_stored_ones(trained, answers):
    stored = bits_of(trained.result.values("last_bits")[1], 150)
    assert answers.correct[1].tolist() == [bool(bit) for bit in stored]
    named = "".join(map(str, answers.names[1].argmax(-1).flatten()))
    assert named == trained.result.records[0]["last_named"]["auxiliary"][1]


def test_kinds_of_pairs(answers):
    own, wrong = answers.correct[1], answers.places("wrong")
    assert sorted(wrong) == np.flatnonzero(~own).tolist()
    assert (np.diff(answers.confidence[1, wrong]) <= 0).all(), "the surest first"
    assert (np.diff(answers.confidence[1, answers.places("unsure")]) >= 0).all()
    hardest, everything = answers.places("hardest"), answers.places("all")
    assert len(hardest) == HARDEST and len(everything) == 150
    rest = np.setdiff1d(everything, hardest)
    assert answers.correct[:, hardest].mean() < answers.correct[:, rest].mean()
    first, second = answers.classes[7]
    assert 7 in answers.places(f"{first}-{second}")
    assert (answers.classes[answers.places(f"{first}-{second}")] == (first, second)).all()
    with pytest.raises(ValueError, match="which is 'right'; allowed: all, wrong, unsure, hardest, or two digits"):
        answers.places("right")


def test_confidence_is_between_the_answers_and_bounded_by_the_sigmoid(answers):
    assert (answers.confidence >= 0.5).all() and (answers.confidence <= 1 / (1 + np.exp(-1)) + 1e-6).all()
    assert ((answers.leaning > 0.5) == answers.answers)[answers.leaning != 0.5].all()


@pytest.mark.parametrize("words", ["WSN one_hot_encoding=false", "SN fully_convolutional=true", "CAUX sigmoid=false"])
def test_every_form_is_asked(words):
    answers = Answers.of(untrained(f"{words} {SMALL}"), 0)
    assert answers.leaning.shape == (2, 150) and (answers.leaning >= 0).all() and (answers.leaning <= 1).all()
    assert (answers.names is None) == ("CAUX" not in words)


def test_a_trial_that_is_not_there_is_refused(trained):
    with pytest.raises(ValueError, match="trial is 3; allowed: 0 to 2"):
        Answers.of(trained.networks, 3)


@pytest.mark.parametrize("which", ["wrong", "hardest", "9-0"])
def test_the_gallery_draws_a_page(answers, which):
    fig, alt = cards(answers, which, page=1000)
    n = len(answers.places(which))
    assert f": {n}, page {max(1, -(-n // SHOWN))} of" in alt
    assert len(fig.axes[0].images) == 2 * int(alt.split()[0])
    assert png(fig)[:4] == b"\x89PNG"


def test_shares_by_distance_and_by_digits(answers):
    fig, _ = by_distance(answers)
    mean = fig.axes[0].lines[-1].get_ydata()
    distance = np.abs(answers.classes[:, 0] - answers.classes[:, 1])
    assert mean[0] == pytest.approx(100 * answers.correct[:, distance == 0].mean())
    fig, _ = by_digits(answers)
    shown = np.asarray(fig.axes[0].images[0].get_array())
    chosen = (answers.classes == answers.classes[0]).all(1)
    assert shown[tuple(answers.classes[0])] == pytest.approx(100 * answers.correct[:, chosen].mean())


def test_over_a_pair_the_sliding_network_says_what_it_says_of_the_pair(trained, answers):
    wide = np.zeros((2, 14, 2 * STEP), np.float32)
    for place in range(2):
        wide[..., STEP * place : STEP * place + 14] = answers.images[place]
    along = answers_along(trained.networks, 1, wide)
    assert along[:: STEP // STRIDE] == pytest.approx(answers.leaning[1, :2], abs=1e-5)
    fig, alt = slide(trained.networks, answers)
    assert "21 answers" in alt and len(fig.axes) == 2


@pytest.mark.parametrize("words", ["SN", "CAUX"])
def test_filters_and_maps_are_the_networks(words):
    networks = untrained(f"{words} {SMALL}")
    answers = Answers.of(networks, 1)
    looked = looked_into(networks, 1, answers.images[0])
    plain = networks.trial(1).network
    scaled = (torch.from_numpy(answers.images[0]).double() - networks.mean[1]) / networks.sd[1]
    with torch.no_grad():
        maps = plain.extract[0].layer(scaled[:1, None].float())
    assert torch.allclose(looked["extract.0"][1][0], maps[0], atol=1e-5)
    assert len(looked) == (4 if words == "SN" else 2)
    assert not any(module._forward_hooks for module in networks.modules())
    fig, alt = inside(networks, answers, "all")
    first, second = answers.classes[0]
    assert f"the pair {first} and {second}" in alt
    drawn = [image.get_array() for image in fig.axes[0].images]
    assert any(np.array_equal(image, answers.images[0, 0]) for image in drawn)
    assert any(np.array_equal(image, looked["extract.0"][1][0, 3]) for image in drawn)


def test_a_filters_kernels_lie_side_by_side():
    kernels = torch.arange(45).view(5, 3, 3)
    picture = mosaic(kernels)
    assert picture.shape == (6, 9)
    assert (picture[:3, 3:6] == kernels[1]).all() and (picture[3:, 3:6] == kernels[4]).all()
    assert (picture[3:, 6:] == 0).all()


def test_a_plain_module_has_a_gallery_and_a_sentence_for_the_rest(capsys, tmp_path):
    words = f"tests.lib.own:Bare {SMALL}"
    networks = lib.networks(Experiment.parse(words), 1, store=Store(tmp_path), progress=False)
    answers = Answers.of(networks, 0)
    assert answers.leaning.shape == (1, 150)
    show(inside, networks, answers, "all")
    show(slide, networks, answers)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and "no drawing" in said[0] and "No sliding" in said[1]


def test_class_head_and_comparison(answers, monkeypatch):
    tables, said = [], []
    monkeypatch.setattr("report.press.display.show_table", lambda header, rows, **_: tables.append(rows))
    monkeypatch.setattr("report.press.display.say", said.append)
    heads(answers, "all")
    assert len(tables[0]) == 8
    by_name = answers.names.argmax(-1)
    right = (by_name[..., 0] <= by_name[..., 1]) == answers.target
    assert f"would be in {100 * right.mean():.1f} %" in said[0]
    heads(Answers.of(untrained(f"WSN {SMALL}"), 0), "all")
    assert said[1].startswith("WSN has no head that names digits")


def test_twins_part_where_they_first_answer_differently():
    twins = Twins(Experiment.parse("WSN", SMALL), 2)
    twins.run()
    assert list(twins.answers) == ["SN", "WSN", "SAUX", "CAUX"]
    assert all(each.shape == (4, 150) for each in twins.answers.values())
    assert np.array_equal(twins.answers["WSN"][0], twins.answers["CAUX"][0]), "equal weights before any training"
    epoch, place = twins.parted("WSN", "CAUX")
    a, b = twins.answers["WSN"], twins.answers["CAUX"]
    assert (a[:epoch] == b[:epoch]).all() and (a[epoch, :place] == b[epoch, :place]).all()
    assert a[epoch, place] != b[epoch, place]
    alone = Live(Experiment.parse("WSN", SMALL), 3, Store("/nonexistent"))
    assert (alone.prepared.teacher.test_pairs.classes[2].numpy() == twins.classes).all(), "the same pairs"
    twins.answers = {"WSN": a, "twin": a.copy()}
    assert twins.parted("WSN", "twin") is None and "never part" in twins.draw()[1]


def test_a_twin_that_does_not_read_a_setting_is_left_out_and_said():
    twins = Twins(Experiment.parse("CAUX auxiliary_weight=1", SMALL), 0)
    assert list(twins.experiments) == ["SAUX", "CAUX"]
    assert twins.left_out["SN"] == "auxiliary_weight is 1.0, which SN does not read; leave it out"
    with pytest.raises(NotShownError, match="No twin is trained"):
        twins.draw()
