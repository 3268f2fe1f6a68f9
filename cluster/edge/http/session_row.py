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
    """As what it is served, or was at its end; of several streams on one connection, the first."""
    if connection.ended_as:
        return connection.ended_as
    players = connection.players
    if players:
        return players[0].form.name
    return HLS if connection.arrival.place.plays else HTTP


def row_of(connection: HttpSocket, now: float, *, is_fed: bool) -> SessionRow:
    """As it is now. Of several streams on one connection, the state is that of the slowest. ``is_fed``:
    its stream has a publisher."""
    role, key = connection.use
    players = connection.players
    slowest = max(players, key=lambda player: delay_ms(player.reader), default=None)
    if connection.close_reason is not None:
        state = "closing"
    elif slowest is not None:
        state = reading_state(slowest.reader) if slowest.is_open else "waiting"
    elif connection.arrival.place.plays:
        state = "playing" if is_fed else "waiting"
    else:
        state = "connected"
    arrival = connection.arrival
    dropped = {
        "slow": sum(player.reader.skipped for player in players),
        "no_keyframe": sum(player.reader.held_back for player in players),
    }
    return SessionRow(
        arrival.number, role, kind_of(connection), key, arrival.peer, connection.agent,
        connection.is_secure, state, round((now - arrival.began_at) * 1000),
        0 if slowest is None else delay_ms(slowest.reader), connection.bytes_waiting(),
        connection.bytes_received, connection.bytes_sent(),
        {reason: count for reason, count in dropped.items() if count},
    )  # fmt: skip
