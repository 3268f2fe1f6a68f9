"""Messages into an FLV file that is valid whenever it ends; after kill -9 without its duration."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Self

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import EnvironmentFault, MisuseError
from cluster.core.media.classify import MediaFlags, data_handler_name, flags_of, strip_set_data_frame
from cluster.core.media.file_clock import FileClock, Placed
from cluster.core.media.flv import TAG_TYPES, encode_header, encode_tag
from cluster.core.media.metadata import encode_metadata, read_metadata
from cluster.core.message import Message, MessageType

#: In front of what the publisher says of itself, and patched at the end.
_PATCHED = ("duration", "lasttimestamp", "filesize")
#: True of the publisher's file alone.
_DROPPED = (*_PATCHED, "keyframes", "hasKeyframes", "canSeekToEnd", "lastkeyframetimestamp", "datasize")

#: For the Flash player of a connection, not part of the stream.
_SAMPLE_ACCESS = "|RtmpSampleAccess"

_FLAGS_OFFSET = 4
_METADATA_OFFSET = len(encode_header(True, True)) + 11
_DOUBLE = struct.Struct(">d")


class FlvSink:
    """Writes an FLV file: ``with FlvSink(path) as sink: sink.write(message)``.

    Times start at 0 with the earliest audio or video and are unwrapped; headers before it stand at 0, and
    so does onMetaData wherever it comes. The file begins with one, the publisher's if it was the first to
    come. Each tag is written whole; at the end ``duration``, ``lasttimestamp``, ``filesize`` and the
    header's flags are set, where the file can seek. EnvironmentFault if it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.tags = 0
        self.bytes_written = 0
        #: The highest time of a tag.
        self.duration_ms = 0
        self._path = Path(path)
        self._clock = FileClock()
        self._seen = 0
        try:
            self._file: BinaryIO = self._path.open("wb", buffering=0)
        except OSError as error:
            raise EnvironmentFault(f"cannot write {self._path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, message: Message) -> None:
        """Append audio, video or data; other message types are not part of a file and are left out."""
        type_id, _, payload, _ = message
        if self._file.closed:
            raise MisuseError(f"{self._path} is closed")
        if type_id not in TAG_TYPES:
            return
        if type_id == MessageType.DATA_AMF0:
            payload = strip_set_data_frame(payload)
            if data_handler_name(payload) == _SAMPLE_ACCESS:
                return
        metadata = _metadata_of(type_id, payload)
        if not self.tags:
            self._begin(metadata or {})
            if metadata is not None:
                return
        if metadata is not None:
            payload = encode_metadata(metadata)
        self._seen |= flags_of(type_id, payload)
        self._append_placed(self._clock.feed(message._replace(payload=payload)))

    def close(self) -> None:
        """Set what only the end tells, and close; once is enough."""
        if self._file.closed:
            return
        try:
            with self._file:
                if not self.tags:
                    self._begin({})
                self._append_placed(self._clock.flush())
                self._patch()
        except OSError as error:
            raise self._fault(error) from None

    def _begin(self, metadata: dict[str, AmfValue]) -> None:
        self._write(encode_header(audio=True, video=True))
        members = {**dict.fromkeys(_PATCHED, 0.0), **metadata}
        self._append(MessageType.DATA_AMF0, 0, encode_metadata(members))

    def _append_placed(self, placed: list[Placed]) -> None:
        for (type_id, placed_ms, payload, _), _progress_ms in placed:
            self.duration_ms = max(self.duration_ms, placed_ms)
            self._append(type_id, placed_ms, payload)

    def _append(self, type_id: int, timestamp_ms: int, payload: bytes | memoryview) -> None:
        self._write(b"".join(encode_tag(type_id, timestamp_ms, payload)))
        self.tags += 1

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise self._fault(error) from None
        self.bytes_written += len(data)

    def _patch(self) -> None:
        if not self._file.seekable():
            return
        audio, video = bool(self._seen & MediaFlags.AUDIO), bool(self._seen & MediaFlags.VIDEO)
        self._patch_at(_FLAGS_OFFSET, encode_header(audio, video)[_FLAGS_OFFSET : _FLAGS_OFFSET + 1])
        seconds = self.duration_ms / 1000
        values = {"duration": seconds, "lasttimestamp": seconds, "filesize": float(self.bytes_written)}
        # Each as key and number (marker 0), behind the handler's name and the array's count.
        offset = _METADATA_OFFSET + len(amf0.encode("onMetaData")) + 5
        for name in _PATCHED:
            offset += 2 + len(name) + 1
            self._patch_at(offset, _DOUBLE.pack(values[name]))
            offset += _DOUBLE.size

    def _patch_at(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        self._file.write(data)

    def _fault(self, error: OSError) -> EnvironmentFault:
        return EnvironmentFault(f"cannot write {self._path}: {error.strerror}")


def _metadata_of(type_id: int, payload: bytes | memoryview) -> dict[str, AmfValue] | None:
    """The onMetaData that this is, without what is true of its own file alone; None if it is none, or
    cannot be read or written again."""
    metadata = read_metadata(type_id, payload)
    if metadata is None:
        return None
    left = {key: value for key, value in metadata.items() if key not in _DROPPED}
    try:
        encode_metadata(left)
    except MisuseError:  # it holds itself: the bytes are kept as they came
        return None
    return left
