"""Aggregate messages, both ways: several media messages in the body of one (RTMP 1.0, section 7.1.6)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message, MessageType

#: Sub-messages of one aggregate. Ten seconds of audio and video have about that many, and an aggregate
#: carries a second or so. It is taken apart in one go, and each costs as much as a message of its own.
MAX_SUB_MESSAGES = 1024

#: Type and size, timestamp with its high byte last, and three bytes of a stream id that is ignored.
_HEADER = struct.Struct(">IIxxx")
_BACK_POINTER_BYTES = 4
_BACK_POINTER = struct.Struct(">I")
_MAX_BODY_BYTES = 0xFFFFFF
#: Nothing else may hide in an aggregate: no control message, no command, no aggregate.
_ACCEPTED = frozenset(
    (MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA_AMF3, MessageType.DATA_AMF0)
)


class Split(NamedTuple):
    """What an aggregate holds. ``truncated``: its body ends inside a sub-message, which is dropped."""

    messages: list[Message]
    truncated: bool


def split(message: Message) -> Split:
    """Return the audio, video and data messages in an aggregate, in order.

    Their timestamps are moved so that the first sub-message stands at the aggregate's own, modulo
    2**32; their stream id is the aggregate's; their payloads are ``bytes``. Raises PeerViolation on more
    than MAX_SUB_MESSAGES.
    """
    body = message.payload
    messages: list[Message] = []
    shift: int | None = None
    pos = 0
    seen = 0
    while pos + _HEADER.size <= len(body):
        seen += 1
        if seen > MAX_SUB_MESSAGES:
            raise PeerViolation(
                CloseReason.MESSAGE_TOO_LARGE, f"an aggregate of more than {MAX_SUB_MESSAGES} messages"
            )
        type_and_size, low_and_high = _HEADER.unpack_from(body, pos)
        start = pos + _HEADER.size
        end = start + (type_and_size & 0xFFFFFF)
        if end > len(body):
            return Split(messages, True)
        timestamp = low_and_high >> 8 | (low_and_high & 0xFF) << 24
        if shift is None:
            shift = message.timestamp - timestamp
        type_id = type_and_size >> 24
        if type_id in _ACCEPTED:
            moved = (timestamp + shift) & 0xFFFFFFFF
            messages.append(Message(type_id, moved, bytes(body[start:end]), message.stream_id))
        pos = end + _BACK_POINTER_BYTES
    # The last back pointer may be missing, as in some servers' aggregates: nothing is lost with it.
    return Split(messages, pos < len(body))


def join(messages: Sequence[Message]) -> Message:
    """Put audio, video and data messages of one message stream into an aggregate.

    It carries the first one's timestamp. MisuseError if they do not fit into one.
    """
    if not 0 < len(messages) <= MAX_SUB_MESSAGES:
        raise MisuseError(f"an aggregate of {len(messages)} messages")
    first = messages[0]
    body = bytearray()
    for type_id, timestamp, payload, stream_id in messages:
        if type_id not in _ACCEPTED or stream_id != first.stream_id:
            raise MisuseError(f"message type {type_id} on stream {stream_id} in one of {first.stream_id}")
        low_and_high = (timestamp & 0xFFFFFF) << 8 | timestamp >> 24 & 0xFF
        body += _HEADER.pack(type_id << 24 | len(payload), low_and_high)
        body += payload
        body += _BACK_POINTER.pack(_HEADER.size + len(payload))
        if len(body) > _MAX_BODY_BYTES:
            raise MisuseError(f"an aggregate of {len(body)} bytes and more")
    return Message(MessageType.AGGREGATE, first.timestamp, bytes(body), first.stream_id)
