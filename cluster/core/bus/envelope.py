"""The envelope: the messages of one flush of one stream, as they cross the bus, in one ZeroMQ frame.

    topic       TOPIC_BYTES, a digest of the stream key
    head        version u8, epoch i64, first sequence number i64, length of key u16, of sender u16,
                messages u32
    key         the stream key, UTF-8
    sender      the worker that sends it, UTF-8
    messages    for each: type u8, timestamp i64, size u32
    payloads    one after the other

Integers are big-endian, and none is negative. ZeroMQ matches subscriptions by prefix, and keeps them in a
trie that has a node for each byte; topics of one short length are no prefix of each other, and cost the
same whatever peers name their streams. If two keys had one topic, some would be sent what is not for them:
who receives an envelope goes by its key. One in many has a stamp behind its payloads (``stamps``).

An envelope is one frame because every socket on the way (four, or six with a repeater) is paid for by the
frame. Control messages are msgpack. An envelope is not, because without a latency budget there is one for
each message.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from cluster.core.bus.packing import MESSAGE, VERSION, MessageLike
from cluster.core.errors import ClusterError, MisuseError
from cluster.core.message import Message

#: Nobody finds two keys of one topic on purpose, and it is small in a trie.
TOPIC_BYTES = 16

_HEAD = struct.Struct(">BqqHHI")
HEAD_END = TOPIC_BYTES + _HEAD.size
#: The part of the head that says what follows: the first sequence number, both sizes as one, the messages.
NUMBERS = struct.Struct(">qII")
NUMBERS_AT = HEAD_END - NUMBERS.size

_MESSAGE_BYTES = MESSAGE.size
_pack_message = MESSAGE.pack
#: Makes a ``Message`` without a call in Python, which its own constructor is.
_new_message = tuple.__new__


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
    """What is subscribed to for ``key``; MisuseError if it is not text from a peer."""
    return blake2b(key_bytes(key), digest_size=TOPIC_BYTES).digest()


def key_bytes(key: str) -> bytes:
    """``key`` as an envelope carries it; MisuseError if it is not text from a peer."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise MisuseError(f"not a stream key: {error}") from None


def encode_frame(
    topic_of_key: bytes, key: bytes, epoch: int, first_seq: int, sender_id: bytes,
    messages: Sequence[MessageLike],
) -> bytes:  # fmt: skip
    """The frame of an envelope, its key and sender in UTF-8; MisuseError for a number that does not fit."""
    payloads: list[bytes | memoryview] = []
    try:
        head = _HEAD.pack(VERSION, epoch, first_seq, len(key), len(sender_id), len(messages))
        parts: list[bytes | memoryview] = [topic_of_key, head, key, sender_id]
        for message in messages:
            payload = message.payload
            parts.append(_pack_message(message.type_id, message.timestamp, len(payload)))
            payloads.append(payload)
    except struct.error as error:
        raise MisuseError(f"no envelope can carry it: {error}") from None
    parts += payloads
    return b"".join(parts)


def encode(envelope: Envelope) -> bytes:
    """The frame of ``envelope``; MisuseError if a number in it does not fit."""
    sender_id = envelope.sender_id.encode("utf-8", "surrogateescape")
    key = key_bytes(envelope.key)
    return encode_frame(
        topic(envelope.key), key, envelope.epoch, envelope.first_seq, sender_id, envelope.messages
    )


def decode(frame: bytes) -> Envelope:
    """The envelope that ``frame`` is, its payloads copied out of it; EnvelopeError on anything else."""
    if len(frame) < HEAD_END:
        raise EnvelopeError(f"{len(frame)} bytes do not hold a topic and a head")
    version, epoch, first_seq, key_size, sender_size, count = _HEAD.unpack_from(frame, TOPIC_BYTES)
    if version != VERSION:
        raise EnvelopeError(f"version {version} is not {VERSION}: upgrade the older node or router")
    if epoch < 0 or first_seq < 0:
        raise EnvelopeError("a negative epoch or sequence number")
    sender_at = HEAD_END + key_size
    messages_at = sender_at + sender_size
    messages = decode_messages(frame, messages_at, count)
    return Envelope(
        frame[HEAD_END:sender_at].decode("utf-8", "surrogateescape"),
        epoch,
        first_seq,
        frame[sender_at:messages_at].decode("utf-8", "surrogateescape"),
        messages,
    )


def decode_messages(frame: bytes, at: int, count: int) -> list[Message]:
    """The ``count`` messages that are all of ``frame`` from ``at`` on; EnvelopeError on anything else."""
    offset = at + count * _MESSAGE_BYTES
    if offset > len(frame):
        raise EnvelopeError(f"{count} messages in {len(frame)} bytes")
    messages: list[Message] = []
    for type_id, timestamp, size in MESSAGE.iter_unpack(frame[at:offset]):
        if timestamp < 0:
            raise EnvelopeError("a negative timestamp")
        end = offset + size
        messages.append(_new_message(Message, (type_id, timestamp, frame[offset:end], 0)))
        offset = end
    # Only the last payload can be short: what is before it ends where it begins.
    if offset != len(frame):
        raise EnvelopeError(f"{len(frame)} bytes, not {offset}")
    return messages
