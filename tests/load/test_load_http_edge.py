"""``rtmp-cluster load`` with players over HTTP of a real edge with two workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from cluster.commands.main import run
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT, Edge
from support.polling import wait_until
from support.tls import CertificateFiles

SHORT = ["--ramp", "0.2", "--duration", "2", "--gop", "0.5", "--json", "-"]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, certificate: CertificateFiles) -> Iterator[Edge]:
    log = tmp_path_factory.mktemp("serving") / "edge.log"
    options = ["--workers", "2", "--http", "127.0.0.1:0", "--http-tls", "127.0.0.1:0", *certificate.options]
    edge = Edge(options, log)
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


def load(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code = run(["load", *arguments, *SHORT])
    out, err = capsys.readouterr()
    assert code == ExitCode.OK, err + out
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.alone
@pytest.mark.parametrize(
    ("scheme", "suffix"),
    [
        ("http", "flv"), ("ws", "flv"), ("wss", "flv"), ("http", "mp4"), ("https", "mp4"), ("http", "m3u8"),
        ("https", "m3u8"),
    ],
)  # fmt: skip
def test_players_over_http_miss_nothing(
    scheme: str, suffix: str, serving: Edge, certificate: CertificateFiles,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kind = "https" if scheme in ("https", "wss") else "http"
    port = serving.ready[f"{kind}_addresses"][0].rpartition(":")[2]
    # A worker begins a list of HLS with the next segment; then a frame waits until its part is full.
    settle_s, longest_ms = (5, 500) if suffix == "m3u8" else (0.5, 200)
    found = load(
        capsys, serving.url(f"{scheme}-{suffix}"), "--publishers", "2", "--players", "12", "--sample", "2",
        "--play", f"{scheme}://localhost:{port}/live/{scheme}-{suffix}.{suffix}",
        "--ca-file", str(certificate.cert), "--bitrate", "800k", "--pid", str(serving.pid),
        "--settle", str(settle_s),
    )  # fmt: skip
    players = found["players"]
    assert (players["joined"], players["playing"], players["stalls"]) == (12, 12, 0)
    assert found["frames"]["lost"] == found["frames"]["out_of_order"] == 0
    assert found["frames"]["read"] > 6 * 2 * 50
    assert found["picture_ms"]["count"] == 12
    assert 0 < found["video_delay_ms"]["p50"] < longest_ms
    assert 0.9 < found["delivered"] < 1.3
    if suffix == "m3u8":
        assert found["requests"]["failed"] == {}
        assert found["server"]["cpu_us_per_request"] > 0


def test_slow_players_over_http_and_their_timer(serving: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{serving.ready['http_addresses'][0]}/live/slow.flv"
    found = load(
        capsys, serving.url("slow"), "--players", "8", "--play", url, "--slow-share", "0.25", "--drain",
        "timer", "--sample", "100", "--settle", "0.5",
    )  # fmt: skip
    assert (found["players"]["playing"], found["players"]["slow_playing"]) == (6, 2)
    assert found["slow_received"]["bits_per_s"] == pytest.approx(2 * 250_000, rel=0.5)


def start(arguments: list[str], output: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cluster", "load", *arguments], cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def owners(command: subprocess.Popen[str], edge: Edge) -> list[int]:
    """The workers that hold the connections of a load's processes, one for each connection."""
    ports = [
        connection.laddr.port
        for process in psutil.Process(command.pid).children()
        for connection in process.net_connections("tcp")
    ]
    return [owner for port in ports if (owner := edge.owner_of(port)) is not None]


def test_players_of_hls_go_on_when_their_worker_dies(serving: Edge) -> None:
    """Those of FLV end with it, as over RTMP; who asks again gets what comes next from another worker."""
    answered = serving.metrics().total("http_requests_total")
    play = f"{serving.ready['http_addresses'][0]}/live/mortal.m3u8"
    publish = [serving.url("mortal"), "--duration", "60", "--gop", "0.5"]
    watch = [play, "--publishers", "0", "--players", "16", "--settle", "3", "--duration", "5"]
    publisher = start(publish, subprocess.DEVNULL)
    try:
        (owner,) = wait_until(lambda: owners(publisher, serving), "the publisher's connection")
        victim = next(pid for pid in serving.workers().values() if pid != owner)
        players = start([*watch, "--json", "-"], subprocess.PIPE)
        try:
            enough = answered + 16 * 12
            wait_until(lambda: serving.metrics().total("http_requests_total") > enough, "played parts")
            held = owners(players, serving)
            os.kill(victim, signal.SIGKILL)
            out, _ = players.communicate(timeout=60)
        finally:
            players.kill()
    finally:
        publisher.kill()
        publisher.wait()
    found = json.loads(out)
    assert victim in held
    assert found["players"]["joined"] == 16
    assert found["disconnected"] == found["refused"] == {}
    assert found["timeline"][-1]["playing"] == 16
    assert found["frames"]["read"] > 0
