"""The digits: their images are what they should be, and no damaged file may pass."""

import gc
import gzip
import hashlib
import http.server
import os
import socket
import subprocess
import sys
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

from lib import datasets
from lib.datasets import DataError
from lib.machine import ROOT


def assert_equal(sets, expected):
    """Compare training and test digits."""
    for found, wanted in zip(sets, expected, strict=True):
        np.testing.assert_array_equal(found.images, wanted.images)
        np.testing.assert_array_equal(found.classes, wanted.classes)


# ---------------------------------------------------------------- images


def test_embedded_images_are_the_bilinear_interpolation_of_the_8x8_digits():
    small = load_digits()
    expected = F.interpolate(
        torch.from_numpy(small.images / 16)[:, None], size=(14, 14), mode="bilinear", align_corners=False
    )[:, 0]
    train, test = datasets.load("digits")
    images = np.concatenate([train.images, test.images])
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-7)
    assert [*train.classes, *test.classes] == small.target.tolist()
    assert (len(train.classes), len(test.classes)) == (1100, 697)
    assert images.dtype == np.float32 and images.min() == 0 and images.max() == 1


def test_bilinear_weights_of_each_new_pixel_sum_to_one():
    weights = datasets.bilinear_weights(8, 14)
    assert weights.shape == (14, 8) and weights.min() == 0
    assert (weights.sum(1) == 14).all()


def test_pooling_is_the_average_over_2x2_pixels():
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    expected = F.avg_pool2d(torch.from_numpy(images).double(), 2) / 255
    found = datasets.pooled(images)
    assert found.shape == (20, 14, 14) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-8)
    assert datasets.pooled(np.full((1, 28, 28), 255, dtype=np.uint8)).max() == 1, "bytes must not overflow"


def test_mnist_has_its_sizes_and_ranges(mnist):
    for digits, count in zip(mnist, (60_000, 10_000), strict=True):
        assert digits.images.shape == (count, 14, 14) and digits.images.dtype == np.float32
        assert digits.classes.shape == (count,) and digits.classes.dtype == np.int64
        assert digits.images.min() == 0 and digits.images.max() == 1
        assert np.unique(digits.classes).tolist() == list(range(10))
    assert mnist[0].classes[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # as everyone knows them


def test_the_number_of_pairs_that_use_no_digit_twice(mnist):
    for name, dataset in datasets.DATASETS.items():
        counts = [len(digits.classes) for digits in datasets.load(name)]
        assert [dataset.most["train_pairs"], dataset.most["test_pairs"]] == [count // 2 for count in counts]
        assert dataset.train_pairs <= dataset.most["train_pairs"] and dataset.test_pairs <= dataset.most["test_pairs"]


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


DAMAGES = {
    "truncated": lambda content: content[:-1],
    "empty": lambda content: b"",
    "too long": lambda content: content + b"\0",
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, flip_a_byte) for name in datasets.MNIST_FILES),
        *(pytest.param("train-images-idx3-ubyte", change, id=each) for each, change in DAMAGES.items()),
    ],
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
    assert_equal(datasets.load_mnist(files.parents[1]), mnist)


def test_available_says_no_where_it_cannot_be_had(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.MNIST_FILES:
        (raw / name).touch()
    code = "from lib.datasets import available; print(available('mnist'), available('digits'))"
    environment = {**os.environ, "MNIST_ROOT": str(tmp_path)}  # of a process of its own: this one may have MNIST
    said = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment, cwd=ROOT, timeout=60)
    assert said == "False True\n"


# ---------------------------------------------------------------- downloads


class Mirror(http.server.ThreadingHTTPServer):
    """A server on this machine's loopback; `over` is set when the test ends."""

    daemon_threads = False  # closing the server waits for its threads

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler], over: threading.Event) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.over = over

    def handle_error(self, *_):
        """Say nothing: a client that gave up is no error of the mirror."""


@pytest.fixture
def serve(monkeypatch):
    """Start a mirror that answers by the given function, the only one that is asked; return the paths it is asked."""
    servers, over = [], threading.Event()

    def start(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> list[str]:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = Mirror(Handler, over)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
        return asked

    monkeypatch.setenv("no_proxy", "*")
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
        datasets.load_mnist(root, timeout=0.5)
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
    assert_equal(datasets.load_mnist(root), mnist)
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
