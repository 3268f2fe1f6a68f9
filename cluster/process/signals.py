"""Signals as something a loop reads: the handlers do nothing, the numbers queue in a socket."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def queued(*numbers: signal.Signals) -> Iterator[socket.socket]:
    """While the body runs, each arriving signal of ``numbers`` is one byte, its number, to be read
    from the socket yielded (non-blocking). Main thread only. The handlers of before come back after.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        fd_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handlers_before = {number: signal.signal(number, _do_nothing) for number in numbers}
        try:
            yield reader
        finally:
            for number, handler in handlers_before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)


def read(queue: socket.socket) -> list[int]:
    """The numbers that arrived since the last call."""
    try:
        return list(queue.recv(4096))
    except BlockingIOError:
        return []


def _do_nothing(number: int, frame: object) -> None:
    """Python must have a handler to write the number to the wake-up socket."""
