"""Who may connect, publish and play: what a worker asks whoever decides.

A verdict may take its time. Meanwhile the session holds what the peer sends, others are served, and a
peer that takes its request back or leaves is not answered any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from cluster.core.errors import CloseReason
from cluster.core.rtmp.adobe_auth import is_step
from cluster.core.rtmp.events import ConnectRequested, PlayRequested, PublishRequested
from cluster.core.rtmp.status import Code
from cluster.edge.peers.access import Deny, Verdict

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection

Request: TypeAlias = ConnectRequested | PublishRequested | PlayRequested


class Admission(Protocol):
    """Whoever decides. An exception denies, and is logged: who cannot decide must not let in."""

    async def connect(self, connection: Connection, request: ConnectRequested) -> Verdict: ...
    async def publish(self, connection: Connection, key: str, request: PublishRequested) -> Verdict: ...
    async def play(self, connection: Connection, key: str, request: PlayRequested) -> Verdict: ...


def deny(connection: Connection, request: Request, denied: Deny) -> None:
    """Tell the peer so, and close."""
    session, detail = connection.session, denied.text
    if denied.redirect is not None and not isinstance(request, ConnectRequested):
        session.request_reconnect(denied.redirect, denied.text)  # to those who understand it
    if isinstance(request, ConnectRequested):
        session.reject_connect(denied.code or Code.CONNECT_REJECTED, denied.text, denied.redirect)
        reason = CloseReason.CONNECT_REJECTED
        if is_step(denied.text):  # with a challenge in it, which is for the peer alone
            reason, detail = CloseReason.LOGIN_ASKED, "it is to connect again, and say who it is"
    elif isinstance(request, PublishRequested):
        session.reject_publish(request.stream_id, denied.code or Code.PUBLISH_DENIED, denied.text)
        reason = CloseReason.PUBLISH_REFUSED
    else:
        session.reject_play(request.stream_id, denied.code or Code.PLAY_FAILED, denied.text)
        reason = CloseReason.PLAY_REFUSED
    connection.end(reason, detail)
