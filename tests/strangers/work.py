"""Peers that make work: small commands without end, chunks of one byte, an array of a million numbers."""

from __future__ import annotations

import itertools
import struct
import time
from functools import partial

from cluster.core.message import MessageType

from .attack import Attack
from .wire import (
    CHUNK_BYTES,
    Pieces,
    Stranger,
    Tally,
    Target,
    command,
    connect,
    flood,
    gather,
    message,
    player,
    publisher,
    set_chunk_size,
)

_NULLS = 9_000
#: The command "x" with transaction 0, as far as its arguments.
_CALL = b"\x02\x00\x01x" + bytes(9)
_SET_BUFFER_LENGTH = struct.Struct(">HII")
_NUMBERS = 1_000_000
_TINY_BYTES = 4_000


def _small_commands() -> bytes:
    control = message(MessageType.USER_CONTROL, _SET_BUFFER_LENGTH.pack(3, 1, 1_000), chunk_stream=2)
    nulls = message(MessageType.COMMAND_AMF0, _CALL + b"\x05" * _NULLS, chunk_stream=3)
    mixed = (command("_checkbw", 7.0) + command("who", 8.0, 1.0) + command("", 0.0) + control) * 50
    return mixed * 4 + nulls


def _one_kind(kind: str) -> bytes:
    """A flood of one kind of small message."""
    pieces = {
        "nulls": message(MessageType.COMMAND_AMF0, _CALL + b"\x05" * _NULLS, chunk_stream=3),
        "acknowledgements": message(MessageType.ACKNOWLEDGEMENT, bytes(4), chunk_stream=2) * 1_000,
        "pings": message(MessageType.USER_CONTROL, struct.pack(">HI", 6, 1), chunk_stream=2) * 1_000,
        "streams": (command("createStream", 9.0) + command("deleteStream", 0.0, 1.0)) * 200,
        "objects": message(MessageType.COMMAND_AMF3, b"\0" + _CALL + b"\x05" * 50, chunk_stream=3) * 500,
    }  # fmt: skip
    return pieces[kind]


def small_commands(target: Target, peers: int = 1, tls: bool = False, kind: str = "") -> Tally:
    """5: small commands as fast as they are read."""
    until, tally = time.monotonic() + target.seconds, Tally()
    flooded = _one_kind(kind) if kind else _small_commands()

    def make(number: int) -> Stranger:
        peer = Stranger(target, number, tls=tls).shake_hands()
        return peer.say(connect("live")).until("NetConnection.Connect.Success")

    crowd = gather(tally, peers, make)
    flood(tally, crowd, lambda _peer: itertools.repeat(flooded), until)
    return tally


def interleaved(target: Target, peers: int = 1, size: int = _TINY_BYTES, tls: bool = False) -> Tally:
    """6: two messages take turns in chunks of one byte; the attackers play what they publish."""
    until, tally = time.monotonic() + target.seconds, Tally()
    picture = bytes(size)
    heads = [
        message(MessageType.VIDEO, picture, at=40, stream=1, chunk_stream=each)[:12] for each in (40, 41)
    ]
    turns = b"\xe8\x00\xe9\x00" * (size - 1)
    # The first payload byte of each head: a keyframe's.
    both = b"".join(head + b"\x17" for head in heads) + turns

    crowd = gather(tally, peers, lambda n: publisher(target, f"tiny{n}", n, tls=tls))
    listeners = [player(target, f"tiny{peer.number}", peer.number) for peer in crowd]

    def pieces(peer: Stranger) -> Pieces:
        if peer in crowd:
            yield set_chunk_size(1)
            yield from itertools.repeat(both)

    flood(tally, [*crowd, *listeners], pieces, until)
    return tally


def numbers(target: Target, name: str = "onStatus") -> Tally:
    """13: a command with an array of a million numbers, again and again."""
    until, tally = time.monotonic() + target.seconds, Tally()
    array = b"\x0a" + _NUMBERS.to_bytes(4, "big") + bytes(9 * _NUMBERS)
    head = b"\x02" + len(name).to_bytes(2, "big") + name.encode() + bytes(9) + b"\x05"
    kind = MessageType.DATA_AMF0 if name.startswith("@") else MessageType.COMMAND_AMF0
    body = b"\x02" + len(name).to_bytes(2, "big") + name.encode() if name.startswith("@") else head
    large = message(kind, body + array, stream=1, chunk_stream=8)
    assert len(large) < CHUNK_BYTES
    peers = gather(tally, 1, lambda _n: publisher(target, "numbers"))
    flood(tally, peers, lambda _peer: itertools.repeat(large), until)
    return tally


ATTACKS = [
    Attack("commands-1", "5", small_commands),
    Attack("commands-8", "5", partial(small_commands, peers=8), crowd=True, sources=8),
    Attack("commands-50", "5", partial(small_commands, peers=50), crowd=True, sources=50, in_short=False),
    Attack("commands-tls", "5", partial(small_commands, tls=True), in_short=False),
    Attack("nulls", "5", partial(small_commands, kind="nulls"), in_short=False),
    Attack("acknowledgements", "5", partial(small_commands, kind="acknowledgements"), in_short=False),
    Attack("pings", "5", partial(small_commands, kind="pings"), in_short=False),
    Attack("stream-churn", "5", partial(small_commands, kind="streams"), in_short=False),
    Attack("amf3-commands", "5", partial(small_commands, kind="objects"), in_short=False),
    Attack("interleaved", "6", interleaved, in_short=False),
    Attack("interleaved-8", "6", partial(interleaved, peers=8), crowd=True, sources=8),
    Attack("interleaved-large", "6", partial(interleaved, size=5_000_000), in_short=False),
    Attack("interleaved-50", "6", partial(interleaved, peers=50), crowd=True, sources=8, in_short=False),
    Attack("interleaved-tls", "6", partial(interleaved, tls=True), in_short=False),
    Attack("numbers", "13", numbers),
    Attack("numbers-metadata", "13", partial(numbers, name="@setDataFrame"), in_short=False),
]
