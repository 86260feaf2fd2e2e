import os
import sys
from pathlib import Path

import pytest

from tests.report.chromium import CHROMIUM, QUIET

OFFLINE = Path(__file__).parent / "press" / "offline"


@pytest.fixture(scope="module")  # no longer: it keeps other tests of the process from an event loop of their own
def browser():
    """Chromium without a screen."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="session", autouse=True)
def offline():
    """Every Python process that these tests start, the kernels of notebooks above all, reaches no other machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(OFFLINE), os.environ.get("PYTHONPATH")))))
        yield


@pytest.fixture(autouse=True)
def figures_closed():
    """No test meets the figures that another one has left open."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
