import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from lib import datasets

os.environ["OWN_ROOT"] = os.devnull  # while tests are found, too: a file there may be called as a package is
torch.set_num_threads(1)  # as the workers train; two threads of small operations wait for each other


@pytest.fixture(scope="session")
def mnist():
    """MNIST's digits; where they are not at hand, tests that need them are skipped and say so."""
    raw = datasets.mnist_root() / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in datasets.MNIST_FILES):
        pytest.skip(f"MNIST is not in {raw}; set MNIST_ROOT to run this test")
    return datasets.load("mnist")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """What a test stores without naming a store goes into a folder of that test, and no file of the user's is read."""
    monkeypatch.setenv("RESULTS_ROOT", str(tmp_path / "own-results"))
    monkeypatch.setenv("OWN_ROOT", str(tmp_path / "own"))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="session")
def pool():
    """A process of its own that trains for whoever asks, as a cluster's would: starting one takes seconds."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        yield executor
