"""Places of a worker: half handshakes that hold them, TLS that never ends, a worker that is stopped."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from functools import partial

from .attack import Attack
from .wire import HELLO, Pieces, Stranger, Tally, Target, flood, gather, hold, paced

#: Of the edge under attack: few, so that an attack on all of them is over soon.
_CONNECTIONS = 400
_STOP_S = 5.0


def half_handshakes(target: Target, tls: bool = False, slowly: bool = False) -> Tally:
    """8: more half handshakes than a worker has places, and again where one is closed."""
    until, tally = time.monotonic() + target.seconds, Tally()

    def make(number: int) -> Stranger:
        plain = Target(target.tls_port, 0, target.seconds, number=target.number, sources=target.sources)
        peer = Stranger(plain if tls else target, number)
        return peer.say(b"\x16\x03\x01\x02\x00\x01" if tls else HELLO[:700])

    def pieces(_peer: Stranger) -> Pieces:
        return paced((bytes([each]) for each in HELLO[700:]), 1) if slowly else iter(())

    while time.monotonic() < until:
        peers = gather(tally, 2 * _CONNECTIONS + 100, make, until)
        flood(tally, peers, pieces, min(until, time.monotonic() + 3))
    return tally


def stopped_worker(target: Target) -> Tally:
    """14: a worker is stopped for five seconds; who comes meanwhile is to be served by the other."""
    worker = target.workers[1]
    os.kill(worker, signal.SIGSTOP)
    try:
        time.sleep(min(_STOP_S, target.seconds))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
    return Tally()


def idle_peers(target: Target) -> Tally:
    """8: places held by peers that have shaken hands, and say nothing more."""
    until, tally = time.monotonic() + target.seconds, Tally()
    peers = gather(tally, 2 * _CONNECTIONS + 100, lambda n: Stranger(target, n).shake_hands(), until)
    hold(tally, peers, until)
    return tally


def reconnects(target: Target) -> Tally:
    """8: connections that come and go as fast as they can."""
    until, tally = time.monotonic() + target.seconds, Tally()
    for number in itertools.count():
        if time.monotonic() > until:
            break
        for peer in gather(tally, 1, lambda _n, number=number: Stranger(target, number)):
            peer.close()
    return tally


_few = partial(Attack, crowd=True, sources=8, options=("--max-connections", str(_CONNECTIONS)))

ATTACKS = [
    _few("half-handshakes", "8", half_handshakes),
    _few("half-one-address", "8", half_handshakes, sources=1, in_short=False),
    _few("half-dripped", "8", partial(half_handshakes, slowly=True), in_short=False),
    _few("half-tls", "8", partial(half_handshakes, tls=True), in_short=False),
    _few("idle-peers", "8", idle_peers, in_short=False),
    Attack("connect-churn", "8", reconnects, crowd=True, sources=8, in_short=False),
    Attack(
        "stopped-worker", "14", stopped_worker, judged=(0,), seconds=_STOP_S, short_seconds=_STOP_S,
        joins_after_s=2.0,  # who was given to the stopped worker before it was missed is lost with it
    ),
]  # fmt: skip
