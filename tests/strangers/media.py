"""Publishers that fill memory: messages that carry nothing, many logs, messages that never end."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial

from cluster.core.message import MessageType

from .attack import Attack
from .bounds import MIB
from .wire import (
    Pieces,
    Stranger,
    Tally,
    Target,
    flood,
    gather,
    hold,
    message,
    picture_header,
    player,
    publisher,
    video,
)

_BATCH = 10_000
_AT = 40
_AGGREGATED = 4_096
_SUB_MESSAGE = struct.Struct(">B3s3sx3x")


def _endless(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece)


def _only(peers: list[Stranger], make: Callable[[], Pieces]) -> Callable[[Stranger], Pieces]:
    """These peers send; the others of the crowd only listen."""
    return lambda peer: make() if peer in peers else iter(())


def empty_messages(
    target: Target, type_id: int = MessageType.AUDIO, count: int = 1, tls: bool = False
) -> Tally:
    """1: a keyframe, then messages of 0 bytes with a standing timestamp, as fast as they are read."""
    until, tally = time.monotonic() + target.seconds, Tally()
    peers = gather(tally, count, lambda n: publisher(target, f"empty{n}", n, tls=tls))
    listeners = [player(target, f"empty{each}", each) for each in range(count)]
    # A header, one that says "no later than that", and then a byte for each message: as both before.
    empty = b"\xc4" * _BATCH
    begin = picture_header() + video(0, 1_000, key=True)
    begin += message(type_id, b"", at=_AT, stream=1) + b"\x84\0\0\0"
    make = _only(peers, lambda: itertools.chain([begin], _endless(empty)))
    flood(tally, [*peers, *listeners], make, until)
    return tally


def aggregates(target: Target, count: int = 1) -> Tally:
    """1: the same in aggregates of 4,096 messages of one byte."""
    until, tally = time.monotonic() + target.seconds, Tally()
    peers = gather(tally, count, lambda n: publisher(target, f"aggregates{n}", n))
    listeners = [player(target, f"aggregates{each}", each) for each in range(count)]
    one = _SUB_MESSAGE.pack(MessageType.AUDIO, b"\0\0\1", b"\0\0\0") + b"\xaf" + (12).to_bytes(4, "big")
    aggregate = message(MessageType.AGGREGATE, one * _AGGREGATED, at=_AT, stream=1)
    begin = picture_header() + video(0, 1_000, key=True)
    make = _only(peers, lambda: itertools.chain([begin], _endless(aggregate)))
    flood(tally, [*peers, *listeners], make, until)
    return tally


def many_logs(target: Target, at_once: int = 16) -> Tally:
    """2: three connections publish 16 streams each, fill each one's log, and say nothing more."""
    until, tally = time.monotonic() + target.seconds, Tally()

    def fill(_peer: Stranger) -> Pieces:
        size = MIB // 2
        for stream in range(1, at_once + 1):
            yield picture_header(stream)
            for number in range(target.amount(60, least=8)):
                yield video(number * 40, size, key=not number, stream=stream)

    flood(tally, gather(tally, 3, lambda n: publisher(target, f"log{n}", n, at_once=at_once)), fill, until)
    return tally


def unfinished(target: Target, wanted: int = 60) -> Tally:
    """10: connections that have no right to publish yet send 11.5 MiB of messages that never end."""
    until, tally = time.monotonic() + target.seconds, Tally()
    # All but the last bytes of two messages; each fits what one message may have.
    size = 10 * MIB - 1
    first = message(MessageType.VIDEO, bytes(size), chunk_stream=6)[:-1]
    second = message(MessageType.VIDEO, bytes(size), chunk_stream=7)[: 3 * MIB // 2]

    def make(number: int) -> Stranger:
        # A chunk of the first must end before the second begins.
        begin = message(MessageType.SET_CHUNK_SIZE, (size - 1).to_bytes(4, "big"), chunk_stream=2)
        return Stranger(target, number).shake_hands().say(begin)

    peers = gather(tally, target.amount(wanted, least=20), make)
    flood(tally, peers, lambda _peer: iter([first, second]), until)
    return tally


def silent_publish(target: Target) -> Tally:
    """3: publishers that send no media, and answer no ping."""
    until, tally = time.monotonic() + target.seconds, Tally()
    peers = gather(tally, target.amount(100, least=20), lambda n: publisher(target, f"silent{n}", n))
    hold(tally, peers, until)
    if tally.closed < tally.opened:
        stayed = tally.opened - tally.closed
        tally.complaints.append(f"{stayed} of {tally.opened} silent publishers are let stay")
    return tally

ATTACKS = [
    Attack("empty-audio", "1", empty_messages, seconds=40, in_short=False),
    Attack("empty-audio-8", "1", partial(empty_messages, count=8), crowd=True, sources=8, short_seconds=3),
    Attack("empty-audio-tls", "1", partial(empty_messages, tls=True), in_short=False),
    Attack("empty-video", "1", partial(empty_messages, type_id=MessageType.VIDEO), in_short=False),
    Attack("empty-data", "1", partial(empty_messages, type_id=MessageType.DATA_AMF0), in_short=False),
    Attack("aggregates", "1", aggregates, seconds=30, in_short=False),
    Attack("aggregates-8", "1", partial(aggregates, count=8), crowd=True, sources=8, short_seconds=3),
    Attack("many-logs", "2", many_logs, short_seconds=3.5),
    Attack(
        "silent-publish", "3", silent_publish, wishes=("--publish-idle", "2"), seconds=35,
        short_seconds=9, crowd=True,  # a publisher is looked at once in five seconds
    ),
    Attack("unfinished", "10", unfinished, crowd=True, sources=8),
]  # fmt: skip
