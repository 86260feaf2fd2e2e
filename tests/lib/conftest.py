from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module that can be imported, and return its name; it is another one in each test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, suffix: str = "") -> str:
        name = f"own_{tmp_path.name.replace('-', '_')}{suffix}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write
