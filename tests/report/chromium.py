"""Debian's Chromium, for the tests that need a browser: where it is, how it is started, and what marks such a test."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's Chromium is not installed"),
]


def in_browser(test):
    """Mark one test of a module in which others need no browser."""
    for mark in IN_BROWSER:
        test = mark(test)
    return test
