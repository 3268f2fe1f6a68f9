"""HTTP/2 from a whole node, over TLS: curl takes HLS and media without end, with the workers it finds."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from cluster.core.media.flv import FlvReader
from support.cluster_process import Edge, StartEdge
from support.ffmpeg import Ffmpegs, hashes_of_file, make_clip
from support.h2_client import H2Client
from support.hls_checker import parse
from support.polling import wait_until
from support.tls import CertificateFiles, make_certificate

CLIP_S = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("h2-clip") / "clip.flv"
    make_clip(path, seconds=CLIP_S)
    return path


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path)


@pytest.fixture(autouse=True)
def _curl_speaks_it() -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")


def curl(files: CertificateFiles, urls: Sequence[str], *options: str) -> list[tuple[str, int, bytes]]:
    """What curl got for each: the version of HTTP, the status, and the body. All on one connection."""
    command = ["curl", "--silent", "--show-error", "--http2", "--cacert", str(files.cert)]
    command += ["--max-time", "60", "--write-out", "\\n#curl %{http_version} %{http_code}\\n"]
    command += [*options, *urls]
    said = subprocess.run(command, capture_output=True, check=True, timeout=90).stdout
    parts = re.split(rb"\n#curl (\S+) (\d+)\n", said)
    places = range(0, len(parts) - 1, 3)
    return [(parts[each + 1].decode(), int(parts[each + 2]), parts[each]) for each in places]


def publishing(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path
) -> tuple[Edge, str]:
    """An edge, of which a stream has begun, and where it serves HTTPS."""
    edge = start_edge("--workers", "2", "--http-tls", "127.0.0.1:0", *files.options)
    ffmpegs.publish(clip, edge.url("clip"), loop=True)
    wait_until(lambda: edge.events("publish"), "the stream to begin")
    return edge, str(edge.ready["https_addresses"][0])


def test_curl_takes_hls(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path
) -> None:
    _, server = publishing(start_edge, ffmpegs, files, clip)
    [(version, status, master)] = curl(files, [f"{server}/live/clip.m3u8"])
    assert (version, status) == ("2", 200)
    assert b"clip/media.m3u8" in master
    [(_, _, text)] = curl(files, [f"{server}/live/clip/media.m3u8"], "--location")
    listed = parse(text.decode())
    number = listed.segments[-1].number + 1
    waits = f"{server}/live/clip/media.m3u8?_HLS_msn={number}&_HLS_part=1"
    names = [listed.segments[-1].init, listed.segments[-1].uri]
    urls = [waits, f"{server}/live/clip/{number}.2.m4s", *(f"{server}/live/clip/{name}" for name in names)]
    got = curl(files, urls, "--location")
    assert [(version, status) for version, status, _ in got] == [("2", 200)] * 4
    assert f"{number}.0.m4s" in got[0][2].decode()
    assert got[1][2][4:8] == b"moof"
    assert got[2][2][4:8] == b"ftyp"
    assert len(got[3][2]) > 10_000


def test_media_without_end(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path
) -> None:
    _, server = publishing(start_edge, ffmpegs, files, clip)
    command = ["curl", "--silent", "--http2", "--cacert", str(files.cert), "--max-time", "8"]
    taken = subprocess.run([*command, f"{server}/live/clip.flv"], capture_output=True, timeout=60)
    assert taken.returncode == 28, taken.stderr  # the time was over
    messages = FlvReader().feed(taken.stdout)
    assert sum(each.type_id == 9 for each in messages) > 60


def test_ffmpeg_plays_over_tls(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path
) -> None:
    """It speaks HTTP/1.1 there, as who asks for nothing else is answered."""
    source = hashes_of_file(clip, clip.with_name("source"))
    edge = start_edge("--workers", "2", "--http-tls", "127.0.0.1:0", *files.options)
    server = edge.ready["https_addresses"][0]
    player = ffmpegs.play(f"{server}/live/clip.flv")
    wait_until(lambda: edge.metrics().total("http_players") == 1, "the player to wait")
    ffmpegs.publish(clip, edge.url("clip"))
    got = player.wait_for_last(source, CLIP_S + 30)
    assert [packet.digest for packet in got.video] == [packet.digest for packet in source.video]


class Viewers:
    """Players of low latency that share one connection, as the tabs of a browser do."""

    def __init__(self, client: H2Client, count: int) -> None:
        self._client = client
        self._count = count
        self.asked = 0
        self.parts_s: list[float] = []

    def watch(self, until: float) -> None:
        client, path, seen = self._client, "/live/clip/media.m3u8", set[str]()
        while time.monotonic() < until:
            got = client.wait(*(client.ask(path) for _ in range(self._count)))
            self.asked += len(got)
            assert {each.status for each in got} == {200}
            listed = parse(got[0].body.decode())
            parts = [] if listed.partial is None else [uri for uri, *_ in listed.partial.parts]
            number, part = listed.segments[-1].number + 1, len(parts)
            new = [name for name in [*parts, f"{number}.{part}.m4s"] if name not in seen]
            seen.update(new)
            asked = [client.ask(f"/live/clip/{name}") for name in new for _ in range(self._count)]
            self.asked += len(client.wait(*asked))
            assert {each.status for each in asked} == {200}
            self.parts_s += [each.took_s or 0.0 for each in asked[-self._count :]]
            path = f"/live/clip/media.m3u8?_HLS_msn={number}&_HLS_part={part}"


@pytest.mark.alone
def test_hundreds_of_requests_of_low_latency_at_once(
    start_edge: StartEdge, ffmpegs: Ffmpegs, files: CertificateFiles, clip: Path
) -> None:
    edge, server = publishing(start_edge, ffmpegs, files, clip)
    port = int(server.rpartition(":")[2])
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        make = partial(H2Client, port, files.client_context())
        clients = [stack.enter_context(contextlib.closing(make())) for _ in range(4)]
        assert {client.get("/live/clip.m3u8").status for client in clients} == {200}
        crowd = [Viewers(client, 6) for client in clients]
        until = time.monotonic() + 10
        for watched in [pool.submit(viewers.watch, until) for viewers in crowd]:
            watched.result(60)
        assert edge.metrics().total("http_connections") == len(crowd)
    assert sum(viewers.asked for viewers in crowd) > 800
    assert all(max(viewers.parts_s) < 1.0 for viewers in crowd)
    assert edge.metrics().total("hls_streams") <= 2


def agreed(port: int, files: CertificateFiles, *offered: str) -> str | None:
    """What the server picks of what is offered."""
    context = files.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as ready,
    ):
        return ready.selected_alpn_protocol()


def test_what_is_spoken_is_agreed_on_where_http_is(start_edge: StartEdge, files: CertificateFiles) -> None:
    options = ["--bind-tls", "127.0.0.1:0", "--http-tls", "127.0.0.1:0", *files.options]
    edge = start_edge("--workers", "1", *options)
    assert agreed(edge.https_port, files, "http/1.1", "h2") == "h2"
    assert agreed(edge.https_port, files, "http/1.1") == "http/1.1"
    assert agreed(edge.https_port, files, "spdy/3") is None
    assert agreed(edge.https_port, files) is None
    assert agreed(edge.tls_port, files, "h2", "http/1.1") is None


def test_a_drain_says_goodbye(start_edge: StartEdge, files: CertificateFiles) -> None:
    edge = start_edge("--workers", "1", "--http-tls", "127.0.0.1:0", *files.options)
    with contextlib.closing(H2Client(edge.https_port, files.client_context())) as client:
        assert client.get("/live/x").status == 200
        waiting = client.ask("/live/x.m3u8")
        wait_until(lambda: edge.metrics().total("hls_waiting") == 1, "the request to wait")
        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(edge.stop)
            client.wait(waiting)
            assert stopped.result(60) == 0
        assert waiting.status == 503
        assert client.wait_goodbye() == 0
