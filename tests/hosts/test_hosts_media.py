"""Publish on one host, play on all: what FFmpeg gets there, and how late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hosts_cluster import NODES, HostedCluster

from support.ffmpeg import Packets
from support.polling import wait_until

#: Frames measured for the delay: 4 s.
DELAY_FRAMES = 100


def test_ffmpeg_gets_the_same_packets_on_every_host(
    cluster: HostedCluster, short_clip: Path, short_source: Packets
) -> None:
    players = [cluster.play_file(node, "clip") for node in NODES]
    for node in NODES:
        wait_until(lambda n=node: cluster.nodes[n].numbers("players") == 1, f"a player at {node}")
    publisher = cluster.publish_file("a", "clip", short_clip)
    assert publisher.wait(20) == 0, publisher.log_text()
    for node, player in zip(NODES, players, strict=True):
        got = player.wait_for_last(short_source, 10)
        for kind in ("video", "audio"):
            have, sent = getattr(got, kind), getattr(short_source, kind)
            assert [packet.digest for packet in have] == [packet.digest for packet in sent], (node, kind)
            offsets = {mine.dts - its.dts for mine, its in zip(have, sent, strict=True)}
            assert len(offsets) == 1, (node, kind)


def test_the_delay_to_another_host(cluster: HostedCluster, figure: Callable[[str], None]) -> None:
    publisher = cluster.publish("a", "delay")  # the default latency budget is 0
    here = cluster.play("a", "delay", beside=publisher)
    there = cluster.play("b", "delay")
    publisher.wait_sent(DELAY_FRAMES + 25)
    for player in (here, there):
        player.wait_for_frames(DELAY_FRAMES)
    at_a = {frame.sequence: frame.at for frame in here.frames}
    # Both players are threads of this process, so that one clock stamps both.
    later_ms = sorted(
        (frame.at - at_a[frame.sequence]) * 1000
        for frame in there.frames[-DELAY_FRAMES:]
        if frame.sequence in at_a
    )
    p50, p99 = (later_ms[int(len(later_ms) * part)] for part in (0.5, 0.99))
    figure(f"at B later than at A: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {len(later_ms)} messages")
    assert p50 < 10
