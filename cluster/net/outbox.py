"""The writing half of a connection, up to its end: what its socket does not take at once waits, in order.

Who is in step with a stream is sent to past this, with the socket's own ``send``; what falls behind goes
on from the stream's log. So of media there waits no more than the one message that was cut, and besides
what the protocol has to say.

A connection ends once, with one named reason: at once, or after its peer had time to read the last word.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer
from cluster.net import tcp_info
from cluster.net.poller import Poller
from cluster.net.tls_socket import TlsSocket

#: Buffers given to one ``sendmsg``; Linux takes at most 1024 (IOV_MAX).
MAX_BUFFERS_PER_SEND = 512

#: After our last word to a peer we wait this long for it to close: closing at once while it still
#: sends would reset the connection, and the peer might never read why.
LINGER_S = 2.0


class StreamSocket(Protocol):
    """The non-blocking socket of a connection: TCP, or TLS over it. Errors are OSErrors."""

    def fileno(self) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...
    def recv_into(self, buffer: memoryview, /) -> int: ...
    def send(self, data: Buffer, /) -> int: ...
    def sendmsg(self, buffers: Sequence[Buffer], /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class WriteCount(Protocol):
    """Counts the write calls of all connections."""

    writes: int


class OutboxOwner(Protocol):
    """What the writing half of a connection needs from the worker it lives in."""

    @property
    def poller(self) -> Poller: ...
    @property
    def counters(self) -> WriteCount: ...
    @property
    def now(self) -> float: ...


class Outbox:
    """A base of connections. ``pending`` waits for the socket, which may take bytes again soon.

    ``close_reason``: why it has ended; its socket may be open for a moment yet. A class that builds on it
    says what the methods at its end do.
    """

    __slots__ = ("_linger_until", "_owner", "_socket", "close_reason", "pending", "send")

    _owner: OutboxOwner

    def __init__(self, owner: OutboxOwner, accepted: StreamSocket) -> None:
        self._owner = owner
        self._socket = accepted
        self.send = accepted.send
        self.pending: list[Buffer] = []
        self.close_reason: CloseReason | None = None
        self._linger_until = 0.0

    @property
    def is_secure(self) -> bool:
        """The peer speaks TLS."""
        return isinstance(self._socket, TlsSocket)

    def write_media(self, buffers: Sequence[Buffer]) -> bool:
        """Send whole messages; False if the socket is full and the rest is pending."""
        if self.pending:
            self.pending.extend(buffers)
            return False
        rest = self._send_buffers(list(buffers))
        if rest:
            self.wait_to_write(rest)
        return not rest

    def wait_to_write(self, rest: Sequence[Buffer]) -> None:
        """Keep ``rest`` until the socket takes bytes again; players stop being sent to directly."""
        if self._socket.fileno() < 0:
            return
        if not self.pending:
            self._fell_behind()
            self._owner.poller.want_write(self._socket.fileno(), True)
        self.pending.extend(rest)

    def _on_writable(self) -> None:
        self.pending = self._send_buffers(self.pending)
        if self.pending or self._socket.fileno() < 0:
            return
        self._owner.poller.want_write(self._socket.fileno(), False)
        self._emptied()

    def _send_buffers(self, buffers: list[Buffer]) -> list[Buffer]:
        """Send as much of ``buffers`` as the socket takes; what is left of them."""
        done = 0
        while done < len(buffers):
            batch = buffers[done : done + MAX_BUFFERS_PER_SEND]
            try:
                sent = self._socket.sendmsg(batch)
            except BlockingIOError:
                break
            except OSError as error:
                self.lost(error)
                return []
            self._owner.counters.writes += 1
            whole = 0
            while whole < len(batch) and sent >= len(batch[whole]):
                sent -= len(batch[whole])
                whole += 1
            done += whole
            if whole < len(batch):
                buffers[done] = memoryview(buffers[done])[sent:]
                break
        return buffers[done:]

    def _try_send(self, data: Buffer) -> int:
        try:
            return self.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.lost(error)
            return len(data)

    # ---- ending ------------------------------------------------------------------------------

    def end(self, reason: CloseReason, detail: str) -> None:
        """Nothing more is said; close once the peer has read all and closed, or 2 s on."""
        if self.close_reason is not None:
            return
        self._finish(reason, detail)
        self.update_pace()
        self._linger_until = self._owner.now + LINGER_S
        if not self.pending:
            self._shutdown_writing()

    def close(self, reason: CloseReason, detail: str) -> None:
        """Close now. The first reason given is the one that counts."""
        if self._socket.fileno() < 0:
            return
        self._finish(reason, detail)
        self._owner.poller.unregister(self._socket.fileno())
        self._socket.close()
        self.pending.clear()
        self._forgotten()

    def _has_ended(self, now: float) -> bool:
        """Whether it has ended; if so, it is closed when its time is over."""
        if self.close_reason is None:
            return False
        if now >= self._linger_until:
            self.close(self.close_reason, "")
        elif not self.pending:
            self._shutdown_writing()
        return True

    def _finish(self, reason: CloseReason, detail: str) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            self._ended(reason, detail)

    def _shutdown_writing(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(CloseReason.PEER_RESET, "")

    def bytes_sent(self) -> int | None:
        """As the kernel has counted them, of TLS too; None if it does not say, or the socket is closed."""
        return tcp_info.bytes_sent(self._socket)

    def bytes_waiting(self) -> int:
        """Bytes that the peer has not acknowledged, with those that its socket has not taken yet."""
        return sum(map(len, self.pending)) + tcp_info.bytes_unacknowledged(self._socket.fileno())

    # ---- what others build on it -------------------------------------------------------------

    def lost(self, error: OSError) -> None:
        """Its socket has failed."""
        raise NotImplementedError

    def _fell_behind(self) -> None:
        """Bytes are about to wait for the socket."""
        raise NotImplementedError

    def _emptied(self) -> None:
        """The socket has taken all that waited."""
        raise NotImplementedError

    def update_pace(self) -> None:
        """How soon its socket is read may have changed."""
        raise NotImplementedError

    def _ended(self, reason: CloseReason, detail: str) -> None:
        """The connection has ended, once, for this reason."""
        raise NotImplementedError

    def _forgotten(self) -> None:
        """Its socket is closed."""
        raise NotImplementedError
