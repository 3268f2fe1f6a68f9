"""Protocol control messages (types 1, 2, 3, 5, 6) and user control messages (type 4), both ways.

RTMP 1.0, sections 5.4, 6.2 and 7.1.7. All of them travel on chunk stream 2, message stream 0, and act
when they are received; their timestamps mean nothing. A builder returns the ``Message`` to be sent; a
reader raises ``PeerViolation(BAD_CONTROL)`` for a payload too short to hold the value (``is_short`` tells
it before). Bytes after the value are ignored.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message, MessageType

MAX_U32 = 0xFFFFFFFF
#: RTMP 1.0, section 5.4.1: the top bit is zero.
MAX_CHUNK_SIZE = 0x7FFFFFFF

_U32 = struct.Struct(">I")
_U32_U8 = struct.Struct(">IB")
_U16 = struct.Struct(">H")


class PeerBandwidthLimit(enum.IntEnum):
    """How binding a Set Peer Bandwidth is (RTMP 1.0, section 5.4.5)."""

    HARD = 0
    SOFT = 1
    DYNAMIC = 2


class UserControlEvent(enum.IntEnum):
    """Event types of the user control message (RTMP 1.0, section 7.1.7); from 0x1A on: Flash servers'."""

    STREAM_BEGIN = 0
    STREAM_EOF = 1
    STREAM_DRY = 2
    SET_BUFFER_LENGTH = 3
    STREAM_IS_RECORDED = 4
    PING_REQUEST = 6
    PING_RESPONSE = 7
    SWF_VERIFY_REQUEST = 0x1A
    SWF_VERIFY_RESPONSE = 0x1B
    BUFFER_EMPTY = 0x1F
    BUFFER_READY = 0x20


class SetPeerBandwidth(NamedTuple):
    """``window_bytes`` the peer wants our unacknowledged output bounded by, and how binding that is."""

    window_bytes: int
    limit: PeerBandwidthLimit


class UserControl(NamedTuple):
    """``event`` is a plain int (a peer may send any); ``values`` are the whole u32s of ``body``."""

    event: int
    values: tuple[int, ...]
    body: bytes


def set_chunk_size(chunk_size: int) -> Message:
    if not 1 <= chunk_size <= MAX_CHUNK_SIZE:
        raise MisuseError(f"chunk size {chunk_size} is not in 1..{MAX_CHUNK_SIZE}")
    return Message(MessageType.SET_CHUNK_SIZE, 0, _U32.pack(chunk_size))


def abort(chunk_stream_id: int) -> Message:
    return Message(MessageType.ABORT, 0, _U32.pack(chunk_stream_id))


def acknowledgement(bytes_received: int) -> Message:
    """``bytes_received`` counts in 64 bits; the wire has its low 32."""
    return Message(MessageType.ACKNOWLEDGEMENT, 0, _U32.pack(bytes_received & MAX_U32))


def window_ack_size(window_bytes: int) -> Message:
    return Message(MessageType.WINDOW_ACK_SIZE, 0, _U32.pack(window_bytes))


def set_peer_bandwidth(window_bytes: int, limit: PeerBandwidthLimit) -> Message:
    return Message(MessageType.SET_PEER_BANDWIDTH, 0, _U32_U8.pack(window_bytes, limit))


def user_control(event: int, *values: int) -> Message:
    """An event whose data are u32 values: all of them but the two of SWF verification."""
    return Message(MessageType.USER_CONTROL, 0, _U16.pack(event) + struct.pack(f">{len(values)}I", *values))


def stream_begin(stream_id: int) -> Message:
    return user_control(UserControlEvent.STREAM_BEGIN, stream_id)


def stream_eof(stream_id: int) -> Message:
    return user_control(UserControlEvent.STREAM_EOF, stream_id)


def set_buffer_length(stream_id: int, buffer_ms: int) -> Message:
    return user_control(UserControlEvent.SET_BUFFER_LENGTH, stream_id, buffer_ms)


def ping_request(clock_ms: int) -> Message:
    return user_control(UserControlEvent.PING_REQUEST, clock_ms & MAX_U32)


def ping_response(clock_ms: int) -> Message:
    return user_control(UserControlEvent.PING_RESPONSE, clock_ms & MAX_U32)


def swf_verify_request() -> Message:
    """A request to prove the SWF file; the body is one byte, the verification scheme 1."""
    return Message(MessageType.USER_CONTROL, 0, _U16.pack(UserControlEvent.SWF_VERIFY_REQUEST) + b"\x01")


def swf_verify_response(swf_size_bytes: int, digest: bytes) -> Message:
    """42 bytes of body: 01 01, the size of the SWF file twice, then the 32-byte digest."""
    if len(digest) != 32:
        raise MisuseError(f"a SWF digest has 32 bytes, not {len(digest)}")
    head = struct.pack(">HBBII", UserControlEvent.SWF_VERIFY_RESPONSE, 1, 1, swf_size_bytes, swf_size_bytes)
    return Message(MessageType.USER_CONTROL, 0, head + digest)


def is_short(message: Message) -> bool:
    """Whether a message of type 2 to 6 ends before its value."""
    return len(message.payload) < (2 if message.type_id == MessageType.USER_CONTROL else 4)


def read_u32(message: Message) -> int:
    """The value of an Abort, an Acknowledgement, a Window Acknowledgement Size."""
    if len(message.payload) < 4:
        raise _too_short(message, 4)
    return int(_U32.unpack_from(message.payload)[0])


def read_set_peer_bandwidth(message: Message) -> SetPeerBandwidth:
    """A missing limit byte reads as hard, an unknown one as dynamic: both are seen from real peers."""
    window_bytes = read_u32(message)
    if len(message.payload) < 5:
        return SetPeerBandwidth(window_bytes, PeerBandwidthLimit.HARD)
    limit = message.payload[4]
    if limit > PeerBandwidthLimit.DYNAMIC:
        return SetPeerBandwidth(window_bytes, PeerBandwidthLimit.DYNAMIC)
    return SetPeerBandwidth(window_bytes, PeerBandwidthLimit(limit))


def read_user_control(message: Message) -> UserControl:
    """Unknown events, and known ones with too little data, are for the caller to ignore: no violation."""
    if len(message.payload) < 2:
        raise _too_short(message, 2)
    # No event has more data than SWF verification; a longer body is not worth copying.
    body = bytes(message.payload[2:44])
    count = min(len(body) // 4, 2)
    return UserControl(
        int(_U16.unpack_from(message.payload)[0]), struct.unpack_from(f">{count}I", body), body
    )


def _too_short(message: Message, needed: int) -> PeerViolation:
    detail = f"control message type {message.type_id} of {len(message.payload)} bytes, needs {needed}"
    return PeerViolation(CloseReason.BAD_CONTROL, detail)
