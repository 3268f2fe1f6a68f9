"""Why a peer has left by itself: no fault where there is none, and no mere leave where it was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cluster.core.errors import CloseReason, lost_by

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection

#: The reason, and what more there is to say.
Why: TypeAlias = tuple[CloseReason, str]

#: By the beginning of the code with which the session itself has refused something.
_REFUSALS = {
    "NetStream.Publish.": CloseReason.PUBLISH_REFUSED, "NetStream.Play.": CloseReason.PLAY_REFUSED
}  # fmt: skip


def by_error(connection: Connection, error: OSError) -> Why:
    """The peer's socket has failed. Whoever is done, or has never said a word, may leave as it likes."""
    reason = lost_by(error)
    if reason is CloseReason.PEER_RESET:
        if not connection.session.bytes_received:
            return CloseReason.PEER_CLOSED, "it has said nothing"
        if _is_done(connection):
            return CloseReason.PEER_CLOSED, "by a reset, with nothing left to send or to play"
        return _refusal(connection) or (reason, error.strerror or str(error))
    return reason, error.strerror or str(error)


def by_end(connection: Connection) -> Why:
    """The peer has closed its connection."""
    return _refusal(connection) or (CloseReason.PEER_CLOSED, "")


def _refusal(connection: Connection) -> Why | None:
    """Who was never served, and was refused something by the session, leaves because of that."""
    code, description = connection.session.refusal
    for beginning, reason in _REFUSALS.items():
        if connection.is_stranger and code.startswith(beginning):
            return reason, description
    return None


def _is_done(connection: Connection) -> bool:
    """The peer has published or played, and has stopped or been told the end of all of it."""
    if connection.is_stranger or connection.publications:
        return False
    return all(player.reader.was_told_end for player in connection.players.values())
