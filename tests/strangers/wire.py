"""The attackers' side of RTMP: raw sockets, messages as bytes, and one loop that sends to many at once."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from cluster.core.amf.values import AmfValue
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command as commands
from cluster.core.rtmp.chunk_writer import encode_shared
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.handshake import PACKET_BYTES

#: What strangers announce: one chunk for nearly every message.
CHUNK_BYTES = 0xFFFFFF
#: Strangers come from 127.0.0.2 and those after it, so that the edge's log tells them from honest peers.
FIRST_SOURCE = 2

AVC_HEADER = bytes.fromhex(
    "17000000000142c01fffe1" "0017" "6742c01fda014016ec0440000003004000000f23c60ca8" "01" "0004" "68ce3c80"
)
KEYFRAME, INTER_FRAME = b"\x17\x01\x00\x00\x00", b"\x27\x01\x00\x00\x00"
HELLO = b"\x03" + bytes(8) + bytes(range(256))[8:] + bytes(PACKET_BYTES - 256)

_TIMEOUT_S = 5.0
_READ_BYTES = 1 << 18
_TICK_S = 0.01
_SMALL_BUFFER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """What an attacking process is told: where the edge is, how long it has, and how much it may do.

    ``share``: of the amount that the attack has at full length. ``number`` tells its processes apart.
    """

    port: int
    tls_port: int
    seconds: float
    share: float = 1.0
    number: int = 0
    sources: int = 1
    router: str = ""
    workers: tuple[int, ...] = ()
    http_port: int = 0
    https_port: int = 0

    def amount(self, full: int, least: int = 1) -> int:
        return max(least, round(full * self.share))


@dataclass(slots=True)
class Tally:
    """What an attacking process has done, and seen."""

    opened: int = 0
    refused: int = 0
    sent: int = 0
    received: int = 0
    closed: int = 0
    notes: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.opened += other.opened
        self.refused += other.refused
        self.sent += other.sent
        self.received += other.received
        self.closed += other.closed
        self.complaints += other.complaints
        for name, value in other.notes.items():
            self.notes[name] = self.notes.get(name, 0) + value


# ---- messages as bytes -----------------------------------------------------------------------


def message(
    type_id: int, payload: bytes, *, at: int = 0, stream: int = 0, chunk_stream: int = 4,
    chunk_bytes: int = CHUNK_BYTES,
) -> bytes:  # fmt: skip
    """A message with a full header."""
    return b"".join(encode_shared(Message(type_id, at, payload, stream), chunk_stream, chunk_bytes))


def command(
    name: str, transaction: float, *args: AmfValue, fields: AmfValue = None, stream: int = 0
) -> bytes:
    made = commands.encode(Command(name, transaction, fields, args, stream))
    return message(made.type_id, bytes(made.payload), stream=stream, chunk_stream=3)


def set_chunk_size(size: int) -> bytes:
    return message(MessageType.SET_CHUNK_SIZE, size.to_bytes(4, "big"), chunk_stream=2)


def connect(app: str) -> bytes:
    """Large chunks, and connect."""
    fields: dict[str, AmfValue] = {"app": app, "tcUrl": f"rtmp://127.0.0.1/{app}"}
    return set_chunk_size(CHUNK_BYTES) + command("connect", 1.0, fields=fields)


def streams(count: int) -> bytes:
    """createStream, so often: the streams are 1, 2, 3 …"""
    return b"".join(command("createStream", 2.0 + each) for each in range(count))


def publish(name: str, stream: int = 1) -> bytes:
    return command("publish", 0.0, name, "live", stream=stream)


def play(name: str, stream: int = 1) -> bytes:
    return command("play", 0.0, name, stream=stream)


def video(at: int, size: int, *, key: bool = False, stream: int = 1) -> bytes:
    head = KEYFRAME if key else INTER_FRAME
    nal = size.to_bytes(4, "big") + bytes([0x65 if key else 0x41])
    return message(MessageType.VIDEO, head + nal + bytes(size - 1), at=at, stream=stream, chunk_stream=6)


def picture_header(stream: int = 1) -> bytes:
    return message(MessageType.VIDEO, AVC_HEADER, stream=stream, chunk_stream=6)


# ---- peers -----------------------------------------------------------------------------------


class Stranger:
    """One connection. Blocking until ``flood`` takes it over; OSError is for the attack to expect."""

    def __init__(
        self, target: Target, number: int = 0, *, tls: bool = False, small: bool = False, alpn: str = ""
    ) -> None:
        self.number = number
        self.seen = b""
        sock = socket.socket()
        try:
            if small:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
            sock.settimeout(_TIMEOUT_S)
            sock.bind((f"127.0.0.{FIRST_SOURCE + (target.number + number) % target.sources}", 0))
            sock.connect(("127.0.0.1", target.tls_port if tls else target.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = _careless_tls(alpn).wrap_socket(sock) if tls else sock
        except OSError:
            sock.close()
            raise

    def shake_hands(self) -> Stranger:
        self.socket.sendall(HELLO)
        left = 1 + 2 * PACKET_BYTES
        while left > 0:
            received = self.socket.recv(left)
            if not received:
                raise ConnectionResetError("closed during the handshake")
            left -= len(received)
        self.socket.sendall(HELLO[1:])
        return self

    def say(self, *parts: bytes) -> Stranger:
        self.socket.sendall(b"".join(parts))
        return self

    def until(self, text: str, times: int = 1) -> Stranger:
        """Read until the server has said that, so often in all."""
        wanted, deadline = text.encode(), time.monotonic() + _TIMEOUT_S
        while self.seen.count(wanted) < times:
            received = self.socket.recv(65536)
            if not received or time.monotonic() > deadline:
                raise ConnectionResetError(f"{text} never came")
            self.seen += received
        return self

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


def _careless_tls(alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def gather(
    tally: Tally, count: int, make: Callable[[int], Stranger], until: float | None = None
) -> list[Stranger]:
    """So many peers, as far as they are let in before the deadline; the others are counted."""
    peers = []
    for number in range(count):
        if until is not None and time.monotonic() > until:
            break
        try:
            peers.append(make(number))
            tally.opened += 1
        except OSError:
            tally.refused += 1
            if tally.refused > 20 and tally.refused > tally.opened:
                break
    return peers


def publisher(
    target: Target, name: str, number: int = 0, *, at_once: int = 1, tls: bool = False
) -> Stranger:
    """A peer that publishes on message stream 1, or on so many: ``name`` with their numbers behind it."""
    peer = Stranger(target, number, tls=tls).shake_hands()
    names = [name] if at_once == 1 else [f"{name}-{each}" for each in range(1, at_once + 1)]
    publishes = [publish(each, 1 + index) for index, each in enumerate(names)]
    return peer.say(connect("live"), streams(at_once), *publishes).until("NetStream.Publish.Start", at_once)


def player(target: Target, name: str, number: int = 0) -> Stranger:
    """A peer that plays on message stream 1; whether it is let is not waited for."""
    return Stranger(target, number).shake_hands().say(connect("live"), streams(1), play(name))


# ---- sending ---------------------------------------------------------------------------------

#: What a peer sends, piece by piece; an empty piece means: nothing now, ask again soon.
Pieces = Iterator[bytes]


def paced(pieces: Iterable[bytes], per_second: float) -> Pieces:
    """So many pieces a second."""
    began = time.monotonic()
    for count, piece in enumerate(pieces):
        while count > (time.monotonic() - began) * per_second:
            yield b""
        yield piece


def flood(
    tally: Tally, peers: Iterable[Stranger], make: Callable[[Stranger], Pieces], until: float, *,
    reads: bool = True,
) -> None:  # fmt: skip
    """Every peer sends its pieces as fast as they are taken, until then; all are closed at the end."""
    crowd = _Crowd(tally, list(peers), make, reads)
    while time.monotonic() < until:
        crowd.turn()
    crowd.close()


def hold(tally: Tally, peers: Iterable[Stranger], until: float, *, reads: bool = True) -> None:
    """Every peer stays, says nothing, and is closed at the end."""
    flood(tally, peers, lambda _peer: iter(()), until, reads=reads)


class _Crowd:
    def __init__(
        self, tally: Tally, peers: list[Stranger], make: Callable[[Stranger], Pieces], reads: bool
    ) -> None:
        self._tally = tally
        self._peers = peers
        self._reads = reads
        self._selector = selectors.DefaultSelector()
        self._resting: list[Stranger] = []
        self._armed_at = 0.0
        self._pieces = {peer: make(peer) for peer in peers}
        self._unsent: dict[Stranger, memoryview] = {peer: memoryview(b"") for peer in peers}
        for peer in peers:
            peer.socket.setblocking(False)
            self._selector.register(peer.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, peer)

    def turn(self) -> None:
        for key, events in self._selector.select(_TICK_S):
            peer: Stranger = key.data
            try:
                if events & selectors.EVENT_READ:
                    self._read(peer)
                if events & selectors.EVENT_WRITE:
                    self._write(peer)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except OSError:
                self._lose(peer)
        if self._resting and time.monotonic() > self._armed_at:
            self._armed_at = time.monotonic() + _TICK_S
            resting, self._resting = self._resting, []
            for peer in resting:
                if peer in self._pieces:
                    self._selector.modify(peer.socket, self._events(writes=True), peer)

    def close(self) -> None:
        self._selector.close()
        for peer in self._peers:
            peer.close()

    def _events(self, *, writes: bool) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)

    def _read(self, peer: Stranger) -> None:
        if not self._reads:  # only whether it was closed: what has come stays where it is
            gone = isinstance(peer.socket, ssl.SSLSocket) or peer.socket.recv(1, socket.MSG_PEEK)
            if gone:
                self._selector.unregister(peer.socket)
                if peer in self._pieces:
                    self._selector.register(peer.socket, selectors.EVENT_WRITE, peer)
                return
            raise ConnectionResetError
        received = peer.socket.recv(_READ_BYTES)
        if not received:
            raise ConnectionResetError
        self._tally.received += len(received)

    def _write(self, peer: Stranger) -> None:
        unsent = self._unsent[peer]
        if not len(unsent):
            piece = next(self._pieces[peer], None)
            if not piece:
                self._selector.modify(peer.socket, self._events(writes=False), peer)
                if piece is not None:
                    self._resting.append(peer)
                return
            unsent = memoryview(piece)
        sent = 0
        try:
            sent = peer.socket.send(unsent)
        finally:
            self._unsent[peer] = unsent[sent:]
        self._tally.sent += sent

    def _lose(self, peer: Stranger) -> None:
        self._tally.closed += 1
        del self._pieces[peer]
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer.socket)
        peer.close()
