"""Stamps: when the messages of an envelope left their origin, carried by one envelope in many.

A stamped frame is an envelope as any other, with the highest bit of its count of messages set, and behind
its payloads:

    flushed    i64, microseconds: when the origin sent it, on the monotonic clock of its router
    waited     u32, microseconds: how long the newest of its messages had been at the origin by then

Whoever receives it takes the stamp off first. What does not look for stamps is not slowed down by them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cluster.core.bus.envelope import HEAD_END, NUMBERS_AT, EnvelopeError

#: The byte with that bit; ``STAMPED`` is the bit in it.
STAMPED_AT = HEAD_END - 4
STAMPED = 0x80

_STAMP = struct.Struct(">qI")
_SIZES = struct.Struct(">HH")
_SIZES_AT = NUMBERS_AT + 8
_LONGEST_US = 0xFFFF_FFFF


class Stamp(NamedTuple):
    """``flushed_us`` is a moment, ``waited_us`` an interval."""

    flushed_us: int
    waited_us: int


def is_stamped(frame: bytes) -> bool:
    """Whether ``frame`` says so; it need not be an envelope."""
    return len(frame) > STAMPED_AT and frame[STAMPED_AT] >= STAMPED


def stamped(frame: bytes, stamp: Stamp) -> bytes:
    """The envelope in ``frame``, with ``stamp``."""
    flag = bytes((frame[STAMPED_AT] | STAMPED,))
    tail = _STAMP.pack(stamp.flushed_us, min(max(0, stamp.waited_us), _LONGEST_US))
    return b"".join((frame[:STAMPED_AT], flag, frame[STAMPED_AT + 1 :], tail))


def unstamped(frame: bytes) -> tuple[bytes, Stamp]:
    """The envelope in a stamped frame, and its stamp; EnvelopeError if there is no room for one."""
    end = len(frame) - _STAMP.size
    if end < HEAD_END:
        raise EnvelopeError(f"{len(frame)} bytes do not hold a stamp")
    flag = bytes((frame[STAMPED_AT] & ~STAMPED,))
    envelope = b"".join((frame[:STAMPED_AT], flag, frame[STAMPED_AT + 1 : end]))
    return envelope, Stamp(*_STAMP.unpack_from(frame, end))


def key_of(frame: bytes) -> str:
    """The stream key in an envelope that holds one."""
    key_size, _ = _SIZES.unpack_from(frame, _SIZES_AT)
    return frame[HEAD_END : HEAD_END + key_size].decode("utf-8", "surrogateescape")
