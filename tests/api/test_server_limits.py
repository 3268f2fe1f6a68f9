"""What strangers may take of the server of an API: connections, and the bodies of requests."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.api import answering
from cluster.api.answering import MAX_BODY_BYTES
from cluster.api.server import MAX_CONNECTIONS, ApiSettings, served
from cluster.api.sources import Sources
from cluster.core.errors import EnvironmentFault
from cluster.net.addresses import BindAddress
from support.api_cluster import ask
from support.polling import wait_until


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


def test_one_connection_too_many_is_closed_and_the_others_stay(url: str) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_connection((host, int(port)), 20))
        for _ in range(MAX_CONNECTIONS - 1):
            stack.enter_context(socket.create_connection((host, int(port)), 20))
        first.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200 OK")  # so all before have been accepted
        with socket.create_connection((host, int(port)), 20) as late:
            assert late.recv(1) == b""
    wait_until(lambda: _answers(url), "room again")


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return ask(url, "/livez").status == 200
    return False


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
    host, _, port = url.removeprefix("http://").rpartition(":")
    head = (
        b"POST /v1/nodes/a/drain HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    )
    with socket.create_connection((host, int(port)), 20) as slow:
        slow.sendall(head)
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


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


def test_faults_are_problems_and_say_what_is_allowed(url: str) -> None:
    said = ask(url, "/v1/nodes", "PUT", "{}")
    assert (said.status, said.headers["Allow"]) == (405, "GET")
    assert said.headers["Content-Type"].startswith("application/problem+json")
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
