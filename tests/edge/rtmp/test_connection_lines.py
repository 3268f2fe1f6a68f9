"""What the log says of a connection: the same fields on every line, nothing twice, a fault where one is."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.core.amf.values import AmfValue
from cluster.core.bus.control import BUSY
from cluster.core.errors import CloseReason
from cluster.core.keys import NO_STREAM
from cluster.core.message import Message
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import StatusReceived
from cluster.core.rtmp.status import Code
from cluster.edge.peers.access import Allow, Deny
from cluster.edge.peers.log_facts import MAX_AGENT_CHARACTERS
from cluster.edge.rtmp.logged_session import spelled
from cluster.net.outbox import LINGER_S
from cluster.process.logs import JsonFormatter, TextFormatter
from support.house import (
    AAC_HEADER,
    AVC_HEADER,
    INTER,
    KEY,
    House,
    Peer,
    audio,
    run_until,
    stepped_loop,
    tcp_pair,
    video,
)

STREAM = "live/a"
PEER = "192.0.2.7:40000"
WORKER = "node/0"
RESET_ON_CLOSE = b"\x01\0\0\0\0\0\0\0"


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture, event: str = "") -> list[dict[str, Any]]:
    """What was logged, as a machine reads it."""
    told = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    return [line for line in told if event in ("", line.get("event"))]


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, as people read it, without time and level."""
    return [TextFormatter().format(record)[33:] for record in caplog.records]


def live(house: House) -> Peer:
    publisher = house.publisher()
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1), video(0, KEY))
    return publisher


def reset(house: House, peer: Peer) -> None:
    """``peer`` leaves by a reset: what it had not read yet is thrown away."""
    for connection in house.sessions._connections:
        connection.send(b"unread")
    peer.closed = True
    peer.socket.close()
    house.settle()


# ---- fields ----------------------------------------------------------------------------------


def test_every_line_of_a_connection_says_which_one_and_whose(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, player = live(house), house.player()
    house.leave(player)
    house.leave(publisher)
    told = lines(caplog)
    assert [(line["event"], line["role"]) for line in told] == [
        ("publish", "publisher"), ("play", "player"), ("connection_closed", "player"),
        ("unpublish", "publisher"), ("connection_closed", "publisher"),
    ]  # fmt: skip
    assert {(line["worker"], line["peer"], line["stream"]) for line in told} == {(WORKER, PEER, STREAM)}
    assert all(line["agent"] for line in told)
    ids = {role: {line["id"] for line in told if line["role"] == role} for role in ("publisher", "player")}
    assert ids == {"publisher": {"1a2b3c4d-0.1-1"}, "player": {"1a2b3c4d-0.1-2"}}


def test_a_text_line_has_reason_and_stream_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.leave(live(house))
    published, unpublished, closed = texts(caplog)
    agent = lines(caplog)[0]["agent"]
    quoted = f'"{agent}"' if " " in agent else agent
    who = f"id=1a2b3c4d-0.1-1 worker=node/0 peer={PEER} agent={quoted}"
    assert published == f"publish {STREAM} {who} protocol=rtmp"
    assert unpublished == f"unpublish {STREAM} {who} protocol=rtmp reason=peer_closed"
    assert closed.startswith(f"closed: peer_closed role=publisher stream={STREAM} {who} age_s=0.0 bytes_")


def test_who_has_stopped_before_it_leaves_is_still_told_by_role_and_stream(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = live(house)
    publisher.session.delete_stream(1)
    house.settle()
    house.leave(publisher)
    (closed,) = lines(caplog, "connection_closed")
    assert (closed["role"], closed["stream"]) == ("publisher", STREAM)


def test_who_is_refused_is_told_by_what_it_asked_for(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.link.refusal = BUSY
    house.publisher()
    house.advance(LINGER_S)
    (closed,) = lines(caplog, "connection_closed")
    assert (closed["reason"], closed["role"], closed["stream"]) == ("publish_refused", "publisher", STREAM)
    assert closed["detail"] == "live/a is already being published"


@pytest.mark.parametrize(
    ("command", "reason"), [("publish", "publish_refused"), ("play", "play_refused")]
)
def test_who_leaves_because_the_session_has_refused_it_is_told_as_refused(
    house: House, caplog: pytest.LogCaptureFixture, command: str, reason: str
) -> None:
    peer = house.peer()
    peer.session.create_stream()
    house.settle()
    peer.session.send_command(command, 5.0, stream_id=1)
    house.settle()
    house.leave(peer)
    (closed,) = lines(caplog, "connection_closed")
    assert (closed["reason"], closed["detail"]) == (reason, f"{command} names no stream.")
    assert house.counters.closes == {reason: 1}


def test_an_empty_stream_key_is_told_as_obs_has_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    peer = house.peer(app="")
    peer.session.publish("")
    house.settle()
    told = peer.events(StatusReceived)[-1].description
    assert told == f"{NO_STREAM} (in OBS: Server rtmp://HOST/APP, Stream Key NAME)"
    house.advance(LINGER_S)
    (closed,) = lines(caplog, "connection_closed")
    assert (closed["reason"], closed["role"], closed["detail"]) == ("publish_refused", "publisher", told)


def test_the_stream_is_the_one_that_whoever_decides_has_put_in_place() -> None:
    class Moved:
        async def connect(self, *_: object) -> Allow:
            return Allow()

        async def play(self, *_: object) -> Deny:
            return Deny("no")

        async def publish(self, *_: object) -> Allow:
            return Allow("live/moved")

    with stepped_loop() as loop:
        house = House(loop, admission=Moved())
        publisher = house.publisher()
        (connection,) = house.sessions._connections
        assert connection.facts()["stream"] == "live/moved"
        house.leave(publisher)
        house.close()


def test_a_long_name_of_a_program_is_cut(house: House) -> None:
    peer = house.peer()
    (connection,) = house.sessions._connections
    connection.session.flash_ver = "x" * 4000
    assert connection.who()["agent"] == "x" * MAX_AGENT_CHARACTERS
    house.leave(peer)


def test_the_end_of_a_player_says_what_it_was_not_sent(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, player = live(house), house.player()
    player.reading = False
    for number in range(1, 400):
        house.send(publisher, video(number * 40, KEY if number % 50 == 0 else INTER, 60_000))
    house.advance(1)
    house.leave(player)
    (closed,) = lines(caplog, "connection_closed")
    assert closed["dropped"] == house.counters.player_messages_dropped > 0


def test_the_end_of_a_publisher_says_what_was_not_passed_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = house.publisher()
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), video(0), video(40), video(80, KEY))
    house.leave(publisher)
    (closed,) = lines(caplog, "connection_closed")
    assert closed["dropped"] == house.counters.publisher_messages_dropped == 2


def test_bytes_are_told_in_both_directions(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socketpair", tcp_pair)

    def until(probe: Callable[[], object], what: str) -> None:
        def settled() -> object:
            house.settle()
            return probe()

        run_until(house.loop, settled, what)

    publisher = house.peer()
    until(lambda: publisher.connected, "the answer to connect")
    publisher.session.publish("a")
    until(lambda: publisher.codes, "the grant")
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), video(0, KEY))
    player = house.peer()
    until(lambda: player.connected, "the answer to connect")
    player.session.play("a")
    until(player.times, "the keyframe")
    for number in range(1, 100):
        house.send(publisher, video(number * 40, size=5_000))
    until(lambda: player.times()[-1] == 99 * 40, "all of it")
    for peer in (player, publisher):
        house.leave(peer)
    run_until(house.loop, lambda: len(lines(caplog, "connection_closed")) == 2, "both lines")
    played, published = lines(caplog, "connection_closed")
    assert 99 * 5_000 < played["bytes_sent"] < 99 * 5_000 + 20_000
    assert played["bytes_received"] < 10_000
    assert 99 * 5_000 < published["bytes_received"] < 99 * 5_000 + 20_000
    assert 3_000 < published["bytes_sent"] < 10_000
    assert played["bytes_sent"] + published["bytes_sent"] == house.counters.bytes_sent


# ---- what is no fault ------------------------------------------------------------------------


def test_a_player_that_was_told_the_end_may_leave_by_a_reset(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, player = live(house), house.player()
    house.advance(1)
    house.leave(publisher)
    house.advance(house.config.publish_grace_s)
    assert Code.PLAY_STOP in player.codes
    reset(house, player)
    assert house.counters.closes == {CloseReason.PEER_CLOSED: 2}
    assert "nothing left" in lines(caplog, "connection_closed")[-1]["detail"]


def test_who_has_stopped_by_itself_may_leave_by_a_reset(house: House) -> None:
    publisher = live(house)
    publisher.session.delete_stream(1)
    house.settle()
    reset(house, publisher)
    assert house.counters.closes == {CloseReason.PEER_CLOSED: 1}


def test_a_reset_in_the_midst_of_a_stream_is_a_fault(house: House) -> None:
    publisher, player = live(house), house.player()
    reset(house, player)
    assert house.counters.closes == {CloseReason.PEER_RESET: 1}
    reset(house, publisher)
    assert house.counters.closes == {CloseReason.PEER_RESET: 2}


def test_a_player_that_waits_for_a_publisher_is_not_done(house: House) -> None:
    reset(house, house.player())
    assert house.counters.closes == {CloseReason.PEER_RESET: 1}


@pytest.mark.parametrize("by_reset", [False, True])
def test_a_probe_that_says_nothing_is_counted_and_has_no_line(
    house: House, caplog: pytest.LogCaptureFixture, by_reset: bool
) -> None:
    accepted, probe = tcp_pair()
    house.sessions.accept(accepted, ("192.0.2.7", 5))
    if by_reset:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    probe.close()
    run_until(house.loop, lambda: house.counters.closes, "its end")
    assert house.counters.closes == {CloseReason.PEER_CLOSED: 1}
    assert lines(caplog) == []


def test_a_probe_has_a_line_for_who_wants_to_see_all(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    accepted, probe = tcp_pair()
    house.sessions.accept(accepted, ("192.0.2.7", 5))
    probe.close()
    run_until(house.loop, lambda: house.counters.closes, "its end")
    (closed,) = lines(caplog, "connection_closed")
    assert (closed["level"], closed["reason"], closed["id"]) == ("debug", "peer_closed", "1a2b3c4d-0.1-1")


# ---- the grace -------------------------------------------------------------------------------


def test_the_end_of_the_grace_is_logged_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    publisher, _ = live(house), house.player()
    house.advance(1)
    house.leave(publisher)
    house.advance(house.config.publish_grace_s - 0.5)
    assert lines(caplog, "stream_ended") == []
    house.advance(0.5)
    house.advance(60)
    (ended,) = lines(caplog, "stream_ended")
    assert ended["message"] == "stream live/a has ended: its publisher has not come back for 15 s"
    assert (ended["stream"], ended["waiting"]) == (STREAM, 0)


def test_who_joins_in_the_grace_is_told_what_became_of_the_publisher(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, _ = live(house), house.player()
    house.advance(1)
    house.leave(publisher)
    house.advance(5)
    late = house.player()
    assert [line["message"] for line in lines(caplog, "play")] == [
        "play live/a", "play live/a, whose publisher has left",
    ]  # fmt: skip
    house.advance(house.config.play_wait_s)
    status = late.events(StatusReceived)[-1]
    assert status.code == Code.PLAY_STREAM_NOT_FOUND
    assert status.description == "the publisher of live/a left 35 s ago and has not come back"


# ---- the dialogue ----------------------------------------------------------------------------


def test_at_debug_each_command_has_a_line_in_and_out(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = house.publisher("a?token=secret")
    house.send(publisher, audio(0))
    said = [line["command"].partition("(")[0] for line in lines(caplog, "command_received")]
    assert said[0] == "connect"
    assert said[-1] == "publish"
    answered = [line["command"] for line in lines(caplog, "command_sent")]
    assert answered[0].startswith("_result(")
    assert 'code: "NetStream.Publish.Start"' in answered[-1]
    assert {line["id"] for line in lines(caplog, "command_received")} == {"1a2b3c4d-0.1-1"}
    assert "secret" not in caplog.text


def test_at_info_no_session_is_made_that_could_log_commands(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.publisher()
    assert lines(caplog, "command_received") == []
    (connection,) = house.sessions._connections
    assert type(connection.session).__name__ == "ServerSession"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Command("publish", 5.0, None, ("a?key=secret", "live"), 1), 'publish("a?…", "live") #5 on 1'),
        (
            Command("connect", 1.0, {"app": "live", "tcUrl": "rtmp://me:secret@host/live?key=secret"}),
            'connect({app: "live", tcUrl: "rtmp://host/live?…"}) #1',
        ),
        (Command("connect", 1.0, {"app": "live"}, ("me", "secret")), 'connect({app: "live"}, …) #1'),
        (Command("connect", 1.0, None, ("token",)), "connect(…) #1"),
        (Command("play", 0.0, None, (None, True, -2.0, 1.5)), "play(null, true, -2, 1.5)"),
        (Command("call", 0.0, [1.0, [2.0, [3.0, [4.0]]]]), "call([1, [2, [3, …]]])"),
        (Command("n" * 200), f"{'n' * 100}…()"),
        (Command("list", 0.0, [0.0] * 30), f"list([{'0, ' * 20}…])"),
        (Command("bytes", 0.0, b"\x00"), "bytes(bytes)"),
    ],
)
def test_a_command_is_spelled_on_one_line_without_secrets(command: Command, text: str) -> None:
    assert spelled(command) == text


def test_a_command_of_very_much_has_a_line_of_some() -> None:
    much: AmfValue = "x" * 200
    for _ in range(3):
        much = [much] * 20
    assert len(spelled(Command("call", 0.0, much))) < 2_100
