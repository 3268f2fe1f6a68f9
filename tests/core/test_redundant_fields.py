"""What peers get wrong in fields that nothing depends on, and where a session stays strict: the table.

``READ_ON``: what others ignore changes nothing here; the session goes on and what can be read is read.
``STRICT``: what all that follows hangs on, or what is a bound; it ends the connection by name. The files'
part of the table is in ``test_flv.py``, that of metadata in ``test_metadata.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from session_support import AAC, KEYFRAME, Peer, publishing

from cluster.core.amf import amf0
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.handshake import ClientHandshake, ServerHandshake
from cluster.core.rtmp.server_session import ServerSession

VIDEO = Message(MessageType.VIDEO, 40, KEYFRAME, 1)
AUDIO = Message(MessageType.AUDIO, 50, AAC, 1)
ON_META_DATA = amf0.encode("onMetaData")


def aggregate(pointer: Callable[[int, int], int], *, stream_id: int = 0, behind: bytes = b"") -> Message:
    """An audio and a video message in one, with what ``pointer`` makes of each size and of the sum."""
    body, total = b"", 0
    for type_id, timestamp, payload, _ in (VIDEO, AUDIO):
        part = bytes((type_id,)) + len(payload).to_bytes(3, "big") + timestamp.to_bytes(3, "big")
        part += b"\x00" + stream_id.to_bytes(3, "big") + payload
        total += len(part)
        body += part + struct.pack(">I", pointer(len(part), total) & 0xFFFFFFFF)
    return Message(MessageType.AGGREGATE, 40, body + behind, 1)


def control(type_id: int, text: str, stream_id: int = 0) -> Message:
    return Message(type_id, 0, bytes.fromhex(text), stream_id)


def command(payload: bytes, type_id: int = MessageType.COMMAND_AMF0) -> Message:
    return Message(type_id, 0, payload, 0)


def data(payload: bytes, type_id: int = MessageType.DATA_AMF0) -> Message:
    return Message(type_id, 0, payload, 1)


class Row(NamedTuple):
    """``delivered``: the media that comes of it; ``answers``: how many commands answer it."""

    what: str
    message: Message
    delivered: tuple[Message, ...] = ()
    answers: int = 0


RIGHT = aggregate(lambda size, total: size)
PARTS = (VIDEO, AUDIO)
CREATE = amf0.encode("createStream", 9.0, None)
CLEARED = data(ON_META_DATA + amf0.encode({"a": 1.0}))

READ_ON = [
    # An aggregate's sub-messages have their sizes in front, so the pointers behind say nothing new.
    Row("aggregate as specified", RIGHT, PARTS),
    Row("back pointers without the header", aggregate(lambda size, _: size - 11), PARTS),
    Row("back pointers one short", aggregate(lambda size, _: size - 1), PARTS),
    Row("back pointers as a running sum", aggregate(lambda _, total: total), PARTS),
    Row("back pointers of zero", aggregate(lambda *_: 0), PARTS),
    Row("back pointers of nonsense", aggregate(lambda size, _: size * 2654435761), PARTS),
    Row("no last back pointer", RIGHT._replace(payload=RIGHT.payload[:-4]), PARTS),
    Row("another stream's id in sub-messages", aggregate(lambda size, _: size, stream_id=77), PARTS),
    Row("zeros behind the last sub-message", aggregate(lambda size, _: size, behind=bytes(7)), PARTS),
    # A control message that lacks its value says nothing (nginx-rtmp passes over it).
    *(Row(f"type {t}, {n} bytes", control(t, "00" * n)) for t in (3, 5, 6) for n in range(4)),
    *(Row(f"type 4, {n} bytes", control(4, "00" * n)) for n in range(6)),
    Row("a ping without its clock", control(4, "0006")),
    Row("a pong without its clock", control(4, "0007")),
    Row("a window of 0", control(5, "00000000")),
    Row("a window of 4 GiB", control(5, "FFFFFFFF")),
    Row("an acknowledgement of more than was sent", control(3, "FFFFFFFF")),
    Row("a bandwidth with an unknown limit type", control(6, "00100000 09")),
    Row("bytes behind a value", control(3, "00000001 AABBCC")),
    Row("an unknown event", control(4, "7777 00000001")),
    Row("a control message on a stream", control(3, "00000001", stream_id=1)),
    Row("an abort of what is not there", control(2, "00000030")),
    # Commands: what stands behind readable values, or is missing at the end, is not needed.
    Row("bytes behind a command", command(CREATE + b"\x99\xff"), answers=1),
    Row("an object without its terminator", command(CREATE + b"\x03\x00\x01a\x05"), answers=1),
    Row("an array without its terminator", command(CREATE + b"\x08\0\0\0\x07\x00\x01a\x05"), answers=1),
    Row("an array whose count is wrong", command(CREATE + b"\x08\xff\xff\xff\xff\x00\x00\x09"), answers=1),
    Row("no command object", command(amf0.encode("createStream", 9.0)), answers=1),
    Row("type 17 without its format byte", command(CREATE, MessageType.COMMAND_AMF3), answers=1),
    Row("type 17 with another", command(b"\x03" + CREATE, MessageType.COMMAND_AMF3), answers=1),
    Row("a command without a name", command(b"\x05")),
    Row("an empty command", command(b"")),
    # Data passes as it came, whatever stands in it.
    Row("metadata without its terminator", data(ON_META_DATA + b"\x08\0\0\0\0\x00\x01a\x05"),
        (data(ON_META_DATA + b"\x08\0\0\0\0\x00\x01a\x05"),)),
    Row("bytes behind metadata", data(ON_META_DATA + b"\x99\xff"), (data(ON_META_DATA + b"\x99\xff"),)),
    Row("type 15 without its format byte", data(CLEARED.payload, MessageType.DATA_AMF3), (CLEARED,)),
    Row("data that is no AMF", data(b"\xff\xff"), (data(b"\xff\xff"),)),
    # Shared objects that cannot be read.
    Row("an empty shared object message", Message(MessageType.SHARED_OBJECT_AMF0, 0, b"", 0)),
    Row("one that is cut", Message(MessageType.SHARED_OBJECT_AMF0, 0, b"\x00\x01a\x00", 0)),
    Row("one of an unknown format", Message(16, 0, b"\x07\x00\x01a" + bytes(12), 0)),
]  # fmt: skip

STRICT = [
    # The chunk layer is lost without these: whatever follows would be read at the wrong place.
    ("a chunk size without its value", control(1, "000010"), CloseReason.BAD_CONTROL),
    ("a chunk size of 0", control(1, "00000000"), CloseReason.BAD_CHUNK_SIZE),
    ("a chunk size with the top bit", control(1, "80000080"), CloseReason.BAD_CHUNK_SIZE),
    ("an abort without its value", control(2, "0000"), CloseReason.BAD_CONTROL),
    # Bounds.
    ("an aggregate of too many", Message(22, 0, (b"\x08" + bytes(14)) * 4097, 1),
     CloseReason.MESSAGE_TOO_LARGE),
]  # fmt: skip


def encoded(message: Message) -> bytes:
    """By hand: a writer of ours would obey the control messages itself."""
    payload = bytes(message.payload)
    chunks = [payload[at : at + 4096] for at in range(0, len(payload), 4096)]
    head = b"\x03" + message.timestamp.to_bytes(3, "big") + len(payload).to_bytes(3, "big")
    return head + bytes((message.type_id,)) + message.stream_id.to_bytes(4, "little") + b"\xc3".join(chunks)


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    yield [stream]
    yield [bytes((byte,)) for byte in stream]
    for at in range(1, len(stream), max(1, len(stream) // 400)):
        yield [stream[:at], stream[at:]]


def publisher() -> tuple[ServerSession, Peer]:
    server, peer = publishing()
    peer.session.receive(encoded(control(1, "00001000")), 0.0)
    return server, peer


@pytest.mark.parametrize("row", READ_ON, ids=lambda row: row.what)
def test_it_is_read_on(row: Row) -> None:
    for pieces in cuts(encoded(row.message) + encoded(VIDEO)):
        server, peer = publisher()
        received: list[Event | Message] = []
        for piece in pieces:
            received += server.receive(piece, 0.0)
        media = [item for item in received if isinstance(item, Message)]
        assert media == [*row.delivered, VIDEO]
        assert len(peer.replies()) == row.answers
        server.tick(0.1)


@pytest.mark.parametrize(("message", "reason"), [row[1:] for row in STRICT], ids=[row[0] for row in STRICT])
def test_it_ends_by_name(message: Message, reason: CloseReason) -> None:
    for pieces in cuts(encoded(message) + encoded(VIDEO)):
        server, _ = publisher()
        with pytest.raises(PeerViolation) as caught:  # noqa: PT012
            for piece in pieces:
                server.receive(piece, 0.0)
            server.tick(0.1)
        assert caught.value.reason is reason


@pytest.mark.parametrize("zeros", [b"\x00\x00\x00\x00", b"\x09\x00\x7c\x02", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("version", [0, 1, 3, 5, 31])
def test_handshakes(version: int, zeros: bytes) -> None:
    """The field of zeros has a version of something in most of them; the echo is compared by nobody."""
    entropy = bytes(range(256)) * 12
    first = bytes((version,)) + b"\x00\x00\x00\x01" + zeros + bytes(1528)
    echo = b"\xee" * 1536
    for pieces in ([first + echo], [first, echo], [first[:700], first[700:] + bytes(1536)]):
        for shake in (
            ServerHandshake(entropy=entropy, uptime_ms=0),
            ClientHandshake(entropy=entropy, uptime_ms=0, mode="simple"),
        ):
            for piece in pieces:
                shake.receive(piece)
            assert shake.done
            assert shake.leftover == b""
