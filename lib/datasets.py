"""The digits: MNIST, or the small set that scikit-learn embeds; images are 14x14 with values in [0, 1]."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib import files
from lib.machine import cache_folder, finish, folder_from
from lib.messages import notice

IMAGE = 14  # height and width of a digit: the course's assignment
CLASSES = 10

# SHA-256 of the four unpacked files: torchvision checks the downloaded archives and never what was unpacked from them.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = (  # torchvision's, in its order: asked one by one, since it stops at the first that breaks off
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
SILENCE = 30.0  # seconds that a mirror may say nothing; torchvision itself would wait for ever
LIMIT = 300.0  # seconds that a mirror may take in all, for 12 MB
# The way to MNIST, in a process of its own: one can end it.
TORCHVISION = """
import socket, sys
from torchvision.datasets import MNIST
folder, mirror, silence = sys.argv[1:]
socket.setdefaulttimeout(float(silence))
MNIST.mirrors = [mirror]
MNIST(folder, download=True)
"""
EMBEDDED_TRAIN = 1100  # the first 1,100 of scikit-learn's 1,797 digits train, the other 697 test


class DataError(RuntimeError):
    """The digits cannot be had, or are not what they should be; the message says which file, why, and what to do."""


@dataclass(frozen=True)
class Digits:
    """A set of digits: `images` `[count, 14, 14]` float32 in [0, 1] and `classes` `[count]` int64 in 0-9."""

    images: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """A set of digits to train on and one to test on: its name in prose, its loader, how many pairs it gives.

    `train_pairs` and `test_pairs` are drawn where an experiment does not say how many; `most` has the greatest numbers
    that use no digit twice.
    """

    title: str
    load: Callable[[], tuple[Digits, Digits]]
    train_pairs: int
    test_pairs: int
    most: Mapping[str, int]


@cache
def load(dataset: str) -> tuple[Digits, Digits]:
    """Return the training and the test digits of one of DATASETS.

    Raises ValueError for another name and DataError when the files of MNIST are missing (and cannot be downloaded) or
    damaged, or where a loader gives something else than `Digits` says.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset is {dataset!r}; allowed: {', '.join(map(repr, DATASETS))}")
    train, test = DATASETS[dataset].load()
    for name, (images, classes) in (("training", (train.images, train.classes)), ("test", (test.images, test.classes))):
        if images.shape != (len(classes), IMAGE, IMAGE) or images.min() < 0 or images.max() > 1:
            raise DataError(
                f"the {name} images of {dataset!r} are {list(images.shape)} for {len(classes)} classes, from "
                f"{images.min():g} to {images.max():g}; allowed: [count, {IMAGE}, {IMAGE}], from 0 to 1"
            )
        if not np.isin(classes, range(10)).all():
            raise DataError(f"the {name} classes of {dataset!r} go to {classes.max()}; allowed: 0 to 9")
    return train, test


def mnist_root() -> Path:
    """Return the folder that holds `MNIST/raw/`: the environment variable `MNIST_ROOT`, or a cache of this user.

    Raises ValueError as `folder_from` does.
    """
    return folder_from("MNIST_ROOT", cache_folder)


def load_mnist(
    root: Path, mirrors: Sequence[str] = MIRRORS, silence: float = SILENCE, limit: float = LIMIT
) -> tuple[Digits, Digits]:
    """Read MNIST below `root`, downloading it when a file is missing; every file is checked against its SHA-256.

    Images are average-pooled from 28x28 to 14x14, the course's size. Raises DataError; of a download when none of the
    mirrors has served the files, each within `limit` seconds and never silent for longer than `silence`.
    """
    raw = root / "MNIST" / "raw"
    try:
        missing = [name for name in MNIST_FILES if not is_there(raw / name)]
        if missing:
            download_mnist(raw, missing, mirrors, silence, limit)
        for name, expected in MNIST_FILES.items():
            check(raw / name, expected)
        return read_mnist(raw)
    except OSError as error:
        raise DataError(
            f"{error.filename or raw} cannot be read ({error.strerror or error}): get the right to read it, or set "
            "MNIST_ROOT to a folder that has MNIST in MNIST/raw/"
        ) from error


def is_there(path: Path) -> bool:
    """Whether a file exists. Raises DataError where something else stands in its place."""
    if why := files.in_the_way(path):
        raise DataError(f"MNIST cannot be read: {why}, or set MNIST_ROOT to another folder")
    return path.is_file()


def check(path: Path, expected: str) -> None:
    """Raise DataError for a file that has not the expected SHA-256."""
    found = sha256(path)
    if found != expected:
        swapped = next((other for other, digest in MNIST_FILES.items() if digest == found), None)
        why = f"holds what belongs into {swapped}" if swapped else f"is damaged (its SHA-256 is {found})"
        raise DataError(f"{path} {why}, expected SHA-256 {expected}: remove the file to have it downloaded again")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_mnist(raw: Path) -> tuple[Digits, Digits]:
    """Read the training and the test digits from checked files."""
    # Checked files have known headers (16 and 8 bytes), so they are read as they are: torchvision's MNIST class prefers
    # a `processed` folder if one is there, and importing it takes every worker seconds and 160 MB.
    sets = []
    for part in ("train", "t10k"):
        pixels = np.memmap(raw / f"{part}-images-idx3-ubyte", np.uint8, "r", offset=16).reshape(-1, 28, 28)
        classes = np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8, offset=8).astype(np.int64)
        images = np.empty((len(classes), IMAGE, IMAGE), np.float32)
        for start in range(0, len(classes), 1000):  # in parts, so that no worker holds more than what it keeps
            images[start : start + 1000] = pooled(pixels[start : start + 1000])
        sets.append(Digits(images, classes))
    return sets[0], sets[1]


def pooled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average bytes `[n, 28, 28]` over 2x2 pixels: `[n, 14, 14]` float32 in [0, 1], exact before the last rounding."""
    sums = images.reshape(-1, IMAGE, 2, IMAGE, 2).sum((2, 4), dtype=np.int64)
    found: NDArray[np.float32] = (sums / (4 * 255)).astype(np.float32)
    return found


def available(dataset: str) -> bool:
    """Say whether a data set can be loaded here (for the report's pictures, which fall back to the embedded digits)."""
    try:
        load(dataset)
    except DataError:
        return False
    return True


def download_mnist(raw: Path, missing: Iterable[str], mirrors: Sequence[str], silence: float, limit: float) -> None:
    """Download MNIST into a temporary folder, from the first mirror that serves it, then move what is missing.

    An interrupted download leaves nothing behind that looks whole. Raises DataError saying what to put where.
    """
    tried = []
    try:
        files.make_folder(raw)
        files.sweep(raw, r"\.download-.+")
        for mirror in mirrors:
            with tempfile.TemporaryDirectory(dir=raw, prefix=".download-") as fresh:
                notice(f"downloading MNIST from {mirror} to {raw}")
                if why := fetch(Path(fresh), mirror, silence, limit):
                    tried.append(f"{mirror}: {why}")
                    continue
                for name in missing:
                    if not (raw / name).is_file():  # another process may have been faster
                        Path(fresh, "MNIST", "raw", name).replace(raw / name)
                return
    except OSError as error:
        tried.append(f"{error.strerror or error}")
    wanted = "\n".join(f"  {digest}  {name}" for name, digest in MNIST_FILES.items())
    raise DataError(
        f"MNIST is not in {raw} and could not be downloaded ({'; '.join(tried)}). "
        "Put these four files there (SHA-256, name), or set MNIST_ROOT to a folder that has them in MNIST/raw/, "
        f"or use the data set 'digits':\n{wanted}"
    )


def fetch(folder: Path, mirror: str, silence: float, limit: float) -> str:
    """Let torchvision download MNIST from one mirror into a folder; return why that failed, or nothing."""
    command = [sys.executable, "-P", "-c", TORCHVISION, str(folder), mirror, str(silence)]
    try:
        done = finish(command, limit, {**os.environ, "TQDM_DISABLE": "1"})
    except subprocess.TimeoutExpired:
        return f"not done within {limit:g} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    other = [name for name, expected in MNIST_FILES.items() if sha256(folder / "MNIST" / "raw" / name) != expected]
    return f"other files than MNIST's ({', '.join(other)})" if other else ""


def load_embedded() -> tuple[Digits, Digits]:
    """Return scikit-learn's 1,797 digits, 8x8, brought to 14x14 by bilinear interpolation; no network is needed.

    A fixed split: the first 1,100 train, the other 697 test.
    """
    # The file behind sklearn.datasets.load_digits, by itself: importing scikit-learn takes every worker seconds.
    package = find_spec("sklearn")
    assert package and package.origin  # it is installed
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", np.int64, delimiter=",")
    weights = bilinear_weights(8, IMAGE)
    small = table[:, :-1].reshape(-1, 8, 8)
    grown = weights @ small @ weights.T  # integers, so exact; a weight of 1 is 14, a white pixel 16
    images = (grown / (IMAGE * IMAGE * 16)).astype(np.float32)
    classes = table[:, -1]
    return (
        Digits(images[:EMBEDDED_TRAIN], classes[:EMBEDDED_TRAIN]),
        Digits(images[EMBEDDED_TRAIN:], classes[EMBEDDED_TRAIN:]),
    )


def bilinear_weights(old: int, new: int) -> NDArray[np.int64]:
    """Return `[new, old]` integers: bilinear interpolation (centres aligned, edges clamped) in units of `1 / new`.

    Pixel i of the new image lies at (i + 1/2) * old / new - 1/2 of the old one; for 8 to 14 that is a multiple of 1/14.
    """
    place = np.clip(((2 * np.arange(new) + 1) * old - new) // 2, 0, (old - 1) * new)  # in units of 1 / new
    left = np.minimum(place // new, old - 2)
    weights = np.zeros((new, old), dtype=np.int64)
    weights[np.arange(new), left] = (left + 1) * new - place
    weights[np.arange(new), left + 1] = place - left * new
    return weights


# Another data set is one entry.
DATASETS = {
    "mnist": Dataset(
        "MNIST",
        lambda: load_mnist(mnist_root()),
        train_pairs=1000,  # the course's assignment, as the next one
        test_pairs=1000,
        most={"train_pairs": 30_000, "test_pairs": 5_000},
    ),
    "digits": Dataset(
        "the digits embedded in scikit-learn",
        load_embedded,
        train_pairs=500,
        test_pairs=300,
        most={"train_pairs": EMBEDDED_TRAIN // 2, "test_pairs": (1797 - EMBEDDED_TRAIN) // 2},
    ),
}
