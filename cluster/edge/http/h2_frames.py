"""The frames of HTTP/2 that a peer sends: whole ones, one at a time, and how many it may send.

They are cut here, ahead of the library that understands them, so that others have their turn between two,
and so that what costs us more than the peer is refused before anybody has worked on it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Buffer
from cluster.edge.http.request import MAX_HEADER_BYTES

#: What a connection begins with (RFC 9113, section 3.4).
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: The most that a frame to us may have: what we say without saying anything (section 6.5.2).
MAX_FRAME_BYTES: Final = 16 * 1024
#: Frames besides requests in a second. A browser sends a few when it connects, then a ping now and then.
MAX_FRAMES_PER_S = 200
#: For so many bytes that it is sent, a peer may send one frame more: it has to open its window again.
BYTES_PER_FRAME: Final = 1024
#: Fields of requests in a second, as they are sent; more are read in the next. To unpack them takes 15 ms.
MAX_FIELD_BYTES_PER_S = 32 * 1024

_HEAD_BYTES: Final = 9
_HEADERS, _CONTINUATION = 0x1, 0x9
_END_HEADERS: Final = 0x4


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
        if self._block_bytes + size > MAX_HEADER_BYTES:
            why = f"the fields of a request have more than {MAX_HEADER_BYTES} bytes"
            raise PeerViolation(CloseReason.BAD_REQUEST, why)
        if not is_whole:
            return None
        self.field_bytes += size
        if flags & _END_HEADERS:
            self._block_bytes = 0
            return True
        # Each frame of a block counts, however small it is.
        self._block_bytes += size + _HEAD_BYTES
        return False
