"""Somebody who is let in by a floor: talks RTMP with the project's own server role until media flows."""

from __future__ import annotations

import os
import socket
import time

from cluster.core.limits import Limits
from cluster.core.rtmp import events
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.server_session import ServerSession

#: As the generator's publishers have it.
CHUNK_SIZE = 4096
_READ_BYTES = 65536
_ANSWER_TIMEOUT_S = 10.0


class Guest:
    """One connection, which may publish or play whatever it asks for.

    ``publishes`` and ``plays`` are the stream's name, once it does.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(_ANSWER_TIMEOUT_S)
        self.sock = sock
        self.publishes: str | None = None
        self.plays: str | None = None
        self._session = ServerSession(
            limits=Limits(), entropy=os.urandom(ENTROPY_BYTES), now=time.monotonic(), chunk_size=CHUNK_SIZE
        )

    @property
    def is_in(self) -> bool:
        return self.publishes is not None or self.plays is not None

    def read(self) -> bool:
        """Read what is there, or comes next, and answer it; False if it has left."""
        return self._read(_READ_BYTES)

    def finish_message(self) -> None:
        """Read the rest of a message that has begun, and nothing behind it."""
        while (lacking_bytes := self._session.lacking_bytes) and self._read(lacking_bytes):
            pass

    def _read(self, most_bytes: int) -> bool:
        data = self.sock.recv(most_bytes)
        session = self._session
        for event in session.receive(data, time.monotonic()):
            if isinstance(event, events.ConnectRequested):
                session.accept_connect()
            elif isinstance(event, events.PublishRequested) and session.accept_publish(event.stream_id):
                self.publishes = event.name
            elif isinstance(event, events.PlayRequested) and session.accept_play(event.stream_id):
                self.plays = event.name
        if answer := session.outgoing():
            self.sock.sendall(answer)
        return bool(data)
