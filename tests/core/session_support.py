"""A hand-driven peer for one session under test, and the wiring of two sessions of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command as commands
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import (
    ConnectRequested,
    ConnectSucceeded,
    Event,
    PlayRequested,
    PublishRequested,
)
from cluster.core.rtmp.handshake import ClientHandshake, ServerHandshake
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.session import Session
from cluster.core.rtmp.url import RtmpUrl

LIMITS = Limits()
ENTROPY = bytes(range(256)) * 12
URL = RtmpUrl.parse("rtmp://edge.example/live/cam")

KEYFRAME = b"\x17\x01\x00\x00\x00" + bytes(range(200))
AAC = b"\xaf\x01" + bytes(range(50))


class Peer:
    """Speaks to ``session`` with a chunk reader and writer, and keeps its clock."""

    #: How many bytes the session is handed at a time; None: all that are sent together.
    cut: int | None = None

    def __init__(self, session: Session) -> None:
        self.session = session
        self.now = 0.0
        self._writer = ChunkWriter()
        self._reader = ChunkReader(LIMITS)
        #: Messages a client role sent together with the end of its handshake.
        self.first: list[Message] = []

    def send(self, *messages: Message, csid: int = 3) -> list[Event | Message]:
        data = b"".join(self._writer.encode(message, csid) for message in messages)
        size = self.cut or len(data)
        received: list[Event | Message] = []
        for start in range(0, len(data), size):
            received += self.session.receive(data[start : start + size], self.now)
        return received

    def command(
        self,
        name: str,
        transaction_id: float = 0.0,
        command_object: Any = None,
        *args: Any,
        stream_id: int = 0,
        csid: int = 3,
        amf3: bool = False,
    ) -> list[Event | Message]:
        made = Command(name, transaction_id, command_object, args, stream_id, amf3)
        return self.send(commands.encode(made), csid=csid)

    def parse(self, data: bytes) -> list[Message]:
        return self._reader.feed(data)

    def output(self) -> list[Message]:
        """The messages the session has sent since the last look."""
        return self.parse(self.session.outgoing())

    def replies(self) -> list[Command]:
        """Only the commands of ``output``."""
        return [
            decoded(message) for message in self.output() if message.type_id == MessageType.COMMAND_AMF0
        ]


def decoded(message: Message) -> Command:
    return commands.decode(message, LIMITS)


def summary(messages: list[Message]) -> list[tuple[object, ...]]:
    """Control messages as (type, payload hex), commands as (name, code or arguments, stream id)."""
    lines: list[tuple[object, ...]] = []
    for message in messages:
        if message.type_id == MessageType.COMMAND_AMF0:
            read = decoded(message)
            info = read.arg(0)
            told = info["code"] if isinstance(info, dict) and "code" in info else info
            lines.append((read.name, told, message.stream_id))
        else:
            lines.append((message.type_id, bytes(message.payload).hex(), message.stream_id))
    return lines


def fresh_server(limits: Limits = LIMITS, now: float = 0.0, **options: int) -> ServerSession:
    return ServerSession(limits=limits, entropy=ENTROPY, now=now, **options)


def fresh_client(limits: Limits = LIMITS, now: float = 0.0) -> ClientSession:
    return ClientSession(limits=limits, entropy=ENTROPY, now=now, handshake="simple")


def handshaken(limits: Limits = LIMITS) -> Peer:
    """A server session whose handshake is over."""
    peer = Peer(fresh_server(limits))
    handshake = ClientHandshake(entropy=ENTROPY, uptime_ms=0, mode="simple")
    peer.session.receive(handshake.start(), 0.0)
    peer.session.receive(handshake.receive(peer.session.outgoing()), 0.0)
    assert handshake.done
    return peer


def connected(limits: Limits = LIMITS) -> tuple[ServerSession, Peer]:
    """A server session that has accepted a connect."""
    peer = handshaken(limits)
    server = peer.session
    assert isinstance(server, ServerSession)
    peer.command("connect", 1.0, {"app": "live", "tcUrl": "rtmp://edge.example/live"})
    server.accept_connect()
    peer.output()
    return server, peer


def with_stream(limits: Limits = LIMITS) -> tuple[ServerSession, Peer]:
    """... and has made message stream 1."""
    server, peer = connected(limits)
    peer.command("createStream", 2.0)
    peer.output()
    return server, peer


def publishing(limits: Limits = LIMITS) -> tuple[ServerSession, Peer]:
    """... on which "cam" is published."""
    server, peer = with_stream(limits)
    peer.command("publish", 3.0, None, "cam", "live", stream_id=1)
    server.accept_publish(1)
    peer.output()
    return server, peer


def playing(limits: Limits = LIMITS) -> tuple[ServerSession, Peer]:
    """... on which "cam" is played."""
    server, peer = with_stream(limits)
    peer.command("play", 3.0, None, "cam", stream_id=1)
    server.accept_play(1)
    peer.output()
    return server, peer


def client_peer(limits: Limits = LIMITS, **options: Any) -> tuple[ClientSession, Peer]:
    """A client-role session whose connect has been sent, and its hand-driven server."""
    client = fresh_client(limits)
    peer = Peer(client)
    client.start(URL, **options)
    handshake = ServerHandshake(entropy=ENTROPY, uptime_ms=0)
    client.receive(handshake.receive(client.outgoing()), 0.0)
    handshake.receive(client.outgoing())
    assert handshake.done
    peer.first = peer.parse(handshake.leftover)
    return client, peer


def connected_client(limits: Limits = LIMITS, **options: Any) -> tuple[ClientSession, Peer]:
    client, peer = client_peer(limits, **options)
    info = {"level": "status", "code": "NetConnection.Connect.Success"}
    peer.command("_result", 1.0, {"fmsVer": "FMS/3,5,7,7009"}, info)
    peer.output()
    return client, peer


def client_with_stream(limits: Limits = LIMITS) -> tuple[ClientSession, Peer]:
    client, peer = connected_client(limits)
    transaction_id = client.create_stream()
    peer.output()
    peer.command("_result", transaction_id, None, 1.0)
    return client, peer


def decide(server: ServerSession, received: list[Event | Message]) -> bool:
    """Accept whatever is asked for; True if something was."""
    decided = False
    for event in received:
        if isinstance(event, ConnectRequested):
            decided |= server.accept_connect()
        elif isinstance(event, PublishRequested):
            decided |= server.accept_publish(event.stream_id)
        elif isinstance(event, PlayRequested):
            decided |= server.accept_play(event.stream_id)
    return decided


def serve(server: ServerSession, data: bytes, now: float = 0.0) -> list[Event | Message]:
    """Hand ``data`` to a server that accepts everything; returns all that came of it."""
    everything: list[Event | Message] = []
    received = server.receive(data, now)
    while True:
        everything += received
        if not decide(server, received):
            return everything
        received = server.receive(b"", now)


def converse(
    server: ServerSession,
    client: ClientSession,
    *,
    piece_bytes: int = 1 << 20,
    sent: dict[str, list[bytes]] | None = None,
) -> Iterator[tuple[str, Event | Message]]:
    """Carry bytes between two sessions, in pieces, until neither has more; the server accepts all.

    Yields ("server" | "client", what it received), so that the caller can act on it at once.
    What each of the two sends is added to its list in ``sent``, a turn each.
    """
    while True:
        upward, downward = client.outgoing(), server.outgoing()
        if not upward and not downward:
            return
        for side, data in (("client", upward), ("server", downward)):
            if sent is not None and data:
                sent[side].append(data)
        for start in range(0, len(upward), piece_bytes):
            for item in serve(server, upward[start : start + piece_bytes]):
                yield "server", item
        for start in range(0, len(downward), piece_bytes):
            for item in client.receive(downward[start : start + piece_bytes], 0.0):
                yield "client", item


def has_connected(item: object) -> bool:
    return isinstance(item, ConnectSucceeded)
