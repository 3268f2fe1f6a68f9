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
    """As what it is served."""
    for player in connection.played:
        return player.form.name
    return HLS if connection.arrival.place.plays else HTTP


def row_of(connection: HttpSocket, now: float) -> SessionRow:
    """As it is now; of several players, which HTTP/2 allows, it is the first's."""
    role, key = connection.use
    player = next(iter(connection.played), None)
    reader = None if player is None else player.reader
    if connection.close_reason is not None:
        state = "closing"
    elif player is not None and reader is not None:
        state = reading_state(reader) if player.is_open else "waiting"
    else:
        state = "playing" if connection.arrival.place.plays else "connected"
    arrival = connection.arrival
    dropped = {} if reader is None else {"slow": reader.skipped, "no_keyframe": reader.held_back}
    return SessionRow(
        arrival.number, role, kind_of(connection), key, arrival.peer, connection.agent,
        connection.is_secure, state, round((now - arrival.began_at) * 1000),
        0 if reader is None else delay_ms(reader), connection.bytes_waiting(), connection.bytes_received,
        connection.bytes_sent(), {reason: count for reason, count in dropped.items() if count},
    )  # fmt: skip
