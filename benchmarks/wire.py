"""What a connection of the generator says and understands: RTMP as a publisher or a player, or nothing.

The dialogue is the project's own client role, the same against every server under measurement.
"""

from __future__ import annotations

import os
import time
from typing import Literal

from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.url import RtmpUrl

Role = Literal["publish", "play"]

_STARTED = {"NetStream.Publish.Start", "NetStream.Play.Start"}


class Dialogue:
    """One publisher's or player's conversation with a server.

    ``ready`` once publishing or playing has been granted; ``failed`` says why it never will be.
    """

    def __init__(self, role: Role, port: int, app: str, name: str, chunk_size: int) -> None:
        self.ready = False
        self.failed: str | None = None
        self._role = role
        self._name = name
        self._session = ClientSession(
            limits=Limits(), entropy=os.urandom(ENTROPY_BYTES), now=time.monotonic(), chunk_size=chunk_size
        )
        url = RtmpUrl(scheme="rtmp", host="127.0.0.1", port=port, app=app, stream=name)
        self._session.start(url, publisher=role == "publish")

    def outgoing(self) -> bytes:
        """What must be sent now."""
        return self._session.outgoing()

    def receive(self, data: bytes) -> list[Message]:
        """The media in what arrived."""
        media: list[Message] = []
        for event in self._session.receive(data, time.monotonic()):
            if isinstance(event, Message):
                media.append(event)
            else:
                self._on(event)
        return media

    def _on(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectSucceeded):
            if self._role == "publish":
                self._session.publish(self._name)
            else:
                self._session.play(self._name)
        elif isinstance(event, events.ConnectFailed):
            self.failed = f"{event.code}: {event.description}"
        elif isinstance(event, events.StatusReceived):
            if event.level == "error":
                self.failed = f"{event.code}: {event.description}"
            elif event.code in _STARTED:
                self.ready = True


class BareStream:
    """A server that sends chunks from the first byte on and expects none: the floor."""

    ready = True
    failed: str | None = None

    def __init__(self, chunk_size: int) -> None:
        self._reader = ChunkReader(Limits())
        self._reader.chunk_size = chunk_size

    def outgoing(self) -> bytes:
        return b""

    def receive(self, data: bytes) -> list[Message]:
        return self._reader.feed(data)
