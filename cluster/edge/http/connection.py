"""One HTTP connection of a worker: requests in, answers out, until one of them is for media without end.

Requests are answered one after the other, in the order in which they came, also those that were sent ahead
of an answer. While one waits for its answer, nothing behind it is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer
from cluster.edge.http.answer import Answer, Waiting
from cluster.edge.http.http_socket import ANSWER_S, MAX_REQUESTS_PER_S, HttpSocket
from cluster.edge.http.interfaces import ConnectionOwner
from cluster.edge.http.replies import refusal
from cluster.edge.http.request import Request, RequestReader
from cluster.edge.http.websocket import WebSocket
from cluster.edge.peers.door import Arrival
from cluster.net.outbox import StreamSocket

if TYPE_CHECKING:
    from cluster.edge.http.opening import Media
    from cluster.edge.http.player import Player

#: Requests that are there and not answered. No browser sends any ahead; tools for measuring send a few.
MAX_PIPELINED = 16
#: What viewers may send in a second, which nobody needs: pings of a WebSocket, requests behind the last.
#: That many bytes of the smallest frames take 6 ms to read.
MAX_UNASKED_BYTES_PER_S = 4 * 1024


class HttpConnection(HttpSocket):
    """An accepted socket and the requests on it. ``player``: what it plays until its end."""

    __slots__ = (
        "_ends_at", "_ends_when_sent", "_reader", "_request", "_requests", "_unasked_bytes", "_waiting",
        "player", "user", "websocket",
    )  # fmt: skip

    def __init__(self, owner: ConnectionOwner, accepted: StreamSocket, arrival: Arrival) -> None:
        super().__init__(owner, accepted, arrival)
        self.player: Player | None = None
        self.user = ""
        self.websocket: WebSocket | None = None
        self._reader: RequestReader | None = None
        self._requests: list[Request] = []
        self._request: Request | None = None  # the last that was begun
        #: What it waits for.
        self._waiting: Waiting | None = None
        self._ends_when_sent: CloseReason | None = None
        self._ends_at = math.inf
        self._unasked_bytes = 0  # that nobody needs, in this second

    # ---- reading -----------------------------------------------------------------------------

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

    def answer_head(self, request: Request, content_type: str) -> None:
        """Answer ``request``, which is for no more than the head of what has no end."""
        self.say(self.begin_endless(content_type))
        self.ends_when_sent(CloseReason.ANSWERED)

    def begin_endless(self, content_type: str) -> list[Buffer]:
        """What has no end is the answer: it begins. Returns its head."""
        self._owner.count(200)
        return [self._owner.replies.endless(content_type)]

    def count_and_say(self, status: int, buffers: Sequence[Buffer]) -> None:
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

    def play_opens(self, media: Media, since_seq: int) -> None:
        """The stream of this connection's player has ``media``: its first bytes may go out."""
        if self.player is not None:
            self._owner.play_opens(self.player, media, since_seq)

    def refuse_play(self, status: int, text: str) -> None:
        """What it asked to play cannot be played, and nothing of it has been sent."""
        player = self.player
        if player is not None and self.close_reason is None:
            self.player = None
            self._owner.play_ended(player)
            self.answer(player.request, refusal(status, text))
            self._go_on()

    def end_play(self, reason: CloseReason, detail: str) -> None:
        """What it plays is over, and so is the connection."""
        if self.websocket is not None:
            self.websocket.say_goodbye(reason, detail)
        self.end(reason, detail)

    def say(self, buffers: Sequence[Buffer]) -> None:
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

    @property
    def is_full(self) -> bool:
        """Bytes wait for the socket."""
        return bool(self.pending)

    @property
    def has_room(self) -> bool:
        """It answers one request after the other."""
        return True

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

    # ---- ending ------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """The peer has been answered all that it asked for."""
        return self._is_free and not self.unfinished_bytes

    def tick(self, now: float) -> None:
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

    def drain(self) -> None:
        if self.is_idle:
            self.end(CloseReason.DRAINED, "the server is shutting down")

    def end_with_goodbye(self, reason: CloseReason, why: str) -> None:
        if self.websocket is not None and self.close_reason is None:
            self.websocket.say_goodbye(reason, why)
        elif self.player is not None and not self.player.is_open:
            self.refuse_play(503, why)
        elif self._waiting is not None:
            self._waiting.cancel()
            self.answer(self._request, refusal(503, why))
        self.end(reason, why)

    @property
    def players(self) -> list[Player]:
        return [] if self.player is None else [self.player]

    def take_players(self) -> list[Player]:
        player, self.player = self.player, None
        return [] if player is None else [player]

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

    @property
    def protocol(self) -> str:
        return "http" if self.websocket is None else "ws"


def _read_on() -> None:
    """The poller sees to it: what was not read stands in the kernel."""
