"""Strangers' players play from us over HTTP, in every form; every packet is compared with the source."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import peer_pyav
import pytest
from http_matrix import FORMS, HTTP_ROWS, Form, HttpRow
from http_table import HttpTable, compare_http
from interop_cluster import Clips
from table import Cell
from workbench import CLIP_S, Hashes, Job, Workbench

from support.cluster_process import ROOT, Edge
from support.ffmpeg import GOP_FRAMES
from support.http_workers import WorkerClient, asked_of_every_worker
from support.polling import wait_until

JOIN_TIMEOUT_S = 40.0
CLIP_TIMEOUT_S = CLIP_S + 20.0
#: Players of HLS look for the end of the list once in a target duration.
END_TIMEOUT_S = 20.0
GRACE_S = 0.5

MakeBench = Callable[[str, Path], Workbench]


@pytest.fixture(scope="module")
def http_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A node of two workers, which of them serves whom is not known."""
    directory = tmp_path_factory.mktemp("http")
    options = ["--workers", "2", "--http", "127.0.0.1:0", "--play-wait", "60"]
    edge = Edge([*options, "--publish-grace", str(GRACE_S)], directory / "edge.log")
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


@pytest.mark.parametrize("row", HTTP_ROWS, ids=lambda row: f"{row.peer}: {row.media.name}")
def test_every_packet_arrives_over_http(
    row: HttpRow, http_edge: Edge, clips: Clips, make_bench: MakeBench, http_table: HttpTable,
    tmp_path: Path,
) -> None:  # fmt: skip
    if row.version() is None:
        pytest.skip(f"{row.peer} is not installed: {row.packages}")
    cells = http_table.add(row)
    clip = clips.of(row.media)
    source = row.hashes(clip if row.media.reference == "system" else peer_pyav.hashes_file(clip))
    assert len(source["video0"]) >= 2 * GOP_FRAMES, "too little to show anything"
    bench = make_bench("bench", clip)
    name = f"clip-{HTTP_ROWS.index(row)}"
    with asked_of_every_worker(http_edge, f"/live/{name}.m3u8"):
        written = _start_playing(row, http_edge, bench, name)
        assert _publish(bench, http_edge.url(name)).wait(CLIP_TIMEOUT_S) == 0, bench.jobs[-1].log_text()
        segments = _segments(http_edge, name, tmp_path)
    wait_until(lambda: not any(job.running for job in bench.jobs), "the players to end", END_TIMEOUT_S)

    for form, output in written.items():
        cells[form] = compare_http(source, row.hashes(output), row.own_losses.get(form))
    for form, reason in row.why_not.items():
        cells[form] = Cell("–", reason)
    cells["segments"] = Cell("–") if row.probe is None else _each_alone(row.probe, source, segments)
    bad = {column: cell.note for column, cell in cells.items() if cell.mark == "no"}
    assert not bad, f"{bad}\n" + "\n".join(f"{job.command}: {job.log_text()}" for job in bench.jobs)


def _start_playing(row: HttpRow, edge: Edge, bench: Workbench, name: str) -> dict[Form, Path]:
    """The peer plays every form that it can, and waits for the stream; the test waits for it."""
    before = _waiting(edge)
    forms = [form for form in FORMS if form not in row.why_not]
    base = f"http://127.0.0.1:{edge.http_port}/live/{name}"
    written: dict[Form, Path] = {form: row.play(bench, f"{base}.{form}") for form in forms}
    wait_until(lambda: _waiting(edge) >= before + len(forms), "the players to wait", JOIN_TIMEOUT_S)
    return written


def _waiting(edge: Edge) -> float:
    metrics = edge.metrics()
    return metrics.total("http_players") + metrics.total("hls_waiting")


def _publish(bench: Workbench, url: str) -> Job:
    """This project's own client, which knows every codec of FLV."""
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "cluster", "publish"]
    return bench.spawn("publish", [*command, str(bench.clip), url])


def _segments(edge: Edge, name: str, directory: Path) -> list[Path]:
    """Every segment of the stream, now over, as a file with its init segment in front; each worker must
    have the same."""
    found: list[list[bytes]] = []
    for worker in edge.workers().values():
        client = WorkerClient(edge, worker)
        text = _ended_list(client, name)
        files = re.findall(r"^(?:#EXT-X-MAP:URI=\"(.*)\"|([^#].*))$", text, re.MULTILINE)
        init, made = b"", []
        for init_name, segment_name in files:
            answer = client.get(f"/live/{name}/{init_name or segment_name}")
            assert answer.status == 200, answer
            if init_name:
                init = answer.body
            else:
                made.append(init + answer.body)
        found.append(made)
        client.close()
    assert found[0] == found[1]
    assert len(found[0]) >= 2
    paths = [directory / f"{number}.mp4" for number in range(len(found[0]))]
    for path, data in zip(paths, found[0], strict=True):
        path.write_bytes(data)
    return paths


def _ended_list(client: WorkerClient, name: str) -> str:
    def ended() -> str | None:
        text = client.get(f"/live/{name}/media.m3u8").body.decode()
        return text if "#EXT-X-ENDLIST" in text else None

    return wait_until(ended, "the list to end", CLIP_TIMEOUT_S) or ""


def _each_alone(probe: Callable[[Path], Hashes], source: Hashes, segments: list[Path]) -> Cell:
    got: Hashes = {name: [] for name in source}
    for segment in segments:
        for name, digests in probe(segment).items():
            got.setdefault(name, []).extend(digests)
    return compare_http(source, got, None)
