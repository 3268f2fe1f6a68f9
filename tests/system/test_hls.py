"""HLS of two nodes with two workers each: viewers of all four are given the same."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path

import pytest

from support.cluster_process import Edge, StartEdge, StartRouter
from support.ffmpeg import Ffmpegs, make_clip
from support.hls_checker import Checker, Listed, Parsed, parse
from support.polling import wait_until

WATCHED_S = 24
LISTS_BEFORE = 25
CLIP_S = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hls-clip") / "clip.flv"
    make_clip(path, seconds=CLIP_S)
    return path


class Viewer(threading.Thread):
    """A player of low latency on one connection, and so at one worker.

    ``lists``: all it was given; ``files``: all they name; ``refused``: what was not answered with 200.
    """

    def __init__(self, edge: Edge, others: set[int | None]) -> None:
        super().__init__(name="viewer", daemon=True)
        while True:  # until it is at a worker where none of the others is
            self._connection = http.client.HTTPConnection("127.0.0.1", edge.http_port, timeout=60)
            self._connection.connect()
            self.worker = edge.owner_of(self._connection.sock.getsockname()[1])
            if self.worker is not None and self.worker not in others:
                break
            self._connection.close()
        self.lists: list[str] = []
        self.files: dict[str, bytes] = {}
        self.refused: list[tuple[str, int]] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._watch(time.monotonic() + WATCHED_S)
        except BaseException as error:
            self.error = error
        finally:
            self._connection.close()

    def _watch(self, until: float) -> None:
        self._get("/live/clip.m3u8")
        path = "/live/clip/media.m3u8"
        while time.monotonic() < until:
            text = self._get(path).decode()
            if not text:
                continue
            self.lists.append(text)
            listed = parse(text)
            self._fetch(listed)
            number, part = listed.segments[-1].number + 1, 0
            if listed.partial is not None:
                part = len(listed.partial.parts)
            path = f"/live/clip/media.m3u8?_HLS_msn={number}&_HLS_part={part}"

    def _fetch(self, listed: Parsed) -> None:
        partial = [listed.partial] if listed.partial is not None else []
        for each in [*listed.segments[-2:], *partial]:
            for name in (each.init, each.uri, *(uri for uri, *_ in each.parts)):
                if name and name not in self.files:
                    self.files[name] = self._get(f"/live/clip/{name}")

    def _get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            self.refused.append((path, answer.status))
            return b""
        return body


def test_all_workers_of_all_nodes_make_the_same_of_a_stream(
    start_edge: StartEdge, start_router: StartRouter, ffmpegs: Ffmpegs, clip: Path
) -> None:
    router = start_router()
    options = ["--workers", "2", "--router", router, "--http", "127.0.0.1:0"]
    edges = [start_edge(*options) for _ in range(2)]
    first = ffmpegs.publish(clip, edges[0].url("clip"), loop=True)
    viewers: list[Viewer] = []
    for edge in edges:
        here: set[int | None] = set()
        for _ in range(2):
            viewers.append(Viewer(edge, here))
            here.add(viewers[-1].worker)
    for viewer in viewers:
        viewer.start()
    wait_until(lambda: all(len(each.lists) > LISTS_BEFORE for each in viewers), "the viewers to watch", 60)
    first.end()
    ffmpegs.publish(clip, edges[1].url("clip"), loop=True)  # and goes on from another node
    for viewer in viewers:
        viewer.join(2 * WATCHED_S)
        assert viewer.error is None
        assert not viewer.refused
    segments: dict[int, Listed] = {}
    files: dict[str, bytes] = {}
    for viewer in viewers:
        checker = Checker()
        for text in viewer.lists:
            checker.check(text)
        assert checker.count > WATCHED_S
        for number, listed in checker.seen.items():
            known = segments.setdefault(number, listed)
            assert (known.init, known.duration, known.date) == (listed.init, listed.duration, listed.date)
        for name, data in viewer.files.items():
            assert files.setdefault(name, data) == data, name
    assert sum(each.is_discontinuous for each in segments.values()) == 2
    assert sorted(segments) == list(range(min(segments), max(segments) + 1))
