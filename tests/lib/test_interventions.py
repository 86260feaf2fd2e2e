"""Networks that ask why: what their comparison reads, and that their trials stay apart."""

import pytest
import torch

from lib import Experiment
from lib.architectures import Sizes, build
from lib.check import check_architecture
from lib.foreign import find
from lib.interventions import DIAL, Centres
from lib.registry import INTERVENTIONS
from lib.training import Prepared, prepare, train_fully

PHASES = "first=auxiliary first_epochs=2 frozen=extract+auxiliary epochs=4"
SMALL = "dataset=digits train_pairs=60 test_pairs=40 batch_size=10 momentum=0.9"
ONE = torch.float64


def made(name: str, trials: int = 2, fully_convolutional: bool = False, **sizes):
    sizes = Sizes(trials=trials, **{"sigmoid": False, **sizes})
    return build(
        find(name), sizes, fully_convolutional=fully_convolutional, seed=3, trials=range(trials), dtype=torch.float64
    )


def trained(words: str, trials: range = range(2)) -> Prepared:
    return train_fully(Experiment.parse(words, SMALL), trials, dtype=ONE).prepared


def images(trials: int = 2, n: int = 6):
    return torch.rand(trials, n, 2, 14, 14, dtype=ONE, generator=torch.Generator().manual_seed(1))


def features_of(prepared: Prepared, pairs):
    network = prepared.network.eval()
    with torch.no_grad():
        return network.extract(pairs.images.double().unsqueeze(3)).flatten(3).flatten(1, 2)


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_each_is_what_every_architecture_must_be(name):
    assert check_architecture(name) == []


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("name", INTERVENTIONS)
def test_the_fully_convolutional_form_computes_the_same(name, one_hot):
    mixed, convolutional = (made(name, fully_convolutional=each, one_hot=one_hot).eval() for each in (False, True))
    for head, outputs in mixed(images()).items():
        other = convolutional(images())[head]
        assert other.shape == (*outputs.shape, 1, 1)
        assert torch.allclose(outputs, other.flatten(outputs.dim() - 1), atol=1e-12)


@pytest.mark.parametrize("sigmoid", [True, False])
def test_the_bottleneck_lets_nothing_pass_but_what_the_class_head_says(sigmoid):
    network = made("NAMES", sigmoid=sigmoid).eval()
    before = network(images())["answer"]
    said = network.auxiliary(network.extract(images().unsqueeze(3)).flatten(1, 2))
    network.extract.register_forward_hook(lambda module, given, made: torch.rand_like(made))
    assert not torch.allclose(network(images())["answer"], before)
    network.auxiliary.register_forward_hook(lambda module, given, made: said)
    assert torch.equal(network(images())["answer"], before)


def test_softmax_names_are_shares_and_sigmoid_names_are_as_they_are():
    for sigmoid in (True, False):
        network, read = made("NAMES", sigmoid=sigmoid).eval(), []
        network.compare.register_forward_hook(lambda module, given, made, read=read: read.append(given[0]))
        classes = network(images())["auxiliary"]
        shares = read[0].unflatten(2, (2, 10))
        assert torch.allclose(shares, classes if sigmoid else classes.softmax(3))
    assert torch.allclose(shares.sum(3), torch.ones_like(shares[..., 0]))


def test_the_narrow_one_does_not_read_its_class_head():
    network = made("NARROW").eval()
    before = network(images())["answer"]
    network.auxiliary.register_forward_hook(lambda module, given, made: torch.rand_like(made))
    assert torch.equal(network(images())["answer"], before)
    wide = made("NAMES")
    assert network.compare[1].weight.shape == wide.compare[1].weight.shape


def test_the_comparison_on_the_side_reads_as_many_numbers_as_asked_for():
    for width in (128, 32):
        network = made("SIDE", width=width)
        assert network.read[1].weight.shape == (2, width, 128)
        assert network.compare[1].weight.shape == (2, 64, 2 * width)


def test_dropout_changes_no_initial_weight_and_only_its_own_head_in_training():
    without, head = made("SIDE"), made("SIDE", auxiliary_dropout=0.5)
    assert without.state_dict().keys() == head.state_dict().keys()
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in without.state_dict().items())
    a, b = without.train()(images()), head.train()(images())
    assert torch.equal(a["answer"], b["answer"])
    assert not torch.allclose(a["auxiliary"], b["auxiliary"])
    assert torch.equal(
        made("SIDE").eval()(images())["auxiliary"], made("SIDE", dropout=0.5).eval()(images())["auxiliary"]
    )


def test_the_dial_at_one_is_the_network_without_it():
    dial, plain = (trained(f"{name} sigmoid=false {PHASES}").network for name in ("DIAL", "CAUX"))
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, dial.state_dict()[name], atol=1e-9), name


def test_its_centres_are_the_mean_training_features_of_the_digits_named_alike():
    prepared = trained(f"DIAL sigmoid=false spread=0.5 {PHASES}")
    network, pairs = prepared.network, prepared.teacher.train_pairs
    features = features_of(prepared, pairs)
    with torch.no_grad():
        names = network(pairs.images.double())["auxiliary"].flatten(1, 2).argmax(2)
    assert network.centres.count.sum(1).tolist() == [2 * 120, 2 * 120]  # of the second phase alone
    for trial in range(2):
        for name in names[trial].unique():
            expected = features[trial][names[trial] == name].mean(0)
            assert torch.allclose(network.centres.means[trial, name], expected, atol=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 1.5])
def test_it_keeps_the_variance_and_sets_the_spread_within_groups(spread):
    generator = torch.Generator().manual_seed(0)
    features, groups = torch.randn(2, 300, 5, dtype=ONE, generator=generator), torch.arange(300).expand(2, -1) % 4
    features = features + groups[..., None]
    centres = Centres(2, 4, 5).to(ONE)
    centres.collect(features, groups)
    pulled = centres.pull(features, groups, spread)
    for trial in range(2):
        parts = []
        for x in (features[trial], pulled[trial]):
            means = torch.stack([x[groups[trial] == group].mean(0) for group in range(4)])
            within = float((x - means[groups[trial]]).square().sum())
            parts.append((within, float((x - x.mean(0)).square().sum()) - within))
        (within, between), (within_after, between_after) = parts
        assert within_after + between_after == pytest.approx(within + between)
        assert within_after / between_after == pytest.approx(spread**2 * within / between)


def test_centres_without_labels_read_no_class_head():
    prepared = trained(f"DIAL sigmoid=false spread=0.5 centres=5 {PHASES}")
    network, pairs = prepared.network.eval(), prepared.teacher.train_pairs
    with torch.no_grad():
        before = network(pairs.images.double())["answer"]
        network.auxiliary[-1].bias += torch.randn(2, 10, dtype=ONE) * 100
        assert torch.equal(network(pairs.images.double())["answer"], before)
    assert (network.centres.count.sum(1) == 2 * 120 + 5).all()  # and five to begin with


def test_centres_without_labels_find_groups_that_are_there():
    centres = Centres(1, 3, 2)
    places = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        groups = torch.arange(30) % 3
        features = (places[groups] + 0.1 * torch.randn(30, 2, generator=generator))[None]
        centres.begin(features)
        centres.collect(features, centres.nearest(features))
    assert torch.allclose(centres.means[0], places, atol=0.1)


def test_nothing_is_pulled_before_anything_was_collected():
    network = made("DIAL", spread=0.0)
    assert isinstance(network, DIAL)
    assert torch.equal(network(images())["answer"], made("CAUX")(images())["answer"])


def test_a_group_that_was_never_seen_has_the_mean_of_all():
    centres = Centres(1, 3, 1)
    centres.collect(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[0, 1]]))
    assert centres.means.flatten().tolist() == [1.0, 3.0, 2.0]


@pytest.mark.parametrize("words", ["spread=0.5", "spread=0.5 centres=5"])
def test_a_trial_learns_the_same_alone(words):
    both, alone = (trained(f"DIAL sigmoid=false {words} {PHASES}", each) for each in (range(2), range(1, 2)))
    for name, value in both.network.state_dict().items():
        assert torch.allclose(value[1:], alone.network.state_dict()[name], atol=1e-9), name


def test_larger_images_are_refused():
    network = made("DIAL", fully_convolutional=True).eval()
    with pytest.raises(ValueError, match="14x14 pixels"):
        network(torch.rand(2, 3, 2, 18, 18, dtype=ONE))


@pytest.mark.parametrize("words", ["WSN spread=0.5", "CAUX width=32", "NAMES dropout=0.5", "SIDE spread=2"])
def test_a_setting_that_is_not_read_is_refused(words):
    with pytest.raises(ValueError, match="does not read"):
        Experiment.parse(words)


def test_settings_at_rest_are_not_in_the_key():
    for words in ("SIDE", "DIAL"):
        assert not {"spread", "centres", "width", "dropout"} & Experiment.parse(words).configuration.keys()
    assert Experiment.parse("SIDE width=64").key != Experiment.parse("SIDE").key


def test_prepared_networks_are_stacks_of_their_trials():
    assert prepare(Experiment.parse("SIDE", SMALL), range(3)).network.sizes.trials == 3
