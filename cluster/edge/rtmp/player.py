"""A player: one play on a message stream of a connection, as the sink of the reader it plays with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer
from cluster.core.rtmp.status import Code, Level
from cluster.edge.peers import log_facts
from cluster.edge.streams.interfaces import EndOfRead

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection
    from cluster.edge.streams.reader import Reader

#: Keys remembered whose play on one connection has ended, the latest: a peer has so many message streams.
MAX_PLAYED = 16


class Player:
    """See ``streams.interfaces.Sink``."""

    __slots__ = ("connection", "reader", "send", "stream_id")

    reader: Reader

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.send = connection.send

    @property
    def name(self) -> str:
        return self.connection.peer

    @property
    def facts(self) -> dict[str, object]:
        connection = self.connection
        secure, ended = connection.is_secure, connection.close_reason
        return {**connection.who(), **log_facts.session("rtmp", secure, connection.user, ended)}

    def begin(self, reader: Reader) -> None:
        self.reader = reader
        self.connection.players[self.stream_id] = self
        self.connection.use = ("player", reader.stream.key)

    @property
    def is_full(self) -> bool:
        return bool(self.connection.pending)

    def write(self, buffers: Sequence[Buffer]) -> bool:
        return self.connection.write_media(buffers)

    def keep(self, rest: Sequence[Buffer]) -> None:
        self.connection.wait_to_write(rest)

    def failed(self, error: OSError) -> None:
        self.connection.lost(error)

    def caught_up(self) -> None:
        self.connection.is_stranger = False  # it has been sent something
        self.connection.update_pace()

    def over(self, why: EndOfRead, detail: str) -> bool:
        connection = self.connection
        if connection.players.get(self.stream_id) is not self:
            return False  # it has stopped by itself meanwhile
        if why is EndOfRead.ENDED and connection.session.suspend_play(self.stream_id):
            connection.write_control()
            return True
        if why is EndOfRead.SLOW:
            self._end(Code.PLAY_INSUFFICIENT_BANDWIDTH, f"closed: {detail}", CloseReason.SLOW_PLAYER)
        elif why is EndOfRead.NOT_FOUND:
            self._end(Code.PLAY_STREAM_NOT_FOUND, detail, CloseReason.STREAM_NOT_FOUND)
        else:
            if why is EndOfRead.COMPLETE:
                connection.session.end_play(self.stream_id)
            self._go_on()
        return False

    def returned(self) -> None:
        self.connection.session.resume_play(self.stream_id)
        self.connection.write_control()

    def leave(self) -> None:
        """It plays no more. Its connection remembers when it was last sent the past of its stream."""
        reader, connection = self.reader, self.connection
        reader.leave()
        del self.reader  # no circle: what is freed by the thousand must not wait for the garbage collector
        connection.dropped += reader.skipped
        if connection.close_reason is not None:
            return
        played = connection.played = connection.played or {}
        before = played.pop(reader.stream.key, reader.rejoins_at)
        played[reader.stream.key] = max(before, reader.rejoins_at)
        if len(played) > MAX_PLAYED:
            del played[next(iter(played))]

    def _go_on(self) -> None:
        """This play is over; the connection may have more to play."""
        connection = self.connection
        connection.end_play(self.stream_id)
        connection.receive(b"")  # the next of its playlist
        connection.update_pace()  # what it asks for next is answered at once

    def _end(self, code: Code, why: str, reason: CloseReason) -> None:
        self.connection.session.send_status(self.stream_id, Level.ERROR, code, why)
        self.connection.end(reason, why)
