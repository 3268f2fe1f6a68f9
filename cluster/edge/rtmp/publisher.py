"""A publisher: one publish on a message stream of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.core.errors import CloseReason
from cluster.core.rtmp.status import Code
from cluster.edge.peers import log_facts
from cluster.edge.peers.join_rates import sender_of
from cluster.edge.streams.interfaces import EndOfPublish, Refusal

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection
    from cluster.edge.streams.publishing import Feed

_CLOSE_REASONS = {
    EndOfPublish.REPLACED: CloseReason.PUBLISHER_REPLACED,
    EndOfPublish.MEMORY: CloseReason.WORKER_MEMORY,
    EndOfPublish.BITRATE: CloseReason.PUBLISHER_BITRATE,
    EndOfPublish.OPERATOR: CloseReason.KICKED,
}


class RtmpPublisher:
    """See ``streams.interfaces.Publisher``."""

    __slots__ = ("connection", "most_bytes_per_s", "stream_id")

    def __init__(
        self, connection: Connection, stream_id: int, most_bytes_per_s: int | None = None
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.most_bytes_per_s = most_bytes_per_s

    @property
    def name(self) -> str:
        return self.connection.peer

    @property
    def facts(self) -> dict[str, object]:
        connection = self.connection
        secure, ended = connection.is_secure, connection.close_reason
        return {**connection.who(), **log_facts.session("rtmp", secure, connection.user, ended)}

    @property
    def sender(self) -> str:
        return sender_of(self.connection.peer)

    @property
    def unfinished_bytes(self) -> int:
        """This publisher's part of them: the message streams of a connection share one reader."""
        return self.connection.session.unfinished_bytes // max(1, len(self.connection.publications))

    @property
    def unread_s(self) -> float:
        return self.connection.unread_s

    @property
    def round_trip_s(self) -> float:
        return self.connection.round_trip_s

    def granted(self) -> bool:
        """False if the peer closed its stream, or left, while the registry was asked."""
        connection = self.connection
        return connection.close_reason is None and connection.session.accept_publish(self.stream_id)

    def begin(self, feed: Feed) -> None:
        self.connection.publications[self.stream_id] = feed
        self.connection.is_stranger = False
        self.connection.use = ("publisher", feed.key)
        self.connection.update_pace()
        self.connection.receive(b"")  # what it has sent already, while the registry was asked

    def refused(self, why: Refusal, detail: str) -> None:
        connection = self.connection
        if connection.close_reason is None:
            code = Code.PUBLISH_DENIED if why is Refusal.DRAINING else Code.PUBLISH_BAD_NAME
            connection.session.reject_publish(self.stream_id, code, detail)
            connection.end(CloseReason.PUBLISH_REFUSED, detail)

    def ended(self, why: EndOfPublish, detail: str) -> None:
        code = Code.PUBLISH_DENIED if why is EndOfPublish.BITRATE else Code.PUBLISH_BAD_NAME
        self.connection.session.end_publish(self.stream_id, code, detail)
        self.connection.end(_CLOSE_REASONS[why], detail)

    def heard(self) -> None:
        self.connection.update_pace()

    def wait_for(self, quiet_bytes: int) -> None:
        self.connection.wait_for(quiet_bytes)


def end_idle_publishes(connection: Connection, now: float, idle_s: float) -> int:
    """End what ``connection`` has brought no media for, audio and data counting too; how many those are.

    The connection ends with its last publish, unless it plays something.
    """
    idle = [
        (stream_id, feed.key)
        for stream_id, feed in connection.publications.items()
        if now - feed.stream.last_media_at >= idle_s
    ]
    for stream_id, key in idle:
        why = f"no media of {key} for {idle_s:g} s"
        connection.session.end_publish(stream_id, Code.PUBLISH_IDLE, why)
        connection.write_control()
        connection.end_publish(stream_id)
        if not connection.is_busy:
            connection.end(CloseReason.PUBLISH_IDLE, why)
    return len(idle)
