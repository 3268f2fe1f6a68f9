"""One stream of an HTTP/2 connection: a request, what it is answered, and what is played for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer
from cluster.edge.http.answer import Answer, Waiting
from cluster.edge.http.replies import PREFLIGHT, endless_fields, fields_of, refusal
from cluster.edge.http.request import BadRequest, Request

if TYPE_CHECKING:
    from cluster.edge.http.h2_connection import H2Connection
    from cluster.edge.http.opening import Media
    from cluster.edge.http.player import Player
    from cluster.edge.peers.door import Arrival


class H2Stream:
    """See ``interfaces.Exchange``.

    ``outgoing`` waits for the peer's window, and for the socket; ``ends``: the stream ends behind it.
    ``is_behind``: its player has more for it, as soon as that has gone. ``since``: when it was answered.
    ``ends_at``: when the right to play ends.
    """

    __slots__ = (
        "_connection", "_request", "_waiting", "close_reason", "ends", "ends_at", "has_played",
        "is_answered", "is_behind", "is_half_closed", "number", "outgoing", "player", "since", "user",
    )  # fmt: skip

    def __init__(self, connection: H2Connection, number: int, *, is_half_closed: bool) -> None:
        self.number = number
        self.close_reason: CloseReason | None = None
        self.player: Player | None = None
        self.user = ""
        self.has_played = False
        self.outgoing: deque[Buffer] = deque()
        self.ends = False
        self.ends_at = math.inf
        self.is_answered = False
        self.is_behind = False
        self.is_half_closed = is_half_closed  # the request is there in whole
        self.since = connection.now
        self._connection = connection
        self._request: Request | None = None
        self._waiting: Waiting | None = None

    # ---- its connection ----------------------------------------------------------------------

    @property
    def arrival(self) -> Arrival:
        return self._connection.arrival

    @property
    def agent(self) -> str:
        return self._connection.agent

    @agent.setter
    def agent(self, agent: str) -> None:
        self._connection.agent = agent

    @property
    def use(self) -> tuple[str, str]:
        return self._connection.use

    @use.setter
    def use(self, use: tuple[str, str]) -> None:
        self._connection.use = use

    def who(self) -> dict[str, object]:
        return self._connection.who()

    @property
    def is_secure(self) -> bool:
        return self._connection.is_secure

    def lasts_until(self, ends_at: float) -> None:
        self.ends_at = min(ends_at, self.ends_at)

    def update_pace(self) -> None:
        self._connection.update_pace()

    def lost(self, error: OSError) -> None:
        self._connection.lost(error)

    # ---- answering ---------------------------------------------------------------------------

    def begin(self, request: Request) -> None:
        """Have ``request`` answered, now or later."""
        self._request = request
        waiting = self._connection.ask(self, request)
        if self.close_reason is None:
            self._waiting = waiting

    def refuse(self, bad: BadRequest) -> None:
        """What came is no request that could be answered."""
        self._answer(refusal(bad.status, bad.text), wants_body=True)

    def answer(self, request: Request, answer: Answer) -> None:
        self._answer(answer, wants_body=request.wants_body)

    def _answer(self, answer: Answer, *, wants_body: bool) -> None:
        self._waiting = None
        if self.close_reason is not None or self.is_answered:
            return
        if answer.closes:
            self._connection.leave(CloseReason.ANSWERED)
        if wants_body:
            self.outgoing.extend(each for each in answer.body if len(each))
        self._say(answer.status, fields_of(answer), ends=True)

    def answered(self) -> None:
        """Other streams do not wait for this one."""

    def preflight(self, request: Request) -> None:
        self._say(204, PREFLIGHT, ends=True)

    def answer_head(self, request: Request, content_type: str) -> None:
        self._say(200, endless_fields(content_type), ends=True)

    def begin_endless(self, content_type: str) -> list[Buffer]:
        """The head goes by itself."""
        self._say(200, endless_fields(content_type), ends=False)
        return []

    def _say(self, status: int, fields: Sequence[tuple[str, str]], *, ends: bool) -> None:
        self.is_answered = True
        self.ends = ends
        self.since = self._connection.now
        self._connection.answer(self, status, fields)

    def speak_websocket(self, request: Request) -> NoReturn:
        raise BadRequest(400, "WebSocket is not spoken over HTTP/2 here")

    def waits_no_more(self) -> None:
        self._waiting = None

    def waits_for(self, waiting: Waiting) -> None:
        self._waiting = waiting

    # ---- as its player sees it ---------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return bool(self.outgoing) or self._connection.is_full

    def send(self, data: Buffer, /) -> int:
        """As much of ``data`` as the window and the socket take now; BlockingIOError if that is nothing."""
        sent = 0 if self.is_full else self._connection.send_media(self, data)
        if not sent:
            raise BlockingIOError
        return sent

    def write_media(self, buffers: Sequence[Buffer]) -> bool:
        self.outgoing.extend(each for each in buffers if len(each))
        self._connection.push(self)
        self.is_behind = self.is_full
        return not self.is_behind

    def wait_to_write(self, rest: Sequence[Buffer]) -> None:
        self.outgoing.extend(each for each in rest if len(each))
        self.is_behind = True
        self._connection.push_later(self)

    @property
    def has_room(self) -> bool:
        return self._connection.has_room

    def play_opens(self, media: Media, since_seq: int) -> None:
        if self.player is not None:
            self._connection.play_opens(self.player, media, since_seq)

    def refuse_play(self, status: int, text: str) -> None:
        player = self._leave_player()
        if player is not None and self.close_reason is None:
            self.answer(player.request, refusal(status, text))

    def end_play(self, reason: CloseReason, detail: str) -> None:
        """What is sent already still goes out, unless the peer was too slow to take it."""
        player = self._leave_player()
        if player is None or self.close_reason is not None:
            return
        self._connection.play_ended(reason, detail)
        if reason is CloseReason.SLOW_PLAYER:
            self._connection.reset(self, reason)
        else:
            self.ends = True
            self.since = self._connection.now
            self._connection.push(self)

    def _leave_player(self) -> Player | None:
        player, self.player = self.player, None
        if player is not None:
            self.is_behind = False
            self._connection.leave_player(player)
        return player

    # ---- ending ------------------------------------------------------------------------------

    @property
    def is_slow(self) -> bool:
        """An answer that has an end waits for the peer."""
        return self.ends and bool(self.outgoing)

    def say_goodbye(self, reason: CloseReason, why: str) -> None:
        """The connection is about to end."""
        if self.player is not None and self.player.is_open:
            self.end_play(reason, why)
        elif self.player is not None:
            self.refuse_play(503, why)
        elif self._waiting is not None and self._request is not None:
            self._waiting.cancel()
            self.answer(self._request, refusal(503, why))

    def gone(self, reason: CloseReason) -> None:
        """The stream is over: nobody waits for anything, and nothing more is sent."""
        self.close_reason = reason
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._leave_player()
        self.outgoing.clear()
