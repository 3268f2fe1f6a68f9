"""RTMP chunks in, whole messages out (RTMP 1.0, sections 5.3 and 5.4).

This is the hot path of ingest: hundreds of publishers share one worker. So a chunk is not an object
here. A message that lies in one chunk is one slice; a message of many chunks is one strided look at
all its continuation headers and one strided deletion of them. Only what really is interleaved, and
chunks with extended timestamps, are walked one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from itertools import repeat

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Buffer, Message, MessageType
from cluster.core.rtmp.chunk_stream import EXTENDED, U32, ChunkStream

DEFAULT_CHUNK_SIZE = 128
#: A message cannot be longer, so a larger chunk size means the same (section 5.4.1).
MAX_CHUNK_SIZE = 0xFFFFFF

_LAST_OBEYED = int(MessageType.ABORT)
#: Basic header 3, message header 11, extended timestamp 4.
_MAX_HEADER_BYTES = 18
#: Message header bytes by format, which is the top two bits of the basic header.
_HEADER_BYTES = (11, 7, 3, 0)
#: Up to this many chunks of a message that is all there are joined, which copies them once; for more,
#: the strided deletion of ``_take`` costs less, though it copies three times.
_FEW_CHUNKS = 8
#: What a message costs, with those who handle it: so many chunks' worth (a chunk that is walked takes 0.7
#: to 1 us, a message 1.3 to 7 us).
MESSAGE_WORK = 4
#: What it costs to leave a message unread: as much as a go may, so that whoever counts looks at it.
CUT_WORK = 1_024
#: Continuation headers looked at in one go. Unbounded, a peer that interleaves tiny chunks would have
#: the rest of the buffer scanned again for each of them.
_MAX_RUN = 256

# Read from one byte before the field on, so that three-byte integers come as part of a four-byte one.
_unpack_u32 = struct.Struct(">I").unpack_from
_unpack_two_u32 = struct.Struct(">II").unpack_from
_unpack_u32_little = struct.Struct("<I").unpack_from
# What Message(...) does, without the keyword handling of its generated constructor.
_new_message = tuple.__new__


@cache
def _steps(count: int | None) -> Iterable[object]:
    """To iterate over as often as wanted: ``count`` times each, or without end."""
    return repeat(None) if count is None else (None,) * count


def _long_id(data: Buffer, pos: int) -> tuple[int, int]:
    """The chunk stream id of a basic header of two or three bytes (section 5.3.1.1), and where that ends.

    Past the end of ``data``: it is cut, and the id means nothing.
    """
    stop = pos + 2 + (data[pos] & 0x3F)
    if stop > len(data):
        return 0, stop
    high = data[pos + 2] << 8 if stop == pos + 3 else 0
    return 64 + data[pos + 1] + high, stop


class ChunkReader:
    """Turns the bytes that follow a handshake into messages; one for each direction of a connection.

    ``chunk_size`` is the peer's present chunk size in bytes, ``partial_bytes`` the payload held of
    messages that are not complete, ``discarded_partials`` counts messages that the peer began and then
    left for another on the same chunk stream. ``work`` is what all reading has cost so far, in chunks:
    one for each that had to be looked at by itself, four for each message. ``unread`` is what the latest
    feed left because its chunks were too many for one go, or because a message may only be allowed by what
    came before it: it is to be fed next, before anything else.
    """

    def __init__(self, limits: Limits) -> None:
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self.partial_bytes = 0
        self.discarded_partials = 0
        self.work = 0
        self.unread = b""
        self._limits = limits
        self._max_message_bytes = limits.max_message_bytes
        self._max_partial_bytes = limits.max_partial_bytes
        self._steps = _steps(limits.max_work_at_once)
        self._streams: dict[int, ChunkStream] = {}
        #: The beginning of a chunk header whose end has not come.
        self._pending = b""
        #: The chunk whose payload the last feed cut: its stream, and its bytes still to come.
        self._current: ChunkStream | None = None
        self._chunk_left = 0
        self._violated: tuple[CloseReason, str] | None = None
        self._is_cut = False

    def feed(self, data: Buffer) -> list[Message]:
        """Read what arrived; return the messages it completes, in order of their last byte.

        ``data`` may be a view of a buffer that is overwritten after the call: nothing of it is kept
        but copies. Payloads are ``bytes``, timestamps absolute, 0 <= timestamp < 2**32. Set Chunk Size
        and Abort have been obeyed when they are returned; aggregates are returned whole.

        Raises PeerViolation on a peer's error, or, if ``data`` completed messages before it, on the
        next call. A reader that has raised raises for ever.
        """
        if self._violated is not None:
            raise PeerViolation(*self._violated)
        messages: list[Message] = []
        if not data:
            return messages
        if self.unread:
            self.unread = b""
        try:
            if self._pending:
                self._resume(data, messages)
            else:
                stop = self._parse(data, 0, messages)
                if stop < len(data):
                    self._leave(bytes(data[stop:]))
        except PeerViolation as violation:
            # Not the exception itself: its traceback would keep the receive buffer.
            self._violated = violation.reason, violation.detail
            if not messages:
                raise
        self.work += MESSAGE_WORK * len(messages)
        return messages

    @property
    def lacking_bytes(self) -> int:
        """At least so many bytes must come before the message that has begun is complete; 0 if none has.

        A message on another chunk stream may be complete before that: it may stand between two chunks.
        """
        if self._chunk_left and self._current is not None and self._current.partial is not None:
            return self._current.length - len(self._current.partial)
        return 1 if self.partial_bytes or self._pending or self.unread else 0

    def expect_small(self) -> None:
        """The peer has no reason to send large messages, until ``expect_media``."""
        self._max_message_bytes = min(self._limits.max_command_bytes, self._limits.max_message_bytes)
        self._max_partial_bytes = min(2 * self._max_message_bytes, self._limits.max_partial_bytes)

    def expect_media(self) -> None:
        """The peer has asked to publish: its messages may be as large as the limits say."""
        self._max_message_bytes = self._limits.max_message_bytes
        self._max_partial_bytes = self._limits.max_partial_bytes

    def check(self) -> None:
        """Raise the violation that stood behind complete messages, if there was one."""
        if self._violated is not None:
            raise PeerViolation(*self._violated)

    def _resume(self, data: Buffer, messages: list[Message]) -> None:
        """Go on with a header that the last feed cut.

        Only it is glued to what completes it, so that payload is not copied twice.
        """
        pending, self._pending = self._pending, b""
        head = pending + bytes(data[:_MAX_HEADER_BYTES])
        stop = self._parse(head, 0, messages)
        if len(data) <= _MAX_HEADER_BYTES:
            self._leave(head[stop:])
            return
        pos = stop - len(pending)
        if not self._is_cut:
            pos = self._parse(data, pos, messages)
        self._leave(bytes(data[pos:]))

    def _leave(self, rest: bytes) -> None:
        """What a feed did not read: the beginning of a header, or more than could be read in one go."""
        if self._is_cut:
            self._is_cut = False
            self.unread = rest
        else:
            self._pending = rest

    def _parse(self, data: Buffer, pos: int, messages: list[Message]) -> int:
        """Read chunks from ``pos`` on, a step for each or for a run of them. Returns where it stopped.

        That is the end of ``data``, an incomplete header, or (``_is_cut``) where the steps were used up.
        """
        end = len(data)
        if self._chunk_left and self._current is not None:
            pos = self._take(self._current, data, pos, messages)
        streams = self._streams
        for _ in self._steps:
            if pos >= end:
                break
            basic = data[pos]
            chunk_stream_id, header = basic & 0x3F, pos + 1
            if chunk_stream_id < 2:
                chunk_stream_id, header = _long_id(data, pos)
            body = header + _HEADER_BYTES[basic >> 6]
            if body > end:
                break
            stream = streams.get(chunk_stream_id)
            if basic >= 0xC0:  # format 3, section 5.3.1.2.4
                if stream is None or stream.partial is None or stream.extended is not None:
                    stream, body = self._repeat(chunk_stream_id, data, body)
                    if body > end:
                        break
            else:
                if stream is None or stream.partial is not None:
                    stream = self._begin(chunk_stream_id, basic >> 6)
                if basic < 0x80:  # formats 0 and 1
                    word, length_and_type = _unpack_two_u32(data, header - 1)
                    stream.length, stream.type_id = length_and_type >> 8, length_and_type & 0xFF
                    if stream.length > self._max_message_bytes and self._cut_at_large(stream, messages):
                        break
                else:
                    word = _unpack_u32(data, header - 1)[0]
                stream.delta = word & 0xFFFFFF
                stream.extended = None
                if stream.delta == EXTENDED and (body := stream.extend(data, body)) > end:
                    break
                if basic < 0x40:
                    stream.timestamp = stream.delta
                    stream.stream_id = _unpack_u32_little(data, header + 7)[0]
                else:
                    stream.timestamp = (stream.timestamp + stream.delta) & U32
            stop = body + stream.length
            if stream.partial is not None:
                pos = self._take(stream, data, body, messages)
            elif stop > end or stream.length > self.chunk_size:
                pos = self._take_first(stream, data, body, messages)
            else:
                payload = bytes(data[body:stop])
                if stream.type_id <= _LAST_OBEYED:
                    self._obey(stream.type_id, payload)
                fields = (stream.type_id, stream.timestamp, payload, stream.stream_id)
                messages.append(_new_message(Message, fields))
                pos = stop
        else:
            self._is_cut = pos < end
        return pos

    def _repeat(self, chunk_stream_id: int, data: Buffer, pos: int) -> tuple[ChunkStream, int]:
        """A format 3 header that begins a message, or behind which an extended timestamp may stand.

        Returns its chunk stream, and where the chunk goes on: past the end if more bytes must tell.
        """
        stream = self._streams.get(chunk_stream_id)
        if stream is None:
            raise PeerViolation(CloseReason.BAD_CHUNK, f"format 3 begins chunk stream {chunk_stream_id}")
        pos = stream.after_repeated(data, pos)
        if stream.partial is None and pos <= len(data):
            stream.timestamp = (stream.timestamp + stream.delta) & U32
        return stream, pos

    def _begin(self, chunk_stream_id: int, fmt: int) -> ChunkStream:
        """A new message on a chunk stream that is new, or whose last message was not complete."""
        stream = self._streams.get(chunk_stream_id)
        if stream is None:
            return self._open(chunk_stream_id, fmt)
        self._drop(stream)
        self.discarded_partials += 1
        return stream

    def _take_first(self, stream: ChunkStream, data: Buffer, pos: int, messages: list[Message]) -> int:
        """Take a message of several chunks, or the beginning of a message. Returns where it stopped."""
        size = self.chunk_size
        others = (stream.length - 1) // size
        stop = pos + stream.length + others
        if stop <= len(data) and others < _FEW_CHUNKS and stream.extended is None:
            headers = bytes(data[pos + size : stop : size + 1])
            if not headers.strip(stream.continuation):
                chunks = []  # not by a comprehension: for so few, its call costs more than it saves
                last = pos + others * (size + 1)
                while pos < last:
                    chunks.append(data[pos : pos + size])
                    pos += size + 1
                chunks.append(data[last:stop])
                self._complete(stream, b"".join(chunks), messages)
                return stop
        stream.partial = bytearray()
        return self._take(stream, data, pos, messages)

    def _take(self, stream: ChunkStream, data: Buffer, pos: int, messages: list[Message]) -> int:
        """Take what is left of a chunk of ``stream`` from ``pos`` on. Returns where it stopped.

        Takes the chunks that follow too, as long as they continue the same message with a one-byte
        header: their number does not change the number of Python operations.
        """
        assert stream.partial is not None
        self.work += 1
        held = len(stream.partial)
        left = self._chunk_left or stream.length - held
        if left > self.chunk_size:
            left = self.chunk_size
        end = len(data)
        stop = pos + left
        if stop > end:
            stream.partial += data[pos:]
            self._chunk_left = stop - end
            self._current = stream
            self._hold(end - pos)
            return end
        self._chunk_left = 0
        rest = stream.length - held - left
        if (
            not rest or stop == end or stream.extended is not None
            or not stream.continuation or data[stop] != stream.continuation[0]
        ):  # fmt: skip
            stream.partial += data[pos:stop]
        else:
            stride = self.chunk_size + 1
            first_header = stop
            headers_and_rest = rest + -(-rest // self.chunk_size)
            stop = min(first_header + headers_and_rest, first_header + _MAX_RUN * stride, end)
            headers = bytes(data[first_header:stop:stride])
            others = len(headers.lstrip(stream.continuation))
            if others:
                stop = first_header + (len(headers) - others) * stride
            run = bytearray(data[pos:stop])
            del run[left::stride]
            if held:
                stream.partial += run
            else:
                stream.partial = run
            rest = stream.length - held - len(run)
            into_chunk = (stop - first_header) % stride
            if rest and into_chunk:
                self._chunk_left = min(stride - into_chunk, rest)
                self._current = stream
        if rest:
            self._hold(len(stream.partial) - held)
        else:
            payload = bytes(stream.partial)
            stream.partial = None
            self.partial_bytes -= held
            self._complete(stream, payload, messages)
        return stop

    def _complete(self, stream: ChunkStream, payload: bytes, messages: list[Message]) -> None:
        type_id = stream.type_id
        if type_id <= _LAST_OBEYED:
            self._obey(type_id, payload)
        messages.append(_new_message(Message, (type_id, stream.timestamp, payload, stream.stream_id)))

    def _obey(self, type_id: int, payload: bytes) -> None:
        """Set Chunk Size and Abort, from whatever chunk stream they came (sections 5.4.1 and 5.4.2)."""
        if type_id not in (MessageType.SET_CHUNK_SIZE, MessageType.ABORT):
            return
        if len(payload) < 4:
            raise PeerViolation(
                CloseReason.BAD_CONTROL, f"control message {type_id} of {len(payload)} bytes, not 4"
            )
        value = int.from_bytes(payload[:4], "big")
        if type_id == MessageType.ABORT:
            aborted = self._streams.get(value)
            if aborted is not None and aborted.partial is not None:
                self._drop(aborted)
        elif 1 <= value <= 0x7FFFFFFF:
            self.chunk_size = min(value, MAX_CHUNK_SIZE)
        else:
            raise PeerViolation(CloseReason.BAD_CHUNK_SIZE, f"chunk size {value:#x}")

    def _open(self, chunk_stream_id: int, fmt: int) -> ChunkStream:
        # librtmp begins chunk stream 2 with format 1: it counts from timestamp 0 on message stream 0.
        if fmt == 2:
            raise PeerViolation(CloseReason.BAD_CHUNK, f"format 2 begins chunk stream {chunk_stream_id}")
        if len(self._streams) >= self._limits.max_chunk_streams:
            raise PeerViolation(
                CloseReason.TOO_MANY_CHUNK_STREAMS,
                f"chunk stream {chunk_stream_id} is one more than {self._limits.max_chunk_streams}",
            )
        stream = self._streams[chunk_stream_id] = ChunkStream(chunk_stream_id)
        return stream

    def _cut_at_large(self, stream: ChunkStream, messages: list[Message]) -> bool:
        """A message is larger than the peer may send now; True if it is left unread.

        What came before it in the same bytes may allow it: some encoders send their first frames behind
        publish without waiting. At the beginning of a feed nothing can, and PeerViolation is raised.
        """
        if messages and stream.length <= self._limits.max_message_bytes:
            self._is_cut = True
            self.work += CUT_WORK
            return True
        raise PeerViolation(
            CloseReason.MESSAGE_TOO_LARGE, f"message of {stream.length} bytes announced"
        )

    def _hold(self, added_bytes: int) -> None:
        self.partial_bytes += added_bytes
        if self.partial_bytes > self._max_partial_bytes:
            raise PeerViolation(
                CloseReason.PARTIAL_MESSAGES_TOO_LARGE,
                f"{self.partial_bytes} bytes of messages that do not end",
            )

    def _drop(self, stream: ChunkStream) -> None:
        assert stream.partial is not None
        self.partial_bytes -= len(stream.partial)
        stream.partial = None
