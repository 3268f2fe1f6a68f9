"""Both roles of the session, fed with dialogues out of order and with bytes out of order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fuzz_mutator import Mutator

from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.handshake import ENTROPY_BYTES, ClientHandshake, ServerHandshake
from cluster.core.rtmp.message_stream import MAX_HELD_BYTES, MAX_PLAYLIST
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.session import Session
from cluster.core.rtmp.shared_registry import MAX_OBJECTS_PER_USER, SharedObjects
from cluster.core.rtmp.swf import SwfFile
from cluster.core.rtmp.url import RtmpUrl

#: Small, so that inputs of some hundred bytes reach them.
LIMITS = Limits(
    max_message_bytes=2000, max_chunk_streams=6, max_partial_bytes=3000, max_message_streams=3,
    max_amf_depth=8, max_amf_values=200,
)  # fmt: skip
ENTROPY = bytes(range(256)) * (ENTROPY_BYTES // 256 + 1)
URL = RtmpUrl.parse("rtmp://alice:secret@h/live/cam")
_SWF = SwfFile(5, bytes(32))


class Script(NamedTuple):
    """What a session is fed, and the seed of what its shell decides meanwhile."""

    pieces: list[bytes]
    choices: int


def make_script(dialogues: Sequence[Sequence[Message]], of_messages: bool) -> Callable[[Mutator], Script]:
    def make(mutator: Mutator) -> Script:
        messages = mutator.dialogue_from(dialogues)
        data = mutator.chunks_of(messages)
        if not of_messages:
            data = mutator.bytes_from([data])
        return Script(mutator.pieces(data), mutator.random.randrange(1 << 30))

    return make


def _check_bounds(session: Session) -> None:
    assert len(session.streams) <= LIMITS.max_message_streams
    for stream in session.streams.values():
        assert len(stream.playlist) <= MAX_PLAYLIST
        assert len(stream.name) <= 4096
    if session._held is not None:
        held = sum(len(message.payload) for message in session._held._messages)
        assert held <= MAX_HELD_BYTES + LIMITS.max_message_bytes


def run_server(script: Script) -> None:
    choose = random.Random(script.choices)
    server = ServerSession(limits=LIMITS, entropy=ENTROPY, now=0.0, verify_swf=_SWF)
    server.methods = frozenset(("someCall",))
    registry: SharedObjects[int] = SharedObjects()
    handshake = ClientHandshake(entropy=ENTROPY, uptime_ms=0, mode="simple")
    server.receive(handshake.start(), 0.0)
    server.receive(handshake.receive(server.outgoing()), 0.0)
    try:
        for number, piece in enumerate([*script.pieces, b"", b""]):
            for event in server.receive(piece, float(number)):
                _decide(server, registry, event, choose)
            _check_bounds(server)
            server.tick(number + choose.random() * 50)
            server.outgoing()
    finally:
        registry.leave(1)
        server.close()
        assert len(registry) == 0


def _decide(
    server: ServerSession,
    registry: SharedObjects[int],
    event: events.Event | Message,
    choose: random.Random,
) -> None:
    yes = choose.random() < 0.8
    match event:
        case events.ConnectRequested():
            server.accept_connect() if yes else server.reject_connect("x", "y", "rtmp://other/app")
        case events.PublishRequested(stream_id=number):
            server.accept_publish(number) if yes else server.reject_publish(number, "x", "y")
        case events.PlayRequested(stream_id=number):
            server.accept_play(number) if yes else server.reject_play(number, "x", "y")
        case events.SharedObjectReceived(shared=shared):
            for _, reply in registry.receive(1, server.app, shared, 0.0):
                server.send_shared_object(reply)
            assert len(registry) <= MAX_OBJECTS_PER_USER
        case events.CommandReceived(command=read) if read.name in server.methods:
            server.reply(read, {"a": 1.0})
        case Message(stream_id=number) if choose.random() < 0.05:
            server.end_publish(number, "x", "y")
        case events.PauseChanged(stream_id=number) if yes:
            server.end_play(number) if choose.random() < 0.5 else server.suspend_play(number)
        case events.SeekRequested(stream_id=number) if yes:
            server.resume_play(number)
        case _ if choose.random() < 0.02:
            server.request_reconnect()
            server.call("rpc", 1.0)


def run_client(script: Script) -> None:
    choose = random.Random(script.choices)
    client = ClientSession(limits=LIMITS, entropy=ENTROPY, now=0.0, handshake="simple")
    client.start(URL, publisher=True, swf_file=_SWF)
    handshake = ServerHandshake(entropy=ENTROPY, uptime_ms=0)
    client.receive(handshake.receive(client.outgoing()), 0.0)
    for number, piece in enumerate([*script.pieces, b""]):
        for event in client.receive(piece, float(number)):
            if isinstance(event, events.ConnectSucceeded):
                client.publish("cam")
                client.play("other")
                client.play("third")
            elif isinstance(event, events.StatusReceived) and choose.random() < 0.2:
                _give_back(client, event.stream_id)
        assert len(client.streams) <= 3
        client.tick(float(number))
        client.outgoing()
    client.close()


def _give_back(client: ClientSession, stream_id: int) -> None:
    if stream_id in client.streams:
        client.delete_stream(stream_id)
