"""The ports of a router without a key: forged epochs, large snapshots, subscriptions without end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import zmq

from cluster.core.bus import control, control_coding, envelope
from cluster.core.bus.endpoints import endpoints
from cluster.core.bus.envelope import Envelope
from cluster.core.message import Message

from .attack import Attack
from .rig import Scene
from .rows import Row
from .wire import Stranger, Tally, Target, connect, publish, streams

EPOCH = 2**63 - 2
_KEY = "live/healthy0"
_SNAPSHOT_MESSAGES = 2_000_000
_SUBSCRIPTIONS = 1_000_000
_SETTLE_S = 0.3


class _Rogue:
    """Who says it is a worker: a control connection with a Hello, and a socket that publishes."""

    def __init__(self, target: Target, origins: Sequence[tuple[str, int]] = ()) -> None:
        at = endpoints(target.router)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = self.context.socket(zmq.DEALER)
        self.control.routing_id = b"rogue/deadbeef/0/1"
        self.control.linger = 0
        self.control.connect(at.control)
        self.media = self.context.socket(zmq.XPUB)
        self.media.linger = 0
        self.media.connect(at.publish)
        self.subscriber = self.context.socket(zmq.SUB)
        self.subscriber.linger = 0
        self.subscriber.connect(at.subscribe)
        hello = control.Hello("rogue", "deadbeef", 0, 1, False, {}, list(origins), [])
        self.say(hello)
        time.sleep(_SETTLE_S)

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
        rogue.subscriber.subscribe(b"live/%020d\0" % number)
        tally.sent += 26
        if number % 1_000 == 0 and time.monotonic() > until:
            break
    while time.monotonic() < until:
        time.sleep(0.05)
    rogue.close()
    return tally


def _key_is_free(scene: Scene, _row: Row) -> Sequence[str]:
    """The healthy publishers have left, and so has the attacker: the key is there for the next one."""
    edge, deadline = scene.servers.edge, time.monotonic() + 6
    while time.monotonic() < deadline:
        try:
            peer = Stranger(Target(edge.port, 0, 1.0)).shake_hands()
            peer.say(connect("live"), streams(1), publish(_KEY.removeprefix("live/")))
            peer.until("NetStream.Publish.Start")
            peer.close()
            return []
        except OSError:
            time.sleep(0.2)
    return [f"{_KEY} cannot be published after the attacker has left"]


_ROUTED = partial(Attack, edge="routed", crosses=True)

ATTACKS = [
    _ROUTED("forged-envelope", "16", forged_envelope, judge=_key_is_free),
    _ROUTED("forged-announce", "16", forged_announce, judge=_key_is_free),
    _ROUTED("large-snapshot", "16", snapshots),
    _ROUTED("subscriptions", "16", subscriptions),
]
