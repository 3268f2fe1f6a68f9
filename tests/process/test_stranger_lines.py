"""Lines about strangers: a few a second, and a sum of the others."""

from __future__ import annotations

import logging

import pytest

from cluster.process.stranger_lines import (
    ELSEWHERE,
    LINES_PER_SECOND,
    MAX_NETWORKS,
    SHOWN_NETWORKS,
    SUM_EVERY_S,
    StrangerLines,
    host_of,
    network_of,
)

LOGGER = logging.getLogger("cluster.test")


class Scene:
    """Strangers come; the clock stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines = StrangerLines(LOGGER, "closed", lambda: self.now)

    def come(self, count: int, reason: str = "not_rtmp", host: str = "192.0.2.7") -> int:
        """How many of them get a line."""
        return sum(self.lines.admit(logging.INFO, reason, host) for _ in range(count))


@pytest.fixture
def scene(caplog: pytest.LogCaptureFixture) -> Scene:
    caplog.set_level(logging.INFO)
    return Scene()


def test_so_many_a_second_get_a_line(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    assert scene.come(LINES_PER_SECOND) == LINES_PER_SECOND
    scene.now += SUM_EVERY_S
    scene.lines.tick()
    assert caplog.messages == []  # nothing was left out


def test_one_more_goes_into_the_sum(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    assert scene.come(LINES_PER_SECOND + 1) == LINES_PER_SECOND
    scene.now += SUM_EVERY_S - 0.1
    scene.lines.tick()
    assert caplog.messages == []
    scene.now += 0.1
    scene.lines.tick()
    assert caplog.messages == ["closed 1 more in 10 s: not_rtmp 1; from 192.0.2.0/24 1"]
    scene.now += SUM_EVERY_S
    scene.lines.tick()
    assert len(caplog.messages) == 1


def test_the_next_second_has_lines_again(scene: Scene) -> None:
    scene.come(LINES_PER_SECOND + 5)
    scene.now += 0.9
    assert scene.come(3) == 0
    scene.now += 0.1
    assert scene.come(LINES_PER_SECOND + 5) == LINES_PER_SECOND


def test_a_sum_says_how_many_why_and_from_where(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.come(LINES_PER_SECOND)
    scene.come(3, "handshake_timeout")
    scene.come(5, "not_rtmp", "2001:db8::1")
    scene.come(1, "not_rtmp", "2001:db8::2")
    scene.now += 12.34
    scene.lines.tick()
    assert caplog.messages == [
        "closed 9 more in 12.3 s: not_rtmp 6, handshake_timeout 3; from 2001:db8::/64 6, 192.0.2.0/24 3"
    ]
    (record,) = caplog.records
    assert record.event == "strangers_summed"  # type: ignore[attr-defined]
    assert record.levelno == logging.INFO
    assert record.args == {
        "count": 9, "seconds": 12.3, "reasons": {"not_rtmp": 6, "handshake_timeout": 3},
        "networks": {"2001:db8::/64": 6, "192.0.2.0/24": 3},
    }  # fmt: skip


def sum_of(scene: Scene, caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, int]]:
    scene.lines.log_sum()
    return caplog.records[-1].args  # type: ignore[return-value]


def test_the_networks_with_the_most_are_shown(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.come(LINES_PER_SECOND)
    for number in range(SHOWN_NETWORKS + 2):
        scene.come(number + 1, host=f"10.0.{number}.1")
    networks = sum_of(scene, caplog)["networks"]
    assert networks == {
        "10.0.6.0/24": 7, "10.0.5.0/24": 6, "10.0.4.0/24": 5, "10.0.3.0/24": 4, "10.0.2.0/24": 3,
        ELSEWHERE: 3,
    }  # fmt: skip


@pytest.mark.parametrize(("count", "more"), [(MAX_NETWORKS, 0), (MAX_NETWORKS + 1, 1)])
def test_so_many_networks_are_told_apart_and_no_more(
    scene: Scene, caplog: pytest.LogCaptureFixture, count: int, more: int
) -> None:
    scene.come(LINES_PER_SECOND)
    for number in range(count):
        scene.come(1, host=f"10.{number // 256}.{number % 256}.1")
    assert scene.lines._networks.get(ELSEWHERE, 0) == more
    assert len(scene.lines._networks) == MAX_NETWORKS + more
    scene.come(1, host="10.0.0.9")  # of a network that is known
    assert scene.lines._networks["10.0.0.0/24"] == 2
    found = sum_of(scene, caplog)
    assert found["count"] == sum(found["networks"].values()) == count + 1


def test_a_sum_has_the_level_of_the_gravest(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.come(LINES_PER_SECOND + 1)
    scene.lines.admit(logging.WARNING, "too_many_connections", "192.0.2.7")
    scene.lines.log_sum()
    assert caplog.records[-1].levelno == logging.WARNING
    scene.come(1)
    scene.lines.log_sum()
    assert caplog.records[-1].levelno == logging.INFO


def test_what_is_not_logged_is_not_summed(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert scene.come(100) == 0
    scene.lines.log_sum()
    assert caplog.messages == []
    assert scene.lines.admit(logging.WARNING, "too_many_connections", "192.0.2.7")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a peer that has left", "a peer that has left"),
        ("a name: 100 %", "a name: 100 %"),
        ("edge.example", "edge.example"),
    ],
)
def test_the_network_of_an_address(
    scene: Scene, caplog: pytest.LogCaptureFixture, host: str, network: str
) -> None:
    assert network_of(host) == network
    scene.come(LINES_PER_SECOND + 1, host=host)
    scene.lines.log_sum()
    assert caplog.messages[0].endswith(f"; from {network} 1")


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("192.0.2.7:40000", "192.0.2.7"),
        ("[2001:db8::1]:40000", "2001:db8::1"),
        ("[fe80::1%eth0]:1935", "fe80::1%eth0"),
        ("a file", "a file"),
    ],
)
def test_the_address_of_a_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host
