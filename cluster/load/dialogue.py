"""What a connection of the generator says and understands: the project's own client role of RTMP."""

from __future__ import annotations

import os
import time

from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import control, events
from cluster.core.rtmp.chunk_writer import ChunkStreamId, ChunkWriter
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.status import Code
from cluster.core.rtmp.url import RtmpUrl
from cluster.load.tally import Role
from cluster.process.words import printable

_LIMITS = Limits()
_STARTED = {Code.PUBLISH_START, Code.PLAY_START}


class Dialogue:
    """One publisher's or player's conversation with a server about the stream of ``url``.

    ``asked`` once we are connected and have asked to publish or play, ``ready`` once that has been granted;
    ``failed`` says why it never will be, or why it is over.
    """

    __slots__ = ("_publisher", "_session", "_stream", "asked", "failed", "ready", "stream_id")

    def __init__(self, role: Role, url: RtmpUrl, chunk_size: int) -> None:
        self.asked = False
        self.ready = False
        self.failed: str | None = None
        self.stream_id = 1
        self._publisher = role is Role.PUBLISHER
        self._stream = url.stream
        self._session = ClientSession(
            limits=_LIMITS, entropy=os.urandom(ENTROPY_BYTES), now=time.monotonic(), chunk_size=chunk_size
        )
        self._session.start(url, publisher=self._publisher)

    def outgoing(self) -> bytes:
        """What must be sent now."""
        return self._session.outgoing()

    def receive(self, data: bytes) -> list[Message]:
        """The media in what arrived. PeerViolation if the server breaks the protocol."""
        media: list[Message] = []
        for event in self._session.receive(data, time.monotonic()):
            if isinstance(event, Message):
                media.append(event)
            else:
                self._on(event)
        return media

    def keep_alive(self, received_bytes: int, now_ns: int) -> bytes:
        """An acknowledgement with a pong. Who does not look at what it gets sees no ping to answer, and
        some servers close a peer that never answers one."""
        writer = ChunkWriter()
        messages = control.acknowledgement(received_bytes), control.ping_response(now_ns // 1_000_000)
        return b"".join(writer.encode(message, ChunkStreamId.CONTROL) for message in messages)

    def _on(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectSucceeded):
            self.asked = True
            if self._publisher:
                self._session.publish(self._stream)
            else:
                self._session.play(self._stream)
        elif isinstance(event, events.StreamReady):
            self.stream_id = event.stream_id
        elif isinstance(event, events.ConnectFailed | events.CallFailed):
            self.failed = _said(event.code, event.description)
        elif isinstance(event, events.StatusReceived):
            if event.level == "error":
                self.failed = _said(event.code, event.description)
            elif event.code in _STARTED:
                self.ready = True


def _said(code: str, description: str) -> str:
    return printable(": ".join(part for part in (code, description) if part) or "no reason given")
