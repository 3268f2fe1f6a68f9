"""HLS without an owner, and players of FLV: two nodes of two workers each, every worker asked by itself."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cluster.core.media.flv import FlvReader
from cluster.core.message import MessageType
from support.cluster_process import Edge, StartEdge, StartRouter, kill_worker
from support.ffmpeg import Ffmpegs
from support.hls_checker import parse
from support.hls_watcher import HlsWatcher
from support.http_workers import WorkerClient, connect
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, GOP_FRAMES, Peers, read_frame

SEGMENT_S = GOP_FRAMES / FRAMES_PER_SECOND
LENGTH_S = 60.0
#: A late worker begins with this many segments behind it.
MISSED = 4
READY_S = 120.0
RETURNED = 100 * GOP_FRAMES


class Place(NamedTuple):
    """One worker of one node."""

    edge: Edge
    worker: int


Watch = Callable[[Place, str], HlsWatcher]


@pytest.fixture
def places(start_edge: StartEdge, start_router: StartRouter) -> list[Place]:
    """The four workers, those of the first node first."""
    router = start_router()
    options = ["--workers", "2", "--router", router, "--http", "127.0.0.1:0"]
    edges = [start_edge(*options) for _ in range(2)]
    return [Place(edge, worker) for edge in edges for worker in edge.workers().values()]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Starts watchers; all are stopped with the test, which fails if one of them did."""
    started: list[HlsWatcher] = []

    def start(place: Place, key: str) -> HlsWatcher:
        started.append(HlsWatcher(*place, key))
        return started[-1]

    yield start
    for watcher in started:
        watcher.stop()


def test_every_worker_of_every_node_makes_the_same_bytes(
    places: list[Place], watch: Watch, ffmpegs: Ffmpegs, clip: Path
) -> None:
    early = [watch(place, "live/everywhere") for place in places[:-1]]
    ffmpegs.publish(clip, places[0].edge.url("everywhere"), loop=True)
    _wait_for_segments(early, MISSED + 1)
    late = watch(places[-1], "live/everywhere")
    _wait_for_segments([*early, late], round(LENGTH_S / SEGMENT_S) - MISSED)
    _wait_for_segments(early, round(LENGTH_S / SEGMENT_S))
    for watcher in (*early, late):
        watcher.stop()

    files = _all_files([*early, late])
    most = set.intersection(*(set(watcher.files) for watcher in early))
    assert len(most) > 0.95 * len(files), "the early ones have all but what is of the last moment"
    assert len(_same_lists(early)) > LENGTH_S, "lists that can be compared"
    first, behind = early[0].segments[0], late.segments[0]
    assert behind >= first + MISSED
    assert late.segments == list(range(behind, late.segments[-1] + 1))
    # Its lists are shorter until the others have left out what it has not heard, and else the same.
    common = (late.lists.keys() & early[0].lists.keys()) - {""}
    assert len(common) > (LENGTH_S - (MISSED + 1) * SEGMENT_S) / 2, "lists that can be compared"
    for part in common:
        short, whole = parse(late.lists[part]), parse(early[0].lists[part])
        assert short.segments == whole.segments[-len(short.segments) :]
        assert short.media_sequence == max(behind, whole.media_sequence)
        assert short.partial == whole.partial


def test_who_meets_a_worker_without_the_segment_is_sent_on_to_one_that_has_it(
    places: list[Place], watch: Watch, ffmpegs: Ffmpegs, clip: Path
) -> None:
    knows, other = places[:2]
    watcher = watch(knows, "live/sent-on")
    ffmpegs.publish(clip, knows.edge.url("sent-on"), loop=True)
    _wait_for_segments([watcher], 2)
    watcher.stop()
    name = f"{watcher.segments[0]}.m4s"
    with contextlib.closing(WorkerClient(*other)) as client:
        sent_on = client.get(f"/live/sent-on/{name}")
    assert sent_on.status == 307
    with contextlib.closing(WorkerClient(*knows)) as client:
        assert client.get(f"/live/sent-on/{sent_on.location}").body == watcher.files[name]


def test_a_publisher_that_returns_continues_the_numbers_wherever_it_returns(
    places: list[Place], watch: Watch, ffmpegs: Ffmpegs, clip: Path
) -> None:
    watchers = [watch(place, "live/returning") for place in places]
    near, far = places[0].edge, places[-1].edge
    for index, edge in enumerate((near, near, far)):
        publisher = ffmpegs.publish(clip, edge.url("returning"), loop=True)
        _wait_for_segments(watchers, 3 * (index + 1))
        publisher.end()
    for watcher in watchers:
        watcher.stop()
        _assert_continues(watcher, returns=2)
    _all_files(watchers)
    assert _same_lists(watchers)


@pytest.mark.parametrize("back", ["same node", "other node"])
def test_players_go_on_when_the_publishers_worker_is_killed(
    back: str, places: list[Place], watch: Watch, peers: Peers
) -> None:
    doomed, *others = places
    watchers = [watch(place, "live/killed") for place in others]
    peers.publish(doomed.edge, "killed", worker=doomed.worker)
    with contextlib.ExitStack() as stack:
        players = [stack.enter_context(FlvPlayer(place, "live/killed")) for place in others]
        lost = stack.enter_context(FlvPlayer(doomed, "live/killed"))
        for player in (*players, lost):
            wait_until(lambda p=player: len(p.frames) > FRAMES_PER_SECOND, "a second of frames")
        _wait_for_segments(watchers, 2)

        kill_worker(doomed.worker)
        wait_until(lambda: lost.closed, "the killed worker's own player to see its connection close")
        again = others[0] if back == "same node" else others[-1]
        peers.publish(again.edge, "killed", worker=again.worker, first_sequence=RETURNED)

        for player in players:
            wait_until(
                lambda p=player: p.frames[-1][0] >= RETURNED + FRAMES_PER_SECOND, "the returned frames", 60
            )
            assert not player.closed
            stamps = [timestamp for _, timestamp in player.frames]
            assert stamps == sorted(stamps)
            steps = itertools.pairwise(sequence for sequence, _ in player.frames)
            gaps = [after for before, after in steps if after != before + 1]
            assert gaps == [RETURNED], "one gap, between the two publishers"
        _wait_for_segments(watchers, 5)
    for watcher in watchers:
        watcher.stop()
        _assert_continues(watcher, returns=1)
    _all_files(watchers)
    assert _same_lists(watchers)


class FlvPlayer:
    """Plays ``key`` as HTTP-FLV from one worker, in a thread; ``frames``: sequence number, timestamp."""

    def __init__(self, place: Place, key: str) -> None:
        self.frames: list[tuple[int, int]] = []
        self.closed = False
        self._connection = connect(*place)
        self._connection.request("GET", f"/{key}.flv")
        self._socket = self._connection.sock
        self._thread = threading.Thread(target=self._run, name=f"{key} at {place.worker}", daemon=True)

    def __enter__(self) -> FlvPlayer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(2)
        self._thread.join(30)
        self._connection.close()

    def _run(self) -> None:
        reader = FlvReader()
        with contextlib.suppress(OSError):
            answer = self._connection.getresponse()
            while answer.status == 200 and (data := answer.read1(1 << 16)):
                for message in reader.feed(data):
                    frame = read_frame(message.payload) if message.type_id == MessageType.VIDEO else None
                    if frame is not None:
                        self.frames.append((frame[1], message.timestamp))
        self.closed = True


def _wait_for_segments(watchers: list[HlsWatcher], count: int) -> None:
    def all_have() -> bool:
        assert not any(watcher.failure for watcher in watchers), [each.failure for each in watchers]
        return all(len(watcher.segments) >= count for watcher in watchers)

    wait_until(all_have, f"{count} segments from every worker", READY_S)


def _all_files(watchers: list[HlsWatcher]) -> dict[str, bytes]:
    """All that was fetched, by name: of one name, every worker must have given the same bytes."""
    files: dict[str, bytes] = {}
    for watcher in watchers:
        for name, data in watcher.files.items():
            assert files.setdefault(name, data) == data, name
    return files


def _same_lists(watchers: list[HlsWatcher]) -> set[str]:
    """Before which parts all of them were given a list: it must have been the same."""
    common = set.intersection(*(set(watcher.lists) for watcher in watchers)) - {""}
    for part in common:
        assert len({watcher.lists[part] for watcher in watchers}) == 1, part
    return common


def _assert_continues(watcher: HlsWatcher, returns: int) -> None:
    """Its segments' numbers rise by one, and as many of them as ``returns`` follow a discontinuity."""
    numbers = watcher.segments
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    listed = {each.number: each for parsed in watcher.parsed for each in parsed.segments}
    assert [listed[number].uri for number in numbers] == [f"{number}.m4s" for number in numbers]
    marked = [number for number in numbers if listed[number].is_discontinuous]
    assert len([number for number in marked if number != numbers[0]]) == returns
