"""What connections of every version of HTTP have in common: a socket that is read, and whose it is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.core.bus.questions import SessionRow
from cluster.core.errors import CloseReason, lost_by
from cluster.core.message import Buffer
from cluster.edge.http import session_row
from cluster.edge.http.interfaces import ConnectionOwner
from cluster.edge.peers import log_facts
from cluster.edge.peers.door import Arrival
from cluster.net.outbox import Outbox, StreamSocket
from cluster.net.poller import READABLE, WRITABLE, Pace

if TYPE_CHECKING:
    from cluster.edge.http.player import Player

logger = logging.getLogger(__name__)

#: Who has not taken an answer after so long cannot play what is in it. Meanwhile its bytes are kept.
ANSWER_S = 60.0
#: More in a second are read in the next. A player of low-latency HLS sends ten.
MAX_REQUESTS_PER_S = 100


class HttpSocket(Outbox):
    """An accepted socket on which HTTP is spoken.

    ``use``: what it does, or has asked to do last: role and stream key, as far as they are known.
    ``ended_as``: as what it was served at its end (``session_row.kind_of``), "" before.
    ``unfinished_bytes``: kept of requests that are not there in whole, or whose turn has not come.
    """

    __slots__ = (
        "_asked", "_second_began_at", "_since", "agent", "arrival", "bytes_received", "ended_as",
        "has_played", "unfinished_bytes", "use",
    )  # fmt: skip

    _owner: ConnectionOwner

    def __init__(self, owner: ConnectionOwner, accepted: StreamSocket, arrival: Arrival) -> None:
        super().__init__(owner, accepted)
        self.arrival = arrival
        self.bytes_received = 0
        self.has_played = False  # it has been sent media
        self.use = ("", "")
        self.ended_as = ""
        self.agent = ""
        self.unfinished_bytes = 0
        self._since = arrival.began_at  # it came, was answered, or has been sent an answer since
        self._second_began_at = arrival.began_at
        self._asked = 0  # requests in this second
        owner.poller.register(accepted.fileno(), self.on_ready, Pace.STRANGER)

    def on_ready(self, mask: int) -> None:
        """The poller's call: the socket is readable, takes bytes again, or has failed."""
        if mask != READABLE:
            if mask & WRITABLE:
                try:
                    self._on_writable()
                except Exception:
                    self._failed()
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
            self._failed()

    def _failed(self) -> None:
        """A bug: it ends this connection alone. Called where the exception is handled."""
        logger.exception("request failed", extra={"event": "session_failed", **self.facts()})
        self.close(CloseReason.INTERNAL_ERROR, "see the exception above")

    def update_pace(self) -> None:
        """How soon its socket is read: viewers like other players, the others after them."""
        if self._socket.fileno() >= 0:
            is_viewer = self.arrival.place.plays and self.close_reason is None
            pace = Pace.BUDGETED if is_viewer else Pace.STRANGER
            self._owner.poller.set_pace(self._socket.fileno(), Pace.PROMPT if self.pending else pace)

    def lost(self, error: OSError) -> None:
        """Its socket has failed. Who is not in the midst of a stream may leave as it likes."""
        reason = lost_by(error)
        if reason is CloseReason.PEER_RESET and not self.players:
            reason = CloseReason.PEER_CLOSED
        self.close(reason, error.strerror or str(error))

    def _forgotten(self) -> None:
        self._owner.forget(self)

    def who(self) -> dict[str, object]:
        """For log lines: its id, its worker, its peer, and what that calls itself."""
        arrival = self.arrival
        who = log_facts.who(self._owner.identity, arrival.number, arrival.peer, self.agent)
        return {"protocol": self.protocol, **who}

    def facts(self) -> dict[str, object]:
        """The same, and what it does or has asked to do."""
        return {**log_facts.use(*self.use), **self.who()}

    @property
    def kind(self) -> str:
        """See ``peers.roster.Listed``."""
        return session_row.kind_of(self)

    def row(self) -> SessionRow:
        """See ``peers.roster.Listed``."""
        return session_row.row_of(self, self._owner.now, is_fed=self._owner.is_fed(self.use[1]))

    def kick(self, why: str) -> None:
        """End it, because an operator wants that; whoever can be told is."""
        self.end_with_goodbye(CloseReason.KICKED, why)

    # ---- what the versions build on it -------------------------------------------------------

    @property
    def protocol(self) -> str:
        """What is spoken, for log lines."""
        raise NotImplementedError

    @property
    def players(self) -> list[Player]:
        """What is played on it without end."""
        raise NotImplementedError


    def _receive(self, data: Buffer) -> None:
        """These bytes have come."""
        raise NotImplementedError

    def take_players(self) -> list[Player]:
        """The connection has ended: returns what is played on it, and forgets that."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Every second or few: who is too slow, or has not asked for anything for too long."""
        raise NotImplementedError

    def drain(self) -> None:
        """The server is about to end: who waits for nothing may go, the others after their answer."""
        raise NotImplementedError

    def end_with_goodbye(self, reason: CloseReason, why: str) -> None:
        """End it, and tell whoever can be told."""
        raise NotImplementedError
