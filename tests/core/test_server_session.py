"""The server role, driven by hand: connect, calls, acknowledgements, timeouts, the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from session_support import (
    AAC,
    ENTROPY,
    KEYFRAME,
    LIMITS,
    Peer,
    connected,
    decoded,
    fresh_server,
    handshaken,
    playing,
    publishing,
    summary,
    with_stream,
)

from cluster.core.amf import amf0
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command as commands
from cluster.core.rtmp import control
from cluster.core.rtmp.arguments import MAX_NAME_CHARACTERS
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import PeerBandwidthLimit, UserControlEvent
from cluster.core.rtmp.events import (
    CallFailed,
    CallSucceeded,
    CloseRequested,
    CommandReceived,
    ConnectRequested,
    HandshakeCompleted,
    PlayEnded,
    PongReceived,
    PublishEnded,
    StreamClosed,
)
from cluster.core.rtmp.handshake import ClientHandshake
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.states import SessionState

VIDEO = Message(MessageType.VIDEO, 40, KEYFRAME, 1)
AUDIO = Message(MessageType.AUDIO, 41, AAC, 1)


class TestHandshake:
    def test_the_handshake_is_dropped_when_it_is_over(self) -> None:
        session = handshaken().session
        assert session._handshake is None

    def test_connect_glued_to_the_handshake(self) -> None:
        server = fresh_server()
        handshake = ClientHandshake(entropy=ENTROPY, uptime_ms=0, mode="simple")
        assert server.receive(handshake.start(), 0.0) == []
        made = commands.encode(Command("connect", 1.0, {"app": "live"}))
        tail = handshake.receive(server.outgoing()) + ChunkWriter().encode(made, 3)
        events = server.receive(tail, 0.0)
        assert [type(event) for event in events] == [HandshakeCompleted, ConnectRequested]
        assert events[0] == HandshakeCompleted("simple", bytes(4))

    def test_what_is_not_rtmp(self) -> None:
        with pytest.raises(PeerViolation) as caught:
            fresh_server().receive(b"GET / HTTP/1.1\r\n", 0.0)
        assert caught.value.reason is CloseReason.NOT_RTMP

    def test_a_session_that_raised_raises_for_ever(self) -> None:
        server = fresh_server()
        for _ in range(3):
            with pytest.raises(PeerViolation):
                server.receive(b"G", 0.0)
        assert server.state is SessionState.CLOSED
        with pytest.raises(PeerViolation):
            server.tick(0.0)


class TestConnect:
    def request(
        self, fields: dict[str, object], *args: object
    ) -> tuple[ServerSession, Peer, ConnectRequested]:
        peer = handshaken()
        events = peer.command("connect", 1.0, fields, *args)
        assert len(events) == 1
        assert isinstance(events[0], ConnectRequested)
        assert isinstance(peer.session, ServerSession)
        return peer.session, peer, events[0]

    def test_the_request(self) -> None:
        fields = {
            "app": "/live/room?token=a/b",
            "tcUrl": "rtmp://h/live/room",
            "flashVer": "FMLE/3.0",
            "objectEncoding": 3.0,
        }
        server, _, event = self.request(fields, "user", 5.0)
        assert (event.app, event.query, event.tc_url) == ("live/room", "token=a/b", "rtmp://h/live/room")
        assert (event.flash_ver, event.object_encoding) == ("FMLE/3.0", 3)
        assert event.command_object == fields
        assert event.args == ("user", 5.0)
        assert (server.app, server.query, server.tc_url) == ("live/room", "token=a/b", "rtmp://h/live/room")
        assert server.state is SessionState.CONNECT_PENDING

    def test_the_answer_in_its_order(self) -> None:
        server, peer, _ = self.request({"app": "live"})
        assert server.accept_connect() is True
        messages = peer.output()
        assert summary(messages[:4]) == [
            (5, "002625a0", 0),
            (6, "002625a002", 0),
            (1, "00010000", 0),
            (4, "000000000000", 0),
        ]
        answer = decoded(messages[4])
        assert len(messages) == 5
        assert (answer.name, answer.transaction_id) == ("_result", 1.0)
        assert answer.command_object == {
            "fmsVer": "FMS/3,5,7,7009",
            "capabilities": 31.0,
            "mode": 1.0,
            "videoFourCcInfoMap": {"*": 4.0},
            "audioFourCcInfoMap": {"*": 4.0},
            "capsEx": 14.0,
        }
        assert answer.args == (
            {
                "level": "status",
                "code": "NetConnection.Connect.Success",
                "description": "Connection succeeded.",
                "objectEncoding": 0.0,
            },
        )

    def test_object_encoding_3_and_the_list_of_codecs_are_echoed(self) -> None:
        fields = {"app": "live", "objectEncoding": 3.0, "fourCcList": ["hvc1"], "capsEx": 1.0}
        server, peer, event = self.request(fields)
        assert event.capabilities.can_reconnect
        server.accept_connect(gopCacheMs=5)
        answer = peer.replies()[0]
        assert isinstance(answer.command_object, dict)
        assert answer.command_object["fourCcList"] == ["hvc1"]
        assert answer.command_object["gopCacheMs"] == 5.0
        assert answer.arg(0)["objectEncoding"] == 3.0  # type: ignore[call-overload, index]

    def test_fault_22_a_rejection_is_an_error(self) -> None:
        server, peer, _ = self.request({"app": "live"})
        server.reject_connect("NetConnection.Connect.InvalidApp", "No such app.")
        (answer,) = peer.replies()
        assert (answer.name, answer.transaction_id, answer.command_object) == ("_error", 1.0, None)
        assert answer.arg(0) == {
            "level": "error",
            "code": "NetConnection.Connect.InvalidApp",
            "description": "No such app.",
        }
        assert server.state is SessionState.CLOSING
        assert peer.command("createStream", 2.0) == []
        assert peer.output() == []

    def test_a_redirect(self) -> None:
        server, peer, _ = self.request({"app": "live"})
        server.reject_connect("NetConnection.Connect.Rejected", "Elsewhere.", redirect="rtmp://b/live")
        info = peer.replies()[0].arg(0)
        assert isinstance(info, dict)
        assert info["ex"] == {"code": 302.0, "redirect": "rtmp://b/live", "redirect2": "rtmp://b/live"}

    @pytest.mark.parametrize(
        "fields", [None, {}, {"app": 5.0}, "live", {"app": "x" * (MAX_NAME_CHARACTERS + 1)}]
    )
    def test_without_an_app(self, fields: object) -> None:
        peer = handshaken()
        with pytest.raises(PeerViolation) as caught:
            peer.command("connect", 1.0, fields)
        assert caught.value.reason is CloseReason.BAD_COMMAND
        assert [reply.name for reply in peer.replies()] == ["_error"]

    @pytest.mark.parametrize(
        ("app", "path"),
        [("", ""), ("/live", "live"), ("live/", "live"), ("rtmp://u:p@h:1935/live/a?k=1", "live/a")],
    )
    def test_an_app_as_it_may_be_written(self, app: str, path: str) -> None:
        server, _, event = self.request({"app": app})
        assert (server.app, event.app) == (path, path)

    def test_nothing_but_the_app_is_needed(self) -> None:
        server, _, event = self.request({"app": "live"})
        assert (event.tc_url, event.flash_ver, server.tc_url) == ("", "", "")

    def test_the_longest_app(self) -> None:
        assert self.request({"app": "x" * MAX_NAME_CHARACTERS})[0].app == "x" * MAX_NAME_CHARACTERS

    def test_an_unreadable_connect(self) -> None:
        peer = handshaken()
        payload = amf0.encode("connect", 1.0) + b"\x03\x00\x03app\x02\x00"
        with pytest.raises(PeerViolation) as caught:
            peer.send(Message(MessageType.COMMAND_AMF0, 0, payload))
        assert caught.value.reason is CloseReason.BAD_AMF

    def test_a_second_connect_is_refused_and_nothing_changes(self) -> None:
        server, peer = connected()
        assert peer.command("connect", 9.0, {"app": "other"}) == []
        (reply,) = peer.replies()
        assert (reply.name, reply.transaction_id) == ("_error", 9.0)
        assert server.app == "live"

    def test_connect_as_type_17(self) -> None:
        peer = handshaken()
        events = peer.command("connect", 1.0, {"app": "live"}, amf3=True)
        assert isinstance(events[0], ConnectRequested)

    def test_fault_24_the_states_are_all_passed(self) -> None:
        states = [fresh_server().state]
        peer = handshaken()
        states.append(peer.session.state)
        peer.command("connect", 1.0, {"app": "live"})
        states.append(peer.session.state)
        assert isinstance(peer.session, ServerSession)
        peer.session.accept_connect()
        states.append(peer.session.state)
        peer.session.close()
        states.append(peer.session.state)
        assert states == [
            SessionState.HANDSHAKE,
            SessionState.CONNECTING,
            SessionState.CONNECT_PENDING,
            SessionState.CONNECTED,
            SessionState.CLOSED,
        ]


class TestCommands:
    @pytest.mark.parametrize(
        "name", ["releaseStream", "FCPublish", "FCSubscribe", "FCUnsubscribe", "_checkbw", "setPeerInfo"]
    )
    def test_known_commands_without_effect_are_answered(self, name: str) -> None:
        _, peer = connected()
        (event,) = peer.command(name, 2.0, None, "cam")
        assert event == CommandReceived(0, Command(name, 2.0, None, ("cam",)))
        (reply,) = peer.replies()
        assert (reply.name, reply.transaction_id, reply.command_object, reply.args) == (
            "_result",
            2.0,
            None,
            (None,),
        )

    def test_get_stream_length_is_a_number(self) -> None:
        _, peer = connected()
        peer.command("getStreamLength", 3.0, None, "cam")
        assert peer.replies()[0].args == (0.0,)

    def test_fault_21_an_unknown_command_is_answered_and_shown(self) -> None:
        _, peer = connected()
        events = peer.command("mixTracks", 3.0, None, 1.0, stream_id=0)
        assert events == [CommandReceived(0, Command("mixTracks", 3.0, None, (1.0,)))]
        (reply,) = peer.replies()
        assert (reply.name, reply.transaction_id) == ("_error", 3.0)
        assert reply.arg(0)["code"] == "NetConnection.Call.Failed"  # type: ignore[call-overload, index]

    @pytest.mark.parametrize(
        "name", ["releaseStream", "FCPublish", "FCUnpublish", "mixTracks", "getStreamLength"]
    )
    def test_transaction_0_is_never_answered(self, name: str) -> None:
        _, peer = connected()
        peer.command(name, 0.0, None, "cam")
        assert peer.output() == []

    @pytest.mark.parametrize("name", ["releaseStream", "FCPublish", "FCUnpublish", "getStreamLength"])
    def test_the_transaction_of_connect_is_not_answered_again(self, name: str) -> None:
        """xiu uses it once more for releaseStream and FCPublish, and begins anew at each answer."""
        _, peer = connected()
        peer.command(name, 1.0, None, "cam")
        assert peer.output() == []
        peer.command(name, 2.0, None, "cam")
        assert [(reply.name, reply.transaction_id) for reply in peer.replies()] == [("_result", 2.0)]

    @pytest.mark.parametrize("command_object", [None, {}, {"a": 1.0}, "x", 5.0, True, ["x"]])
    @pytest.mark.parametrize("transaction_id", [0.0, 1.0, 2.5, 1e300])
    def test_create_stream_is_always_answered(self, command_object: object, transaction_id: float) -> None:
        _, peer = connected()
        peer.command("createStream", transaction_id, command_object)
        (reply,) = peer.replies()
        assert (reply.name, reply.transaction_id, reply.args) == ("_result", transaction_id, (1.0,))

    @pytest.mark.parametrize("transaction_id", ["2", None, True, {}])
    def test_a_transaction_that_is_no_number_is_none(self, transaction_id: object) -> None:
        _, peer = connected()
        for name in ("releaseStream", "createStream"):
            payload = amf0.encode(name, transaction_id, None)  # type: ignore[arg-type]
            peer.send(Message(MessageType.COMMAND_AMF0, 0, payload))
        assert [(reply.transaction_id, reply.args) for reply in peer.replies()] == [(0.0, (1.0,))]

    def test_fault_21_we_call_and_are_answered(self) -> None:
        server, peer = connected()
        first, second = server.call("statistics", 5), server.call("statistics")
        assert [(reply.name, reply.transaction_id) for reply in peer.replies()] == [
            ("statistics", first),
            ("statistics", second),
        ]
        failure = {"level": "error", "code": "NetConnection.Call.Failed", "description": "no"}
        assert peer.command("_error", second, None, failure) == [
            CallFailed(second, "NetConnection.Call.Failed", "no", (None, failure))
        ]
        assert peer.command("_result", first, None, 7.0) == [CallSucceeded(first, (None, 7.0))]
        assert peer.command("_result", first, None, 7.0) == []
        assert server.ignored_messages == 1

    def test_fault_21_a_call_of_the_shells_own_is_left_to_it(self) -> None:
        server, peer = connected()
        server.methods = frozenset(("mixTracks",))
        (event,) = peer.command("mixTracks", 3.0, None, 1.0)
        assert isinstance(event, CommandReceived)
        assert peer.output() == []
        server.reply(event.command, 2.0, command_object={"mixed": True})
        server.reply_error(event.command, "Mix.Failed", "no")
        assert [(reply.name, reply.command_object, reply.arg(0)) for reply in peer.replies()] == [
            ("_result", {"mixed": True}, 2.0),
            ("_error", None, {"level": "error", "code": "Mix.Failed", "description": "no"}),
        ]

    def test_the_close_command(self) -> None:
        _, peer = connected()
        assert peer.command("close") == [CloseRequested()]

    def test_control_of_our_own(self) -> None:
        server, peer = connected()
        server.set_chunk_size(4096)
        server.announce_window(5000)
        server.limit_peer_bandwidth(6000, PeerBandwidthLimit.SOFT)
        server.send_user_control(UserControlEvent.BUFFER_EMPTY, 1)
        server.send_user_control(UserControlEvent.SET_BUFFER_LENGTH, 1, 300)
        assert peer.output() == [
            control.set_chunk_size(4096),
            control.window_ack_size(5000),
            control.set_peer_bandwidth(6000, PeerBandwidthLimit.SOFT),
            control.user_control(UserControlEvent.BUFFER_EMPTY, 1),
            control.set_buffer_length(1, 300),
        ]
        peer.send(control.set_peer_bandwidth(5000, PeerBandwidthLimit.HARD))
        assert peer.output() == []  # it is the window that we have announced

    def test_a_malformed_command_of_a_connected_peer_is_ignored(self) -> None:
        server, peer = connected()
        assert peer.send(Message(MessageType.COMMAND_AMF0, 0, b"\xff\xff")) == []
        assert server.ignored_messages == 1

    def test_a_reconnect_request_goes_only_to_those_who_know_it(self) -> None:
        server, peer = connected()
        assert server.request_reconnect("rtmp://b/live") is False
        peer = handshaken()
        peer.command("connect", 1.0, {"app": "live", "capsEx": 1.0})
        assert isinstance(peer.session, ServerSession)
        peer.session.accept_connect()
        peer.output()
        assert peer.session.request_reconnect("rtmp://b/live", "Draining.") is True
        (reply,) = peer.replies()
        assert (reply.name, reply.transaction_id, reply.stream_id) == ("onStatus", 0.0, 0)
        assert reply.arg(0) == {
            "level": "status",
            "code": "NetConnection.Connect.ReconnectRequest",
            "description": "Draining.",
            "tcUrl": "rtmp://b/live",
        }


class TestControlWithoutItsValue:
    """It says nothing, and nothing depends on it: nginx-rtmp passes over it."""

    @pytest.mark.parametrize(
        ("type_id", "size"),
        [(type_id, size) for type_id in (3, 5, 6) for size in range(4)] + [(4, 0), (4, 1)],
    )
    @pytest.mark.parametrize("cut", [None, 1])
    def test_is_counted_and_the_session_goes_on(self, type_id: int, size: int, cut: int | None) -> None:
        server, peer = publishing()
        peer.cut = cut
        peer.send(control.window_ack_size(10_000), csid=2)
        due_at = server._acks.due_at
        assert peer.send(Message(type_id, 0, bytes(size)), csid=2) == []
        assert (server.ignored_messages, server._acks.due_at, peer.output()) == (1, due_at, [])
        assert server.peer_acknowledged_bytes is None
        assert peer.send(VIDEO) == [VIDEO]

    @pytest.mark.parametrize("size", range(4))
    def test_a_ping_without_its_clock(self, size: int) -> None:
        server, peer = publishing()
        peer.send(Message(MessageType.USER_CONTROL, 0, b"\x00\x06" + bytes(size)), csid=2)
        assert (server.ignored_messages, peer.output()) == (1, [])

    def test_a_window_of_zero_asks_for_no_acknowledgements(self) -> None:
        _, peer = publishing()
        peer.send(control.window_ack_size(10_000), control.window_ack_size(0), csid=2)
        for _ in range(100):
            peer.send(VIDEO)
        assert peer.output() == []


class TestAcknowledgements:
    def test_fault_13_an_acknowledgement_at_half_a_window(self) -> None:
        server, peer = publishing()
        peer.send(control.window_ack_size(10_000), csid=2)
        target = server.bytes_received
        while not (acks := [each for each in peer.output() if each.type_id == MessageType.ACKNOWLEDGEMENT]):
            peer.send(VIDEO)
            target = server.bytes_received
        assert control.read_u32(acks[0]) == target
        assert target < 10_000

    def test_no_window_no_acknowledgements(self) -> None:
        _, peer = publishing()
        for _ in range(100):
            peer.send(VIDEO)
        assert peer.output() == []

    def test_fault_13_past_two_to_the_32(self) -> None:
        server, peer = publishing()
        peer.send(control.window_ack_size(10_000), csid=2)
        server.bytes_received = (1 << 32) - 10
        peer.send(VIDEO)
        (ack,) = peer.output()
        assert control.read_u32(ack) == server.bytes_received - (1 << 32)
        peer.send(VIDEO)
        assert peer.output() == []

    def test_fault_14_set_peer_bandwidth_is_answered(self) -> None:
        server, peer = connected()
        peer.send(control.set_peer_bandwidth(2_500_000, PeerBandwidthLimit.HARD), csid=2)
        assert peer.output() == []
        peer.send(control.set_peer_bandwidth(100_000, PeerBandwidthLimit.HARD), csid=2)
        assert peer.output() == [control.window_ack_size(100_000)]
        assert server.state is SessionState.CONNECTED

    def test_what_the_peer_acknowledges_is_known(self) -> None:
        server, peer = connected()
        assert server.peer_acknowledged_bytes is None
        peer.send(control.acknowledgement(5000), csid=2)
        assert server.peer_acknowledged_bytes == 5000


class TestTime:
    def test_the_handshake_as_a_whole(self) -> None:
        server = fresh_server(now=100.0)
        server.tick(100.0 + LIMITS.handshake_timeout_s - 0.01)
        server.receive(b"\x03", 100.0 + LIMITS.handshake_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            server.tick(100.0 + LIMITS.handshake_timeout_s)
        assert caught.value.reason is CloseReason.HANDSHAKE_TIMEOUT

    @pytest.mark.parametrize("make", [handshaken, lambda: connected()[1], lambda: with_stream()[1]])
    def test_idle_without_a_publish_or_play(self, make: Callable[[], Peer]) -> None:
        session = make().session
        session.tick(LIMITS.idle_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            session.tick(LIMITS.idle_timeout_s)
        assert caught.value.reason is CloseReason.IDLE_TIMEOUT

    @pytest.mark.parametrize("make", [publishing, playing])
    def test_a_publisher_or_player_is_not_idle(
        self, make: Callable[[], tuple[ServerSession, Peer]]
    ) -> None:
        server, peer = make()
        for second in range(75):  # no longer than silence is suffered
            server.tick(float(second))
        peer.now = 75.0
        peer.command("closeStream", 0.0, stream_id=1)
        server.tick(74.0 + LIMITS.idle_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            server.tick(74.0 + LIMITS.idle_timeout_s)
        assert caught.value.reason is CloseReason.IDLE_TIMEOUT

    def test_our_own_slow_decision_is_not_the_peers_idleness(self) -> None:
        peer = handshaken()
        peer.command("connect", 1.0, {"app": "live"})
        peer.session.tick(10 * LIMITS.idle_timeout_s)

    def test_pings_and_the_round_trip_time(self) -> None:
        server, peer = playing()
        server.tick(LIMITS.ping_interval_s - 0.01)
        assert peer.output() == []
        server.tick(LIMITS.ping_interval_s)
        assert peer.output() == [control.ping_request(20_000)]
        server.tick(LIMITS.ping_interval_s + 1)
        assert peer.output() == []
        peer.now = LIMITS.ping_interval_s + 0.25
        assert peer.send(control.ping_response(20_000), csid=2) == [PongReceived(250.0)]
        assert server.rtt_ms == 250.0

    @pytest.mark.parametrize("body", [b"\x00\x06", b"\x00\x06\x00\x00\x00", b"\x00\x1f"])
    def test_events_without_their_data_are_ignored(self, body: bytes) -> None:
        server, peer = connected()
        assert peer.send(Message(MessageType.USER_CONTROL, 0, body)) == []
        assert (server.ignored_messages, peer.output()) == (1, [])

    def test_a_pong_to_no_ping_is_ignored(self) -> None:
        server, peer = playing()
        assert peer.send(control.ping_response(5), csid=2) == []
        assert server.rtt_ms is None
        assert server.ignored_messages == 1

    def test_silence_after_an_unanswered_ping(self) -> None:
        server, peer = playing()
        server.tick(20.0)
        peer.now = 21.0
        peer.send(control.ping_response(20_000), csid=2)
        server.tick(40.0)  # the ping that stays unanswered
        server.tick(40.0 + LIMITS.ping_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            server.tick(40.0 + LIMITS.ping_timeout_s)
        assert caught.value.reason is CloseReason.PING_TIMEOUT

    def test_anything_received_proves_that_the_peer_lives(self) -> None:
        server, peer = playing()
        server.tick(20.0)
        peer.now = 21.0
        peer.send(control.ping_response(20_000), csid=2)
        for second in range(40, 400, 10):
            peer.now = float(second)
            peer.send(control.acknowledgement(second), csid=2)
            server.tick(second + 5.0)

    def test_a_player_that_never_answers_pings_lives(self) -> None:
        server, _ = playing()
        for second in range(0, 4000, 10):
            server.tick(float(second))
        assert server.state is SessionState.CONNECTED

    def test_a_publisher_that_answers_no_ping_and_sends_nothing_is_lost(self) -> None:
        server, _ = publishing()
        server.tick(20.0)  # the first ping
        server.tick(20.0 + LIMITS.ping_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            server.tick(20.0 + LIMITS.ping_timeout_s)
        assert caught.value.reason is CloseReason.PING_TIMEOUT

    def test_a_publisher_that_answers_no_ping_and_sends_media_lives(self) -> None:
        server, peer = publishing()
        for second in range(10, 4000, 10):
            peer.now = float(second)
            peer.send(VIDEO, csid=20)
            server.tick(second + 5.0)
        assert server.state is SessionState.CONNECTED

    def test_a_violation_behind_messages_comes_out_at_the_tick(self) -> None:
        server, _ = publishing()
        data = (
            ChunkWriter().encode(VIDEO, 20) + b"\x80\x00\x00\x00"
        )  # then a format 2 on a new chunk stream
        assert server.receive(data + bytes(8), 0.0) == [VIDEO]
        with pytest.raises(PeerViolation) as caught:
            server.tick(0.5)
        assert caught.value.reason is CloseReason.BAD_CHUNK

    def test_a_violation_behind_events_comes_out_at_the_tick(self) -> None:
        peer = handshaken()
        writer = ChunkWriter()
        data = writer.encode(commands.encode(Command("connect", 1.0, {"app": "live"})), 3)
        data += writer.encode(Message(MessageType.COMMAND_AMF0, 0, b""), 3)
        assert len(peer.session.receive(data, 0.0)) == 1
        with pytest.raises(PeerViolation) as caught:
            peer.session.tick(0.5)
        assert caught.value.reason is CloseReason.BAD_COMMAND


class TestClose:
    def test_fault_25_everything_ends_exactly_once(self) -> None:
        server, peer = publishing()
        peer.command("createStream", 5.0)
        peer.command("play", 6.0, None, "other", stream_id=2)
        assert server.close() == [PublishEnded(1), StreamClosed(1), PlayEnded(2), StreamClosed(2)]
        assert server.close() == []
        assert peer.send(VIDEO) == []
        server.tick(1e9)

    def test_fault_25_also_after_a_violation(self) -> None:
        server, peer = publishing()
        with pytest.raises(PeerViolation):
            peer.command("play", 5.0, None, "cam", stream_id=9)
        assert server.close() == [PublishEnded(1), StreamClosed(1)]

    def test_fault_20_a_peer_that_leaves_at_any_moment_harms_nothing(self) -> None:
        for session in (fresh_server(), handshaken().session, connected()[0]):
            assert session.close() == []
            assert session.receive(b"\x03" * 5000, 1.0) == []

    def test_what_was_to_be_sent_is_still_to_be_had(self) -> None:
        _, peer = connected()
        illegal = commands.encode(Command("play", 5.0, None, ("cam",), 9))
        with pytest.raises(PeerViolation):
            peer.send(control.ping_request(5), illegal)
        assert peer.output() == [control.ping_response(5)]
