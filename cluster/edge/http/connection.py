"""One HTTP connection of a worker: requests in, answers out, until one of them is for media without end.

Requests are answered one after the other, in the order in which they came, also those that were sent ahead
of an answer. While one waits for its answer, nothing behind it is looked at.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from cluster.core.bus.questions import SessionRow
from cluster.core.errors import CloseReason, lost_by
from cluster.core.message import Buffer
from cluster.edge.http import session_row
from cluster.edge.http.answer import Answer, Waiting
from cluster.edge.http.interfaces import ConnectionOwner
from cluster.edge.http.replies import refusal
from cluster.edge.http.request import Request, RequestReader
from cluster.edge.http.websocket import WebSocket
from cluster.edge.peers import log_facts
from cluster.edge.peers.door import Arrival
from cluster.net.outbox import Outbox, StreamSocket
from cluster.net.poller import READABLE, WRITABLE, Pace

if TYPE_CHECKING:
    from cluster.edge.http.opening import Media
    from cluster.edge.http.player import Player

logger = logging.getLogger(__name__)

#: Requests that are there and not answered. No browser sends any ahead; tools for measuring send a few.
MAX_PIPELINED = 16
#: Who has not taken an answer after so long cannot play what is in it. Meanwhile its bytes are kept.
ANSWER_S = 60.0
#: More in a second are read in the next. A player of low-latency HLS sends ten.
MAX_REQUESTS_PER_S = 100
#: What viewers may send in a second, which nobody needs: pings of a WebSocket, requests behind the last.
#: That many bytes of the smallest frames take 6 ms to read.
MAX_UNASKED_BYTES_PER_S = 4 * 1024


class HttpConnection(Outbox):
    """An accepted socket and the requests on it. ``player``: what it plays until its end."""

    __slots__ = (
        "_asked", "_ends_at", "_ends_when_sent", "_reader", "_request", "_requests",
        "_second_began_at", "_since", "_unasked_bytes", "_waiting", "agent", "arrival", "bytes_received",
        "has_played", "player", "unfinished_bytes", "use", "websocket",
    )  # fmt: skip

    _owner: ConnectionOwner

    def __init__(self, owner: ConnectionOwner, accepted: StreamSocket, arrival: Arrival) -> None:
        super().__init__(owner, accepted)
        self.arrival = arrival
        self.player: Player | None = None
        self.websocket: WebSocket | None = None
        self.bytes_received = 0
        self.has_played = False  # it has been sent media
        #: What it does, or has asked to do last: role and stream key, as far as they are known.
        self.use = ("", "")
        self.agent = ""
        self._reader: RequestReader | None = None
        self._requests: list[Request] = []
        self._request: Request | None = None  # the last that was begun
        #: What it waits for.
        self._waiting: Waiting | None = None
        self._ends_when_sent: CloseReason | None = None
        self._ends_at = math.inf
        self._since = arrival.began_at  # it came, was answered, or has been sent an answer since
        self._second_began_at = arrival.began_at
        self._asked = 0  # requests, and bytes that nobody needs, in this second
        self._unasked_bytes = 0
        #: Kept of requests that are not there in whole, or whose turn has not come.
        self.unfinished_bytes = 0
        owner.poller.register(accepted.fileno(), self.on_ready, Pace.STRANGER)

    # ---- reading -----------------------------------------------------------------------------

    def on_ready(self, mask: int) -> None:
        """The poller's call: the socket is readable, takes bytes again, or has failed."""
        if mask != READABLE:
            if mask & WRITABLE:
                self._on_writable()
            if not mask & ~WRITABLE or self._socket.fileno() < 0:
                return
            if self._owner.poller.is_paused(self._socket.fileno()):
                return  # it only wanted to write
        received = self._owner.receive_buffer
        try:
            count = self._socket.recv_into(received)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(error)
            return
        if count == 0:
            self.close(CloseReason.PEER_CLOSED, "")
            return
        self.bytes_received += count
        self._owner.counters.bytes_received += count
        if self.close_reason is not None:
            return  # lingering: read and forget, so that it can read our last word
        try:
            self._receive(received[:count])
        except Exception:
            logger.exception("request failed", extra={"event": "session_failed", **self.facts()})
            self.close(CloseReason.INTERNAL_ERROR, "see the exception above")

    def _receive(self, data: Buffer) -> None:
        now = self._owner.now
        if now - self._second_began_at >= 1.0:
            self._second_began_at = now
            self._asked = self._unasked_bytes = 0
        if self.websocket is not None or self.player is not None or self._ends_when_sent is not None:
            self._unasked_bytes += len(data)
            if self._unasked_bytes > MAX_UNASKED_BYTES_PER_S:
                self.end(CloseReason.TOO_MUCH_WORK, "it sends without end, and was asked for nothing")
            elif self.websocket is not None:
                self.websocket.receive(data)
            return
        if self._reader is None:
            self._reader = RequestReader()
        elif not self._reader.unfinished_bytes:
            self._since = now
        requests = self._reader.feed(data)
        self._requests += requests
        self._asked += len(requests)
        if len(self._requests) > MAX_PIPELINED:
            self.end(CloseReason.BAD_REQUEST, f"more than {MAX_PIPELINED} requests wait for their answers")
            return
        self._go_on()
        if self._asked > MAX_REQUESTS_PER_S and self.close_reason is None:
            self._owner.counters.reads_paced += 1
            self._owner.poller.pause(self._socket.fileno(), 1.0, _read_on)

    def speak_websocket(self, request: Request) -> None:
        """``request`` is for a WebSocket, which this is from here on; BadRequest if it cannot be."""
        websocket = WebSocket(self, request)
        self.websocket = websocket
        self._owner.count(101)
        websocket.accept(b"" if self._reader is None else self._reader.rest)

    # ---- answering ---------------------------------------------------------------------------

    @property
    def _is_free(self) -> bool:
        """It can be sent the next answer."""
        return (
            self._waiting is None and not self.pending and self.player is None and self.websocket is None
            and self._ends_when_sent is None and self.close_reason is None
        )  # fmt: skip

    def _go_on(self) -> None:
        """Answer what can be answered now."""
        while self._requests and self._is_free:
            request = self._requests.pop(0)
            self._since = self._owner.now
            self._request = request
            self._waiting = self._owner.begin(self, request)
        reader = self._reader
        if reader is not None:
            if reader.fault is not None and self._is_free:
                self.answer(None, refusal(reader.fault.status, reader.fault.text))
            waiting = sum(each.size for each in self._requests)
            self.unfinished_bytes = reader.unfinished_bytes + waiting

    def answer(self, request: Request | None, answer: Answer) -> None:
        """Answer the request that is being answered, or what is none, with which the connection ends."""
        self._waiting = self._request = None
        if self.close_reason is not None:
            return
        stays = request is not None and request.stays and not (self._owner.draining or answer.closes)
        wants_body = request is None or request.wants_body
        written = self._owner.replies.whole(answer, wants_body=wants_body, stays=stays)
        self.count_and_say(answer.status, written)
        if not stays:
            self.ends_when_sent(CloseReason.ANSWERED if request else CloseReason.BAD_REQUEST)

    def answered(self) -> None:
        """To be called when an answer was given later: what came behind its request is looked at now."""
        if self.close_reason is None:
            self._go_on()

    def preflight(self, request: Request) -> None:
        """Answer a request for what may be asked."""
        stays = request.stays and not self._owner.draining
        self.count_and_say(204, [self._owner.replies.preflight(stays=stays)])
        if not stays:
            self.ends_when_sent(CloseReason.ANSWERED)

    def count_and_say(self, status: int, buffers: list[Buffer]) -> None:
        """An answer that is written already."""
        self._owner.count(status)
        self.say(buffers)

    def waits_no_more(self) -> None:
        """What the request waited for is there."""
        self._waiting = None

    def waits_for(self, waiting: Waiting) -> None:
        """The request waits for something else now."""
        self._waiting = waiting

    def lasts_until(self, ends_at: float) -> None:
        """The right to play ends then, on the clock of turns."""
        self._ends_at = min(ends_at, self._ends_at)

    def play_opens(self, media: Media) -> None:
        """The stream of this connection's player has ``media``: its first bytes may go out."""
        if self.player is not None:
            self._owner.play_opens(self.player, media)

    def refuse_play(self, status: int, text: str) -> None:
        """What it asked to play cannot be played, and nothing of it has been sent."""
        player = self.player
        if player is not None and self.close_reason is None:
            self.player = None
            self._owner.play_ended(player)
            self.answer(player.request, refusal(status, text))
            self._go_on()

    def say(self, buffers: list[Buffer]) -> None:
        """Send bytes that are not of a stream."""
        self._since = self._owner.now
        self._owner.counters.bytes_sent += sum(map(len, buffers))
        self.write_media(buffers)

    def ends_when_sent(self, reason: CloseReason) -> None:
        """The answer that is being sent is the last."""
        if self.close_reason is not None:
            return
        self._ends_when_sent = reason
        self._requests.clear()
        if not self.pending:
            self.end(reason, "")

    # ---- writing -----------------------------------------------------------------------------

    def _fell_behind(self) -> None:
        if self.player is not None:
            self.player.fell_behind()

    def _emptied(self) -> None:
        self._since = self._owner.now
        if self.close_reason is not None:
            self._shutdown_writing()
        elif self.player is not None and not self.player.catch_up():
            return
        elif self._ends_when_sent is not None:
            self.end(self._ends_when_sent, "")
        else:
            self._go_on()
        self.update_pace()

    def update_pace(self) -> None:
        """How soon its socket is read: viewers like other players, the others after them."""
        if self._socket.fileno() >= 0:
            is_viewer = self.arrival.place.plays and self.close_reason is None
            pace = Pace.BUDGETED if is_viewer else Pace.STRANGER
            self._owner.poller.set_pace(self._socket.fileno(), Pace.PROMPT if self.pending else pace)

    # ---- ending ------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """The peer has been answered all that it asked for."""
        return self._is_free and not self.unfinished_bytes

    def tick(self, now: float) -> None:
        """Every second or few: who is too slow, or has not asked for anything for too long."""
        if self._has_ended(now):
            return
        if now >= self._ends_at:
            self.end_with_goodbye(CloseReason.ACCESS_ENDED, "the link or token is good no longer")
            return
        if self.player is not None or self._waiting is not None:
            return
        if self.pending:
            if now - self._since >= ANSWER_S:
                self.close(CloseReason.SLOW_PEER, f"it has not taken an answer within {ANSWER_S:g} s")
        elif self.is_idle and self._reader is not None:
            if now - self._since >= self._owner.idle_timeout_s:
                self.close(CloseReason.IDLE_TIMEOUT, "")
        elif now - self._since >= self._owner.handshake_timeout_s:
            why = f"no whole request within {self._owner.handshake_timeout_s:g} s"
            self.close(CloseReason.HANDSHAKE_TIMEOUT, why)

    def end_with_goodbye(self, reason: CloseReason, why: str) -> None:
        """End it, and tell whoever can be told."""
        if self.websocket is not None and self.close_reason is None:
            self.websocket.say_goodbye(reason, why)
        elif self.player is not None and not self.player.is_open:
            self.refuse_play(503, why)
        elif self._waiting is not None:
            self._waiting.cancel()
            self.answer(self._request, refusal(503, why))
        self.end(reason, why)

    def lost(self, error: OSError) -> None:
        """Its socket has failed. Who is not in the midst of a stream may leave as it likes."""
        reason = lost_by(error)
        if reason is CloseReason.PEER_RESET and self.player is None:
            reason = CloseReason.PEER_CLOSED
        self.close(reason, error.strerror or str(error))

    def _ended(self, reason: CloseReason, detail: str) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._requests.clear()
        self.unfinished_bytes = 0
        self._owner.ended(self, reason, detail)
        self.websocket = None

    def _forgotten(self) -> None:
        self._owner.forget(self)

    @property
    def kind(self) -> str:
        return session_row.kind_of(self)

    def row(self) -> SessionRow:
        """See ``peers.roster.Listed``."""
        return session_row.row_of(self, self._owner.now)

    def kick(self, why: str) -> None:
        """End it, because an operator wants that; whoever can be told is."""
        self.end_with_goodbye(CloseReason.KICKED, why)

    def who(self) -> dict[str, object]:
        """For log lines: its id, its worker, its peer, and what that calls itself."""
        arrival = self.arrival
        protocol = "http" if self.websocket is None else "ws"
        who = log_facts.who(self._owner.identity, arrival.number, arrival.peer, self.agent)
        return {"protocol": protocol, **who}

    def facts(self) -> dict[str, object]:
        """The same, and what it does or has asked to do."""
        return {**log_facts.use(*self.use), **self.who()}


def _read_on() -> None:
    """The poller sees to it: what was not read stands in the kernel."""
