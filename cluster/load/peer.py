"""One connection of the generator, up to the point where media flows: socket, TLS, dialogue, end."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from cluster.core.errors import PeerViolation
from cluster.core.media.flv import FlvError
from cluster.core.message import Message
from cluster.load.fault import ServerFault
from cluster.load.job import ServerAddress
from cluster.load.loop import Loop
from cluster.load.tally import Role, Tally
from cluster.process.words import reason_of

_READ_BYTES = 256 * 1024
#: What may wait for a server that does not read: several seconds of a stream.
MAX_BACKLOG_BYTES = 4 * 1024 * 1024
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

#: How the reasons begin for which there is no TLS, and that the server does not speak what we do.
NOT_TRUSTED = "the certificate is not accepted"
NO_TLS = "no TLS"
NOT_OURS = "the server broke the protocol"
#: How those are that tell nothing of why.
CLOSED, RESET = "closed by the server", "reset by the server"

_HINTS = {
    errno.EMFILE: "too many open files (raise ulimit -n, or use more --processes)",
    errno.EADDRNOTAVAIL: "no local port is left (widen net.ipv4.ip_local_port_range)",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A server, as the connections of a process find it."""

    server: ServerAddress
    server_name: str
    tls: ssl.SSLContext | None = None
    #: Of its address, without the "s" for TLS.
    scheme: str = "rtmp"


class Conversation(Protocol):
    """What is said with a server over one connection, about one stream."""

    #: We have asked to publish or play; that has been granted.
    asked: bool
    ready: bool
    #: Why it never will be, or why it is over.
    failed: str | None

    def outgoing(self) -> bytes:
        """What must be sent now."""

    def receive(self, data: bytes) -> list[Message]:
        """The media in what arrived. Raises what ``BROKEN`` names if the server breaks the protocol."""

    def keep_alive(self, received_bytes: int, now_ns: int) -> bytes:
        """What shows that we live, from a player that does not look at what it gets."""


#: Errors with a ``detail``: what came cannot be read.
BROKEN = (PeerViolation, FlvError, ServerFault)


class Common:
    """What all connections of one process share. ``tally`` is replaced when an interval ends."""

    def __init__(self, loop: Loop, chunk_size: int, *, publish_to: Target, play_from: Target) -> None:
        self.loop = loop
        self.publish_to = publish_to
        self.play_from = play_from
        self.chunk_size = chunk_size
        self.tally = Tally()
        self.buffer = bytearray(_READ_BYTES)
        self.view = memoryview(self.buffer)


class State(Enum):
    CONNECTING = auto()
    #: The TLS handshake, where there is one.
    ENCRYPTING = auto()
    TALKING = auto()
    #: Between two tries to play.
    WAITING = auto()
    #: Media flows.
    FLOWING = auto()
    CLOSED = auto()


class Peer:
    """Base of publishers and players. What a server does never raises: it ends the connection, counted."""

    __slots__ = (
        "_backlog", "_common", "_dialogue", "_reads", "_sock", "_target", "role", "started_ns", "state",
    )  # fmt: skip

    def __init__(self, common: Common, role: Role, dialogue: Conversation) -> None:
        self.role = role
        self._common = common
        self._target = common.publish_to if role is Role.PUBLISHER else common.play_from
        #: Whether the loop tells us when there is something to read.
        self._reads = True
        self._sock: socket.socket | None = None
        self._begin(dialogue)

    def _begin(self, dialogue: Conversation) -> None:
        """Make a new connection of it, to be connected, with nothing said yet."""
        self.state = State.CONNECTING
        self.started_ns = time.monotonic_ns()
        self._dialogue = dialogue
        self._backlog = b""

    # For the roles.

    def _prepare(self, sock: socket.socket) -> None:
        """Set what must be set before connecting."""

    def _media(self, messages: list[Message]) -> None:
        raise NotImplementedError

    # Beginning and end.

    def connect(self) -> None:
        """Begin. ``state`` is CLOSED afterwards if that failed at once."""
        server = self._target.server
        try:
            sock = self._sock = socket.socket(server.family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._prepare(sock)
            with contextlib.suppress(BlockingIOError):  # it is on its way
                sock.connect(server.address)
        except OSError as error:
            self.close(_reason(error))
        else:
            self._common.loop.watch(sock.fileno(), self, select.EPOLLOUT)

    def close(self, reason: str | None) -> None:
        """Close the connection and count ``reason``; None, at the end of the run, is not counted."""
        if reason is not None and self.state is not State.CLOSED:
            flowing = self.state is State.FLOWING
            counted = self._common.tally.ended if flowing else self._common.tally.refused
            counted[self.role, reason] += 1
        self.state = State.CLOSED
        if self._sock is not None:
            self._common.loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def give_up_waiting(self, before_ns: int) -> None:
        """Close a connection that began before ``before_ns`` and that the server has not answered yet."""
        over = self.state in (State.FLOWING, State.CLOSED)
        if not over and not self._dialogue.ready and self.started_ns < before_ns:
            self.close("the server did not answer in time")

    # What the loop calls.

    def on_event(self, events: int) -> None:
        try:
            if self.state is State.CONNECTING:
                self._connected()
            elif self.state is State.ENCRYPTING:
                self._encrypt()
            else:
                if events & select.EPOLLOUT:
                    self._flush()
                if events & ~select.EPOLLOUT:
                    self._read()
        except WOULD_BLOCK:
            pass
        except ssl.SSLCertVerificationError as error:
            said = f"{NOT_TRUSTED}: {error.verify_message}"
            self.close(f"{said} (--ca-file FILE trusts what is in FILE; --insecure accepts any)")
        except ssl.SSLError as error:
            self._no_tls(error.reason or str(error))
        except OSError as error:
            if self.state is State.ENCRYPTING:  # it hung up on our first words
                self._no_tls(_reason(error))
            else:
                self.close(_reason(error))
        except BROKEN as broken:
            self.close(f"{NOT_OURS}: {broken.detail}")

    def _no_tls(self, why: str) -> None:
        scheme = self._target.scheme
        instead = f"if this is a port for plain {scheme.upper()}, write {scheme}:// instead of {scheme}s://"
        self.close(f"{NO_TLS}: {why} ({instead})")

    def _connected(self) -> None:
        assert self._sock is not None
        if error := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        target = self._target
        if target.tls is None:
            self._talk()
            return
        self._common.loop.unwatch(self._sock.fileno())
        self._sock = target.tls.wrap_socket(
            self._sock, server_hostname=target.server_name, do_handshake_on_connect=False
        )
        self.state = State.ENCRYPTING
        self._encrypt()

    def _encrypt(self) -> None:
        assert isinstance(self._sock, ssl.SSLSocket)
        fd = self._sock.fileno()
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._common.loop.watch(fd, self, select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._common.loop.watch(fd, self, select.EPOLLOUT)
        else:
            self._talk()

    def _talk(self) -> None:
        self.state = State.TALKING
        self._watch()
        self.send(self._dialogue.outgoing())

    def _watch(self) -> None:
        """Have the loop tell what is of interest now."""
        assert self._sock is not None
        events = (select.EPOLLIN if self._reads else 0) | (select.EPOLLOUT if self._backlog else 0)
        if events:
            self._common.loop.watch(self._sock.fileno(), self, events)
        else:
            self._common.loop.unwatch(self._sock.fileno())

    # Bytes.

    def send(self, data: bytes | bytearray) -> None:
        """Send now what the socket takes, and the rest when it can."""
        sock = self._sock
        if sock is None or not data:
            return
        if self._backlog:
            self._backlog += data
            if len(self._backlog) > MAX_BACKLOG_BYTES:
                self.close(f"the server left {MAX_BACKLOG_BYTES} bytes unread")
            return
        try:
            sent = sock.send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError as error:
            self._lost_while_sending(error)
            return
        if sent < len(data):
            self._backlog = bytes(data[sent:])
            self._watch()

    def _lost_while_sending(self, error: OSError) -> None:
        """What the server said before it closed may still be there to be read."""
        sock = self._sock
        self.on_event(select.EPOLLIN)
        if self._sock is sock is not None:
            self.close(_reason(error))

    def _flush(self) -> None:
        assert self._sock is not None
        self._backlog = self._backlog[self._sock.send(self._backlog) :]
        if not self._backlog:
            self._watch()

    def _receive(self) -> int:
        """Read into the common buffer; 0 if the connection has been closed by that."""
        assert self._sock is not None
        count = self._sock.recv_into(self._common.buffer)
        if not count:
            self.close(CLOSED)
        return count

    def _read(self) -> None:
        """Take what is there; from TLS all of it, as the socket does not tell of what OpenSSL holds."""
        sock = self._sock
        while self._sock is sock is not None and (count := self._receive()):
            self._take(bytes(self._common.view[:count]))
            if self._target.tls is None:
                return

    def _take(self, data: bytes) -> None:
        """Understand what has come, and answer."""
        messages = self._dialogue.receive(data)
        self.send(self._dialogue.outgoing())
        if messages:
            self._media(messages)
        if self._dialogue.failed is not None:
            self.close(self._dialogue.failed)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return RESET
    return _HINTS.get(error.errno or 0) or reason_of(error)
