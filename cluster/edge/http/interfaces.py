"""What the parts of this package ask of each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer
from cluster.edge.http.answer import Waiting
from cluster.edge.http.replies import Replies
from cluster.edge.http.request import Request
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.interfaces import Encoding
from cluster.net.poller import Poller

if TYPE_CHECKING:
    from cluster.edge.http.connection import HttpConnection
    from cluster.edge.http.opening import Media
    from cluster.edge.http.player import Player


class HttpEncoding(Encoding, Protocol):
    """An encoding whose first bytes say what a stream has."""

    def begin(self, headers: Iterable[LogEntry], *, audio: bool, video: bool) -> list[Buffer]:
        """What is sent to a player before all else: its stream has these media, and ``headers``."""


class ConnectionOwner(Protocol):
    """What a connection needs from the worker it lives in."""

    poller: Poller
    counters: Counters
    identity: WorkerIdentity
    replies: Replies
    handshake_timeout_s: float
    idle_timeout_s: float
    #: One buffer to receive into serves all connections: none keeps a part of it.
    receive_buffer: memoryview

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""

    @property
    def draining(self) -> bool:
        """The server is about to end: no connection stays for further requests."""

    def begin(self, connection: HttpConnection, request: Request) -> Waiting | None:
        """Answer ``request``, now or later. If later, returns what waits."""

    def count(self, status: int) -> None:
        """A request is answered with ``status``."""

    def play_opens(self, player: Player, media: Media, since_seq: int) -> None:
        """The stream of ``player`` has ``media``: the player's first bytes may go out."""

    def play_ended(self, player: Player) -> None:
        """``player`` plays no more."""

    def ended(self, connection: HttpConnection, reason: CloseReason, detail: str) -> None:
        """``connection`` has ended, once; what is played on it ends with it."""

    def forget(self, connection: HttpConnection) -> None:
        """The socket of ``connection`` is closed."""
