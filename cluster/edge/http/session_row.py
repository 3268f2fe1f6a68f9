"""What is told of an HTTP connection to whoever operates the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.core.bus.questions import SessionRow
from cluster.edge.peers.reading import delay_ms, reading_state

if TYPE_CHECKING:
    from cluster.edge.http.http_socket import HttpSocket

#: A viewer who fetches one file after the other, and whoever plays nothing.
HLS, HTTP = "hls", "http"


def kind_of(connection: HttpSocket) -> str:
    """As what it is served; of several on one connection, as what the first is."""
    players = connection.players
    if players:
        return players[0].form.name
    return HLS if connection.arrival.place.plays else HTTP


def row_of(connection: HttpSocket, now: float) -> SessionRow:
    """As it is now."""
    role, key = connection.use
    readers = [player.reader for player in connection.players]
    if connection.close_reason is not None:
        state = "closing"
    elif readers:
        state = reading_state(readers[0]) if connection.players[0].is_open else "waiting"
    else:
        state = "playing" if connection.arrival.place.plays else "connected"
    arrival = connection.arrival
    dropped = {
        "slow": sum(each.skipped for each in readers),
        "no_keyframe": sum(each.held_back for each in readers),
    }  # fmt: skip
    return SessionRow(
        arrival.number, role, kind_of(connection), key, arrival.peer, connection.agent,
        connection.is_secure, state, round((now - arrival.began_at) * 1000),
        max(map(delay_ms, readers), default=0), connection.bytes_waiting(), connection.bytes_received,
        connection.bytes_sent(), {reason: count for reason, count in dropped.items() if count},
    )  # fmt: skip
