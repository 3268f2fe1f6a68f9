"""The server role's message streams, driven by hand: publish, play, media, what is held meanwhile."""

from __future__ import annotations

import dataclasses

import pytest
from session_support import (
    AAC,
    KEYFRAME,
    LIMITS,
    connected,
    handshaken,
    playing,
    publishing,
    summary,
    with_stream,
)

from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import arguments, command, control
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import (
    AudioEnabled,
    BufferLengthSet,
    CommandReceived,
    PauseChanged,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    SeekRequested,
    StreamClosed,
    StreamCreated,
    VideoEnabled,
)
from cluster.core.rtmp.message_stream import HELD_MESSAGE_BYTES, MAX_HELD_BYTES
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.states import StreamState

VIDEO = Message(MessageType.VIDEO, 40, KEYFRAME, 1)
AUDIO = Message(MessageType.AUDIO, 41, AAC, 1)


class TestPipelining:
    def test_commands_before_the_answer_to_connect_wait_for_it(self) -> None:
        peer = handshaken()
        server = peer.session
        assert isinstance(server, ServerSession)
        peer.command("connect", 1.0, {"app": "live"})
        assert peer.command("createStream", 2.0) == []
        assert peer.command("publish", 3.0, None, "cam", "live", stream_id=1) == []
        assert peer.output() == []
        server.accept_connect()
        peer.output()
        assert server.receive(b"", 0.0) == [StreamCreated(1), PublishRequested(1, "cam", "", "live")]
        assert [reply.name for reply in peer.replies()] == ["_result"]

    def test_media_before_publish_start_keeps_its_order(self) -> None:
        server, peer = with_stream()
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        assert peer.send(VIDEO, AUDIO) == []
        server.accept_publish(1)
        later = VIDEO._replace(timestamp=80)
        assert peer.send(later) == [VIDEO, AUDIO, later]
        assert server.dropped_messages == 0

    def test_held_media_of_a_rejected_publish_is_gone(self) -> None:
        server, peer = with_stream()
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        peer.send(VIDEO, AUDIO)
        server.reject_publish(1, "NetStream.Publish.Denied", "no")
        assert server.receive(b"", 0.0) == []
        assert server.ignored_messages == 2

    def test_held_media_of_another_stream_outlives_a_refusal(self) -> None:
        server, peer = with_stream()
        peer.command("createStream", 3.0)
        for stream_id in (1, 2):
            peer.command("publish", 4.0, None, f"cam{stream_id}", "live", stream_id=stream_id)
        second = AUDIO._replace(stream_id=2)
        peer.send(VIDEO, second)
        server.reject_publish(1, "NetStream.Publish.Denied", "no")
        assert server.ignored_messages == 1
        server.accept_publish(2)
        assert server.receive(b"", 0.0) == [second]

    def test_held_media_of_another_stream_goes_on_waiting(self) -> None:
        server, peer = with_stream()
        peer.command("createStream", 3.0)
        for stream_id in (1, 2):
            peer.command("publish", 4.0, None, f"cam{stream_id}", "live", stream_id=stream_id)
        second = AUDIO._replace(stream_id=2)
        peer.send(VIDEO, second)
        server.accept_publish(1)
        assert server.receive(b"", 0.0) == [VIDEO]
        server.accept_publish(2)
        assert server.receive(b"", 0.0) == [second]

    def held(self, payload_bytes: int) -> tuple[ServerSession, list[object]]:
        server, peer = with_stream()
        peer.send(control.set_chunk_size(0xFFFFFF), csid=2)
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        peer.send(Message(MessageType.VIDEO, 0, bytes(payload_bytes), 1))
        server.accept_publish(1)
        return server, list(server.receive(b"", 0.0))

    def test_held_bytes_at_the_bound(self) -> None:
        server, received = self.held(MAX_HELD_BYTES - HELD_MESSAGE_BYTES)
        assert (len(received), server.dropped_messages) == (1, 0)

    def test_held_bytes_one_past_the_bound(self) -> None:
        server, received = self.held(MAX_HELD_BYTES - HELD_MESSAGE_BYTES + 1)
        assert (len(received), server.dropped_messages) == (0, 1)

    def test_what_is_held_is_known_until_it_is_not(self) -> None:
        server, peer = with_stream()
        assert server.held_bytes == 0
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        peer.send(Message(MessageType.VIDEO, 0, bytes(100), 1))
        assert server.held_bytes == 100 + HELD_MESSAGE_BYTES
        server.accept_publish(1)
        list(server.receive(b"", 0.0))
        assert server.held_bytes == 0

    def test_empty_messages_are_bounded_too(self) -> None:
        server, peer = with_stream()
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        count = MAX_HELD_BYTES // HELD_MESSAGE_BYTES
        peer.send(*[Message(MessageType.AUDIO, 0, b"", 1)] * (count + 1))
        assert server.dropped_messages == 1

    def test_too_many_commands_before_the_answer_to_connect(self) -> None:
        peer = handshaken()
        peer.send(control.set_chunk_size(0xFFFFFF), csid=2)
        peer.command("connect", 1.0, {"app": "live"})
        part = 60_000
        for _ in range(MAX_HELD_BYTES // (part + 200)):
            peer.command("x", 2.0, None, "y" * part)
        with pytest.raises(PeerViolation) as caught:
            peer.command("x", 2.0, None, "y" * part)
        assert caught.value.reason is CloseReason.ILLEGAL_STATE

    @pytest.mark.parametrize("extra", [0, 1])
    def test_a_message_before_publish_at_the_limit_and_one_past(self, extra: int) -> None:
        _, peer = with_stream()
        peer.send(control.set_chunk_size(0xFFFFFF), csid=2)
        message = Message(9, 0, bytes(LIMITS.max_command_bytes + extra), 1)
        if not extra:
            peer.send(message)
            return
        with pytest.raises(PeerViolation) as caught:
            peer.send(message)
        assert caught.value.reason is CloseReason.MESSAGE_TOO_LARGE

    def test_large_messages_right_behind_publish_are_read(self) -> None:
        """In one piece of bytes: what allows them is among the messages before them."""
        server, peer = with_stream()
        large = Message(9, 0, KEYFRAME + bytes(LIMITS.max_message_bytes - len(KEYFRAME)), 1)
        publish = command.encode(Command("publish", 3.0, None, ("cam", "live"), 1))
        size = control.set_chunk_size(0xFFFFFF)
        data = b"".join(
            peer._writer.encode(each, csid) for each, csid in ((size, 2), (publish, 3), (large, 6))
        )
        events = server.receive(data, 1.0)
        while server.has_unread:
            events += server.receive(server.unread, 1.0)
        assert any(isinstance(each, PublishRequested) for each in events)
        assert server.bytes_received > LIMITS.max_message_bytes

    @pytest.mark.parametrize("extra", [0, 1])
    def test_a_command_at_the_limit_and_one_past(self, extra: int) -> None:
        server, peer = with_stream()
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        peer.send(control.set_chunk_size(0xFFFFFF), csid=2)
        call = command.encode(Command("call", 0.0, None, ("",)))
        room = LIMITS.max_command_bytes - len(call.payload)
        call = command.encode(Command("call", 0.0, None, ("y" * (room + extra),)))
        ignored = server.ignored_messages
        events = peer.send(call, csid=3)
        assert len([each for each in events if isinstance(each, CommandReceived)]) == 1 - extra
        assert server.ignored_messages - ignored == extra

    @pytest.mark.parametrize("name", ["closeStream", "deleteStream"])
    def test_a_publish_that_ends_before_it_is_accepted(self, name: str) -> None:
        server, peer = with_stream()
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        peer.send(VIDEO)
        events = peer.command(name, 0.0, None, *([1.0] if name == "deleteStream" else []), stream_id=1)
        assert PublishEnded(1) in events
        peer.output()
        assert server.accept_publish(1) is False
        assert peer.output() == []
        assert server.receive(b"", 0.0) == []


class TestMessageStreams:
    def test_fault_23_create_stream_answers_the_real_id(self) -> None:
        _, peer = connected()
        ids = []
        for transaction_id in (2.0, 3.0, 4.0):
            (event,) = peer.command("createStream", transaction_id)
            (reply,) = peer.replies()
            assert (reply.name, reply.transaction_id, reply.command_object) == (
                "_result",
                transaction_id,
                None,
            )
            assert isinstance(event, StreamCreated)
            assert reply.args == (float(event.stream_id),)
            ids.append(event.stream_id)
        assert ids == [1, 2, 3]

    def test_the_null_of_the_answer_is_the_byte_that_ffmpeg_skips(self) -> None:
        _, peer = connected()
        peer.command("createStream", 2.0)
        (message,) = peer.output()
        assert message.payload == amf0.encode("_result", 2.0, None, 1.0)

    def test_an_id_comes_again_after_delete_stream(self) -> None:
        _, peer = with_stream()
        peer.command("createStream", 3.0)
        assert peer.command("deleteStream", 0.0, None, 1.0) == [StreamClosed(1)]
        assert peer.command("createStream", 4.0) == [StreamCreated(1)]

    @pytest.mark.parametrize(("count", "refused"), [(2, 0), (3, 1)])
    def test_streams_at_the_limit_and_one_past_it(self, count: int, refused: int) -> None:
        server, peer = connected(dataclasses.replace(LIMITS, max_message_streams=2))
        for number in range(count):
            peer.command("createStream", 2.0 + number)
        assert [reply.name for reply in peer.replies()].count("_error") == refused
        assert len(server.streams) == 2

    def test_delete_stream_names_the_stream_by_argument_or_by_message(self) -> None:
        server, peer = with_stream()
        assert peer.command("deleteStream", 0.0, None, stream_id=1) == [StreamClosed(1)]
        assert server.streams == {}
        assert peer.command("deleteStream", 0.0, None, "x") == []


class TestPublish:
    def test_the_dialogue(self) -> None:
        server, peer = with_stream()
        events = peer.command("publish", 5.0, None, "cam?key=1", "record", stream_id=1, csid=4)
        assert events == [PublishRequested(1, "cam", "key=1", "record")]
        assert peer.output() == []
        assert server.accept_publish(1) is True
        assert summary(peer.output()) == [
            (4, "000000000001", 0),
            ("onStatus", "NetStream.Publish.Start", 1),
        ]
        assert peer.send(VIDEO, AUDIO, csid=4) == [VIDEO, AUDIO]

    @pytest.mark.parametrize("publish_type", ["live", "record", "append", "cast", "", "x" * 5000])
    def test_any_type_will_do(self, publish_type: str) -> None:
        """What is published is live, whatever is asked."""
        _, peer = with_stream()
        events = peer.command("publish", 5.0, None, "cam", publish_type, "more", stream_id=1)
        assert events == [PublishRequested(1, "cam", "", publish_type)]

    @pytest.mark.parametrize("args", [("cam",), ("cam", None), ("cam", 5.0)])
    def test_the_type_is_live_by_default(self, args: tuple[object, ...]) -> None:
        _, peer = with_stream()
        events = peer.command("publish", 5.0, None, *args, stream_id=1)
        assert events == [PublishRequested(1, "cam", "", "live")]

    @pytest.mark.parametrize(
        ("args", "query"), [((), ""), ((None,), ""), (("",), ""), (("?key=1",), "key=1")]
    )
    def test_an_empty_name_is_for_the_app_to_say(self, args: tuple[object, ...], query: str) -> None:
        _, peer = with_stream()
        assert peer.command("publish", 5.0, None, *args, stream_id=1) == [
            PublishRequested(1, "", query, "live")
        ]

    @pytest.mark.parametrize("args", [(5.0,), ({},), ("x" * 4097,)])
    def test_without_a_name(self, args: tuple[object, ...]) -> None:
        server, peer = with_stream()
        assert peer.command("publish", 5.0, None, *args, stream_id=1) == []
        assert summary(peer.output()) == [("onStatus", "NetStream.Publish.BadName", 1)]
        assert server.streams[1].state is StreamState.IDLE

    def test_a_refusal_is_an_error_on_the_stream(self) -> None:
        server, peer = with_stream()
        peer.command("publish", 5.0, None, "cam", stream_id=1)
        server.reject_publish(1, "NetStream.Publish.BadName", "Taken.")
        (reply,) = peer.replies()
        assert (reply.name, reply.transaction_id, reply.stream_id) == ("onStatus", 0.0, 1)
        assert reply.arg(0) == {
            "level": "error",
            "code": "NetStream.Publish.BadName",
            "description": "Taken.",
        }

    @pytest.mark.plain  # it gives the chunk reader a ``feed`` of its own
    def test_the_media_is_the_readers_own_message(self) -> None:
        server, peer = publishing()
        made: list[Message] = []
        feed = server._reader.feed

        def spy(data: bytes) -> list[Message]:
            made.extend(feed(data))
            return made

        server._reader.feed = spy  # type: ignore[method-assign, assignment]
        received = peer.send(VIDEO)
        assert received[0] is made[0]

    def test_fault_26_fc_unpublish_ends_the_publish_of_that_name(self) -> None:
        server, peer = publishing()
        assert peer.command("FCUnpublish", 6.0, None, "other") == []
        assert peer.command("FCUnpublish", 7.0, None, "cam?key=1") == [PublishEnded(1)]
        assert summary(peer.output()) == [
            ("_result", None, 0),
            ("_result", None, 0),
            ("onStatus", "NetStream.Unpublish.Success", 1),
        ]
        assert peer.send(VIDEO) == []
        assert server.ignored_messages == 2
        assert peer.command("deleteStream", 8.0, None, 1.0) == [StreamClosed(1)]

    def test_an_encoder_that_sent_fc_publish_gets_its_callbacks(self) -> None:
        server, peer = with_stream()
        peer.command("FCPublish", 3.0, None, "cam")
        peer.command("publish", 5.0, None, "cam", stream_id=1)
        peer.output()
        server.accept_publish(1)
        assert summary(peer.output())[0] == ("onFCPublish", "NetStream.Publish.Start", 0)
        peer.command("FCUnpublish", 0.0, None, "cam")
        assert summary(peer.output())[0] == ("onFCUnpublish", "NetStream.Unpublish.Success", 0)

    def test_fault_26_close_stream_ends_it_and_keeps_the_stream(self) -> None:
        server, peer = publishing()
        assert peer.command("closeStream", 0.0, stream_id=1) == [PublishEnded(1)]
        assert summary(peer.output()) == [("onStatus", "NetStream.Unpublish.Success", 1)]
        assert server.streams[1].state is StreamState.IDLE
        assert peer.command("publish", 9.0, None, "cam2", stream_id=1) == [
            PublishRequested(1, "cam2", "", "live")
        ]

    def test_fault_26_delete_stream_ends_it(self) -> None:
        _, peer = publishing()
        assert peer.command("deleteStream", 0.0, None, 1.0) == [PublishEnded(1), StreamClosed(1)]
        assert peer.output() == []

    def test_we_end_it(self) -> None:
        server, peer = publishing()
        assert server.end_publish(1, "NetStream.Publish.BadName", "Replaced.") is True
        assert summary(peer.output()) == [("onStatus", "NetStream.Publish.BadName", 1)]
        assert peer.send(VIDEO) == []

    def test_a_second_publish_on_the_stream_is_refused(self) -> None:
        server, peer = publishing()
        assert peer.command("publish", 9.0, None, "cam", stream_id=1) == []
        assert summary(peer.output()) == [("onStatus", "NetStream.Publish.BadName", 1)]
        assert server.streams[1].state is StreamState.PUBLISHING


class TestMedia:
    def test_early_and_late_media_is_ignored_and_counted(self) -> None:
        server, peer = with_stream()
        assert peer.send(VIDEO, AUDIO._replace(stream_id=5)) == []
        assert server.ignored_messages == 2

    def test_media_on_message_stream_0_is_the_one_publisher_s(self) -> None:
        """node-media-server's relay creates a message stream, publishes on it, and sends all media on 0."""
        server, peer = with_stream()
        peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
        assert peer.send(VIDEO._replace(stream_id=0)) == []
        server.accept_publish(1)
        assert peer.send(AUDIO._replace(stream_id=0)) == [VIDEO, AUDIO]
        metadata = amf0.encode("onMetaData", EcmaArray({"width": 1920.0}))
        sent = Message(MessageType.DATA_AMF0, 0, amf0.encode("@setDataFrame") + metadata, 0)
        assert peer.send(sent) == [Message(MessageType.DATA_AMF0, 0, metadata, 1)]
        assert server.ignored_messages == 0

    def test_media_on_message_stream_0_is_nobody_s_if_none_or_several_publish(self) -> None:
        server, peer = with_stream()
        assert peer.send(VIDEO._replace(stream_id=0)) == []
        peer.command("createStream", 3.0)
        for stream_id in (1, 2):
            peer.command("publish", 4.0, None, f"cam{stream_id}", "live", stream_id=stream_id)
            server.accept_publish(stream_id)
        assert peer.send(VIDEO._replace(stream_id=0)) == []
        assert server.ignored_messages == 2

    @pytest.mark.parametrize("stream_id", [1, 2, 5])
    def test_media_on_a_message_stream_that_does_not_publish_is_the_one_publisher_s(
        self, stream_id: int
    ) -> None:
        """Others heed no message stream in media: an encoder may use one it never created."""
        server, peer = with_stream()
        peer.command("createStream", 3.0)
        publisher = 3 - stream_id if stream_id < 3 else 1
        peer.command("publish", 4.0, None, "cam", "live", stream_id=publisher)
        server.accept_publish(publisher)
        sent = VIDEO._replace(stream_id=stream_id)
        assert peer.send(sent) == [sent._replace(stream_id=publisher)]

    @pytest.mark.parametrize("marker", [b"\x05", b"\x06"])
    def test_a_name_that_is_null_or_undefined_is_none(self, marker: bytes) -> None:
        assert arguments.stream_name(amf0.decode_all(marker)[0]) == ("", "")

    def test_media_before_connect_is_illegal(self) -> None:
        peer = handshaken()
        with pytest.raises(PeerViolation) as caught:
            peer.send(VIDEO)
        assert caught.value.reason is CloseReason.ILLEGAL_STATE

    def test_empty_media_passes(self) -> None:
        _, peer = publishing()
        silence = Message(MessageType.AUDIO, 5, b"", 1)
        assert peer.send(silence) == [silence]

    def test_fault_10_media_and_commands_on_any_chunk_stream(self) -> None:
        _, peer = publishing()
        assert peer.send(AUDIO, csid=2) == [AUDIO]
        assert peer.send(VIDEO, csid=3) == [VIDEO]
        assert peer.command("createStream", 5.0, csid=20) == [StreamCreated(2)]

    def test_fault_10_control_on_any_chunk_stream(self) -> None:
        _, peer = connected()
        peer.send(control.ping_request(77), csid=9)
        assert summary(peer.output()) == [(4, "00070000004d", 0)]

    def test_set_data_frame_is_stripped(self) -> None:
        _, peer = publishing()
        metadata = amf0.encode("onMetaData", EcmaArray({"width": 1920.0}))
        sent = Message(MessageType.DATA_AMF0, 0, amf0.encode("@setDataFrame") + metadata, 1)
        assert peer.send(sent) == [Message(MessageType.DATA_AMF0, 0, metadata, 1)]

    @pytest.mark.parametrize("head", [b"\x00", b""])
    def test_type_15_data_becomes_amf0(self, head: bytes) -> None:
        _, peer = publishing()
        metadata = amf0.encode("onMetaData", EcmaArray({"width": 1920.0}))
        sent = Message(MessageType.DATA_AMF3, 0, head + amf0.encode("@setDataFrame") + metadata, 1)
        assert peer.send(sent) == [Message(MessageType.DATA_AMF0, 0, metadata, 1)]

    def test_type_15_data_that_is_amf3_throughout_stays(self) -> None:
        _, peer = publishing()
        sent = Message(MessageType.DATA_AMF3, 0, b"\x06\x03x", 1)
        assert peer.send(sent) == [sent]

    def test_a_truncated_aggregate_is_counted(self) -> None:
        server, peer = publishing()
        body = bytes.fromhex("08 000002 0003E8 00 000000 AF01 0000000D 09 000009")
        received = peer.send(Message(MessageType.AGGREGATE, 5000, body, 1))
        assert received == [Message(MessageType.AUDIO, 5000, b"\xaf\x01", 1)]
        assert server.truncated_aggregates == 1

    def test_an_aggregate_is_split(self) -> None:
        _, peer = publishing()
        body = bytes.fromhex(
            "08 000002 0003E8 00 000000 AF01 0000000D 09 000001 0003FF 00 000000 27 0000000C"
        )
        assert peer.send(Message(MessageType.AGGREGATE, 5000, body, 1)) == [
            Message(MessageType.AUDIO, 5000, b"\xaf\x01", 1),
            Message(MessageType.VIDEO, 5023, b"\x27", 1),
        ]

    @pytest.mark.parametrize("type_id", [0, 7, 10, 14, 16, 19, 21, 23, 255])
    def test_other_types_are_ignored_and_counted(self, type_id: int) -> None:
        server, peer = publishing()
        assert peer.send(Message(type_id, 0, b"abc", 1)) == []
        assert server.ignored_messages == 1

    def test_set_chunk_size_acts_at_once(self) -> None:
        server, peer = publishing()
        large = Message(MessageType.VIDEO, 9, bytes(5000), 1)
        assert peer.send(control.set_chunk_size(4096), large) == [large]
        assert server._reader.chunk_size == 4096


class TestPlay:
    def test_fault_27_the_dialogue_on_the_streams_own_id(self) -> None:
        server, peer = connected()
        peer.command("createStream", 2.0)
        peer.command("createStream", 3.0)
        peer.output()
        events = peer.command("play", 4.0, None, "cam?key=1", -2.0, stream_id=2, csid=8)
        assert events == [PlayRequested(2, "cam", "key=1", -2.0, -1.0, True)]
        assert server.accept_play(2) is True
        messages = peer.output()
        assert summary(messages) == [
            (4, "000000000002", 0),
            ("onStatus", "NetStream.Play.Reset", 2),
            ("onStatus", "NetStream.Play.Start", 2),
        ]

    def test_no_reset_unless_asked(self) -> None:
        server, peer = with_stream()
        peer.command("play", 4.0, None, "cam", -1000.0, -1.0, False, stream_id=1)
        server.accept_play(1)
        codes = [told for name, told, _ in summary(peer.output()) if name == "onStatus"]
        assert codes == ["NetStream.Play.Start"]

    @pytest.mark.parametrize("args", [(), (None,), ("",)])
    def test_an_empty_name_is_for_the_app_to_say(self, args: tuple[object, ...]) -> None:
        _, peer = with_stream()
        assert peer.command("play", 4.0, None, *args, stream_id=1) == [
            PlayRequested(1, "", "", -2.0, -1.0, True)
        ]

    @pytest.mark.parametrize("args", [(5.0,), (["a"],)])
    def test_without_a_name(self, args: tuple[object, ...]) -> None:
        server, peer = with_stream()
        assert peer.command("play", 4.0, None, *args, stream_id=1) == []
        assert summary(peer.output()) == [("onStatus", "NetStream.Play.Failed", 1)]
        assert server.streams[1].state is StreamState.IDLE

    @pytest.mark.parametrize("args", [("live",), ("-2", "0", "x"), (None, None, None), ({}, [], "no", 1.0)])
    def test_arguments_of_other_types_say_nothing(self, args: tuple[object, ...]) -> None:
        _, peer = with_stream()
        assert peer.command("play", 4.0, None, "cam", *args, stream_id=1) == [
            PlayRequested(1, "cam", "", -2.0, -1.0, True)
        ]

    @pytest.mark.parametrize("name", ["pause", "seek", "receiveAudio", "receiveVideo", "pauseRaw"])
    @pytest.mark.parametrize("args", [(), (None,), ("x", "y"), ({}, 1.0)])
    def test_commands_of_a_player_need_no_arguments(self, name: str, args: tuple[object, ...]) -> None:
        server, peer = playing()
        assert len(peer.command(name, 0.0, None, *args, stream_id=1)) == 1
        assert server.streams[1].state is StreamState.PLAYING

    def test_a_second_play_replaces_the_first(self) -> None:
        server, peer = playing()
        events = peer.command("play", 5.0, None, "other", stream_id=1)
        assert events == [PlayEnded(1), PlayRequested(1, "other", "", -2.0, -1.0, True)]
        again = peer.command("play", 6.0, None, "third", stream_id=1)
        assert again == [PlayEnded(1), PlayRequested(1, "third", "", -2.0, -1.0, True)]
        assert server.accept_play(1) is True

    def test_play2(self) -> None:
        _, peer = with_stream()
        events = peer.command("play2", 0.0, None, {"streamName": "cam_hi"}, stream_id=1)
        assert events == [PlayRequested(1, "cam_hi", "", -2.0, -1.0, True)]

    def test_not_found(self) -> None:
        server, peer = with_stream()
        peer.command("play", 4.0, None, "cam", stream_id=1)
        server.reject_play(1, "NetStream.Play.StreamNotFound", "No such stream.")
        (reply,) = peer.replies()
        assert reply.stream_id == 1
        assert reply.arg(0)["level"] == "error"  # type: ignore[call-overload, index]

    def test_the_end(self) -> None:
        server, peer = playing()
        assert server.suspend_play(1) is True
        assert summary(peer.output()) == [
            (4, "000100000001", 0),
            ("onStatus", "NetStream.Play.UnpublishNotify", 1),
            ("onStatus", "NetStream.Play.Stop", 1),
        ]
        assert server.suspend_play(1) is False

    @pytest.mark.parametrize("reset", [True, False])
    def test_the_stream_returns_to_who_has_stayed(self, reset: bool) -> None:
        """lal and nginx-rtmp heed no status, and stay."""
        server, peer = with_stream()
        peer.command("play", 4.0, None, "cam", -2.0, -1.0, reset, stream_id=1)
        server.accept_play(1)
        begun = summary(peer.output())
        for _ in range(2):
            server.suspend_play(1)
            peer.output()
            assert server.resume_play(1) is True
            assert server.resume_play(1) is False
            assert summary(peer.output()) == begun
        assert ("onStatus", "NetStream.Play.Reset", 1) in begun or not reset

    def test_who_waits_for_a_stream_to_return_may_publish_instead(self) -> None:
        server, peer = playing()
        server.suspend_play(1)
        assert peer.command("publish", 9.0, None, "mine", stream_id=1) == [
            PlayEnded(1), PublishRequested(1, "mine", "", "live"),
        ]  # fmt: skip

    def test_who_waits_for_a_stream_to_return_is_not_idle(self) -> None:
        server, peer = playing()
        server.suspend_play(1)
        for second in range(600):
            server.tick(float(second))
        peer.now = 600.0
        peer.command("closeStream", 0.0, stream_id=1)
        server.tick(599.0 + LIMITS.idle_timeout_s - 0.01)
        with pytest.raises(PeerViolation) as caught:
            server.tick(599.0 + LIMITS.idle_timeout_s)
        assert caught.value.reason is CloseReason.IDLE_TIMEOUT

    def test_the_peer_closes(self) -> None:
        _, peer = playing()
        assert peer.command("closeStream", 0.0, stream_id=1) == [PlayEnded(1)]
        assert summary(peer.output()) == [("onStatus", "NetStream.Play.Stop", 1)]

    def test_pause_and_unpause(self) -> None:
        _, peer = playing()
        assert peer.command("pause", 0.0, None, True, 120.0, stream_id=1) == [PauseChanged(1, True, 120.0)]
        assert peer.command("pauseRaw", 0.0, None, False, stream_id=1) == [PauseChanged(1, False, 0.0)]
        assert summary(peer.output()) == [
            ("onStatus", "NetStream.Pause.Notify", 1),
            (4, "000100000001", 0),
            (4, "000000000001", 0),
            ("onStatus", "NetStream.Unpause.Notify", 1),
        ]

    def test_a_live_stream_does_not_seek(self) -> None:
        _, peer = playing()
        assert peer.command("seek", 0.0, None, 9000.0, stream_id=1) == [SeekRequested(1, 9000.0)]
        (reply,) = peer.replies()
        info = reply.arg(0)
        assert isinstance(info, dict)
        assert (info["level"], info["code"]) == ("error", "NetStream.Seek.Failed")

    def test_fault_26_receive_audio_and_video(self) -> None:
        _, peer = playing()
        assert peer.command("receiveAudio", 0.0, None, False, stream_id=1) == [AudioEnabled(1, False)]
        assert peer.command("receiveVideo", 0.0, None, True, stream_id=1) == [VideoEnabled(1, True)]

    @pytest.mark.parametrize(
        "event",
        [
            control.stream_begin(1),
            control.user_control(control.UserControlEvent.BUFFER_EMPTY, 1),
            control.user_control(3, 1),
        ],
    )
    def test_events_that_are_a_servers_to_send_are_ignored(self, event: Message) -> None:
        server, peer = playing()
        assert peer.send(event) == []
        assert (server.ignored_messages, server.streams[1].buffer_ms) == (1, None)

    def test_buffer_length_is_stored_per_stream(self) -> None:
        server, peer = playing()
        assert peer.send(control.set_buffer_length(1, 3000), csid=2) == [BufferLengthSet(1, 3000)]
        assert server.streams[1].buffer_ms == 3000
        assert peer.send(control.set_buffer_length(0, 300), csid=2) == []

    def test_media_for_a_player_needs_no_state_of_the_reader(self) -> None:
        """Mixed with the shared encoding at will: every header is full, whatever came before."""
        server, _ = playing()
        server.send(VIDEO)
        first = server.outgoing()
        server.send(VIDEO)
        assert server.outgoing() == first
        assert first[0] >> 6 == 0
        reader = ChunkReader(LIMITS)
        reader.chunk_size = 65536
        assert reader.feed(first) == [VIDEO]

    def test_large_media_is_cut_to_the_announced_chunk_size(self) -> None:
        server, peer = playing()
        large = Message(MessageType.VIDEO, 0x01000000, bytes(range(256)) * 600, 1)
        server.send(large)
        assert peer.output() == [large]
