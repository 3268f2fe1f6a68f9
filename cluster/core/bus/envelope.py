"""The envelope: the messages of one flush of one stream, as they cross the bus.

    frame 0   topic     the stream key and a NUL byte
    frame 1   header    msgpack [version, epoch, first sequence number, sender, (type, timestamp, size)*]
    frame 2   body      the payloads, one after the other

ZeroMQ matches subscriptions by prefix; a stream key holds no NUL, so the one that ends the topic
makes the match exact (``live/a`` does not get ``live/ab``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cluster.core.bus.packing import (
    VERSION,
    MessageLike,
    PackingError,
    is_unsigned,
    join_payloads,
    message_fields,
    pack,
    split_messages,
    unpack,
)
from cluster.core.errors import ClusterError, MisuseError
from cluster.core.message import Message

_FRAMES = 3
_HEADER_FIELDS = 3


class EnvelopeError(ClusterError):
    """Frames from the bus that are no envelope."""


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


def encode_frames(
    topic_frame: bytes, epoch: int, first_seq: int, sender_id: str, messages: Sequence[MessageLike]
) -> list[bytes | memoryview]:
    """The three frames of an envelope; a single payload is handed on without a copy."""
    header = pack([VERSION, epoch, first_seq, sender_id, *message_fields(messages)])
    return [topic_frame, header, join_payloads(messages)]


def encode(envelope: Envelope) -> list[bytes | memoryview]:
    """The three frames of ``envelope``."""
    return encode_frames(
        topic(envelope.key), envelope.epoch, envelope.first_seq, envelope.sender_id, envelope.messages
    )


def decode(frames: Sequence[bytes]) -> Envelope:
    """The envelope in ``frames``, its payloads views of the body; EnvelopeError on anything else."""
    if len(frames) != _FRAMES:
        raise EnvelopeError(f"{len(frames)} frames, not {_FRAMES}")
    key = key_of(frames[0])
    if key is None:
        raise EnvelopeError("the topic does not end with its only NUL")
    try:
        fields = unpack(frames[1])
        if len(fields) < _HEADER_FIELDS:
            raise EnvelopeError(f"the header has {len(fields)} fields")
        epoch, first_seq, sender_id = fields[:_HEADER_FIELDS]
        if not (is_unsigned(epoch) and is_unsigned(first_seq) and type(sender_id) is str):
            raise EnvelopeError("epoch, sequence number or sender is of the wrong kind")
        messages = split_messages(fields[_HEADER_FIELDS:], frames[2])
    except PackingError as error:
        raise EnvelopeError(str(error)) from None
    return Envelope(key, epoch, first_seq, sender_id, messages)
