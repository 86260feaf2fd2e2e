"""The digits, the pairs and the random streams: what is drawn must not change, and no damaged file may pass."""

import gc
import gzip
import hashlib
import http.server
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from lib import datasets, seeds
from lib.architectures import Sizes, build
from lib.datasets import DataError, Digits
from lib.pairs import Pairs, draw_pairs, draw_trial, fingerprint, normalise, side_by_side

# ---------------------------------------------------------------- pinned streams


def test_golden_pairs_of_the_embedded_digits():
    train, test = draw_trial("digits", 20, 20, 2022, 0)
    assert train.classes[:8].tolist() == [[9, 6], [7, 2], [7, 9], [9, 5], [0, 9], [5, 0], [2, 4], [6, 3]]
    assert test.classes[:8].tolist() == [[0, 9], [4, 9], [8, 9], [0, 8], [8, 2], [4, 6], [7, 8], [4, 3]]
    assert fingerprint(train, test) == "0910732203ccb3be"
    assert draw_trial("digits", 20, 20, 2022, 1)[0].classes[:4].tolist() == [[8, 4], [8, 8], [4, 1], [8, 1]]


def test_golden_pairs_of_mnist(mnist):
    train, test = draw_trial("mnist", 20, 20, 2022, 0)
    assert train.classes[:8].tolist() == [[7, 4], [6, 7], [7, 2], [2, 3], [7, 0], [8, 7], [1, 8], [7, 5]]
    assert test.classes[:8].tolist() == [[9, 6], [9, 1], [6, 7], [4, 2], [0, 0], [2, 5], [0, 1], [0, 8]]
    assert fingerprint(train, test) == "7263ed4e08d6ea50"
    assert draw_trial("mnist", 20, 20, 2022, 1)[0].classes[:4].tolist() == [[4, 4], [4, 3], [9, 7], [2, 7]]


def test_golden_order_of_the_training_pairs():
    assert seeds.generator(2022, 0, "order").permutation(20)[:8].tolist() == [15, 16, 13, 5, 0, 7, 1, 17]


def test_golden_initial_weights():
    network = build("CAUX", Sizes(), fully_convolutional=False, seed=2022, trials=range(1))
    first = [0.2545514404773712, -0.04476521536707878, 0.2034844607114792, -0.31678661704063416]
    matrix = [0.03892580419778824, 0.021724758669734, -0.04209495335817337, -0.037514254450798035]
    assert network.extract[0].weight[0, 0].flatten()[:4].tolist() == first
    assert network.compare[1].weight[0, 0, :4].tolist() == matrix
    assert network.compare[1].bias[0, :2].tolist() == [-0.005971611011773348, 0.04528219625353813]


def test_each_purpose_trial_layer_and_seed_has_a_stream_of_its_own():
    streams = [
        *((2022, trial, purpose) for trial in (0, 1) for purpose in seeds.PURPOSES),
        *((2022, 0, "weights", layer) for layer in ("extract.0", "extract.1", "extract_second.0", "compare.1")),
        (2023, 0, "data"),
    ]
    heads = [tuple(seeds.generator(*stream).integers(2**62, size=2)) for stream in streams]
    assert len(set(heads)) == len(streams)


def test_the_numbers_of_purposes_are_never_reused():
    assert seeds.PURPOSES == {"data": 0, "weights": 1, "order": 2}


# ---------------------------------------------------------------- pairs


def numbered(count, value=0):
    """Digits whose pixels say which digit they are."""
    images = torch.arange(count, dtype=torch.float32)[:, None, None].expand(-1, 14, 14) + value
    return Digits(images.contiguous(), torch.arange(count) % 10)


def numbers(pairs):
    return pairs.images[:, :, 0, 0].long()


def rows(images):
    """The images as a set of bytes."""
    return {image.numpy().tobytes() for image in images.reshape(-1, 14, 14)}


def test_no_digit_is_used_twice_in_a_set_and_all_can_be_used():
    pairs = draw_pairs(numbered(41), 20, np.random.default_rng(0))
    used = numbers(pairs).flatten().tolist()
    assert len(set(used)) == 40
    assert pairs.images.shape == (20, 2, 14, 14) and pairs.target.shape == (20,) and pairs.classes.shape == (20, 2)


def test_images_classes_and_target_of_a_pair_belong_together():
    pairs = draw_pairs(numbered(400), 200, np.random.default_rng(0))
    assert torch.equal(pairs.classes, numbers(pairs) % 10)
    assert pairs.target.tolist() == [int(first <= second) for first, second in pairs.classes.tolist()]
    assert pairs.target.dtype == torch.int64
    equal = pairs.classes[:, 0] == pairs.classes[:, 1]
    assert equal.any() and pairs.target[equal].all(), "equal classes are smaller or equal"


def test_more_pairs_than_digits_is_a_value_error_that_says_how_many_there_can_be():
    with pytest.raises(ValueError, match="21 pairs need 42 distinct digits, and this set has 41: at most 20 pairs"):
        draw_pairs(numbered(41), 21, np.random.default_rng(0))


def test_a_smaller_draw_is_the_beginning_of_a_larger_one():
    small, large = (draw_trial("digits", n, n // 2, 7, 3) for n in (20, 60))
    for part, whole in zip(small, large, strict=True):
        for name, values in vars(part).items():
            assert torch.equal(values, getattr(whole, name)[: len(values)]), name


@pytest.mark.parametrize("dataset", datasets.DATASETS)
def test_training_pairs_are_of_training_digits_and_test_pairs_of_test_digits(dataset, request):
    if dataset == "mnist":
        request.getfixturevalue("mnist")
    train_digits, test_digits = datasets.load(dataset)
    train, test = draw_trial(dataset, 60, 60, 0, 0)
    assert rows(train.images) <= rows(train_digits.images)
    assert rows(test.images) <= rows(test_digits.images)
    assert not rows(train.images) & rows(test_digits.images)
    assert not rows(test.images) & rows(train_digits.images)


def test_trials_and_seeds_draw_other_pairs_and_the_same_ones_again():
    draws = {
        (seed, trial): fingerprint(*draw_trial("digits", 20, 20, seed, trial)) for seed in (0, 1) for trial in (0, 1, 2)
    }
    assert len(set(draws.values())) == len(draws)
    assert fingerprint(*draw_trial("digits", 20, 20, 1, 2)) == draws[1, 2]


def test_the_fingerprint_sees_every_image_class_and_set():
    train, test = draw_trial("digits", 5, 5, 0, 0)
    prints = {fingerprint(train, test), fingerprint(train), fingerprint(test, train)}
    for which in range(2):
        for name in ("images", "digits"):
            sets = [Pairs(*(values.clone() for values in vars(pairs).values())) for pairs in (train, test)]
            getattr(sets[which], name).view(-1)[-1] += 1
            prints.add(fingerprint(*sets))
    assert len(prints) == 7
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in prints)


def test_stack_puts_trials_side_by_side():
    trials = [draw_trial("digits", 5, 5, 0, trial)[0] for trial in range(3)]
    stacked = side_by_side(trials)
    assert stacked.images.shape == (3, 5, 2, 14, 14)
    for trial, pairs in enumerate(trials):
        for name, values in vars(pairs).items():
            assert torch.equal(getattr(stacked, name)[trial], values)


def test_normalise_uses_the_training_images_only():
    train, test = draw_trial("digits", 30, 20, 0, 0)
    shifted = Pairs(5 * test.images - 3, test.target, test.classes)
    (a, b), (a_again, c) = normalise(train, test), normalise(train, shifted)
    assert torch.equal(a.images, a_again.images), "the test images changed the training images"
    mean, sd = train.images.double().mean(), train.images.double().std(correction=0)
    for pairs, raw in ((a, train), (b, test), (c, shifted)):
        torch.testing.assert_close(pairs.images.double(), (raw.images.double() - mean) / sd, rtol=1e-6, atol=1e-6)
        assert torch.equal(pairs.target, raw.target) and torch.equal(pairs.classes, raw.classes)
        assert pairs.images.dtype == torch.float32
    assert a.images.double().mean().abs() < 1e-7 and abs(a.images.double().std(correction=0) - 1) < 1e-6


def test_flat_images_are_refused_and_not_divided_by_zero():
    train, test = draw_trial("digits", 5, 5, 0, 0)
    with pytest.raises(DataError, match="flat grey"):
        normalise(Pairs(torch.full_like(train.images, 0.5), train.target, train.classes), test)


# ---------------------------------------------------------------- images


def test_embedded_images_are_the_bilinear_interpolation_of_the_8x8_digits():
    small = load_digits()
    expected = F.interpolate(
        torch.from_numpy(small.images / 16)[:, None], size=(14, 14), mode="bilinear", align_corners=False
    )[:, 0]
    train, test = datasets.load("digits")
    images = torch.cat([train.images, test.images])
    torch.testing.assert_close(images.double(), expected, rtol=0, atol=1e-7)
    assert torch.cat([train.classes, test.classes]).tolist() == small.target.tolist()
    assert (len(train.classes), len(test.classes)) == (1100, 697)
    assert images.dtype == torch.float32 and images.min() == 0 and images.max() == 1


def test_bilinear_weights_of_each_new_pixel_sum_to_one():
    weights = datasets.bilinear_weights(8, 14)
    assert weights.shape == (14, 8) and weights.min() == 0
    assert (weights.sum(1) == 14).all()


def test_pooling_is_the_average_over_2x2_pixels():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8))
    expected = F.avg_pool2d(images.double(), 2) / 255
    found = datasets.pooled(images)
    assert found.shape == (20, 14, 14) and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=6e-8)
    assert datasets.pooled(torch.full((1, 28, 28), 255, dtype=torch.uint8)).max() == 1, "bytes must not overflow"


def test_mnist_has_its_sizes_and_ranges(mnist):
    for digits, count in zip(mnist, (60_000, 10_000), strict=True):
        assert digits.images.shape == (count, 14, 14) and digits.images.dtype == torch.float32
        assert digits.classes.shape == (count,) and digits.classes.dtype == torch.int64
        assert digits.images.min() == 0 and digits.images.max() == 1
        assert digits.classes.unique().tolist() == list(range(10))
    assert mnist[0].classes[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # as everyone knows them


def test_an_unknown_data_set_is_a_value_error():
    with pytest.raises(ValueError, match="'letters'; allowed: 'mnist', 'digits'"):
        datasets.load("letters")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MNIST_ROOT": "/a"}, "/a"),
        ({"MNIST_ROOT": "", "XDG_CACHE_HOME": "/b"}, "/b/pairs-of-digits"),
        ({"HOME": "/c"}, "/c/.cache/pairs-of-digits"),
    ],
)
def test_the_root_of_mnist(environment, expected, monkeypatch):
    for name in ("MNIST_ROOT", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert datasets.mnist_root() == Path(expected)


# ---------------------------------------------------------------- files of MNIST


@pytest.fixture
def files(mnist, tmp_path):
    """A root with the four files, as links; a test replaces one."""
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.MNIST_FILES:
        (raw / name).symlink_to(datasets.mnist_root() / "MNIST" / "raw" / name)
    return raw


def replace(path, change):
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def flip_a_byte(content):
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


@pytest.mark.parametrize("name", datasets.MNIST_FILES)
@pytest.mark.parametrize(
    "change",
    [flip_a_byte, lambda content: content[:-1], lambda content: b"", lambda content: content + b"\0"],
    ids=["one byte flipped", "truncated", "empty", "too long"],
)
def test_a_damaged_file_is_a_data_error_that_names_it(files, name, change):
    replace(files / name, change)
    with pytest.raises(DataError) as caught:
        datasets.load_mnist(files.parents[1])
    message = str(caught.value)
    assert str(files / name) in message
    assert "damaged" in message and datasets.MNIST_FILES[name] in message and "remove the file" in message
    assert hashlib.sha256((files / name).read_bytes()).hexdigest() in message


@pytest.mark.parametrize("kind", ["images-idx3-ubyte", "labels-idx1-ubyte"])
def test_the_test_file_under_the_name_of_the_training_file_is_a_data_error(files, kind):
    replace(files / f"train-{kind}", lambda _: (files / f"t10k-{kind}").read_bytes())
    with pytest.raises(DataError, match=f"train-{kind} holds what belongs into t10k-{kind}"):
        datasets.load_mnist(files.parents[1])


def test_a_stray_processed_folder_is_never_used(files, mnist):
    processed = files.parent / "processed"
    processed.mkdir()
    nonsense = (torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    for name in ("training.pt", "test.pt"):
        torch.save(nonsense, processed / name)
    for found, expected in zip(datasets.load_mnist(files.parents[1]), mnist, strict=True):
        assert torch.equal(found.images, expected.images) and torch.equal(found.classes, expected.classes)


def test_mnist_available_says_no_where_it_cannot_be_had(monkeypatch):
    def missing(dataset):
        raise DataError("not here")

    monkeypatch.setattr(datasets, "load", missing)
    assert not datasets.mnist_available()
    monkeypatch.setattr(datasets, "load", lambda dataset: None)
    assert datasets.mnist_available()


# ---------------------------------------------------------------- downloads


@pytest.fixture
def serve(monkeypatch):
    """Start a mirror on this machine's loopback that answers by the given function, the only one that is asked."""
    servers, over = [], threading.Event()

    def start(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> list[str]:
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # a client that gave up is no error of the mirror
        server.over, server.daemon_threads = over, False  # closing the server waits for its threads
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
        return asked

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets, "DOWNLOAD_TIMEOUT", 0.5)
    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()
    gc.collect()  # now, while the test's own filter of warnings holds


leaky = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # urllib's errors keep their connection


def reply(handler, code, content, length=None):
    handler.send_response(code)
    handler.send_header("Content-Length", str(length or len(content)))
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(content)


def unavailable(handler):
    reply(handler, 503, b"later")


def captive_page(handler):
    reply(handler, 200, b"<html>Please log in to this network</html>")


def hanging(handler):
    handler.server.over.wait(20)


def hanging_in_the_middle(handler):
    reply(handler, 200, b"\x1f\x8b" + bytes(1000), length=100_000)
    if handler.command == "GET":
        handler.wfile.flush()
        handler.server.over.wait(20)


def cut_in_the_middle(handler):
    reply(handler, 200, b"\x1f\x8b" + bytes(1000), length=100_000)
    handler.close_connection = True


def assert_a_clear_error_and_nothing_left(root):
    before, start = socket.getdefaulttimeout(), time.perf_counter()
    with pytest.raises(DataError) as caught:
        datasets.load_mnist(root)
    assert time.perf_counter() - start < 5
    message, raw = str(caught.value), root / "MNIST" / "raw"
    assert str(raw) in message and "Put these four files there" in message
    assert "MNIST_ROOT" in message and "'digits'" in message
    for name, digest in datasets.MNIST_FILES.items():
        assert f"{digest}  {name}" in message
    assert [path for path in root.rglob("*") if path not in (raw, raw.parent)] == [], "something was left behind"
    assert socket.getdefaulttimeout() == before


@leaky
@pytest.mark.parametrize("answer", [unavailable, captive_page, hanging, hanging_in_the_middle, cut_in_the_middle])
def test_a_bad_mirror_is_a_data_error_within_seconds_that_says_what_to_put_where(answer, serve, tmp_path):
    asked = serve(answer)
    assert_a_clear_error_and_nothing_left(tmp_path / "root")
    assert asked, "the mirror was never asked"


@leaky
def test_a_refused_connection_is_a_data_error(serve, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{port}/"])
    assert_a_clear_error_and_nothing_left(tmp_path / "root")


def test_a_folder_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "root").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="could not be downloaded"):
        datasets.load_mnist(tmp_path / "root")


@pytest.fixture(scope="module")
def archives(mnist):
    """The four files as a mirror has them."""
    raw = datasets.mnist_root() / "MNIST" / "raw"
    return {f"/{name}.gz": gzip.compress((raw / name).read_bytes(), compresslevel=1) for name in datasets.MNIST_FILES}


@pytest.fixture
def mirror(archives, serve, monkeypatch):
    """A mirror that works; returns the paths it was asked for."""
    checks = [(path[1:], hashlib.md5(content).hexdigest()) for path, content in archives.items()]
    monkeypatch.setattr(MNIST, "resources", checks)
    return serve(lambda handler: reply(handler, 200, archives[handler.path]))


def test_missing_files_are_downloaded_once_and_checked(mirror, mnist, tmp_path):
    root = tmp_path / "root"
    for found, expected in zip(datasets.load_mnist(root), mnist, strict=True):
        assert torch.equal(found.images, expected.images) and torch.equal(found.classes, expected.classes)
    assert {path.name for path in root.rglob("*") if path.is_file()} == set(datasets.MNIST_FILES)
    assert [path.name for path in root.iterdir()] == ["MNIST"], "a temporary folder was left behind"
    requests = len(mirror)
    datasets.load_mnist(root)
    assert len(mirror) == requests, "downloaded again"


def test_a_download_never_replaces_a_file_that_is_there(mirror, files):
    missing, damaged = files / "train-labels-idx1-ubyte", files / "t10k-labels-idx1-ubyte"
    missing.unlink()
    replace(damaged, flip_a_byte)
    before = damaged.read_bytes()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is damaged"):
        datasets.load_mnist(files.parents[1])
    assert damaged.read_bytes() == before
    assert hashlib.sha256(missing.read_bytes()).hexdigest() == datasets.MNIST_FILES[missing.name]


def test_what_a_mirror_serves_is_checked_after_unpacking(archives, serve, monkeypatch, tmp_path):
    other = dict(archives)
    other["/t10k-labels-idx1-ubyte.gz"] = gzip.compress(bytes(10_008))
    checks = [(path[1:], hashlib.md5(content).hexdigest()) for path, content in other.items()]
    monkeypatch.setattr(MNIST, "resources", checks)
    serve(lambda handler: reply(handler, 200, other[handler.path]))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is damaged"):
        datasets.load_mnist(tmp_path / "root")
