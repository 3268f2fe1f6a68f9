"""How much must have come before a socket counts as readable (SO_RCVLOWAT): fewer wake-ups to read it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.net.outbox import StreamSocket

#: A publisher that nobody listens to is read before its turn once this much has come: at 4 Mbit/s or more.
#: This fits into a TCP receive buffer, so that an encoder never has to wait for our leisure.
LEISURELY_BYTES = 256 * 1024

#: Waited for at most of what is listened to: much less than a sender may have on its way.
_MOST_AWAITED_BYTES = 32 * 1024


class LowWater:
    """The low-water mark of one connection.

    ``quiet_bytes``: fewer than this, between messages, may wait, and so may the rest of a message that has
    begun, with what stands between its chunks; 0 lets nothing wait. The end of a connection makes its
    socket readable in any case.
    """

    __slots__ = ("_holds_parts", "_mark_bytes", "_socket", "is_leisurely", "quiet_bytes")

    def __init__(self, stream_socket: StreamSocket) -> None:
        self._socket = stream_socket
        self._mark_bytes = 1
        # OpenSSL takes a part of a record out of the kernel: what is left there says nothing.
        self._holds_parts = not isinstance(stream_socket, socket.socket)
        self.is_leisurely = False
        self.quiet_bytes = 0

    def set(self, lacking_bytes: int) -> None:
        """Follow what has changed; ``lacking_bytes``: of the message that has begun, 0 between messages."""
        if self.is_leisurely:
            mark_bytes = LEISURELY_BYTES
        elif self.quiet_bytes and not self._holds_parts:
            mark_bytes = min(lacking_bytes or self.quiet_bytes, _MOST_AWAITED_BYTES)
        else:
            mark_bytes = 1
        if mark_bytes != self._mark_bytes:
            self._mark_bytes = mark_bytes
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark_bytes)
