"""The client role, driven by a hand-made server: what it sends, and what it makes of answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_support import (
    AAC,
    ENTROPY,
    KEYFRAME,
    LIMITS,
    URL,
    Peer,
    client_peer,
    client_with_stream,
    connected_client,
    decoded,
    fresh_client,
)

from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import capabilities, control
from cluster.core.rtmp import command as commands
from cluster.core.rtmp.aggregate import MAX_SUB_MESSAGES
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.client_session import PLAYER_FLASH_VER, PUBLISHER_FLASH_VER, ClientSession
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.events import (
    CallFailed,
    CallSucceeded,
    CloseRequested,
    CommandReceived,
    ConnectFailed,
    ConnectSucceeded,
    HandshakeCompleted,
    ReconnectRequested,
    StatusReceived,
    StreamEventReceived,
    StreamReady,
)
from cluster.core.rtmp.handshake import ServerHandshake
from cluster.core.rtmp.states import SessionState, StreamState

VIDEO = Message(MessageType.VIDEO, 40, KEYFRAME, 1)


def names(peer: Peer) -> list[tuple[str, int]]:
    return [(reply.name, reply.stream_id) for reply in peer.replies()]


def status(peer: Peer, code: str, level: str = "status", stream_id: int = 1) -> list[object]:
    info = {"level": level, "code": code, "description": "because"}
    return list(peer.command("onStatus", 0.0, None, info, stream_id=stream_id))


class TestConnect:
    def test_set_chunk_size_goes_before_connect(self) -> None:
        client, peer = client_peer()
        assert [message.type_id for message in peer.first] == [
            MessageType.SET_CHUNK_SIZE,
            MessageType.COMMAND_AMF0,
        ]
        assert control.read_u32(peer.first[0]) == 65536
        assert client.state is SessionState.CONNECT_PENDING

    def test_the_fields_of_a_publisher_in_order(self) -> None:
        _, peer = client_peer(
            publisher=True, swf_url="rtmp://h/s", page_url="http://h/p", object_encoding=3
        )
        connect = decoded(peer.first[1])
        assert (connect.name, connect.transaction_id, connect.stream_id) == ("connect", 1.0, 0)
        assert isinstance(connect.command_object, dict)
        assert list(connect.command_object.items()) == [
            ("app", "live"),
            ("type", "nonprivate"),
            ("flashVer", PUBLISHER_FLASH_VER),
            ("swfUrl", "rtmp://h/s"),
            ("tcUrl", "rtmp://edge.example/live"),
            ("fpad", False),
            ("capabilities", 15.0),
            ("audioCodecs", 4095.0),
            ("videoCodecs", 255.0),
            ("videoFunction", 1.0),
            ("pageUrl", "http://h/p"),
            ("objectEncoding", 3.0),
            ("fourCcList", ["*"]),
            ("videoFourCcInfoMap", {"*": 4.0}),
            ("audioFourCcInfoMap", {"*": 4.0}),
            ("capsEx", 15.0),
        ]

    def test_a_player_says_less(self) -> None:
        _, peer = client_peer(declared=capabilities.LEGACY, args=("user", 5.0))
        connect = decoded(peer.first[1])
        assert isinstance(connect.command_object, dict)
        assert list(connect.command_object) == [
            "app",
            "flashVer",
            "tcUrl",
            "fpad",
            "capabilities",
            "audioCodecs",
            "videoCodecs",
            "videoFunction",
            "objectEncoding",
        ]
        assert connect.command_object["flashVer"] == PLAYER_FLASH_VER
        assert connect.args == ("user", 5.0)

    def test_success(self) -> None:
        client, peer = client_peer()
        info = {"level": "status", "code": "NetConnection.Connect.Success"}
        (event,) = peer.command("_result", 1.0, {"capsEx": 14.0}, info)
        assert isinstance(event, ConnectSucceeded)
        assert (event.properties, event.information) == ({"capsEx": 14.0}, info)
        assert event.capabilities.caps_ex == 14
        assert client.state is SessionState.CONNECTED
        assert peer.output() == [control.window_ack_size(2_500_000)]

    def test_refusal_and_redirect(self) -> None:
        client, peer = client_peer()
        info = {
            "level": "error",
            "code": "NetConnection.Connect.Rejected",
            "description": "Elsewhere.",
            "ex": {"code": 302.0, "redirect": "rtmp://b/live"},
        }
        assert peer.command("_error", 1.0, None, info) == [
            ConnectFailed("NetConnection.Connect.Rejected", "Elsewhere.", "rtmp://b/live")
        ]
        assert client.state is SessionState.CLOSING
        with pytest.raises(MisuseError):
            client.publish("cam")

    @pytest.mark.parametrize("values", [(), (None,), ("no",), ({"ex": "x"},)])
    def test_a_refusal_that_says_nothing(self, values: tuple[object, ...]) -> None:
        _, peer = client_peer()
        assert peer.command("_error", 1.0, None, *values) == [ConnectFailed("", "", "")]

    def test_a_result_of_level_error_is_a_refusal(self) -> None:
        client, peer = client_peer()
        peer.command("_result", 1.0, None, {"level": "error", "code": "NetConnection.Connect.Failed"})
        assert client.state is SessionState.CLOSING

    def test_starting_twice_is_our_misuse(self) -> None:
        client = fresh_client()
        client.start(URL)
        with pytest.raises(MisuseError):
            client.start(URL)

    def test_the_signed_handshake(self) -> None:
        client = ClientSession(limits=LIMITS, entropy=ENTROPY, now=0.0)
        client.start(URL)
        server = ServerHandshake(entropy=ENTROPY, uptime_ms=0)
        (event,) = client.receive(server.receive(client.outgoing()), 0.0)
        assert event == HandshakeCompleted("digest-first", bytes((4, 5, 0, 1)))


    def test_a_version_of_ones_own(self) -> None:
        _, peer = client_peer(flash_ver="ours/1.0")
        connect = next(decoded(each) for each in peer.first if each.type_id == MessageType.COMMAND_AMF0)
        assert isinstance(connect.command_object, dict)
        assert connect.command_object["flashVer"] == "ours/1.0"

    def test_receive_before_start_is_misuse(self) -> None:
        client = fresh_client()
        handshake = ServerHandshake(entropy=ENTROPY, uptime_ms=0)
        reply = handshake.receive(b"\x03" + bytes(1536))
        with pytest.raises(MisuseError):
            client.receive(reply, 0.0)


class TestPublish:
    def test_the_flow(self) -> None:
        client, peer = connected_client(publisher=True)
        client.publish("cam?key=1")
        sent = peer.replies()
        assert [(each.name, each.transaction_id, each.args) for each in sent] == [
            ("releaseStream", 2.0, ("cam?key=1",)),
            ("FCPublish", 3.0, ("cam?key=1",)),
            ("createStream", 4.0, ()),
        ]
        assert peer.command("_result", 2.0, None, None) == []
        assert peer.command("_error", 3.0, None, {"level": "error"}) == []
        assert peer.command("_result", 4.0, None, 1.0) == [StreamReady(1, 4.0)]
        (publish,) = peer.replies()
        assert (publish.name, publish.stream_id, publish.args) == ("publish", 1, ("cam?key=1", "live"))
        assert publish.transaction_id != 0
        info = {"level": "status", "code": "NetStream.Publish.Start", "description": "because"}
        assert status(peer, "NetStream.Publish.Start") == [
            StatusReceived(1, "status", "NetStream.Publish.Start", "because", info)
        ]
        assert client.streams[1].state is StreamState.PUBLISHING

    def test_media_and_metadata(self) -> None:
        client, peer = client_with_stream()
        client.publish("cam", stream_id=1)
        peer.output()
        client.send_metadata(1, {"width": 1280})
        client.send(VIDEO)
        client.send(Message(MessageType.AUDIO, 41, AAC, 1))
        metadata = amf0.encode("@setDataFrame", "onMetaData", EcmaArray({"width": 1280}))
        assert peer.output() == [
            Message(MessageType.DATA_AMF0, 0, metadata, 1),
            VIDEO,
            Message(MessageType.AUDIO, 41, AAC, 1),
        ]

    def test_a_refusal_frees_the_stream(self) -> None:
        client, peer = client_with_stream()
        client.publish("cam", stream_id=1)
        status(peer, "NetStream.Publish.BadName", "error")
        assert client.streams[1].state is StreamState.IDLE

    def test_delete_stream_takes_leave_properly(self) -> None:
        client, peer = client_with_stream()
        client.publish("cam", stream_id=1)
        status(peer, "NetStream.Publish.Start")
        peer.output()
        client.delete_stream(1)
        assert [(each.name, each.args) for each in peer.replies()] == [
            ("FCUnpublish", ("cam",)),
            ("deleteStream", (1.0,)),
        ]
        assert client.streams == {}

    def test_create_stream_that_fails(self) -> None:
        client, peer = connected_client()
        transaction_id = client.create_stream()
        info = {"level": "error", "code": "NetConnection.Call.Failed", "description": "full"}
        assert peer.command("_error", transaction_id, None, info) == [
            CallFailed(transaction_id, "NetConnection.Call.Failed", "full", (None, info))
        ]

    @pytest.mark.parametrize("answer", [0.0, None, "1", -3.0, 1.0])
    def test_fault_23_an_id_that_is_none_or_taken_is_a_failure(self, answer: object) -> None:
        client, peer = client_with_stream()
        transaction_id = client.create_stream()
        (event,) = peer.command("_result", transaction_id, None, answer)
        assert isinstance(event, CallFailed)
        assert list(client.streams) == [1]


class TestPlay:
    @pytest.mark.parametrize(
        ("options", "args"),
        [
            ({}, ("cam",)),
            ({"start": -1.0}, ("cam", -1.0)),
            ({"duration": 5.0}, ("cam", -2.0, 5.0)),
            ({"reset": False}, ("cam", -2.0, -1.0, False)),
        ],
    )
    def test_fault_29_the_arguments_are_signed_and_only_the_tail_is_left_out(
        self, options: dict[str, float], args: tuple[object, ...]
    ) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1, **options)  # type: ignore[arg-type]
        messages = peer.output()
        assert messages[0] == control.set_buffer_length(1, 3000)
        play = decoded(messages[1])
        assert (play.name, play.args, play.stream_id) == ("play", args, 1)

    def test_the_flow_on_a_new_stream(self) -> None:
        client, peer = connected_client()
        client.play("cam", buffer_ms=500)
        assert names(peer) == [("createStream", 0)]
        assert peer.command("_result", 2.0, None, 3.0) == [StreamReady(3, 2.0)]
        assert peer.output()[0] == control.set_buffer_length(3, 500)
        status(peer, "NetStream.Play.Start", stream_id=3)
        assert client.streams[3].state is StreamState.PLAYING

    @pytest.mark.plain  # it gives the chunk reader a ``feed`` of its own
    def test_media_passes_as_the_readers_own_message(self) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        status(peer, "NetStream.Play.Start")
        made: list[Message] = []
        feed = client._reader.feed

        def spy(data: bytes) -> list[Message]:
            made.extend(feed(data))
            return made

        client._reader.feed = spy  # type: ignore[method-assign, assignment]
        assert peer.send(VIDEO)[0] is made[0]

    def test_data_before_play_start(self) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        access = Message(MessageType.DATA_AMF0, 0, amf0.encode("|RtmpSampleAccess", True, True), 1)
        assert peer.send(access) == [access]

    def test_media_on_message_stream_0_is_that_of_the_one_play(self) -> None:
        """node-media-server answers on the player's message stream, and sends all media on 0."""
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        status(peer, "NetStream.Play.Start")
        assert peer.send(VIDEO._replace(stream_id=0)) == [VIDEO]
        metadata = Message(MessageType.DATA_AMF0, 0, amf0.encode("onMetaData", None), 0)
        assert peer.send(metadata) == [metadata._replace(stream_id=1)]
        assert client.ignored_messages == 0

    def test_media_on_message_stream_0_is_nobody_s_if_several_play(self) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        peer.output()
        client.play("other")
        (asked,) = peer.output()
        peer.command("_result", decoded(asked).transaction_id, None, 2.0)
        assert peer.send(VIDEO._replace(stream_id=0)) == []
        assert client.ignored_messages == 1

    def test_media_of_nothing_played_is_ignored(self) -> None:
        client, peer = client_with_stream()
        assert peer.send(VIDEO) == []
        assert client.ignored_messages == 1

    def test_a_publishers_return_does_not_end_the_play(self) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        status(peer, "NetStream.Play.Start")
        status(peer, "NetStream.Play.UnpublishNotify")
        states = [client.streams[1].state]
        for code, level in (("NetStream.Seek.Failed", "error"), ("NetStream.Play.Stop", "status")):
            status(peer, code, level)
            states.append(client.streams[1].state)
        assert states == [StreamState.PLAYING, StreamState.PLAYING, StreamState.IDLE]

    def test_fault_27_a_status_on_message_stream_0_is_the_only_streams(self) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        (event,) = status(peer, "NetStream.Play.Start", stream_id=0)
        assert isinstance(event, StatusReceived)
        assert event.stream_id == 1
        assert client.streams[1].state is StreamState.PLAYING

    def test_what_a_player_can_ask_for(self) -> None:
        client, peer = client_with_stream()
        client.play("cam", stream_id=1)
        peer.output()
        client.pause(1, True, 500)
        client.seek(1, 9000)
        client.receive_audio(1, False)
        client.receive_video(1, True)
        client.close_stream(1)
        assert [(each.name, each.args, each.stream_id) for each in peer.replies()] == [
            ("pause", (True, 500.0), 1),
            ("seek", (9000.0,), 1),
            ("receiveAudio", (False,), 1),
            ("receiveVideo", (True,), 1),
            ("closeStream", (), 1),
        ]

    def test_asking_on_a_stream_that_does_not_exist_is_our_misuse(self) -> None:
        client, _ = connected_client()
        with pytest.raises(MisuseError):
            client.pause(1, True)


class TestServerCalls:
    def test_call(self) -> None:
        client, peer = connected_client()
        transaction_id = client.call("statistics", "cam", command_object={"a": 1})
        (sent,) = peer.replies()
        assert sent == Command("statistics", transaction_id, {"a": 1.0}, ("cam",))
        assert peer.command("_result", transaction_id, None, 5.0) == [
            CallSucceeded(transaction_id, (None, 5.0))
        ]

    def test_bandwidth_checks_are_answered(self) -> None:
        _, peer = connected_client()
        for name in ("_onbwcheck", "onBWCheck"):
            peer.command(name, 7.0, None)
        assert names(peer) == [("_result", 0), ("_result", 0)]

    def test_on_bw_done_needs_no_answer(self) -> None:
        _, peer = connected_client()
        assert peer.command("onBWDone", 0.0, None) == [CommandReceived(0, Command("onBWDone"))]
        assert peer.output() == []

    def test_an_unknown_call_gets_an_error(self) -> None:
        _, peer = connected_client()
        peer.command("whoAreYou", 4.0, None)
        assert names(peer) == [("_error", 0)]

    def test_close(self) -> None:
        _, peer = connected_client()
        assert peer.command("close", 0.0, None) == [CloseRequested()]

    def test_a_reconnect_request(self) -> None:
        _, peer = connected_client()
        info = {"level": "status", "code": "NetConnection.Connect.ReconnectRequest", "tcUrl": "/live"}
        assert peer.command("onStatus", 0.0, None, info) == [ReconnectRequested("/live", "")]

    def test_ping_and_stream_events(self) -> None:
        _, peer = connected_client()
        assert peer.send(control.ping_request(9), control.stream_begin(1), csid=2) == [
            StreamEventReceived(1, UserControlEvent.STREAM_BEGIN)
        ]
        assert peer.output() == [control.ping_response(9)]

    def test_acknowledgements(self) -> None:
        client, peer = connected_client()
        peer.send(control.window_ack_size(4096), csid=2)
        assert peer.output() == [control.acknowledgement(client.bytes_received)]
        acknowledged = client.bytes_received
        while not (sent := peer.output()):
            peer.send(control.acknowledgement(5), csid=2)
        assert sent == [control.acknowledgement(client.bytes_received)]
        assert 2048 <= client.bytes_received - acknowledged < 4096


class TestMethods:
    """Calls that the shell answers itself, both ways."""

    def test_a_servers_call_is_answered_by_the_shell(self) -> None:
        client, peer = connected_client()
        client.methods = frozenset(("sum",))
        (event,) = peer.command("sum", 7.0, None, 1.0, 2.0)
        assert isinstance(event, CommandReceived)
        assert peer.replies() == []
        client.reply(event.command, 3.0)
        client.reply_error(event.command, "Sum.Failed", "no")
        result, error = peer.replies()
        assert (result.name, result.transaction_id, result.args) == ("_result", 7.0, (3.0,))
        assert (error.name, error.transaction_id) == ("_error", 7.0)
        assert error.args == ({"level": "error", "code": "Sum.Failed", "description": "no"},)

    def test_who_asks_for_no_answer_gets_none(self) -> None:
        client, peer = connected_client()
        client.methods = frozenset(("sum",))
        (event,) = peer.command("sum", 0.0)
        assert isinstance(event, CommandReceived)
        client.reply(event.command, 3.0)
        client.reply_error(event.command, "Sum.Failed", "no")
        assert peer.output() == []

    def test_a_call_on_a_message_stream(self) -> None:
        client, peer = client_with_stream()
        transaction_id = client.call("ask", 1.0, stream_id=1)
        (asked,) = peer.replies()
        assert (asked.name, asked.transaction_id, asked.stream_id) == ("ask", transaction_id, 1)


def test_a_request_behind_a_violation_is_the_servers_fault() -> None:
    """Found by fuzzing: what the server broke stood in the same bytes as its answer."""
    client, peer = client_with_stream()
    client.play("cam", stream_id=1)
    info = {"level": "status", "code": "NetStream.Play.Start"}
    started = commands.encode(Command("onStatus", 0.0, None, (info,), 1))
    too_many = Message(MessageType.AGGREGATE, 0, (b"\x08" + bytes(14)) * (MAX_SUB_MESSAGES + 1), 1)
    assert [type(event) for event in peer.send(started, too_many)] == [StatusReceived]
    for ask in (client.publish, client.play):
        with pytest.raises(PeerViolation) as caught:
            ask("cam")
        assert caught.value.reason is CloseReason.MESSAGE_TOO_LARGE


class TestTime:
    def test_the_handshake(self) -> None:
        client = fresh_client()
        client.start(URL)
        client.tick(LIMITS.handshake_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            client.tick(LIMITS.handshake_timeout_s)
        assert caught.value.reason is CloseReason.HANDSHAKE_TIMEOUT

    def test_connect(self) -> None:
        client, _ = client_peer()
        client.tick(LIMITS.idle_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            client.tick(LIMITS.idle_timeout_s)
        assert caught.value.reason is CloseReason.IDLE_TIMEOUT

    def test_nothing_else(self) -> None:
        client, _ = connected_client()
        client.tick(1e6)
        assert client.outgoing() == b""


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_bytes_raise_nothing_but_violations(junk: bytes, changes: list[tuple[int, int]]) -> None:
    client, _ = client_with_stream()
    client.play("cam", stream_id=1)
    writer = ChunkWriter()
    told = commands.encode(Command("onStatus", 0.0, None, ({"code": "x"},), 1))
    answer = commands.encode(Command("_result", 3.0, None, (2.0,)))
    data = bytearray(
        writer.encode(control.stream_begin(1), 2)
        + writer.encode(told, 5)
        + writer.encode(answer, 3)
        + writer.encode(Message(MessageType.AUDIO, 0, AAC, 1), 4)
    )
    for position, value in changes:
        data[position % len(data)] = value
    try:
        client.receive(bytes(data) + junk, 0.0)
        client.receive(b"", 0.0)
        client.tick(1.0)
    except PeerViolation:
        assert client.state is SessionState.CLOSED
    client.outgoing()
