"""The digits: MNIST, or the small set that scikit-learn embeds; images are 14x14 with values in [0, 1]."""

import hashlib
import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATASETS = {"mnist": (1000, 1000), "digits": (500, 300)}  # default number of training and test pairs

# SHA-256 of the four unpacked files: torchvision checks the downloaded archives and never what was unpacked from them.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DOWNLOAD_TIMEOUT = 30.0  # seconds without an answer; torchvision itself would wait for ever
EMBEDDED_TRAIN = 1100  # the first 1,100 of scikit-learn's 1,797 digits train, the other 697 test


class DataError(RuntimeError):
    """The digits cannot be had, or are not what they should be; the message says which file, why, and what to do."""


@dataclass(frozen=True)
class Digits:
    """A set of digits: `images` `[count, 14, 14]` float32 in [0, 1] and `classes` `[count]` int64 in 0-9."""

    images: Tensor
    classes: Tensor


@cache
def load(dataset: str) -> tuple[Digits, Digits]:
    """Return the training and the test digits of `"mnist"` or `"digits"`.

    Raises ValueError for another name and DataError when the files of MNIST are missing (and cannot be downloaded) or
    damaged.
    """
    if dataset == "mnist":
        return load_mnist(mnist_root())
    if dataset == "digits":
        return load_embedded()
    raise ValueError(f"dataset is {dataset!r}; allowed: {', '.join(map(repr, DATASETS))}")


def mnist_root() -> Path:
    """Return the folder that holds `MNIST/raw/`: the environment variable `MNIST_ROOT`, or a cache of this user."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MNIST_ROOT") or Path(cache_home) / "pairs-of-digits")


def load_mnist(root: Path) -> tuple[Digits, Digits]:
    """Read MNIST below `root`, downloading it when a file is missing; every file is checked against its SHA-256.

    Images are average-pooled from 28x28 to 14x14, the course's size. Raises DataError.
    """
    raw = root / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in MNIST_FILES):
        download_mnist(root)
    for name, expected in MNIST_FILES.items():
        with (raw / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            swapped = next((other for other, digest in MNIST_FILES.items() if digest == found), None)
            why = f"holds what belongs into {swapped}" if swapped else f"is damaged (its SHA-256 is {found})"
            raise DataError(
                f"{raw / name} {why}, expected SHA-256 {expected}: remove the file to have it downloaded again"
            )
    # Checked files have known headers (16 and 8 bytes), so they are read as they are: torchvision's MNIST class prefers
    # a `processed` folder if one is there, and importing it takes every worker seconds and 160 MB.
    sets = []
    for part in ("train", "t10k"):
        pixels = np.memmap(raw / f"{part}-images-idx3-ubyte", np.uint8, "r", offset=16).reshape(-1, 28, 28)
        classes = np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8, offset=8).astype(np.int64)
        images = torch.empty(len(classes), 14, 14)
        for rows in torch.arange(len(classes)).split(1000):  # in parts, so that no worker holds more than what it keeps
            images[rows] = pooled(torch.from_numpy(pixels[rows]))
        sets.append(Digits(images, torch.from_numpy(classes)))
    return sets[0], sets[1]


def pooled(images: Tensor) -> Tensor:
    """Average bytes `[n, 28, 28]` over 2x2 pixels: `[n, 14, 14]` float32 in [0, 1], exact before the last rounding."""
    return (images.view(-1, 14, 2, 14, 2).sum((2, 4)).double() / (4 * 255)).float()


def mnist_available() -> bool:
    """Say whether MNIST can be loaded here (for the report's pictures, which fall back to the embedded digits)."""
    try:
        load("mnist")
    except DataError:
        return False
    return True


def download_mnist(root: Path) -> None:
    """Let torchvision download MNIST into a temporary folder, then move the missing files into place.

    An interrupted download leaves nothing behind that looks whole. Raises DataError saying what to put where.
    """
    from torchvision.datasets import MNIST

    raw = root / "MNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as fresh, socket_timeout(DOWNLOAD_TIMEOUT):
            MNIST(fresh, download=True)
            for name in MNIST_FILES:
                if not (raw / name).is_file():
                    shutil.move(Path(fresh, "MNIST", "raw", name), raw / name)
    except Exception as error:  # torchvision raises RuntimeError, OSError, http and zlib errors, by the kind of mirror
        files = "\n".join(f"  {digest}  {name}" for name, digest in MNIST_FILES.items())
        raise DataError(
            f"MNIST is not in {raw} and could not be downloaded ({type(error).__name__}: {error}). "
            "Put these four files there (SHA-256, name), or set MNIST_ROOT to a folder that has them in MNIST/raw/, "
            f"or use the data set 'digits':\n{files}"
        ) from error


@contextmanager
def socket_timeout(seconds: float):
    """Give every new connection a timeout, for libraries that set none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_embedded() -> tuple[Digits, Digits]:
    """Return scikit-learn's 1,797 digits, 8x8, brought to 14x14 by bilinear interpolation; no network is needed.

    A fixed split: the first 1,100 train, the other 697 test.
    """
    from sklearn.datasets import load_digits

    small = load_digits()
    weights = bilinear_weights(8, 14)
    images = (
        weights @ small.images.astype(np.int64) @ weights.T
    )  # integers, so exact; a weight of 1 is 14, a white pixel 16
    images = torch.from_numpy((images / (14 * 14 * 16)).astype(np.float32))
    classes = torch.from_numpy(small.target.astype(np.int64))
    return (
        Digits(images[:EMBEDDED_TRAIN], classes[:EMBEDDED_TRAIN]),
        Digits(images[EMBEDDED_TRAIN:], classes[EMBEDDED_TRAIN:]),
    )


def bilinear_weights(old: int, new: int) -> np.ndarray:
    """Return `[new, old]` integers: bilinear interpolation (centres aligned, edges clamped) in units of `1 / new`.

    Pixel i of the new image lies at (i + 1/2) * old / new - 1/2 of the old one; for 8 to 14 that is a multiple of 1/14.
    """
    place = np.clip(((2 * np.arange(new) + 1) * old - new) // 2, 0, (old - 1) * new)  # in units of 1 / new
    left = np.minimum(place // new, old - 2)
    weights = np.zeros((new, old), dtype=np.int64)
    weights[np.arange(new), left] = (left + 1) * new - place
    weights[np.arange(new), left + 1] = place - left * new
    return weights
