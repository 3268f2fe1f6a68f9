"""The ports of a router without a key: forged epochs, large snapshots, subscriptions without end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import zmq

from cluster.core.bus import control, control_coding, envelope
from cluster.core.bus.endpoints import endpoints
from cluster.core.bus.envelope import Envelope
from cluster.core.message import Message

from .attack import Attack
from .bounds import MIB
from .rig import Scene
from .rows import Row
from .wire import Stranger, Tally, Target, picture_header, player, publisher, video

EPOCH = 2**63 - 2
_KEY = "live/healthy0"
_SNAPSHOT_MESSAGES = 2_000_000
_SUBSCRIPTIONS = 1_000_000
_SETTLE_S = 0.3
#: The next publisher must be heard within this: a grace period of another's is no reason to wait.
_FREE_S = 6.0
#: One after the other, on one node and the other.
_PUBLISHERS = 3


class _Rogue:
    """Who says it is a worker: a control connection with a Hello, and a socket that publishes."""

    def __init__(self, target: Target, origins: Sequence[tuple[str, int]] = ()) -> None:
        at = endpoints(target.router)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = self._socket(zmq.DEALER, at.control)
        self.media = self._socket(zmq.XPUB, at.publish)
        self.subscriber = self._socket(zmq.XSUB, at.subscribe)
        hello = control.Hello("rogue", "deadbeef", 0, 1, False, {}, list(origins), [])
        self.say(hello)
        time.sleep(_SETTLE_S)

    def _socket(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        """Connected, and without a bound."""
        socket = self.context.socket(kind)
        socket.set_hwm(0)
        socket.linger = 0
        if kind == zmq.DEALER:
            socket.routing_id = b"rogue/deadbeef/0/1"
        socket.connect(endpoint)
        return socket

    def say(self, message: control.ControlMessage) -> None:
        self.control.send_multipart(control_coding.encode(message), copy=False)

    def close(self) -> None:
        self.context.destroy(linger=0)


def forged_envelope(target: Target) -> Tally:
    """16: media of a stream that another publishes, in an epoch that nothing exceeds."""
    rogue, until, tally = _Rogue(target), time.monotonic() + target.seconds, Tally()
    messages = [Message(9, 0, b"\x17\x01\0\0\0x")]
    forged = envelope.encode(Envelope(_KEY, EPOCH, 0, "rogue/deadbeef/0/1", messages))
    while time.monotonic() < until:
        rogue.media.send(forged)
        tally.sent += len(forged)
        time.sleep(0.05)
    rogue.close()
    return tally


def forged_announce(target: Target) -> Tally:
    """16: the origin of a stream that another publishes, in such an epoch."""
    rogue, until, tally = _Rogue(target), time.monotonic() + target.seconds, Tally()
    for count in range(1_000_000):
        if time.monotonic() > until:
            break
        rogue.say(control.Announce(_KEY, EPOCH))
        rogue.say(control.Heartbeat({}, False, count + 1))
        time.sleep(0.1)
    rogue.close()
    return tally


def snapshots(target: Target) -> Tally:
    """16: a snapshot of two million messages without a byte."""
    rogue, until, tally = _Rogue(target), time.monotonic() + target.seconds, Tally()
    empty = [Message(9, 0, b"")] * target.amount(_SNAPSHOT_MESSAGES)
    frames = control_coding.encode(
        control.Snapshot(_KEY, 1, len(empty), [], empty, "rogue/deadbeef/0/1", 1, "nobody/0/0/0")
    )
    while time.monotonic() < until:
        try:
            rogue.control.send_multipart(frames, zmq.DONTWAIT, copy=False)
            tally.sent += sum(map(len, frames))
        except zmq.Again:
            pass
        time.sleep(0.1)
    rogue.close()
    return tally


def subscriptions(target: Target) -> Tally:
    """16: a million subscriptions, which every worker is told of."""
    rogue, until, tally = _Rogue(target), time.monotonic() + target.seconds, Tally()
    for number in range(target.amount(_SUBSCRIPTIONS)):
        rogue.subscriber.send(b"\1live/%020d\0" % number)
        tally.sent += 26
        if number % 1_000 == 0 and time.monotonic() > until:
            break
    while time.monotonic() < until:
        time.sleep(0.05)
    rogue.close()
    return tally


def _key_is_free(scene: Scene, _row: Row) -> Sequence[str]:
    """The healthy publishers and the attacker have left: each of the next is heard on the other node."""
    places = [Target(port, 0, 1.0) for port, _worker in scene.servers.places]
    for publishes in range(_PUBLISHERS):
        at = places[publishes % 2], places[1 - publishes % 2]
        if not _is_next_heard(*at):
            return [f"nobody hears publisher {1 + publishes} of {_KEY} after the attacker has left"]
    return []


def _is_next_heard(publisher_at: Target, player_at: Target) -> bool:
    """Whether a new publisher of the key is let, and heard by a new player of the other node."""
    name, deadline = _KEY.removeprefix("live/"), time.monotonic() + _FREE_S
    while time.monotonic() < deadline:
        peers: list[Stranger] = []
        try:
            peers.append(publisher(publisher_at, name))
            peers.append(player(player_at, name))
            if _is_heard(*peers, deadline):
                return True
        except OSError:
            time.sleep(0.2)
        finally:
            for peer in peers:
                peer.close()
    return False


def _is_heard(source: Stranger, listener: Stranger, until: float) -> bool:
    """Whether the player gets pictures of the publisher."""
    listener.socket.settimeout(0.04)
    source.say(picture_header())
    for number in range(1_000):
        source.say(video(40 * number, 5_000, key=number % 25 == 0))
        try:
            listener.seen += listener.socket.recv(65_536)
        except TimeoutError:
            continue
        if len(listener.seen) > 3 * 5_000:
            return True
        if time.monotonic() > until:
            break
    return False


_ROUTED = partial(Attack, edge="routed", crosses=True)

ATTACKS = [
    _ROUTED("forged-envelope", "16", forged_envelope, judge=_key_is_free),
    _ROUTED("forged-announce", "16", forged_announce, judge=_key_is_free),
    _ROUTED("large-snapshot", "16", snapshots),
    # libzmq keeps 650 bytes for each topic and has no bound: what ends that is the unit's MemoryMax.
    _ROUTED(
        "subscriptions", "16", subscriptions, crowd=True,
        adjust=lambda bounds: replace(
            bounds, router_growth_bytes=512 * MIB, worker_bytes=bounds.worker_bytes + 64 * MIB
        ),
    ),
]
