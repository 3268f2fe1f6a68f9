"""A publisher goes away and comes back; viewers behind a relay that pulls from us have media again at once.

Relays stay connected when a stream ends, and ignore what they are told of the end. The longest absence is
longer than the grace period and the idle timeout together. All run side by side: it takes as long as that.
The same relays pull from nginx-rtmp meanwhile, to tell what is a relay's own doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import peer_ffmpeg
import peer_nginx
import peer_node_media_server
import psutil
import pytest
from absence_table import AbsenceTable
from workbench import Job, Workbench

from support.cluster_process import Edge
from support.ffmpeg import make_clip
from support.polling import wait_until

ABSENCES_S = (5, 20, 70)
RELAYS = ("nginx-rtmp", "node-media-server")
LIMIT_S = 2.0
#: How long a viewer is looked at after the return: what comes later is told in the failure.
PATIENCE_S = 12.0
CLIP_S = 30


@dataclass(slots=True)
class Viewer:
    """FFmpeg, playing from a relay into files that grow with each packet."""

    relay: str
    job: Job
    output: Path
    sizes: list[int] = field(default_factory=list)
    seconds: float | None = None

    def sizes_now(self) -> list[int]:
        files = (self.output.with_suffix(f".{kind}") for kind in ("video", "audio"))
        return [file.stat().st_size if file.exists() else 0 for file in files]

    def has_media(self) -> bool:
        """Audio and video, more than when it was asked to remember."""
        before = self.sizes or [200, 200]  # the header of such a file
        return all(now > then for now, then in zip(self.sizes_now(), before, strict=True))


@dataclass(slots=True)
class Absence:
    """One stream at one origin, and those who play it behind the relays."""

    origin: str
    absence_s: int
    url: str
    publisher: Job
    viewers: list[Viewer]
    left_at: float = 0.0
    returning: bool = False
    returned_at: float | None = None

    def look(self, publish: Callable[[str], Job]) -> bool:
        """To be called often; True when there is nothing more to see."""
        now = time.monotonic()
        if not self.returning:
            if now >= self.left_at + self.absence_s:
                for viewer in self.viewers:
                    viewer.sizes = viewer.sizes_now()
                self.publisher, self.returning = publish(self.url), True
            return False
        if self.returned_at is None:
            if _is_connected(self.publisher):
                self.returned_at = now
            return False
        for viewer in self.viewers:
            if viewer.seconds is None and viewer.has_media():
                viewer.seconds = now - self.returned_at
        return all(viewer.seconds is not None for viewer in self.viewers) or (
            now > self.returned_at + PATIENCE_S
        )


def _is_connected(job: Job) -> bool:
    assert job.running, f"a publisher that returned has ended: {job.log_text()}"
    return any(
        each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(job.pid).net_connections("tcp")
    )


@pytest.fixture(scope="module")
def absences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Absence]]:
    if peer_nginx.version() is None or peer_node_media_server.version() is None:
        pytest.skip("needs both relays: nginx libnginx-mod-rtmp, node-media-server (npm)")
    directory = tmp_path_factory.mktemp("absence")
    clip = directory / "clip.flv"
    make_clip(clip, seconds=CLIP_S)
    edge = Edge(["--workers", "2"], directory / "edge.log")
    benches: list[Workbench] = []

    def make_bench(name: str) -> Workbench:
        place = directory / name
        place.mkdir()
        benches.append(Workbench(place, clip))
        return benches[-1]

    try:
        edge.wait_ready()
        origin_port, _ = peer_nginx.serve(make_bench("origin"))
        pulled = {
            "ours": lambda: edge.metrics().total("players") >= len(ABSENCES_S),
            "nginx-rtmp": lambda: True,  # its headers come with the next frame, not with the answer
        }
        found = []
        for origin, port in (("ours", edge.port), ("nginx-rtmp", origin_port)):
            urls = {each: f"rtmp://127.0.0.1:{port}/live/absence-{each}" for each in ABSENCES_S}
            found += _start(origin, urls, pulled[origin], make_bench)
        _leave(found)
        peers = make_bench("returned")
        _watch(found, lambda url: peer_ffmpeg.publish(peers, url))
        yield found
        for bench in benches:
            bench.end()
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        for bench in benches:
            bench.end()
        edge.kill()


def _start(
    origin: str, urls: dict[int, str], pulled: Callable[[], bool], make_bench: Callable[[str], Workbench]
) -> list[Absence]:
    """Relays, publishers and viewers.

    node-media-server begins to pull before there is anything: it loses what comes in one read with the
    answer to its play, and that may be the headers of a stream that is there already.
    """
    peers = make_bench(f"peers-of-{origin}")
    ports = {
        "nginx-rtmp": peer_nginx.serve(make_bench(f"nginx-at-{origin}"), *urls.values())[0],
        "node-media-server": peer_node_media_server.pull(make_bench(f"nms-at-{origin}"), *urls.values()),
    }
    wait_until(pulled, f"node-media-server to pull from {origin}", 15)
    publishers = {each: peer_ffmpeg.publish(peers, url) for each, url in urls.items()}
    found = []
    for absence_s, url in urls.items():
        name = url.rpartition("/")[2]
        viewers = []
        for relay, port in ports.items():
            output = peer_ffmpeg.play(peers, f"rtmp://127.0.0.1:{port}/live/{name}")
            viewers.append(Viewer(relay, peers.jobs[-1], output))
        found.append(Absence(origin, absence_s, url, publishers[absence_s], viewers))
    return found


def _watch(found: list[Absence], publish: Callable[[str], Job]) -> None:
    """Until every publisher is back, and its viewers have media or had the time for it."""

    def over() -> bool:
        done = [absence.look(publish) for absence in found]
        return all(done)

    wait_until(over, "the publishers' return", max(ABSENCES_S) + PATIENCE_S + 10)


def _leave(found: list[Absence]) -> None:
    """All publishers, as an encoder does that is told to stop, once every viewer has media."""
    for absence in found:
        for viewer in absence.viewers:
            what = f"media of {absence.origin} behind {viewer.relay}"
            wait_until(viewer.has_media, what, 15)
    for absence in found:
        absence.publisher.ask_to_end()
    for absence in found:
        assert absence.publisher.wait(5) is not None, "a publisher does not end"
        absence.left_at = time.monotonic()


@pytest.mark.parametrize("absence_s", ABSENCES_S)
@pytest.mark.parametrize("relay", RELAYS)
def test_viewers_behind_a_relay_have_media_when_the_publisher_returns(
    relay: str, absence_s: int, absences: list[Absence], absence_table: AbsenceTable
) -> None:
    viewers = {
        absence.origin: viewer
        for absence in absences if absence.absence_s == absence_s
        for viewer in absence.viewers if viewer.relay == relay
    }  # fmt: skip
    waits = {origin: viewer.seconds for origin, viewer in viewers.items()}
    absence_table.note(relay, absence_s, waits["ours"], waits["nginx-rtmp"])
    ours = viewers["ours"]
    assert ours.seconds is not None, f"no media; with nginx-rtmp as origin: {waits}; {ours.job.log_text()}"
    assert ours.seconds <= LIMIT_S, f"late; with nginx-rtmp as origin: {waits}"
