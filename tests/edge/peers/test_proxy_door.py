"""Connections that a proxy passes on: whose they are, before anything else is looked at."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cluster.core.errors import CloseReason
from cluster.net.proxy_headers import HEADER_S
from cluster.net.tls_certificate import Certificate
from support.house import House, Peer, SocketPeer, run_until, stepped_loop, tcp_pair
from support.http_peer import HttpPeer
from support.tls import make_certificate

#: Where the balancer of these tests is, and where somebody else is.
PROXY, DIRECT = "10.0.0.5", "192.0.2.50"
LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a20000000")
UNKNOWN = b"PROXY UNKNOWN\r\n"

#: Makes a worker's parts with these options.
Houses = Callable[..., House]


@pytest.fixture
def houses() -> Iterator[Houses]:
    made: list[House] = []
    with stepped_loop() as loop:

        def make(**options: Any) -> House:
            proxies = (ip_network("10.0.0.0/24"), ip_network("2001:db8:7::/48"))
            made.append(House(loop, proxies=proxies, **options))
            return made[-1]

        yield make
        for house in made:
            house.close()


def header(host: str = "198.51.100.1", port: int = 50_000) -> bytes:
    return f"PROXY TCP{6 if ':' in host else 4} {host} {host} {port} 1935\r\n".encode()


def binary(host: bytes = bytes((198, 51, 100, 1))) -> bytes:
    """A header of version 2, for an IPv4 address."""
    return LOCAL[:12] + b"\x21\x11\x00\x0c" + host + bytes(4) + (50_000).to_bytes(2) + (1935).to_bytes(2)


def proxied(house: House, said: bytes, host: str = PROXY) -> Peer:
    """A peer that connects through the proxy, which says ``said`` first."""
    peer = Peer(house.sessions, house.loop.time, host=host)
    peer._unsent = said
    house.peers.append(peer)
    house.settle()
    return peer


class Silent(SocketPeer):
    """A connection from the proxy on which it says what it is told to."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        house.peers.append(self)
        house.sessions.accept(self.accepted, (PROXY, 40_000))

    def say(self, data: bytes) -> Silent:
        self._unsent += data
        self.house.settle()
        return self

    def _take(self, data: bytes) -> None: ...


def peers_of(house: House) -> list[str]:
    return [connection.peer for connection in house.sessions._connections]


# ---- whose connection it is ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "peer"),
    [
        (header(), "198.51.100.1:50000"),
        (header("2001:db8::1"), "[2001:db8::1]:50000"),
        (binary(), "198.51.100.1:50000"),
        (LOCAL, f"{PROXY}:40000"),
        (UNKNOWN, f"{PROXY}:40000"),
    ],
)
def test_the_peer_is_who_the_proxy_says(houses: Houses, said: bytes, peer: str) -> None:
    house = houses()
    assert proxied(house, said).connected
    assert peers_of(house) == [peer]


@pytest.mark.parametrize("said", [header(), binary(), UNKNOWN, LOCAL])
def test_a_header_may_come_byte_by_byte(houses: Houses, said: bytes) -> None:
    house = houses()
    proxy = Silent(house)
    for byte in said[:-1]:
        proxy.say(bytes([byte]))
        assert peers_of(house) == []
    proxy.say(said[-1:] + b"\x03")
    assert len(peers_of(house)) == 1
    (connection,) = house.sessions._connections
    assert connection.session.bytes_received == 1


def test_what_follows_the_header_in_the_same_segment_is_not_lost(houses: Houses) -> None:
    house = houses()
    peer = HttpPeer(house, PROXY).say(header() + b"GET / HTTP/1.1\r\nHost: edge.example\r\n\r\n")
    assert peer.answer.status == 200
    assert [each.arrival.peer for each in house.http._connections] == ["198.51.100.1:50000"]


def test_others_are_not_looked_at(houses: Houses) -> None:
    house = houses()
    assert proxied(house, b"", host=DIRECT).connected
    assert peers_of(house) == [f"{DIRECT}:40000"]
    assert proxied(house, header(), host=DIRECT).closed
    assert house.counters.closes == {CloseReason.NOT_RTMP: 1}


def test_a_proxy_may_have_an_address_of_ipv6(houses: Houses) -> None:
    house = houses()
    assert proxied(house, header(), host="2001:db8:7:1::9").connected
    assert proxied(house, b"", host="2001:db8:8::9").connected


# ---- what is no header -----------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 nonsense\r\n"])
def test_a_proxy_that_says_nothing_of_it_is_closed(
    houses: Houses, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    house = houses()
    assert proxied(house, said).closed
    assert house.counters.closes == {CloseReason.PROXY_HEADER: 1}
    assert len(house.sessions) == len(house.places) == 0
    (line,) = [each for each in caplog.records if getattr(each, "event", "") == "connection_closed"]
    assert getattr(line, "peer", "") == f"{PROXY}:40000"


def test_a_header_is_waited_for_a_few_seconds(houses: Houses) -> None:
    house = houses()
    proxy = Silent(house).say(header()[:-1])
    house.advance(HEADER_S - 0.5)
    assert not proxy.closed
    house.advance(0.5)
    assert proxy.closed
    assert house.counters.closes == {CloseReason.PROXY_HEADER: 1}


def test_a_check_that_connects_and_leaves_is_worth_no_line(
    houses: Houses, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    house = houses()
    house.leave(Silent(house))
    house.leave(Silent(house).say(LOCAL))
    assert house.counters.closes == {CloseReason.PEER_CLOSED: 2}
    assert [each for each in caplog.records if getattr(each, "event", "") == "connection_closed"] == []
    assert len(house.places) == 0


def test_those_that_wait_are_closed_at_the_end(houses: Houses) -> None:
    house = houses()
    proxy = Silent(house)
    house.settle()
    house.sessions.close_all(CloseReason.DRAINED)
    house.settle()
    assert proxy.closed
    assert house.counters.closes == {CloseReason.DRAINED: 1}


# ---- limits ----------------------------------------------------------------------------------


def test_limits_are_those_of_the_address_behind_the_proxy(
    houses: Houses, caplog: pytest.LogCaptureFixture
) -> None:
    house = houses(max_from_address=2)
    kept = [proxied(house, header(port=port)) for port in (50_000, 50_001)]
    assert proxied(house, header(port=50_002)).closed
    assert proxied(house, header("198.51.100.2")).connected
    assert house.counters.closes == {CloseReason.TOO_MANY_FROM_ADDRESS: 1}
    (line,) = [each for each in caplog.records if getattr(each, "event", "") == "connection_refused"]
    assert getattr(line, "peer", "") == "198.51.100.1:50002"
    assert not any(peer.closed for peer in kept)
    house.leave(kept[0])
    assert proxied(house, header()).connected


def test_new_ones_a_second_are_those_of_the_address_behind_the_proxy(houses: Houses) -> None:
    house = houses(new_from_address=1)
    refused = [proxied(house, header(port=50_000 + number)).closed for number in range(12)]
    assert refused == [False] * 10 + [True] * 2
    assert proxied(house, header("198.51.100.2")).connected


def test_what_is_the_proxys_own_has_no_limit(houses: Houses) -> None:
    house = houses(max_from_address=1, new_from_address=1)
    assert all(proxied(house, said).connected for said in (LOCAL, UNKNOWN, LOCAL) * 5)
    assert not house.places.addresses._networks


def test_those_that_have_said_nothing_count_as_half_open_of_the_worker(houses: Houses) -> None:
    house = houses(max_half_open=4)
    silent = [Silent(house) for _ in range(6)]
    house.settle()
    assert [each.closed for each in silent] == [True, True, False, False, False, False]
    assert house.places.half_open == 4
    assert house.counters.closes == {CloseReason.HALF_OPEN_EVICTED: 2}
    player = proxied(house, header())
    player.session.play("a")
    house.settle()
    assert not player.closed
    assert silent[2].closed


def test_a_flood_from_one_address_behind_the_proxy_evicts_its_own(houses: Houses) -> None:
    house = houses(max_half_open=4)
    other = proxied(house, header("198.51.100.9"))
    flood = [proxied(house, header()) for _ in range(4)]
    assert [each.closed for each in flood] == [True, True, False, False]
    assert not other.closed


def test_a_full_worker_takes_none(houses: Houses) -> None:
    house = houses(max_connections=1)
    player = proxied(house, header())
    player.session.play("a")
    house.settle()
    assert proxied(house, header()).closed
    assert house.counters.closes[CloseReason.TOO_MANY_CONNECTIONS] == 1


# ---- TLS -------------------------------------------------------------------------------------


def test_the_header_comes_before_tls(houses: Houses, tmp_path: Path) -> None:
    house = houses()
    files = make_certificate(tmp_path)
    accepted, plain = tcp_pair()
    house.sessions.accept_tls(Certificate(files.cert, files.key), accepted, (PROXY, 40_000))
    plain.sendall(header())
    plain.setblocking(False)
    context = files.client_context()
    with context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False) as peer:

        def shaken() -> bool:
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.do_handshake()
                return True
            return False

        run_until(house.loop, shaken, "the handshake")
        run_until(house.loop, lambda: peers_of(house), "the connection")
        assert peers_of(house) == ["198.51.100.1:50000"]
    run_until(house.loop, lambda: not len(house.sessions), "the end")


def test_a_proxy_of_a_tls_address_must_say_it_too(houses: Houses, tmp_path: Path) -> None:
    house = houses()
    files = make_certificate(tmp_path)
    accepted, plain = tcp_pair()
    house.sessions.accept_tls(Certificate(files.cert, files.key), accepted, (PROXY, 40_000))
    plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    run_until(house.loop, lambda: not len(house.sessions), "the end")
    assert house.counters.closes == {CloseReason.PROXY_HEADER: 1}
    plain.close()
