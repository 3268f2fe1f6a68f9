"""ZeroMQ sockets of workers, routers and repeaters: every queue bounded, a dead peer noticed."""

from __future__ import annotations

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import bounds

#: What the monitor of a connecting socket tells of a router that does not let it in. libzmq gives up
#: such a connection for good.
REFUSALS = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)  # fmt: skip


def bus_socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, high_water_mark: int, endpoint: str
) -> zmq.Socket[bytes]:
    """A socket of ``kind`` for ``endpoint``, still to be bound there, or connected by ``uplink_socket``."""
    socket = context.socket(kind)
    socket.set_hwm(high_water_mark)
    socket.linger = 0
    socket.ipv6 = endpoint.startswith("tcp://[")
    socket.maxmsgsize = bounds.MAX_FRAME_BYTES
    if kind == zmq.XPUB:  # what it receives is subscriptions
        socket.maxmsgsize = bounds.MAX_SUBSCRIPTION_BYTES
        socket.rcvhwm = bounds.SUBSCRIPTIONS_AT_ONCE
    socket.handshake_ivl = bounds.ZMQ_HANDSHAKE_TIMEOUT_MS
    if not _is_local(endpoint):  # over ipc the kernel notices
        is_control = kind in (zmq.DEALER, zmq.ROUTER)
        socket.heartbeat_ivl = (
            bounds.ZMQ_CONTROL_HEARTBEAT_INTERVAL_MS if is_control else bounds.ZMQ_HEARTBEAT_INTERVAL_MS
        )
        socket.heartbeat_timeout = bounds.ZMQ_HEARTBEAT_TIMEOUT_MS
    return socket


def uplink_socket(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    high_water_mark: int,
    endpoint: str,
    key: ClusterKey | None,
) -> zmq.Socket[bytes]:
    """A socket of ``kind`` that is to be connected to a router at ``endpoint``, and again whenever it is
    lost. ``key`` is for tcp: over ipc the file system decides who may connect."""
    socket = bus_socket(context, kind, high_water_mark, endpoint)
    # Queue nothing for a router that is not there. Without this a connecting XPUB also keeps the
    # subscriptions of a router that died, and goes on packing for nobody.
    socket.immediate = True
    if key is not None and not _is_local(endpoint):
        key.secure_worker(socket)
    socket.reconnect_ivl = bounds.ZMQ_RECONNECT_MS
    socket.connect_timeout = bounds.ZMQ_CONNECT_TIMEOUT_MS
    return socket


def _is_local(endpoint: str) -> bool:
    return endpoint.startswith("ipc://")
