"""The dialogues that real encoders and players hold with a server, as the sequences they send.

Each step is what the peer sends, on the chunk stream it uses, and what it then needs to see.
"""

from __future__ import annotations

import pytest
from session_support import AAC, KEYFRAME, Peer, handshaken

from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import control
from cluster.core.rtmp.events import (
    BufferLengthSet,
    CommandReceived,
    ConnectRequested,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    StreamClosed,
    StreamCreated,
)
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.states import StreamState


@pytest.fixture(autouse=True, params=[None, 1, 7], ids=["whole", "byte by byte", "by sevens"])
def however_it_arrives(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dialogue is held as it was sent, and cut."""
    monkeypatch.setattr(Peer, "cut", request.param)


METADATA = amf0.encode("onMetaData", EcmaArray({"width": 1920.0, "encoder": "obs"}))


def begin() -> tuple[ServerSession, Peer]:
    peer = handshaken()
    assert isinstance(peer.session, ServerSession)
    return peer.session, peer


def connect(server: ServerSession, peer: Peer, **fields: object) -> None:
    """connect, and the two things every peer looks for in the answer."""
    (event,) = peer.command("connect", 1.0, fields)
    assert isinstance(event, ConnectRequested)
    server.accept_connect()
    (answer,) = peer.replies()
    assert (answer.name, answer.transaction_id) == ("_result", 1.0)
    assert answer.arg(0)["code"] == "NetConnection.Connect.Success"  # type: ignore[call-overload, index]


def answered(peer: Peer) -> list[tuple[str, float]]:
    return [(reply.name, reply.transaction_id) for reply in peer.replies()]


def codes(peer: Peer, stream_id: int) -> list[object]:
    """The codes of the onStatus messages on one message stream."""
    replies = [
        reply for reply in peer.replies() if (reply.name, reply.stream_id) == ("onStatus", stream_id)
    ]
    return [reply.arg(0)["code"] for reply in replies]  # type: ignore[call-overload, index]


class TestObs:
    """librtmp: everything of the stream on chunk stream 4, SetChunkSize before connect."""

    def test_publish(self) -> None:
        server, peer = begin()
        assert peer.send(control.set_chunk_size(4096), csid=2) == []
        connect(
            server,
            peer,
            app="live",
            type="nonprivate",
            flashVer="FMLE/3.0 (compatible; FMSc/1.0)",
            swfUrl="rtmp://h/live",
            tcUrl="rtmp://h/live",
        )
        # Three commands in one packet, none of which waits for another.
        peer.send(control.window_ack_size(2_500_000), csid=2)
        assert isinstance(peer.command("releaseStream", 2.0, None, "key")[0], CommandReceived)
        assert isinstance(peer.command("FCPublish", 3.0, None, "key")[0], CommandReceived)
        assert peer.command("createStream", 4.0) == [StreamCreated(1)]
        assert answered(peer) == [("_result", 2.0), ("_result", 3.0), ("_result", 4.0)]

        events = peer.command("publish", 5.0, None, "key", "live", stream_id=1, csid=4)
        assert events == [PublishRequested(1, "key", "", "live")]
        server.accept_publish(1)
        assert codes(peer, 1) == ["NetStream.Publish.Start"]

        media = [
            Message(MessageType.DATA_AMF0, 0, amf0.encode("@setDataFrame") + METADATA, 1),
            Message(MessageType.AUDIO, 0, AAC, 1),
            Message(MessageType.VIDEO, 0, KEYFRAME, 1),
        ]
        assert peer.send(*media, csid=4) == [Message(MessageType.DATA_AMF0, 0, METADATA, 1), *media[1:]]

        assert peer.command("FCUnpublish", 6.0, None, "key") == [PublishEnded(1)]
        assert peer.command("deleteStream", 7.0, None, 1.0) == [StreamClosed(1)]
        assert server.close() == []

    def test_refused_by_a_code_it_knows(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live", type="nonprivate")
        peer.command("createStream", 4.0)
        peer.command("publish", 5.0, None, "key", "live", stream_id=1, csid=4)
        peer.output()
        server.reject_publish(1, "NetStream.Publish.BadName", "Somebody publishes it already.")
        assert codes(peer, 1) == ["NetStream.Publish.BadName"]


class TestFfmpeg:
    def test_publish(self) -> None:
        server, peer = begin()
        connect(
            server, peer, app="live", type="nonprivate", flashVer="FMLE/3.0 (compatible; Lavf59.27.100)"
        )
        # It takes our chunk size over for its own output.
        assert peer.send(control.set_chunk_size(65536), csid=2) == []
        peer.command("releaseStream", 2.0, None, "key")
        peer.command("FCPublish", 3.0, None, "key")
        peer.command("createStream", 4.0)
        messages = peer.output()
        assert messages[-1].payload == amf0.encode("_result", 4.0, None, 1.0)  # read at fixed offsets
        peer.command("publish", 5.0, None, "key", "live", stream_id=1, csid=8)
        server.accept_publish(1)
        assert codes(peer, 1) == ["NetStream.Publish.Start"]
        video = Message(MessageType.VIDEO, 40, KEYFRAME * 100, 1)
        assert peer.send(video, csid=6) == [video]
        assert peer.command("FCUnpublish", 6.0, None, "key") == [PublishEnded(1)]
        assert peer.command("deleteStream", 7.0, None, 1.0) == [StreamClosed(1)]

    def test_play(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live", flashVer="LNX 9,0,124,2", fpad=False, capabilities=15.0)
        peer.send(control.window_ack_size(2_500_000), csid=2)
        assert peer.command("createStream", 2.0) == [StreamCreated(1)]
        peer.output()
        peer.command("getStreamLength", 3.0, None, "key", csid=8)
        assert peer.replies()[0].args == (0.0,)
        events = peer.command("play", 4.0, None, "key", -2000.0, stream_id=1, csid=8)
        assert events == [PlayRequested(1, "key", "", -2.0, -1.0, True)]
        assert peer.send(control.set_buffer_length(1, 3000), csid=2) == [BufferLengthSet(1, 3000)]
        server.accept_play(1)
        assert codes(peer, 1) == ["NetStream.Play.Reset", "NetStream.Play.Start"]
        assert peer.command("deleteStream", 5.0, None, 1.0) == [PlayEnded(1), StreamClosed(1)]

    def test_play_of_a_live_name(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live")
        peer.command("createStream", 2.0)
        peer.command("FCSubscribe", 3.0, None, "key")
        assert answered(peer) == [("_result", 2.0), ("_result", 3.0)]
        events = peer.command("play", 4.0, None, "key", -1000.0, stream_id=1, csid=8)
        assert events == [PlayRequested(1, "key", "", -1.0, -1.0, True)]


class TestGstreamer:
    """rtmp2: transaction id 0 must not be answered, the first onStatus on the stream decides."""

    def test_publish(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live", type="nonprivate", tcUrl="rtmp://h/live", fpad=False)
        peer.send(control.window_ack_size(2_500_000), csid=2)
        peer.command("releaseStream", 0.0, None, "key")
        peer.command("FCPublish", 0.0, None, "key")
        assert peer.output() == []
        assert peer.command("createStream", 2.0) == [StreamCreated(1)]
        (reply,) = peer.replies()
        assert reply.args == (1.0,)
        assert peer.command("publish", 0.0, None, "key", "live", stream_id=1) == [
            PublishRequested(1, "key", "", "live")
        ]
        server.accept_publish(1)
        assert codes(peer, 1) == ["NetStream.Publish.Start"]
        assert peer.command("FCUnpublish", 0.0, None, "key") == [PublishEnded(1)]
        assert peer.command("deleteStream", 0.0, None, 1.0) == [StreamClosed(1)]

    def test_play_begins_with_reset_or_start(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live")
        peer.command("createStream", 2.0)
        peer.output()
        peer.command("play", 0.0, None, "key", -2.0, stream_id=1)
        peer.send(control.set_buffer_length(1, 300), csid=2)
        server.accept_play(1)
        assert codes(peer, 1)[0] in ("NetStream.Play.Start", "NetStream.Play.Reset")


class TestLibrtmpPlayer:
    """rtmpdump: play on chunk stream 8, start 0 on a live name, a buffer for message stream 0."""

    def test_play(self) -> None:
        server, peer = begin()
        connect(
            server, peer, app="live", flashVer="LNX 10,0,32,18", tcUrl="rtmp://h/live", audioCodecs=3191.0
        )
        peer.send(control.window_ack_size(2_500_000), control.set_buffer_length(0, 300), csid=2)
        assert peer.command("createStream", 2.0) == [StreamCreated(1)]
        peer.command("FCSubscribe", 3.0, None, "key")
        assert answered(peer) == [("_result", 2.0), ("_result", 3.0)]
        events = peer.command("play", 4.0, None, "key", 0.0, stream_id=1, csid=8)
        assert events == [PlayRequested(1, "key", "", 0.0, -1.0, True)]
        assert peer.send(control.set_buffer_length(1, 36_000_000), csid=2) == [
            BufferLengthSet(1, 36_000_000)
        ]
        server.accept_play(1)
        assert codes(peer, 1) == ["NetStream.Play.Reset", "NetStream.Play.Start"]
        server.suspend_play(1)
        assert "NetStream.Play.Stop" in codes(peer, 1)

    def test_control_that_begins_with_format_1(self) -> None:
        """Its first header on chunk stream 2 has no message stream id."""
        server, peer = begin()
        connect(server, peer, app="live")
        server.receive(bytes.fromhex("42 000000 000004 05 002625A0"), 0.0)
        assert server._acks.due_at < 1 << 40

    def test_check_bandwidth(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live")
        peer.command("_checkbw", 5.0, None)
        assert answered(peer) == [("_result", 5.0)]


class TestOthers:
    def test_haivision_publishes_before_it_announces(self) -> None:
        """_checkbw before createStream, FCPublish after it."""
        server, peer = begin()
        connect(server, peer, app="live")
        for transaction_id, name in ((2.0, "_checkbw"), (3.0, "createStream"), (4.0, "FCPublish")):
            peer.command(name, transaction_id, None, "key")
        assert answered(peer) == [("_result", 2.0), ("_result", 3.0), ("_result", 4.0)]
        peer.command("publish", 5.0, None, "key", "live", stream_id=1)
        server.accept_publish(1)
        assert codes(peer, 1) == ["NetStream.Publish.Start"]

    def test_flash_media_live_encoder_waits_for_on_fc_publish(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live")
        peer.command("FCPublish", 2.0, None, "key")
        peer.command("createStream", 3.0)
        peer.command("publish", 4.0, None, "key", "live", stream_id=1)
        peer.output()
        server.accept_publish(1)
        assert [reply.name for reply in peer.replies()] == ["onFCPublish", "onStatus"]

    def test_flash_speaks_amf3(self) -> None:
        """objectEncoding 3: commands of type 17, each with its format byte, answered in AMF0."""
        server, peer = begin()
        peer.command("connect", 1.0, {"app": "live", "objectEncoding": 3.0})
        server.accept_connect()
        peer.output()
        assert peer.command("createStream", 2.0, amf3=True) == [StreamCreated(1)]
        assert answered(peer) == [("_result", 2.0)]
        assert peer.command("play", 0.0, None, "key", stream_id=1, amf3=True, csid=8) == [
            PlayRequested(1, "key", "", -2.0, -1.0, True)
        ]

    def test_gortmp_publishes_as_type_17_without_waiting(self) -> None:
        server, peer = begin()
        connect(server, peer, app="live", capabilities=15.0)
        peer.command("createStream", 2.0)
        peer.command("publish", 0.0, None, "key", "live", stream_id=1, csid=8, amf3=True)
        media = Message(MessageType.AUDIO, 0, AAC, 1)
        assert peer.send(media, csid=8) == []
        server.accept_publish(1)
        assert server.receive(b"", 0.0) == [media]
        assert server.streams[1].state is StreamState.PUBLISHING
