"""Strangers' software publishes to us and plays from us; every packet is compared with the source."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import peer_ffmpeg
import peer_pyav
import pytest
from interop_cluster import Clips, Cluster
from matrix import ROWS, Direction, Row, Scheme, Worker
from table import Cell, Table, compare
from workbench import CLIP_S, Hashes, Job, Workbench

from support.ffmpeg import GOP_FRAMES
from support.polling import wait_until

JOIN_TIMEOUT_S = 60.0
CLIP_TIMEOUT_S = CLIP_S + 20.0
END_TIMEOUT_S = 30.0
#: Time for a relay to pass on the last packets; the grace period is in it.
RELAY_S = 3.0

MakeBench = Callable[[str, Path], Workbench]
Columns = dict[tuple[Direction, Scheme, Worker], Path]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.peer}: {row.media.name}")
def test_every_packet_arrives(
    row: Row, cluster: Cluster, clips: Clips, make_bench: MakeBench, table: Table
) -> None:
    version = row.version()
    if version is None:
        pytest.skip(f"{row.peer} is not installed: {row.packages}")
    shown = table.add(row, version)
    clip = clips.of(row.media)
    source = _hashes_of_source(row, clip)
    assert len(source["video0"]) >= 2 * GOP_FRAMES, "too little to show anything"
    bench = make_bench("bench", clip)
    wait_until(lambda: cluster.total("players") == 0, "an earlier row's players to be gone", END_TIMEOUT_S)
    written: Columns = {}
    publishers = _start_publishing(row, cluster, bench, written)
    publishers += _start_playing(row, cluster, bench, written)
    for publisher in publishers:
        code = publisher.wait(CLIP_TIMEOUT_S)
        assert code == 0, f"{publisher.command[0]} published and ended with {code}: {publisher.log_text()}"
    _end_streams(cluster, bench)
    bench.finish()

    for (direction, scheme, worker), output in written.items():
        late = row.may_begin_late.get(direction)
        shown.cells[direction, scheme, worker] = compare(source, row.hashes(output), late)
    for direction in ("publish", "play"):
        for scheme in ("rtmp", "rtmps"):
            why_not = row.reason_against(direction, scheme)
            if why_not is not None:
                for worker in ("same", "other"):
                    shown.cells[direction, scheme, worker] = Cell("–", why_not)
    bad = {column: cell.note for column, cell in shown.cells.items() if cell.mark == "no"}
    assert not bad, f"{bad}\n" + "\n".join(f"{job.command}: {job.log_text()}" for job in bench.jobs)


def _hashes_of_source(row: Row, clip: Path) -> Hashes:
    return row.hashes(clip if row.media.reference == "system" else peer_pyav.hashes_file(clip))


def _start_publishing(row: Row, cluster: Cluster, bench: Workbench, written: Columns) -> list[Job]:
    """The peer publishes by each scheme, and the reference plays on both workers."""
    if row.publish is None:
        return []
    schemes: list[Scheme] = [
        scheme for scheme in ("rtmp", "rtmps") if row.reason_against("publish", scheme) is None
    ]
    before = cluster.total("players")
    reference = peer_pyav if row.media.reference == "pyav" else peer_ffmpeg
    for scheme in schemes:
        for worker in ("same", "other"):
            url = cluster.url(f"publish-{scheme}", "rtmp", worker)
            written["publish", scheme, worker] = reference.play(bench, url)
    _wait_for_players(cluster, before + 2 * len(schemes))
    return [row.publish(bench, cluster.url(f"publish-{scheme}", scheme, "same")) for scheme in schemes]


def _start_playing(row: Row, cluster: Cluster, bench: Workbench, written: Columns) -> list[Job]:
    """The peer plays by each scheme on both workers, and the reference publishes."""
    if row.play is None:
        return []
    before = cluster.total("players")
    count = 0
    for scheme in ("rtmp", "rtmps"):
        if row.reason_against("play", scheme) is None:
            for worker in ("same", "other"):
                written["play", scheme, worker] = row.play(bench, cluster.url("play", scheme, worker))
                count += 1
    _wait_for_players(cluster, before + count)
    reference = peer_pyav if row.media.reference == "pyav" else peer_ffmpeg
    return [reference.publish(bench, cluster.url("play", "rtmp", "same"))]


def _end_streams(cluster: Cluster, bench: Workbench) -> None:
    """Until every stream has ended, and those who played were told.

    Some relays go on publishing to us after their own publisher has left, and go on serving after we have
    told them of the end: those are ended once they had time enough to pass on what they got. GStreamer's
    rtmpsrc sometimes connects again after the end, to wait for a stream that does not come: so players are
    waited for, and may be left.
    """
    _wait_for_no_players(cluster)
    for server in bench.servers:
        server.end()
    wait_until(lambda: cluster.total("publishers") == 0, "the publishers to go", END_TIMEOUT_S)
    _wait_for_no_players(cluster)


def _wait_for_no_players(cluster: Cluster) -> None:
    with contextlib.suppress(AssertionError):
        wait_until(lambda: cluster.total("players") == 0, "the players to go", RELAY_S)


def _wait_for_players(cluster: Cluster, count: float) -> None:
    wait_until(lambda: cluster.total("players") >= count, f"{count:g} players to wait", JOIN_TIMEOUT_S)
