"""Fragmented MP4 in, messages out, as far as a load needs them (ISO 14496-12, chapter 8).

A sample becomes an RTMP message of its track's medium, in the oldest form that there is of its kind: its
codec is nobody's business here, only where it stands in time, whether a picture can start at it, and its
bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cluster.core.message import Message, MessageType
from cluster.load.fault import ServerFault

#: Of one box: a fragment may be a whole segment.
MAX_BOX_BYTES = 64 * 1024 * 1024
#: Of one run: those that say nothing of themselves take no room in the box.
MAX_RUN_SAMPLES = 65_536

_HEADER_BYTES = 8
_NOT_SYNC = 0x00010000
#: What stands in front of a sample in a message, by handler and whether a picture can start at it.
_FRONT = {
    (b"vide", True): b"\x17\x01\x00\x00\x00", (b"vide", False): b"\x27\x01\x00\x00\x00",
    (b"soun", True): b"\xaf\x01", (b"soun", False): b"\xaf\x01",
}  # fmt: skip
_TYPES = {b"vide": int(MessageType.VIDEO), b"soun": int(MessageType.AUDIO)}

_u32 = struct.Struct(">I").unpack_from
_u64 = struct.Struct(">Q").unpack_from


@dataclass(slots=True)
class _Track:
    handler: bytes = b""
    timescale: int = 1
    #: Duration, size and flags of a sample that says nothing else.
    defaults: tuple[int, int, int] = (0, 0, 0)


class _Sample(NamedTuple):
    track: _Track
    time: int
    is_sync: bool
    #: Where its bytes are, in the whole stream.
    at: int
    size: int


class Fmp4Reader:
    """ServerFault if something is no fragmented MP4. Holds at most one unfinished box."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Where the buffer begins, in the whole stream.
        self._at = 0
        self._tracks: dict[int, _Track] = {}
        self._samples: list[_Sample] = []

    def feed(self, data: bytes) -> list[Message]:
        """The samples that ``data`` completes."""
        self._buffer += data
        messages: list[Message] = []
        offset = 0
        try:
            while (box := _head(self._buffer, offset)) is not None:
                name, start, end = box
                if end > len(self._buffer):
                    break
                messages += self._box(name, bytes(self._buffer[start:end]), offset, start)
                offset = end
        except (struct.error, KeyError, IndexError):
            raise ServerFault("no fragmented MP4: a box that ends too early or means nothing") from None
        finally:
            del self._buffer[:offset]
            self._at += offset
        return messages

    def _box(self, name: bytes, body: bytes, offset: int, start: int) -> list[Message]:
        """Take in a box of the stream that begins at ``offset`` of the buffer, its body at ``start``."""
        if name == b"moov":
            self._tracks = dict(_tracks(body))
        elif name == b"moof":
            self._samples = list(self._samples_of(body, self._at + offset))
        elif name == b"mdat":
            samples, self._samples = self._samples, []
            return [
                _message(sample, body, self._at + start) for sample in samples
                if sample.track.handler in _TYPES
            ]  # fmt: skip
        return []

    def _samples_of(self, moof: bytes, moof_at: int) -> Iterator[_Sample]:
        for name, traf in _boxes(moof):
            if name != b"traf":
                continue
            boxes = list(_boxes(traf))
            track, defaults, base = self._fragment_header(_find(traf, b"tfhd"), moof_at)
            time = next((_time(body) for each, body in boxes if each == b"tfdt"), 0)
            at = base
            for each, run in boxes:
                if each != b"trun":
                    continue
                if _u32(run)[0] & 0x1:
                    at = base + struct.unpack_from(">i", run, 8)[0]
                for duration, size, flags in _rows(run, defaults):
                    yield _Sample(track, time, not flags & _NOT_SYNC, at, size)
                    time += duration
                    at += size

    def _fragment_header(self, body: bytes, moof_at: int) -> tuple[_Track, tuple[int, int, int], int]:
        """The track, what its samples have unless they say otherwise, and where places count from
        (8.8.7)."""
        flags = _u32(body)[0]
        track = self._tracks[_u32(body, 4)[0]]
        place, base = 8, moof_at
        if flags & 0x1:
            base, place = _u64(body, place)[0], place + 8
        if flags & 0x2:
            place += 4
        defaults = list(track.defaults)
        for number, bit in enumerate((0x8, 0x10, 0x20)):
            if flags & bit:
                defaults[number], place = _u32(body, place)[0], place + 4
        return track, (defaults[0], defaults[1], defaults[2]), base


def _head(data: bytes | bytearray, at: int) -> tuple[bytes, int, int] | None:
    """Name of the box there, where its body begins, where it ends; None if its head is not whole."""
    if len(data) - at < _HEADER_BYTES:
        return None
    size, start = _u32(data, at)[0], at + _HEADER_BYTES
    if size == 1:
        if len(data) - at < 2 * _HEADER_BYTES:
            return None
        size, start = _u64(data, start)[0], start + _HEADER_BYTES
    if not start - at <= size <= MAX_BOX_BYTES:
        raise ServerFault(f"no fragmented MP4: a box of {size} bytes")
    return bytes(data[at + 4 : at + 8]), start, at + size


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each box in the body of another."""
    at = 0
    while (box := _head(data, at)) is not None:
        name, start, at = box
        yield name, data[start:at]


def _find(data: bytes, *path: bytes) -> bytes:
    """The body of the first box of that path; KeyError if there is none."""
    for wanted in path:
        found = next((body for name, body in _boxes(data) if name == wanted), None)
        if found is None:
            raise KeyError(wanted)
        data = found
    return data


def _tracks(moov: bytes) -> Iterator[tuple[int, _Track]]:
    defaults = {}
    for name, body in _boxes(_find(moov, b"mvex")):
        if name == b"trex":
            number, _, *rest = struct.unpack_from(">5I", body, 4)
            defaults[number] = (rest[0], rest[1], rest[2])
    for name, trak in _boxes(moov):
        if name != b"trak":
            continue
        header, media = _find(trak, b"tkhd"), _find(trak, b"mdia", b"mdhd")
        # Two times stand in front, of 64 bits in version 1 (8.3.2, 8.4.2).
        number = _u32(header, 20 if header[0] else 12)[0]
        timescale = _u32(media, 20 if media[0] else 12)[0]
        handler = _find(trak, b"mdia", b"hdlr")[8:12]
        if not timescale:
            raise ServerFault("no fragmented MP4: a track without a timescale")
        yield number, _Track(handler, timescale, defaults.get(number, (0, 0, 0)))


def _time(tfdt: bytes) -> int:
    return int((_u64 if tfdt[0] else _u32)(tfdt, 4)[0])


def _rows(run: bytes, defaults: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Duration, size and flags of each sample of a trun (8.8.8)."""
    flags, count = struct.unpack_from(">II", run)
    place = 8 + (4 if flags & 0x1 else 0)
    first_flags = None
    if flags & 0x4:
        first_flags, place = _u32(run, place)[0], place + 4
    present = [number for number, bit in enumerate((0x100, 0x200, 0x400)) if flags & bit]
    step = 4 * len(present) + (4 if flags & 0x800 else 0)
    if count * step > len(run) - place or count > MAX_RUN_SAMPLES:
        raise ServerFault("no fragmented MP4: a run of too many samples")
    for index in range(count):
        row = list(defaults)
        for number in present:
            row[number], place = _u32(run, place)[0], place + 4
        place += 4 if flags & 0x800 else 0
        if index == 0 and first_flags is not None:
            row[2] = first_flags
        yield row[0], row[1], row[2]


def _message(sample: _Sample, body: bytes, body_at: int) -> Message:
    start = sample.at - body_at
    if start < 0 or start + sample.size > len(body):
        raise ServerFault("no fragmented MP4: a sample that is not in the data behind its description")
    track = sample.track
    timestamp_ms = sample.time * 1000 // track.timescale & 0xFFFFFFFF
    payload = _FRONT[track.handler, sample.is_sync] + body[start : start + sample.size]
    return Message(_TYPES[track.handler], timestamp_ms, payload)
