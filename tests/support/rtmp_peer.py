"""Light publishers and players over the project's own client role: one thread and one socket each.

The stream they carry is synthetic: every message has a sequence number, every 50th is a keyframe.
"""

from __future__ import annotations

import itertools
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from cluster.core.limits import Limits
from cluster.core.message import Buffer, Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.url import RtmpUrl
from support.cluster_process import Edge
from support.polling import wait_until

FRAMES_PER_SECOND = 25
GOP_FRAMES = 50
_FRAME_MS = 1000 // FRAMES_PER_SECOND
SEQUENCE_HEADER = bytes.fromhex(
    "17000000000142c01fffe1" "0017" "6742c01fda014016ec0440000003004000000f23c60ca8" "01" "0004" "68ce3c80"
)
_KEYFRAME, _INTER_FRAME = b"\x17\x01\x00\x00\x00", b"\x27\x01\x00\x00\x00"
_NAL = struct.Struct(">IBQ")  # length, header, then our sequence number
_READ_BYTES = 1 << 16
_TICK_S = 0.05
_TRIES = 64


class Frame(NamedTuple):
    """One video message as a player got it; ``at`` is on the clock of time.monotonic."""

    sequence: int
    timestamp: int
    keyframe: bool
    at: float


class PeerError(AssertionError):
    """The server refused this peer, or closed it while it should be served."""


class RtmpPeer:
    """One connection in the client role. Subclasses say what follows the answer to connect.

    ``worker``: accept no other worker (process id) than this; connect again until it is that one.
    ``tls``: over TLS with this context.
    """

    publishes = False

    def __init__(
        self, edge: Edge, name: str, *, worker: int | None = None, receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.codes: list[str] = []
        self.closed = False
        self._edge = edge
        self._stopping = False
        self._stream_id = 0
        self.started_at = time.monotonic()
        self._connect(worker, receive_buffer_bytes, edge.port if tls is None else edge.tls_port)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._thread = threading.Thread(target=self._run, name=f"{type(self).__name__} {name}", daemon=True)

    def _connect(self, worker: int | None, receive_buffer_bytes: int | None, port: int) -> None:
        for _ in range(_TRIES):
            self.started_at = time.monotonic()
            self._socket: socket.socket = socket.socket()
            if receive_buffer_bytes is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            self._socket.connect(("127.0.0.1", port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._session = ClientSession(
                limits=Limits(), entropy=os.urandom(ENTROPY_BYTES), now=time.monotonic()
            )
            if worker is None:
                return
            ours = self._socket.getsockname()[1]
            if wait_until(lambda ours=ours: self._edge.owner_of(ours), "a worker to accept") == worker:
                return
            self._socket.close()
        raise PeerError(f"{_TRIES} connections, none of them to worker {worker}")

    @property
    def worker(self) -> int:
        """The process id of the worker this peer is connected to."""
        port = self._socket.getsockname()[1]
        return wait_until(lambda: self._edge.owner_of(port), "a worker that owns the connection")

    def start(self) -> None:
        self._session.start(RtmpUrl.parse(self._edge.url(self.name)), publisher=self.publishes)
        self._thread.start()

    def stop(self) -> None:
        """Do nothing more; returns at once."""
        self._stopping = True

    def close(self) -> None:
        """Leave without a word, as a killed process does."""
        self.stop()
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._socket.settimeout(_TICK_S)
            while not self._stopping:
                self._send_session()
                self._turn()
        except OSError:
            self.closed = True

    def _turn(self) -> None:
        self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return
        if not data:
            raise ConnectionResetError("closed by the server")
        for event in self._session.receive(data, time.monotonic()):
            self._on(event)
        self._send_session()

    def _send_session(self) -> None:
        data = self._session.outgoing()
        if data:
            self._socket.sendall(data)

    def _on(self, event: events.Event | Message) -> None:
        if isinstance(event, Message):
            self._on_message(event)
        elif isinstance(event, events.ConnectSucceeded):
            self._on_connected()
        elif isinstance(event, events.ConnectFailed):
            self.codes.append(event.code)
        elif isinstance(event, events.StreamReady):
            self._stream_id = event.stream_id
        elif isinstance(event, events.StatusReceived):
            self.codes.append(event.code)

    def _on_connected(self) -> None:
        raise NotImplementedError

    def _on_message(self, message: Message) -> None:
        pass


class LivePlayer(RtmpPeer):
    """Plays from the moment it is made; keeps what it got in ``frames``."""

    def __init__(
        self, edge: Edge, name: str, *, worker: int | None = None, receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        super().__init__(edge, name, worker=worker, receive_buffer_bytes=receive_buffer_bytes, tls=tls)
        self.frames: list[Frame] = []
        self._reading = threading.Event()
        self._reading.set()
        self.start()

    def stop_reading(self) -> None:
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    def wait_for_frames(self, count: int, timeout_s: float = 30.0) -> list[Frame]:
        """The frames so far, once there are ``count``."""
        what = f"{count} frames at a player of {self.name}"
        wait_until(lambda: self.closed or len(self.frames) >= count, what, timeout_s)
        if len(self.frames) < count:
            raise PeerError(f"closed before {what}: it has {len(self.frames)}, and {self.codes}")
        return self.frames

    def gaps(self) -> list[tuple[int, int]]:
        """Where a frame does not follow the one before it: (before, after)."""
        return [
            (before.sequence, after.sequence)
            for before, after in itertools.pairwise(self.frames[:])
            if after.sequence != before.sequence + 1
        ]

    def longest_pause_s(self, first: int = 0) -> float:
        """The longest time between two frames, from this one on."""
        return max(after.at - before.at for before, after in itertools.pairwise(self.frames[first:]))

    def _turn(self) -> None:
        if self._reading.wait(_TICK_S):
            self._receive()

    def _on_connected(self) -> None:
        self._session.play(self.name)

    def _on_message(self, message: Message) -> None:
        frame = read_frame(message.payload) if message.type_id == MessageType.VIDEO else None
        if frame is not None:
            keyframe, sequence = frame
            self.frames.append(Frame(sequence, message.timestamp, keyframe, time.monotonic()))


class LivePublisher(RtmpPeer):
    """Publishes in real time once publishing is granted; ``first_sequence`` begins a group of pictures."""

    publishes = True

    def __init__(
        self, edge: Edge, name: str, *, worker: int | None = None, bits_per_second: int = 400_000,
        first_sequence: int = 0, tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        super().__init__(edge, name, worker=worker, tls=tls)
        self.sent = 0
        self.first_sequence = first_sequence
        self._filler = bytes(bits_per_second // 8 // FRAMES_PER_SECOND)
        self._granted_at: float | None = None
        self._granted = False
        self.start()

    def wait_granted(self, timeout_s: float = 30.0) -> None:
        what = f"publishing of {self.name} to be granted"
        wait_until(lambda: self._granted or self.closed, what, timeout_s)
        if not self._granted:
            raise PeerError(f"publishing {self.name} was refused: {self.codes}")

    def wait_sent(self, count: int, timeout_s: float = 30.0) -> None:
        what = f"{count} frames sent of {self.name}"
        wait_until(lambda: self.sent >= count or self.closed, what, timeout_s)
        if self.sent < count:
            raise PeerError(f"closed before {what}: it sent {self.sent}, and got {self.codes}")

    def _on_connected(self) -> None:
        self._session.publish(self.name)

    def _turn(self) -> None:
        if "NetStream.Publish.Start" not in self.codes:
            self._receive()
            return
        now = time.monotonic()
        if self._granted_at is None:
            self._granted_at, self._granted = now, True
            self._send(0, SEQUENCE_HEADER)
        due = self._granted_at + self.sent / FRAMES_PER_SECOND
        if due > now:
            self._socket.settimeout(min(_TICK_S, due - now))
            self._receive()
            self._socket.settimeout(None)
            return
        sequence = self.first_sequence + self.sent
        self._send(self.sent * _FRAME_MS, make_frame(sequence, self._filler))
        self.sent += 1

    def _send(self, timestamp: int, payload: bytes) -> None:
        self._session.send(Message(MessageType.VIDEO, timestamp, payload, self._stream_id))
        self._send_session()


class PatientPublisher(LivePublisher):
    """Connects at once, and asks to publish only when it is told to."""

    def __init__(self, edge: Edge, name: str, **options: Any) -> None:
        self.connected = False
        self._told = threading.Event()
        super().__init__(edge, name, **options)

    def ask(self) -> None:
        self._told.set()

    def _on_connected(self) -> None:
        self.connected = True

    def _turn(self) -> None:
        if self.connected and self._told.is_set():
            self._told.clear()
            self._session.publish(self.name)
            self._send_session()
        super()._turn()


def make_frame(sequence: int, filler: bytes) -> bytes:
    """An AVC video message with a sequence number in its one NAL unit."""
    keyframe = sequence % GOP_FRAMES == 0
    nal = _NAL.pack(9 + len(filler), 0x65 if keyframe else 0x41, sequence)
    return (_KEYFRAME if keyframe else _INTER_FRAME) + nal + filler


def read_frame(payload: Buffer) -> tuple[bool, int] | None:
    """(is a keyframe, sequence number); None for sequence headers."""
    if len(payload) < 5 + _NAL.size or payload[1] != 1:
        return None
    return payload[0] >> 4 == 1, _NAL.unpack_from(payload, 5)[2]


class Peers:
    """Starts publishers and players, and closes them all with the test."""

    def __init__(self) -> None:
        self._started: list[RtmpPeer] = []

    def publish(self, edge: Edge, name: str, **options: Any) -> LivePublisher:
        """A publisher whose publishing was granted."""
        publisher = self._keep(LivePublisher, edge, name, **options)
        publisher.wait_granted()
        return publisher

    def connect(self, edge: Edge, name: str, **options: Any) -> PatientPublisher:
        """A publisher that is connected, and has not asked to publish yet."""
        publisher = self._keep(PatientPublisher, edge, name, **options)
        wait_until(lambda: publisher.connected, f"the connection for {name} to be accepted")
        return publisher

    def play(self, edge: Edge, name: str, **options: Any) -> LivePlayer:
        return self._keep(LivePlayer, edge, name, **options)

    def close(self) -> None:
        for peer in self._started:
            peer.stop()
        for peer in self._started:
            peer.close()

    def _keep(self, make: Callable[..., RtmpPeer], *arguments: object, **options: Any) -> RtmpPeer:
        peer = make(*arguments, **options)
        self._started.append(peer)
        return peer
