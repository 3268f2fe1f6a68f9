"""The message: the one thing the RTMP side, the stream log and the bus all know."""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class MessageType(enum.IntEnum):
    """RTMP message type ids (RTMP 1.0, sections 5.4 and 7.1)."""

    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_ACK_SIZE = 5
    SET_PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    SHARED_OBJECT_AMF3 = 16
    COMMAND_AMF3 = 17
    DATA_AMF0 = 18
    SHARED_OBJECT_AMF0 = 19
    COMMAND_AMF0 = 20
    AGGREGATE = 22
    #: Not of RTMP: where a segment begins, in a stream log and on the bus (``core/media/marks.py``).
    MARK = 254


class Message(NamedTuple):
    """One whole RTMP message, immutable.

    ``type_id`` is a plain int: a peer may send values that no ``MessageType`` names.
    ``timestamp`` is absolute, in milliseconds; 0 <= timestamp < 2**32 as read from or written to the
    wire, unwrapped (monotone past 2**32) once it stands in a stream log.
    ``stream_id`` is the RTMP message stream id (0: the connection itself).
    """

    type_id: int
    timestamp: int
    payload: bytes | memoryview
    stream_id: int = 0
