"""Honest peers of the measurement: never waited for, many in one thread."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable

from cluster.core.errors import ClusterError
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.url import RtmpUrl

_PATIENCE_S = 10.0


class Loop:
    """Sockets that are ready, and nothing else."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, sock: socket.socket, ready: Callable[[bool], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def remove(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)

    def wants_write(self, sock: socket.socket, wanted: bool) -> None:
        events_wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
        key = self._selector.get_key(sock)
        if key.events != events_wanted:
            self._selector.modify(sock, events_wanted, key.data)

    def turn(self, seconds: float) -> None:
        for key, ready in self._selector.select(max(0.0, seconds)):
            if key.fileobj in self._selector.get_map():
                key.data(bool(ready & selectors.EVENT_WRITE))

    def until(self, probe: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not probe():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {_PATIENCE_S:g} s in vain: {what}")
            self.turn(0.01)


class Peer:
    """One honest connection, never waited for."""

    def __init__(self, loop: Loop, port: int, name: str, *, publishes: bool) -> None:
        self.name = name
        self.publishes = publishes
        self.began_at = time.monotonic()
        self.granted = False
        self.closed = False
        self.on_video: Callable[[bytes], None] = lambda _payload: None
        self.socket = socket.socket()
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._stream_id = 0
        self._unsent = bytearray()
        self._session = ClientSession(
            limits=Limits(), entropy=os.urandom(ENTROPY_BYTES), now=self.began_at, chunk_size=65536
        )
        loop.add(self.socket, self._ready)

    def start(self, port: int) -> Peer:
        url = RtmpUrl.parse(f"rtmp://127.0.0.1:{port}/live/{self.name}")
        self._session.start(url, publisher=self.publishes)
        self._flush()
        return self

    def send(self, at_ms: int, payload: bytes) -> None:
        self._session.send(Message(MessageType.VIDEO, at_ms, payload, self._stream_id))
        self._flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove(self.socket)
            self.socket.close()

    def _ready(self, writable: bool) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                data = self.socket.recv(1 << 16)
                if not data:
                    raise ConnectionResetError
                for event in self._session.receive(data, time.monotonic()):
                    self._on(event)
            self._flush()
        except (OSError, ClusterError):
            self.close()

    def _flush(self) -> None:
        if self.closed:
            return
        self._unsent += self._session.outgoing()
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent)]
        except BlockingIOError:
            pass  # or it is still connecting
        except OSError:
            self.close()
            return
        self._loop.wants_write(self.socket, bool(self._unsent))

    def _on(self, event: events.Event | Message) -> None:
        if isinstance(event, Message):
            if event.type_id == MessageType.VIDEO and len(event.payload) > 5 and event.payload[1] == 1:
                self.on_video(bytes(event.payload[5:]))
        elif isinstance(event, events.ConnectSucceeded):
            (self._session.publish if self.publishes else self._session.play)(self.name)
        elif isinstance(event, events.StreamReady):
            self._stream_id = event.stream_id
        elif isinstance(event, events.StatusReceived) and event.code == "NetStream.Publish.Start":
            self.granted = True
