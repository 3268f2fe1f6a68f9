"""An HTTP/2 connection (RFC 9113): many requests at once, each on a stream of its own.

What its peer may ask for, and how much work it may make, is bounded here and in ``h2_frames``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Buffer
from cluster.edge.http.answer import Waiting
from cluster.edge.http.h2_frames import MAX_FIELD_BYTES_PER_S, Frame
from cluster.edge.http.h2_sender import TABLE_BYTES, H2Sender
from cluster.edge.http.h2_stream import H2Stream
from cluster.edge.http.http_socket import ANSWER_S, MAX_REQUESTS_PER_S
from cluster.edge.http.interfaces import ConnectionOwner
from cluster.edge.http.request import BadRequest, Request, request_of
from cluster.edge.peers.door import Arrival
from cluster.net.outbox import StreamSocket

if TYPE_CHECKING:
    from cluster.edge.http.opening import Media
    from cluster.edge.http.player import Player

#: Media without end that one connection is sent at once: each stream may keep half a megabyte waiting.
MAX_PLAYERS = 8
#: Frames of a peer that are worked on before others have their turn, and requests among them: a fifth of a
#: millisecond each.
FRAMES_PER_TURN = 8
REQUESTS_PER_TURN = 2

_ERRORS = {
    CloseReason.BAD_REQUEST: ErrorCodes.PROTOCOL_ERROR,
    CloseReason.TOO_MUCH_WORK: ErrorCodes.ENHANCE_YOUR_CALM,
}  # fmt: skip


class H2Connection(H2Sender):
    """An accepted socket and the streams on it."""

    __slots__ = ("_has_asked", "_progress_at")

    def __init__(self, owner: ConnectionOwner, accepted: StreamSocket, arrival: Arrival) -> None:
        super().__init__(owner, accepted, arrival)
        self._has_asked = False
        self._progress_at = owner.now  # the socket had taken all

    @property
    def now(self) -> float:
        return self._owner.now

    @property
    def protocol(self) -> str:
        return "h2"

    @property
    def players(self) -> list[Player]:
        return [stream.player for stream in self._streams.values() if stream.player is not None]

    # ---- reading -----------------------------------------------------------------------------

    def _receive(self, data: Buffer) -> None:
        self._frames.feed(data)
        self._read_on()

    def _read_more(self) -> None:
        """Those who read this connection's bytes have had their turn, or a second is over."""
        if self.close_reason is None:
            try:
                self._read_on(large=True)
            except Exception:
                self._failed()

    def _read_on(self, *, large: bool = False) -> None:
        """Work on what has come, not so long that others wait. ``large``: on what may take long, too."""
        now = self._owner.now
        if now - self._second_began_at >= 1.0:
            self._second_began_at = now
            self._asked = 0
            self._frames.begin_second()
        pause_s: float | None = None
        asked = self._asked
        try:
            for worked_on in range(FRAMES_PER_TURN):
                if self._frames.is_large and (worked_on or not large):
                    pause_s = 0.0
                    break
                if (frame := self._frames.next()) is None:
                    break
                self._work_on(frame)
                if self._protocol is None:
                    return
                if self._asked > MAX_REQUESTS_PER_S or self._frames.field_bytes > MAX_FIELD_BYTES_PER_S:
                    pause_s = 1.0
                    break
                if self._asked - asked >= REQUESTS_PER_TURN and self._frames.has_more:
                    pause_s = 0.0
                    break
            else:
                pause_s = 0.0
        except H2Error as error:
            self._say_goodbye(getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR))
            self.end(CloseReason.BAD_REQUEST, f"not HTTP/2: {type(error).__name__}")
            return
        except PeerViolation as violation:
            self._say_goodbye(_ERRORS[violation.reason])
            self.end(violation.reason, violation.detail)
            return
        if self._frames.unfinished_bytes and not self.unfinished_bytes:
            self._since = now
        self.unfinished_bytes = self._frames.unfinished_bytes
        self._go_on()
        if pause_s is not None and self.close_reason is None:
            if pause_s:
                self._owner.counters.reads_paced += 1
            self._owner.poller.pause(self._socket.fileno(), pause_s, self._read_more)

    def _work_on(self, frame: Frame) -> None:
        self._asked += frame.asks
        assert self._protocol is not None
        for event in self._protocol.receive_data(frame.data):
            self._happened(event)
            if self._protocol is None:
                return

    def _happened(self, event: Event) -> None:
        assert self._protocol is not None
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, StreamReset):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                self._forget(stream, CloseReason.PEER_CLOSED)
        elif isinstance(event, WindowUpdated):
            self._unblock()
        elif isinstance(event, RemoteSettingsChanged):
            self._protocol.encoder.header_table_size = TABLE_BYTES
            self._unblock()
        elif isinstance(event, StreamEnded):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.is_half_closed = True
        elif isinstance(event, ConnectionTerminated):
            self.end(CloseReason.PEER_CLOSED, "")  # ``h2`` sends nothing more after it

    def _begin(self, event: RequestReceived) -> None:
        assert self._protocol is not None
        number = event.stream_id
        if self._leaves is not None:
            self._protocol.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._has_asked = True
        self._since = self._owner.now
        is_whole = event.stream_ended is not None
        stream = self._streams[number] = H2Stream(self, number, is_half_closed=is_whole)
        try:
            request = request_of(event.headers, has_body=not is_whole)
        except BadRequest as bad:
            stream.refuse(bad)
        else:
            stream.begin(request)

    # ---- called by streams -------------------------------------------------------------------

    def ask(self, stream: H2Stream, request: Request) -> Waiting | None:
        """Have ``request`` answered."""
        return self._owner.begin(stream, request)

    @property
    def has_room(self) -> bool:
        """One more player may be on it."""
        return sum(each.player is not None for each in self._streams.values()) < MAX_PLAYERS

    def play_opens(self, player: Player, media: Media, since_seq: int) -> None:
        self._owner.play_opens(player, media, since_seq)

    def leave_player(self, player: Player) -> None:
        self._owner.play_ended(player)

    def play_ended(self, reason: CloseReason, detail: str) -> None:
        """What was played on a stream has ended, and the connection has not."""
        self._owner.play_over(self, reason, detail)

    def _go_on(self) -> None:
        """Send what can be sent now, and let players that have more send it."""
        self._pump()
        for stream in list(self._streams.values()):
            if self.pending or self._protocol is None:
                return
            if stream.is_behind and not stream.outgoing and stream.player is not None:
                stream.is_behind = False
                stream.player.catch_up()
        if self._leaves is not None and not self._streams and self.close_reason is None:
            self.end(self._leaves, "")

    def _emptied(self) -> None:
        self._progress_at = self._owner.now
        if self.close_reason is not None:
            self._shutdown_writing()
        else:
            self._go_on()
        self.update_pace()

    # ---- ending ------------------------------------------------------------------------------

    def leave(self, reason: CloseReason) -> None:
        """Take no more requests; the connection ends with the last answer (RFC 9113, section 6.8)."""
        if self._leaves is None and self._protocol is not None:
            self._leaves = reason
            self._say_goodbye(ErrorCodes.NO_ERROR)

    def drain(self) -> None:
        if self.close_reason is None:
            self.leave(CloseReason.DRAINED)
            self._go_on()

    def tick(self, now: float) -> None:
        if self._has_ended(now):
            return
        for stream in list(self._streams.values()):
            if now >= stream.ends_at:
                stream.say_goodbye(CloseReason.ACCESS_ENDED, "the link or token is good no longer")
        is_stuck = bool(self.pending) and now - self._progress_at >= ANSWER_S
        for stream in self._streams.values():
            if is_stuck:
                break
            is_stuck = stream.is_slow and now - stream.since >= ANSWER_S
        if is_stuck:
            self.close(CloseReason.SLOW_PEER, f"it has not taken an answer within {ANSWER_S:g} s")
        elif self._streams:
            return
        elif self._has_asked and not self.unfinished_bytes:
            if now - self._since >= self._owner.idle_timeout_s:
                self._end_politely(CloseReason.IDLE_TIMEOUT, "")
        elif now - self._since >= self._owner.handshake_timeout_s:
            why = f"no whole request within {self._owner.handshake_timeout_s:g} s"
            self._end_politely(CloseReason.HANDSHAKE_TIMEOUT, why)

    def _end_politely(self, reason: CloseReason, why: str) -> None:
        self._say_goodbye(ErrorCodes.NO_ERROR)
        self.end(reason, why)

    def end_with_goodbye(self, reason: CloseReason, why: str) -> None:
        for stream in list(self._streams.values()):
            stream.say_goodbye(reason, why)
        if self._leaves is None:
            self._say_goodbye(ErrorCodes.NO_ERROR)
        self.end(reason, why)

    def take_players(self) -> list[Player]:
        players = []
        for stream in self._streams.values():
            if stream.player is not None:
                players.append(stream.player)
                stream.player = None
        return players

    def _ended(self, reason: CloseReason, detail: str) -> None:
        self._owner.ended(self, reason, detail)
        for stream in list(self._streams.values()):
            self._forget(stream, reason)
        self.unfinished_bytes = 0
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            vars(protocol).clear()  # it refers to itself
