"""Listening sockets of one worker: each shares its address with the node's other workers.

Whoever else holds the socket (the supervisor, which made it) may shut it down: the kernel then deals new
connections to the others at once, even while this process does not run. As soon as it runs again it
listens again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from time import monotonic

from cluster.net.poller import Poller

logger = logging.getLogger(__name__)

#: Bytes of one connection that wait in the kernel without having been sent; those on their way are not
#: bounded, so a long fast line is still filled.
MAX_UNSENT_BYTES = 256 * 1024

#: Connections the kernel holds for us between two turns: a restart elsewhere makes many come at once.
BACKLOG = 1024

#: Accepted in one turn, so that a storm of joiners does not hold up the media of those who are here.
ACCEPTS_PER_TURN = 64
#: A turn that accepts ends after so long, however few that were: each makes a session.
ACCEPTS_TURN_S = 0.002

#: Out of file descriptors: accept nothing for this long rather than spin on a readable socket.
OUT_OF_FILES_PAUSE_S = 0.5

#: A connection that is silent for the first of these is asked by TCP whether its host is still there, and
#: again after each of the second; so many questions without an answer end it, 2 minutes in all. RTMP's own
#: pings do not do: many players never answer them, nor send anything else.
KEEP_ALIVE_IDLE_S = 60
KEEP_ALIVE_INTERVAL_S = 15
KEEP_ALIVE_PROBES = 4

#: A connection ends whose peer's host has acknowledged nothing, or let nothing be sent, for this long. The
#: kernel by itself tries for 15 minutes, with a place taken and a player that looks alive.
UNACKNOWLEDGED_S = 120.0

_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Accept = Callable[[socket.socket, tuple[str, int]], None]
#: Calls a function after a number of seconds.
Retry = Callable[[float, Callable[[], None]], object]


class Listener:
    """One bound address of a worker, with SO_REUSEPORT beside its siblings' sockets.

    ``bound``: see ``bound_socket``; it is closed with the listener.
    """

    def __init__(self, bound: socket.socket, poller: Poller, accept: Accept, retry: Retry) -> None:
        self._poller = poller
        self._accept = accept
        self._retry = retry
        self._socket = bound
        self._paused = False  # it is out of files
        self._rests = False
        bound.listen(BACKLOG)
        poller.register(self._socket.fileno(), self._on_readable)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop accepting. Connections the kernel has not handed over yet are reset."""
        if self._socket.fileno() < 0:
            return
        if not self._paused and not self._rests:
            self._poller.unregister(self._socket.fileno())
        with contextlib.suppress(OSError):  # it has been shut down already
            self._socket.shutdown(socket.SHUT_RD)  # another process may hold it too: closing is not enough
        self._socket.close()

    def rest(self) -> None:
        """Accept nothing until ``resume``; whoever connects meanwhile is refused."""
        if not self._rests:
            self._rests = True
            if not self._paused:
                self._poller.unregister(self._socket.fileno())
            with contextlib.suppress(OSError):  # it has been shut down already
                self._socket.shutdown(socket.SHUT_RD)

    def resume(self) -> None:
        """Accept again."""
        if self._rests:
            self._rests = False
            self._socket.listen(BACKLOG)
            if not self._paused:
                self._poller.register(self._socket.fileno(), self._on_readable)

    def _on_readable(self, mask: int) -> None:
        until = monotonic() + ACCEPTS_TURN_S
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    self._pause(error)
                    return
                if error.errno == errno.EINVAL:  # shut down from outside: we were not there to accept
                    self._socket.listen(BACKLOG)
                continue  # the peer gave up between the kernel's handshake and our accept
            accepted.setblocking(False)
            self._accept(accepted, peer[:2])
            if monotonic() >= until:
                return

    def _pause(self, error: OSError) -> None:
        logger.error(
            "not accepting for %(pause_s)g s: %(why)s; raise the limit on open files",
            {"pause_s": OUT_OF_FILES_PAUSE_S, "why": str(error)}, extra={"event": "not_accepting"},
        )  # fmt: skip
        self._paused = True
        self._poller.unregister(self._socket.fileno())
        self._retry(OUT_OF_FILES_PAUSE_S, self._try_again)

    def _try_again(self) -> None:
        self._paused = False
        if self._socket.fileno() >= 0 and not self._rests:
            self._poller.register(self._socket.fileno(), self._on_readable)


def bound_socket(host: str, port: int, unacknowledged_s: float = UNACKNOWLEDGED_S) -> socket.socket:
    """A socket for a ``Listener``; OSError if it cannot be had. It gets connections once that listens.

    Only one whose port is not 0 can be shut down and listen again: the kernel would pick another port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set_what_accepted_sockets_inherit(bound, unacknowledged_s)
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _set_what_accepted_sockets_inherit(bound: socket.socket, unacknowledged_s: float) -> None:
    """Media must not wait for more of it (Nagle), what a player does not read must wait in the stream log,
    not in the kernel, and a host that is gone must be found."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES),
        (socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE_S),
        (socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_S),
        (socket.TCP_KEEPCNT, KEEP_ALIVE_PROBES),
        (socket.TCP_USER_TIMEOUT, round(unacknowledged_s * 1000)),
    ):
        bound.setsockopt(socket.IPPROTO_TCP, option, value)
