"""The edge's log: nobody reads it, or strangers fill it."""

from __future__ import annotations

import itertools
import time

from .attack import Attack
from .wire import Stranger, Tally, Target, gather

#: More lines than a pipe of 64 KiB holds, for each of two workers.
_CONNECTS = 3_000
_PROBE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def probes(target: Target, most: int | None = None) -> Tally:
    """4 and 15: connections that are refused, and leave a line each."""
    until, tally = time.monotonic() + target.seconds, Tally()
    for number in itertools.count() if most is None else range(most):
        if time.monotonic() > until:
            break
        for peer in gather(tally, 1, lambda _n, number=number: Stranger(target, number).say(_PROBE)):
            peer.close()
        if tally.refused > 20 and not tally.opened:
            break
    while most is not None and time.monotonic() < until:
        time.sleep(0.05)
    return tally


def unread(target: Target) -> Tally:
    """4: more lines than the pipe holds that nobody reads."""
    return probes(target, _CONNECTS)


ATTACKS = [
    Attack("unread-log", "4", unread, crowd=True, sources=8, edge="deaf", short_seconds=3),
    Attack("probes", "15", probes, crowd=True, sources=8),
]
