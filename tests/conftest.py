import pytest
import torch

from lib import datasets

torch.set_num_threads(1)  # as the workers train; two threads of small operations wait for each other


@pytest.fixture(scope="session")
def mnist():
    """MNIST's digits; where they are not at hand, tests that need them are skipped and say so."""
    raw = datasets.mnist_root() / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in datasets.MNIST_FILES):
        pytest.skip(f"MNIST is not in {raw}; set MNIST_ROOT to run this test")
    return datasets.load("mnist")


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """No test reads or writes the stores of the project, unless it names them."""
    monkeypatch.setattr("lib.analysis.PUBLISHED", tmp_path / "published")
