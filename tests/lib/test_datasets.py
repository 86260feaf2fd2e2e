"""The digits: their images are what they should be, and no damaged file may pass."""

import ast
import dataclasses
import gzip
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

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


# ---------------------------------------------------------------- what stands in a file's place


def assert_refused(root, *words):
    """One sentence, and what to do: nothing is downloaded."""
    with pytest.raises(DataError) as caught:
        datasets.load_mnist(root, mirrors=[])
    message = str(caught.value)
    assert all(word in message for word in (*words, "MNIST_ROOT")), message
    assert "\n" not in message


def a_folder(path):
    path.mkdir()


def a_dangling_link(path):
    path.symlink_to("nowhere")


def a_link_to_itself(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (a_folder, "is a folder where a file should be; move it away"),
        (a_dangling_link, "is a link to nowhere, which does not exist"),
        (os.mkfifo, "is a special file where a file should be"),
        (a_link_to_itself, "cannot be read"),
    ],
)
def test_what_is_no_file_is_a_data_error_that_says_so(files, put, words):
    path = files / "train-labels-idx1-ubyte"
    path.unlink()
    put(path)
    assert_refused(files.parents[1], str(path), words)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read, even by root")
def test_a_file_that_cannot_be_read_is_a_data_error_that_says_so(files):
    path = files / "t10k-images-idx3-ubyte"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # its first byte is an input/output error
    assert_refused(files.parents[1], "cannot be read (Input/output error)", "get the right to read it")


def test_a_file_where_a_folder_should_be_is_a_data_error_that_names_it(tmp_path):
    (tmp_path / "root").write_text("a file")
    assert_refused(tmp_path / "root", f"{tmp_path / 'root'} is a file where a folder should be")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "MNIST").write_text("a file")
    assert_refused(tmp_path / "other", f"{tmp_path / 'other' / 'MNIST'} is a file where a folder should be")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_one_may_not_read_is_a_data_error_that_says_so(files, closed):
    path = files / "t10k-images-idx3-ubyte"
    replace(path, bytes)
    for each in [path] if closed == "file" else [files]:
        each.chmod(0)
    try:
        assert_refused(files.parents[1], "cannot be read (Permission denied)")
    finally:
        files.chmod(0o700)


# ---------------------------------------------------------------- downloads


class Mirror(http.server.ThreadingHTTPServer):
    """A server on this machine's loopback; `over` is set when the test ends."""

    daemon_threads = False  # closing the server waits for its threads

    def __init__(self, answer: Callable[[http.server.BaseHTTPRequestHandler], None], over: threading.Event) -> None:
        self.asked: list[str] = []
        self.left = threading.Event()  # set when the client went away in the middle of an answer
        self.over = over

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.server.asked.append(self.path)
                answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, *_):
        self.left.set()


@pytest.fixture
def serve(monkeypatch):
    """Start mirrors that answer by the given functions."""
    servers, over = [], threading.Event()

    def start(*answers: Callable[[http.server.BaseHTTPRequestHandler], None]) -> list[Mirror]:
        servers.extend(Mirror(answer, over) for answer in answers)
        return servers[-len(answers) :]

    monkeypatch.setenv("no_proxy", "*")
    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def reply(handler, code, content, length=None, **headers):
    handler.send_response(code)
    for name, value in {"Content-Length": str(length or len(content)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(content)


def unavailable(handler):
    reply(handler, 503, b"later")


def captive_page(handler):
    reply(handler, 200, b"<html>Please log in to this network</html>")


def going_round_in_circles(handler):
    reply(handler, 302, b"", Location=handler.path)


def silent(handler):
    handler.server.over.wait(20)


def stalling(handler):
    reply(handler, 200, b"\x1f\x8b" + bytes(1000), length=100_000)
    if handler.command == "GET":
        handler.wfile.flush()
        handler.server.over.wait(20)


def cut_in_the_middle(handler):
    reply(handler, 200, b"\x1f\x8b" + bytes(1000), length=100_000)
    handler.close_connection = True


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def no_http(handler):
    handler.wfile.write(b"\0\1\2 this is another protocol\r\n\r\n")


def dripping(handler):
    """A byte per half a second: never silent, never done."""
    reply(handler, 200, b"", length=100_000)
    while handler.command == "GET" and not handler.server.over.wait(0.5):
        handler.wfile.write(b"\x1f")


def dripping_headers(handler):
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
    while not handler.server.over.wait(0.5):
        handler.wfile.write(b"X-Nothing: 1\r\n")


BAD = [
    *(unavailable, captive_page, going_round_in_circles, silent, stalling),
    *(cut_in_the_middle, reset, no_http, dripping, dripping_headers),
]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """What takes torchvision's place: it takes a second to import, and serves the files as they are, not packed."""
    package = tmp_path / "stand-in" / "torchvision" / "datasets"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(
        textwrap.dedent(f"""
            import pathlib, urllib.request
            class MNIST:
                def __init__(self, folder, download):
                    raw = pathlib.Path(folder, "MNIST", "raw")
                    raw.mkdir(parents=True)
                    for name in {list(datasets.MNIST_FILES)}:
                        with urllib.request.urlopen(self.mirrors[0] + name) as answer:
                            (raw / name).write_bytes(answer.read())
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parents[1]))


def unpacked(handler):
    reply(handler, 200, (datasets.mnist_root() / "MNIST" / "raw" / handler.path[1:]).read_bytes())


def other_files(handler):
    reply(handler, 200, bytes(10_008))


def test_the_mirrors_are_those_of_torchvision():
    """Of its source: importing it takes seconds."""
    source = Path(find_spec("torchvision").origin).with_name("datasets") / "mnist.py"
    [mnist] = [node for node in ast.parse(source.read_text()).body if getattr(node, "name", "") == "MNIST"]
    assigned = {node.targets[0].id: node.value for node in mnist.body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(assigned["mirrors"]) == list(datasets.MIRRORS)
    served = [name for name, _ in ast.literal_eval(assigned["resources"])]
    assert served == [f"{name}.gz" for name in datasets.MNIST_FILES]


def test_each_mirror_is_tried_by_itself_until_one_serves_the_files(stand_in, serve, mnist, tmp_path, capfd):
    bad = serve(stalling, reset, other_files, dripping)
    good, spare = serve(unpacked, unpacked)
    mirrors = [each.address for each in (*bad, good, spare)]
    assert_equal(datasets.load_mnist(tmp_path / "root", mirrors, silence=1, limit=8), mnist)
    assert all(each.asked for each in (*bad, good)) and not spare.asked
    assert bad[-1].left.wait(2), "what was downloading goes on"
    assert {path.name for path in (tmp_path / "root").rglob("*") if path.is_file()} == set(datasets.MNIST_FILES)
    assert len(list((tmp_path / "root").rglob("*"))) == 6, "a temporary folder was left behind"
    assert capfd.readouterr().err.splitlines() == [
        f"downloading MNIST from {each} to {tmp_path / 'root' / 'MNIST' / 'raw'}" for each in mirrors[:-1]
    ]
    datasets.load_mnist(tmp_path / "root", mirrors)
    assert len(good.asked) == 4, "downloaded again"


def assert_a_clear_error_and_nothing_left(root, mirrors, limit):
    before, start = socket.getdefaulttimeout(), time.perf_counter()
    with pytest.raises(DataError) as caught:
        datasets.load_mnist(root, mirrors, silence=limit / 4, limit=limit)
    assert time.perf_counter() - start < len(mirrors) * (limit + 1)
    message, raw = str(caught.value), root / "MNIST" / "raw"
    assert str(raw) in message and "Put these four files there" in message
    assert all(f"{mirror}: " in message for mirror in mirrors)
    assert "MNIST_ROOT" in message and "'digits'" in message
    for name, digest in datasets.MNIST_FILES.items():
        assert f"{digest}  {name}" in message
    assert [path for path in root.rglob("*") if path not in (raw, raw.parent)] == [], "something was left behind"
    assert socket.getdefaulttimeout() == before
    return message


def test_bad_mirrors_are_a_data_error_that_says_what_to_put_where(stand_in, serve, tmp_path):
    bad = serve(unavailable, no_http, dripping_headers)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    mirrors = [*(each.address for each in bad), f"http://127.0.0.1:{port}/"]
    message = assert_a_clear_error_and_nothing_left(tmp_path / "root", mirrors, 4)
    assert "503" in message and "not done within 4 s" in message and "refused" in message
    assert all(each.asked for each in bad), "a mirror was never asked"


@pytest.mark.slow
@pytest.mark.parametrize("answer", BAD)
def test_torchvision_at_a_bad_mirror(answer, serve, tmp_path):
    [bad] = serve(answer)
    assert_a_clear_error_and_nothing_left(tmp_path / "root", [bad.address], 40)
    assert bad.asked, "the mirror was never asked"


def test_what_a_killed_download_left_is_removed_after_a_day(stand_in, serve, tmp_path):
    raw = tmp_path / "root" / "MNIST" / "raw"
    old, young, other = (raw / name for name in (".download-1234abcd", ".download-abcd1234", "kept"))
    for folder in (old, young, other):
        (folder / "MNIST").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (time.time() - 90_000,) * 2)
    with pytest.raises(DataError, match="could not be downloaded"):
        datasets.load_mnist(tmp_path / "root", [each.address for each in serve(unavailable)])
    assert sorted(raw.iterdir()) == sorted([young, other])


def test_a_download_never_replaces_a_file_that_is_there(stand_in, serve, files):
    missing, damaged = files / "train-labels-idx1-ubyte", files / "t10k-labels-idx1-ubyte"
    missing.unlink()
    replace(damaged, flip_a_byte)
    before = damaged.read_bytes()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is damaged"):
        datasets.load_mnist(files.parents[1], [each.address for each in serve(unpacked)])
    assert damaged.read_bytes() == before
    assert hashlib.sha256(missing.read_bytes()).hexdigest() == datasets.MNIST_FILES[missing.name]


@pytest.mark.slow
def test_torchvision_downloads_from_the_mirror_that_serves_the_files(serve, mnist, tmp_path, monkeypatch):
    raw = datasets.mnist_root() / "MNIST" / "raw"
    archives = {
        f"{name}.gz": gzip.compress((raw / name).read_bytes(), compresslevel=1) for name in datasets.MNIST_FILES
    }
    checks = [(name, hashlib.md5(content).hexdigest()) for name, content in archives.items()]
    (tmp_path / "sitecustomize.py").write_text(f"from torchvision.datasets import MNIST; MNIST.resources = {checks}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mirrors = serve(dripping, cut_in_the_middle, lambda handler: reply(handler, 200, archives[handler.path[1:]]))
    found = datasets.load_mnist(tmp_path / "root", [each.address for each in mirrors], silence=5, limit=40)
    assert_equal(found, mnist)
    assert all(each.asked for each in mirrors)


@pytest.mark.parametrize(
    ("side", "most", "classes", "words"),
    [
        (
            28,
            1,
            9,
            r"^the training images of 'mine' are \[20, 28, 28\] for 20 classes, from 0 to 1; allowed: \[count, ",
        ),
        (14, 255, 9, r"^the training images of 'mine' are \[20, 14, 14\] for 20 classes, from 0 to 255; allowed: "),
        (14, 1, 61, r"^the training classes of 'mine' go to 61; allowed: 0 to 9$"),
    ],
)
def test_digits_of_another_form_are_refused(monkeypatch, side, most, classes, words):
    images = np.zeros((20, side, side), np.float32)
    images[0, 0, 0] = most
    digits = datasets.Digits(images, np.arange(20) % 9 + (np.arange(20) == 1) * (classes - 1))
    known = datasets.DATASETS["digits"]
    monkeypatch.setitem(datasets.DATASETS, "mine", dataclasses.replace(known, load=lambda: (digits, digits)))
    with pytest.raises(datasets.DataError, match=words):
        datasets.load("mine")
