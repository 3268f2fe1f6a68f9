"""A peer that breaks the protocol is closed with one named reason, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from support.cluster_process import Edge
from support.polling import wait_until
from support.rtmp_peer import LivePlayer, Peers

HANDSHAKE_TIMEOUT_S = 1.0
_HANDSHAKE_BYTES = 1536
_CLOSE_TIMEOUT_S = 30.0

Attack = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Hostile:
    """What a peer does, and the reason it must be closed with."""

    name: str
    attack: Attack
    reason: str


def _sends(data: bytes) -> Attack:
    def attack(sock: socket.socket) -> None:
        sock.sendall(data)

    return attack


def _after_handshake(data: bytes, times: int = 1) -> Attack:
    """``data`` as often as given, as far as the server takes it."""

    def attack(sock: socket.socket) -> None:
        _shake_hands(sock)
        with contextlib.suppress(OSError):  # closed before it has read it all
            for _ in range(times):
                sock.sendall(data)

    return attack


def _shake_hands(sock: socket.socket) -> None:
    """The simple handshake (RTMP 1.0, section 5.2)."""
    sock.sendall(b"\x03" + bytes(8) + os.urandom(_HANDSHAKE_BYTES - 8))
    answer = b""
    while len(answer) < 1 + 2 * _HANDSHAKE_BYTES:
        received = sock.recv(65536)
        assert received, "closed during the handshake"
        answer += received
    sock.sendall(answer[1 : 1 + _HANDSHAKE_BYTES])


def _header(chunk_stream: int, length: int, type_id: int) -> bytes:
    """A type 0 chunk header (RTMP 1.0, section 5.3.1.2.1)."""
    return bytes([chunk_stream, 0, 0, 0]) + length.to_bytes(3, "big") + bytes([type_id]) + bytes(4)


def _set_chunk_size(size: int) -> bytes:
    return _header(2, 4, 1) + size.to_bytes(4, "big")


def _command(payload: bytes) -> bytes:
    return _set_chunk_size(65536) + _header(3, len(payload), 20) + payload


_CONNECT = b"\x02\x00\x07connect\x00\x3f\xf0" + bytes(6)

HOSTILES = [
    Hostile("garbage", _sends(b"\xff" * 4096), "not_rtmp"),
    Hostile("HTTP request", _sends(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "not_rtmp"),
    Hostile("TLS hello", _sends(bytes.fromhex("16030100c8010000c40303") + bytes(190)), "not_rtmp"),
    Hostile("half a handshake", _sends(b"\x03" + bytes(700)), "handshake_timeout"),
    Hostile("nothing at all", _sends(b""), "handshake_timeout"),
    Hostile("huge length", _after_handshake(_header(3, 0xFFFFFF, 20) + bytes(128)), "message_too_large"),
    Hostile("chunk size 0", _after_handshake(_set_chunk_size(0)), "bad_chunk_size"),
    Hostile("chunk without a header before it", _after_handshake(b"\xc7" + bytes(128)), "bad_chunk"),
    Hostile(
        "endless partial messages",
        _after_handshake(
            # Large chunks, then on each of a few chunk streams a message of 60 kB that never ends.
            _set_chunk_size(50_000)
            + b"".join(_header(n, 60_000, 9) + bytes(50_000) for n in range(4, 10))
        ),
        "partial_messages_too_large",
    ),
    Hostile(
        "a partial message on each of many chunk streams",
        # Two-byte chunk stream ids (RTMP 1.0, section 5.3.1.1).
        _after_handshake(b"".join(
            b"\x00" + bytes([n]) + _header(0, 1000, 9)[1:] + bytes(128) for n in range(200)
        )),
        "too_many_chunk_streams",
    ),
    Hostile("bad AMF", _after_handshake(_command(_CONNECT + b"\x1f")), "bad_amf"),
    Hostile("endless AMF", _after_handshake(_command(_CONNECT + b"\x03\x00\x01a" * 1000)), "bad_amf"),
    Hostile("a command that is no command", _after_handshake(_command(b"\x05")), "bad_command"),
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Edge, LivePlayer]]:
    """One worker with a publisher and a player that must not notice any of it."""
    edge = Edge(
        ["--workers", "1", "--handshake-timeout", str(HANDSHAKE_TIMEOUT_S)],
        tmp_path_factory.mktemp("hostile") / "edge.log",
    )
    peers = Peers()
    try:
        edge.wait_ready()
        peers.publish(edge, "bystander")
        player = peers.play(edge, "bystander")
        player.wait_for_frames(1)
        yield edge, player
        peers.close()
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        peers.close()
        edge.kill()


@pytest.mark.parametrize("hostile", HOSTILES, ids=lambda hostile: hostile.name)
def test_a_hostile_peer_is_closed_with_one_reason_and_nobody_else_notices(
    hostile: Hostile, served: tuple[Edge, LivePlayer]
) -> None:
    edge, bystander = served
    before = edge.metrics().by("reason", "closes_total")

    with socket.create_connection(("127.0.0.1", edge.port), timeout=_CLOSE_TIMEOUT_S) as sock:
        hostile.attack(sock)
        _read_to_end(sock)

    expected = {**before, hostile.reason: before.get(hostile.reason, 0) + 1}
    wait_until(
        lambda: edge.metrics().by("reason", "closes_total") != before, "the close to be counted"
    )
    assert edge.metrics().by("reason", "closes_total") == expected
    frames = len(bystander.frames)
    bystander.wait_for_frames(frames + 5)
    assert bystander.gaps() == []


def test_a_peer_that_leaves_in_the_middle_of_its_handshake_is_counted_as_having_left(
    served: tuple[Edge, LivePlayer],
) -> None:
    edge, _bystander = served
    before = edge.metrics().total("closes_total", reason="peer_closed")
    with socket.create_connection(("127.0.0.1", edge.port)) as sock:
        sock.sendall(b"\x03" + bytes(700))

    def counted() -> bool:
        return edge.metrics().total("closes_total", reason="peer_closed") == before + 1

    wait_until(counted, "the close to be counted")


def _read_to_end(sock: socket.socket) -> None:
    """Read until the server closes; TimeoutError if it does not."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while sock.recv(65536):
            pass
