"""What strangers may take of the server of an API: connections, and the bodies of requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.api import answering
from cluster.api.answering import MAX_BODY_BYTES
from cluster.api.handlers import Refused
from cluster.api.server import MAX_CONNECTIONS, ApiSettings, _close_one, served
from cluster.api.sources import Sources
from cluster.core.errors import EnvironmentFault
from cluster.net.addresses import BindAddress
from support.api_cluster import ask

#: A request whose body does not come.
SLOW = (
    b"POST /v1/nodes/a/drain HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
)


class Well:
    def alive(self) -> dict[str, str]:
        return {"self": ""}

    def ready(self) -> dict[str, str]:
        return {"self": "", "rest": "it rests"}


def settings(tmp_path: Path, port: int = 0) -> ApiSettings:
    """An API whose one router is not there."""
    sources = Sources((f"ipc://{tmp_path / 'nobody'}",))
    return ApiSettings(BindAddress("127.0.0.1", port), sources, Well())


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with served(settings(tmp_path)) as where:
        yield f"http://{where}"


def connected(url: str, stack: contextlib.ExitStack, request: bytes = b"") -> socket.socket:
    host, _, port = url.removeprefix("http://").rpartition(":")
    made = stack.enter_context(socket.create_connection((host, int(port)), 20))
    made.sendall(request)
    return made


def test_whoever_says_nothing_keeps_nobody_out(url: str) -> None:
    with contextlib.ExitStack() as stack:
        silent = [connected(url, stack) for _ in range(2 * MAX_CONNECTIONS)]
        for path in ("/livez", "/v1/nodes"):
            assert ask(url, path).status == 200
        assert silent[0].recv(1) == b""  # the oldest


def test_whoever_does_not_read_keeps_nobody_out(url: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            connected(url, stack, b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        for _ in range(3):
            assert ask(url, "/livez").status == 200


def test_none_is_closed_whose_request_is_worked_on() -> None:
    closed: list[str] = []

    def connection(name: str, *, is_closing: bool = False) -> Any:
        transport = None if is_closing else SimpleNamespace(abort=lambda: closed.append(name))
        return SimpleNamespace(transport=transport, force_close=lambda: None)

    working, going = connection("working"), connection("going", is_closing=True)
    assert not _close_one([working, going], [working])
    assert _close_one([working, going, connection("oldest"), connection("late")], [working])
    assert closed == ["oldest"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 400), ("[]", "application/json", 400),
        ('{"deadline_s":-1}', "application/json", 400), ('{"deadline_s":true}', "application/json", 400),
        ('{"deadline":1}', "application/json", 400), ("{}", "text/plain", 415),
        ("deadline_s=1", "application/x-www-form-urlencoded", 415),
        ("[" * (MAX_BODY_BYTES - 1), "application/json", 400), ("{}", "application/json", 504),
        (" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ],
)  # fmt: skip
def test_bodies(url: str, body: str, kind: str, status: int) -> None:
    said = ask(url, "/v1/nodes/a/drain", "POST", body, Content_Type=kind)
    assert said.status == status, said
    assert said.json["status"] == status


def test_a_body_that_does_not_come_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "BODY_TIMEOUT_S", 0.1)
    with contextlib.ExitStack() as stack:
        assert connected(url, stack, SLOW).recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_cannot_be_read_is_no_fault_of_ours(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = ask(url, "/v1/nodes/a/drain", "POST", "{}", Content_Encoding="gzip")
    assert (said.status, said.json["detail"]) == (400, "the body cannot be read")
    assert "api_failed" not in [each.__dict__.get("event") for each in caplog.records]


def test_a_peer_that_goes_in_the_middle_of_a_body_is_no_fault_of_ours() -> None:
    async def read() -> bytes:
        raise ConnectionResetError("Connection lost")

    request: Any = SimpleNamespace(read=read)
    with pytest.raises(Refused, match="the body cannot be read"):
        asyncio.run(answering._body(request))


def test_health_is_told_while_too_much_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MAX_REQUESTS_AT_ONCE", 0)
    assert ask(url, "/v1/nodes").status == 503
    assert (ask(url, "/livez").status, ask(url, "/readyz").text[:9]) == (200, "[+]self o")


def test_an_order_that_may_have_been_carried_out_is_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for path, method in (
        ("/v1/nodes/a/drain", "POST"), ("/v1/sessions/1f2e-0.1-3", "DELETE"),
        ("/v1/streams/live/a", "DELETE"), ("/v3/rtmpconns/kick/1f2e-0.1-3", "POST"),
    ):  # fmt: skip
        assert ask(url, path, method).status == 504
        said = caplog.records[-1]
        assert said.__dict__["event"] == "api_order"
        assert said.getMessage().endswith(f"by 127.0.0.1: {path} (no router of the cluster answers)")


def test_without_a_router_that_answers_nothing_is_complete(url: str, tmp_path: Path) -> None:
    for path in ("/v1/nodes", "/v1/streams", "/v1/sessions", "/v1/cluster"):
        said = ask(url, path).json
        assert not said["complete"]
        assert [each["router"] for each in said["missing_routers"]] == [f"ipc://{tmp_path / 'nobody'}"]
    assert ask(url, "/readyz").status == 503
    assert ask(url, "/livez?verbose").text == "[+]self ok\nlivez check passed\n"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("nodes/a", "there is no node a"), ("sessions/1f2e-0.1-3", "there is no session 1f2e-0.1-3"),
        ("streams/live/a", "nobody publishes live/a"), ("streams/live/a/trace", "nobody publishes live/a"),
    ],
)  # fmt: skip
def test_what_is_not_there_may_be_unknown(url: str, path: str, what: str) -> None:
    said = ask(url, f"/v1/{path}")
    why = f"{what}, as far as is known: no router of the cluster answers"
    assert (said.status, said.json["detail"]) == (404, why)


@pytest.mark.parametrize("path", ["nodes", "streams", "streams/live/a", "openapi.json", "nodes?nothing=1"])
def test_who_asks_for_the_head_is_answered_without_a_body(url: str, path: str) -> None:
    whole, head = ask(url, f"/v1/{path}"), ask(url, f"/v1/{path}", "HEAD")
    assert (head.status, head.headers["Content-Type"]) == (whole.status, whole.headers["Content-Type"])
    assert int(head.headers["Content-Length"]) > 0
    assert head.text == ""


def test_faults_are_problems_and_say_what_is_allowed(url: str) -> None:
    said = ask(url, "/v1/nodes", "PUT", "{}")
    assert (said.status, said.headers["Allow"]) == (405, "GET,HEAD")
    assert said.headers["Content-Type"].startswith("application/problem+json")
    nowhere = "nothing is there: /v1/openapi.json says what can be asked"
    assert [ask(url, each).json["detail"] for each in ("/v1", "/v1/stream", "/v2/x")] == [nowhere] * 3
    assert "one of rtmp, flv" in ask(url, "/v1/sessions?kind=HLS").json["detail"]
    assert ask(url, "/v1/nodes?nothing=1").json["detail"] == "there is no parameter nothing"
    assert ask(url, "/v1/nodes?node=a&node=b").json["detail"] == "node is given twice"
    assert ask(url, "/v1/nodes", Host="evil.example.org").status == 403
    assert ask(url, "/v1/nodes", Origin="http://evil.example.org").status == 403
    assert ask(url, "/livez", Host="10.0.0.7:9997").status == 200
    assert json.loads(ask(url, "/v1/openapi.json").text)["openapi"] == "3.1.0"


def test_a_port_that_is_taken_is_said(url: str, tmp_path: Path) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(EnvironmentFault, match=r"cannot serve the API on .*: the port is taken"), served(
        settings(tmp_path, port)
    ):
        pass
