"""A peer for whose play or publish there is no room is told so in words of RTMP, and closed."""

from __future__ import annotations

from cluster.core.errors import CloseReason
from cluster.core.rtmp.events import PlayRequested, PublishRequested
from cluster.core.rtmp.status import Code
from cluster.edge.rtmp.connection import Connection
from cluster.edge.streams.room import NoRoom


def turn_away(connection: Connection, request: PublishRequested | PlayRequested, why: NoRoom) -> None:
    """Tell the peer so, and close."""
    session = connection.session
    if isinstance(request, PublishRequested):
        session.reject_publish(request.stream_id, Code.PUBLISH_DENIED, why.text)
    else:
        scarce = why.reason is CloseReason.NO_BANDWIDTH
        code = Code.PLAY_INSUFFICIENT_BANDWIDTH if scarce else Code.PLAY_FAILED
        session.reject_play(request.stream_id, code, why.text)
    connection.end(why.reason, why.text)
