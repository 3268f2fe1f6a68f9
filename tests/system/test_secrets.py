"""Marked secrets go into an edge by every way there is, and come out by none."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import unquote

import psutil
import pytest

from cluster.client import ClusterError, connect
from cluster.commands.main import run
from cluster.core.rtmp.url import RtmpUrl
from support.access_attempts import asked, feed, with_tc_query
from support.cluster_process import ROOT, Edge, StartEdge
from support.hook_servers import HookServer, Request, response
from support.marks import MARK, Marks
from support.polling import wait_until
from support.rtmp_peer import PeerError, Peers
from support.text_edge import TextEdge
from support.tls import CertificateFiles, make_certificate

TIMEOUT_S = 20.0
AT_ONCE = 24
_NUMBERS = itertools.count()

CONFIG = """\
[[rule]]
match = "users/*"
publish = {{ users = ["studio"] }}
play = {{ users = ["studio"] }}
[[rule]]
match = "dialogue/*"
publish = {{ users = ["studio"], dialogue = true }}
play = {{ users = ["studio"], dialogue = true }}
[[rule]]
match = "signed/*"
publish = {{ signed = true }}
play = {{ signed = true }}
[[rule]]
match = "jwt/*"
publish = {{ jwt = true }}
play = {{ jwt = true }}
[[rule]]
match = "hook/*"
publish = {{ hook = true }}
play = {{ hook = true }}
[users.studio]
password = "{password}"
[users.other]
password_file = "{password_file}"
[signing]
secrets = ["{signing}", "{older_signing}"]
[jwt]
secret = "{jwt}"
[hooks]
publish = "{hook}"
play = "{hook}"
timeout = 2.0
secret = "{hook_secret}"
events = "{events}"
events_secret = "{events_secret}"
"""


@dataclass
class Rig:
    """An edge with secrets in its file, those that it asks and tells, and all that came out so far."""

    edge: Edge
    marks: Marks
    files: CertificateFiles
    config: Path
    values: dict[str, str]
    hook: HookServer
    events: HookServer
    #: What peers were told, by what they had asked.
    said: list[tuple[str, str]] = field(default_factory=list)
    #: The same where the hook's own words reach the peer, as they should.
    hooked: list[tuple[str, str]] = field(default_factory=list)

    def http_port(self, *, tls: bool) -> int:
        where = self.edge.ready["https_addresses" if tls else "http_addresses"][0]
        return int(str(where).rpartition(":")[2])


async def _repeating_hook(request: Request) -> bytes:
    """Says no, and repeats what it was told in the way that the name of the stream says."""
    body = request.body.decode()
    told = json.loads(body)
    match told["name"].partition("-")[0]:
        case "reason":
            return response(200, {"allow": False, "reason": f"no: {body}"})
        case "password":
            shown = f"{told['password']}{told['token']} of {told['query']}"
            return response(403, {"reason": f"{shown} is wrong"})
        case "page":
            return response(500, f"<html>Traceback: {escape(body)} {request.headers} {request.path}")
        case "decoded":
            return response(200, unquote(body) * 2)
        case "odd":
            return response(404, f"no {told['query']}" * 10, Location=f"http://x/?{told['query']}")
        case "elsewhere":
            return response(200, {"allow": False, "redirect": f"rtmp://x.example/live?{told['query']}"})
        case "slow":
            await asyncio.sleep(3.0)
    return response(200, {"allow": True})


async def _taken(request: Request) -> bytes:
    return response(204)


@pytest.fixture(params=[Edge, TextEdge])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    marks = Marks()
    files = make_certificate(tmp_path)
    with asked(_repeating_hook) as hook, asked(_taken) as events:
        values = {
            name: marks.new().ljust(40, "x")
            for name in ("password", "file", "signing", "older_signing", "jwt")
        }
        (tmp_path / "password").write_text(f"{values['file']}\n")
        values |= {
            "password_file": str(tmp_path / "password"), "hook_secret": marks.whsec(),
            "events_secret": marks.whsec(),
            "hook": f"http://u:{marks.new()}@127.0.0.1:{hook.port}/{marks.new()}?token={marks.new()}",
            "events": f"http://127.0.0.1:{events.port}/{marks.new()}?token={marks.new()}",
        }  # fmt: skip
        config = tmp_path / "edge.toml"
        config.write_text(CONFIG.format(**values))
        edge = request.param([
            "--config", str(config), "--workers", "2", "--log-level", "debug", "--bind-tls", "127.0.0.1:0",
            "--http", "127.0.0.1:0", "--http-tls", "127.0.0.1:0", *files.options,
        ], tmp_path / "edge.log")  # fmt: skip
        try:
            edge.wait_ready()
            yield Rig(edge, marks, files, config, values, hook, events)
            assert edge.stop() == 0
        finally:
            edge.kill()


# ---- what goes in ----------------------------------------------------------------------------


def _queries(marks: Marks, right: str) -> list[str]:
    """Right and wrong credentials of all kinds, and queries that make no sense."""
    new = marks.new
    twice = new()
    return [
        f"user=studio&pass={right}", f"user=studio&pass={marks.escaped(right)}",
        f"user=studio&pass={new()}", f"user={new()}&pass={new()}", f"pass={new()}", f"key={new()}",
        f"token={new()}", f"jwt={new()}.{new()}.{new()}", f"exp=1&sig={new()}", f"exp={new()}&sig={new()}",
        f"exp=4000000000&ip=1&sig={new()}", f"sign={new()}-{new()}", f"st={new()}&e={new()}", new(),
        f"{new()}={new()}", f"pass={twice}&pass={twice}2&user=studio", f"user=studio&pass=%zz{new()}",
        f"user=studio&pass=%ff{new()}", f"?user=studio&pass={new()}", f"a?b?pass={new()}", f"&&=&{new()}",
        f"user=studio&pass={new()}{'x' * 9000}", f"user=studio&pass= {new()} ", f";pass={new()}#{new()}",
        f"user=studio&pass={new()}/{new()}", f"user=studio&pass={new()}\x07{new()}",
        f"u:{new()}@h/?{new()}",
    ]  # fmt: skip


def _rtmp_addresses(rig: Rig) -> Iterator[tuple[RtmpUrl, bool, dict[str, object]]]:
    """Address, whether it publishes, and further options of connect."""
    new, right, port = rig.marks.new, rig.values["password"], rig.edge.port

    def url(app: str, stream: str, user: str | None = None, password: str | None = None) -> RtmpUrl:
        return RtmpUrl("rtmp", "127.0.0.1", port, app, stream, user, password)

    for app in ("users", "dialogue", "signed", "jwt"):
        for number, query in enumerate(_queries(rig.marks, right)):
            publishes = bool(number % 2)
            yield url(app, f"{next(_NUMBERS)}?{query}"), publishes, {}
            yield url(f"{app}?{query}", f"{next(_NUMBERS)}"), not publishes, {}
            yield with_tc_query(url(app, f"{next(_NUMBERS)}"), query), publishes, {}
    for password in (right, new()):
        for publishes in (False, True):
            yield url("dialogue", f"{next(_NUMBERS)}", "studio", password), publishes, {}
            yield url("dialogue", f"{next(_NUMBERS)}", new(), password), publishes, {}
            yield url(f"dialogue?pass={new()}", f"{next(_NUMBERS)}", "studio", password), publishes, {}
            yield url("users", f"{next(_NUMBERS)}"), publishes, {"args": (new(), new(), {"a": new()})}
            yield url("users", f"{next(_NUMBERS)}"), publishes, {
                "swf_url": f"http://u:{new()}@x/?{new()}", "page_url": f"http://x/?{new()}",
            }  # fmt: skip
    for stream in ("", "?", "a/../b", "x" * 3000, "a\x01b", "a\ud800b"):
        yield url("users", f"{stream}?pass={new()}"), True, {}
        yield url("users", f"{stream}?pass={new()}"), False, {}
    for kind in _ANSWERS:
        token = f"token={rig.marks.escaped(new())}"
        for query in (f"user=u&pass={new()}", token, f"a={new()}&{new()}", new()):
            yield url(f"hook?{new()}", f"{kind}-{next(_NUMBERS)}?{query}"), True, {}


_ANSWERS = ("reason", "password", "page", "decoded", "odd", "elsewhere", "slow", "yes")


async def _try_rtmp(rig: Rig) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def attempt(url: RtmpUrl, publishes: bool, options: dict[str, object]) -> None:
        async with places:
            said = "let in"
            try:
                async with connect(url, publisher=publishes, timeout_s=TIMEOUT_S, **options) as connection:
                    await connection.send_command("whoami", f"rtmp://u:{rig.marks.new()}@x/?{rig.marks.new()}")
                    if publishes:
                        publication = await connection.publish()
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(feed(publication), 0.2)
                    else:
                        await connection.play(timeout_s=6.0)
            except ClusterError as error:
                said = str(error)
            (rig.hooked if url.app.startswith("hook") else rig.said).append((repr(url), said))

    await asyncio.gather(*(attempt(*each) for each in _rtmp_addresses(rig)))


def _http_requests(rig: Rig) -> Iterator[bytes]:
    marks, new, right = rig.marks, rig.marks.new, rig.values["password"]

    def get(path: str, *fields: str, method: str = "GET") -> bytes:
        head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: edge", "Connection: close", *fields))
        return f"{head}\r\n\r\n".encode()

    socket_fields = (
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    for app, form in itertools.product(("users", "signed", "jwt"), ("flv", "mp4", "m3u8")):
        for query in _queries(marks, right)[:: 3 if form == "mp4" else 2]:
            yield get(f"/{app}/live.{form}?{query}")
        yield get(f"/{app}/live.{form}", f"Authorization: Bearer {new()}", f"Cookie: {new()}")
        yield get(f"/{app}/live.{form}", f"Authorization: {marks.basic('studio', new())}")
        yield get(f"/{app}/live.{form}", f"Authorization: {marks.basic('studio', right)}")
        yield get(f"/{app}/live.{form}", f"Authorization: Basic !{new()}", f"Referer: http://x/?{new()}")
        yield get(f"/{app}/live.{form}?pass={new()}", *socket_fields, f"Sec-WebSocket-Protocol: {new()}")
        yield get(f"/{app}/live.{form}?user=studio&pass={new()}", method="OPTIONS")
        yield get(f"/{app}/live.{form}?user=studio&pass={new()}", method="POST")
    for kind in _ANSWERS:
        yield get(f"/hook/{kind}-http.flv?token={new()}", f"Authorization: Bearer {new()}")
        yield get(f"/hook/{kind}-http.m3u8?a={new()}", f"Authorization: {marks.basic('u', new())}")
    for path in ("/users/live", "/", "/nothing/here.txt", "/users/live/media.m3u8", "/users/live/1.m4s"):
        yield get(f"{path}?pass={new()}&ticket={new()}", f"Authorization: Bearer {new()}")
        yield get(f"{path}?ticket=6b0d213b.{new().ljust(22, 'A')}")
    yield get("/users/live.flv", f"Authorization: Bearer {new() * 1000}")
    yield get(f"http://u:{new()}@edge/users/live.flv?pass={new()}")
    yield get(f"/users/live.flv?pass={new() * 1000}")
    yield get(f"/users/{'x' * 300}.flv?pass={new()}")
    yield get(f"/users/live.flv?pass={new()}", f"Authorization: {new()}", f"Authorization: {new()}")
    yield f"GET /users/live.flv?pass={new()} HTTP/9.9\r\nAuthorization: Bearer {new()}\r\n\r\n".encode()
    yield f"{new()} /?pass={new()} HTTP/1.1\r\n\r\n".encode()
    yield f"GET /a b?{new()} HTTP/1.1\r\n\r\n".encode()
    yield f"GET /?{new()} HTTP/1.1\r\nAuthorization {new()}\r\n\r\n".encode()
    yield f"GET /?{new()} HTTP/1.1\r\nHost: a\r\n{new()}\x00: {new()}\r\n\r\n".encode()
    yield f"GET /?{new()} HTTP/1.1\r\nHost: a\r\nContent-Length: {new()}\r\n\r\n".encode()
    yield f"GET /users/\xff.flv?pass={new()} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1")


def _ask(port: int, data: bytes, context: ssl.SSLContext | None) -> str:
    """What comes back within a while, of a stream the beginning."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S))
        if context is not None:
            peer = stack.enter_context(context.wrap_socket(peer, server_hostname="localhost"))
        peer.settimeout(5.0)
        peer.sendall(data)
        got = b""
        with contextlib.suppress(OSError):
            while len(got) < 4096 and (read := peer.recv(65536)):
                got += read
        return got.decode("latin-1")
    return ""


async def _try_http(rig: Rig) -> None:
    """On the ports of HTTP, and some on those of RTMP, where they are no RTMP."""
    context = rig.files.client_context()
    places = asyncio.Semaphore(AT_ONCE)

    async def attempt(port: int, data: bytes, tls: ssl.SSLContext | None) -> None:
        async with places:
            said = await asyncio.to_thread(_ask, port, data, tls)
            rig.marks.further |= set(re.findall(r"ticket=([0-9a-f]+\.[\w-]{22})", said))
            (rig.hooked if b"/hook/" in data else rig.said).append((repr(data[:80]), said))

    ports = [(rig.http_port(tls=False), None), (rig.http_port(tls=True), context)]
    tasks = [attempt(port, data, tls) for port, tls in ports for data in _http_requests(rig)]
    wrong = [(rig.edge.port, None), (rig.edge.tls_port, None), (rig.http_port(tls=True), None),
             (rig.edge.tls_port, context)]  # fmt: skip
    data = f"GET /live/x?pass={rig.marks.new()} HTTP/1.1\r\nAuthorization: {rig.marks.new()}\r\n\r\n"
    tasks += [attempt(port, data.encode(), tls) for port, tls in wrong]
    await asyncio.gather(*tasks)


async def _try_all(rig: Rig) -> None:
    right = rig.values["password"]
    url = RtmpUrl("rtmp", "127.0.0.1", rig.edge.port, "users", f"live?user=studio&pass={right}")
    async with connect(url, publisher=True) as connection:
        feeding = asyncio.create_task(feed(await connection.publish()))
        await asyncio.sleep(2.5)  # a segment of HLS
        await asyncio.gather(_try_rtmp(rig), _try_http(rig))
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


# ---- what comes out --------------------------------------------------------------------------


def _processes(edge: Edge) -> Iterator[psutil.Process]:
    parent = psutil.Process(edge.pid)
    yield parent
    yield from parent.children(recursive=True)


def _seen_of(process: psutil.Process) -> str:
    seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    return b"\n".join(seen).decode(errors="replace")


def _command(*arguments: str) -> str:
    command = [sys.executable, "-m", "cluster", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def _everything(rig: Rig) -> dict[str, str]:
    """All that comes out but what peers were told."""
    edge = rig.edge
    with urllib.request.urlopen(f"http://{edge.ready['metrics']}/metrics", timeout=30) as answer:
        metrics = answer.read().decode()
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    return {
        "metrics": metrics,
        "status": _command("status", "--json"),
        "check": _command("check", str(rig.config)),
        "print-config": _command("edge", "--config", str(rig.config), "--print-config"),
        "processes": "\n".join(map(_seen_of, _processes(edge))),
        "run-time files": "\n".join(
            file.read_text(errors="replace") for file in runtime.rglob("*") if file.is_file()
        ),
        "events": "\n".join(f"{each.body.decode()}" for each in rig.events.requests),
        "log": edge.log_text(),
    }


def _reload(rig: Rig) -> None:
    """Other secrets; then a file that cannot be read; then the first ones."""
    text = rig.config.read_text()
    first = rig.values["password"]
    for changed in (
        text.replace(first, rig.marks.new()).replace(rig.values["jwt"], rig.marks.new().ljust(40, "y"))
        .replace(rig.values["hook"], rig.values["hook"] + rig.marks.new()),
        text.replace(f'"{first}"', f'"{first}'),
        text.replace(f'"{first}"', f"['{first}']"),
        text,
    ):
        rig.config.write_text(changed)
        before = rig.edge.log_text().count("reload")
        os.kill(rig.edge.pid, signal.SIGHUP)
        wait_until(partial(_says_more_of_it, rig.edge, before), "it to say what became of it")


def _says_more_of_it(edge: Edge, before: int) -> bool:
    return edge.log_text().count("reload") > before


def test_what_goes_in_by_any_way_comes_out_by_none(rig: Rig) -> None:
    asyncio.run(_try_all(rig))
    _reload(rig)
    found = {
        place: leaks[:5] for place, text in _everything(rig).items() if (leaks := rig.marks.leaks(text))
    }
    told = [
        f"{asked}: {leaks[0]}"
        for asked, said in rig.said
        if (leaks := rig.marks.leaks(said, tickets=False))
    ]
    assert len(rig.said) > 300, "hardly anything went in"
    assert rig.marks.further, "no ticket was given out"
    assert any(MARK in each.body.decode() for each in rig.hook.requests), "the hook was asked nothing"
    assert rig.events.requests, "no events were told"
    assert not found, json.dumps(found, indent=1)
    assert not told, "\n".join(told)


@pytest.mark.parametrize("by", ["option", "variable", "file"])
def test_the_key_to_publish_stays_with_the_supervisor(
    by: str, tmp_path: Path, start_edge: StartEdge, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = Marks()
    key = marks.new()
    arguments = ["--workers", "2", "--log-level", "debug"]
    if by == "option":
        arguments += ["--publish-key", key]
    elif by == "variable":
        monkeypatch.setenv("RTMP_CLUSTER_PUBLISH_KEY", key)
    else:
        config = tmp_path / "edge.toml"
        config.write_text(f'[access]\npublish_key = "{key}"\n')
        arguments += ["--config", str(config)]
    edge = start_edge(*arguments)
    for name in ("key", "pass", "token"):
        peers.publish(edge, f"{name}?{name}={key}")
        with pytest.raises(PeerError):
            peers.publish(edge, f"{name}-no?{name}={marks.new()}")
    supervisor, *others = _processes(edge)
    assert len(others) >= 2
    seen = "".join(map(_seen_of, others)) + edge.log_text() + _command("status", "--json")
    seen += _command("edge", *arguments[4:], "--print-config")
    assert marks.leaks(seen) == []
    # As docs/access.md says of the option; of the variable its user alone could see it.
    assert bool(marks.leaks(_seen_of(supervisor))) is (by != "file")


_BROKEN = {
    "a text without an end": 'password = "{secret}\n',
    "a text of two lines": 'password = "{secret}\n{secret}"\n',
    "a list": 'password = ["{secret}"]\n',
    "a number": "password = 1{secret}\n",
    "twice": 'password = "{secret}"\npassword = "{secret}"\n',
    "two of them": 'password = "{secret}"\npasswords = ["{secret}"]\n',
    "a wrong name": 'pasword = "{secret}"\n',
    "a hash of another kind": 'password_hash = "md5:{secret}"\n',
    "no base64": 'password_hash = "sha256:{secret}!"\n',
    "no numbers": 'password_hash = "scrypt:{secret}:8:1:{secret}:{secret}"\n',
    "no argon2": 'password_hash = "argon2:{secret}"\n',
    "a short secret": '[jwt]\nsecret = "{secret}"\n',
    "no key": "[jwt]\npublic_key = '{secret}'\n",
    "no list": '[signing]\nsecrets = "{secret}"\n',
    "no text": '[signing]\nsecrets = [["{secret}"]]\n',
    "a scheme of its own": '[signing]\nsecrets = ["{secret}"]\nscheme = "secure-link"\ntext = "{secret}"\n',
    "no webhook secret": '[hooks]\npublish = "http://a/"\nsecret = "{secret}"\n',
    "no web address": '[hooks]\npublish = "ftp://u:{secret}@a/{secret}"\n',
    "no port": '[hooks]\npublish = "http://u:{secret}@a:{secret}/"\n',
    "no address": '[hooks]\npublish = "{secret}"\n',
    "a list of keys that is none": '[jwt]\njwks = "u:{secret}@/{secret}"\n',
    "a key that is none": '[access]\npublish_key = ["{secret}"]\n',
    "an option": 'publish_key = "{secret}"\n',
}  # fmt: skip


@pytest.mark.parametrize("text", _BROKEN.values(), ids=_BROKEN)
def test_a_file_that_cannot_be_used_is_told_of_without_its_secrets(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marks = Marks()
    config = tmp_path / "edge.toml"
    config.write_text("[users.studio]\n" + text.replace("{secret}", marks.new()))
    assert run(["check", str(config)]) != 0
    run(["edge", "--config", str(config), "--print-config"])
    said = capfd.readouterr()
    assert str(config) in said.err + said.out
    assert marks.leaks(said.out + said.err) == []


def test_files_of_secrets_that_cannot_be_used_are_named_and_no_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marks = Marks()
    config, secret = tmp_path / "edge.toml", tmp_path / "secret"
    config.write_text(
        f'[users.studio]\npassword_file = "{secret}"\n[signing]\nsecrets_file = "{secret}"\n'
        f'[jwt]\npublic_key_file = "{secret}"\n'
    )
    for content in (f"{marks.new()}\xff".encode("latin-1"), f"{marks.new()}\0\n".encode(), b"", b"\n\n"):
        secret.write_bytes(content)
        run(["check", str(config)])  # which may be of another host, and so warns
        run(["edge", "--config", str(config), "--print-config"])
        said = capfd.readouterr()
        assert str(secret) in said.err + said.out
        assert marks.leaks(said.out + said.err) == []
