"""Fan-out: one batch of bytes to many sockets, the innermost loop of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat
from operator import call

from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer
from cluster.edge.streams.interfaces import Encoding
from cluster.edge.streams.reader import Reader

Send = Callable[[Buffer], int]


def send_to_all(
    sends: Mapping[Reader, Send], batch: bytes
) -> tuple[list[int], list[tuple[Reader, OSError]]]:
    """Give ``batch`` to each socket in turn: the bytes that each took, and whose ``send`` failed.

    A full socket took 0 bytes, a failed one counts as having taken all.
    """
    sent: list[int] = []
    failed: list[tuple[Reader, OSError]] = []
    # No bytecode runs for a socket that takes it all. What ``send`` raises ends ``extend`` after
    # the readers before; the same iterator then goes on with the next.
    calls = map(call, sends.values(), repeat(batch))
    while len(sent) < len(sends):
        try:
            sent.extend(calls)
        except BlockingIOError:
            sent.append(0)
        except OSError as error:
            failed.append((list(sends)[len(sent)], error))
            sent.append(len(batch))
    return sent, failed


def cut_at(encoding: Encoding, entries: list[LogEntry], sent: int) -> tuple[int, list[Buffer]]:
    """Where a socket stands that took only ``sent`` bytes of ``entries``.

    Returns the number of entries that it has begun to take, and the rest of the last of them.
    """
    for number, entry in enumerate(entries, 1):
        buffers = encoding.entry(entry)
        for index, buffer in enumerate(buffers):
            if sent < len(buffer):
                return number, [memoryview(buffer)[sent:], *buffers[index + 1 :]]
            sent -= len(buffer)
    return len(entries), []
