"""An HTTP player: what is played on one connection until its end, as the sink of its reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer
from cluster.edge.http.request import Request
from cluster.edge.http.routes import Kind
from cluster.edge.peers import log_facts
from cluster.edge.streams.interfaces import EndOfRead

if TYPE_CHECKING:
    from cluster.edge.http.interfaces import Exchange, HttpEncoding
    from cluster.edge.http.opening import Media
    from cluster.edge.streams.reader import Reader


_REASONS = {
    EndOfRead.SLOW: CloseReason.SLOW_PLAYER,
    EndOfRead.NOT_FOUND: CloseReason.STREAM_NOT_FOUND,
    EndOfRead.ENDED: CloseReason.STREAM_ENDED,
    EndOfRead.COMPLETE: CloseReason.STREAM_ENDED,
}


class Form(NamedTuple):
    """As what a stream is played. ``over``: "http", or "ws"."""

    kind: Kind
    over: str
    raw: bool

    @property
    def name(self) -> str:
        """In the metrics."""
        return self.kind if self.over == "http" else f"{self.over}_{self.kind}"


class Player:
    """See ``streams.interfaces.Sink``. Nothing is sent before ``open``: it counts as full until then."""

    __slots__ = ("_begins_with", "connection", "encoding", "form", "is_open", "reader", "request", "send")

    reader: Reader

    def __init__(
        self, connection: Exchange, request: Request, form: Form, encoding: HttpEncoding
    ) -> None:
        self.connection = connection
        self.request = request
        self.form = form
        self.encoding = encoding
        self.send = connection.send
        self._begins_with: list[Buffer] = []
        self.is_open = False

    @property
    def name(self) -> str:
        return self.connection.arrival.peer

    @property
    def facts(self) -> dict[str, object]:
        connection = self.connection
        who, secure, ended = connection.who(), connection.is_secure, connection.close_reason
        return {**who, **log_facts.session(str(who["protocol"]), secure, connection.user, ended)}

    def begin(self, reader: Reader) -> None:
        self.reader = reader
        self.connection.player = self
        self.connection.use = ("player", reader.stream.key)

    def opens(self, media: Media, since_seq: int) -> None:
        """See ``opening.Opened``."""
        self.connection.play_opens(media, since_seq)

    def waits_on(self, now: float) -> None:
        """See ``opening.Opened``. It lacks nothing that it could have been sent, so it is not slow."""
        if self.reader.behind_since is not None:
            self.reader.behind_since = now

    def open(self, begins_with: list[Buffer], since_seq: int) -> None:
        """Send ``begins_with``, which says what media the stream has, and then the stream: from the latest
        keyframe, or all that has come since ``since_seq`` if this player was there before."""
        self.is_open = True
        self._begins_with = begins_with
        self.reader.rejoins_at = -math.inf  # it has not been sent anything
        if not self.reader.begin_late(since_seq):
            self.reader.resume()

    # ---- as a sink ---------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return not self.is_open or self.connection.is_full

    def write(self, buffers: Sequence[Buffer]) -> bool:
        if self._begins_with:
            buffers = [*self._begins_with, *buffers]
            self._begins_with = []
        return self.connection.write_media(buffers)

    def keep(self, rest: Sequence[Buffer]) -> None:
        self.connection.wait_to_write(rest)

    def failed(self, error: OSError) -> None:
        self.connection.lost(error)

    def caught_up(self) -> None:
        if self._begins_with:
            self.write([])
        self.connection.has_played = True
        self.connection.update_pace()

    def over(self, why: EndOfRead, detail: str) -> bool:
        reason = _REASONS[why] if self.is_open else CloseReason.STREAM_NOT_FOUND
        if self.is_open or self.form.over == "ws":
            self.connection.end_play(reason, detail)
        else:
            self.connection.refuse_play(404, detail)
        return False

    def returned(self) -> None:
        raise AssertionError("a player that does not stay is not there when the stream returns")

    # ---- what its connection tells -----------------------------------------------------------

    def fell_behind(self) -> None:
        """Bytes wait for its socket."""
        self.reader.fell_behind()

    def catch_up(self) -> bool:
        """Its socket takes bytes again; False if it is full before the reader has caught up."""
        return self.reader.catch_up()

    def leave(self) -> None:
        """It plays no more."""
        reader = self.reader
        del self.reader  # no circle: what is freed by the thousand must not wait for the garbage collector
        reader.leave()
