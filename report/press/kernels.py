"""Kernels that begin at once: each is forked from a process that has loaded what notebooks import, which takes seconds.

Python's own fork server does it (multiprocessing). The process that kernels come from has loaded other people's
libraries alone and run no code of a notebook; each kernel is a fresh copy of it. Where the system's libraries do not
survive a fork, kernels are started as Jupyter starts them.
"""

import os
import signal
import sys
import threading
import uuid
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from jupyter_client import AsyncKernelManager
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from lib import processes
from report.press.surroundings import neutral

FORKS = sys.platform == "linux"
# What notebooks import, and what runs and renders them; before it, what ends the process while it loads.
LOADED = (
    "report.press.tied",
    "papermill",
    "ipykernel.kernelapp",
    "matplotlib.pyplot",
    "scipy.stats",
    "torch",
    "nbconvert",
)
LAUNCHER = "ipykernel_launcher"  # the module that a kernel is started by
INLINE = "module://matplotlib_inline.backend_inline"  # as a kernel sets MPLBACKEND, before matplotlib is imported


def begin() -> None:
    """Start the process that kernels are forked from; it loads while this one goes on. It ends with this one."""
    if not FORKS:
        return
    forkserver.set_forkserver_preload(list(LOADED))
    resource_tracker.ensure_running()  # which else is done below, and leaves SIGINT unblocked
    mask = processes.blocked(signal.SIG_BLOCK, {signal.SIGINT})  # a process that only begins does not see Ctrl-C
    try:
        with neutral():
            os.environ["MPLBACKEND"] = INLINE
            forkserver.ensure_running()
    finally:
        processes.blocked(signal.SIG_SETMASK, mask)


def pool(workers: int) -> processes.Pool:
    """Return processes that run notebooks and render them, forked from the same process where that can be."""
    if not FORKS:
        return processes.Pool(workers)
    begin()
    return processes.Pool(workers, surround, dict(os.environ), method="forkserver")


def surround(environment: dict[str, str]) -> None:
    """Take on an environment: a forked process has that of the process that it is forked from, as it was then."""
    os.environ.clear()
    os.environ.update(environment)


class Manager(AsyncKernelManager):
    """Starts a kernel and ends it, without interrupting it first: an idle one would log that as an error of its own."""

    async def _async_interrupt_kernel(self) -> None:
        pass

    async def _async_pre_start_kernel(self, **kw: Any) -> tuple[list[str], dict[str, Any]]:
        if FORKS and self.provisioner is None:
            begin()
            self.kernel_id = self.kernel_id or str(uuid.uuid4())
            self.provisioner = Forked(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
        return await super()._async_pre_start_kernel(**kw)


class Forked(LocalProvisioner):
    """Forks a kernel where Jupyter would start it."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch what a command says."""
        if LAUNCHER not in cmd:
            return await super().launch_kernel(cmd, **kwargs)
        arguments, folder = cmd[cmd.index(LAUNCHER) + 1 :], str(kwargs.get("cwd") or Path.cwd())
        process = get_context("forkserver").Process(target=be, args=(arguments, dict(kwargs["env"]), folder))
        process.start()
        self.process = cast(Any, Process(process))
        self.pid, self.pgid, self.cwd = process.pid, process.pid, folder  # it has a session, so a group, of its own
        return self.connection_info


class Process:
    """A forked kernel as a provisioner asks for it: like subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        self.of, self.pid = process, process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.of.exitcode

    def wait(self) -> int | None:
        """Wait for its end, and return the exit code."""
        self.of.join()
        return self.of.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal. Raises ProcessLookupError where it has ended."""
        os.kill(self.pid or 0, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Tell it to end."""
        self.send_signal(signal.SIGTERM)


def be(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be a kernel, as `python -m ipykernel_launcher` with these arguments is one; end when the parent has ended."""
    os.setsid()
    processes.blocked(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=processes.end_with_parent, daemon=True).start()
    surround(environment)
    os.chdir(folder)

    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])  # with which it ends, too
