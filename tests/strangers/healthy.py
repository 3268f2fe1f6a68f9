"""A process with a healthy stream in each worker, and honest peers that join: what they see, by the clock.

It also sends stamps through a process that only passes them on. What those are late is the machine's doing,
and is not held against the edge.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import psutil

from .bounds import WELL_FOR_S, WELL_MS
from .honest_peer import Loop, Peer
from .wire import AVC_HEADER, INTER_FRAME, KEYFRAME

FRAME_S = 0.04
GOP_FRAMES = 25
FRAME_BYTES = 10_000
JOIN_EVERY_S = 0.4
#: What the watching process may be told: to say which streams are well, and to send its record.
WELL, STOP = "well?", "stop"
#: A join that takes longer is given up.
JOIN_TIMEOUT_S = 5.0

#: A NAL unit's length and header, then when it was sent.
_NAL = struct.Struct(">IBd")
_STAMP = struct.Struct(">d")
#: What the names of the streams begin with.
_HEALTHY = "healthy"
#: To find a worker: by chance, so each of two is met within few connections.
_FIND_S = 15.0
#: A worker that is well accepts within this.
_ACCEPT_S = 0.03
_LOOK_EVERY_S = 0.005

#: When something was sent, and when it came; None while it has not.
Passage = tuple[float, "float | None"]
#: A worker: the port it is reached at, and its process id.
Place = tuple[int, int]


@dataclass(slots=True)
class Record:
    """What was seen, on the clock of time.monotonic.

    ``frames``: of each worker's stream. ``joins``: when, which of these streams was played (None: the peer
    published), and after how long it was served; None if it never was. ``relayed``: as ``frames``, without
    any edge. ``lost``: whose healthy peers were closed.
    """

    frames: list[list[Passage]] = field(default_factory=list)
    joins: list[tuple[float, int | None, float | None]] = field(default_factory=list)
    relayed: list[Passage] = field(default_factory=list)
    lost: list[tuple[int, str]] = field(default_factory=list)
    ended_at: float = 0.0


class HealthyStream:
    """One publisher and one player of it, in these workers."""

    def __init__(self, loop: Loop, name: str, publisher_at: Place, player_at: Place) -> None:
        self.name = name
        self.frames: dict[float, float | None] = {}
        self._sent = 0
        self.publisher = _in_worker(loop, name, publisher_at, publishes=True)
        loop.until(lambda: self.publisher.granted, f"publishing of {name} to be granted")
        self.publisher.send(0, AVC_HEADER)
        self.send_frame()
        self.player = _in_worker(loop, name, player_at, publishes=False)
        self.player.on_video = self._came
        while not self.frames or None in self.frames.values():
            self.frames.clear()
            self.send_frame()
            loop.until(lambda: None not in self.frames.values(), f"frames at a player of {name}")

    def send_frame(self) -> None:
        key, now = self._sent % GOP_FRAMES == 0, time.monotonic()
        nal = _NAL.pack(_NAL.size - 4 + FRAME_BYTES, 0x65 if key else 0x41, now)
        self.frames[now] = None
        picture = (KEYFRAME if key else INTER_FRAME) + nal + bytes(FRAME_BYTES)
        self.publisher.send(round(self._sent * FRAME_S * 1000), picture)
        self._sent += 1

    def is_well(self, now: float) -> bool:
        """Whether all frames of the last half second came in time, but for those still on their way."""
        first, last = now - WELL_FOR_S - WELL_MS / 1000, now - WELL_MS / 1000
        latest = itertools.takewhile(lambda each: each[0] >= first, reversed(self.frames.items()))
        return all((came or now) - sent < WELL_MS / 1000 for sent, came in latest if sent < last)

    def _came(self, payload: bytes) -> None:
        [sent_at] = _STAMP.unpack_from(payload, 5)
        if self.frames.get(sent_at, 0.0) is None:
            self.frames[sent_at] = time.monotonic()


def watch(control: Connection, places: Sequence[Place], crosses: bool) -> None:
    """Be the watching process: says "ready", answers WELL, and sends the record when told to STOP."""
    relay = _Relay()
    watcher = _Watcher(places, crosses, relay)
    control.send("ready")
    while True:
        watcher.turn()
        word = control.recv() if control.poll() else None
        if word == STOP:
            break
        if word == WELL:
            control.send(watcher.streams_that_are_well())
    control.send(watcher.record())
    watcher.close()


class _Watcher:
    def __init__(self, places: Sequence[Place], crosses: bool, relay: _Relay) -> None:
        self._ports = [port for port, _worker in places]
        self._relay = relay
        self._loop = Loop()
        self._loop.add(relay.socket, relay.ready)
        players_at = [*places[1:], places[0]] if crosses else places
        self._streams = [
            HealthyStream(self._loop, f"{_HEALTHY}{slot}", publisher_at, player_at)
            for slot, (publisher_at, player_at) in enumerate(zip(places, players_at, strict=True))
        ]
        self._joins: list[tuple[float, int | None, float | None]] = []
        self._joining: deque[Peer] = deque()
        self._joined = 0
        self._frame_at = self._join_at = time.monotonic()

    def turn(self) -> None:
        now = time.monotonic()
        if now >= self._frame_at:
            self._frame_at += FRAME_S
            for stream in self._streams:
                if not stream.publisher.closed:
                    stream.send_frame()
            self._relay.send()
        if now >= self._join_at:
            self._join_at = now + JOIN_EVERY_S
            self._join()
        self._judge_joins(now)
        self._loop.turn(min(self._frame_at, self._join_at) - time.monotonic())

    def streams_that_are_well(self) -> list[int]:
        """Those of which all frames of the last half second came in time."""
        now = time.monotonic()
        return [number for number, stream in enumerate(self._streams) if stream.is_well(now)]

    def record(self) -> Record:
        now = time.monotonic()
        for peer in self._joining:
            if now - peer.began_at > 1.0:
                self._joins.append((peer.began_at, _played(peer), None))
        streams = enumerate(self._streams)
        peers = [(number, peer) for number, each in streams for peer in (each.publisher, each.player)]
        return Record(
            [list(stream.frames.items()) for stream in self._streams],
            self._joins,
            list(self._relay.passages.items()),
            [(number, _kind(peer)) for number, peer in peers if peer.closed],
            now,
        )

    def close(self) -> None:
        for stream in self._streams:
            stream.player.close()
            stream.publisher.close()
        for peer in self._joining:
            peer.close()
        self._relay.close()

    def _join(self) -> None:
        """An honest peer comes: players of the healthy streams and new publishers by turns."""
        self._joined += 1
        publishes = self._joined % 2 == 0
        played = self._streams[self._joined // 2 % len(self._streams)].name
        name = f"new{self._joined}" if publishes else played
        port = self._ports[self._joined // 4 % len(self._ports)]
        peer = Peer(self._loop, port, name, publishes=publishes)
        peer.on_video = lambda _payload: setattr(peer, "granted", True)
        self._joining.append(peer.start(port))

    def _judge_joins(self, now: float) -> None:
        for peer in list(self._joining):
            waited = now - peer.began_at
            if peer.granted or peer.closed or waited > JOIN_TIMEOUT_S:
                self._joins.append((peer.began_at, _played(peer), waited if peer.granted else None))
                self._joining.remove(peer)
                peer.close()


class _Relay:
    """A process that passes on what it is sent."""

    def __init__(self) -> None:
        self.passages: dict[float, float | None] = {}
        self.socket, theirs = socket.socketpair()
        self._process = os.fork()
        if not self._process:
            self.socket.close()
            with contextlib.suppress(OSError):
                while data := theirs.recv(4096):
                    theirs.sendall(data)
            os._exit(0)
        theirs.close()

    def send(self) -> None:
        now = time.monotonic()
        self.passages[now] = None
        self.socket.send(_STAMP.pack(now))

    def ready(self, _writable: bool) -> None:
        data = self.socket.recv(4096)
        for [sent_at] in _STAMP.iter_unpack(data):
            self.passages[sent_at] = time.monotonic()

    def close(self) -> None:
        self.socket.close()
        os.waitpid(self._process, 0)


def _kind(peer: Peer) -> str:
    return "publisher" if peer.publishes else "player"


def _played(peer: Peer) -> int | None:
    """The number of the healthy stream that ``peer`` plays; None if it publishes one of its own."""
    return None if peer.publishes else int(peer.name.removeprefix(_HEALTHY))


def _holds(worker: psutil.Process, port: int) -> bool:
    """Whether it holds the connection from this local port of ours."""
    return any(each.raddr and each.raddr.port == port for each in worker.net_connections("tcp"))


def _in_worker(loop: Loop, name: str, place: Place, *, publishes: bool) -> Peer:
    """A peer that this worker has accepted: connects until it is that one."""
    port, worker = place
    process = psutil.Process(worker)
    give_up_at = time.monotonic() + _FIND_S
    while time.monotonic() < give_up_at:
        peer = Peer(loop, port, name, publishes=publishes)
        ours = peer.socket.getsockname()[1]
        deadline = time.monotonic() + _ACCEPT_S
        held = False
        while not held and time.monotonic() < deadline:
            loop.turn(_LOOK_EVERY_S)
            held = _holds(process, ours)
        if held:
            return peer.start(port)
        peer.close()
    raise AssertionError(f"connections for {_FIND_S:g} s, none of them to worker {worker}")
