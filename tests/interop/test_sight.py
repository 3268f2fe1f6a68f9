"""What people type, at ours and at nginx-rtmp at the same time: each must see no worse at ours.

The same packets are not enough: a stream that is announced and never comes stops a recording for ever,
and no hash of a packet differs.

Some thirty programs run at once. On a machine that stands still for a second, one of them may see less at
either server. So what was worse at ours is shown once more, and counts if it is worse again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import peer_nginx
import pytest
from sight import Sight, differences
from sight_bench import Publishers, Server, Watched, wait_for_all
from sight_table import SightTable
from sight_tasks import TASKS, MediaKind, Stream, Task
from workbench import Workbench

from support.cluster_process import Edge
from support.polling import wait_until

#: Longer than any task takes, with those that wait for each other.
CLIP_S = 60
GOP_S = 2
#: A late joiner comes in the middle of the second group of pictures.
LATE_S = 1.5 * GOP_S

Joins = Literal["early", "late"]
#: How long both media of a stream go on of which one is gone then, and when it has been gone for a while.
BOTH_S, GONE_S = 2, 15
ONE_GONE: list[MediaKind] = ["audio, video gone", "video, audio gone"]
STREAMS: list[tuple[Stream, Joins]] = [
    *((Stream(media, metadata), joins)
      for media in ("both", "audio", "video") for metadata in (True, False) for joins in ("early", "late")),
    *((Stream(media, metadata=True), "late") for media in ONE_GONE),
]  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 and AAC, small, a keyframe every two seconds."""
    path = tmp_path_factory.mktemp("clip") / "clip.flv"
    source = f"size=320x180:rate=25:duration={CLIP_S}"
    command = [
        "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", f"testsrc2={source}",
        "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={CLIP_S}",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "300k",
        "-g", str(25 * GOP_S), "-c:a", "aac", "-b:a", "64k", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=120)
    return path


@pytest.fixture(scope="module")
def short_clips(clip: Path) -> dict[MediaKind, Path]:
    """The same clip with one medium that ends early."""
    paths: dict[MediaKind, Path] = {}
    for media, ends, lasts in zip(ONE_GONE, ("v", "a"), ("a", "v"), strict=True):
        paths[media] = clip.with_name(f"{lasts}.flv")
        command = [
            "ffmpeg", "-v", "error", "-nostdin", "-t", str(BOTH_S), "-i", str(clip), "-i", str(clip),
            "-map", f"0:{ends}", "-map", f"1:{lasts}", "-c", "copy", str(paths[media]),
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=60)
    return paths


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    edge = Edge(["--workers", "2"], tmp_path_factory.mktemp("edge") / "log")
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


@pytest.fixture
def servers(edge: Edge, make_bench: Callable[[str, Path], Workbench], clip: Path) -> tuple[Server, Server]:
    """Ours, and nginx-rtmp."""
    if peer_nginx.version() is None:
        pytest.skip("nginx-rtmp is not installed: nginx libnginx-mod-rtmp")
    port, pid = peer_nginx.serve(make_bench("nginx", clip))
    ours = Server("ours", f"rtmp://127.0.0.1:{edge.port}/live", lambda: list(edge.workers().values()))
    return ours, Server("nginx-rtmp", f"rtmp://127.0.0.1:{port}/live", lambda: [pid])


@pytest.mark.parametrize(
    ("stream", "joins"), STREAMS, ids=[f"{stream.name}, {joins}" for stream, joins in STREAMS]
)
def test_a_peer_sees_no_worse_than_at_nginx(
    stream: Stream, joins: Joins, servers: tuple[Server, Server], clip: Path,
    short_clips: dict[MediaKind, Path], tmp_path: Path, sights: SightTable,
) -> None:  # fmt: skip
    tasks = [task for task in TASKS if task.fits(stream)]
    source = short_clips.get(stream.media, clip)
    bad: dict[str, str] = {}
    for showing in ("first", "second"):
        name = f"{stream.name}-{joins}-{showing}".replace(",", "").replace(" ", "-")
        ours, theirs = _show(tasks, stream, joins, servers, name, source, tmp_path / showing)
        found = _compare(tasks, ours, theirs)
        bad = {label: worse for label, worse in found.items() if showing == "first" or label in bad}
        if not bad:
            break
        print(f"worse at ours, {showing} showing: {bad}")
    for task in tasks:
        sights.note(task.label, stream.name, same=task.label not in bad)
    assert not bad, "\n".join(f"{label}: {worse}" for label, worse in bad.items())


def _show(
    tasks: list[Task], stream: Stream, joins: Joins, servers: tuple[Server, Server], name: str,
    source: Path, directory: Path,
) -> tuple[list[Sight], list[Sight]]:  # fmt: skip
    """What the peers see at ours, and at nginx-rtmp."""
    directory.mkdir()
    watched: dict[str, list[Watched]] = {}
    publishers = None
    try:
        if joins == "early":
            before = [server.connections() for server in servers]
            watched = _start(tasks, stream, servers, name, directory)
            _wait_for_connections(servers, [count + len(tasks) for count in before])
        publishers = Publishers(source, stream, [f"{server.url}/{name}" for server in servers], directory)
        if joins == "late":
            _wait_for_media(publishers, GONE_S if stream.media in ONE_GONE else LATE_S)
            watched = _start(tasks, stream, servers, name, directory)
        wait_for_all(*watched.values())
        assert publishers.running(), "a publisher ended: the clip is too short, or it was refused"
        ours, theirs = ([each.sight(publishers.began_at) for each in some] for some in watched.values())
        return ours, theirs
    finally:
        for each in (each for some in watched.values() for each in some):
            each.end()
        if publishers is not None:
            publishers.end()


def _start(
    tasks: list[Task], stream: Stream, servers: tuple[Server, Server], name: str, directory: Path
) -> dict[str, list[Watched]]:
    """All of them on both servers."""
    watched: dict[str, list[Watched]] = {server.label: [] for server in servers}
    for number, task in enumerate(tasks):
        for server in servers:
            place = directory / server.label / str(number)
            watched[server.label].append(Watched(task, stream, server, name, place))
    return watched


def _wait_for_connections(servers: tuple[Server, Server], counts: list[int]) -> None:
    for server, count in zip(servers, counts, strict=True):
        what = f"{count} connections at {server.label}"
        wait_until(lambda s=server, n=count: s.connections() >= n, what, 20)


def _wait_for_media(publishers: Publishers, media_s: float) -> None:
    since = publishers.began_at
    wait_until(lambda: time.monotonic() - since >= media_s, f"{media_s:g} s of media", media_s + 5)


def _compare(tasks: list[Task], ours: list[Sight], theirs: list[Sight]) -> dict[str, str]:
    """By the labels of the tasks, what is worse at ours."""
    found = {
        task.label: "; ".join(differences(mine, other, task.least_share))
        for task, mine, other in zip(tasks, ours, theirs, strict=True)
    }
    return {label: worse for label, worse in found.items() if worse}
