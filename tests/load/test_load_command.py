"""``rtmp-cluster load`` as typed: against a real edge, servers that refuse, and servers that die."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_load_media import flv_of

from cluster.commands.main import run
from cluster.core.rtmp import events
from cluster.core.rtmp.events import Event
from cluster.load import terminal
from cluster.load.media import StreamShape
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT, ClusterProcess, Edge
from support.rtmp_peer import Peers
from support.scripted_server import Peer, accept, serving
from support.tls import CertificateFiles

#: As short as a run can be.
SHORT = ["--ramp", "0.1", "--settle", "0.1", "--duration", "0.5"]
LONG = ["--ramp", "0.1", "--settle", "0", "--duration", "60", "--gop", "0.5", "--json", "-"]
TIMEOUT_S = 60.0

Start = Callable[..., subprocess.Popen[str]]
Load = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine adds no line to what is said."""
    monkeypatch.setattr(terminal, "SLOW_S", 3_600.0)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``rtmp-cluster load``; one that still runs is killed with the test."""
    commands: list[subprocess.Popen[str]] = []

    def start_load(*arguments: str, descriptors: int | None = None) -> subprocess.Popen[str]:
        def limit() -> None:
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        commands.append(subprocess.Popen(
            [sys.executable, "-m", "cluster", "load", *arguments], cwd=ROOT, text=True, preexec_fn=limit,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ))  # fmt: skip
        return commands[-1]

    try:
        yield start_load
    finally:
        for command in commands:
            command.kill()
            command.communicate()


@pytest.fixture
def load(capsys: pytest.CaptureFixture[str]) -> Load:
    """Runs ``rtmp-cluster load`` to its end, here; what it wrote on stdout and stderr."""

    def load_here(*arguments: str, code: ExitCode = ExitCode.OK) -> tuple[str, str]:
        found = run(["load", *arguments])
        out, err = capsys.readouterr()
        assert found == code, err + out
        return out, err

    return load_here


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    try:
        yield peers
    finally:
        peers.close()


def finished(command: subprocess.Popen[str], code: int = ExitCode.OK) -> tuple[str, str]:
    """What it wrote on stdout and stderr, once it has ended with that code."""
    out, err = command.communicate(timeout=TIMEOUT_S)
    assert command.returncode == code, err + out
    assert "Traceback" not in err
    return out, err


def result_of(command: subprocess.Popen[str], code: int = ExitCode.OK) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(finished(command, code)[0])
    return found


def wait_for_players(command: subprocess.Popen[str], count: int) -> None:
    """Until it says that all of them play, which it does every five seconds."""
    assert command.stderr is not None
    for line in command.stderr:
        if f"players {count} of {count}," in line:
            return
    pytest.fail("it ended before its players played")


def complaints_of_the_server(found: dict[str, Any]) -> list[str]:
    """Without what a busy machine makes the generator say of itself."""
    return [each for each in found["complaints"] if not each.startswith("the generator was late")]


@pytest.mark.alone
def test_streams_and_players_over_two_processes(edge: Edge, load: Load, tmp_path: Path) -> None:
    page, file = tmp_path / "report.html", tmp_path / "result.json"
    out, err = load(
        edge.url("busy"), "--publishers", "3", "--players", "24", "--processes", "2", "--gop", "0.5",
        "--slow-share", "0.25", "--bitrate", "800k", "--pid", str(edge.pid), "--report", str(page),
        "--json", str(file), "--ramp", "0.1", "--settle", "0.1", "--duration", "1",
    )  # fmt: skip
    assert "milliseconds" in out
    assert "players join: publishers 3, players" in err
    assert page.read_text().startswith("<!doctype html>")
    found = json.loads(file.read_text())
    assert complaints_of_the_server(found) == []
    assert found["publishers"] == {"asked": 3, "publishing": 3}
    players = found["players"]
    assert (players["joined"], players["playing"], players["slow_playing"]) == (24, 18, 6)
    assert found["frames"]["lost"] == found["frames"]["out_of_order"] == 0
    assert found["frames"]["read"] == pytest.approx(6 * 73, rel=0.2)
    assert 0 < found["delay_ms"]["p50"] < found["delay_ms"]["max"] < 500
    video, audio = found["video_delay_ms"], found["audio_delay_ms"]
    assert video["count"] + audio["count"] == found["delay_ms"]["count"]
    assert video["count"] == pytest.approx(audio["count"] * 30 / 43, rel=0.2)
    assert video["p50"] < audio["p50"]  # which waits for the next frame
    assert found["sent"]["bits_per_s"] == pytest.approx(3 * 800_000, rel=0.25)
    assert found["received"]["bits_per_s"] == pytest.approx(18 * 800_000, rel=0.25)
    assert found["slow_received"]["bits_per_s"] == pytest.approx(6 * 80_000, rel=0.5)
    assert found["server"]["cpu_s"] > 0
    assert found["server"]["processes"] >= 2
    assert len(found["generator"]["cpu_shares"]) == 2
    assert found["plan"]["drain"] == "arrival"


def test_players_at_another_node(load: Load, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/router"
    router = ClusterProcess(["router", "--bind", address], tmp_path / "router.log")
    options = ["--workers", "1", "--router", address, "--node-name"]
    nodes = [Edge([*options, name], tmp_path / f"{name}.log") for name in ("here", "there")]
    try:
        for process in (router, *nodes):
            process.wait_ready()
        here, there = nodes
        out, _ = load(
            here.url("far"), "--play-from", there.url("far"), "--publishers", "2", "--players", "4",
            "--gop", "0.5", "--pid", str(here.pid), "--pid", str(there.pid), "--json", "-", *SHORT,
        )  # fmt: skip
        found = json.loads(out)
        assert complaints_of_the_server(found) == []
        assert found["plan"]["play_from"] == there.url("far")
        assert found["players"]["playing"] == 4
        assert found["frames"]["read"] > 4 * 20
        # The media goes through both: nobody plays here, nobody publishes there.
        assert here.metrics().total("bus_envelopes_sent_total") > 0
        assert there.metrics().total("bus_envelopes_received_total") > 0
    finally:
        for process in (*nodes, router):
            process.kill()


@pytest.mark.alone
@pytest.mark.parametrize("drain", ["arrival", "timer"])
def test_over_tls_and_in_small_chunks(
    drain: str, edge: Edge, load: Load, certificate: CertificateFiles
) -> None:
    url = f"rtmps://localhost:{edge.tls_port}/live/private-{drain}"
    out, _ = load(
        url, "--players", "10", "--sample", "10", "--drain", drain, "--chunk-size", "128",
        "--ca-file", str(certificate.cert), "--json", "-", *SHORT,
    )  # fmt: skip
    found = json.loads(out)
    assert complaints_of_the_server(found) == []
    assert found["players"]["playing"] == 10
    assert found["received"]["bits_per_s"] == pytest.approx(10 * 2_500_000, rel=0.25)
    assert found["delay_ms"]["count"] > 50


def test_a_certificate_that_is_not_trusted(edge: Edge, load: Load) -> None:
    url = f"rtmps://localhost:{edge.tls_port}/live/untrusted"
    _, err = load(url, *SHORT, code=ExitCode.UNREACHABLE)
    assert err.startswith("rtmp-cluster: no publisher came to publish: the certificate is not accepted: ")
    assert "(--ca-file FILE trusts what is in FILE; --insecure accepts any)" in err


@pytest.mark.parametrize(("scheme", "instead"), [("rtmps", "rtmp"), ("rtmp", "rtmps")])
def test_the_port_of_the_other_kind(scheme: str, instead: str, edge: Edge, load: Load) -> None:
    port = edge.port if scheme == "rtmps" else edge.tls_port
    code = ExitCode.UNREACHABLE if scheme == "rtmps" else ExitCode.REFUSED
    _, err = load(f"{scheme}://localhost:{port}/live/x", *SHORT, code=code)
    assert f"{instead}://" in err
    assert "use another name" not in err


def test_a_file_is_published_over_and_over(edge: Edge, load: Load, tmp_path: Path) -> None:
    clip = tmp_path / "clip.flv"
    clip.write_bytes(flv_of(StreamShape(gop_s=0.5).messages()))
    out, _ = load(edge.url("film"), "--file", str(clip), "--players", "3", "--json", "-", *SHORT)
    found = json.loads(out)
    assert complaints_of_the_server(found) == []
    assert found["players"]["playing"] == 3
    assert 0 < found["delay_ms"]["p50"] < 500
    assert found["delay_ms"]["count"] > 50


def test_a_key_in_use_and_then_its_stream_alone(edge: Edge, load: Load, peers: Peers) -> None:
    peers.publish(edge, "taken").wait_granted()
    _, err = load(edge.url("taken"), *SHORT, code=ExitCode.REFUSED)
    assert err.startswith("rtmp-cluster: no publisher may publish rtmp://127.0.0.1:")
    assert "NetStream.Publish.BadName" in err
    assert "--publishers 0" in err
    assert err.count("\n") == 1
    out, _ = load(edge.url("taken"), "--publishers", "0", "--players", "2", "--json", "-", *SHORT)
    found = json.loads(out)
    assert found["players"]["playing"] == 2
    assert found["delay_ms"]["count"] == 0  # nobody stamped it
    assert found["delivered"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_prints_what_it_has(number: signal.Signals, edge: Edge, start: Start) -> None:
    name = f"cut-{number.name}"
    command = start(edge.url(name), "--players", "4", *LONG)
    wait_for_players(command, 4)
    command.send_signal(number)
    found = result_of(command)
    assert found["ended_early"] == "it was interrupted"
    assert found["players"]["joined"] == 4
    assert found["delay_ms"]["count"] > 0


def test_a_server_that_dies_ends_the_run(start: Start, tmp_path: Path) -> None:
    edge = Edge(["--workers", "1"], tmp_path / "edge.log")
    try:
        edge.wait_ready()
        command = start(edge.url("mortal"), "--publishers", "2", "--players", "6", *LONG)
        wait_for_players(command, 6)
    finally:
        edge.kill()
    found = result_of(command, ExitCode.REFUSED)
    assert found["ended_early"] == "no connection is left"
    assert sum(found["disconnected"]["player"].values()) == 6
    assert sum(found["disconnected"]["publisher"].values()) == 2
    assert found["delay_ms"]["count"] > 0


def refuse_connect(peer: Peer, event: Event) -> None:
    if isinstance(event, events.ConnectRequested):
        peer.session.reject_connect("NetConnection.Connect.Rejected", "no \x1b[31mload today")


def refuse_players(peer: Peer, event: Event) -> None:
    if isinstance(event, events.PlayRequested):
        peer.session.reject_play(event.stream_id, "NetStream.Play.StreamNotFound", "not for you")
    else:
        accept(peer, event)


def say_nothing(peer: Peer, event: Event) -> None:
    """Let connections wait for ever."""


@pytest.mark.parametrize(
    ("script", "options", "code", "says"),
    [
        (refuse_connect, [], ExitCode.REFUSED, "NetConnection.Connect.Rejected: no �[31mload today"),
        (refuse_players, ["--publishers", "0"], ExitCode.REFUSED, "3 players failed: NetStream.Play."),
        (say_nothing, ["--timeout", "0.2"], ExitCode.UNREACHABLE, "the server did not answer in time"),
    ],
)
def test_servers_that_do_not_want_it(
    script: Callable[[Peer, Event], None], options: list[str], code: ExitCode, says: str
) -> None:
    async def served() -> tuple[int | None, str]:
        async with serving(script) as server, asyncio.timeout(TIMEOUT_S):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cluster", "load", server.url(), "--players", "3", *options, *SHORT,
                cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await process.communicate()
            return process.returncode, out.decode()

    found, text = asyncio.run(served())
    assert found == code, text
    assert says in text
    assert "\x1b" not in text


def test_too_few_descriptors_says_how_many_fit(edge: Edge, start: Start) -> None:
    command = start(edge.url("many"), "--players", "500", *SHORT, descriptors=100)
    _, err = finished(command, ExitCode.ENVIRONMENT)
    assert "a process may open 100 and needs 565. So 35 players fit; use --processes 14" in err
    assert err.count("\n") == 1


def test_nobody_listens(load: Load) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _, err = load(f"rtmp://127.0.0.1:{port}/live/x", code=ExitCode.UNREACHABLE)
    where = f"127.0.0.1:{port}"
    assert err == f"rtmp-cluster: cannot connect to {where}: Connection refused; is a server there?\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["srt://h/live/x"], ExitCode.USAGE, "the scheme is neither rtmp nor rtmps"),
        (["http://h/live/x"], ExitCode.USAGE, "ends in none of .flv, .mp4 and .m3u8"),
        (["http://h/live/x.flv"], ExitCode.USAGE, "publishers publish over RTMP: give --play this address"),
        (["rtmp://h/live/x", "--play", "ws://h/live/x.mp4"], ExitCode.USAGE, "over WebSocket only .flv"),
        (["rtmp://h/live/x", "--play", "http://h/live/x.flv"], ExitCode.USAGE, "for publishers and"),
        (["rtmp://h/"], ExitCode.USAGE, "names no stream"),
        (["rtmp://h/live/x", "--bitrate", "fast"], ExitCode.USAGE, "not a bit rate"),
        (["rtmp://h/live/x", "--bitrate", "10k"], ExitCode.USAGE, "too few for 30 frames"),
        (["rtmp://h/live/x", "--gop", "soon"], ExitCode.USAGE, "not a number of seconds"),
        (["rtmp://h/live/x", "--duration", "5h"], ExitCode.USAGE, "not a number of seconds"),
        (["rtmp://h/live/x", "--publishers", "0"], ExitCode.USAGE, "nothing to do"),
        (["rtmp://h/live/x", "--pid", "4194303"], ExitCode.ENVIRONMENT, "no such process"),
        (["rtmp://h/live/x", "--pid", ""], ExitCode.USAGE, "empty: the program that it was asked of"),
        (["rtmp://h/live/x", "--pid", "1 2"], ExitCode.USAGE, "'1 2' are several: repeat --pid for each"),
        (["rtmp://h/live/x", "--pid", "0"], ExitCode.USAGE, "'0' is not a process id"),
        (["rtmp://h/live/x", "--pid", "999999999"], ExitCode.USAGE, "'999999999' is not a process id"),
        (["rtmp://h/live/x", "--json", "/no/x.json"], ExitCode.ENVIRONMENT, "there is no folder /no"),
        (["rtmp://h/live/x", "--report", "/no/x.html"], ExitCode.ENVIRONMENT, "there is no folder /no"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: ExitCode, says: str, load: Load
) -> None:
    out, err = load(*arguments, code=code)
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_a_file_that_is_not_flv(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "text.flv"
    path.write_text("not a film")
    _, err = load("rtmp://127.0.0.1:1/live/x", "--file", str(path), code=ExitCode.USAGE)
    assert err.startswith(f"rtmp-cluster: {path} is not an FLV file. FFmpeg makes FLV of it: ffmpeg -i ")
