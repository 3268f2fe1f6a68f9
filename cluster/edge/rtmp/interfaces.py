"""What a connection asks of the worker it lives in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.edge.streams.counters import Counters
from cluster.net.poller import Poller

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection


class ConnectionOwner(Protocol):
    """What a connection needs from the worker it lives in."""

    poller: Poller
    counters: Counters
    identity: WorkerIdentity
    #: One buffer to receive into serves all connections: a session keeps no part of it.
    receive_buffer: memoryview
    #: Its beginning, of STRANGER_READ_BYTES.
    stranger_buffer: memoryview

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""

    def handle(self, connection: Connection, event: object) -> None:
        """The session of ``connection`` tells an event."""

    def settle(self, connection: Connection, event: object) -> bool:
        """Give ``connection`` its place for what it does. False if there is none, which it is told."""

    def ended(self, connection: Connection, reason: CloseReason, detail: str) -> None:
        """``connection`` has ended, once; what is published and played on it ends with it."""

    def forget(self, connection: Connection) -> None:
        """The socket of ``connection`` is closed."""
