"""The gate of a router: who is admitted, and one line about who is not.

With a cluster key libzmq asks the ZAP handler (``inproc://zeromq.zap.01``) about every worker that has
shaken hands. Whoever does not get that far shows only in the events of the socket's monitor; a
connection that ends before its handshake has is a refusal, whichever end gave it up. Of one that the other
end gave up there is nothing to tell but that.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence

import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.reach import CRYPTOGRAPHIC, MECHANISM_MISMATCH
from cluster.core.bus import bounds
from cluster.process.complaints import COMPLAIN_EVERY_S, Complaints
from cluster.process.stranger_lines import StrangerLines, host_of

logger = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"

_EVENTS = (
    zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)  # fmt: skip

#: The other end gave it up; it may have seen that it has no key for this router, and will come again then.
_CUT_OFF = (zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)

#: A peer whose connection was closed before its address could be asked for. A worker comes again, so it is
#: told of only if its next attempts do not tell who it is.
_GONE = "a peer that has left"
_NAMELESS_WAIT_S = 1.4 * bounds.REFUSED_RETRY_S

#: ZeroMQ ZAP, RFC 27: version, request id, domain, address, identity, mechanism, credentials.
_ZAP_FRAMES = 7


class Gate:
    """The handler and the monitors of one router's sockets; used by the thread of the registry.

    Make it before the sockets are bound: until the handler is there, nobody could be asked.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        sockets: Sequence[zmq.Socket[bytes]],
        key: ClusterKey | None,
    ) -> None:
        self._key = key
        #: A worker that is refused tries again ten times a second.
        self._refusals = Complaints(logger, "peer_refused")
        self._stranger_lines = StrangerLines(logger, "refused", time.monotonic)
        self.refused = 0
        #: When a refused peer without an address is told of, if none with one was, and why it was refused.
        self._nameless: tuple[float, str] | None = None
        self._named_at = float("-inf")
        self._zap: zmq.Socket[bytes] | None = None
        if key is not None:
            self._zap = context.socket(zmq.REP)
            self._zap.linger = 0
            self._zap.bind(ZAP_ENDPOINT)
            for each in sockets:
                key.secure_router(each)
        self._doors = [_Door(each.get_monitor_socket(_EVENTS)) for each in sockets]

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What to poll for input; then ``serve``."""
        monitors = [door.monitor for door in self._doors]
        return monitors if self._zap is None else [self._zap, *monitors]

    def serve(self) -> None:
        """Answer and read what there is."""
        if self._zap is not None:
            while (request := _received(self._zap)) is not None:
                self._zap.send_multipart(self._judge(request))
        for door in self._doors:
            while (frames := _received(door.monitor)) is not None:
                event = parse_monitor_message(frames)
                refused = door.event(event["event"], event["value"])
                if refused is not None:
                    self._refuse(*refused)

    def tick(self) -> None:
        """Log the sum of refusals if it is time; call this every second or so."""
        if self._nameless is not None and time.monotonic() >= self._nameless[0]:
            self._tell_nameless()
        self._stranger_lines.tick()

    def close(self) -> None:
        self._tell_nameless()
        self._stranger_lines.log_sum()
        for each in self.sockets:
            each.close(0)

    def _judge(self, request: list[bytes]) -> list[bytes]:
        version, request_id = (*request[:2], b"", b"")[:2]
        admitted = (
            self._key is not None and len(request) == _ZAP_FRAMES
            and request[5] == b"CURVE" and self._key.admits(request[6])
        )  # fmt: skip
        status = (b"200", b"", b"worker") if admitted else (b"400", b"not admitted", b"")
        return [version, request_id, *status, b""]

    def _refuse(self, peer: str, event: int, value: int) -> None:
        """Count the refusal, and log it: once in a while for each host, and few hosts a second."""
        self.refused += 1
        why = self._why(event, value)
        now = time.monotonic()
        if event in _CUT_OFF:
            # Health checks do so all day. Many of them at once are summed as other strangers are.
            if self._stranger_lines.admit(logging.WARNING, why, host_of(peer)):
                fields = {"peer": peer, "why": why}
                logger.debug("refused %(peer)s: %(why)s", fields, extra={"event": "peer_refused"})
        elif peer != _GONE:
            self._named_at = now
            self._tell(peer, why)
        elif self._nameless is None:
            self._nameless = now + _NAMELESS_WAIT_S, why

    def _tell_nameless(self) -> None:
        nameless, self._nameless = self._nameless, None
        if nameless is not None and time.monotonic() - self._named_at >= COMPLAIN_EVERY_S:
            self._tell(_GONE, nameless[1])

    def _tell(self, peer: str, why: str) -> None:
        host = host_of(peer)
        if self._refusals.is_due(host) and not self._stranger_lines.admit(logging.WARNING, why, host):
            return
        self._refusals.warn_about(host, "refused %(peer)s: %(why)s", {"peer": peer, "why": why})

    def _why(self, event: int, value: int) -> str:
        if value == MECHANISM_MISMATCH:
            if self._key is None:
                return "it has a cluster key and this router has none: give it to both with --cluster-key"
            return "it has no cluster key: give it this router's with --cluster-key"
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH or value == CRYPTOGRAPHIC:
            return "it has another cluster key: --cluster-key must be the same file on both sides"
        if event in _CUT_OFF:
            return "it hung up in the handshake, as a health check does, or a worker that has ended"
        return "it is no worker"


class _Door:
    """The connections of one socket that have not shaken hands yet, by file descriptor.

    The event of a success does not say whose it is. If there are several it could be, none of them is
    told about any more, unless a failure is: better no line than a wrong one.
    """

    def __init__(self, monitor: zmq.Socket[bytes]) -> None:
        self.monitor = monitor
        self._pending: dict[int, str] = {}
        self._failure: tuple[int, int] | None = None

    def event(self, event: int, value: int) -> tuple[str, int, int] | None:
        """(peer, failure event, its value) if this event tells of a refusal."""
        if event == zmq.EVENT_ACCEPTED:
            self._pending[value] = _peer_of(value)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._pending.clear()
        elif event != zmq.EVENT_DISCONNECTED:
            self._failure = event, value  # its disconnection is the next event, and says whose it is
        else:
            peer, failure = self._pending.pop(value, None), self._failure
            self._failure = None
            if failure is not None:
                return peer or _GONE, *failure
            if peer is not None:
                return peer, event, 0
        return None


def _peer_of(fd: int) -> str:
    """HOST:PORT of the other end; libzmq may have closed it by now."""
    try:
        with socket.socket(fileno=os.dup(fd)) as connection:
            if connection.family == socket.AF_UNIX:
                return "a local peer"
            host, port = connection.getpeername()[:2]
            return f"{host}:{port}"
    except OSError:
        return _GONE


def _received(socket: zmq.Socket[bytes]) -> list[bytes] | None:
    try:
        return socket.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return None
