"""The envelope: the messages of one flush of one stream, as they cross the bus, in one ZeroMQ frame.

    topic       the stream key and a NUL byte
    head        version u8, epoch i64, first sequence number i64, sender's length u16, messages u32
    sender      the worker that sends it, UTF-8
    messages    for each: type u8, timestamp i64, size u32
    payloads    one after the other

Integers are big-endian, and none is negative. ZeroMQ matches subscriptions by prefix; a stream key holds
no NUL, so the one that ends the topic makes the match exact (``live/a`` does not get ``live/ab``).

An envelope is one frame because every socket on the way (four, or six with a repeater) is paid for by the
frame. Control messages are msgpack. An envelope is not, because without a latency budget there is one for
each message.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from cluster.core.bus.packing import VERSION, MessageLike
from cluster.core.errors import ClusterError, MisuseError
from cluster.core.message import Message

_HEAD = struct.Struct(">BqqHI")
_MESSAGE = struct.Struct(">BqI")


class EnvelopeError(ClusterError):
    """Bytes from the bus that are no envelope."""


class Envelope(NamedTuple):
    """Messages ``first_seq``, ``first_seq`` + 1, ... of one stream, from the worker ``sender_id``."""

    key: str
    epoch: int
    first_seq: int
    sender_id: str
    messages: list[Message]


def topic(key: str) -> bytes:
    """What is subscribed to for ``key``; MisuseError if it holds a NUL or is not text from a peer."""
    try:
        data = key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise MisuseError(f"not a stream key: {error}") from None
    if b"\0" in data:
        raise MisuseError("a stream key holds no NUL")
    return data + b"\0"


def key_of(data: bytes) -> str | None:
    """The stream key whose topic ``data`` is; None if it is no topic."""
    if data.find(b"\0") != len(data) - 1 or not data:
        return None
    return data[:-1].decode("utf-8", "surrogateescape")


def encode_frame(
    topic_of_key: bytes, epoch: int, first_seq: int, sender_id: bytes, messages: Sequence[MessageLike]
) -> bytes:
    """The frame of an envelope, by the topic of its key and the sender in UTF-8; MisuseError for a number
    that does not fit."""
    parts = [topic_of_key, b"", sender_id]
    try:
        parts[1] = _HEAD.pack(VERSION, epoch, first_seq, len(sender_id), len(messages))
        for message in messages:
            parts.append(_MESSAGE.pack(message.type_id, message.timestamp, len(message.payload)))
    except struct.error as error:
        raise MisuseError(f"no envelope can carry it: {error}") from None
    return b"".join(parts + [message.payload for message in messages])


def encode(envelope: Envelope) -> bytes:
    """The frame of ``envelope``; MisuseError if a number in it does not fit."""
    sender_id = envelope.sender_id.encode("utf-8", "surrogateescape")
    return encode_frame(
        topic(envelope.key), envelope.epoch, envelope.first_seq, sender_id, envelope.messages
    )


def decode(frame: bytes) -> Envelope:
    """The envelope that ``frame`` is, its payloads copied out of it; EnvelopeError on anything else."""
    head_at = frame.find(0) + 1
    sender_at = head_at + _HEAD.size
    if not head_at or sender_at > len(frame):
        raise EnvelopeError(f"{len(frame)} bytes do not hold a topic and a head")
    version, epoch, first_seq, sender_size, count = _HEAD.unpack_from(frame, head_at)
    if version != VERSION:
        raise EnvelopeError(f"version {version} is not {VERSION}: upgrade the older node or router")
    if epoch < 0 or first_seq < 0:
        raise EnvelopeError("a negative epoch or sequence number")
    messages_at = sender_at + sender_size
    offset = messages_at + count * _MESSAGE.size
    if offset > len(frame):
        raise EnvelopeError(f"{count} messages in {len(frame)} bytes")
    messages: list[Message] = []
    for type_id, timestamp, size in _MESSAGE.iter_unpack(frame[messages_at:offset]):
        if timestamp < 0:
            raise EnvelopeError("a negative timestamp")
        messages.append(Message(type_id, timestamp, frame[offset : offset + size]))
        offset += size
    # Only the last payload can be short: what is before it ends where it begins.
    if offset != len(frame):
        raise EnvelopeError(f"{len(frame)} bytes, not {offset}")
    return Envelope(
        frame[: head_at - 1].decode("utf-8", "surrogateescape"),
        epoch,
        first_seq,
        frame[sender_at:messages_at].decode("utf-8", "surrogateescape"),
        messages,
    )
