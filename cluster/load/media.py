"""What the publishers send: messages encoded to chunks once, sent by every publisher with its own stamp.

A ``Script`` is one pass of a stream: a synthetic group of pictures, or a file. Sending a message of it
writes its timestamp, and into synthetic ones a sequence number and the clock, into the encoded bytes.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cluster.core.amf import amf0
from cluster.core.errors import EnvironmentFault
from cluster.core.media.classify import NOT_FRAME, MediaFlags, flags_of
from cluster.core.media.file_clock import FileClock
from cluster.core.media.flv import FlvError, FlvFault, FlvReader
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.message_stream import media_chunk_stream
from cluster.load import synthetic

#: A file is kept encoded in memory, once in each process.
MAX_FILE_BYTES = 256 * 1024 * 1024
#: How long the last message of a file lasts, as nothing follows it.
_LAST_MS = 40

_AUDIO_BITS_PER_SECOND = 128_000
_AUDIO_SHARE = 0.3  # of low bit rates
#: What one frame of the group outweighs.
_KEYFRAME_WEIGHT = 10
_CHUNK_HEADER_BYTES = 12
#: How metadata is published; a file has it without.
_SET_DATA_FRAME = amf0.encode("@setDataFrame")

_VIDEO, _AUDIO = int(MessageType.VIDEO), int(MessageType.AUDIO)
#: Where the magic of a stamp stands in a payload, by message type.
MAGIC_AT = {_VIDEO: synthetic.VIDEO_MAGIC_AT, _AUDIO: synthetic.AUDIO_MAGIC_AT}


class ShapeError(ValueError):
    """No such stream can be made; the text says why."""


@dataclass(frozen=True, slots=True)
class StreamShape:
    """What one synthetic stream looks like; the defaults are a common live stream."""

    bits_per_second: int = 2_500_000
    frames_per_second: int = 30
    gop_s: float = 2.0

    def __post_init__(self) -> None:
        frames = round(self.frames_per_second * self.gop_s)
        if not 1 <= frames <= synthetic.MAX_GOP_FRAMES:
            raise ShapeError(
                f"{self.frames_per_second} frames a second make {frames} in a group of {self.gop_s:g} s: "
                f"at least 1 and at most {synthetic.MAX_GOP_FRAMES} are possible"
            )
        try:
            self.messages()
        except ValueError:
            raise ShapeError(
                f"{self.bits_per_second} bits a second are too few for {self.frames_per_second} frames: "
                "give a higher --bitrate or a lower --fps"
            ) from None

    @property
    def period_ns(self) -> int:
        """One group of pictures."""
        return round(self.gop_s * 1e9)

    def messages(self) -> list[tuple[int, int, bytes]]:
        """One group of pictures in sending order: offset in nanoseconds, message type, payload."""
        audio = self._audio()
        audio_bytes = sum(len(payload) for _, _, payload in audio)
        video = self._video(round(self.bits_per_second * self.gop_s / 8) - audio_bytes)
        return list(heapq.merge(video, audio, key=lambda item: item[0]))

    def _audio(self) -> list[tuple[int, int, bytes]]:
        count = max(1, round(synthetic.AUDIO_RATE_HZ / synthetic.AUDIO_SAMPLES_PER_FRAME * self.gop_s))
        bits = min(_AUDIO_BITS_PER_SECOND, self.bits_per_second * _AUDIO_SHARE)
        payload = synthetic.audio_payload(round(bits * self.gop_s / 8 / count))
        return [(self.period_ns * n // count, _AUDIO, payload) for n in range(count)]

    def _video(self, total_bytes: int) -> list[tuple[int, int, bytes]]:
        count = round(self.frames_per_second * self.gop_s)
        inter = total_bytes // (count - 1 + _KEYFRAME_WEIGHT)
        sizes = [total_bytes - inter * (count - 1)] + [inter] * (count - 1)
        return [
            (self.period_ns * n // count, _VIDEO, synthetic.video_payload(size, n))
            for n, size in enumerate(sizes)
        ]


class Template(NamedTuple):
    """One message, encoded: when it is sent and what it is stamped, from the beginning of a pass.

    ``magic_at``: where its stamp's magic begins in ``chunks``; 0: it has none.
    """

    offset_ns: int
    timestamp_ms: int
    type_id: int
    chunks: bytearray
    magic_at: int

    def stamped(self, timestamp_ms: int, sequence: int, now_ns: int) -> bytearray:
        """The bytes to send now. They are shared: send or copy them before the next call."""
        chunks, at = self.chunks, self.magic_at
        chunks[1:4] = timestamp_ms.to_bytes(3, "big")
        if at:
            at += len(synthetic.MAGIC)
            chunks[at : at + synthetic.STAMP_BYTES] = synthetic.stamp(sequence, now_ns)
        return chunks


@dataclass(frozen=True, slots=True)
class Script:
    """One pass of a stream, to be repeated every ``period_ns``; ``preamble`` goes out before the first.

    ``ahead_ns``: by message type, how far its frames are stamped ahead of when they are sent. Media may be
    apart. A type without an entry is not ahead.
    """

    preamble: bytes
    templates: list[Template]
    period_ns: int
    ahead_ns: Mapping[int, int] = field(default_factory=dict)


def synthetic_script(shape: StreamShape, *, chunk_size: int, stream_id: int) -> Script:
    """A group of pictures, after the sequence headers that an encoder sends first."""
    headers = ((_VIDEO, synthetic.VIDEO_HEADER), (_AUDIO, synthetic.AUDIO_HEADER))
    preamble = b"".join(encode_chunks(*header, chunk_size, stream_id) for header in headers)
    templates = [
        Template(offset_ns, offset_ns // 1_000_000, type_id,
                 encode_chunks(type_id, payload, chunk_size, stream_id),
                 _CHUNK_HEADER_BYTES + MAGIC_AT[type_id])
        for offset_ns, type_id, payload in shape.messages()
    ]  # fmt: skip
    return Script(preamble, templates, shape.period_ns)


def file_script(path: Path, *, chunk_size: int, stream_id: int) -> Script:
    """An FLV file, its headers with each pass. FlvError, or EnvironmentFault if it cannot be read."""
    clock = FileClock()
    placed = [each for message in _messages_of(path) for each in clock.feed(message)] + clock.flush()
    templates = []
    firsts_ms: dict[int, int] = {}
    ahead_ns: dict[int, int] = {}
    longest_ms = 0
    for (type_id, timestamp_ms, payload, _), progress_ms in placed:
        flags = flags_of(type_id, payload)
        body = (_SET_DATA_FRAME if flags & MediaFlags.METADATA else b"") + bytes(payload)
        chunks = encode_chunks(type_id, body, chunk_size, stream_id)
        templates.append(Template(progress_ms * 1_000_000, timestamp_ms, type_id, chunks, 0))
        if not flags & NOT_FRAME:
            first_ms = firsts_ms.setdefault(type_id, timestamp_ms)
            longest_ms = max(longest_ms, timestamp_ms - first_ms, progress_ms)
            ahead_ns.setdefault(type_id, (timestamp_ms - progress_ms) * 1_000_000)
    return Script(b"", templates, (longest_ms + _LAST_MS) * 1_000_000, ahead_ns)


def _messages_of(path: Path) -> list[Message]:
    """What a file holds, without an end of sequence, up to a tag that is cut off."""
    reader = FlvReader()
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise EnvironmentFault(f"{path} has {size} bytes, at most {MAX_FILE_BYTES} are kept: cut it")
        messages = reader.feed(path.read_bytes())
        reader.feed(b"")  # raises what came behind complete messages
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from None
    messages = [
        message for message in messages
        if not flags_of(message.type_id, message.payload) & MediaFlags.END_OF_SEQUENCE
    ]  # fmt: skip
    if not any(message.type_id in MAGIC_AT for message in messages):
        raise FlvError(FlvFault.TRUNCATED, f"{path} has no audio and no video")
    return messages


def encode_chunks(type_id: int, payload: bytes, chunk_size: int, stream_id: int) -> bytearray:
    """One message as a type 0 chunk and type 3 chunks (RTMP 1.0, 5.3.1), its timestamp left at 0."""
    chunk_stream = media_chunk_stream(type_id)
    head = (
        bytes((chunk_stream, 0, 0, 0)) + len(payload).to_bytes(3, "big") + bytes((type_id,))
        + stream_id.to_bytes(4, "little")
    )  # fmt: skip
    pieces = [payload[at : at + chunk_size] for at in range(0, len(payload), chunk_size)]
    return bytearray(head + bytes((0xC0 | chunk_stream,)).join(pieces))
