"""HTTP: peers that say nothing or drip, requests without end, viewers that read nothing."""

from __future__ import annotations

import itertools
import time
from functools import partial

from .attack import Attack
from .wire import (
    Pieces,
    Stranger,
    Tally,
    Target,
    flood,
    gather,
    hold,
    paced,
    picture_header,
    publisher,
    video,
)

#: Of the edge under attack: few, so that an attack on all of them is over soon.
_CONNECTIONS = 400
_MANY = 10_000
_HOST = b"Host: edge\r\n"
_SLOW_HEAD = b"GET /live/x HTTP/1.1\r\n" + _HOST + b"A: b\r\n" * 200
_FRAME_BYTES = 20_000
_VIEWERS = 100


def _web(target: Target, number: int, *, small: bool = False) -> Stranger:
    """A connection to where HTTP is served."""
    place = Target(target.http_port, 0, target.seconds, number=target.number, sources=target.sources)
    return Stranger(place, number, small=small)


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + _HOST + b"\r\n"


def silent(target: Target) -> Tally:
    """More connections than a worker has places, that say nothing."""
    until, tally = time.monotonic() + target.seconds, Tally()
    hold(tally, gather(tally, 2 * _CONNECTIONS + 100, partial(_web, target), until), until)
    return tally


def ten_thousand(target: Target) -> Tally:
    """Connections that say nothing, and all of them have a place."""
    until, tally = time.monotonic() + target.seconds, Tally()
    hold(tally, gather(tally, target.amount(_MANY, 500), partial(_web, target), until), until)
    return tally


def slow_heads(target: Target) -> Tally:
    """Requests of which a letter comes every tenth of a second."""
    until, tally = time.monotonic() + target.seconds, Tally()
    peers = gather(tally, 2 * _CONNECTIONS + 100, partial(_web, target), until)
    flood(tally, peers, lambda _peer: paced((bytes([each]) for each in _SLOW_HEAD), 10), until)
    return tally


def requests(target: Target, path: str = "/live/none", ahead: int = 1, peers: int = 20) -> Tally:
    """Requests as fast as they are read, so many in one packet; who is closed comes again."""
    until, tally = time.monotonic() + target.seconds, Tally()
    asked = _get(path) * ahead
    while time.monotonic() < until:
        crowd = gather(tally, peers, partial(_web, target), until)
        flood(tally, crowd, lambda _peer: itertools.repeat(asked), min(until, time.monotonic() + 1))
    return tally


def nonsense(target: Target) -> Tally:
    """What is no HTTP, or too much of it."""
    until, tally = time.monotonic() + target.seconds, Tally()
    bad = (
        b"\x16\x03\x01\x02\x00\x01\x00", b"\x03" + bytes(1536), b"GET /" + b"a" * 20_000, b"\r\n" * 9_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5_000, b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
    )  # fmt: skip
    while time.monotonic() < until:
        peers = gather(tally, len(bad) * 5, partial(_web, target), until)
        flood(
            tally, peers, lambda peer: itertools.repeat(bad[peer.number % len(bad)], 3),
            min(until, time.monotonic() + 0.2),
        )  # fmt: skip
    return tally


def does_not_read(target: Target, suffix: str = "flv") -> Tally:
    """Viewers of a fast stream that read nothing of it."""
    until, tally = time.monotonic() + target.seconds, Tally()
    source = publisher(target, "fast").say(picture_header(), video(0, _FRAME_BYTES, key=True))

    def make(number: int) -> Stranger:
        return _web(target, number, small=True).say(_get(f"/live/fast.{suffix}"))

    def pieces(peer: Stranger) -> Pieces:
        if peer is not source:
            return iter(())
        frames = (video(each * 20, _FRAME_BYTES, key=each % 50 == 0) for each in itertools.count(1))
        return paced(frames, 50)

    peers = gather(tally, target.amount(_VIEWERS, 10), make, until)
    flood(tally, [source, *peers], pieces, until, reads=False)
    return tally


_HTTP = ("--http", "127.0.0.1:0")
_one = partial(Attack, wishes=_HTTP, crowd=True, sources=8)
_few = partial(_one, options=("--max-connections", str(_CONNECTIONS)))

_ALL_HAVE_A_PLACE = (
    "--max-connections", str(2 * _MANY), "--max-half-open", str(2 * _MANY), "--handshake-timeout", "600",
)  # fmt: skip

ATTACKS = [
    _few("http-silent", "+11", silent),
    _one("http-10000-silent", "+11", ten_thousand, in_short=False, options=_ALL_HAVE_A_PLACE),
    _few("http-slow-heads", "+11", slow_heads),
    _one("http-requests", "+12", requests),
    _one("http-ahead", "+12", partial(requests, ahead=12), in_short=False),
    _one("http-no-hls", "+12", partial(requests, path="/live/x/1.m4s"), in_short=False),
    _one("http-nonsense", "+13", nonsense),
    _one("http-unread", "+14", does_not_read),
    _one("http-unread-mp4", "+14", partial(does_not_read, suffix="mp4"), in_short=False),
]
