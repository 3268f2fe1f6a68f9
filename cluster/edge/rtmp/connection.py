"""One RTMP connection of a worker: moves bytes between its socket and its session.

The session decides everything about RTMP; the connection decides only when bytes are read and written
and that the connection ends once, with one named reason. What a full socket does not take waits in its
``Outbox``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.core.amf.values import AmfValue
from cluster.core.bus.questions import SessionRow
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Buffer, Message
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.status import Code, Level
from cluster.edge.peers import log_facts
from cluster.edge.rtmp import departure, session_row
from cluster.edge.rtmp.interfaces import ConnectionOwner
from cluster.edge.rtmp.low_water import LowWater
from cluster.edge.rtmp.work_budget import WORK_PER_LOOK, WorkBudget
from cluster.net import tcp_info
from cluster.net.outbox import Outbox, StreamSocket
from cluster.net.poller import READABLE, WRITABLE, Pace
from cluster.process.complaints import Complaints

if TYPE_CHECKING:
    from cluster.edge.rtmp.judged import Introduction
    from cluster.edge.rtmp.player import Player
    from cluster.edge.streams.publishing import Feed

logger = logging.getLogger(__name__)
_paced = Complaints(logger, "reads_paced")

#: Control bytes (acknowledgements, pongs, replies) that may wait for a peer that does not read them.
#: A peer that asks without end and never reads the answers is closed, not buffered.
MAX_PENDING_CONTROL_BYTES = 256 * 1024

#: The kernel's clock is no finer: what has just come may be told as one tick old.
_TICK_S = 0.004

#: Read at once from a peer that neither publishes nor plays: a handshake, and some twenty commands.
STRANGER_READ_BYTES = 16 * 1024


class Connection(Outbox):
    """An accepted socket and its session; ``players`` and ``publications`` by message stream id.

    ``number`` counts the worker's connections.
    """

    __slots__ = (
        "_budget", "_look_at_work", "_low_water", "_pending_control_bytes",
        "_receive_buffer", "_recv_into", "dropped", "ends_at", "introduction", "is_stranger", "number",
        "opened_at",
        "peer", "played", "players", "publications", "session", "use", "user",
    )  # fmt: skip

    _owner: ConnectionOwner

    def __init__(
        self,
        owner: ConnectionOwner,
        accepted: StreamSocket,
        peer: str,
        session: ServerSession,
        number: int = 0,
    ) -> None:
        super().__init__(owner, accepted)
        self._recv_into = accepted.recv_into
        self.session = session
        self._receive_buffer = owner.stranger_buffer
        self.peer = peer
        self.number = number
        self.opened_at = owner.now
        self._pending_control_bytes = 0
        self.players: dict[int, Player] = {}
        self.publications: dict[int, Feed] = {}
        #: Once a play has ended: the keys that were played, and until when they go on live.
        self.played: dict[str, float] | None = None
        self.is_stranger = True  # it has never published, nor been sent what it plays
        #: What it does, or has asked to do last: role and stream key, as far as they are known.
        self.use = ("", "")
        #: Whose rights it has, as far as anybody has said so.
        self.user = ""
        #: What it has said of itself, if anybody decides who may do what.
        self.introduction: Introduction | None = None
        #: When its right to be here ends, on the clock of turns; None if it does not.
        self.ends_at: float | None = None
        self.dropped = 0  # messages not sent to its players, and not taken from its publishers, in all
        self._low_water = LowWater(accepted)
        self._budget: WorkBudget | None = None
        self._look_at_work = WORK_PER_LOOK
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
                return  # it only wanted to write: what is unread must come first
        owner = self._owner
        received = self._receive_buffer
        try:
            count = self._recv_into(received)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(error)
            return
        if count == 0:
            self.close(*departure.by_end(self))
            return
        owner.counters.bytes_received += count
        if self.close_reason is None:  # else lingering: read and forget, so that it can read our last word
            self.receive(received[:count])
            if self._low_water.quiet_bytes:
                self._low_water.set(self.session.lacking_bytes)
            if self.session.work >= self._look_at_work:
                self._spend()

    @property
    def unread_s(self) -> float:
        """How long the bytes that have just been read lay there: as long as the latency budget let them."""
        silent_s = tcp_info.silent_s(self._socket)
        return silent_s if silent_s > _TICK_S else 0.0

    @property
    def round_trip_s(self) -> float:
        """To the peer and back, as the kernel sees it; 0 if it does not say."""
        return tcp_info.round_trip_s(self._socket)

    def _spend(self) -> None:
        """Put off reading on if the peer makes too much work, or to let others have their turn."""
        owner, work = self._owner, self.session.work
        self._look_at_work = work + WORK_PER_LOOK
        if self._budget is None:
            self._budget = WorkBudget(owner.now)
        wait_s = self._budget.spend(work, self.session.side_work, owner.now)
        if self.close_reason is not None or not (wait_s or self.session.has_unread):
            return
        if wait_s:
            owner.counters.reads_paced += 1
            _paced.warn("a peer sends too many chunks, messages or commands: it is read slowly", self.facts)
            if self._budget.is_too_much(owner.now):
                self.end(CloseReason.TOO_MUCH_WORK, "commands without end")
                return
        owner.poller.pause(self._socket.fileno(), wait_s, self._read_on)

    def _read_on(self) -> None:
        """What a pause left unread comes first; the poller sees to the rest."""
        if self.close_reason is None and self.session.has_unread:
            self.receive(self.session.unread)
            self._spend()

    def receive(self, data: Buffer) -> None:
        """Hand ``data`` to the session and act on what it makes of it.

        ``b""`` brings out what a decision of ours released.
        """
        owner = self._owner
        media_messages = 0
        try:
            for event in self.session.receive(data, owner.now):
                if type(event) is Message:
                    media_messages += 1
                    feed = self.publications.get(event.stream_id)
                    if feed is not None:
                        feed.append(event)
                else:
                    owner.handle(self, event)
        except PeerViolation as violation:
            self.end(violation.reason, violation.detail)
        except Exception:
            logger.exception("session failed", extra={"event": "session_failed", **self.facts()})
            self.close(CloseReason.INTERNAL_ERROR, "see the exception above")
        else:
            if self.session.unsent:
                self.write_control()
        owner.counters.messages_received += media_messages

    def settle(self, request: object) -> bool:
        """It may do what it has asked for, and is not half-open any more. False if there is no room."""
        return self._owner.settle(self, request)

    def update_pace(self) -> None:
        """How soon its socket is read follows from what it is used for: to be called when that changes.

        Media may wait for the latency budget, and the media of a publisher that nobody listens to
        longer than that. Not while bytes are pending: only a prompt socket is asked whether it takes more.
        Who has neither published nor played anything comes after those who do.
        """
        if self._socket.fileno() < 0:
            return
        if self.pending:
            pace = Pace.PROMPT
        elif self.close_reason is not None or not self.is_busy:
            pace = Pace.STRANGER
        elif self.players or any(feed.is_heard for feed in self.publications.values()):
            pace = Pace.BUDGETED
        else:
            pace = Pace.LEISURELY
        owner = self._owner
        self._receive_buffer = owner.receive_buffer if self.is_busy else owner.stranger_buffer
        owner.poller.set_pace(self._socket.fileno(), pace)
        self._be_leisurely(pace is Pace.LEISURELY)

    def _be_leisurely(self, leisurely: bool) -> None:
        low_water = self._low_water
        if leisurely is not low_water.is_leisurely:
            self._owner.counters.publishers_unheard += 1 if leisurely else -1
            low_water.is_leisurely = leisurely
        self.wait_for(low_water.quiet_bytes)

    def wait_for(self, quiet_bytes: int) -> None:
        """See ``streams.interfaces.Publisher``. Nothing waits if the connection does more than publish."""
        if self._socket.fileno() >= 0:
            does_more = len(self.publications) != 1 or self.players
            self._low_water.quiet_bytes = 0 if does_more else quiet_bytes
            self._low_water.set(self.session.lacking_bytes)

    # ---- writing -----------------------------------------------------------------------------

    def write_control(self) -> None:
        """Send what the session has to say; what the socket does not take waits, within a bound."""
        data = self.session.outgoing()
        if not data or self.close_reason is not None:
            return
        self._owner.counters.bytes_sent += len(data)
        if not self.pending:
            data = data[self._try_send(data) :]
            if not data:
                return
        self._pending_control_bytes += len(data)
        if self._pending_control_bytes > MAX_PENDING_CONTROL_BYTES:
            waiting = f"does not read: {self._pending_control_bytes} bytes of replies wait"
            self.close(CloseReason.SLOW_PEER, waiting)
            return
        self.wait_to_write([data])

    def _fell_behind(self) -> None:
        for player in self.players.values():
            player.reader.fell_behind()

    def _emptied(self) -> None:
        self._pending_control_bytes = 0
        if self.close_reason is not None:
            self._shutdown_writing()
        # Readers: what one is sent may end the connection, and no player has its reader then.
        for reader in [player.reader for player in self.players.values()]:
            if not reader.catch_up():
                return
        self.update_pace()  # it was prompt to be asked whether it takes more

    def call(self, name: str, *args: AmfValue) -> None:
        """Send the peer a command that expects no answer."""
        self.session.send_command(name, *args)
        self.write_control()

    # ---- ending ------------------------------------------------------------------------------

    def end_play(self, stream_id: int) -> None:
        """Nothing is played on ``stream_id`` any more."""
        player = self.players.pop(stream_id, None)
        if player is not None:
            player.leave()

    def end_publish(self, stream_id: int) -> None:
        """Nothing is published on ``stream_id`` any more."""
        feed = self.publications.pop(stream_id, None)
        if feed is not None:
            self.dropped += feed.dropped
            feed.end()
            self.update_pace()

    def end(self, reason: CloseReason, detail: str) -> None:
        """Say what the session still has to say, then close once the peer has read it or 2 s on."""
        if self.close_reason is not None:
            return
        self.write_control()
        super().end(reason, detail)

    def lost(self, error: OSError) -> None:
        """Its socket has failed."""
        self.close(*departure.by_error(self, error))

    def _ended(self, reason: CloseReason, detail: str) -> None:
        self._owner.ended(self, reason, detail)

    def _forgotten(self) -> None:
        self._owner.forget(self)

    def who(self) -> dict[str, object]:
        """For log lines: its id, its worker, its peer, and what that calls itself."""
        return log_facts.who(self._owner.identity, self.number, self.peer, self.session.flash_ver)

    def facts(self) -> dict[str, object]:
        """The same, and what it does or has asked to do."""
        return {**log_facts.use(*self.use), **self.who()}

    @property
    def kind(self) -> str:
        return session_row.KIND

    def row(self) -> SessionRow:
        """See ``peers.roster.Listed``."""
        return session_row.row_of(self, self._owner.now)

    def kick(self, why: str) -> None:
        """End it, because an operator wants that; the peer is told so."""
        if self.close_reason is None:
            for stream_id in self.publications:
                self.session.end_publish(stream_id, Code.PUBLISH_REJECTED, why)
            self.session.send_status(0, Level.ERROR, Code.CONNECT_CLOSED, why)
            self.end(CloseReason.KICKED, why)

    @property
    def is_busy(self) -> bool:
        """Whether the connection publishes or plays."""
        return bool(self.players or self.publications)

    def tick(self, now: float) -> None:
        """Every second or few: the session's timeouts and pings, and the end of lingering."""
        if self._has_ended(now):
            return
        if self.ends_at is not None and now >= self.ends_at:
            self.end(CloseReason.ACCESS_ENDED, "the link or token that let it in is good no longer")
            return
        try:
            self.session.tick(now)
        except PeerViolation as violation:
            self.end(violation.reason, violation.detail)
            return
        self.write_control()
