"""A thousand workers of a router, without their players: what ``membership`` has a router serve.

It is run as a file, so that ``cluster`` is that of the tree under test: whatever that tree's messages can
say is said as its workers would, at their intervals.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import random
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import zmq

import cluster
from cluster.core.bus import bounds, cluster_status, control, control_coding
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.endpoints import endpoints

#: What came later than the oldest tree that is compared.
_TIMED: Any = getattr(control, "TimedHeartbeat", None)
_NODE_REPORT: Any = getattr(control, "NodeReport", None)

_REPORT_INTERVAL_S = 2.0
#: Everybody has come, and all is quiet, within so long; it ends by itself so long after that.
_JOIN_S, _LONGEST_S = 45.0, 120.0
#: Heartbeats that each has been answered when all is quiet.
_ANSWERS_BEFORE = 30
#: The router may take so long to say what it knows.
_STATUS_S, _ASK_AGAIN_S = 20.0, 5.0
#: Workers come so often, which is slower than they can be served.
_COMES_EVERY_S = 0.01

#: As ``LoadMeter`` measures it.
_LOAD = {
    "connections": 250, "streams": 260, "bytes_received": 812_345_678, "bytes_sent": 9_812_345_678,
    "bits_received_per_s": 51_234_567, "bits_sent_per_s": 612_345_678, "routers": 1, "routers_live": 1,
}  # fmt: skip

#: What a worker hears is not decoded here: where its kind stands in it, and that of what matters.
_TAG_AT = 2
_HELLO_WANTED = control_coding.encode(control.HelloWanted())[0][_TAG_AT]
_HEARTBEAT = bytes(control_coding.encode(control.Heartbeat(_LOAD, False, 0))[0][:-1])

_Context = zmq.Context[zmq.Socket[bytes]]


class _Member:
    """One worker: its connections, and what it says over them."""

    def __init__(self, context: _Context, base: str, node: str, slot: int) -> None:
        self.node, self.slot = node, slot
        self.worker_id = f"{node}/{slot}/1"
        self.origins: list[tuple[str, int]] = []
        self.watches: list[str] = []
        self.facts: list[StreamFacts] = []
        self.is_welcome = False
        self.hellos = self.received = self._sent = 0
        self._timed_at = 0.0
        self._report: Any = None  # always the same: what it costs to make one is no router's matter
        there = endpoints(base)
        self.dealer = _socket(context, zmq.DEALER, there.control)
        self.dealer.routing_id = self.worker_id.encode()
        self.dealer.connect(there.control)
        self._publishes = _socket(context, zmq.XPUB, there.publish)
        self._publishes.connect(there.publish)

    def beat(self, now: float) -> None:
        """Read what has come, and say that it lives."""
        self.read()
        if not self.is_welcome:
            self._say_hello()
        elif _TIMED is not None and now >= self._timed_at:
            self._timed_at = now + bounds.CLOCK_INTERVAL_S
            self._send(_TIMED(_LOAD, False, self._sent, int(now * 1e6)))
        else:  # its last field alone is another each time
            with contextlib.suppress(zmq.Again):
                self.dealer.send(_HEARTBEAT + msgpack.packb(self._sent), zmq.DONTWAIT)
                self._sent += 1

    def report(self) -> None:
        if self.is_welcome:
            self._report = self._report or control_coding.encode(control.Report(self.facts))
            with contextlib.suppress(zmq.Again):
                self.dealer.send_multipart(self._report, zmq.DONTWAIT)
                self._sent += 1

    def probe(self) -> None:
        """Where a worker would send one with its media."""
        from cluster.core.bus.probe import Probe, encode_probe

        with contextlib.suppress(zmq.Again):  # the subscription that has it sent
            while True:
                self._publishes.recv(zmq.DONTWAIT)
        with contextlib.suppress(zmq.Again):
            probe = Probe(self.worker_id, int(time.monotonic() * 1e6))
            self._publishes.send(encode_probe(probe), zmq.DONTWAIT)

    def read(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                frame = self.dealer.recv(zmq.DONTWAIT)
                self.received += 1
                if frame[_TAG_AT] == _HELLO_WANTED:
                    self.is_welcome = False

    def _say_hello(self) -> None:
        node, _, instance = self.node.rpartition("/")
        self.hellos += 1
        who = node, instance, self.slot, 1
        self._send(control.Hello(*who, False, _LOAD, self.origins, self.watches))
        self._sent = 0
        self.is_welcome = True  # until it hears otherwise: hellos are not repeated meanwhile

    def _send(self, message: Any) -> None:
        with contextlib.suppress(zmq.Again):
            self.dealer.send_multipart(control_coding.encode(message), zmq.DONTWAIT)
            self._sent += 1


def _socket(context: _Context, kind: int, endpoint: str) -> zmq.Socket[bytes]:
    from cluster.bus.sockets import uplink_socket

    socket = uplink_socket(context, kind, bounds.CONTROL_HIGH_WATER_MARK, endpoint, None)
    socket.immediate = kind != zmq.DEALER  # a Hello may wait for the connection here
    return socket


class _Node:
    """The workers of one node, and what it says for them."""

    def __init__(self, context: _Context, base: str, node: str, workers: int) -> None:
        self.name = node
        self.members = [_Member(context, base, node, slot) for slot in range(workers)]
        self._report: Any = None
        there = endpoints(base)
        self._repeater = _socket(context, zmq.SUB, there.subscribe)
        self._repeater.connect(there.subscribe)
        if _NODE_REPORT is not None:
            self._dealer = _socket(context, zmq.DEALER, there.control)
            self._dealer.heartbeat_ivl = 1_000
            self._dealer.connect(there.control)

    def report(self) -> None:
        """One report for them all."""
        if self._report is None:
            rows = cluster_status.summed(each.facts for each in self.members)
            self._report = control_coding.encode(_NODE_REPORT(self.name, rows))
        with contextlib.suppress(zmq.Again):
            self._dealer.send_multipart(self._report, zmq.DONTWAIT)


def _cluster(context: _Context, options: argparse.Namespace) -> list[_Node]:
    """The nodes, with the streams that they publish and play."""
    nodes = [
        _Node(context, options.router, f"node-{number}/{number:08x}", options.workers)
        for number in range(options.nodes)
    ]
    epoch = time.time_ns() // 1_000_000
    draw = random.Random(1)
    for node in nodes:
        others = [each for each in nodes if each is not node]
        for member, number in itertools.product(node.members, range(options.streams)):
            key = f"live/{node.name.split('/')[0]}-{member.slot}-{number}"
            member.origins.append((key, epoch))
            member.facts.append(StreamFacts(key, 3, "avc1 mp4a", 2_500_000))
            for other in draw.sample(others, options.played_on):
                for player in draw.sample(other.members, options.played_by):
                    player.watches.append(key)
                    player.facts.append(StreamFacts(key, 5, "", 0))
    return nodes


def _turns(nodes: list[_Node]) -> Iterator[tuple[float, float, Callable[[], None]]]:
    """(first, interval, what): a node's clock is its own, and what its workers do every so often they do
    at one moment."""
    draw = random.Random(2)
    comes_at = time.monotonic()
    for node in nodes:
        comes_at += len(node.members) * _COMES_EVERY_S
        for member in node.members:
            yield comes_at, bounds.HEARTBEAT_INTERVAL_S, lambda m=member: m.beat(time.monotonic())
            at = comes_at + draw.uniform(1.0, 1.0 + _REPORT_INTERVAL_S)
            if _NODE_REPORT is None:
                yield at, _REPORT_INTERVAL_S, member.report
            if hasattr(bounds, "PROBE_INTERVAL_S"):
                yield at, bounds.PROBE_INTERVAL_S, member.probe
        if _NODE_REPORT is not None:
            yield comes_at + draw.uniform(1.0, 3.0), _REPORT_INTERVAL_S, node.report


class _Question:
    """What the router knows, asked for until it says so: on a busy machine an answer is lost."""

    def __init__(self, context: _Context, base: str) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(endpoints(base).control)
        self._asked_at = self._began_at = 0.0

    def answer(self) -> tuple[int, int, int] | None:
        """Workers, streams and players, as soon as the router has said so."""
        now = time.monotonic()
        self._began_at = self._began_at or now
        if now > self._asked_at + _ASK_AGAIN_S:
            self._asked_at = now
            self._socket.send_multipart(control_coding.encode(control.StatusRequest()))
        if not self._socket.poll(0):
            if now > self._began_at + _STATUS_S:
                sys.exit("the router does not say what it knows")
            return None
        status = control_coding.decode(self._socket.recv_multipart())
        assert isinstance(status, control.ClusterStatus)
        players = sum(sum(each.players.values()) for each in status.streams)
        return len(status.workers), len(status.streams), players


class _Run:
    """Has every node's turns come, until it is told to ask and has the answer, or has lasted too long."""

    def __init__(self, nodes: list[_Node], question: _Question) -> None:
        self._question = question
        self._members = [member for node in nodes for member in node.members]
        self._began_at = time.monotonic()
        turns = enumerate(_turns(nodes))
        self._queue = [(at, number, every_s, act) for number, (at, every_s, act) in turns]
        heapq.heapify(self._queue)
        self._watched = sum(len(member.watches) for member in self._members)
        self._before = 0
        #: When all had joined; 0 before.
        self._joined_at = 0.0
        self._late_s = 0.0

    def run(self) -> tuple[int, int, int]:
        """What the router knows in the end."""
        look_at = 0.0
        is_over = False
        while time.monotonic() < self._began_at + _JOIN_S + _LONGEST_S:
            at, number, every_s, act = self._queue[0]
            now = time.monotonic()
            if at > now:
                time.sleep(at - now)
            elif self._joined_at:
                self._late_s = max(self._late_s, now - at)
            act()
            # A worker that is late leaves out what it has missed.
            following = at + every_s if at + every_s > now else now + every_s
            heapq.heapreplace(self._queue, (following, number, every_s, act))
            if now >= look_at:
                look_at = now + 0.25
                self._look(now)
                is_over = is_over or bool(select.select([sys.stdin], [], [], 0)[0])
                if is_over and (known := self._question.answer()) is not None:
                    return known
        sys.exit("it has lasted too long")

    def _look(self, now: float) -> None:
        """All have joined if they have heard of all that they play, and have been answered for a while."""
        if self._joined_at:
            return
        if self._received >= self._watched + _ANSWERS_BEFORE * len(self._members):
            self._joined_at, self._before = now, self._received
            said = {"cluster": cluster.__file__, "joined_s": now - self._began_at}
            print(json.dumps(said), flush=True)
        elif now > self._began_at + _JOIN_S:
            sys.exit("they have not all joined in time")

    @property
    def _received(self) -> int:
        return sum(member.received for member in self._members)

    def seen(self) -> dict[str, float]:
        """What has come of it since all had joined. ``hellos``: those of workers that had been lost."""
        seconds = time.monotonic() - self._joined_at
        return {
            "received_per_s": (self._received - self._before) / seconds, "late_s": self._late_s,
            "hellos": sum(member.hellos for member in self._members) - len(self._members),
        }  # fmt: skip

    def expected(self) -> tuple[int, int, int]:
        """Workers, streams and players, as the router should know them."""
        players = sum(row.players for member in self._members for row in member.facts)
        return len(self._members), sum(len(member.origins) for member in self._members), players


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", required=True)
    for name in ("nodes", "workers", "streams", "played-on", "played-by"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    context: _Context = zmq.Context(1)
    context.set(zmq.MAX_SOCKETS, 4 * options.nodes * (options.workers + 1))
    run = _Run(_cluster(context, options), _Question(context, options.router))
    known = run.run()
    print(json.dumps({**run.seen(), "known": known, "expected": run.expected()}), flush=True)
    context.destroy(0)


if __name__ == "__main__":
    main()
