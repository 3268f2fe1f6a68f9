"""The frames of HTTP/2 that a peer sends: whole ones, one at a time, and how many it may send.

They are cut here, ahead of the library that understands them, so that others have their turn between two,
and so that what costs us more than the peer is refused before anybody has worked on it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Buffer

#: What a connection begins with (RFC 9113, section 3.4).
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: The most that a frame to us may have: what we say without saying anything (section 6.5.2).
MAX_FRAME_BYTES: Final = 16 * 1024
#: Frames besides requests in a second. A browser sends a few when it connects, then a ping now and then.
MAX_FRAMES_PER_S = 200
#: For so many bytes that it is sent, a peer may send one frame more: it has to open its window again.
BYTES_PER_FRAME: Final = 1024
#: The fields of a request as they are sent: a browser's have some hundred bytes. To unpack the worst takes
#: 10 ms, so those of LARGE_FIELDS_BYTES or more are read in a turn of their own.
MAX_FIELDS_BYTES = 8 * 1024
LARGE_FIELDS_BYTES: Final = 1024
#: All of them in a second; more are read in the next.
MAX_FIELD_BYTES_PER_S = 16 * 1024

_HEAD_BYTES: Final = 9
_HEADERS, _CONTINUATION = 0x1, 0x9
_END_HEADERS: Final = 0x4
_PADDED, _PRIORITY = 0x8, 0x20
_PRIORITY_BYTES: Final = 5
#: Changes of the table's size with which fields may begin (RFC 7541, section 4.2).
_MOST_RESIZES: Final = 2


class Frame(NamedTuple):
    """``data``: all its bytes. ``asks``: a request is whole with it."""

    data: bytes
    asks: bool


class FrameReader:
    """Bytes in, frames out. PeerViolation if there are too many, or one is too large."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._preface_bytes = len(PREFACE)
        self._block_bytes = 0  # of a request whose fields go on
        self._frames_left: float = MAX_FRAMES_PER_S
        #: In this second.
        self.field_bytes = 0

    @property
    def unfinished_bytes(self) -> int:
        """Kept of frames that are not there in whole, or whose turn has not come, and of requests."""
        return len(self._data) + self._block_bytes

    def feed(self, data: Buffer) -> None:
        """These bytes have come."""
        self._data += data

    def begin_second(self) -> None:
        """Another second has begun."""
        self.field_bytes = 0
        self._frames_left = max(self._frames_left, MAX_FRAMES_PER_S)

    def sent(self, size: int) -> None:
        """The peer has been sent so many bytes of answers."""
        self._frames_left += size / BYTES_PER_FRAME

    @property
    def has_more(self) -> bool:
        """Something has come that ``next`` has not given."""
        return bool(self._data)

    @property
    def is_large(self) -> bool:
        """To work on the next frame may take long."""
        data = self._data
        return (
            len(data) >= _HEAD_BYTES and data[3] in (_HEADERS, _CONTINUATION)
            and self._block_bytes + int.from_bytes(data[:3]) >= LARGE_FIELDS_BYTES
        )  # fmt: skip

    def next(self) -> Frame | None:
        """The next frame, if it is there in whole; what a connection begins with counts as one."""
        if self._preface_bytes:
            return self._preface()
        data = self._data
        if len(data) < _HEAD_BYTES:
            return None
        size = int.from_bytes(data[:3])
        kind, flags = data[3], data[4]
        if size > MAX_FRAME_BYTES:
            raise PeerViolation(CloseReason.BAD_REQUEST, f"a frame of {size} bytes")
        asks = self._admit(kind, flags, size, is_whole=len(data) >= _HEAD_BYTES + size)
        if asks is None:
            return None
        frame = Frame(bytes(data[: _HEAD_BYTES + size]), asks)
        del data[: _HEAD_BYTES + size]
        return frame

    def _preface(self) -> Frame | None:
        begins, self._data = bytes(self._data[: self._preface_bytes]), self._data[self._preface_bytes :]
        self._preface_bytes -= len(begins)
        return Frame(begins, False) if begins else None

    def _admit(self, kind: int, flags: int, size: int, *, is_whole: bool) -> bool | None:
        """Whether a request is whole with this frame; None if it has not come in whole."""
        if kind not in (_HEADERS, _CONTINUATION):
            if not is_whole:
                return None
            self._frames_left -= 1
            if self._frames_left < 0:
                why = f"more than {MAX_FRAMES_PER_S} frames in a second that ask for nothing"
                raise PeerViolation(CloseReason.TOO_MUCH_WORK, why)
            return False
        if self._block_bytes + size > MAX_FIELDS_BYTES:
            why = f"the fields of a request have more than {MAX_FIELDS_BYTES} bytes as they are sent"
            raise PeerViolation(CloseReason.BAD_REQUEST, why)
        if not is_whole:
            return None
        if kind == _HEADERS and _resizes(self._data[_HEAD_BYTES : _HEAD_BYTES + size], flags):
            raise PeerViolation(CloseReason.BAD_REQUEST, "fields that begin with changes without end")
        self.field_bytes += size
        if flags & _END_HEADERS:
            self._block_bytes = 0
            return True
        # Each frame of a block counts, however small it is.
        self._block_bytes += size + _HEAD_BYTES
        return False


def _resizes(payload: bytearray, flags: int) -> bool:
    """Whether fields begin with more changes of the table's size than they may: each takes one byte."""
    at = (1 if flags & _PADDED else 0) + (_PRIORITY_BYTES if flags & _PRIORITY else 0)
    for _ in range(_MOST_RESIZES + 1):
        if at >= len(payload) or payload[at] >> 5 != 1:  # section 6.3
            return False
        is_long = payload[at] & 0x1F == 0x1F
        at += 1
        while is_long and at < len(payload):
            is_long = payload[at] >= 0x80
            at += 1
    return True
