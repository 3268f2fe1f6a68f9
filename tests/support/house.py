"""Parts of a worker in one thread: a loop whose clock tests move, a scripted link, and RTMP peers.

Sockets are real; with ``socketpair`` what one end has sent is there at once, so nothing has to be
waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol
from unittest import mock

import pytest

from cluster.core.bus.control import BUSY, Granted, Refused
from cluster.core.bus.envelope import Envelope, decode, encode
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.packing import MessageLike
from cluster.core.errors import CloseReason
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import capabilities, events
from cluster.core.rtmp.capabilities import Capabilities
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.url import RtmpUrl
from cluster.edge.http.sessions import HttpRules, HttpSessions
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.serving import bandwidth_of
from cluster.edge.peers.access import Judge
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.peers.key_limits import KeyLimit, KeyLimits
from cluster.edge.peers.load_limits import LoadLimits
from cluster.edge.peers.places import Places
from cluster.edge.peers.shared_counts import SharedCounts
from cluster.edge.rtmp.admission import Admission
from cluster.edge.rtmp.judged import JudgedAdmission
from cluster.edge.rtmp.requests import Requests
from cluster.edge.rtmp.sessions import Sessions
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.remote import Remote
from cluster.edge.streams.streams import Streams
from cluster.edge.streams.turn import Turn
from cluster.net import wake_ups
from cluster.net.latency_budget import LatencyBudget
from cluster.net.poller import Poller

AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f"
AAC_HEADER = bytes.fromhex("af001190")
KEY = bytes.fromhex("1701000000")
INTER = bytes.fromhex("2701000000")
URL = RtmpUrl.parse("rtmp://edge.example/live/x")
ENTROPY = bytes(range(256)) * 12
IDENTITY = WorkerIdentity("node", "1a2b3c4d", 0, 1)
SECRET = bytes(32)

#: Turns in which nothing moves before all is taken to have settled.
_QUIET_TURNS = 4
_MAX_TURNS = 5000
_READ_BYTES = 1 << 20
_POLL_INTERVAL_S = 0.0005


def video(ms: int, head: bytes = INTER, size: int = 20, stream_id: int = 1) -> Message:
    return Message(9, ms, head + bytes(size), stream_id)


def audio(ms: int, stream_id: int = 1) -> Message:
    return Message(8, ms, b"\xaf\x01" + bytes(10), stream_id)


class SteppedLoop(asyncio.SelectorEventLoop):
    """A real event loop whose clock stands still until a test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def turn(self) -> None:
        """Serve what is ready now."""
        for _ in range(2):
            self.run_until_complete(asyncio.sleep(0))

    def advance(self, seconds: float) -> None:
        """Move the clock, and serve what has become due."""
        self.now += seconds
        self.turn()


def run_until(
    loop: asyncio.AbstractEventLoop, probe: Callable[[], Any], what: str, timeout_s: float = 30.0
) -> Any:
    """Turn ``loop`` until ``probe()`` is truthy and return that."""
    deadline = time.monotonic() + timeout_s
    while not (value := probe()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain: {what}")
        loop.run_until_complete(asyncio.sleep(0))
        time.sleep(_POLL_INTERVAL_S)
    return value


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """A non-blocking socket and its peer's, which waits at most 30 seconds."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.settimeout(30)
    return ours, peer


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """The same over TCP, where what one end sends is at the other a little later."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname(), timeout=30)
        accepted, _ = listening.accept()
    accepted.setblocking(False)
    return accepted, peer


def bring(remote: Remote, envelope: Envelope) -> int:
    """The bus brings ``envelope``, as the link takes it: how many of its messages went the short way."""
    frame = encode(envelope)
    taken = remote.next_received(frame)
    if not taken:
        remote.envelope_received(decode(frame))
    return taken


class FakeLink:
    """Records what the streams ask for; grants with rising epochs unless told otherwise.

    ``holding``: requests wait in ``held`` for ``grant`` or ``refuse``.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.published_at_unpublish = 0
        self.refusal: str | None = None
        self.holding = False
        self.held: list[tuple[str, asyncio.Future[Granted | Refused]]] = []
        self.wanted_keys: set[str] = set()
        self.published: list[Envelope] = []
        self.stamps: list[float] = []
        self._epochs = itertools.count(1)

    async def request_publish(self, key: str, *, replace: bool) -> Granted | Refused:
        self.calls.append(("request_publish", key, replace))
        if self.holding:
            answer = asyncio.get_running_loop().create_future()
            self.held.append((key, answer))
            return await answer
        if self.refusal is not None:
            return Refused(key, self.refusal, 0)
        return Granted(key, next(self._epochs), 0)

    def grant(self) -> int:
        """Grant the request that has waited longest; its epoch."""
        key, answer = self.held.pop(0)
        epoch = next(self._epochs)
        answer.set_result(Granted(key, epoch, 0))
        return epoch

    def refuse(self) -> None:
        key, answer = self.held.pop(0)
        answer.set_result(Refused(key, BUSY, 0))

    def unpublish(self, key: str, epoch: int) -> None:
        self.calls.append(("unpublish", key, epoch))
        self.published_at_unpublish = len(self.published)

    def wanted(self, key: str) -> bool:
        return key in self.wanted_keys

    def publish(
        self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike], *, more: bool = False,
        waited_s: float | None = None,
    ) -> None:  # fmt: skip
        self.stamps += [] if waited_s is None else [waited_s]
        copies = [Message(each.type_id, each.timestamp, each.payload) for each in messages]
        self.published.append(Envelope(key, epoch, first_seq, "test-node/0/1", copies))

    def watch(self, key: str) -> None:
        self.calls.append(("watch", key))

    def unwatch(self, key: str) -> None:
        self.calls.append(("unwatch", key))

    def request_snapshot(self, key: str) -> None:
        self.calls.append(("request_snapshot", key))

    def count(self, *call: Any) -> int:
        return self.calls.count(call)


class SocketPeer:
    """A socket, ``accepted`` at the house's end, that sends what is ``_unsent`` and takes what comes.

    What it speaks is said by the class that builds on it.
    """

    def __init__(self) -> None:
        self.accepted, self.socket = socket.socketpair()
        self.accepted.setblocking(False)
        self.socket.setblocking(False)
        self.closed = False
        self.reading = True
        self._unsent = b""

    def pump(self) -> bool:
        """Send and receive what can be now; whether anything moved."""
        return self._write() | (self.reading and self._read())

    def _outgoing(self) -> bytes:
        """What it has to say besides."""
        return b""

    def _take(self, data: bytes) -> None:
        """These bytes have come."""
        raise NotImplementedError

    def _write(self) -> bool:
        self._unsent += self._outgoing()
        if not self._unsent or self.closed:
            return False
        try:
            sent = self.socket.send(self._unsent)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        self._unsent = self._unsent[sent:]
        return sent > 0

    def _read(self) -> bool:
        if self.closed:
            return False
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if data:
            self._take(data)
        else:
            self.closed = True
        return True


class Peer(SocketPeer):
    """A peer in the client role, at the other end of a connection that ``sessions`` accepted."""

    def __init__(
        self,
        sessions: Sessions,
        now: Callable[[], float],
        app: str = "live",
        declared: Capabilities = capabilities.RELAY,
        host: str = "192.0.2.7",
    ) -> None:
        super().__init__()
        self._now = now
        self.session = ClientSession(limits=Limits(), entropy=ENTROPY, now=now(), handshake="simple")
        self.session.start(dataclasses.replace(URL, app=app), declared=declared)
        self.received: list[Any] = []
        self.media: list[Message] = []
        self.codes: list[str] = []
        sessions.accept(self.accepted, (host, 40_000))

    @property
    def connected(self) -> bool:
        return any(isinstance(event, events.ConnectSucceeded) for event in self.received)

    def _outgoing(self) -> bytes:
        return self.session.outgoing()

    def _take(self, data: bytes) -> None:
        for event in self.session.receive(data, self._now()):
            self.received.append(event)
            if isinstance(event, Message):
                self.media.append(event)
            elif isinstance(event, events.StatusReceived):
                self.codes.append(event.code)

    def events(self, kind: type) -> list[Any]:
        return [event for event in self.received if isinstance(event, kind)]

    def times(self, stream_id: int = 1) -> list[int]:
        """Timestamps of the video frames it got, in order; headers not counted."""
        frames = [m for m in self.media if m.type_id == 9 and m.stream_id == stream_id]
        return [m.timestamp for m in frames if m.payload[1:2] == b"\x01"]

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.session.send(message)


class AnyPeer(Protocol):
    """A peer of any protocol, whose bytes ``settle`` carries."""

    socket: socket.socket
    closed: bool

    def pump(self) -> bool: ...


class House:
    """The streams and the sessions of one worker, on a loop whose clock tests move."""

    def __init__(
        self, loop: SteppedLoop, admission: Admission | None = None,
        limits: Sequence[KeyLimit] = (), counts: SharedCounts | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.loop = loop
        self.config = EdgeConfig(**options)
        self.counters = Counters()
        self.link = FakeLink()
        turn = Turn(loop, loop.time)
        self.streams = Streams(self.config.stream_rules(), self.counters, turn, lambda remote: self.link)
        self.poller = Poller(loop, LatencyBudget(self.config.latency_budget), turn.begin, turn.end)
        self.requests = Requests(self.streams, admission)
        self.places = Places(self.config.place_bounds(), counts)
        self.key_limits = KeyLimits(self.streams, limits, counts)
        bandwidth = bandwidth_of(self.config, self.counters, counts)
        self.room = self.streams.room = LoadLimits(self.streams, self.key_limits, bandwidth)
        self.sessions = Sessions(
            self.requests, self.poller, self.config.limits(), self.places, self.counters, IDENTITY,
            self.config.publish_idle_s,
        )  # fmt: skip
        self.control = AccessControl(self.counters, lambda: turn.now)
        self.peers: list[AnyPeer] = []
        self._http: HttpSessions | None = None

    @property
    def http(self) -> HttpSessions:
        """The HTTP connections of the same worker."""
        if self._http is None:
            config = self.config
            rules = HttpRules(
                config.http_origin, config.handshake_timeout_s, config.idle_timeout_s, config.hls_bytes,
                SECRET,
            )  # fmt: skip
            self._http = HttpSessions(
                self.streams, self.poller, self.places, IDENTITY, rules, self.control
            )
        return self._http

    def use_judge(self, judge: Judge | None) -> None:
        """``judge`` decides about RTMP and HTTP from now on."""
        self.control.judge = judge
        self.requests.admission = None if judge is None else JudgedAdmission(self.control)

    def settle(self) -> None:
        """Carry bytes between the worker and its peers until none move."""
        quiet = 0
        for _ in range(_MAX_TURNS):
            self.loop.turn()
            moved = [peer.pump() for peer in self.peers]
            quiet = 0 if any(moved) or self.poller._late else quiet + 1
            if quiet == _QUIET_TURNS:
                return
        pytest.fail("bytes move without end")

    def advance(self, seconds: float) -> None:
        """Move the clock, sweep as a worker does, and let all settle."""
        self.loop.advance(seconds)
        self.streams.sweep()
        self.room.tick(self.loop.now)
        self.sessions.tick()
        if self._http is not None:
            self._http.sweep()
            self._http.tick()
        self.settle()

    def peer(self, **options: Any) -> Peer:
        """A peer that has connected; ``options`` as for ``Peer``."""
        peer = Peer(self.sessions, self.loop.time, **options)
        self.peers.append(peer)
        self.settle()
        return peer

    def player(self, name: str = "a") -> Peer:
        """A peer that has asked to play ``live/<name>``."""
        peer = self.peer()
        peer.session.play(name)
        self.settle()
        return peer

    def publisher(self, name: str = "a") -> Peer:
        """A peer that has asked to publish ``live/<name>``."""
        peer = self.peer()
        peer.session.publish(name)
        self.settle()
        return peer

    def send(self, peer: Peer, *messages: Message) -> None:
        peer.send(*messages)
        self.settle()

    def leave(self, peer: AnyPeer) -> None:
        """``peer`` goes without a word."""
        peer.closed = True
        peer.socket.close()
        self.settle()

    def close(self) -> None:
        for peer in self.peers:
            peer.closed = True
            peer.socket.close()
        self.settle()
        if self._http is not None:
            self._http.close_all(CloseReason.DRAINED)
        self.poller.close()
        self.loop.run_until_complete(self.requests.close())


@contextlib.contextmanager
def stepped_loop() -> Iterator[SteppedLoop]:
    """A loop whose clock stands still; turns follow each other at once, so no poller on it may rest."""
    loop = SteppedLoop()
    try:
        with mock.patch.object(wake_ups, "HASTY_WAKE_UPS", sys.maxsize):
            yield loop
    finally:
        loop.close()
