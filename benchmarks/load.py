"""The load generator: publishers and players over one epoll loop, cheap and honest.

Publishers send each message at its own moment, as an encoder does. Players read and drop; a few
sampled ones parse what they get, to measure the delay and to see that nothing is missing. The
result says when the generator itself was the bottleneck.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks import media, proc
from benchmarks.wire import BareStream, Dialogue, Role
from cluster.core.message import Message, MessageType

_APP = "live"
_READ_BYTES = 256 * 1024
_EVENTS_PER_POLL = 64
_CONNECT_EVERY_NS = 4_000_000
_READY_TIMEOUT_NS = 30_000_000_000
#: Players acknowledge what they read, as real ones do (RTMP 1.0, 5.4.3).
_ACKNOWLEDGE_BYTES = 2_500_000
_SAMPLED_PLAYERS = 6
#: Above these the numbers say more about the generator than about the server.
MAX_GENERATOR_SHARE = 0.85
MAX_LATE_MS = 10.0
MIN_DELIVERED = 0.97


class LoadError(Exception):
    """The load could not be put on the server: it refused, closed or never answered."""


class _Talk(Protocol):
    """What a connection does with the bytes it reads before (and, if sampled, while) media flows."""

    ready: bool
    failed: str | None

    def receive(self, data: bytes) -> list[Message]: ...
    def outgoing(self) -> bytes: ...


@dataclass
class LoadResult:
    """One measured window."""

    peers: int
    window_s: float
    server_cpu_s: float
    server_memory_bytes: int
    generator_cpu_s: float
    late_p99_ms: float
    delivered: float | None = None
    delays_ms: list[float] = field(default_factory=list, repr=False)
    missing_messages: int = 0

    @property
    def cpu_ms_per_peer_s(self) -> float:
        return self.server_cpu_s * 1000 / (self.peers * self.window_s)

    @property
    def delay_p50_ms(self) -> float | None:
        return statistics.median(self.delays_ms) if self.delays_ms else None

    @property
    def delay_p99_ms(self) -> float | None:
        return percentile(self.delays_ms, 0.99) if self.delays_ms else None

    @property
    def generator_share(self) -> float:
        return self.generator_cpu_s / self.window_s

    @property
    def complaints(self) -> list[str]:
        """Why this result should not be trusted, if so."""
        found = []
        if self.generator_share > MAX_GENERATOR_SHARE:
            found.append(f"generator used {self.generator_share:.0%} of its core")
        if self.late_p99_ms > MAX_LATE_MS:
            found.append(f"generator sent {self.late_p99_ms:.1f} ms late (p99)")
        if self.delivered is not None and self.delivered < MIN_DELIVERED:
            found.append(f"players got {self.delivered:.1%} of the stream")
        if self.missing_messages:
            found.append(f"sampled players missed {self.missing_messages} messages")
        return found


class _Player:
    __slots__ = ("last_sequence", "missing", "playing", "sampled", "sock", "talk", "unacknowledged")

    def __init__(self, sock: socket.socket, talk: _Talk, *, sampled: bool) -> None:
        self.sock = sock
        self.talk: _Talk | None = talk
        self.sampled = sampled
        self.playing = False
        self.unacknowledged = 0
        self.last_sequence: int | None = None
        self.missing = 0


class _Publisher:
    __slots__ = ("backlog", "cycle_ns", "position", "ready", "sequence", "sock", "start_ns", "talk")

    def __init__(self, sock: socket.socket, talk: _Talk) -> None:
        self.sock = sock
        self.talk: _Talk | None = talk
        self.ready = False
        self.backlog = b""
        self.start_ns = 0
        self.cycle_ns = 0
        self.position = 0
        self.sequence = 0


class Generator:
    """One epoll loop that owns all publishers and players of one run. Close it when done."""

    def __init__(self, port: int, shape: media.StreamShape) -> None:
        self._port = port
        self._shape = shape
        self._templates = shape.templates
        self._epoll = select.epoll()
        self._peers: dict[int, _Player | _Publisher] = {}
        self._players: list[_Player] = []
        self._publishers: list[_Publisher] = []
        #: (due, order, publisher): order keeps the heap from ever comparing publishers.
        self._due: list[tuple[int, int, _Publisher]] = []
        self._buffer = bytearray(_READ_BYTES)
        self._measuring = False
        self._received_bytes = 0
        self._delays_ns: list[int] = []
        self._late_ns: list[int] = []

    def close(self) -> None:
        for peer in self._peers.values():
            peer.sock.close()
        self._peers.clear()
        self._epoll.close()

    def add_publishers(self, names: list[str]) -> None:
        """Connect, publish and start sending, the publishers spread evenly over one group of pictures."""
        added = [self._add_publisher(name) for name in names]
        self._run_while(lambda: not all(p.ready for p in added), "publish was not granted")
        first_ns = time.monotonic_ns() + 1_000_000
        for n, publisher in enumerate(added):
            publisher.start_ns = first_ns + self._shape.period_ns * n // len(added)
            publisher.sock.send(media.preamble(self._shape.chunk_size))
            heapq.heappush(self._due, (publisher.start_ns, n, publisher))

    def add_players(self, count: int, name: str | None) -> None:
        """Connect players one after another; returns once media reaches each (None: a bare stream)."""
        every = max(1, count // _SAMPLED_PLAYERS)
        for n in range(count):
            talk = BareStream(self._shape.chunk_size) if name is None else self._dialogue("play", name)
            self._add_player(talk, sampled=n % every == every - 1)
            self.run(_CONNECT_EVERY_NS)
        self._run_while(lambda: not all(p.playing for p in self._players), "no media reached a player")

    def run(self, duration_ns: int) -> None:
        self._run_to(time.monotonic_ns() + duration_ns)

    def measure(self, window_s: float, server_pid: int) -> LoadResult:
        """Run for the window and say what the server's process tree spent in it."""
        self._start_measuring()
        cpu_before, own_before = proc.cpu_s(server_pid), time.process_time()
        started_ns = time.monotonic_ns()
        self._run_to(started_ns + int(window_s * 1e9))
        cpu_s = proc.cpu_s(server_pid) - cpu_before
        own_cpu_s = time.process_time() - own_before
        elapsed_s = (time.monotonic_ns() - started_ns) / 1e9
        self._measuring = False
        result = LoadResult(
            peers=len(self._players) or len(self._publishers),
            window_s=elapsed_s,
            server_cpu_s=cpu_s,
            server_memory_bytes=proc.memory_bytes(server_pid),
            generator_cpu_s=own_cpu_s,
            late_p99_ms=percentile(self._late_ns, 0.99) / 1e6 if self._late_ns else 0.0,
        )
        if self._players:
            expected = self._shape.bits_per_second / 8 * elapsed_s * len(self._players)
            result.delivered = self._received_bytes / expected
            result.delays_ms = [delay / 1e6 for delay in self._delays_ns]
            result.missing_messages = sum(player.missing for player in self._players)
        return result

    def _start_measuring(self) -> None:
        self._received_bytes = 0
        self._delays_ns.clear()
        self._late_ns.clear()
        for player in self._players:
            player.missing = 0
        self._measuring = True

    # -- connections ---------------------------------------------------------------------------

    def _dialogue(self, role: Role, name: str) -> Dialogue:
        return Dialogue(role, self._port, _APP, name, self._shape.chunk_size)

    def _connect(self, talk: _Talk) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.send(talk.outgoing())
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return sock

    def _add_publisher(self, name: str) -> _Publisher:
        talk = self._dialogue("publish", name)
        publisher = _Publisher(self._connect(talk), talk)
        self._peers[publisher.sock.fileno()] = publisher
        self._publishers.append(publisher)
        return publisher

    def _add_player(self, talk: _Talk, *, sampled: bool) -> None:
        player = _Player(self._connect(talk), talk, sampled=sampled)
        self._peers[player.sock.fileno()] = player
        self._players.append(player)

    # -- the loop ------------------------------------------------------------------------------

    def _run_while(self, waiting: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic_ns() + _READY_TIMEOUT_NS
        while waiting():
            if time.monotonic_ns() > deadline:
                raise LoadError(f"{what} within {_READY_TIMEOUT_NS / 1e9:.0f} s")
            self.run(10_000_000)

    def _run_to(self, end_ns: int) -> None:
        epoll, due = self._epoll, self._due
        epoll_fd = [epoll.fileno()]
        while True:
            now = time.monotonic_ns()
            if now >= end_ns:
                return
            while due and due[0][0] <= now:
                self._send_due(now)
                now = time.monotonic_ns()
            events = epoll.poll(0, _EVENTS_PER_POLL)
            if not events:
                wake_ns = min(end_ns, due[0][0]) if due else end_ns
                # select takes microseconds where epoll_wait takes milliseconds.
                select.select(epoll_fd, (), (), max(0, wake_ns - time.monotonic_ns()) / 1e9)
                continue
            for fd, event in events:
                peer = self._peers[fd]
                if isinstance(peer, _Player):
                    self._read_player(peer)
                elif event & select.EPOLLOUT:
                    self._flush_backlog(peer)
                else:
                    self._read_publisher(peer)

    def _send_due(self, now: int) -> None:
        due_ns, order, publisher = self._due[0]
        template = self._templates[publisher.position]
        timestamp_ms = (publisher.cycle_ns + template.offset_ns) // 1_000_000
        data = template.stamped(timestamp_ms, publisher.sequence)
        if self._measuring:
            self._late_ns.append(now - due_ns)
        if publisher.backlog:
            publisher.backlog += data
        else:
            try:
                sent = publisher.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise LoadError(f"the server closed a publisher: {error}") from error
            if sent < len(data):
                publisher.backlog = bytes(data[sent:])
                self._epoll.modify(publisher.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        publisher.sequence += 1
        publisher.position += 1
        if publisher.position == len(self._templates):
            publisher.position = 0
            publisher.cycle_ns += self._shape.period_ns
        offset_ns = publisher.cycle_ns + self._templates[publisher.position].offset_ns
        heapq.heapreplace(self._due, (publisher.start_ns + offset_ns, order, publisher))

    def _flush_backlog(self, publisher: _Publisher) -> None:
        with contextlib.suppress(BlockingIOError):
            publisher.backlog = publisher.backlog[publisher.sock.send(publisher.backlog) :]
        if not publisher.backlog:
            self._epoll.modify(publisher.sock.fileno(), select.EPOLLIN)

    def _read(self, peer: _Player | _Publisher) -> int:
        try:
            count = peer.sock.recv_into(self._buffer)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LoadError(f"the server reset a connection: {error}") from error
        if count == 0:
            raise LoadError(f"the server closed a {type(peer).__name__.strip('_').lower()}")
        return count

    def _talk(self, peer: _Player | _Publisher, talk: _Talk, count: int) -> list[Message]:
        messages = talk.receive(bytes(memoryview(self._buffer)[:count]))
        if talk.failed:
            raise LoadError(f"the server refused: {talk.failed}")
        reply = talk.outgoing()
        if reply:
            peer.sock.send(reply)
        return messages

    def _read_publisher(self, publisher: _Publisher) -> None:
        count = self._read(publisher)
        if count and publisher.talk is not None:
            self._talk(publisher, publisher.talk, count)
            publisher.ready = publisher.talk.ready
            if publisher.ready:
                publisher.talk = None

    def _read_player(self, player: _Player) -> None:
        count = self._read(player)
        arrived_ns = time.monotonic_ns()
        if self._measuring:
            self._received_bytes += count
        if player.talk is None:
            player.unacknowledged += count
            if player.unacknowledged >= _ACKNOWLEDGE_BYTES:
                player.unacknowledged = 0
                player.sock.send(_acknowledgement())
            return
        for message in self._talk(player, player.talk, count):
            player.playing = True
            self._sample(player, message, arrived_ns)
        if player.playing and not player.sampled:
            player.talk = None

    def _sample(self, player: _Player, message: Message, arrived_ns: int) -> None:
        stamp = media.read_stamp(message.type_id, message.payload)
        if stamp is None:
            return
        if player.last_sequence is not None and stamp.sequence != player.last_sequence + 1:
            player.missing += abs(stamp.sequence - player.last_sequence - 1)
        player.last_sequence = stamp.sequence
        if self._measuring:
            self._delays_ns.append(arrived_ns - stamp.sent_ns)


def _acknowledgement() -> bytes:
    count = (time.monotonic_ns() // 1000) & 0xFFFFFFFF
    return media.encode_chunks(
        MessageType.ACKNOWLEDGEMENT, 0, count.to_bytes(4, "big"),
        chunk_stream=2, stream_id=0, chunk_size=128,
    )


def percentile(values: list[int] | list[float], share: float) -> float:
    """The value below which ``share`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


def play_load(
    port: int, server_pid: int, *, players: int, shape: media.StreamShape, window_s: float,
    settle_s: float, bare: bool = False,
) -> LoadResult:  # fmt: skip
    """One stream to many players; ``bare``: the server sends it by itself, without RTMP dialogue."""
    with contextlib.closing(Generator(port, shape)) as generator, _no_garbage_collection():
        if not bare:
            generator.add_publishers(["bench"])
        generator.add_players(players, None if bare else "bench")
        generator.run(int(settle_s * 1e9))
        return generator.measure(window_s, server_pid)


def publish_load(
    port: int, server_pid: int, *, publishers: int, shape: media.StreamShape, window_s: float,
    settle_s: float,
) -> LoadResult:  # fmt: skip
    """Many streams that nobody plays."""
    with contextlib.closing(Generator(port, shape)) as generator, _no_garbage_collection():
        generator.add_publishers([f"bench-{n}" for n in range(publishers)])
        generator.run(shape.period_ns + int(settle_s * 1e9))
        return generator.measure(window_s, server_pid)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a window would be seen as delay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
