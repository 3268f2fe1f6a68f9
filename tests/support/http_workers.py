"""HTTP connections to one worker of a node: the kernel picks one, so connect until it is that one."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from support.cluster_process import Edge
from support.polling import wait_until

_TRIES = 64
_TIMEOUT_S = 60.0


class Fetched(NamedTuple):
    """An answer: its status and its body."""

    status: int
    body: bytes


def connect(edge: Edge, worker: int) -> http.client.HTTPConnection:
    """A connection that this worker (process id) of ``edge`` has accepted."""
    for _ in range(_TRIES):
        connection = http.client.HTTPConnection("127.0.0.1", edge.http_port, timeout=_TIMEOUT_S)
        connection.connect()
        ours = connection.sock.getsockname()[1]
        if wait_until(partial(edge.owner_of, ours), "a worker to accept") == worker:
            return connection
        connection.close()
    raise AssertionError(f"{_TRIES} connections, none of them to worker {worker}")


class WorkerClient:
    """Asks one worker, on a connection that is kept, and made again when the worker has closed it."""

    def __init__(self, edge: Edge, worker: int) -> None:
        self._edge = edge
        self._worker = worker
        self._connection = connect(edge, worker)

    def get(self, path: str) -> Fetched:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        fetched = Fetched(answer.status, answer.read())
        if answer.will_close:
            self._connection.close()
            self._connection = connect(self._edge, self._worker)
        return fetched

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def asked_of_every_worker(edge: Edge, path: str) -> Iterator[None]:
    """Every worker of ``edge`` has been asked for ``path``; the answers are not waited for."""
    with contextlib.ExitStack() as stack:
        for worker in edge.workers().values():
            connection = stack.enter_context(contextlib.closing(connect(edge, worker)))
            connection.request("GET", path)
        yield
