"""The server role under random and mutated bytes: nothing but a PeerViolation leaves it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from session_support import (
    AAC,
    KEYFRAME,
    Peer,
    handshaken,
    publishing,
    with_stream,
)

from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command as commands
from cluster.core.rtmp import control
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import PeerBandwidthLimit
from cluster.core.rtmp.events import (
    ConnectRequested,
    PlayRequested,
    PublishRequested,
)
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.states import SessionState

VIDEO = Message(MessageType.VIDEO, 40, KEYFRAME, 1)
AUDIO = Message(MessageType.AUDIO, 41, AAC, 1)


VALID = [
    Message(MessageType.AUDIO, 5, AAC, 1),
    Message(MessageType.DATA_AMF0, 5, amf0.encode("@setDataFrame", "onMetaData", EcmaArray({"a": 1.0})), 1),
    commands.encode(Command("createStream", 3.0)),
    commands.encode(Command("publish", 4.0, None, ("cam", "live"), 1)),
    commands.encode(Command("play", 4.0, None, ("cam", -2.0), 2)),
    commands.encode(Command("FCUnpublish", 4.0, None, ("cam",))),
    commands.encode(Command("deleteStream", 4.0, None, (1.0,))),
    commands.encode(Command("closeStream", 0.0, None, (), 1)),
    commands.encode(Command("pause", 0.0, None, (True, 1.0), 2)),
    control.set_chunk_size(64),
    control.set_buffer_length(1, 5),
    control.set_peer_bandwidth(5000, PeerBandwidthLimit.SOFT),
    control.abort(3),
]


class TestAnyBytes:
    """Nothing but a PeerViolation leaves ``receive``, whatever the bytes."""

    @staticmethod
    def feed(peer: Peer, data: bytes, cut: int) -> None:
        try:
            for piece in (data[:cut], data[cut:], b""):
                for event in peer.session.receive(piece, 1.0):
                    assert isinstance(peer.session, ServerSession)
                    if isinstance(event, ConnectRequested):
                        peer.session.accept_connect()
                    elif isinstance(event, PublishRequested):
                        peer.session.accept_publish(event.stream_id)
                    elif isinstance(event, PlayRequested):
                        peer.session.accept_play(event.stream_id)
            peer.session.tick(2.0)
        except PeerViolation:
            assert peer.session.state is SessionState.CLOSED
        peer.session.outgoing()

    @given(st.binary(max_size=300), st.integers(0, 300), st.sampled_from([handshaken, None]))
    @settings(max_examples=150, deadline=None)
    def test_random_bytes(self, data: bytes, cut: int, make: Callable[[], Peer] | None) -> None:
        self.feed(publishing()[1] if make is None else make(), data, cut)

    @given(
        st.lists(st.sampled_from(VALID), min_size=1, max_size=8),
        st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3),
        st.integers(0, 2000),
    )
    @settings(max_examples=200, deadline=None)
    def test_mutated_messages(
        self, messages: list[Message], changes: list[tuple[int, int]], cut: int
    ) -> None:
        writer = ChunkWriter()
        data = bytearray(b"".join(writer.encode(message, 3 + message.type_id % 4) for message in messages))
        for position, value in changes:
            data[position % len(data)] = value
        self.feed(with_stream()[1], bytes(data), cut % len(data))
