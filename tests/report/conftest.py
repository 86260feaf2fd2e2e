import os
from pathlib import Path

import pytest

OFFLINE = Path(__file__).parent / "press" / "offline"


@pytest.fixture(scope="session", autouse=True)
def offline():
    """Every Python process that these tests start, the kernels of notebooks above all, reaches no other machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(OFFLINE), os.environ.get("PYTHONPATH")))))
        yield
