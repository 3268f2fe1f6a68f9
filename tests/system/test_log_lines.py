"""The lines of one edge: each connection can be followed by its id, on whichever worker it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.cluster_process import Edge, StartEdge
from support.polling import wait_until
from support.rtmp_peer import Peers

GRACE_S = 1.0
LINGER_AND_RESET = b"\x01\0\0\0\0\0\0\0"


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


def probe(edge: Edge) -> None:
    """What a load balancer does."""
    for by_reset in (False, True):
        with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as connection:
            if by_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AND_RESET)


def test_a_stream_on_two_workers_is_told_from_its_beginning_to_its_end(
    start_edge: StartEdge, peers: Peers
) -> None:
    edge = start_edge("--workers", "2", "--publish-grace", str(GRACE_S))
    first, second = edge.workers().values()
    publisher = peers.publish(edge, "told", worker=first)
    players = [peers.play(edge, "told", worker=worker) for worker in (first, second)]
    for player in players:
        player.wait_for_frames(20)
    probe(edge)
    publisher.close()
    wait_until(lambda: len(edge.events("stream_ended")) == 2, "the end of the grace, on both workers")
    for player in players:
        player.close()
    closed = wait_until(
        lambda: len(found := edge.events("connection_closed")) == 3 and found, "a line for each connection"
    )
    by_role = {role: [line for line in closed if line["role"] == role] for role in ("publisher", "player")}
    assert [len(by_role[role]) for role in ("publisher", "player")] == [1, 2]
    assert {line["worker"].rpartition("/")[2] for line in by_role["player"]} == {"0", "1"}
    assert len({line["id"] for line in closed}) == 3
    assert {line["stream"] for line in closed} == {"live/told"}
    assert {line["reason"] for line in by_role["player"]} == {"peer_closed"}, "whatever way they left"
    assert all(line["bytes_received"] > 3_000 and line["bytes_sent"] > 3_000 for line in closed)
    (published,) = edge.events("publish")
    assert [published["id"], published["peer"]] == [by_role["publisher"][0][key] for key in ("id", "peer")]
    played = {line["id"] for line in edge.events("play")}
    assert played == {line["id"] for line in by_role["player"]}
    wait_until(lambda: edge.metrics().total("closes_total") >= 5, "the probes to be counted")


def test_the_dialogue_of_a_connection_has_its_id(start_edge: StartEdge, peers: Peers) -> None:
    edge = start_edge("--workers", "1", "--log-level", "debug")
    peers.publish(edge, "told?token=secret").wait_sent(5)
    (published,) = edge.events("publish")

    def said(event: str) -> list[str]:
        lines = [line for line in edge.events(event) if line["id"] == published["id"]]
        return [line["command"].partition("(")[0] for line in lines]

    received = said("command_received")
    assert [received[0], received[-1]] == ["connect", "publish"]
    assert said("command_sent")[-1] == "onStatus"
    assert [line["id"] for line in edge.events("connection_accepted")] == [published["id"]]
    assert "secret" not in edge.log_text()
