"""HTTP/2 as ``h2`` speaks it, within our bounds, and what is sent with it.

What waits to be sent waits on its stream, and is framed when the peer's windows and the socket take it: of
all streams in turn, and never so much at once that others have to wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection as Protocol
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer
from cluster.edge.http.h2_frames import MAX_FRAME_BYTES, FrameReader
from cluster.edge.http.h2_stream import H2Stream
from cluster.edge.http.http_socket import HttpSocket
from cluster.edge.http.interfaces import ConnectionOwner
from cluster.edge.http.request import MAX_HEADER_BYTES
from cluster.edge.peers.door import Arrival
from cluster.net.outbox import StreamSocket

#: Requests of one connection that wait for their answers, or are being sent them. RFC 9113, section 6.5.2,
#: advises no fewer.
MAX_STREAMS = 100
#: What is framed before others have their turn takes a millisecond.
_BATCH_BYTES: Final = 256 * 1024
#: What both ends remember of fields that were sent, to name them shortly (RFC 7541, section 4.2). What a
#: peer allows has no bound, and what we say repeats itself.
TABLE_BYTES: Final = 4096


class _Protocol(Protocol):
    #: How many streams that are over it remembers, and how each has ended.
    MAX_CLOSED_STREAMS = 4 * MAX_STREAMS


def _new_protocol() -> _Protocol:
    config = H2Configuration(
        client_side=False, header_encoding=None, validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )  # fmt: skip
    protocol = _Protocol(config)
    protocol.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
        },
    )
    protocol.decoder.max_header_list_size = MAX_HEADER_BYTES
    protocol.initiate_connection()
    return protocol


class H2Sender(HttpSocket):
    """The sending half of an HTTP/2 connection.

    ``_streams``: those that are not over, by number. ``_sending``: those whose bytes wait for their turn;
    ``_blocked``: those whose bytes wait for a window. ``_leaves``: why it takes no more requests, if so.
    """

    __slots__ = ("_blocked", "_frames", "_leaves", "_protocol", "_sending", "_streams")

    def __init__(self, owner: ConnectionOwner, accepted: StreamSocket, arrival: Arrival) -> None:
        super().__init__(owner, accepted, arrival)
        self._frames = FrameReader()
        self._protocol: _Protocol | None = _new_protocol()
        self._streams: dict[int, H2Stream] = {}
        self._sending: dict[H2Stream, None] = {}
        self._blocked: dict[H2Stream, None] = {}
        self._leaves: CloseReason | None = None

    # ---- called by streams -------------------------------------------------------------------

    def answer(self, stream: H2Stream, status: int, fields: Sequence[tuple[str, str]]) -> None:
        """Send a head, and what is ``outgoing`` behind it."""
        if self._protocol is None or stream.close_reason is not None:
            return
        self._owner.count(status)
        self._owner.counters.bytes_sent += sum(map(len, stream.outgoing))
        ends = stream.ends and not stream.outgoing
        head = self._owner.replies.h2_head(status, fields)
        self._protocol.send_headers(stream.number, head, end_stream=ends)
        if ends:
            self._sent_all(stream)
            self._pump()
        else:
            self.push(stream)

    def push(self, stream: H2Stream) -> None:
        """Something waits on ``stream``, or its end: send what can be sent now."""
        if self._protocol is None or stream.close_reason is not None:
            return
        if stream.outgoing:
            self._sending[stream] = None
        elif stream.ends:
            self._protocol.end_stream(stream.number)
            self._sent_all(stream)
        self._pump()

    def push_later(self, stream: H2Stream) -> None:
        """The same, in a turn of its own."""
        if stream.outgoing:
            self._sending[stream] = None
        self._want_turn()

    def send_media(self, stream: H2Stream, data: Buffer) -> int:
        """Send of ``data`` what the windows and the socket take; how many bytes. OSError if that fails."""
        sent, rest = 0, memoryview(data)
        while sent < len(data) and not self.pending:
            size = self._frame(stream, rest[sent : sent + MAX_FRAME_BYTES])
            if not size:
                break
            sent += size
            self._send_now(self._framed())
        return sent

    def reset(self, stream: H2Stream, reason: CloseReason) -> None:
        """End ``stream`` before its time."""
        if self._protocol is not None and stream.close_reason is None:
            self._protocol.reset_stream(stream.number, ErrorCodes.CANCEL)
            self._forget(stream, reason)
            self._pump()

    # ---- writing -----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return bool(self.pending)

    def _pump(self) -> None:
        """Frame and send what the windows and the socket take, a frame of each stream in turn."""
        if self._protocol is None:
            return
        framed = 0
        while self._sending and not self.pending and framed < _BATCH_BYTES:
            stream = next(iter(self._sending))
            del self._sending[stream]
            size = self._frame_next(stream)
            framed += size
            if not size:
                self._blocked[stream] = None
            elif stream.outgoing:
                self._sending[stream] = None
        self._flush()
        if self._has_more:
            self._want_turn()

    @property
    def _has_more(self) -> bool:
        """A turn is needed, for which nobody else would ask."""
        if self._sending or (self._leaves is not None and not self._streams):
            return True
        return any(stream.is_behind and not stream.outgoing for stream in self._streams.values())

    def _frame_next(self, stream: H2Stream) -> int:
        """Frame what comes next on ``stream``; how many bytes, 0 if its window is closed."""
        outgoing = stream.outgoing
        data = outgoing.popleft()
        if len(data) < MAX_FRAME_BYTES and outgoing:
            parts, size = [data], len(data)
            while outgoing and size + len(outgoing[0]) <= MAX_FRAME_BYTES:
                parts.append(outgoing.popleft())
                size += len(parts[-1])
            data = b"".join(parts)
        size = self._frame(stream, memoryview(data)[:MAX_FRAME_BYTES], may_end=len(data) <= MAX_FRAME_BYTES)
        if size < len(data):
            outgoing.appendleft(memoryview(data)[size:])
        return size

    def _frame(self, stream: H2Stream, data: memoryview, *, may_end: bool = False) -> int:
        """Frame as much of ``data`` as the windows let through; its stream ends with it if it is to."""
        protocol = self._protocol
        if protocol is None or stream.close_reason is not None:
            return 0
        size = min(len(data), max(0, protocol.local_flow_control_window(stream.number)))
        if not size:
            return 0
        ends = may_end and size == len(data) and stream.ends and not stream.outgoing
        protocol.send_data(stream.number, data[:size], end_stream=ends)
        self._frames.sent(size)
        if ends:
            self._sent_all(stream)
        return size

    def _sent_all(self, stream: H2Stream) -> None:
        """Its answer is whole. Of a request with a body no more is wanted (RFC 9113, section 8.1)."""
        assert self._protocol is not None
        if not stream.is_half_closed:
            self._protocol.reset_stream(stream.number, ErrorCodes.NO_ERROR)
        self._forget(stream, CloseReason.ANSWERED)

    def _forget(self, stream: H2Stream, reason: CloseReason) -> None:
        self._streams.pop(stream.number, None)
        self._sending.pop(stream, None)
        self._blocked.pop(stream, None)
        self._since = self._owner.now
        stream.gone(reason)

    def _unblock(self) -> None:
        self._sending.update(self._blocked)
        self._blocked.clear()

    def _framed(self) -> bytes:
        """What is framed and not sent."""
        assert self._protocol is not None
        return self._protocol.data_to_send()

    def _flush(self) -> None:
        if self._protocol is not None and (data := self._framed()):
            self.write_media([data])

    def _send_now(self, data: bytes) -> None:
        """Send past what ends the connection if it fails: whoever fans out is not ready for that."""
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.wait_to_write([memoryview(data)[sent:]])

    def _want_turn(self) -> None:
        if self._socket.fileno() >= 0 and not self.pending:
            self._owner.poller.want_write(self._socket.fileno(), True)

    def _fell_behind(self) -> None:
        """Players find it out when they send; one of them may be doing so now."""
        for stream in self._streams.values():
            if stream.player is not None:
                stream.is_behind = True

    def _say_goodbye(self, code: ErrorCodes | int) -> None:
        """``h2`` would send nothing more after it."""
        if self._protocol is None:
            return
        self._flush()
        last = self._protocol.highest_inbound_stream_id
        self.write_media([GoAwayFrame(0, last_stream_id=last, error_code=int(code)).serialize()])
