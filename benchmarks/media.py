"""A synthetic H.264 + AAC stream of an exact bit rate, whose messages carry a clock stamp.

One group of pictures (two seconds) is encoded to RTMP chunks once; sending a message writes its
timestamp, its sequence number and the clock into the encoded bytes. Every publisher shares the same
templates, so the generator's cost per message is one ``pack_into`` and one ``send``.
"""

from __future__ import annotations

import heapq
import struct
import time
from dataclasses import dataclass
from functools import cached_property

from cluster.core.message import Buffer, MessageType

#: What marks a stamped payload: magic, sequence number, CLOCK_MONOTONIC nanoseconds.
_STAMP = struct.Struct(">4sIQ")
_MAGIC = b"\xb5bmk"
_TIMESTAMP = struct.Struct(">I")

#: FLV video tag header: keyframe or inter frame of AVC, one NAL unit, composition time 0; then the
#: NAL unit's 4-byte length and 1-byte header.
_VIDEO_PREFIX_BYTES = 5 + 5
#: FLV audio tag header of AAC raw data.
_AUDIO_PREFIX = b"\xaf\x01"

_SPS = bytes.fromhex("6742c01fda014016ec0440000003004000000f23c60ca8")
_PPS = bytes.fromhex("68ce3c80")
#: AVCDecoderConfigurationRecord: baseline 3.1, 4-byte NAL lengths, one SPS, one PPS.
VIDEO_SEQUENCE_HEADER = (
    b"\x17\x00\x00\x00\x00\x01\x42\xc0\x1f\xff\xe1"
    + len(_SPS).to_bytes(2, "big") + _SPS + b"\x01" + len(_PPS).to_bytes(2, "big") + _PPS
)
#: AudioSpecificConfig: AAC-LC, 44.1 kHz, stereo.
AUDIO_SEQUENCE_HEADER = b"\xaf\x00\x12\x10"

AUDIO_CHUNK_STREAM = 4
VIDEO_CHUNK_STREAM = 6
_KEYFRAME_WEIGHT = 10
_CHUNK_HEADER_BYTES = 12


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a stamped message carries: its place in the publisher's sequence and when it was sent."""

    sequence: int
    sent_ns: int


def read_stamp(type_id: int, payload: Buffer) -> Stamp | None:
    """The stamp of a media message made here, or None if it is anything else."""
    offset = _VIDEO_PREFIX_BYTES if type_id == MessageType.VIDEO else len(_AUDIO_PREFIX)
    if len(payload) < offset + _STAMP.size:
        return None
    magic, sequence, sent_ns = _STAMP.unpack_from(payload, offset)
    return Stamp(sequence, sent_ns) if magic == _MAGIC else None


def encode_chunks(
    type_id: int, timestamp: int, payload: bytes, *, chunk_stream: int, stream_id: int, chunk_size: int
) -> bytes:
    """One message as a type 0 chunk and type 3 chunks (RTMP 1.0, 5.3.1); timestamp below 2^24 - 1."""
    head = (
        bytes([chunk_stream]) + timestamp.to_bytes(3, "big") + len(payload).to_bytes(3, "big")
        + bytes([type_id]) + stream_id.to_bytes(4, "little")
    )
    pieces = [payload[at : at + chunk_size] for at in range(0, len(payload), chunk_size)]
    return head + bytes([0xC0 | chunk_stream]).join(pieces)


class Template:
    """One message of the group of pictures, encoded to chunks, ready to be stamped and sent."""

    __slots__ = ("_audio", "_stamp_at", "chunks", "offset_ns")

    def __init__(self, offset_ns: int, type_id: int, payload: bytes, chunk_size: int) -> None:
        self.offset_ns = offset_ns
        self._audio = type_id == MessageType.AUDIO
        prefix = len(_AUDIO_PREFIX) if self._audio else _VIDEO_PREFIX_BYTES
        self._stamp_at = _CHUNK_HEADER_BYTES + prefix
        self.chunks = bytearray(encode_chunks(
            type_id, 0, payload, chunk_size=chunk_size, stream_id=1,
            chunk_stream=AUDIO_CHUNK_STREAM if self._audio else VIDEO_CHUNK_STREAM,
        ))

    def stamped(self, timestamp_ms: int, sequence: int) -> bytearray:
        """The bytes to send now. They are shared: send or copy them before the next call."""
        chunks = self.chunks
        chunks[1:4] = _TIMESTAMP.pack(timestamp_ms)[1:]
        _STAMP.pack_into(chunks, self._stamp_at, _MAGIC, sequence, time.monotonic_ns())
        return chunks


@dataclass(frozen=True)
class StreamShape:
    """What one synthetic stream looks like; the defaults are a common 720p30 live stream."""

    bits_per_second: int = 2_500_000
    frames_per_second: int = 30
    gop_s: int = 2
    audio_bits_per_second: int = 128_000
    audio_rate_hz: int = 44_100
    chunk_size: int = 4096

    @property
    def period_ns(self) -> int:
        return self.gop_s * 1_000_000_000

    @cached_property
    def templates(self) -> list[Template]:
        """The messages of one group of pictures in sending order, each with its own moment."""
        audio = self._audio()
        audio_bytes = sum(len(payload) for _, _, payload in audio)
        video_bytes = self.bits_per_second * self.gop_s // 8 - audio_bytes
        merged = heapq.merge(self._video(video_bytes), audio, key=lambda item: item[0])
        return [Template(offset, type_id, payload, self.chunk_size) for offset, type_id, payload in merged]

    @property
    def messages_per_second(self) -> float:
        return len(self.templates) / self.gop_s

    def _audio(self) -> list[tuple[int, int, bytes]]:
        count = round(self.audio_rate_hz * self.gop_s / 1024)
        size = self.audio_bits_per_second * self.gop_s // 8 // count
        payload = _AUDIO_PREFIX + bytes(size - len(_AUDIO_PREFIX))
        return [(self.period_ns * n // count, MessageType.AUDIO, payload) for n in range(count)]

    def _video(self, total_bytes: int) -> list[tuple[int, int, bytes]]:
        count = self.frames_per_second * self.gop_s
        inter = total_bytes // (count - 1 + _KEYFRAME_WEIGHT)
        sizes = [total_bytes - inter * (count - 1)] + [inter] * (count - 1)
        return [
            (self.period_ns * n // count, MessageType.VIDEO, _video_payload(size, keyframe=n == 0))
            for n, size in enumerate(sizes)
        ]


def _video_payload(size: int, *, keyframe: bool) -> bytes:
    nal_bytes = size - _VIDEO_PREFIX_BYTES + 1
    tag = b"\x17\x01\x00\x00\x00" if keyframe else b"\x27\x01\x00\x00\x00"
    nal_header = b"\x65" if keyframe else b"\x41"
    return tag + nal_bytes.to_bytes(4, "big") + nal_header + bytes(nal_bytes - 1)


def preamble(chunk_size: int) -> bytes:
    """What an encoder sends before its first frame: the two sequence headers, as chunks."""
    return b"".join(
        encode_chunks(type_id, 0, payload, chunk_stream=chunk_stream, stream_id=1, chunk_size=chunk_size)
        for type_id, chunk_stream, payload in (
            (MessageType.VIDEO, VIDEO_CHUNK_STREAM, VIDEO_SEQUENCE_HEADER),
            (MessageType.AUDIO, AUDIO_CHUNK_STREAM, AUDIO_SEQUENCE_HEADER),
        )
    )
