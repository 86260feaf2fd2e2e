"""Groups on a cluster, by Dask (the optional extra `cluster`): its executor, and what its workers say meanwhile."""

import queue
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 10  # seconds in which a scheduler has to answer
INSTALL = "pip install -e '.[cluster]'"


class NotSharedError(OSError):
    """A worker does not see the folder into which it should write results."""


@dataclass(frozen=True)
class Wire:
    """From a task of Dask's to whoever waits for it, by the scheduler; it goes with the task to the worker."""

    topic: str
    mark: Path  # a file beside the results

    def __call__(self, count: int) -> None:
        """Report trained trial-epochs, from the thread that has trained them."""
        from distributed import get_worker

        worker = get_worker()
        worker.log_event(self.topic, (worker.get_current_task(), worker.id, count))

    def check(self) -> None:
        """Raise NotSharedError where the results would go to another file system than those that were asked for."""
        if not self.mark.exists():
            raise NotSharedError(
                f"the worker on {socket.gethostname()} has another {self.mark.parent} than the process that started "
                "the study: all of them need one file system, under the same path"
            )


@contextmanager
def connected(address: str | None) -> Iterator[Executor | None]:
    """Yield the executor of a Dask scheduler, or None where there is no address.

    What is not finished when the block is left is cancelled.

    Raises ConnectionError where there is no scheduler, or `distributed` is not installed.
    """
    if address is None:
        yield None
        return
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ModuleNotFoundError as error:
        raise ConnectionError(f"a cluster needs the extra of that name ({error}): {INSTALL}") from None
    try:
        socket.create_connection(get_address_host_port(address), timeout=PATIENCE).close()  # Client is slow to give up
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, OverflowError) as error:
        raise ConnectionError(
            f"scheduler is {address!r}, and none answers there ({error}); allowed: an address as `dask scheduler` "
            "prints it, such as tcp://10.0.0.1:8786"
        ) from None
    with client:
        yield client.get_executor()


@contextmanager
def wired(executor: Executor | None, root: Path) -> Iterator[tuple[Wire | None, Any]]:
    """Yield the wire for the tasks of a Dask executor and the queue of what comes by it; of any other, twice None.

    What comes are trial-epochs. Where a worker dies, what it had done of a group comes as a negative number: another
    one begins it anew.
    """
    # A loaded module, for whoever has such an executor has imported it; it does not tell its client in public.
    kind = getattr(sys.modules.get("distributed.cfexecutor"), "ClientExecutor", None)
    if kind is None or not isinstance(executor, kind):
        yield None, None
        return
    client, topic = executor._client, f"trial-epochs-{uuid.uuid4().hex}"
    ticks: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: dict[str, tuple[str, int]] = {}  # of each task: the worker that has it, and its trial-epochs so far

    def hear(event: tuple[float, tuple[str, str, int]]) -> None:
        task, worker, count = event[1]
        before, so_far = done.get(task, (worker, 0))
        lost = 0 if worker == before else so_far
        done[task] = (worker, so_far - lost + count)
        ticks.put(count - lost)

    with tempfile.NamedTemporaryFile(dir=root, prefix=".cluster.", suffix=".part") as mark:
        client.subscribe_topic(topic, hear)
        try:
            yield Wire(topic, Path(mark.name)), ticks
        finally:
            if client.status == "running":
                client.unsubscribe_topic(topic)
