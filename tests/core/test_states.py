"""The state tables, walked: every state with every input, each carried out on a session in that state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from session_support import (
    AAC,
    Peer,
    client_peer,
    client_with_stream,
    connected,
    connected_client,
    fresh_client,
    fresh_server,
    handshaken,
    with_stream,
)

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command as commands
from cluster.core.rtmp import control
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import (
    PlayEnded,
    PublishEnded,
    PublishRequested,
    StreamClosed,
    StreamCreated,
)
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.session import Session
from cluster.core.rtmp.states import (
    CLIENT_SESSION,
    CLIENT_STREAM,
    SERVER_SESSION,
    SERVER_STREAM,
    RemoteInput,
    SessionInput,
    SessionState,
    Step,
    StreamInput,
    StreamState,
    Verdict,
)


def command(name: str, *args: object, transaction_id: float = 9.0, stream_id: int = 0) -> Message:
    return commands.encode(Command(name, transaction_id, None, args, stream_id))  # type: ignore[arg-type]


def dispatch(session: Session, message: Message) -> list[object]:
    """A whole message to the session, past the chunk reader, which a HANDSHAKE does not have yet."""
    received: list[object] = []
    session._dispatch(message, received)  # type: ignore[arg-type]
    return received


# Server role, the session.


def connect_pending() -> Peer:
    peer = handshaken()
    peer.command("connect", 1.0, {"app": "live"})
    return peer


def closing() -> ServerSession:
    server = connect_pending().session
    assert isinstance(server, ServerSession)
    server.reject_connect("NetConnection.Connect.Rejected", "no")
    return server


def closed() -> ServerSession:
    server = connected()[0]
    server.close()
    return server


SERVERS: dict[SessionState, Callable[[], Session]] = {
    SessionState.HANDSHAKE: fresh_server,
    SessionState.CONNECTING: lambda: handshaken().session,
    SessionState.CONNECT_PENDING: lambda: connect_pending().session,
    SessionState.CONNECTED: lambda: connected()[0],
    SessionState.CLOSING: closing,
    SessionState.CLOSED: closed,
}
FROM_PEER: dict[SessionInput, Message] = {
    SessionInput.CONTROL: control.ping_request(7),
    SessionInput.CONNECT: commands.encode(Command("connect", 9.0, {"app": "live"})),
    SessionInput.STREAM_CONTROL: command("createStream"),
    SessionInput.CALL: command("nobodyKnowsIt"),
    SessionInput.RESULT: command("_result", None),
    SessionInput.MEDIA: Message(MessageType.AUDIO, 0, AAC, 1),
    SessionInput.SHARED_OBJECT: Message(MessageType.SHARED_OBJECT_AMF0, 0, b"\0\1x" + bytes(12)),
    SessionInput.OTHER: Message(7, 0, b"x"),
}


@pytest.mark.parametrize("what", FROM_PEER)
@pytest.mark.parametrize("state", SERVERS)
def test_a_server_session_does_what_the_table_says(state: SessionState, what: SessionInput) -> None:
    session = SERVERS[state]()
    assert session.state is state
    session.outgoing()
    step = SERVER_SESSION.get((state, what))
    if step is None:
        with pytest.raises(PeerViolation) as caught:
            dispatch(session, FROM_PEER[what])
        assert caught.value.reason is CloseReason.ILLEGAL_STATE
        return
    ignored = session.ignored_messages
    received = dispatch(session, FROM_PEER[what])
    sent = session.outgoing()
    if step.verdict is Verdict.ACT:
        assert session.state is step.next
    else:
        assert session.state is state
        assert received == []
    assert (b"NetConnection.Connect.Failed" in sent) is (step.verdict is Verdict.REFUSE)
    if step.verdict is Verdict.IGNORE:
        assert session.ignored_messages == ignored + 1
        assert sent == b""
    if step.verdict is Verdict.HOLD:
        assert session._held is not None
        assert session._held.take() == [FROM_PEER[what]]


@pytest.mark.parametrize("what", [SessionInput.ACCEPT, SessionInput.REJECT, SessionInput.CLOSE])
@pytest.mark.parametrize("state", SERVERS)
def test_a_decision_does_what_the_table_says(state: SessionState, what: SessionInput) -> None:
    session = SERVERS[state]()
    assert isinstance(session, ServerSession)
    session.outgoing()
    step = SERVER_SESSION.get((state, what))
    if what is SessionInput.CLOSE:
        session.close()
        done = True
    elif what is SessionInput.ACCEPT:
        done = session.accept_connect()
    else:
        done = session.reject_connect("NetConnection.Connect.Rejected", "no")
    if step is None:
        assert session.state is state
        assert what is SessionInput.CLOSE or done is False
        assert session.outgoing() == b""
    else:
        assert session.state is step.next
        assert done is True


def test_the_handshake_ends_in_one_state_only() -> None:
    entries = [state for state, what in SERVER_SESSION if what is SessionInput.HANDSHAKE_DONE]
    assert entries == [SessionState.HANDSHAKE]
    assert handshaken().session.state is SessionState.CONNECTING


def test_what_is_illegal_for_a_session() -> None:
    """Spelled out, so that a new entry is a decision."""
    illegal = {(state, what) for state in SessionState for what in FROM_PEER} - set(SERVER_SESSION)
    assert illegal == {
        *((SessionState.HANDSHAKE, what) for what in FROM_PEER),
        (SessionState.CONNECTING, SessionInput.STREAM_CONTROL),
        (SessionState.CONNECTING, SessionInput.CALL),
        (SessionState.CONNECTING, SessionInput.RESULT),
        (SessionState.CONNECTING, SessionInput.MEDIA),
        (SessionState.CONNECTING, SessionInput.SHARED_OBJECT),
    }


# Server role, its message streams: number 1, which is created, and 0, which is the connection's own.


def idle(number: int) -> tuple[ServerSession, Peer]:
    server, peer = with_stream()
    if not number:
        peer.command("play", 3.0, None, "cam")
        peer.command("closeStream")
        peer.output()
    return server, peer


def publish_pending(number: int) -> tuple[ServerSession, Peer]:
    server, peer = with_stream()
    peer.command("publish", 3.0, None, "cam", "live", stream_id=number)
    return server, peer


def published(number: int) -> tuple[ServerSession, Peer]:
    server, peer = publish_pending(number)
    server.accept_publish(number)
    return server, peer


def play_pending(number: int) -> tuple[ServerSession, Peer]:
    server, peer = with_stream()
    peer.command("play", 3.0, None, "cam", stream_id=number)
    return server, peer


def played(number: int) -> tuple[ServerSession, Peer]:
    server, peer = play_pending(number)
    server.accept_play(number)
    return server, peer


def waiting(number: int) -> tuple[ServerSession, Peer]:
    server, peer = played(number)
    server.suspend_play(number)
    return server, peer


STREAMS: dict[StreamState, Callable[[int], tuple[ServerSession, Peer]]] = {
    StreamState.ABSENT: lambda _: connected(),
    StreamState.CONTROL: lambda _: connected(),
    StreamState.IDLE: idle,
    StreamState.PUBLISH_PENDING: publish_pending,
    StreamState.PUBLISHING: published,
    StreamState.PLAY_PENDING: play_pending,
    StreamState.PLAYING: played,
    StreamState.WAITING: waiting,
}
#: The states of each stream: only that of the connection itself is there from the beginning.
PLACES = [
    *((1, state) for state in STREAMS if state is not StreamState.CONTROL),
    *((0, state) for state in STREAMS if state is not StreamState.ABSENT),
]
StreamInputs = dict[StreamInput, list[Message]]


def stream_messages(number: int) -> StreamInputs:
    def told(name: str, *args: object) -> Message:
        return command(name, *args, stream_id=number)

    return {
        StreamInput.PUBLISH: [told("publish", "cam", "live")],
        StreamInput.PLAY: [told("play", "cam"), told("play2", {"streamName": "cam"})],
        StreamInput.QUEUE: [told("play", "cam", -2.0, -1.0, False)],
        StreamInput.UNPUBLISH: [told("publish", False)],
        StreamInput.STOP: [told("closeStream"), told("play", False)],
        StreamInput.DELETE: [command("deleteStream", float(number)), told("deleteStream")],
        StreamInput.PAUSE: [told("pause", True, 5.0), told("pauseRaw", True)],
        StreamInput.SEEK: [told("seek", 5.0)],
        StreamInput.RECEIVE: [told("receiveAudio", False), told("receiveVideo", True)],
        StreamInput.BUFFER_LENGTH: [control.set_buffer_length(number, 300)],
        StreamInput.MEDIA: [
            Message(MessageType.AUDIO, 0, AAC, number),
            Message(MessageType.DATA_AMF0, 0, b"\x02\x00\x01x", number),
            Message(MessageType.AGGREGATE, 0, b"", number),
        ],
    }


STREAM_DECISIONS: dict[StreamInput, Callable[[ServerSession, int], bool]] = {
    StreamInput.ACCEPT_PUBLISH: lambda server, number: server.accept_publish(number),
    StreamInput.REJECT_PUBLISH: lambda server, number: server.reject_publish(
        number, "NetStream.Publish.Denied", "no"
    ),
    StreamInput.ACCEPT_PLAY: lambda server, number: server.accept_play(number),
    StreamInput.REJECT_PLAY: lambda server, number: server.reject_play(
        number, "NetStream.Play.StreamNotFound", "no"
    ),
    StreamInput.END_PUBLISH: lambda server, number: server.end_publish(
        number, "NetStream.Publish.BadName", "no"
    ),
    StreamInput.END_PLAY: lambda server, number: server.end_play(number),
    StreamInput.SUSPEND_PLAY: lambda server, number: server.suspend_play(number),
    StreamInput.RESUME_PLAY: lambda server, number: server.resume_play(number),
}


def state_of(session: Session, number: int = 1) -> StreamState:
    stream = session.streams.get(number)
    if stream is not None:
        return stream.state
    return StreamState.ABSENT if number else StreamState.CONTROL


def after(step: Step[StreamState], number: int) -> StreamState:
    """Message stream 0 is never absent: deleted, it is the connection's again."""
    return StreamState.CONTROL if step.next is StreamState.ABSENT and not number else step.next


def test_every_stream_input_is_walked() -> None:
    assert set(stream_messages(1)) | set(STREAM_DECISIONS) == set(StreamInput)
    assert set(STREAMS) == set(StreamState)
    assert set(SERVERS) == set(SessionState)


INPUTS = [
    (what, variant) for what, messages in stream_messages(1).items() for variant in range(len(messages))
]


@pytest.mark.parametrize(("what", "variant"), INPUTS)
@pytest.mark.parametrize(("number", "state"), PLACES)
def test_a_stream_does_what_the_table_says(
    number: int, state: StreamState, what: StreamInput, variant: int
) -> None:
    server, _ = STREAMS[state](number)
    message = stream_messages(number)[what][variant]
    assert state_of(server, number) is state
    server.outgoing()
    step = SERVER_STREAM.get((state, what))
    if step is None:
        with pytest.raises(PeerViolation) as caught:
            dispatch(server, message)
        assert caught.value.reason is CloseReason.ILLEGAL_STATE
        return
    ignored = server.ignored_messages
    received = dispatch(server, message)
    sent = server.outgoing()
    if step.verdict is Verdict.ACT:
        assert state_of(server, number) is after(step, number)
        assert server.ignored_messages == ignored
    else:
        assert state_of(server, number) is state
        assert received == []
    refused = step.verdict is Verdict.REFUSE or (what is StreamInput.SEEK and step.verdict is Verdict.ACT)
    assert (b"error" in sent) is refused
    if step.verdict is Verdict.IGNORE:
        assert server.ignored_messages == ignored + 1
        assert sent == b""
    if step.verdict is Verdict.HOLD:
        assert (server._held is not None) is (what is StreamInput.MEDIA)
        assert len(server.streams[number].playlist) == (what is StreamInput.QUEUE)


@pytest.mark.parametrize("what", STREAM_DECISIONS)
@pytest.mark.parametrize(("number", "state"), PLACES)
def test_a_stream_decision_does_what_the_table_says(
    number: int, state: StreamState, what: StreamInput
) -> None:
    server, _ = STREAMS[state](number)
    server.outgoing()
    step = SERVER_STREAM.get((state, what))
    assert STREAM_DECISIONS[what](server, number) is (step is not None)
    assert state_of(server, number) is (state if step is None else step.next)
    assert bool(server.outgoing()) is (step is not None)


@pytest.mark.parametrize("what", STREAM_DECISIONS)
def test_no_decision_after_the_connection_is_gone(what: StreamInput) -> None:
    for state in (StreamState.PUBLISH_PENDING, StreamState.PLAY_PENDING, StreamState.WAITING):
        server, _ = STREAMS[state](1)
        server.close()
        server.outgoing()
        assert STREAM_DECISIONS[what](server, 1) is False
        assert server.outgoing() == b""


def test_what_is_illegal_for_a_stream() -> None:
    pairs = {(state, what) for state in StreamState for what in stream_messages(1)}
    assert pairs - set(SERVER_STREAM) == {
        (StreamState.ABSENT, StreamInput.PUBLISH),
        (StreamState.ABSENT, StreamInput.PLAY),
        (StreamState.ABSENT, StreamInput.QUEUE),
    }


def test_message_stream_0_is_told_of_when_it_begins_and_when_it_ends() -> None:
    """As are those that the peer creates: whoever listens sees each of them made before it is used."""
    server, peer = connected()
    made = peer.command("publish", 3.0, None, "cam", "live")
    assert made == [StreamCreated(0), PublishRequested(0, "cam", "", "live")]
    assert peer.command("deleteStream", 0.0, None, 0.0) == [PublishEnded(0), StreamClosed(0)]
    assert peer.command("createStream", 4.0) == [StreamCreated(1)]
    assert peer.command("play", 5.0, None, "cam")[0] == StreamCreated(0)
    assert server.close() == [StreamClosed(1), PlayEnded(0), StreamClosed(0)]


# Client role.


def closing_client() -> ClientSession:
    client, peer = client_peer()
    peer.command("_error", 1.0, None, {"level": "error", "code": "NetConnection.Connect.Rejected"})
    return client


def closed_client() -> ClientSession:
    client = connected_client()[0]
    client.close()
    return client


CLIENTS: dict[SessionState, Callable[[], Session]] = {
    SessionState.HANDSHAKE: fresh_client,
    SessionState.CONNECT_PENDING: lambda: client_peer()[0],
    SessionState.CONNECTED: lambda: connected_client()[0],
    SessionState.CLOSING: closing_client,
    SessionState.CLOSED: closed_client,
}
#: A server's "connect" or "createStream" is a call of a method that we do not have.
FROM_SERVER: dict[SessionInput, Message] = {
    what: message
    for what, message in FROM_PEER.items()
    if what not in (SessionInput.CONNECT, SessionInput.STREAM_CONTROL)
}


@pytest.mark.parametrize("what", FROM_SERVER)
@pytest.mark.parametrize("state", CLIENTS)
def test_a_client_session_does_what_the_table_says(state: SessionState, what: SessionInput) -> None:
    session = CLIENTS[state]()
    assert session.state is state
    session.outgoing()
    step = CLIENT_SESSION.get((state, what))
    if step is None:
        with pytest.raises(PeerViolation) as caught:
            dispatch(session, FROM_SERVER[what])
        assert caught.value.reason is CloseReason.ILLEGAL_STATE
        return
    ignored = session.ignored_messages
    received = dispatch(session, FROM_SERVER[what])
    assert session.state is step.next
    if step.verdict is Verdict.IGNORE:
        assert received == []
        assert session.outgoing() == b""
        assert session.ignored_messages == ignored + 1


def test_what_is_illegal_for_a_client_session() -> None:
    illegal = {(state, what) for state in CLIENTS for what in FROM_SERVER} - set(CLIENT_SESSION)
    assert illegal == {
        *((SessionState.HANDSHAKE, what) for what in FROM_SERVER),
        (SessionState.CONNECT_PENDING, SessionInput.MEDIA),
    }


def asked(name: str) -> Callable[[], tuple[ClientSession, Peer]]:
    def make() -> tuple[ClientSession, Peer]:
        client, peer = client_with_stream()
        client.publish("cam", stream_id=1) if name == "publish" else client.play("cam", stream_id=1)
        return client, peer

    return make


def started(name: str, code: str) -> Callable[[], tuple[ClientSession, Peer]]:
    def make() -> tuple[ClientSession, Peer]:
        client, peer = asked(name)()
        peer.command("onStatus", 0.0, None, {"level": "status", "code": code}, stream_id=1)
        return client, peer

    return make


REMOTE: dict[StreamState, Callable[[], tuple[ClientSession, Peer]]] = {
    StreamState.ABSENT: connected_client,
    StreamState.IDLE: client_with_stream,
    StreamState.PUBLISH_PENDING: asked("publish"),
    StreamState.PUBLISHING: started("publish", "NetStream.Publish.Start"),
    StreamState.PLAY_PENDING: asked("play"),
    StreamState.PLAYING: started("play", "NetStream.Play.Start"),
}


def status_of(level: str, code: str) -> Message:
    return command("onStatus", {"level": level, "code": code}, transaction_id=0.0, stream_id=1)


REMOTE_MESSAGES: dict[RemoteInput, Message] = {
    RemoteInput.PUBLISH_STARTED: status_of("status", "NetStream.Publish.Start"),
    RemoteInput.PLAY_STARTED: status_of("status", "NetStream.Play.Start"),
    RemoteInput.ENDED: status_of("status", "NetStream.Play.Stop"),
    RemoteInput.FAILED: status_of("error", "NetStream.Publish.BadName"),
    RemoteInput.NOTICE: status_of("status", "NetStream.Play.Reset"),
    RemoteInput.MEDIA: Message(MessageType.AUDIO, 0, AAC, 1),
}
REMOTE_REQUESTS: dict[RemoteInput, Callable[[ClientSession], None]] = {
    RemoteInput.ASK_PUBLISH: lambda client: client.publish("cam", stream_id=1),
    RemoteInput.ASK_PLAY: lambda client: client.play("cam", stream_id=1),
    RemoteInput.CLOSE: lambda client: client.close_stream(1),
    RemoteInput.DELETE: lambda client: client.delete_stream(1),
}


def test_every_remote_input_is_walked() -> None:
    assert set(REMOTE_MESSAGES) | set(REMOTE_REQUESTS) == set(RemoteInput)
    assert set(REMOTE) == set(StreamState) - {StreamState.CONTROL, StreamState.WAITING}
    assert {state for state, _ in CLIENT_STREAM} == set(REMOTE)


@pytest.mark.parametrize("what", REMOTE_MESSAGES)
@pytest.mark.parametrize("state", REMOTE)
def test_a_remote_stream_does_what_the_table_says(state: StreamState, what: RemoteInput) -> None:
    client, _ = REMOTE[state]()
    assert state_of(client) is state
    step = CLIENT_STREAM[state, what]
    ignored = client.ignored_messages
    received = dispatch(client, REMOTE_MESSAGES[what])
    assert state_of(client) is step.next
    assert len(received) == (step.verdict is Verdict.ACT)
    assert client.ignored_messages == ignored + (step.verdict is Verdict.IGNORE)


@pytest.mark.parametrize("what", REMOTE_REQUESTS)
@pytest.mark.parametrize("state", REMOTE)
def test_a_request_does_what_the_table_says(state: StreamState, what: RemoteInput) -> None:
    client, _ = REMOTE[state]()
    step = CLIENT_STREAM.get((state, what))
    if step is None:
        with pytest.raises(MisuseError):
            REMOTE_REQUESTS[what](client)
        assert state_of(client) is state
    else:
        REMOTE_REQUESTS[what](client)
        assert state_of(client) is step.next
