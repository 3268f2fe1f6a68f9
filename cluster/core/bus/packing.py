"""msgpack, and lists of messages, as the bus carries them.

A list of messages travels as a table (type u8, timestamp i64 and size u32 of each, big-endian) and a body:
all payloads, one after the other. So sizes can be checked before anything is made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Protocol, cast

import msgpack

from cluster.core.errors import ClusterError, MisuseError
from cluster.core.message import Buffer, Message

#: Of everything on the bus; another version is refused, never guessed at. In version 1 an envelope had
#: three frames, up to version 2 a worker's id had no instance of its node in it, up to version 3 a topic
#: was a stream key, and a snapshot had two frames; up to version 4 there were no marks among the messages;
#: up to version 5 no envelope was stamped, and no heartbeat.
VERSION = 6

#: Epochs, sequence numbers and unwrapped timestamps are 64-bit signed on the wire.
MAX_INTEGER = 2**63 - 1

#: One message in a table.
MESSAGE = struct.Struct(">BqI")


class PackingError(ClusterError):
    """Bytes from the bus that are not what they should be."""


class MessageLike(Protocol):
    """What the bus needs of a message: a ``Message``, or an entry of a stream log."""

    @property
    def type_id(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def payload(self) -> bytes | memoryview: ...


def pack(fields: Sequence[object]) -> bytes:
    """``fields`` as one msgpack array; MisuseError if a value is not one msgpack knows."""
    try:
        # Stream keys come from RTMP peers, decoded with surrogateescape: they keep their bytes.
        return cast(bytes, msgpack.packb(fields, unicode_errors="surrogateescape"))
    except (TypeError, ValueError, OverflowError) as error:
        raise MisuseError(f"cannot be packed: {error}") from None


def unpack(data: Buffer) -> list[Any]:
    """The msgpack array that ``data`` is, without its version; PackingError on anything else."""
    try:
        fields = msgpack.unpackb(data, unicode_errors="surrogateescape")
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PackingError(f"not msgpack: {type(error).__name__}: {error}") from None
    if type(fields) is not list or not fields:
        raise PackingError("the header is not an array")
    if type(fields[0]) is not int or fields[0] != VERSION:
        raise PackingError(f"version {fields[0]!r} is not {VERSION}")
    return fields[1:]


def is_unsigned(value: object) -> bool:
    """Whether ``value`` is an integer of 0 to 2**63 - 1 (and no bool)."""
    return type(value) is int and 0 <= value <= MAX_INTEGER


def message_table(messages: Sequence[MessageLike]) -> bytes:
    """Type, timestamp and size of each message, one after the other."""
    return b"".join([MESSAGE.pack(each.type_id, each.timestamp, len(each.payload)) for each in messages])


def join_payloads(messages: Sequence[MessageLike]) -> bytes | memoryview:
    """The body: all payloads after each other; a single one is not copied."""
    if len(messages) == 1:
        return messages[0].payload
    return b"".join([message.payload for message in messages])


def split_messages(table: bytes, body: bytes) -> list[Message]:
    """The messages that ``message_table`` and ``join_payloads`` described; ``table`` holds whole rows.

    Payloads are copies: a view would keep all of ``body`` for as long as one of them is kept. PackingError
    if a number is out of range, or the sizes do not add up to exactly the body.
    """
    offset = 0
    messages: list[Message] = []
    for type_id, timestamp, size in MESSAGE.iter_unpack(table):
        if timestamp < 0:
            raise PackingError("a negative timestamp")
        messages.append(Message(type_id, timestamp, body[offset : offset + size]))
        offset += size
    # Only the last payload can be short: what is before it ends where it begins.
    if offset != len(body):
        raise PackingError(f"{len(body)} bytes of payloads, not {offset}")
    return messages
