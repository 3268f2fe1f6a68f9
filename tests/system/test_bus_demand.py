"""Media crosses the bus only for streams that someone plays on another worker, once per worker."""

from __future__ import annotations

from support.cluster_process import Edge, Metrics, StartEdge
from support.polling import wait_until
from support.rtmp_peer import Peers

FRAMES = 25


def test_media_crosses_the_bus_on_demand_and_once_per_worker(start_edge: StartEdge, peers: Peers) -> None:
    edge = start_edge("--workers", "3")
    publisher = peers.publish(edge, "demand")
    home, second, third = _home_first(edge, publisher.worker)
    origin, one, two = (str(edge.slot_of_pid(pid)) for pid in (home, second, third))

    metrics = _after_frames(edge, origin, FRAMES)
    assert metrics.total("bus_messages_sent_total") == 0, "nobody plays it"

    peers.play(edge, "demand", worker=home).wait_for_frames(1)
    metrics = _after_frames(edge, origin, FRAMES)
    assert metrics.total("bus_messages_sent_total") == 0, "its only player is on the publisher's own worker"

    remote = [peers.play(edge, "demand", worker=pid) for pid in (second, second, third)]
    for player in remote:
        player.wait_for_frames(1)
    # What they begin with, up to a whole group of pictures, came by snapshots.
    _after_frames(edge, origin, FRAMES)
    publisher.close()
    metrics = _settled(edge)
    sent = metrics.total("bus_messages_sent_total", worker=origin)
    assert FRAMES // 2 <= sent <= publisher.sent
    assert metrics.total("bus_messages_sent_total") == sent, "only the origin sends"
    assert metrics.total("bus_messages_received_total", worker=origin) == 0
    # The worker with two players was the first to subscribe: it has each message exactly once.
    assert metrics.total("bus_messages_received_total", worker=one) == sent
    assert 0 < metrics.total("bus_messages_received_total", worker=two) <= sent
    for player in remote:
        assert player.gaps() == []


def test_the_bus_is_quiet_again_when_the_last_remote_player_has_left(
    start_edge: StartEdge, peers: Peers
) -> None:
    edge = start_edge("--workers", "2")
    publisher = peers.publish(edge, "leave")
    home, away = _home_first(edge, publisher.worker)
    player = peers.play(edge, "leave", worker=away)
    player.wait_for_frames(FRAMES)
    player.close()

    def quiet() -> bool:
        before = edge.metrics().total("bus_messages_sent_total")
        after = _after_frames(edge, str(edge.slot_of_pid(home)), FRAMES // 2)
        return after.total("bus_messages_sent_total") == before

    wait_until(quiet, "the bus to be quiet while the publisher goes on")


def _home_first(edge: Edge, home: int) -> list[int]:
    return [home, *(pid for pid in edge.workers().values() if pid != home)]


def _after_frames(edge: Edge, slot: str, count: int) -> Metrics:
    """The metrics once this worker has received so many more messages from its publisher."""
    goal = edge.metrics().total("messages_received_total", worker=slot) + count

    def reached() -> Metrics | None:
        metrics = edge.metrics()
        return metrics if metrics.total("messages_received_total", worker=slot) >= goal else None

    return wait_until(reached, f"{count} more messages from the publisher")


def _settled(edge: Edge) -> Metrics:
    """The metrics after the publisher's end, once the workers' counts agree that nothing is under way."""
    wait_until(lambda: edge.metrics().total("publishers") == 0, "the publisher to be gone in the metrics")
    seen: list[dict[str, float]] = []

    def still() -> Metrics | None:
        metrics = edge.metrics()
        seen.append(metrics.by("worker", "bus_messages_received_total"))
        # At no more than 50 scrapes a second, longer than three beats of a worker.
        return metrics if len(seen) > 40 and all(each == seen[-1] for each in seen[-40:]) else None

    return wait_until(still, "the bus counters to stand still")
