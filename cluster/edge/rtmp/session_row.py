"""What is told of an RTMP connection to whoever operates the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.core.bus.questions import SessionRow
from cluster.edge.peers.reading import delay_ms, reading_state

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection

KIND = "rtmp"


def row_of(connection: Connection, now: float) -> SessionRow:
    """As it is now. Of several plays on one connection, the state is that of the slowest."""
    session = connection.session
    role, key = connection.use
    readers = [player.reader for player in connection.players.values()]
    slowest = max(readers, key=delay_ms, default=None)
    if connection.close_reason is not None:
        state = "closing"
    elif connection.publications:
        state = "publishing"
    elif slowest is not None:
        state = reading_state(slowest)
    else:
        state = "asking" if role else "connected"
    dropped = {"slow": sum(reader.skipped for reader in readers)}
    dropped["no_keyframe"] = sum(reader.held_back for reader in readers)
    dropped["no_keyframe"] += sum(feed.dropped for feed in connection.publications.values())
    dropped["before"] = connection.dropped + session.dropped_messages
    return SessionRow(
        connection.number, role, KIND, key, connection.peer, session.flash_ver[:80], connection.is_secure,
        state, round((now - connection.opened_at) * 1000), 0 if slowest is None else delay_ms(slowest),
        connection.bytes_waiting(), session.bytes_received, connection.bytes_sent(),
        {reason: count for reason, count in dropped.items() if count},
    )  # fmt: skip
