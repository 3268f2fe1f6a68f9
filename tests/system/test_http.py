"""Playback over HTTP from a whole node: FFmpeg on every form, both workers, TLS, a drain."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest

from support.cluster_process import Edge, StartEdge, StartRouter
from support.ffmpeg import Ffmpegs, hashes_of_file, make_clip
from support.polling import wait_until
from support.tls import CertificateFiles, make_certificate

HTTP = ["--http", "127.0.0.1:0"]
CLIP_S = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("http-clip") / "clip.flv"
    make_clip(path, seconds=CLIP_S)
    return path


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path)


def address(edge: Edge, scheme: str = "http") -> str:
    return str(edge.ready[f"{scheme}_addresses"][0])


def status_of(edge: Edge, path: str) -> int:
    connection = http.client.HTTPConnection(address(edge).removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


def test_ffmpeg_plays_what_was_published(start_edge: StartEdge, ffmpegs: Ffmpegs, clip: Path) -> None:
    source = hashes_of_file(clip, clip.with_name("source"))
    edge = start_edge("--workers", "2", *HTTP)
    paths = ["clip.flv", "clip.flv?raw=1", "clip.mp4"] * 2  # of six, some come to either worker
    players = [ffmpegs.play(f"{address(edge)}/live/{path}") for path in paths]
    wait_until(lambda: edge.metrics().total("http_players") == len(players), "the players to wait")
    publisher = ffmpegs.publish(clip, edge.url("clip"))
    for path, player in zip(paths, players, strict=True):
        got = player.wait_for_last(source, CLIP_S + 30)
        assert [packet.digest for packet in got.video] == [packet.digest for packet in source.video], path
        assert [packet.digest for packet in got.audio] == [packet.digest for packet in source.audio], path
    assert publisher.wait(30) == 0
    assert edge.metrics().by("status", "http_requests_total") == {"200": len(players)}


def test_ffmpeg_plays_hls(start_edge: StartEdge, ffmpegs: Ffmpegs, clip: Path) -> None:
    edge = start_edge("--workers", "2", *HTTP, "--hls-segment", "0.5")
    ffmpegs.publish(clip, edge.url("clip"), loop=True)
    player = ffmpegs.play(f"{address(edge)}/live/clip.m3u8")
    wait_until(lambda: len(player.packets().video) > 100, "100 frames", 60)
    assert edge.metrics().total("hls_streams") >= 1


def test_https_with_the_certificate_of_rtmps(
    start_edge: StartEdge, ffmpegs: Ffmpegs, clip: Path, files: CertificateFiles
) -> None:
    edge = start_edge("--workers", "1", "--http-tls", "127.0.0.1:0", *files.options)
    assert address(edge, "https") in edge.ready["message"]
    ffmpegs.publish(clip, edge.url("clip"), loop=True)
    port = int(address(edge, "https").rpartition(":")[2])
    with urllib.request.urlopen(
        f"https://localhost:{port}/live/clip.flv", context=files.client_context(), timeout=30
    ) as answer:
        assert answer.status == 200
        assert len(answer.read(200_000)) == 200_000
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert plain.recv(1000).startswith(b"HTTP/1.1 400 ")
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection(("127.0.0.1", port)) as raw:
        ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")
    wait_until(
        lambda: edge.metrics().by("reason", "http_closes_total").keys() >= {"not_tls", "tls_failed"},
        "the refusals to be counted",
    )


def test_a_drain_ends_players_with_the_rest(start_edge: StartEdge, ffmpegs: Ffmpegs, clip: Path) -> None:
    edge = start_edge("--workers", "1", *HTTP)
    ffmpegs.publish(clip, edge.url("clip"), loop=True)
    with urllib.request.urlopen(f"{address(edge)}/live/clip.flv", timeout=30) as answer:
        assert answer.read(3) == b"FLV"
        assert edge.stop() == 0
        assert len(answer.read()) > 0
    reasons = [event["reason"] for event in edge.events("connection_closed")]
    assert "drained" in reasons


def test_bad_requests_and_silence_do_not_matter_to_others(start_edge: StartEdge) -> None:
    edge = start_edge("--workers", "1", *HTTP, "--handshake-timeout", "1")
    host, _, port = address(edge).removeprefix("http://").rpartition(":")
    silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(200)]
    assert status_of(edge, "/live/x") == 200
    assert status_of(edge, "/live/../x.flv") == 404
    for each in silent:
        assert each.recv(1) == b""
        each.close()
    wait_until(
        lambda: edge.metrics().by("reason", "http_closes_total").get("handshake_timeout") == len(silent),
        "the silent ones to be counted",
    )


def test_a_worker_that_serves_no_http_has_imported_none_of_it(start_edge: StartEdge) -> None:
    maps = {}
    for arguments in ([], HTTP):
        edge = start_edge("--workers", "1", *arguments)
        maps[bool(arguments)] = Path(f"/proc/{edge.workers()[0]}/maps").read_text()
        edge.stop()
    assert "httptools" not in maps[False]
    assert "httptools" in maps[True]



def test_every_node_answers(
    start_edge: StartEdge, start_router: StartRouter, ffmpegs: Ffmpegs, clip: Path
) -> None:
    """What is published on one node is played over HTTP from another, in every form."""
    source = hashes_of_file(clip, clip.with_name("source"))
    router = start_router()
    near, far = (start_edge("--workers", "1", "--router", router, *HTTP) for _ in range(2))
    players = [ffmpegs.play(f"{address(far)}/live/clip.{suffix}") for suffix in ("flv", "mp4")]
    wait_until(lambda: far.metrics().total("http_players") == len(players), "the players to wait")
    ffmpegs.publish(clip, near.url("clip"))
    for player in players:
        got = player.wait_for_last(source, CLIP_S + 30)
        assert [packet.digest for packet in got.video] == [packet.digest for packet in source.video]
        assert [packet.digest for packet in got.audio] == [packet.digest for packet in source.audio]


def test_every_node_makes_the_same_segments(
    start_edge: StartEdge, start_router: StartRouter, ffmpegs: Ffmpegs, clip: Path
) -> None:
    router = start_router()
    options = ["--workers", "1", "--router", router, *HTTP, "--hls-segment", "0.5"]
    near, far = (start_edge(*options) for _ in range(2))
    ffmpegs.publish(clip, near.url("clip"), loop=True)

    def segments(edge: Edge) -> set[str]:
        listed = fetched(edge, "/live/clip/media.m3u8").decode().splitlines()
        return {line for line in listed if line.endswith(".m4s")}

    common = wait_until(
        lambda: len(both := segments(near) & segments(far)) > 1 and both, "segments that both list", 60
    )
    for name in common:
        assert fetched(near, f"/live/clip/{name}") == fetched(far, f"/live/clip/{name}")


def fetched(edge: Edge, path: str) -> bytes:
    with urllib.request.urlopen(address(edge) + path, timeout=30) as answer:
        return bytes(answer.read())
