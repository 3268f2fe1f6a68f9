"""Listening sockets of one worker: each shares its address with the node's other workers."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

from cluster.net.poller import Poller

logger = logging.getLogger(__name__)

#: Bytes of one connection that wait in the kernel without having been sent; those on their way are not
#: bounded, so a long fast line is still filled.
MAX_UNSENT_BYTES = 256 * 1024

#: Connections the kernel holds for us between two turns: a restart elsewhere makes many come at once.
BACKLOG = 1024

#: Accepted in one turn, so that a storm of joiners does not hold up the media of those who are here.
ACCEPTS_PER_TURN = 64

#: Out of file descriptors: accept nothing for this long rather than spin on a readable socket.
OUT_OF_FILES_PAUSE_S = 0.5

_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Accept = Callable[[socket.socket, tuple[str, int]], None]
#: Calls a function after a number of seconds.
Retry = Callable[[float, Callable[[], None]], object]


class Listener:
    """One bound address of a worker, with SO_REUSEPORT beside its siblings' sockets."""

    def __init__(self, host: str, port: int, poller: Poller, accept: Accept, retry: Retry) -> None:
        self._poller = poller
        self._accept = accept
        self._retry = retry
        self._socket = _listen(host, port)
        self._paused = False
        poller.register(self._socket.fileno(), self._on_readable)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop accepting. Connections the kernel has not handed over yet are reset."""
        if self._socket.fileno() < 0:
            return
        if not self._paused:
            self._poller.unregister(self._socket.fileno())
        self._socket.close()

    def _on_readable(self, mask: int) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    self._pause(error)
                    return
                continue  # the peer gave up between the kernel's handshake and our accept
            accepted.setblocking(False)
            self._accept(accepted, peer[:2])

    def _pause(self, error: OSError) -> None:
        logger.error(
            "not accepting for %g s: %s; raise the limit on open files", OUT_OF_FILES_PAUSE_S, error
        )
        self._paused = True
        self._poller.unregister(self._socket.fileno())
        self._retry(OUT_OF_FILES_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._paused = False
        if self._socket.fileno() >= 0:
            self._poller.register(self._socket.fileno(), self._on_readable)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets inherit both: media must not wait for more of it (Nagle), and what a player
        # does not read must wait in the stream log, not in the kernel.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        listening.setblocking(False)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
