"""A node drains while it has a publisher and players: what it refuses, and where its streams go on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

from hosts_cluster import HostedCluster, HostedEdge

from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, GOP_FRAMES, LivePlayer, LivePublisher

#: What every node here is started with.
DRAIN_TIMEOUT_S = 2.0
#: Sessions end so soon after the drain timeout, and the node with them.
END_S = 1.5
#: An encoder that connects elsewhere at once costs its players no more than this.
MOVE_S = 1.0
#: Sequence numbers of the encoder at its second node.
SECOND = 100 * GOP_FRAMES
#: A player that has come so far has gone on for a second.
ENOUGH = SECOND + FRAMES_PER_SECOND


def test_a_node_drains_with_a_publisher_and_players(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    node = cluster.nodes["a"]
    publisher = cluster.publish("a", "drained")
    with node.host.inside():
        other_worker = next(pid for pid in node.workers().values() if pid != publisher.worker)
    leaving = [
        cluster.play("a", "drained", beside=publisher),
        cluster.play("a", "drained", worker=other_worker),
    ]
    staying = {name: cluster.play(name, "drained") for name in ("b", "c")}
    for player in (*leaving, *staying.values()):
        player.wait_for_frames(FRAMES_PER_SECOND)
    late = [cluster.connect("a", f"late-{pid}", pid) for pid in node.workers().values()]

    os.kill(node.pid, signal.SIGTERM)
    signalled_at = time.monotonic()
    wait_until(lambda: len(node.events("draining")) == 3, "supervisor and workers to drain")
    wait_until(lambda: not _accepts(node), "new connections not to be accepted")
    for encoder in late:
        encoder.ask()
    for encoder in late:
        wait_until(lambda e=encoder: e.closed, "an encoder that comes late to be closed")
    refused_s = time.monotonic() - signalled_at
    assert refused_s < DRAIN_TIMEOUT_S, "they were refused, and not ended with the others"
    assert [encoder.codes for encoder in late] == [["NetStream.Publish.Denied"]] * 2
    assert not any(peer.closed for peer in (publisher, *leaving))

    wait_until(lambda: publisher.closed, "the encoder to be told to go")
    ended_s = time.monotonic() - signalled_at
    returned = cluster.publish("b", "drained", first_sequence=SECOND)
    for player in staying.values():
        wait_until(lambda p=player: p.frames[-1].sequence >= ENOUGH, "the stream to go on")
    pauses = {name: _pause_s(player) for name, player in staying.items()}
    assert node.wait_ended() == 0
    figure(
        f"drain of {DRAIN_TIMEOUT_S:g} s: late encoders refused after {refused_s:.2f} s, sessions ended "
        f"after {ended_s:.2f} s; pause " + ", ".join(f"{node} {s:.2f} s" for node, s in pauses.items())
    )

    assert DRAIN_TIMEOUT_S - 0.1 < ended_s < DRAIN_TIMEOUT_S + END_S
    for player in leaving:
        assert player.closed
        assert "NetConnection.Connect.AppShutdown" in player.codes
        went_on_s = player.frames[-1].at - signalled_at
        assert went_on_s > DRAIN_TIMEOUT_S - 0.5, "media went on until the deadline"
        assert player.gaps() == []
    assert "NetConnection.Connect.AppShutdown" in publisher.codes
    assert _closes(node) == {"publish_refused": 2, "drained": 3}
    assert max(pauses.values()) < MOVE_S
    for name, player in staying.items():
        _assert_goes_on(player, publisher, name)
    assert not returned.closed


def _accepts(node: HostedEdge) -> bool:
    with node.host.inside(), contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port), 5).close()
        return True
    return False


def _closes(node: HostedEdge) -> dict[str, int]:
    """How many of the connections that were ever used ended for which reason."""
    reasons: dict[str, int] = {}
    for event in node.events("connection_closed"):
        if event["bytes_received"] and event["reason"] != "peer_closed":
            reasons[event["reason"]] = reasons.get(event["reason"], 0) + 1
    return reasons


def _pause_s(player: LivePlayer) -> float:
    """Between the last frame of the first node and the first of the second."""
    second = next(index for index, frame in enumerate(player.frames) if frame.sequence >= SECOND)
    return player.frames[second].at - player.frames[second - 1].at


def _assert_goes_on(player: LivePlayer, first: LivePublisher, name: str) -> None:
    """It was never closed, its clock never went back, and it has every frame of both nodes."""
    assert not player.closed, name
    stamps = [frame.timestamp for frame in player.frames]
    assert stamps == sorted(stamps), name
    (gap,) = player.gaps()
    assert gap[1] == SECOND, name
    assert first.sent - gap[0] <= 3, f"{name}: of {first.sent} frames at the first node it has {gap[0] + 1}"
