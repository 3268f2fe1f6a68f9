"""Messages in, RTMP chunks out (RTMP 1.0, section 5.3): for one peer, or once for all players."""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from cluster.core.errors import MisuseError
from cluster.core.message import Buffer, Message, MessageType
from cluster.core.rtmp.chunk_reader import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE

MAX_PAYLOAD_BYTES = 0xFFFFFF

_U32 = 0xFFFFFFFF
_EXTENDED = 0xFFFFFF
_MIN_CHUNK_STREAM_ID = 2
_MAX_CHUNK_STREAM_ID = 65599

# Message headers of formats 0, 1 and 2 behind a basic header whose last byte is the first one packed;
# a three-byte integer and the byte before or behind it make one of four bytes.
_pack_format_0 = struct.Struct(">II4s").pack
_pack_format_1 = struct.Struct(">II").pack
_pack_format_2 = struct.Struct(">I").pack
_pack_u32 = struct.Struct(">I").pack


class ChunkStreamId(enum.IntEnum):
    """The chunk streams we write on; a reader may not conclude anything from them."""

    CONTROL = 2
    COMMAND = 3
    AUDIO = 4
    #: Commands of one message stream: onStatus and its like.
    STATUS = 5
    VIDEO = 6
    DATA = 8


class _Sent(NamedTuple):
    """What the last header on a chunk stream told the peer."""

    timestamp: int
    length: int
    type_id: int
    stream_id: int


class ChunkWriter:
    """Encodes messages for one peer, with headers that leave out what that peer already knows.

    ``chunk_size`` is ours, in bytes: it changes when a Set Chunk Size message is encoded, from the next
    message on, so two of them in a row cannot be confused.
    """

    def __init__(self) -> None:
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self._sent: dict[int, _Sent] = {}

    def encode(self, message: Message, chunk_stream_id: int) -> bytes:
        """Return the chunks of ``message``, contiguous. Its timestamp counts modulo 2**32.

        Raises MisuseError on a chunk stream id outside 2..65599, a payload of 2**24 bytes or more, or a
        chunk size that section 5.4.1 forbids.
        """
        _check(message, chunk_stream_id)
        new_chunk_size = self.chunk_size
        if message.type_id == MessageType.SET_CHUNK_SIZE:
            new_chunk_size = _announced_chunk_size(message.payload)
        now = _Sent(message.timestamp & _U32, len(message.payload), message.type_id, message.stream_id)
        header, extended = self._header(now, chunk_stream_id)
        chunks = b"".join(_cut(header, extended, message.payload, chunk_stream_id, self.chunk_size))
        self._sent[chunk_stream_id] = now
        self.chunk_size = new_chunk_size
        return chunks

    def _header(self, now: _Sent, chunk_stream_id: int) -> tuple[bytes, bytes]:
        """The first chunk's header, and the extended timestamp that its continuations repeat.

        Format 3 never starts a message: after a format 0, receivers disagree about the delta it means.
        """
        last = self._sent.get(chunk_stream_id)
        if last is None or last.stream_id != now.stream_id:
            return _full_header(now.timestamp, now.length, now.type_id, now.stream_id, chunk_stream_id)
        delta = (now.timestamp - last.timestamp) & _U32
        if delta >= 0x80000000:  # back in time by RFC 1982: only an absolute timestamp can say so
            return _full_header(now.timestamp, now.length, now.type_id, now.stream_id, chunk_stream_id)
        field, extended = _split_field(delta)
        if (last.length, last.type_id) == (now.length, now.type_id):
            prefix, last_byte = _basic_header(2, chunk_stream_id)
            return prefix + _pack_format_2(last_byte << 24 | field) + extended, extended
        prefix, last_byte = _basic_header(1, chunk_stream_id)
        packed = _pack_format_1(last_byte << 24 | field, now.length << 8 | now.type_id)
        return prefix + packed + extended, extended


def encode_shared(message: Message, chunk_stream_id: int, chunk_size: int) -> list[Buffer]:
    """Encode a message so that any peer whose chunk size is ``chunk_size`` bytes can read it next.

    Format 0 with an absolute timestamp leans on nothing sent before, so the buffers may be shared by
    all players. They are ``[header, payload]`` if one chunk is enough, else headers and views of the
    payload in turn; the payload is never copied. Raises MisuseError as ``ChunkWriter.encode``.
    """
    type_id, timestamp, payload, stream_id = message
    length = len(payload)
    if (
        2 <= chunk_stream_id < 64
        and 0 <= timestamp < _EXTENDED
        and length <= chunk_size <= MAX_CHUNK_SIZE
        and 0 <= type_id <= 0xFF
    ):
        packed = _pack_format_0(
            chunk_stream_id << 24 | timestamp, length << 8 | type_id, stream_id.to_bytes(4, "little")
        )
        return [packed, payload]
    _check(message, chunk_stream_id)
    header, extended = _full_header(timestamp & _U32, length, type_id, stream_id, chunk_stream_id)
    return _cut(header, extended, payload, chunk_stream_id, chunk_size)


def _check(message: Message, chunk_stream_id: int) -> None:
    if not _MIN_CHUNK_STREAM_ID <= chunk_stream_id <= _MAX_CHUNK_STREAM_ID:
        raise MisuseError(f"chunk stream id {chunk_stream_id} is not in 2..65599")
    if len(message.payload) > MAX_PAYLOAD_BYTES:
        raise MisuseError(f"a message of {len(message.payload)} bytes does not fit RTMP's 24 bits")
    if not 0 <= message.type_id <= 0xFF:
        raise MisuseError(f"message type {message.type_id} is not one byte")


def _announced_chunk_size(payload: Buffer) -> int:
    value = int.from_bytes(payload, "big")
    if len(payload) != 4 or not 1 <= value <= 0x7FFFFFFF:
        raise MisuseError(f"set chunk size {bytes(payload[:8]).hex()} is not a size")
    return min(value, MAX_CHUNK_SIZE)


def _basic_header(fmt: int, chunk_stream_id: int) -> tuple[bytes, int]:
    """The basic header in its shortest form (section 5.3.1.1): all bytes but the last, and the last.

    The three-byte form is little-endian, unlike the integers around it.
    """
    if chunk_stream_id < 64:
        return b"", fmt << 6 | chunk_stream_id
    above = chunk_stream_id - 64
    if above < 256:
        return bytes((fmt << 6,)), above
    return bytes((fmt << 6 | 1, above & 0xFF)), above >> 8


def _split_field(value: int) -> tuple[int, bytes]:
    """The 24-bit timestamp field and the extended timestamp: 0xFFFFFF itself is extended too."""
    return (value, b"") if value < _EXTENDED else (_EXTENDED, _pack_u32(value))


def _full_header(
    timestamp: int, length: int, type_id: int, stream_id: int, chunk_stream_id: int
) -> tuple[bytes, bytes]:
    """A format 0 header and the extended timestamp in it; the message stream id is little-endian."""
    field, extended = _split_field(timestamp)
    prefix, last_byte = _basic_header(0, chunk_stream_id)
    packed = _pack_format_0(last_byte << 24 | field, length << 8 | type_id, stream_id.to_bytes(4, "little"))
    return prefix + packed + extended, extended


def _cut(
    header: bytes, extended: bytes, payload: bytes | memoryview, chunk_stream_id: int, chunk_size: int
) -> list[Buffer]:
    """Lay the payload out in chunks; each continuation repeats the extended timestamp (5.3.1.3)."""
    if len(payload) <= chunk_size:
        return [header, payload]
    prefix, last_byte = _basic_header(3, chunk_stream_id)
    continuation = prefix + bytes((last_byte,)) + extended
    view = memoryview(payload)
    buffers: list[Buffer] = [header, view[:chunk_size]]
    for start in range(chunk_size, len(view), chunk_size):
        buffers += (continuation, view[start : start + chunk_size])
    return buffers
