"""``rtmp-cluster status`` shows the cluster as it is."""

from __future__ import annotations

from hosts_cluster import NODES, HostedCluster

from support.polling import wait_until


def test_the_status_of_a_cluster(cluster: HostedCluster) -> None:
    publisher = cluster.publish("a", "shown")
    for node in ("b", "b", "c"):
        cluster.play(node, "shown")
    publisher.wait_sent(60)

    def stream() -> dict[str, object] | None:
        streams = {each["key"]: each for each in cluster.known()["streams"]}
        shown = streams.get("live/shown", {})
        return shown if shown.get("players") == {"b": 2, "c": 1} and shown["bits_per_second"] else None

    shown = wait_until(stream, "the players of every node, and a rate")
    assert shown["origin"].startswith("a/")
    assert shown["codecs"] == "avc1"
    assert 300_000 < shown["bits_per_second"] < 500_000
    assert 2_000 < shown["age_ms"] < 60_000

    known = cluster.known()
    assert [router["answers"] for router in known["routers"]] == [True, True]
    assert [(node["node"], node["workers"]) for node in known["nodes"]] == [(node, 2) for node in NODES]
    assert len(known["workers"]) == 6

    lines = cluster.status().stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "players: b 2, c 1" in "".join(lines)

    cluster.routers["r1"].kill()
    lines = cluster.status().stdout.splitlines()
    assert any("10.77.0.1" in line and "nobody there" in line for line in lines)
    assert any(line.startswith("live/shown") for line in lines)
