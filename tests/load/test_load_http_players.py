"""``rtmp-cluster load`` with players over HTTP, against a small live stream made by the clock alone."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_http import FRAMES_PER_S, PART_FRAMES, LiveHttp, running

from cluster.commands.main import run
from cluster.process.exit_codes import ExitCode
from support.tls import CertificateFiles

SHORT = ["--ramp", "0.1", "--settle", "0.3", "--duration", "1", "--publishers", "0", "--json", "-"]

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def server() -> Iterator[LiveHttp]:
    with running() as server:
        yield server


@pytest.fixture
def load(capsys: pytest.CaptureFixture[str]) -> Load:
    """Runs ``rtmp-cluster load`` to its end, here; what it found."""

    def load_here(*arguments: str, code: ExitCode = ExitCode.OK) -> dict[str, Any]:
        returned = run(["load", *SHORT, *arguments])
        out, err = capsys.readouterr()
        assert returned == code, err + out
        found: dict[str, Any] = json.loads(out)
        return found

    return load_here


@pytest.mark.alone
@pytest.mark.parametrize(
    ("suffix", "scheme"), [(".flv", "http"), (".flv", "ws"), (".mp4", "http"), (".m3u8", "http")]
)
def test_every_form_is_measured(suffix: str, scheme: str, server: LiveHttp, load: Load) -> None:
    found = load(server.url(suffix, scheme), "--players", "10", "--sample", "2")
    players = found["players"]
    assert (players["joined"], players["playing"], players["stalls"]) == (10, 10, 0)
    assert found["picture_ms"]["count"] == 10
    assert found["frames"]["lost"] == found["frames"]["out_of_order"] == 0
    # Six of them are sampled, and there is as much audio as video.
    assert found["frames"]["read"] == pytest.approx(6 * 2 * FRAMES_PER_S, rel=0.25)
    assert found["video_delay_ms"]["count"] == found["audio_delay_ms"]["count"] > 0
    longest_ms = 1000 * PART_FRAMES / FRAMES_PER_S if suffix == ".m3u8" else 0
    assert found["delay_ms"]["p50"] < longest_ms + 100
    assert found["received"]["bytes"] > 10 * 20 * 2300
    assert ("requests" in found) is (suffix == ".m3u8")


@pytest.mark.alone
def test_players_of_hls_wait_for_each_part_and_ask_for_it_once(server: LiveHttp, load: Load) -> None:
    found = load(server.url(".m3u8"), "--players", "4", "--sample", "100")
    asked = server.requests
    assert asked["multivariant"] == asked["init"] == 4
    assert server.connections == 5  # and one that looks whether a server is there
    # A part and the list that has the next, ten times a second.
    assert found["requests"]["per_s"] == pytest.approx(4 * 2 * FRAMES_PER_S / PART_FRAMES, rel=0.2)
    assert found["requests"]["failed"] == {}
    assert asked["part"] == pytest.approx(asked["blocking"], abs=4 * 8)


@pytest.mark.parametrize("says_close", [True, False])
def test_players_of_hls_go_on_at_another_connection(says_close: bool, server: LiveHttp, load: Load) -> None:
    server.answers_a_connection, server.says_close = 7, says_close
    found = load(server.url(".m3u8"), "--players", "3")
    assert found["players"]["playing"] == 3
    assert found["frames"]["lost"] == 0
    assert server.connections > 3 * 3


@pytest.mark.parametrize(("suffix", "scheme"), [(".flv", "wss"), (".mp4", "https"), (".m3u8", "https")])
def test_over_tls(suffix: str, scheme: str, certificate: CertificateFiles, load: Load) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    with running(context) as server:
        server.answers_a_connection = 7
        url = server.url(suffix, scheme)
        # Each of their connections is for a few requests, and shakes hands: that takes a while.
        found = load(url, "--players", "8", "--settle", "3", "--ca-file", str(certificate.cert))
        assert found["players"]["playing"] == 8
        assert found["frames"]["lost"] == 0
        assert found["delay_ms"]["count"] > 0
        if suffix == ".m3u8":
            assert server.connections > 3 * 8
        refused = load(url, "--players", "1", code=ExitCode.REFUSED)["refused"]["player"]
        assert str(refused).startswith("{'the certificate is not accepted: ")


def test_no_tls_where_it_is_expected(server: LiveHttp, load: Load) -> None:
    found = load(server.url(".flv", "wss"), "--players", "1", code=ExitCode.REFUSED)
    (reason,) = found["refused"]["player"]
    assert reason.startswith("no TLS: ")
    assert reason.endswith("(if this is a port for plain WS, write ws:// instead of wss://)")


def test_a_request_of_hls_that_fails_is_counted_and_the_player_goes_on(
    server: LiveHttp, load: Load
) -> None:
    refused = iter([
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\ngone\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 500\r\n\r\nhalf",
    ])  # fmt: skip
    seen = 0

    def answer(path: str) -> bytes | None:
        nonlocal seen
        seen += path.endswith(".m4s")
        return next(refused, None) if seen > 5 and path.endswith(".m4s") else None

    server.answer = answer
    found = load(server.url(".m3u8"), "--players", "1", code=ExitCode.REFUSED)
    assert found["requests"]["failed"] == {"a part: HTTP 404: gone": 1, "a part: closed by the server": 1}
    assert "1 request failed: a part: HTTP 404: gone" in found["complaints"]
    assert found["players"]["playing"] == 1
    assert found["frames"]["lost"] == found["frames"]["out_of_order"] == 0


@pytest.mark.parametrize("suffix", [".flv", ".mp4", ".m3u8"])
def test_a_refusal_says_what_the_server_said(suffix: str, server: LiveHttp, load: Load) -> None:
    server.answer = lambda path: b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nno publisher\n"
    found = load(server.url(suffix), "--players", "3", code=ExitCode.REFUSED)
    assert found["refused"] == {"player": {"HTTP 404: no publisher": 3}}


def test_what_is_no_http_is_said(server: LiveHttp, load: Load) -> None:
    server.answer = lambda path: b"\x03 this is something else\r\n\r\n"
    found = load(server.url(".flv"), "--players", "1", code=ExitCode.REFUSED)
    (reason,) = found["refused"]["player"]
    assert reason.startswith("the server broke the protocol: no HTTP: ")
