"""Our client role and our server role, driven through each other, and cut at every byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from session_support import (
    AAC,
    KEYFRAME,
    URL,
    converse,
    fresh_client,
    fresh_server,
    has_connected,
    serve,
)

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue, EcmaArray
from cluster.core.errors import PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.events import (
    ConnectRequested,
    ConnectSucceeded,
    Event,
    HandshakeCompleted,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    StatusReceived,
    StreamClosed,
    StreamCreated,
    StreamReady,
)

HANDSHAKE_BYTES = 1 + 1536 + 1536
MEDIA = [
    Message(MessageType.VIDEO, 0, KEYFRAME, 1),
    Message(MessageType.AUDIO, 7, AAC, 1),
    Message(MessageType.VIDEO, 0x01000000, KEYFRAME, 1),
    Message(MessageType.AUDIO, 0x01000005, b"", 1),
]
METADATA: dict[str, AmfValue] = {"width": 1280.0, "encoder": "test"}
METADATA_PAYLOAD = amf0.encode("onMetaData", EcmaArray(METADATA))


def publish_everything(client: ClientSession, item: object) -> None:
    """What a publisher does when things happen."""
    if has_connected(item):
        client.publish("cam?key=1")
    elif isinstance(item, StatusReceived) and item.code == "NetStream.Publish.Start":
        client.send_metadata(1, METADATA)
        for message in MEDIA:
            client.send(message)
        client.delete_stream(1)


def play_everything(client: ClientSession, item: object) -> None:
    if has_connected(item):
        client.play("cam")
    elif isinstance(item, StatusReceived) and item.code == "NetStream.Play.Stop":
        client.delete_stream(1)


def run(
    act: Callable[[ClientSession, object], None],
    serve_player: bool,
    piece_bytes: int = 1 << 20,
    chunk_size: int = 65536,
) -> tuple[list[Event | Message], list[Event | Message], list[bytes], list[bytes]]:
    """One dialogue: what the server received, what the client received, and the turns each sent."""
    server, client = fresh_server(chunk_size=chunk_size), fresh_client()
    client.start(URL, publisher=not serve_player)
    seen: dict[str, list[Event | Message]] = {"server": [], "client": []}
    sent: dict[str, list[bytes]] = {"server": [], "client": []}
    for side, item in converse(server, client, piece_bytes=piece_bytes, sent=sent):
        seen[side].append(item)
        if side == "client":
            act(client, item)
        elif serve_player and isinstance(item, PlayRequested):
            server.send(Message(MessageType.DATA_AMF0, 0, METADATA_PAYLOAD, 1))
            for message in MEDIA:
                server.send(message)
            server.suspend_play(1)
    return seen["server"], seen["client"], sent["client"], sent["server"]


def expected_of_a_publisher() -> list[type | Message]:
    return [
        HandshakeCompleted,
        ConnectRequested,
        Message(MessageType.DATA_AMF0, 0, METADATA_PAYLOAD, 1),
        *MEDIA,
        PublishEnded,
        StreamClosed,
    ]


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1])
@pytest.mark.parametrize("chunk_size", [1, 128, 65536])
def test_a_publish(piece_bytes: int, chunk_size: int) -> None:
    at_server, at_client, _, _ = run(publish_everything, False, piece_bytes, chunk_size)
    kinds = [item if isinstance(item, Message) else type(item) for item in at_server]
    assert [kind for kind in kinds if kind in expected_of_a_publisher()] == expected_of_a_publisher()
    assert PublishRequested(1, "cam", "key=1", "live") in at_server
    assert [type(item) for item in at_client if isinstance(item, ConnectSucceeded | StreamReady)] == [
        ConnectSucceeded,
        StreamReady,
    ]
    codes = [item.code for item in at_client if isinstance(item, StatusReceived)]
    assert codes == ["NetStream.Publish.Start", "NetStream.Unpublish.Success"]


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1])
@pytest.mark.parametrize("chunk_size", [1, 128, 65536])
def test_a_play(piece_bytes: int, chunk_size: int) -> None:
    at_server, at_client, _, _ = run(play_everything, True, piece_bytes, chunk_size)
    assert [item for item in at_client if isinstance(item, Message)] == [
        Message(MessageType.DATA_AMF0, 0, METADATA_PAYLOAD, 1),
        *MEDIA,
    ]
    codes = [item.code for item in at_client if isinstance(item, StatusReceived)]
    assert codes == [
        "NetStream.Play.Reset",
        "NetStream.Play.Start",
        "NetStream.Play.UnpublishNotify",
        "NetStream.Play.Stop",
    ]
    assert StreamCreated(1) in at_server
    assert StreamClosed(1) in at_server
    assert at_server.count(PlayEnded(1)) == 1  # it does not wait for the stream to return


def cut_turns(turns: list[bytes]) -> Iterator[list[bytes]]:
    """All turns, one of them cut in two: at every offset, in the handshake at a few.

    Turns stay apart, because neither side sends what it does before it has heard the other.
    """
    position = 0
    for number, turn in enumerate(turns):
        for cut in range(1, len(turn)):
            if position + cut >= HANDSHAKE_BYTES - 2 or cut in (1, 2, 700, 1536, 1537, 1538):
                yield [*turns[:number], turn[:cut], turn[cut:], *turns[number + 1 :]]
        position += len(turn)


class TestEveryCut:
    @pytest.mark.parametrize("publisher", [True, False])
    def test_of_what_a_client_role_sends(self, publisher: bool) -> None:
        act = publish_everything if publisher else play_everything
        at_server, _, upward, _ = run(act, False)
        assert len(at_server) > 4
        for turns in cut_turns(upward):
            server = fresh_server()
            assert [item for turn in turns for item in serve(server, turn)] == at_server, turns

    @pytest.mark.parametrize("publisher", [True, False])
    def test_of_what_a_server_role_sends(self, publisher: bool) -> None:
        act = publish_everything if publisher else play_everything
        _, at_client, _, downward = run(act, not publisher)
        assert len(at_client) > 4
        for turns in cut_turns(downward):
            client = fresh_client()
            client.start(URL, publisher=publisher)
            received: list[Event | Message] = []
            for turn in turns:
                for item in client.receive(turn, 0.0):
                    received.append(item)
                    act(client, item)
            assert received == at_client, turns


def test_cut_garbage_behind_a_handshake_is_the_same_violation() -> None:
    _, _, upward, _ = run(publish_everything, False)
    data = b"".join(upward)[:HANDSHAKE_BYTES] + b"\xbf" * 40
    reasons = set()
    for cut in range(HANDSHAKE_BYTES, len(data)):
        server = fresh_server()
        with pytest.raises(PeerViolation) as caught:  # noqa: PT012 - whichever of the calls it is
            server.receive(data[:cut], 0.0)
            server.receive(data[cut:], 0.0)
            server.tick(0.0)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_a_publisher_that_is_gone_before_the_decision_leaves_nothing() -> None:
    """All it sends at once: the shell hears of the publish and of its end together."""
    _, _, upward, _ = run(publish_everything, False)
    server = fresh_server()
    received = serve(server, b"".join(upward))
    kinds = [type(item) for item in received]
    assert kinds.count(PublishRequested) == kinds.count(PublishEnded) == 1
    assert Message not in kinds
    assert server.streams == {}


@pytest.mark.parametrize("stream_count", [1, 2, 8])
def test_fault_18_every_message_stream_carries_media_both_ways(stream_count: int) -> None:
    """Published on as many streams as there are, and played on the others, by type and not by stream."""
    server, client = fresh_server(), fresh_client()
    client.start(URL)
    upward: list[Event | Message] = []
    downward: list[Event | Message] = []
    for side, item in converse(server, client):
        if has_connected(item):
            for number in range(stream_count):
                client.publish(f"mine{number}")
                client.play(f"yours{number}")
        elif isinstance(item, StatusReceived) and item.code == "NetStream.Publish.Start":
            for message in MEDIA:
                client.send(message._replace(stream_id=item.stream_id))
        elif isinstance(item, PlayRequested):
            for message in MEDIA:
                server.send(message._replace(stream_id=item.stream_id))
        elif isinstance(item, Message) and item.type_id in (MessageType.AUDIO, MessageType.VIDEO):
            (upward if side == "server" else downward).append(item)
    for number in range(1, 2 * stream_count + 1):
        sent = [message._replace(stream_id=number) for message in MEDIA]
        both = [[item for item in items if item.stream_id == number] for items in (upward, downward)]
        assert sorted(both) == [[], sent], f"message stream {number}"
