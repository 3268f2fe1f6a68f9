"""FLV files and streams: the header and tags, written and read, without I/O (FLV 10.1, annex E).

A tag's body is the RTMP payload of the same type byte for byte, enhanced ones included, so a message and
a tag differ only in their framing.
"""

from __future__ import annotations

import enum
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from cluster.core.errors import ClusterError, MisuseError
from cluster.core.limits import Limits
from cluster.core.message import Buffer, Message, MessageType

#: A tag's size is 24 bits.
MAX_BODY_BYTES: Final = 0xFFFFFF
#: What arrives as one tag goes out as one message.
DEFAULT_MAX_TAG_BYTES: Final = Limits().max_message_bytes

#: The message types that are tags too; a reader skips others.
TAG_TYPES: Final = frozenset(
    int(tag) for tag in (MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA_AMF0, MessageType.DATA_AMF3)
)

_HEADER_BYTES = 9
_TAG_HEADER_BYTES = 11
_SIZE_BYTES = 4
#: The header says where the first tag begins. Nothing is defined between; far away is not FLV.
_MAX_DATA_OFFSET = 1024

_HAS_AUDIO = 0x04
_HAS_VIDEO = 0x01
_FILTERED = 0x20
#: Number and name of the filters there are (annex F.3.1). They stand behind the body's own header of up to
#: five bytes, in a body that is encrypted.
_FILTER_NAMES = (b"\x01Encryption\x00", b"\x01SE\x00")
_FILTER_WITHIN_BYTES = 5 + len(_FILTER_NAMES[0])

_KNOWN_VERSION = 1

_pack_size = struct.Struct(">I").pack
_pack_tag = struct.Struct(">IIBH").pack  # type and size; ts low 24 bits and high 8; stream id 0


class FlvFault(enum.StrEnum):
    """What is wrong with an FLV stream."""

    NOT_FLV = "not_flv"
    BAD_DATA_OFFSET = "bad_data_offset"
    ENCRYPTED_TAG = "encrypted_tag"
    TAG_TOO_LARGE = "tag_too_large"
    TRUNCATED = "truncated"


class FlvOddity(enum.StrEnum):
    """What an FLV stream has wrong in a field that nothing depends on: it is read all the same.

    Not among them, as it says nothing at all: the header's flags, the stream ids, the reserved bits.
    """

    #: FFmpeg, nginx-rtmp and SRS read what says it is of another version; there is only one.
    VERSION = "version"
    #: The header alone has 9 bytes. nginx-rtmp and SRS do not look where it says the first tag is.
    DATA_OFFSET = "data_offset"
    #: Seen: without the tag header's 11 bytes, one short, a running sum, 0. Each tag has its own size in
    #: front; FFmpeg, flv.js and nginx-rtmp go by that.
    PREVIOUS_TAG_SIZE = "previous_tag_size"
    #: Of a tag whose body is not encrypted; FFmpeg does not look at the bit.
    FILTER_BIT = "filter_bit"


class FlvError(ClusterError):
    """These bytes are not FLV that can be read, for the named reason."""

    def __init__(self, fault: FlvFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class FlvHeader(NamedTuple):
    """What the file says it has; writers that could not know guess."""

    audio: bool
    video: bool


def encode_header(audio: bool, video: bool) -> bytes:
    """The file header with the PreviousTagSize0 that follows it: 13 bytes (E.2, E.3)."""
    flags = (_HAS_AUDIO if audio else 0) | (_HAS_VIDEO if video else 0)
    return b"FLV\x01" + bytes((flags,)) + _pack_size(_HEADER_BYTES) + bytes(_SIZE_BYTES)


def encode_tag(type_id: int, timestamp_ms: int, payload: Buffer) -> list[Buffer]:
    """One tag as its header, the payload itself (not copied) and the size behind it (E.4.1).

    Of an unwrapped timestamp the low 32 bits are written.
    """
    return encode_tag_of_parts(type_id, timestamp_ms, (payload,))


def encode_tag_of_parts(type_id: int, timestamp_ms: int, parts: Sequence[Buffer]) -> list[Buffer]:
    """One tag, as of ``encode_tag``, whose payload lies in several ``parts``."""
    size = sum(map(len, parts))
    if type_id not in TAG_TYPES:
        raise MisuseError(f"message type {type_id} is not an FLV tag")
    if size > MAX_BODY_BYTES:
        raise MisuseError(f"{size} bytes do not fit an FLV tag, at most {MAX_BODY_BYTES} do")
    timestamp = (timestamp_ms & 0xFFFFFF) << 8 | timestamp_ms >> 24 & 0xFF
    return [
        _pack_tag(type_id << 24 | size, timestamp, 0, 0),
        *parts,
        _pack_size(_TAG_HEADER_BYTES + size),
    ]


class FlvReader:
    """Bytes of an FLV stream in, messages out.

    Timestamps are the raw 32 bits, as in an RTMP message; stream ids are 0. ``header`` is None until the
    file header has been read. ``oddities`` counts what is wrong and does not matter. Holds at most one
    unfinished tag of up to ``max_tag_bytes`` of body.
    """

    def __init__(self, *, max_tag_bytes: int = DEFAULT_MAX_TAG_BYTES) -> None:
        self.header: FlvHeader | None = None
        self.skipped_tags = 0
        self.oddities: Counter[FlvOddity] = Counter()
        self._max_tag_bytes = max_tag_bytes
        self._buffer = bytearray()
        self._size_expected = 0
        self._error: FlvError | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of what is not yet a whole tag."""
        return len(self._buffer)

    def feed(self, data: Buffer) -> list[Message]:
        """The messages that ``data`` completes. FlvError as soon as the stream cannot be read on.

        Messages before the fault are returned first; the error then comes with the next call and with
        every one after it.
        """
        if self._error is not None:
            raise self._error
        self._buffer += data
        messages: list[Message] = []
        try:
            self._read_all(messages)
        except FlvError as error:
            self._error = error
            self._buffer.clear()
            if not messages:
                raise
        return messages

    def finish(self) -> None:
        """The stream has ended: FlvError if that was not between two tags."""
        if self._error is not None:
            raise self._error
        # Some writers leave the last size out: nothing is lost with it.
        if self.header is None or len(self._buffer) > _SIZE_BYTES:
            detail = f"the stream ends {len(self._buffer)} bytes into its header or a tag"
            raise FlvError(FlvFault.TRUNCATED, detail)

    def _read_all(self, messages: list[Message]) -> None:
        offset = 0
        try:
            if self.header is None:
                offset = self._read_header()
                if not offset:
                    return
            while True:
                next_offset = self._read_tag(offset, messages)
                if next_offset == offset:
                    return
                offset = next_offset
        finally:
            del self._buffer[:offset]

    def _read_header(self) -> int:
        """Where the first PreviousTagSize begins; 0 while the header is not complete."""
        buffer = self._buffer
        if not b"FLV".startswith(buffer[:3]):
            raise FlvError(FlvFault.NOT_FLV, f"begins with {bytes(buffer[:3])!r} instead of b'FLV'")
        if len(buffer) < _HEADER_BYTES:
            return 0
        said = int.from_bytes(buffer[5:_HEADER_BYTES], "big")
        if said > _MAX_DATA_OFFSET:
            raise FlvError(FlvFault.BAD_DATA_OFFSET, f"the first tag is said to be at {said}")
        data_offset = max(said, _HEADER_BYTES)
        if len(buffer) < data_offset:
            return 0
        self._note(FlvOddity.VERSION, buffer[3] != _KNOWN_VERSION)
        self._note(FlvOddity.DATA_OFFSET, said < _HEADER_BYTES)
        self.header = FlvHeader(audio=bool(buffer[4] & _HAS_AUDIO), video=bool(buffer[4] & _HAS_VIDEO))
        return data_offset

    def _read_tag(self, start: int, messages: list[Message]) -> int:
        """Read the previous tag's size and one tag at ``start``; where the next begins, or ``start``."""
        buffer = self._buffer
        tag = start + _SIZE_BYTES
        body = tag + _TAG_HEADER_BYTES
        if len(buffer) < body:
            return start
        size = int.from_bytes(buffer[tag + 1 : tag + 4], "big")
        if size > self._max_tag_bytes:
            raise FlvError(FlvFault.TAG_TOO_LARGE, f"{size} bytes, at most {self._max_tag_bytes} are taken")
        end = body + size
        if len(buffer) < end:
            return start
        if buffer[tag] & _FILTERED:
            beginning = buffer[body : min(end, body + _FILTER_WITHIN_BYTES)]
            if any(name in beginning for name in _FILTER_NAMES):
                raise FlvError(FlvFault.ENCRYPTED_TAG, "the tag's body is encrypted")
            self._note(FlvOddity.FILTER_BIT, True)
        type_id = buffer[tag] & 0x1F
        if type_id in TAG_TYPES:
            timestamp = buffer[tag + 7] << 24 | int.from_bytes(buffer[tag + 4 : tag + 7], "big")
            messages.append(Message(type_id, timestamp, bytes(buffer[body:end])))
        else:
            self.skipped_tags += 1
        size_before = int.from_bytes(buffer[start:tag], "big")
        self._note(FlvOddity.PREVIOUS_TAG_SIZE, size_before != self._size_expected)
        self._size_expected = _TAG_HEADER_BYTES + size
        return end

    def _note(self, oddity: FlvOddity, is_there: bool) -> None:
        if is_there:
            self.oddities[oddity] += 1
