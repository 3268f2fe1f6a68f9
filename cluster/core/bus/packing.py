"""msgpack, and the list of messages, as control messages carry them.

A message travels as three integers in a header (type, timestamp, size) and its payload in a body:
all payloads of one list joined, so that nothing is copied twice and sizes can be checked first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import msgpack

from cluster.core.errors import ClusterError, MisuseError
from cluster.core.message import Buffer, Message

#: Of everything on the bus; another version is refused, never guessed at. In version 1 an envelope had
#: three frames, up to version 2 a worker's id had no instance of its node in it.
VERSION = 3

#: Epochs, sequence numbers and unwrapped timestamps are 64-bit signed on the wire.
MAX_INTEGER = 2**63 - 1

_PER_MESSAGE = 3


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


def message_fields(messages: Sequence[MessageLike]) -> list[int]:
    """Type, timestamp and size of each message, one after the other."""
    fields: list[int] = []
    for message in messages:
        fields += (message.type_id, message.timestamp, len(message.payload))
    return fields


def join_payloads(messages: Sequence[MessageLike]) -> bytes | memoryview:
    """The body: all payloads after each other; a single one is not copied."""
    if len(messages) == 1:
        return messages[0].payload
    return b"".join([message.payload for message in messages])


def split_messages(fields: Sequence[object], body: bytes) -> list[Message]:
    """The messages that ``message_fields`` and ``join_payloads`` described.

    Payloads are views of ``body`` (a single one is ``body`` itself). PackingError if a field is not
    an integer in range, or the sizes do not add up to exactly the body.
    """
    if len(fields) == _PER_MESSAGE:
        type_id, timestamp, size = fields
        if _is_message(type_id, timestamp, size) and size == len(body):
            return [Message(cast(int, type_id), cast(int, timestamp), body)]
        raise PackingError(f"one message of {size!r} bytes in a body of {len(body)}")
    if len(fields) % _PER_MESSAGE:
        raise PackingError(f"{len(fields)} fields are not three for each message")
    view = memoryview(body)
    offset = 0
    messages: list[Message] = []
    for index in range(0, len(fields), _PER_MESSAGE):
        type_id, timestamp, size = fields[index : index + _PER_MESSAGE]
        if not _is_message(type_id, timestamp, size):
            raise PackingError(f"message {index // _PER_MESSAGE} has bad fields")
        end = offset + cast(int, size)
        if end > len(body):
            raise PackingError(f"message {index // _PER_MESSAGE} ends after the body of {len(body)} bytes")
        messages.append(Message(cast(int, type_id), cast(int, timestamp), view[offset:end]))
        offset = end
    if offset != len(body):
        raise PackingError(f"{len(body) - offset} bytes after the last message")
    return messages


def _is_message(type_id: object, timestamp: object, size: object) -> bool:
    return type(type_id) is int and 0 <= type_id <= 255 and is_unsigned(timestamp) and is_unsigned(size)
