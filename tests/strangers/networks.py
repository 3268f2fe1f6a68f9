"""Connections of one address without end, directly and through a proxy: refused, and others unharmed."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Sequence

from .attack import Attack
from .rig import Scene
from .rows import Row
from .wire import FIRST_SOURCE, HELLO, Stranger, Tally, Target, connect, play, streams

_PER_S = 2_000
#: What one address may: so many new ones a second, ten times as many at once.
_ALLOWED_PER_S = 20
_ALLOWED_AT_ONCE = 10 * _ALLOWED_PER_S
#: A flooder keeps its connections so long, if it may.
_KEPT_S = 0.5
_TICK_S = 0.005
#: Two workers that look at the same moment each let one in.
_SLACK = 1.05

#: Of the attack through a proxy: where that is, who floods, and how long who comes beside it may wait.
_PROXY = f"127.0.0.{FIRST_SOURCE}"
_FLOODER = "198.51.100.7"
_BESIDE_S = 1.0
_BESIDE_EVERY_S = 0.1


def flood_of_connections(target: Target, says: bytes = HELLO) -> Tally:
    """2,000 new connections a second from one address; each says hello and stays while it is let."""
    tally, began = Tally(), time.monotonic()
    kept: deque[tuple[float, socket.socket]] = deque()
    while (now := time.monotonic()) < began + target.seconds:
        for _ in range(round((now - began) * _PER_S) - tally.opened):
            kept.append((now, _opened(target.port, says)))
            tally.opened += 1
        while kept and kept[0][0] < now - _KEPT_S:
            tally.closed += _was_closed(kept.popleft()[1])
        time.sleep(_TICK_S)
    tally.closed += sum(_was_closed(peer) for _, peer in kept)
    tally.notes["let_in"] = tally.opened - tally.closed
    return tally


def _opened(port: int, says: bytes) -> socket.socket:
    peer = socket.socket()
    peer.setblocking(False)
    peer.bind((_PROXY, 0))
    peer.connect_ex(("127.0.0.1", port))
    with contextlib.suppress(OSError):  # it is refused already, or waits to be accepted
        peer.send(says)
    return peer


def _was_closed(peer: socket.socket) -> bool:
    """Whether the edge has closed it; it is closed here now."""
    with peer:
        try:
            while peer.recv(65_536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


def flood_through_proxy(target: Target) -> Tally:
    """The same through a proxy that says whose they are; a second process sends others through it."""
    if target.number == 0:
        return flood_of_connections(target, _header(_FLOODER) + HELLO)
    tally, until = Tally(), time.monotonic() + target.seconds
    slowest = 0.0
    while (began := time.monotonic()) < until:
        host = f"203.0.113.{tally.opened % 250 + 1}"
        try:
            peer = Stranger(target).say(_header(host)).shake_hands().say(connect("live"), streams(1))
            peer.say(play("nobody")).until("NetStream.Play.Start").close()
        except OSError as error:
            tally.complaints.append(f"{host} behind the proxy is not served: {error}")
            break
        tally.opened += 1
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(_BESIDE_EVERY_S)
    tally.notes["beside_s"] = slowest
    if slowest > _BESIDE_S / target.share**0.5:  # the short form is patient
        tally.complaints.append(f"a peer behind the proxy served after {slowest:.1f} s")
    return tally


def _header(host: str) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.1 40000 1935\r\n".encode()


def _refused(_scene: Scene, row: Row) -> Sequence[str]:
    """No more than the address may has been let in, and the flood was one."""
    let_in = row.tally.notes.get("let_in", 0)
    allowed = _SLACK * (_ALLOWED_AT_ONCE + _ALLOWED_PER_S * row.seconds)
    wrong = []
    if let_in > allowed:
        wrong.append(f"{let_in:.0f} connections of one address let in, not {allowed:.0f}")
    if not row.reasons.get("too_many_from_address"):
        wrong.append("none was refused")
    return wrong


_LIMIT = ("--new-from-address", str(_ALLOWED_PER_S))

ATTACKS = [
    Attack("one-address", "+15", flood_of_connections, options=_LIMIT, judge=_refused),
    Attack(
        "one-address-proxied", "+15", flood_through_proxy, processes=2,
        options=(*_LIMIT, "--proxy-from", _PROXY), judge=_refused,
    ),
]  # fmt: skip
