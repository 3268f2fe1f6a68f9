"""Limits in a node of two workers, and the PROXY protocol before RTMP, RTMPS, HTTP and HTTPS."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.core.rtmp.handshake import PACKET_BYTES
from support.cluster_process import Edge, StartEdge, kill_worker
from support.polling import wait_until
from support.rtmp_peer import Peers
from support.tls import CertificateFiles, make_certificate

MOST = 16
PROXY = "127.0.0.2"
HELLO = b"\x03" + bytes(PACKET_BYTES)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def connect(port: int, source: str = "127.0.0.1", says: bytes = HELLO) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    sock.sendall(says)
    return sock


def is_let_in(sock: socket.socket) -> bool:
    """Whether the edge answers the hello."""
    with contextlib.suppress(OSError):
        return sock.recv(1) == b"\x03"
    return False


def test_one_address_has_its_connections_once_for_all_workers(
    start_edge: StartEdge, opened: list[socket.socket]
) -> None:
    # Nobody goes on after the hello, and on a busy machine it takes a while to have seen it all.
    options = ["--max-from-address", str(MOST), "--handshake-timeout", "600"]
    edge = start_edge("--workers", "2", *options)
    let_in = []
    for _ in range(4 * MOST):
        opened.append(connect(edge.port))
        if is_let_in(opened[-1]):
            let_in.append(opened[-1])
    assert len(let_in) == MOST
    owners = {edge.owner_of(sock.getsockname()[1]) for sock in let_in}
    assert owners == set(edge.workers().values()), "all in one worker: this shows nothing"
    closes = {"too_many_from_address": 3 * MOST}
    wait_until(lambda: edge.metrics().by("reason", "closes_total") == closes, "the metrics to say so")

    other = connect(edge.port, "127.0.0.3")
    opened.append(other)
    assert is_let_in(other)

    # The connections of a worker that dies do not count any more.
    doomed = edge.owner_of(let_in[0].getsockname()[1])
    assert doomed is not None
    lost = [sock for sock in let_in if edge.owner_of(sock.getsockname()[1]) == doomed]
    kill_worker(doomed)
    wait_until(lambda: len(edge.events("worker_ready")) == 3, "the worker to be started again")
    again = [connect(edge.port) for _ in range(2 * MOST)]
    opened.extend(again)
    assert [is_let_in(sock) for sock in again].count(True) == len(lost)


def _through(edge: Edge, how: str, files: CertificateFiles, host: str) -> None:
    """A peer behind the proxy that is served and leaves."""
    ports = {"rtmp": edge.port, "rtmps": edge.tls_port, "http": edge.http_port}
    if how == "https":
        (address,) = edge.ready["https_addresses"]
        ports["https"] = int(address.rpartition(":")[2])
    sock = connect(ports[how], PROXY, f"PROXY TCP4 {host} 192.0.2.1 40000 1935\r\n".encode())
    if how in ("rtmps", "https"):
        sock = files.client_context().wrap_socket(sock, server_hostname="localhost")
    with sock:
        if how.startswith("rtmp"):
            sock.sendall(HELLO)
            assert sock.recv(1) == b"\x03"
        else:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"


def test_who_is_behind_a_proxy_is_known_by_every_protocol(start_edge: StartEdge, tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    edge = start_edge(
        "--workers", "1", "--bind-tls", "127.0.0.1:0", "--http", "127.0.0.1:0", "--http-tls", "127.0.0.1:0",
        *files.options, "--proxy-from", PROXY,
    )  # fmt: skip
    protocols = ("rtmp", "rtmps", "http", "https")
    hosts = {how: f"198.51.100.{number}" for number, how in enumerate(protocols, 1)}
    for how, host in hosts.items():
        _through(edge, how, files, host)

    def told() -> set[str]:
        return {event["peer"] for event in edge.events("connection_closed")}

    wait_until(lambda: told() >= {f"{host}:40000" for host in hosts.values()}, "a line for each")
    assert not any(peer.startswith("127.0.0.") for peer in told())


def test_nobody_else_may_say_who_it_is_and_no_proxy_may_keep_silent_of_it(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    files = make_certificate(tmp_path)
    edge = start_edge("--workers", "1", "--bind-tls", "127.0.0.1:0", *files.options, "--proxy-from", PROXY)
    with connect(edge.port, says=b"PROXY TCP4 198.51.100.1 192.0.2.1 40000 1935\r\n" + HELLO) as liar:
        assert not is_let_in(liar)
    for port in (edge.port, edge.tls_port):
        with connect(port, PROXY) as silent:
            assert not is_let_in(silent)
    with connect(edge.tls_port, PROXY, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") as hasty:
        assert not is_let_in(hasty)
    closes = {"not_rtmp": 1, "proxy_header": 3}
    wait_until(lambda: edge.metrics().by("reason", "closes_total") == closes, "the metrics to say so")


# ---- [[limit]] -------------------------------------------------------------------------------

TWO_PLAYERS = '[[limit]]\nmatch = "live/*"\nplayers = 2\n[[limit]]\nmatch = "live"\npublishers = 1\n'


def test_players_of_a_key_and_publishers_of_an_app_count_in_both_workers(
    start_edge: StartEdge, peers: Peers, tmp_path: Path
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(TWO_PLAYERS)
    edge = start_edge("--workers", "2", "--config", str(file))
    one, two = edge.workers().values()
    peers.publish(edge, "a", worker=one)
    players = [peers.play(edge, "a", worker=worker) for worker in (one, two)]
    for player in players:
        player.wait_for_frames(1)
    third = peers.play(edge, "a", worker=two)
    wait_until(lambda: third.closed, "a third player to be refused")

    def turned_away() -> dict[str, float]:
        return edge.metrics().by("reason", "turned_away_total")

    wait_until(lambda: turned_away() == {"too_many_of_key": 1}, "the metrics to say so")
    assert not any(player.closed for player in players)

    file.write_text(TWO_PLAYERS.replace("players = 2", "players = 3"))
    os.kill(edge.pid, signal.SIGHUP)
    wait_until(lambda: edge.events("reloaded"), "the reload")

    def is_let_in() -> bool:
        player = peers.play(edge, "a", worker=one)
        wait_until(lambda: player.closed or player.frames, "its verdict")
        return bool(player.frames)

    wait_until(is_let_in, "the worker to go by the new limit")
    fifth = peers.play(edge, "a", worker=one)
    wait_until(lambda: fifth.closed, "one beyond the new limit to be refused")
    assert not any(player.closed for player in players)
