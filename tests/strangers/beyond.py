"""Ten attacks beyond the table, thought out from the protocol and not from the server.

window-of-one      a window of one byte asks for an acknowledgement of every byte
abort-loop         nine megabytes of a message, then Abort, and again: nothing ever arrives
many-headers       48 headers of 64 KiB and metadata of 2 MiB on each of 16 streams, always new
unread-plays       players with the smallest of windows join at 20 MB of pictures, and read nothing
publish-churn      a key with 200 players is published and given back as fast as can be
zigzag-clock       each message an hour before the last one, so that no media time ever passes
one-key            fifty publishers of one key, refused and back again
object-use-loop    use and release of an object of 60 kB: 70 bytes in, the whole object out
laughing-amf       references in a value of 60 kB that are half a gigabyte when they are written out
tls-byte-records   every byte in a TLS record of its own
"""

from __future__ import annotations

import itertools
import struct
import time
from dataclasses import replace
from functools import partial

from cluster.core.amf import amf0
from cluster.core.message import MessageType
from cluster.core.rtmp import shared_object
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage

from .attack import Attack
from .bounds import MIB
from .objects import shared, user
from .wire import (
    KEYFRAME,
    Pieces,
    Stranger,
    Tally,
    Target,
    command,
    connect,
    flood,
    gather,
    message,
    picture_header,
    play,
    player,
    publish,
    publisher,
    set_chunk_size,
    streams,
    video,
)

_HOUR_MS = 3_600_000
_FRAME_BYTES = 100_000


def _lasting(target: Target) -> tuple[float, Tally]:
    return time.monotonic() + target.seconds, Tally()


def window_of_one(target: Target, peers: int = 1) -> Tally:
    """A small message at a time, each to be acknowledged at once."""
    until, tally = _lasting(target)
    window = message(MessageType.WINDOW_ACK_SIZE, (1).to_bytes(4, "big"), chunk_stream=2)
    small = message(MessageType.AUDIO, b"\xaf\x01x", at=40, stream=1)

    def pieces(_peer: Stranger) -> Pieces:
        yield window
        yield from itertools.repeat(small)

    flood(tally, gather(tally, peers, lambda n: publisher(target, f"window{n}", n)), pieces, until)
    return tally


def abort_loop(target: Target, peers: int = 8) -> Tally:
    """Chunks of 64 KiB of a message that is always given up before its end."""
    until, tally = _lasting(target)
    size, chunk = 9 * MIB, 65_536
    whole = message(MessageType.VIDEO, bytes(size), stream=1, chunk_stream=6, chunk_bytes=chunk)
    abort = message(MessageType.ABORT, (6).to_bytes(4, "big"), chunk_stream=2)
    # Without the last chunk, and the byte that begins it.
    cut = whole[: 12 + (size // chunk - 1) * (chunk + 1) - 1] + abort

    def pieces(_peer: Stranger) -> Pieces:
        yield set_chunk_size(chunk)
        yield from itertools.repeat(cut)

    flood(tally, gather(tally, peers, lambda n: publisher(target, f"abort{n}", n)), pieces, until)
    return tally


def many_headers(target: Target, at_once: int = 16) -> Tally:
    """Headers and metadata are kept beside the log: as many and as large as may be."""
    until, tally = _lasting(target)

    def pieces(_peer: Stranger) -> Pieces:
        for number in itertools.count():
            for stream in range(1, at_once + 1):
                metadata = amf0.encode("@setDataFrame", "onMetaData", {"x": str(number)}) + bytes([0x0C])
                metadata = metadata[:-1] + amf0.encode("y" * (2 * MIB - 200))
                yield message(MessageType.DATA_AMF0, metadata, stream=stream, chunk_stream=8)
                for track in range(48):
                    # Enhanced RTMP, multitrack: one track, AVC, a sequence header.
                    head = b"\x96\x00avc1" + bytes([track]) + number.to_bytes(4, "big")
                    yield message(MessageType.VIDEO, head + bytes(60_000), stream=stream, chunk_stream=6)

    peers = gather(tally, 4, lambda n: publisher(target, f"headers{n}", n, at_once=at_once))
    flood(tally, peers, pieces, until)
    return tally


def unread_plays(target: Target, peers: int = 50) -> Tally:
    """Slow to the utmost: the log is kept for them, and the kernel's buffers are filled."""
    until, tally = _lasting(target)
    source = publisher(target, "unread")
    source.socket.settimeout(None)
    source.say(picture_header(), video(0, _FRAME_BYTES, key=True))
    source.say(*(video(number * 10, _FRAME_BYTES) for number in range(1, target.amount(200, least=50))))

    def make(number: int) -> Stranger:
        peer = Stranger(target, number, small=True).shake_hands()
        return peer.say(connect("live"), streams(16), *(play("unread", 1 + each) for each in range(16)))

    def pieces(peer: Stranger) -> Pieces:
        if peer is not source:
            return iter(())
        return (video(number * 40, _FRAME_BYTES, key=number % 50 == 0) for number in itertools.count(300))

    flood(tally, [source, *gather(tally, peers, make)], pieces, until, reads=False)
    return tally


def publish_churn(target: Target, waiting: int = 200) -> Tally:
    """Every beginning and every end is told to all who wait."""
    until, tally = _lasting(target)
    churner = Stranger(target).shake_hands().say(connect("live"), streams(1))

    begin = publish("churn") + picture_header() + video(0, 100, key=True)
    again = begin + command("closeStream", 0.0, stream=1)

    def pieces(peer: Stranger) -> Pieces:
        return itertools.repeat(again) if peer is churner else iter(())

    players = gather(tally, target.amount(waiting, least=50), lambda n: player(target, "churn", n))
    flood(tally, [churner, *players], pieces, until)
    return tally


def zigzag_clock(target: Target) -> Tally:
    """Messages of one byte whose clock jumps back and forth."""
    until, tally = _lasting(target)
    moments = [(each * _HOUR_MS) % 2**31 for each in range(500, 0, -1)]
    batch = b"".join(
        message(kind, payload, at=at, stream=1, chunk_stream=4 + kind)
        for at in moments
        for kind, payload in ((MessageType.AUDIO, b"\xaf\x01x"), (MessageType.VIDEO, b"\x27\x01\0\0\0x"))
    )
    begin = picture_header() + message(MessageType.VIDEO, KEYFRAME + bytes(10), stream=1, chunk_stream=6)
    peers = gather(tally, 1, lambda _n: publisher(target, "zigzag"))
    flood(tally, peers, lambda _peer: itertools.chain([begin], itertools.repeat(batch)), until)
    return tally


def one_key(target: Target, peers: int = 50) -> Tally:
    """All want the key that one has; each refusal is asked of the router and of the origin."""
    until, tally = _lasting(target)
    holder = publisher(target, "wanted")
    wanting = connect("live") + streams(1) + publish("wanted")
    number = 0
    while time.monotonic() < until:
        crowd = gather(tally, peers, lambda n: Stranger(target, n).shake_hands().say(wanting), until)
        for peer in crowd:
            peer.socket.settimeout(0.5)
            try:
                peer.until("NetStream.Publish.BadName")
            except OSError:
                tally.notes["unanswered"] = tally.notes.get("unanswered", 0) + 1
            peer.close()
        number += 1
        holder.say(message(MessageType.AUDIO, b"\xaf\x01x", at=number, stream=1))
    holder.close()
    return tally


def object_use_loop(target: Target, peers: int = 8) -> Tally:
    """Each use of an object is answered with all of it."""
    until, tally = _lasting(target)
    keeper = user(target, "large", 0)
    changes = (
        SharedEvent(SharedEventType.REQUEST_CHANGE, f"p{each}", ("x" * 240,)) for each in range(240)
    )
    keeper.say(shared("large", *changes))
    use, release = SharedEvent(SharedEventType.USE), SharedEvent(SharedEventType.RELEASE)
    again = shared("large", use) + shared("large", release)

    def make(number: int) -> Stranger:
        peer = Stranger(target, number).shake_hands().say(connect("objects"))
        return peer.until("NetConnection.Connect.Success")

    def pieces(peer: Stranger) -> Pieces:
        return iter(()) if peer is keeper else itertools.repeat(again * 20)

    flood(tally, [keeper, *gather(tally, peers, make)], pieces, until)
    return tally


def laughing_amf(target: Target, peers: int = 8) -> Tally:
    """An array of references to an array of numbers, in a shared object that others use."""
    until, tally = _lasting(target)
    numbers = b"\x0a" + struct.pack(">I", 6_000) + bytes(9 * 6_000)
    references = b"\x0a" + struct.pack(">I", 9_000) + numbers + b"\x07\x00\x01" * 8_999
    made = shared_object.encode(SharedObjectMessage("joke"))
    name = (4).to_bytes(2, "big") + b"text"
    event = struct.pack(">BI", SharedEventType.REQUEST_CHANGE, len(name + references)) + name + references
    joke = message(made.type_id, bytes(made.payload) + event, chunk_stream=3)
    called = message(
        MessageType.COMMAND_AMF0, b"\x02\x00\x01x" + b"\x00" + struct.pack(">d", 5) + b"\x05" + references,
        chunk_stream=3,
    )

    def pieces(peer: Stranger) -> Pieces:
        return itertools.repeat(joke + called) if peer.number == 0 else iter(())

    flood(tally, gather(tally, peers, lambda n: user(target, "joke", n)), pieces, until)
    return tally


def tls_byte_records(target: Target, peers: int = 4) -> Tally:
    """A publisher whose every byte is encrypted for itself."""
    until, tally = _lasting(target)
    frame = video(40, 2_000)

    def pieces(_peer: Stranger) -> Pieces:
        return (bytes([each]) for each in itertools.cycle(frame))

    flood(tally, gather(tally, peers, lambda n: publisher(target, f"bytes{n}", n, tls=True)), pieces, until)
    return tally


_CROWD = partial(Attack, crowd=True, sources=8)

ATTACKS = [
    Attack("window-of-one", "+1", window_of_one),
    _CROWD("abort-loop", "+2", abort_loop),
    # What has been freed in blocks of 64 KiB stays with the allocator in every other run: 109 to 165 MB
    # were seen, of 120 that the budget allows.
    _CROWD(
        "many-headers", "+3", many_headers,
        adjust=lambda bounds: replace(bounds, worker_bytes=bounds.worker_bytes + 64 * MIB),
    ),
    _CROWD("unread-plays", "+4", unread_plays),
    _CROWD("publish-churn", "+5", publish_churn),
    Attack("zigzag-clock", "+6", zigzag_clock),
    _CROWD("one-key", "+7", one_key),
    _CROWD("object-use-loop", "+8", object_use_loop),
    _CROWD("laughing-amf", "+9", laughing_amf),
    _CROWD("tls-byte-records", "+10", tls_byte_records),
]
