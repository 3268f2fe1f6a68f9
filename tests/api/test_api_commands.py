"""The commands that operate a cluster, typed against one that runs."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from cluster.commands import api_tables
from cluster.commands.api_client import Api, ApiRefused
from cluster.commands.main import cli
from cluster.process.exit_codes import ExitCode
from support.api_cluster import ApiCluster, api_of, ask
from support.cluster_process import ROOT, Edge
from support.ffmpeg import Ffmpegs
from support.polling import wait_until

ADMIN, READ = "admin-admin-admin-1", "read-read-read-read"


def typed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A node whose API wants a token, and that leaves its note in a place of its own."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "admin").write_text(ADMIN)
    (directory / "read").write_text(READ)
    options = ["--node-name", "g", "--workers", "1", "--api", "127.0.0.1:0"]
    options += ["--api-token", str(directory / "admin"), "--api-read-token", str(directory / "read")]
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    try:
        edge = Edge(options, directory / "log")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    edge.wait_ready()
    yield edge
    edge.kill()


@pytest.fixture
def url(cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path) -> str:
    """An API of a cluster in which live/typed is published at a, and played at b."""
    ffmpegs.publish(clip, cluster.nodes["a"].url("typed"), loop=True)
    ffmpegs.play(cluster.nodes["b"].url("typed"))
    url = cluster.apis["c"]
    wait_until(lambda: ask(url, "/v1/streams/live/typed").json.get("players") == 1, "a stream and a player")
    return url


def test_streams_and_sessions_and_a_kick(cluster: ApiCluster, url: str, ffmpegs: Ffmpegs) -> None:
    shown = typed("streams", "--api", url, "--key", "live/*")
    assert (shown.returncode, shown.stderr) == (0, "")
    heads, line = shown.stdout.splitlines()
    assert heads.split() == ["STREAM", "ORIGIN", "TRACKS", "KBIT/S", "PLAYERS"]
    assert line.split()[:5] == ["live/typed", "a/0", "avc1", "360p25", "mp4a"]
    assert line.split()[-1] == "1"

    shown = typed("sessions", "--api", url, "--json", "--key", "live/typed")
    found = {each["role"]: each for each in json.loads(shown.stdout)["items"]}
    assert found.keys() == {"publisher", "player"}
    session = found["player"]["session"]
    assert session in typed("sessions", "--api", url, "--role", "player").stdout

    done = typed("kick", session, "--why", "enough", "--api", url)
    assert (done.returncode, done.stdout) == (0, f"session {session} was ended\n")
    gone = typed("kick", session, "--api", url)
    assert gone.returncode == ExitCode.REFUSED
    assert gone.stderr == f"rtmp-cluster: there is no session {session} any more\n"


def test_status_over_the_api(cluster: ApiCluster, url: str) -> None:
    lines = typed("status", "--api", url).stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    for address in cluster.router_addresses.values():
        assert any(line.startswith(address) for line in lines)
    assert [line.split()[:2] for line in lines if line[:2] in ("a ", "b ", "c ")] == [
        ["a", "ok"], ["b", "ok"], ["c", "ok"]
    ]  # fmt: skip
    known = json.loads(typed("status", "--api", url, "--json").stdout)
    assert [each["node"] for each in known["nodes"]["items"]] == ["a", "b", "c"]
    assert [each["key"] for each in known["streams"]] == ["live/typed"]


def test_a_drain_and_its_end(cluster: ApiCluster) -> None:
    url = cluster.apis["r1"]
    done = typed("drain", "b", "--deadline", "1m", "--api", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sessions may go on for 60 s" in done.stdout
    wait_until(lambda: ask(cluster.apis["b"], "/readyz").status == 503, "b not to be ready")
    assert typed("undrain", "b", "--api", url).returncode == 0
    wait_until(lambda: ask(cluster.apis["b"], "/readyz").status == 200, "b to be ready")
    gone = typed("drain", "nobody", "--api", url)
    assert (gone.returncode, gone.stderr) == (ExitCode.REFUSED, "rtmp-cluster: there is no node nobody\n")
    wrong = typed("drain", "b", "--deadline", "soon", "--api", url)
    assert wrong.returncode == ExitCode.USAGE
    assert "'soon' is not a time, as 30s, 10m and 2h are" in wrong.stderr


def test_what_runs_here_is_found_with_its_token(guarded: Edge, tmp_path: Path) -> None:
    place = str(guarded._log.parent)
    assert typed("streams", XDG_RUNTIME_DIR=place).returncode == 0
    without = typed("streams", "--api", api_of(guarded))
    assert without.returncode == ExitCode.REFUSED
    where = f"rtmp-cluster: {api_of(guarded)}"
    assert (without.stdout, without.stderr) == ("", f"{where}: it wants a token (--api-token FILE)\n")
    other = tmp_path / "other"
    other.write_text("0123456789abcdef-other\n")
    with_other = typed("streams", "--api", api_of(guarded), "--api-token", str(other))
    assert with_other.stderr == f"{where}: this token is not good (--api-token FILE)\n"
    read = str(guarded._log.parent / "read")
    assert typed("streams", "--api", api_of(guarded), "--api-token", read).returncode == 0
    refused = typed("drain", "g", "--api", api_of(guarded), "--api-token", read)
    assert (refused.returncode, refused.stderr) == (
        ExitCode.REFUSED, "rtmp-cluster: this token is for looking only\n"
    )  # fmt: skip


def test_with_tokens_every_answer_wants_one_but_health(guarded: Edge) -> None:
    url = api_of(guarded)
    for path in ("/livez", "/readyz"):
        assert ask(url, path).status == 200
    for path in ("/v1/nodes", "/v1/openapi.json", "/v3/paths/list", "/nothing"):
        said = ask(url, path)
        assert (said.status, said.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
        assert said.headers["Content-Type"].startswith("application/problem+json")
        assert ask(url, path, Authorization=f"Bearer {READ}").status in (200, 404)
    assert ask(url, "/v1/nodes/g/undrain", "POST", Authorization=f"Bearer {READ}").status == 403
    assert ask(url, "/v1/nodes/g/undrain", "POST", Authorization=f"Bearer {ADMIN}").status == 200
    document = ask(url, "/v1/openapi.json", Authorization=f"Bearer {READ}").json
    assert document["security"] == [{"token": []}]
    assert ADMIN not in guarded.log_text()
    assert READ not in guarded.log_text()


def test_where_nothing_answers_or_something_else_does(tmp_path: Path, cluster: ApiCluster) -> None:
    gone = typed("streams", "--api", "http://127.0.0.1:9")
    assert gone.returncode == ExitCode.UNREACHABLE
    assert gone.stderr.startswith("rtmp-cluster: http://127.0.0.1:9 does not answer: Connection refused")
    other = f"http://{cluster.nodes['a'].ready['metrics']}"
    wrong = typed("streams", "--api", other)
    assert (wrong.returncode, wrong.stderr) == (
        ExitCode.UNREACHABLE, f"rtmp-cluster: {other} is not the API of an edge or router (--api)\n"
    )  # fmt: skip


OTHERS = ["[]", '"text"', "1", "null", "{}", '{"items": [{}]}', "{", "[" * 100_000]


@pytest.fixture
def other() -> Iterator[tuple[str, list[str]]]:
    """A server of another kind, and what it answers: to be chosen."""
    said: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(said[1]))
            self.end_headers()
            self.wfile.write(said[0].encode())

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", said
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", ["streams", "sessions", "kick x", "trace x", "status"])
def test_what_is_no_api_is_told_in_a_line(other: tuple[str, list[str]], command: str) -> None:
    url, said = other
    for text in OTHERS:
        for status in ("200", "500"):
            said[:] = text, status
            shown = CliRunner().invoke(cli, [*command.split(), "--api", url], standalone_mode=False)
            assert shown.exception is None, (text, shown.exception)
            assert shown.return_value in (ExitCode.UNREACHABLE, ExitCode.REFUSED), (text, shown.output)


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1:1", "http://127.0.0.1:x", "http://a b"])
def test_what_is_no_address_of_an_api_is_told_in_a_line(url: str) -> None:
    shown = CliRunner().invoke(cli, ["streams", "--api", url], standalone_mode=False)
    assert (shown.return_value, shown.exception) == (ExitCode.UNREACHABLE, None)
    assert f"{url} is not the API of an edge or router (--api)" in shown.output


def test_a_port_without_tls_is_told_so(other: tuple[str, list[str]]) -> None:
    url = other[0].replace("http", "https")
    shown = CliRunner().invoke(cli, ["streams", "--api", url], standalone_mode=False)
    assert shown.return_value == ExitCode.UNREACHABLE
    assert "does not answer: WRONG_VERSION_NUMBER (--api)" in shown.output


def test_what_an_order_has_done_steers_no_terminal(other: tuple[str, list[str]]) -> None:
    url, said = other
    said[:] = '{"detail": "node a\\u001b[2J is \\u202eback"}', "200"
    shown = CliRunner().invoke(cli, ["kick", "x", "--api", url], standalone_mode=False)
    assert (shown.return_value, shown.output) == (ExitCode.OK, "node a\ufffd[2J is \ufffdback\n")


def test_an_api_is_not_watched() -> None:
    shown = CliRunner().invoke(cli, ["status", "--watch", "--api", "http://127.0.0.1:1"])
    assert (shown.exit_code, "--watch asks routers" in shown.output) == (ExitCode.USAGE, True)


def test_pages_are_asked_for_until_there_are_no_more(cluster: ApiCluster, url: str) -> None:
    api = Api(url)
    pages = list(api.items("/v1/sessions", limit=1, key="live/typed"))
    assert [len(page["items"]) for page in pages[:2]] == [1, 1]
    with pytest.raises(ApiRefused, match="nobody publishes live/none"):
        api.get("/v1/streams/live/none")


def test_what_is_missing_is_said_below_a_table() -> None:
    page = {
        "items": [], "next": None, "complete": False,
        "missing": [{"node": "a\x1b", "id": "1", "worker": 0, "why": "lost"}],
        "missing_routers": [{"router": "tcp://r:1", "why": "nobody there " * 7}],
    }  # fmt: skip
    for table in (api_tables.streams, api_tables.sessions, api_tables.nodes):
        assert list(table([page]))[1:] == [
            "! node a\N{REPLACEMENT CHARACTER} (1), worker 0: lost",
            "! router tcp://r:1: nobody there nobody there nobody there nobody there nobody",
            "  there nobody there nobody there",
        ]  # fmt: skip


def test_a_table_of_what_nobody_has_answered_says_so() -> None:
    page = {"items": [], "next": None, "complete": False, "missing": [], "missing_routers": []}
    for table in (api_tables.streams, api_tables.sessions, api_tables.nodes):
        assert list(table([page]))[1:] == ["! no router has answered: nothing is known of other nodes"]


def test_nodes_of_one_name_are_told_apart() -> None:
    whole = {"complete": True, "missing": [], "missing_routers": []}
    node = {"node": "edge", "state": "ok", "workers": [], "connections": 0, "publishers": 0, "players": 0}
    node |= {"received_bits_per_s": 0, "sent_bits_per_s": 0}
    names = (("edge", "1f2e3d4c"), ("edge", "aabbccdd"), ("far", "00112233"))
    items = [{**node, "node": name, "id": id_} for name, id_ in names]
    _, *lines = api_tables.nodes([{**whole, "items": items}])
    assert [line.split()[0] for line in lines] == ["edge/1f2e3d4c", "edge/aabbccdd", "far"]
    stream = {"key": "live/a", "worker": 0, "tracks": [], "codecs": "", "bits_per_second": 0, "players": 0}
    _, *lines = api_tables.streams([{**whole, "items": [{**stream, **each} for each in items]}])
    assert [line.split()[1] for line in lines] == ["…1f2e3d4c/0", "…aabbccdd/0", "far/0"]


def test_a_node_of_which_not_all_serve_is_seen() -> None:
    node = {"node": "a", "id": "1", "connections": 0, "publishers": 0, "players": 0, "state": "ok"}
    node |= {"received_bits_per_s": 1_449_000, "sent_bits_per_s": 123_400_000}
    for states, shown in ((["ok", "draining"], "2"), (["ok", "lost"], "1 of 2"), (["silent"], "0 of 1")):
        item = {**node, "workers": [{"state": state} for state in states]}
        page = {"items": [item], "complete": True, "missing": [], "missing_routers": []}
        _, line = api_tables.nodes([page])
        assert f" {shown} " in line
        assert line.split()[-2:] == ["1.4Mbit", "123Mbit"]


def test_a_state_of_a_session_is_shown_whole() -> None:
    session = {
        "session": "1f2e3d4c-0.1-42", "role": "publisher", "kind": "ws_flv", "peer": "192.0.2.7:50312",
        "key": "live/a", "delay_ms": 0,
    }  # fmt: skip
    for state in ("connected", "publishing", "playing", "waiting", "paused", "closing"):
        items = [{**session, "state": state}]
        page = {"items": items, "complete": True, "missing": [], "missing_routers": []}
        _, line = api_tables.sessions([page])
        assert line.split()[-1] == state
        assert cell_len(line) <= 80
    items = [{**session, "state": "behind", "delay_ms": 12_345}]
    _, line = api_tables.sessions([{**page, "items": items}])
    assert line.endswith(" 12.3s late")
