"""A router's three sockets: bound at the endpoints that follow from one address, every queue bounded."""

from __future__ import annotations

import errno
import socket as system_sockets
from contextlib import suppress
from dataclasses import dataclass

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.sockets import bus_socket
from cluster.core.bus import bounds
from cluster.core.bus.endpoints import Endpoints, endpoints
from cluster.core.errors import EnvironmentFault
from cluster.router.gate import Gate

#: Tries to find three free ports in a row for port 0 before giving up.
_FREE_PORT_TRIES = 50

#: On close, control messages (a last answer) get this long to leave.
_LINGER_MS = 100


@dataclass(frozen=True, slots=True)
class RouterSockets:
    """``publish`` (XSUB) and ``subscribe`` (XPUB) make up the proxy, ``control`` (ROUTER) the registry.
    ``gate`` says who is admitted to them."""

    publish: zmq.Socket[bytes]
    subscribe: zmq.Socket[bytes]
    control: zmq.Socket[bytes]
    gate: Gate
    endpoints: Endpoints


def bind_sockets(
    context: zmq.Context[zmq.Socket[bytes]], base: str, key: ClusterKey | None = None
) -> RouterSockets:
    """Bind a router at ``base``; EndpointError if it does not parse, EnvironmentFault if it is taken.

    Port 0 takes any three free ports in a row; ``endpoints`` of the result tells which. With ``key`` tcp
    connections are encrypted and authenticated; over ipc the file system decides who may connect.
    """
    wanted = endpoints(base, bind=True)
    sockets = [
        bus_socket(context, zmq.XSUB, bounds.DATA_HIGH_WATER_MARK, base),
        bus_socket(context, zmq.XPUB, bounds.DATA_HIGH_WATER_MARK, base),
        _control_socket(context, base),
    ]
    gate = Gate(context, sockets, None if wanted.is_local else key)
    try:
        bound = _bind_free(sockets, base) if base.endswith(":0") else _bind(sockets, wanted)
    except BaseException:
        for socket in sockets:
            socket.disable_monitor()
            socket.close(0)
        gate.close()
        raise
    return RouterSockets(sockets[0], sockets[1], sockets[2], gate, bound)


def _control_socket(context: zmq.Context[zmq.Socket[bytes]], base: str) -> zmq.Socket[bytes]:
    socket = bus_socket(context, zmq.ROUTER, bounds.CONTROL_HIGH_WATER_MARK, base)
    # A worker that is gone shows as an error when something is sent to it, not as silence.
    socket.router_mandatory = True
    # A worker that comes back over a new connection before the old one is known to be dead takes over.
    socket.router_handover = True
    socket.linger = _LINGER_MS
    return socket


def _bind(sockets: list[zmq.Socket[bytes]], wanted: Endpoints) -> Endpoints:
    for socket, endpoint in zip(sockets, (wanted.publish, wanted.subscribe, wanted.control), strict=True):
        try:
            if wanted.is_local and _is_served(endpoint):
                raise zmq.ZMQError(errno.EADDRINUSE)
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise _cannot_bind(endpoint, wanted.base, error) from None
    return wanted


def _cannot_bind(endpoint: str, base: str, error: zmq.ZMQError) -> EnvironmentFault:
    """What to type where an address cannot be had."""
    if error.errno == errno.EADDRINUSE:
        return EnvironmentFault(
            f"cannot bind {endpoint}: it is taken, maybe by a router that runs already (rtmp-cluster "
            "status shows it); end what has it, or choose another --bind: a router needs that port and the "
            "two after it"
        )
    if error.errno in (errno.ENODEV, errno.EADDRNOTAVAIL):
        return EnvironmentFault(
            f"cannot bind {endpoint}: no interface of this machine has that address; "
            "--bind tcp://0.0.0.0:1936 listens on all"
        )
    why = zmq.strerror(error.errno or 0)
    return EnvironmentFault(f"cannot bind {base}: {why}; choose another address with --bind")


def _is_served(endpoint: str) -> bool:
    """Whether somebody listens at an ipc path: libzmq would take it over without a word."""
    with system_sockets.socket(system_sockets.AF_UNIX, system_sockets.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(endpoint.removeprefix("ipc://"))
        except BlockingIOError:  # it hangs, and so many wait for it that there is no room for more
            return True
        except OSError:
            return False
    return True


def _bind_free(sockets: list[zmq.Socket[bytes]], base: str) -> Endpoints:
    """Bind three ports in a row; the system chooses the first, the next two must happen to be free."""
    host = base.removesuffix(":0")
    for _ in range(_FREE_PORT_TRIES):
        try:
            sockets[0].bind(f"{host}:*")
        except zmq.ZMQError as error:
            raise EnvironmentFault(f"cannot bind {base}: {error.strerror}") from None
        bound_to = [sockets[0].getsockopt_string(zmq.LAST_ENDPOINT)]
        port = int(bound_to[0].rpartition(":")[2])
        try:
            found = endpoints(f"{host}:{port}", bind=True)
            for socket, endpoint in zip(sockets[1:], (found.subscribe, found.control), strict=True):
                socket.bind(endpoint)
                bound_to.append(socket.getsockopt_string(zmq.LAST_ENDPOINT))
            return found
        except (zmq.ZMQError, EnvironmentFault):
            for socket, endpoint in zip(sockets, bound_to, strict=False):
                with suppress(zmq.ZMQError):
                    socket.unbind(endpoint)
    raise EnvironmentFault(f"cannot bind {base}: no three free ports in a row")
