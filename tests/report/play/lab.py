"""JupyterLab as a user has it, in Chromium without a screen: started on loopback, driven, ended with its kernels."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import psutil

from lib.machine import ROOT
from report.press.surroundings import neutral

STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'  # what JupyterLab calls tracebacks, too
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are on the page, too
}
DARK = {"@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"}}
SETTLED = 3_500  # milliseconds: run at once, cells meet a dialog about the kernel although the indicator says idle
# Cells whose source is hidden show no number; the last cell is not one of them, and runs after all others.
DONE = r"""() => { const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')];
                   return prompts.length > 0 && prompts.every(prompt => /\[\d+\]/.test(prompt.textContent)) }"""


@contextmanager
def server(folder, dark=False):
    """Start JupyterLab on a copy of the notebooks, with results of its own; yield where it is."""
    (folder / "notebooks").mkdir(parents=True)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, folder / "notebooks")
    for name, values in (SETTINGS | (DARK if dark else {})).items():
        file = folder / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    with neutral(), (folder / "server.log").open("w") as log:
        own = {name: str(folder / name) for name in ("config", "runtime", "data", "workspaces")}
        os.environ |= {f"JUPYTER_{name.upper()}_DIR": own[name] for name in ("config", "runtime", "data")}
        os.environ |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "RESULTS_ROOT": str(folder / "results")}
        os.environ |= {"JUPYTERLAB_WORKSPACES_DIR": own["workspaces"], "PYTHONPATH": str(ROOT)}
        os.environ["OWN_ROOT"] = str(folder / "own")  # not the user's, which other programs find, too
        options = [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
        started = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--allow-root", *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Address(f"http://127.0.0.1:{port}", token, started)
        finally:
            started.terminate()  # it ends its kernels
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


class Address:
    """Where a server is, and what it runs."""

    def __init__(self, base, token, process):
        self.base, self.token, self.process = base, token, process
        end = time.monotonic() + 90
        while True:
            try:
                self.ask("api")
                return
            except OSError:
                assert time.monotonic() < end and process.poll() is None, "JupyterLab does not start"
                time.sleep(0.25)

    def ask(self, path, method="GET"):
        request = urllib.request.Request(f"{self.base}/{path}?token={self.token}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def kernels(self):
        """The kernels' processes."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]


class Notebook:
    """A notebook in a page of its own: what a user does with it, and what they see."""

    def __init__(self, browser, address, name, **options):
        self.address, self.wrong, self.outside = address, [], []
        self.page = browser.new_page(viewport={"width": 1500, "height": 1400}, **options)
        own = (address.base, address.base.replace("http", "ws"), "data:", "blob:")
        self.page.on("request", lambda request: request.url.startswith(own) or self.outside.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(f"{address.base}/lab/tree/notebooks/{name}.ipynb?token={address.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
        self.idle()
        self.page.wait_for_timeout(SETTLED)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.page.close()
        for session in self.address.ask("api/sessions"):
            self.address.ask(f"api/sessions/{session['id']}", "DELETE")

    def idle(self):
        self.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)

    def menu(self, *path):
        self.page.click(f'.lm-MenuBar-itemLabel:text-is("{path[0]}")')
        self.page.click(f'.lm-Menu-itemLabel:text-is("{path[1]}")')

    def run_all(self):
        self.menu("Run", "Run All Cells")

    def finish(self, seconds):
        self.page.wait_for_function(DONE, timeout=1000 * seconds)
        self.page.wait_for_timeout(1000)  # the last outputs

    def cell(self, source):
        """The code cell that has this in its source."""
        return self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".jp-InputArea", has_text=source)).first

    def run(self, source):
        """Run one cell, and do not wait."""
        self.cell(source).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.page.keyboard.press("Escape")

    def running(self, source):
        return "*" in self.cell(source).locator(".jp-InputPrompt").inner_text()

    def wait(self, condition, seconds=30, every=100):
        """Wait until something is true, and return it."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "that took too long"
            self.page.wait_for_timeout(every)
        return found

    def printed(self, source):
        return self.cell(source).locator(".jp-OutputArea").first.inner_text()

    def number(self, source, pattern):
        """A number that a cell shows, or None."""
        found = re.search(pattern, self.printed(source))
        return int(found[1]) if found else None

    def picture(self, source):
        return self.cell(source).locator("img").last.get_attribute("src")

    def errors(self):
        shown = [each.inner_text() for each in self.page.locator(STDERR).all()]
        return shown + self.wrong + self.outside
