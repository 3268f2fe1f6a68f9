"""One connection: how it ends, what waits when its socket is full, and in which order."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.events import ConnectRequested, ConnectSucceeded, StatusReceived
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.status import Code, Level
from cluster.core.rtmp.url import RtmpUrl
from cluster.edge.rtmp.connection import MAX_PENDING_CONTROL_BYTES, Connection
from cluster.edge.rtmp.low_water import LEISURELY_BYTES
from cluster.edge.streams.counters import Counters
from cluster.net.latency_budget import BudgetRule, LatencyBudget
from cluster.net.outbox import LINGER_S
from cluster.net.poller import READABLE, Pace, Poller
from support.house import ENTROPY, IDENTITY, SteppedLoop, run_until, stepped_loop, tcp_pair, unix_pair

BUDGET_S = 0.05
Pair: TypeAlias = tuple[socket.socket, socket.socket]


class ScriptedSession:
    """Says and does what the test tells it to."""

    def __init__(self) -> None:
        self.results: list[object] = []
        self.violation: PeerViolation | None = None
        self.to_send = b""
        self.received = b""
        self.work = 0
        self.unread = b""
        self.has_unread = False
        self.side_work = 0
        self.lacking_bytes = 0
        self.bytes_received = 1
        self.flash_ver = ""
        self.refusal = ("", "")

    def receive(self, data: bytes, now: float) -> list[object]:
        self.received += bytes(data)
        if self.violation is not None:
            raise self.violation
        results, self.results = self.results, []
        return results

    @property
    def unsent(self) -> bytes:
        return self.to_send

    def outgoing(self) -> bytes:
        data, self.to_send = self.to_send, b""
        return data

    def tick(self, now: float) -> None:
        if self.violation is not None:
            raise self.violation


class FakeStream:
    """A feed and a reader that keep what they were given and told."""

    def __init__(self) -> None:
        self.is_heard = False
        self.appended: list[Message] = []
        self.told_full = 0
        self.told_free = 0

    def append(self, message: Message) -> None:
        self.appended.append(message)

    def fell_behind(self) -> None:
        self.told_full += 1

    def catch_up(self) -> bool:
        self.told_free += 1
        return True


class FakePlayer:
    def __init__(self, reader: FakeStream) -> None:
        self.reader = reader


class Owner:
    """A worker reduced to what a connection needs of it."""

    def __init__(self, loop: SteppedLoop) -> None:
        self._loop = loop
        budget = LatencyBudget(BudgetRule(BUDGET_S * 1000))
        self.poller = Poller(loop, budget, lambda: None, lambda: None)
        self.counters = Counters()
        self.identity = IDENTITY
        self.receive_buffer = memoryview(bytearray(64 * 1024))
        self.stranger_buffer = self.receive_buffer
        self.on_event: Callable[[Connection, object], None] = lambda connection, event: None
        self.events: list[object] = []
        self.endings: list[tuple[CloseReason, str]] = []
        self.forgotten = 0

    @property
    def now(self) -> float:
        return self._loop.time()

    def handle(self, connection: Connection, event: object) -> None:
        self.events.append(event)
        self.on_event(connection, event)

    def ended(self, connection: Connection, reason: CloseReason, detail: str) -> None:
        self.endings.append((reason, detail))
        connection.players.clear()
        connection.publications.clear()

    def forget(self, connection: Connection) -> None:
        self.forgotten += 1


class Scene:
    """One connection with a scripted session, and the peer's plain socket."""

    def __init__(self, loop: SteppedLoop, owner: Owner, pair: Callable[[], Pair] = unix_pair) -> None:
        self.loop = loop
        self.owner = owner
        self.session = ScriptedSession()
        self.accepted, self.peer = pair()
        self.connection = Connection(owner, self.accepted, "192.0.2.7:40000", self.session)  # type: ignore[arg-type]

    @property
    def reasons(self) -> list[CloseReason]:
        return [reason for reason, _ in self.owner.endings]

    def pace(self) -> Pace:
        return self.owner.poller._paces.get(self.accepted.fileno(), Pace.PROMPT)

    def low_water_bytes(self) -> int:
        return self.accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def hear(self, data: bytes = b"x") -> None:
        """The peer sends, and the connection reads."""
        self.peer.sendall(data)
        self.loop.turn()

    def until_forgotten(self) -> None:
        run_until(self.loop, lambda: self.owner.forgotten, "the connection to be closed")

    def say(self, data: bytes) -> None:
        """The session has something to send."""
        self.session.to_send += data
        self.connection.write_control()

    def fill(self) -> int:
        """Fill the socket with media; returns the bytes of it, of which some are pending."""
        total = 0
        while not self.connection.pending:
            self.connection.write_media([b"m" * 65536])
            total += 65536
        return total

    def read(self, count: int) -> bytes:
        """What the peer reads while the connection writes on; fails if it gets less."""
        got = bytearray()
        while len(got) < count:
            piece = self.peer.recv(min(1 << 20, count - len(got)))
            assert piece, f"closed after {len(got)} bytes of {count}"
            got += piece
            self.loop.turn()
        return bytes(got)


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as made:
        yield made


@pytest.fixture
def owner(loop: SteppedLoop) -> Iterator[Owner]:
    made = Owner(loop)
    yield made
    made.poller.close()


@pytest.fixture
def scene(loop: SteppedLoop, owner: Owner) -> Iterator[Scene]:
    made = Scene(loop, owner)
    yield made
    made.connection.close(CloseReason.DRAINED, "")
    made.peer.close()


@pytest.fixture
def over_tcp(loop: SteppedLoop, owner: Owner) -> Iterator[Scene]:
    """For what only TCP does: resets."""
    made = Scene(loop, owner, tcp_pair)
    yield made
    made.connection.close(CloseReason.DRAINED, "")
    made.peer.close()


# ---- reading ---------------------------------------------------------------------------------


def test_what_arrives_goes_to_the_session_and_its_events_to_the_owner(scene: Scene) -> None:
    scene.session.results = ["event"]
    scene.hear(b"bytes")
    assert scene.session.received == b"bytes"
    assert scene.owner.events == ["event"]
    assert scene.owner.counters.bytes_received == 5


def test_media_goes_to_the_stream_it_is_published_on(scene: Scene) -> None:
    stream = FakeStream()
    scene.connection.publications[1] = stream  # type: ignore[assignment]
    mine, stray = Message(9, 0, b"x", 1), Message(9, 0, b"y", 2)
    scene.session.results = [mine, stray]
    scene.hear()
    assert stream.appended == [mine]
    assert scene.owner.events == []
    assert scene.owner.counters.messages_received == 2


def test_replies_are_sent_at_once(scene: Scene) -> None:
    scene.session.to_send = b"reply"
    scene.hear()
    assert scene.peer.recv(100) == b"reply"
    assert scene.owner.counters.bytes_sent == 5


# ---- one reason ------------------------------------------------------------------------------


def test_the_first_reason_is_the_only_one(scene: Scene) -> None:
    scene.connection.end(CloseReason.STREAM_NOT_FOUND, "first")
    scene.connection.end(CloseReason.SLOW_PLAYER, "second")
    scene.connection.close(CloseReason.DRAINED, "third")
    scene.connection.close(CloseReason.DRAINED, "fourth")
    assert scene.owner.endings == [(CloseReason.STREAM_NOT_FOUND, "first")]
    assert scene.owner.forgotten == 1


def test_a_peer_that_leaves_is_peer_closed(scene: Scene) -> None:
    scene.peer.close()
    scene.loop.turn()
    assert scene.reasons == [CloseReason.PEER_CLOSED]
    assert scene.owner.forgotten == 1


def test_a_reset_is_peer_reset(over_tcp: Scene) -> None:
    _reset(over_tcp.peer)
    over_tcp.until_forgotten()
    assert over_tcp.reasons == [CloseReason.PEER_RESET]


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # on, 0 s: RST
    peer.close()


@pytest.mark.parametrize("write", ["control", "media"])
def test_a_peer_that_is_gone_when_we_write_is_peer_reset(scene: Scene, write: str) -> None:
    scene.peer.close()
    if write == "control":
        scene.say(b"reply")
    else:
        scene.connection.write_media([b"media"])
    assert scene.reasons == [CloseReason.PEER_RESET]
    assert scene.owner.forgotten == 1
    scene.say(b"nothing more is sent")
    assert scene.connection.write_media([b"nor media"])
    assert scene.connection.pending == []


def test_a_reset_while_bytes_are_pending_is_peer_reset(over_tcp: Scene) -> None:
    over_tcp.fill()
    _reset(over_tcp.peer)
    over_tcp.until_forgotten()
    assert over_tcp.reasons == [CloseReason.PEER_RESET]
    assert over_tcp.connection.pending == []


def test_a_host_that_lets_nothing_be_sent_is_peer_lost(over_tcp: Scene) -> None:
    over_tcp.connection._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 200)
    over_tcp.fill()
    over_tcp.until_forgotten()
    assert over_tcp.reasons == [CloseReason.PEER_LOST]


def test_a_violation_is_the_reason_and_its_reply_is_sent(scene: Scene) -> None:
    scene.session.violation = PeerViolation(CloseReason.BAD_COMMAND, "why")
    scene.session.to_send = b"error reply"
    scene.hear()
    assert scene.owner.endings == [(CloseReason.BAD_COMMAND, "why")]
    assert scene.peer.recv(100) == b"error reply"
    assert scene.peer.recv(100) == b""


def test_a_violation_found_by_time_is_the_reason_too(scene: Scene) -> None:
    scene.session.violation = PeerViolation(CloseReason.IDLE_TIMEOUT, "why")
    scene.connection.tick(scene.owner.now)
    assert scene.reasons == [CloseReason.IDLE_TIMEOUT]


def test_what_the_session_says_by_time_is_sent(scene: Scene) -> None:
    scene.session.to_send = b"ping"
    scene.connection.tick(scene.owner.now)
    assert scene.peer.recv(100) == b"ping"


def test_an_exception_closes_only_its_own_connection(
    scene: Scene, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    other = Scene(scene.loop, owner)

    def fail(connection: Connection, event: object) -> None:
        if connection is scene.connection:
            raise KeyError("a bug of ours")

    owner.on_event = fail
    scene.session.results, other.session.results = ["event"], ["event"]
    scene.peer.sendall(b"x")
    with caplog.at_level(logging.ERROR):
        other.hear()
    assert "a bug of ours" in caplog.text
    assert scene.reasons == [CloseReason.INTERNAL_ERROR]
    assert scene.peer.recv(100) == b""
    assert other.connection.close_reason is None
    assert other.session.received == b"x"
    other.connection.close(CloseReason.DRAINED, "")
    other.peer.close()


def test_what_came_with_the_last_event_is_not_acted_on_by_media(scene: Scene) -> None:
    stream = FakeStream()
    scene.connection.publications[1] = stream  # type: ignore[assignment]
    scene.owner.on_event = lambda connection, event: connection.end(CloseReason.PUBLISH_REFUSED, "")
    scene.session.results = ["the end", Message(9, 0, b"x", 1)]
    scene.hear()
    assert stream.appended == []


# ---- lingering -------------------------------------------------------------------------------


def test_a_peer_that_still_sends_reads_our_last_word(over_tcp: Scene) -> None:
    over_tcp.session.to_send = b"last word"
    over_tcp.peer.sendall(b"x" * 200_000)  # more than the receive buffer: unread when we end
    over_tcp.connection.end(CloseReason.PUBLISH_REFUSED, "")
    for _ in range(20):
        over_tcp.hear(b"x" * 10_000)
    assert over_tcp.peer.recv(100) == b"last word"
    assert over_tcp.peer.recv(100) == b""
    assert over_tcp.session.received == b""  # read and forgotten
    assert over_tcp.owner.forgotten == 0
    over_tcp.peer.close()
    over_tcp.until_forgotten()
    assert over_tcp.reasons == [CloseReason.PUBLISH_REFUSED]


def test_lingering_ends_when_its_time_is_up(scene: Scene) -> None:
    scene.connection.end(CloseReason.STREAM_NOT_FOUND, "")
    scene.loop.advance(LINGER_S - 0.01)
    scene.connection.tick(scene.owner.now)
    assert scene.owner.forgotten == 0
    scene.loop.advance(0.01)
    scene.connection.tick(scene.owner.now)
    assert scene.owner.forgotten == 1
    assert scene.reasons == [CloseReason.STREAM_NOT_FOUND]


def test_the_last_word_comes_after_what_was_pending(scene: Scene) -> None:
    size = scene.fill()
    scene.session.to_send = b"last word"
    scene.connection.end(CloseReason.SLOW_PLAYER, "")
    got = scene.read(size + 9)
    assert got == b"m" * size + b"last word"
    assert scene.peer.recv(100) == b""


def test_a_peer_that_reads_nothing_is_closed_when_lingering_ends(scene: Scene) -> None:
    scene.fill()
    scene.connection.end(CloseReason.SLOW_PLAYER, "")
    scene.loop.advance(LINGER_S)
    scene.connection.tick(scene.owner.now)
    assert scene.owner.forgotten == 1
    assert scene.connection.pending == []


def test_nothing_is_said_after_the_last_word(scene: Scene) -> None:
    scene.connection.end(CloseReason.STREAM_NOT_FOUND, "")
    scene.say(b"too late")
    scene.connection.tick(scene.owner.now)
    assert scene.peer.recv(100) == b""


# ---- a full socket ---------------------------------------------------------------------------


def test_control_follows_a_message_that_was_cut(scene: Scene) -> None:
    size = scene.fill()
    scene.say(b"reply 1")
    assert not scene.connection.write_media([b"media"])
    scene.say(b"reply 2")
    assert scene.read(size + 19) == b"m" * size + b"reply 1" + b"media" + b"reply 2"
    assert scene.connection.pending == []
    scene.say(b"reply 3")
    assert scene.peer.recv(100) == b"reply 3"


def test_nothing_overtakes_what_is_pending_when_the_socket_has_room_again(scene: Scene) -> None:
    size = scene.fill()
    got = scene.peer.recv(150_000)  # and the poller has not told the connection yet
    scene.say(b"reply")
    assert not scene.connection.write_media([b"media"])
    got += scene.read(size + 10 - len(got))
    assert got == b"m" * size + b"reply" + b"media"


def test_more_buffers_than_one_call_takes_keep_their_order(scene: Scene) -> None:
    buffers = [b"%06d" % number for number in range(3000)]
    assert scene.connection.write_media(buffers)
    assert scene.read(6 * 3000) == b"".join(buffers)


def test_many_buffers_are_cut_anywhere_without_loss(scene: Scene) -> None:
    buffers = [b"%0113d" % number for number in range(70_000)]
    assert not scene.connection.write_media(buffers)
    assert scene.read(113 * 70_000) == b"".join(buffers)
    assert scene.connection.pending == []


def test_players_learn_that_the_socket_is_full_once_and_that_it_is_not(scene: Scene) -> None:
    stream = FakeStream()
    scene.connection.players[1] = FakePlayer(stream)  # type: ignore[assignment]
    size = scene.fill()
    scene.say(b"reply")
    assert (stream.told_full, stream.told_free) == (1, 0)
    scene.read(size + 5)
    assert (stream.told_full, stream.told_free) == (1, 1)


@pytest.mark.parametrize("replies", [1, 3, 256])
def test_a_peer_that_does_not_read_its_replies_is_slow_peer_one_byte_past_the_bound(
    scene: Scene, replies: int
) -> None:
    scene.fill()
    for _ in range(replies - 1):
        scene.say(b"r" * 1000)
    scene.say(b"r" * (MAX_PENDING_CONTROL_BYTES - 1000 * (replies - 1)))
    assert scene.reasons == []
    scene.say(b"r")
    assert scene.reasons == [CloseReason.SLOW_PEER]
    assert scene.connection.pending == []
    assert scene.owner.forgotten == 1


def test_media_that_waits_does_not_count_as_replies(scene: Scene) -> None:
    scene.fill()
    scene.connection.write_media([bytes(2 * MAX_PENDING_CONTROL_BYTES)])
    scene.say(b"r" * MAX_PENDING_CONTROL_BYTES)
    assert scene.reasons == []


def test_replies_that_were_read_do_not_count_any_more(scene: Scene) -> None:
    size = scene.fill()
    scene.say(b"r" * MAX_PENDING_CONTROL_BYTES)
    scene.read(size + MAX_PENDING_CONTROL_BYTES)
    scene.fill()
    scene.say(b"r" * MAX_PENDING_CONTROL_BYTES)
    assert scene.reasons == []


def test_a_full_socket_is_prompt_and_gets_its_bytes(scene: Scene) -> None:
    size = scene.fill()
    scene.connection.players[1] = FakePlayer(FakeStream())  # type: ignore[assignment]
    scene.connection.update_pace()
    assert scene.read(size) == b"m" * size  # the clock stands still: no budget has passed
    assert scene.connection.pending == []


def test_who_was_full_once_is_no_more_urgent_than_before(scene: Scene) -> None:
    size = scene.fill()
    assert scene.pace() is Pace.PROMPT
    scene.read(size)
    assert scene.pace() is Pace.STRANGER


def test_a_publisher_that_was_full_once_is_read_at_leisure_again(scene: Scene) -> None:
    scene.connection.publications[1] = FakeStream()  # type: ignore[assignment]
    scene.read(scene.fill())
    assert scene.pace() is Pace.LEISURELY


def test_a_connection_that_ends_is_prompt(scene: Scene) -> None:
    scene.connection.players[1] = FakePlayer(FakeStream())  # type: ignore[assignment]
    scene.connection.update_pace()
    scene.connection.end(CloseReason.STREAM_NOT_FOUND, "")
    scene.peer.close()
    scene.loop.turn()
    assert scene.owner.forgotten == 1


def test_a_closed_connection_can_be_told_anything(scene: Scene) -> None:
    scene.connection.close(CloseReason.DRAINED, "")
    scene.connection.update_pace()
    scene.connection.wait_to_write([b"x"])
    scene.connection.write_control()
    scene.connection.receive(b"")
    assert scene.connection.pending == []
    assert scene.reasons == [CloseReason.DRAINED]


# ---- at what pace it is read -----------------------------------------------------------------


def test_a_publisher_that_nobody_hears_is_read_at_leisure(scene: Scene) -> None:
    scene.connection.publications[1] = stream = FakeStream()  # type: ignore[assignment]
    scene.connection.update_pace()
    assert scene.pace() is Pace.LEISURELY
    assert scene.low_water_bytes() == LEISURELY_BYTES
    assert scene.owner.counters.publishers_unheard == 1
    stream.is_heard = True
    scene.connection.update_pace()
    assert scene.pace() is Pace.BUDGETED
    assert scene.low_water_bytes() == 1
    assert scene.owner.counters.publishers_unheard == 0


def heard_publisher(scene: Scene) -> None:
    scene.connection.publications[1] = stream = FakeStream()  # type: ignore[assignment]
    stream.is_heard = True
    scene.connection.update_pace()


def test_what_can_only_be_audio_does_not_make_a_publisher_readable(scene: Scene) -> None:
    heard_publisher(scene)
    scene.connection.wait_for(1000)
    assert scene.low_water_bytes() == 1000
    scene.connection.wait_for(0)
    assert scene.low_water_bytes() == 1


def test_the_rest_of_a_frame_is_waited_for_and_then_the_next(scene: Scene) -> None:
    heard_publisher(scene)
    scene.connection.wait_for(100)
    for lacking_bytes, mark_bytes in ((5000, 5000), (1, 1), (0, 100)):
        scene.session.lacking_bytes = lacking_bytes
        scene.peer.sendall(b"x")
        scene.connection.on_ready(READABLE)
        assert scene.low_water_bytes() == mark_bytes


def test_no_more_is_waited_for_than_a_sender_has_on_its_way(scene: Scene) -> None:
    heard_publisher(scene)
    scene.session.lacking_bytes = 10_000_000
    scene.connection.wait_for(100)
    assert scene.low_water_bytes() == 32 * 1024


def test_nothing_waits_where_a_connection_does_more_than_publish_one_stream(scene: Scene) -> None:
    heard_publisher(scene)
    scene.connection.wait_for(1000)
    scene.connection.players[2] = FakePlayer(FakeStream())  # type: ignore[assignment]
    scene.connection.update_pace()
    assert scene.low_water_bytes() == 1
    scene.connection.wait_for(1000)
    assert scene.low_water_bytes() == 1


def test_one_heard_stream_of_several_sets_the_pace(scene: Scene) -> None:
    for stream_id in (1, 2, 3):
        scene.connection.publications[stream_id] = FakeStream()  # type: ignore[assignment]
    scene.connection.publications[2].is_heard = True  # type: ignore[misc]
    scene.connection.update_pace()
    assert scene.pace() is Pace.BUDGETED


def test_a_publisher_that_plays_as_well_is_not_read_at_leisure(scene: Scene) -> None:
    scene.connection.publications[1] = FakeStream()  # type: ignore[assignment]
    scene.connection.players[2] = FakePlayer(FakeStream())  # type: ignore[assignment]
    scene.connection.update_pace()
    assert scene.pace() is Pace.BUDGETED


def test_a_connection_that_does_nothing_yet_is_a_stranger(scene: Scene) -> None:
    assert scene.pace() is Pace.STRANGER
    scene.connection.update_pace()
    assert scene.pace() is Pace.STRANGER


# ---- with real sessions ----------------------------------------------------------------------


def test_a_real_peer_is_told_why_although_it_still_sends(loop: SteppedLoop, owner: Owner) -> None:
    accepted, peer = unix_pair()
    session = ServerSession(limits=Limits(), entropy=ENTROPY, now=loop.time())
    connection = Connection(owner, accepted, "192.0.2.7:40000", session)

    def refuse(_: Connection, event: object) -> None:
        if isinstance(event, ConnectRequested):
            session.accept_connect()
            session.send_status(0, Level.ERROR, Code.CONNECT_APP_SHUTDOWN, "bye")

    owner.on_event = refuse
    client = ClientSession(limits=Limits(), entropy=ENTROPY, now=loop.time(), handshake="simple")
    client.start(RtmpUrl.parse("rtmp://edge.example/live/x"))
    got: list[object] = []
    while not any(isinstance(event, ConnectSucceeded) for event in got):
        peer.sendall(client.outgoing())
        loop.turn()
        got += client.receive(peer.recv(65536), loop.time())
    connection.end(CloseReason.DRAINED, "")
    client.ping(loop.time())
    peer.sendall(client.outgoing())
    loop.turn()
    while data := peer.recv(65536):
        got += client.receive(data, loop.time())
    assert [event.code for event in got if isinstance(event, StatusReceived)] == [Code.CONNECT_APP_SHUTDOWN]
    peer.close()
    loop.turn()
    assert owner.endings == [(CloseReason.DRAINED, "")]
    assert owner.forgotten == 1


def test_bytes_that_are_not_rtmp_end_a_real_session(loop: SteppedLoop, owner: Owner) -> None:
    accepted, peer = unix_pair()
    session = ServerSession(limits=Limits(), entropy=ENTROPY, now=loop.time())
    Connection(owner, accepted, "192.0.2.7:40000", session)
    peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
    loop.turn()
    assert [reason for reason, _ in owner.endings] == [CloseReason.NOT_RTMP]
    assert peer.recv(100) == b""
    peer.close()
    loop.turn()
    assert owner.forgotten == 1
