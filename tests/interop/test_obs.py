"""OBS publishes, and what players get is compared with what OBS recorded of the same packets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import peer_obs
import psutil
import pytest
from interop_cluster import Clips, Cluster
from matrix import H264_AAC, Direction, Row, Scheme, Worker
from table import Cell, Table, compare_part
from workbench import Job, Workbench, hashes_of

from support.cluster_process import Edge, kill_worker
from support.polling import wait_until

#: OBS starts, and draws and encodes without a graphics card.
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 30.0
#: How much of a stream is compared: several groups of pictures.
SECONDS = 6
#: OBS tries again 1 s after its connection broke; the worker is back by then.
RETURN_TIMEOUT_S = 20.0
#: The kernel deals connections to the workers by a hash of their ports.
MAX_PLAYERS = 12
_SOUNDS_PER_SECOND = 44100 / 1024

MakeBench = Callable[[str, Path], Workbench]
Cells = dict[tuple[Direction, Scheme, Worker], Cell]

ROW = Row(
    "OBS Studio", H264_AAC, "obs-studio xvfb", peer_obs.version,
    why_not={"play": "an encoder"},
)  # fmt: skip
NO_TRUST = "not tried: OBS trusts the system's authorities alone, and the test may not mount others for it"

pytestmark = pytest.mark.skipif(peer_obs.version() is None, reason=f"OBS is not installed: {ROW.packages}")


@dataclass(frozen=True, slots=True)
class Player:
    """FFmpeg, which records what it gets."""

    job: Job
    file: Path

    def frames(self) -> list[bool]:
        """Of each frame of the picture so far, whether it is a keyframe."""
        return [flags.startswith("K") for flags in self._flags("v")]

    def sounds(self) -> int:
        return len(self._flags("a"))

    def _flags(self, kind: str) -> list[str]:
        done = subprocess.run(
            ["ffprobe", "-loglevel", "quiet", "-select_streams", kind, "-show_entries", "packet=flags",
             "-of", "csv=p=0", str(self.file)],
            stdout=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout.split()


def play(bench: Workbench, url: str) -> Player:
    file = bench.path("player.flv")
    return Player(bench.spawn("ffmpeg-play", [
        "ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", "-y", "-i", url,
        "-c", "copy", "-flush_packets", "1", str(file),
    ]), file)  # fmt: skip


@pytest.fixture(scope="module")
def cells(table: Table) -> Cells:
    """Of the row of OBS, which stands in the table from now on."""
    version = peer_obs.version()
    assert version is not None
    found = table.add(ROW, version).cells
    for scheme in ("rtmp", "rtmps"):
        for worker in ("same", "other"):
            found["play", scheme, worker] = Cell("–", ROW.why_not["play"])
    return found


@pytest.mark.parametrize("scheme", ["rtmp", "rtmps"])
def test_players_get_what_obs_encoded(
    scheme: Scheme, cluster: Cluster, clips: Clips, make_bench: MakeBench, cells: Cells
) -> None:
    workers: tuple[Worker, Worker] = ("same", "other")
    if scheme == "rtmps" and not peer_obs.may_trust():
        cells.update({("publish", scheme, worker): Cell("–", NO_TRUST) for worker in workers})
        pytest.skip(NO_TRUST)
    bench = make_bench("bench", clips.of(H264_AAC))
    wait_until(lambda: cluster.total("players") == 0, "an earlier row's players to be gone", END_TIMEOUT_S)
    key = f"obs-{scheme}"
    players = {worker: play(bench, cluster.url(key, "rtmp", worker)) for worker in workers}
    wait_until(lambda: cluster.total("players") == 2, "the players to wait", END_TIMEOUT_S)

    obs = _start_obs(bench, cluster.same, scheme, key, cluster.certificate)
    _wait_for_frames(obs, list(players.values()), SECONDS)
    obs.end()
    wait_until(lambda: not any(player.job.running for player in players.values()), "the end", END_TIMEOUT_S)

    encoded = peer_obs.recorded(bench)
    for worker, player in players.items():
        cells["publish", scheme, worker] = compare_part(encoded, hashes_of(player.file))
    shown = {worker: cells["publish", scheme, worker] for worker in workers}
    assert all(cell.mark == "yes" for cell in shown.values()), f"{shown}\n{obs.log_text()}"
    for player in players.values():
        _check_keyframes(player.frames())
        assert player.sounds() > 0.8 * SECONDS * _SOUNDS_PER_SECOND


def test_obs_returns_to_its_players_after_the_death_of_its_worker(
    clips: Clips, make_bench: MakeBench, node: Edge
) -> None:
    bench = make_bench("bench", clips.of(H264_AAC))
    obs = _start_obs(bench, node, "rtmp", "obs")
    wait_until(lambda: node.metrics().total("publishers") == 1, "OBS to publish", START_TIMEOUT_S)
    worker = node.owner_of(_port_of(obs, node))
    assert worker is not None
    player = _play_on_another(bench, node, worker)
    _wait_for_frames(obs, [player], SECONDS)

    kill_worker(worker)
    wait_until(lambda: len(node.workers()) == 2 and worker not in node.workers().values(), "a new worker")
    wait_until(lambda: node.metrics().total("publishers") == 1, "OBS to return", RETURN_TIMEOUT_S)
    enough = len(player.frames()) + SECONDS * peer_obs.FRAMES_PER_SECOND
    wait_until(lambda: len(player.frames()) >= enough, "the player to have more", RETURN_TIMEOUT_S)
    # While it gets something: FFmpeg does not hear that it should end while it waits for more.
    player.job.ask_to_end()
    wait_until(lambda: not player.job.running, "the player to end", END_TIMEOUT_S)
    obs.end()

    encoded, got = peer_obs.recorded(bench), hashes_of(player.file)
    returned = _in_common(encoded["video0"], got["video0"])
    assert player.frames()[returned], "it goes on with a keyframe"
    # Into the first picture of each connection OBS writes how it encodes; in the recording that stands in
    # the first of all. Of the sound a little less than what came since then.
    sounds = round(0.8 * SECONDS * _SOUNDS_PER_SECOND)
    after = {"video0": got["video0"][returned + 1 :], "audio0": got["audio0"][-sounds:]}
    shown = compare_part(encoded, after)
    assert shown.mark == "yes", f"{shown}\n{obs.log_text()}"


def _in_common(encoded: list[str], got: list[str]) -> int:
    """How many packets the player got before the first that it missed."""
    begun = encoded[encoded.index(got[0]) :]
    return next(count for count, (theirs, its) in enumerate(zip(begun, got, strict=False)) if theirs != its)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Edge]:
    """Two workers; players are kept while their publisher is away."""
    edge = Edge(["--workers", "2"], tmp_path / "edge.log")
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


def _start_obs(
    bench: Workbench, edge: Edge, scheme: Scheme, key: str, certificate: Path | None = None
) -> Job:
    """By name: OBS does not look for addresses in certificates."""
    port = edge.tls_port if scheme == "rtmps" else edge.port
    trusted = certificate if scheme == "rtmps" else None
    return peer_obs.publish(bench, f"{scheme}://localhost:{port}/live", key, trusted)


def _wait_for_frames(obs: Job, players: list[Player], seconds: float) -> None:
    def enough() -> bool:
        assert obs.running, f"OBS ended: {obs.log_text()}"
        return all(len(player.frames()) >= seconds * peer_obs.FRAMES_PER_SECOND for player in players)

    wait_until(enough, f"{seconds} s of OBS's stream", START_TIMEOUT_S)


def _check_keyframes(frames: list[bool]) -> None:
    """It begins with one, and so does each group of pictures."""
    every = peer_obs.KEYFRAME_EVERY_S * peer_obs.FRAMES_PER_SECOND
    at = [number for number, is_keyframe in enumerate(frames) if is_keyframe]
    assert at == list(range(0, len(frames), every))


def _port_of(job: Job, edge: Edge) -> int:
    """Our side of its connection to the edge."""
    return next(
        connection.laddr.port
        for connection in psutil.Process(job.pid).net_connections("tcp")
        if connection.raddr and connection.raddr.port == edge.port
    )


def _play_on_another(bench: Workbench, edge: Edge, worker: int) -> Player:
    """A player that another worker serves."""
    for count in range(1, MAX_PLAYERS + 1):
        player = play(bench, edge.url("obs"))
        wait_until(lambda: edge.metrics().total("players") == 1, f"player {count} to play", END_TIMEOUT_S)
        if edge.owner_of(_port_of(player.job, edge)) != worker:
            return player
        player.job.end()
        wait_until(lambda: edge.metrics().total("players") == 0, f"player {count} to go", END_TIMEOUT_S)
    raise AssertionError(f"{MAX_PLAYERS} players in a row came to the same worker")
