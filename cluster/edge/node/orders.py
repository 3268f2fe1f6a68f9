"""What a supervisor tells a worker that runs, as one JSON object a line on the worker's stdin.

    {"policy": {…}, "generation": 3}   prepare this policy, and say whether that went well (``status_pipe``)
    {"commit": 3}                      put it in force
    {"abort": 3}                       forget it
    {"serve": "out"}                   the node is out of service, or is in it again
"""

from __future__ import annotations

import collections
import enum
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make ready what the policy in ``tables`` needs."""

    generation: int
    tables: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Commit:
    """Put the prepared policy in force."""

    generation: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget the prepared policy."""

    generation: int


class Service(enum.Enum):
    """What a worker may do for peers."""

    IN = "in"  # all
    OUT = "out"  # serve those who are here, who are asked to go
    OVER = "over"  # no more: the time of those who are left is over


@dataclass(frozen=True, slots=True)
class Serve:
    """Be in this state, whatever the state is now."""

    service: Service


Order: TypeAlias = Prepare | Commit | Abort | Serve


def to_line(order: Order) -> bytes:
    said: dict[str, Any]
    match order:
        case Prepare(generation, tables):
            said = {"policy": tables, "generation": generation}
        case Commit(generation):
            said = {"commit": generation}
        case Abort(generation):
            said = {"abort": generation}
        case Serve(service):
            said = {"serve": service.value}
    return json.dumps(said).encode() + b"\n"


def from_line(line: bytes) -> Order:
    said = json.loads(line)
    if "policy" in said:
        return Prepare(said["generation"], said["policy"])
    if "serve" in said:
        return Serve(Service(said["serve"]))
    return Commit(said["commit"]) if "commit" in said else Abort(said["abort"])


class LineReader:
    """Lines of a file descriptor. Without a buffer that Python shares: a thread may wait here for ever, and
    the process can end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._unread = b""

    def read(self) -> bytes:
        """Wait for the next line; without its end. Empty once there is no more."""
        parts = [self._unread]
        while b"\n" not in parts[-1]:
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                return b""
            parts.append(data)
        line, _, self._unread = b"".join(parts).partition(b"\n")
        return line


class Inbox:
    """Orders on their way from the thread that reads them to the loop that carries them out."""

    def __init__(self) -> None:
        self._orders: collections.deque[Order] = collections.deque()
        self._wake: Callable[[], object] = lambda: None

    def put(self, order: Order) -> None:
        """From any thread."""
        self._orders.append(order)
        self._wake()

    def open(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called for each order that comes, by any thread. Some may be here already."""
        self._wake = wake

    def taken(self) -> Iterator[Order]:
        """Take out what has come."""
        while self._orders:
            yield self._orders.popleft()


class OrderPipe:
    """The supervisor's end of a worker's stdin. It never waits for a worker: what the pipe does not take
    stays here until ``flush``."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._unsent = memoryview(b"")

    def fileno(self) -> int:
        return self._fd

    @property
    def is_behind(self) -> bool:
        return bool(self._unsent)

    def say(self, line: bytes) -> None:
        self._unsent = memoryview(bytes(self._unsent) + line)
        self.flush()

    def flush(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._fd, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # the worker has ended, which is seen elsewhere
            self._unsent = memoryview(b"")
