"""Opening a connection: what the server may say, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cluster.client import ConnectionClosed, ConnectRejected, RtmpError, Timeout, Tls, Unreachable, connect
from cluster.client.connecting import MAX_REDIRECTS
from cluster.client.errors import TlsFault
from cluster.core.errors import CloseReason, EnvironmentFault
from cluster.core.rtmp import events
from cluster.core.rtmp.adobe_auth import authenticated
from cluster.core.rtmp.capabilities import Capabilities, CapsEx
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.url import RtmpUrl, UrlError
from support.scripted_server import Peer, ScriptedServer, accept, answering_with, serving, until
from support.tls import make_certificate

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_what_the_server_said_is_at_hand(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.ConnectRequested):
            peer.session.accept_connect(version="1.2")

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            assert connection.handshake_kind == "digest-first"
            assert isinstance(connection.properties, dict)
            assert connection.properties["version"] == "1.2"
            assert isinstance(connection.information, dict)
            assert connection.information["code"] == "NetConnection.Connect.Success"
            assert connection.capabilities.caps_ex & CapsEx.MOD_EX
            assert connection.closed is None
            assert connection.bytes_received > 3000
        assert connection.closed is not None
        assert connection.closed.reason == "closed_here"

    run(work())


def test_it_can_be_awaited_instead_of_entered(run: Run) -> None:
    async def work() -> None:
        async with serving() as server:
            connection = await connect(server.url(), handshake="simple")
            assert connection.handshake_kind == "simple"
            await connection.close()
            await until(server.peer.gone.is_set, "the server to see the end")

    run(work())


def test_what_is_declared_arrives(run: Run) -> None:
    async def work() -> None:
        async with serving() as server:
            options: dict[str, Any] = {
                "capabilities": Capabilities(fourcc_list=("hvc1",)), "object_encoding": 3,
                "publisher": True, "swf_url": "http://a/b.swf", "page_url": "http://a/",
                "args": ("token", 5),
            }  # fmt: skip
            async with connect(server.url("live/room/cam?k=1"), reconnect=True, **options):
                pass
            (asked,) = server.peer.seen(events.ConnectRequested)
            assert asked.app == "live/room"
            assert asked.capabilities.fourcc_list == ("hvc1",)
            assert asked.capabilities.can_reconnect
            assert asked.object_encoding == 3
            assert asked.flash_ver.startswith("FMLE/")
            assert asked.command_object["swfUrl"] == "http://a/b.swf"
            assert asked.command_object["pageUrl"] == "http://a/"
            assert asked.args == ("token", 5)
            async with connect(server.url()):
                pass
            assert not server.peer.seen(events.ConnectRequested)[0].capabilities.can_reconnect

    run(work())


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="time_out"):
        connect("rtmp://localhost/live", time_out=3)


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(UrlError, match="neither rtmp nor rtmps"):
        connect("http://localhost/live")


def test_a_rejection_says_what_the_server_said(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        peer.session.reject_connect("NetConnection.Connect.InvalidApp", "no such app")

    async def work() -> None:
        async with serving(_at_connect(script)) as server:
            with pytest.raises(ConnectRejected) as caught:
                await connect(server.url())
            assert caught.value.code == "NetConnection.Connect.InvalidApp"
            assert caught.value.description == "no such app"
            assert caught.value.redirect == ""
            assert "no such app" in str(caught.value)
            await until(server.peer.gone.is_set, "the socket to be closed")

    run(work())


def test_a_redirect_is_followed_with_the_stream_and_the_options(run: Run) -> None:
    async def work() -> None:
        async with serving() as there:
            def script(peer: Peer, event: Event) -> None:
                target = f"rtmp://127.0.0.1:{there.port}/moved/app"
                peer.session.reject_connect("NetConnection.Connect.Rejected", "moved", target)

            async with serving(_at_connect(script)) as here, connect(here.url()) as connection:
                assert connection.url.app == "moved/app"
                assert connection.url.stream == "cam"
                assert there.peer.seen(events.ConnectRequested)[0].app == "moved/app"
                assert len(here.peers) == 1

    run(work())


def test_redirects_in_a_circle_end(run: Run) -> None:
    async def work() -> None:
        def script(peer: Peer, event: Event) -> None:
            peer.session.reject_connect("NetConnection.Connect.Rejected", "moved", server.url("live"))

        async with serving(_at_connect(script)) as server:
            with pytest.raises(ConnectRejected) as caught:
                await connect(server.url())
            assert caught.value.redirect == server.url("live")
            assert len(server.peers) == MAX_REDIRECTS + 1

    run(work())


def test_a_redirect_out_of_tls_is_not_followed(run: Run, tmp_path: Path) -> None:
    files = make_certificate(tmp_path)

    async def work() -> None:
        async with serving() as plain:
            def script(peer: Peer, event: Event) -> None:
                peer.session.reject_connect("NetConnection.Connect.Rejected", "moved", plain.url("live"))

            async with serving(_at_connect(script), tls=_server_context(files.cert, files.key)) as server:
                with pytest.raises(ConnectRejected) as caught:
                    await connect(server.url(scheme="rtmps"), tls=Tls(ca_file=files.cert))
                assert caught.value.redirect == plain.url("live")
                assert not plain.peers

    run(work())


@pytest.mark.parametrize("mode", ["adobe", "llnw"])
def test_user_and_password_answer_a_challenge(run: Run, mode: str) -> None:
    challenge = "salt=c2FsdA==&challenge=Y2hhbA==&opaque=b3BhcXVl&nonce=n0nce"
    url = RtmpUrl.parse("rtmp://ann:secret@h/live/cam")
    prefix = f"[ AccessManager.Reject ] : [ authmod={mode} ] : "

    def script(peer: Peer, event: Event) -> None:
        assert isinstance(event, events.ConnectRequested)
        query = dict(pair.partition("=")[::2] for pair in event.query.split("&"))
        if not query.get("user"):
            said = f"[ code=403 need auth; authmod={mode} ]"
        elif "response" not in query:
            said = f"{prefix}?reason=needauth&user=ann&{challenge}"
        else:
            ours = query.get("cnonce") or query["challenge"]
            expected = authenticated(url, f"{prefix}?reason=needauth&user=ann&{challenge}", ours)
            assert expected is not None
            if event.query == expected.app.partition("?")[2]:
                peer.session.accept_connect()
                return
            said = f"{prefix}?reason=authfailed"
        peer.session.reject_connect("NetConnection.Connect.Rejected", said)

    async def work() -> None:
        async with serving(_at_connect(script)) as server:
            async with connect(server.url(user="ann:secret@")) as connection:
                assert connection.url.app == "live"  # without the response
            assert len(server.peers) == 3
            with pytest.raises(ConnectRejected, match="authfailed"):
                await connect(server.url(user="ann:wrong@"))
            with pytest.raises(ConnectRejected, match="need auth"):
                await connect(server.url())

    run(work())


def test_nobody_listens(run: Run) -> None:
    async def work() -> None:
        async with answering_with(b"", close=True) as port:
            pass
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
            await connect(f"rtmp://127.0.0.1:{port}/live")
        with pytest.raises(Unreachable, match=r"no\.such\.host\.invalid"):
            await connect("rtmp://no.such.host.invalid/live")
        with pytest.raises(Unreachable):
            await connect(f"rtmp://{'a' * 70}.invalid/live")

    run(work())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", CloseReason.NOT_RTMP),
        (b"\x06" + bytes(1536), CloseReason.UNSUPPORTED_HANDSHAKE),
        (b"", CloseReason.PEER_CLOSED),
        (b"\x03" + bytes(100), CloseReason.PEER_CLOSED),
    ],
)
def test_a_server_that_is_none(run: Run, answer: bytes, reason: CloseReason) -> None:
    async def work() -> None:
        async with answering_with(answer, close=True) as port:
            with pytest.raises(ConnectionClosed) as caught:
                await connect(f"rtmp://127.0.0.1:{port}/live")
            assert caught.value.reason in (reason, CloseReason.PEER_RESET)

    run(work())


@pytest.mark.parametrize("answer", [b"", b"\x03" + bytes(3072)])
def test_a_server_that_does_not_answer_in_time(run: Run, answer: bytes) -> None:
    async def work() -> None:
        async with answering_with(answer) as port:
            with pytest.raises(Timeout, match=rf"connect to 127.0.0.1:{port}: no answer within 0.05 s"):
                await connect(f"rtmp://127.0.0.1:{port}/live", timeout_s=0.05)

    run(work())


def test_a_cancelled_connect_closes_its_socket(run: Run) -> None:
    async def work() -> None:
        async with serving(lambda peer, event: None) as server:
            connecting = asyncio.ensure_future(_await(connect(server.url())))
            await until(lambda: server.peers and server.peer.events, "the server to hear of us")
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await until(server.peer.gone.is_set, "the socket to be closed")

    run(work())


def test_whatever_a_server_sends_only_documented_errors_come_out() -> None:
    """Random bytes behind a good connect, at every layer they may reach."""
    randomness = random.Random(7)

    async def play(url: str, junk: bytes) -> None:
        async with connect(url, timeout_s=0.3) as connection:
            playback = await connection.play()
            server.peer.writer.write(junk)
            server.peer.close()
            async for _ in playback.items():
                pass

    server: ScriptedServer

    async def work() -> None:
        nonlocal server
        asyncio.get_running_loop().set_exception_handler(lambda _, context: pytest.fail(str(context)))
        async with serving() as server:
            for number in range(150):
                junk = randomness.randbytes(randomness.choice((1, 20, 300, 5000)))
                if number % 2:  # a whole message of a known type: its body is what is random
                    type_id = randomness.choice((1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 17, 18, 19, 20, 22))
                    body = junk[:128]
                    header = bytes((3, 0, 0, 0, 0, 0, len(body), type_id, number % 4 // 2, 0, 0, 0))
                    junk = header + body
                with contextlib.suppress(RtmpError):
                    await play(server.url(), junk)

    asyncio.run(work())


def test_tls_is_verified_unless_told_otherwise(run: Run, tmp_path: Path) -> None:
    files = make_certificate(tmp_path)

    async def work() -> None:
        async with serving(tls=_server_context(files.cert, files.key)) as server:
            url = server.url(scheme="rtmps")
            refused = pytest.raises(Unreachable, match=r"of 127\.0\.0\.1:.* is not accepted: self-signed")
            with refused as untrusted:
                await connect(url)
            assert untrusted.value.tls_fault is TlsFault.UNTRUSTED
            with pytest.raises(Unreachable, match="is not accepted") as misnamed:
                await connect(url, tls=Tls(ca_file=files.cert, server_name="elsewhere.example"))
            assert misnamed.value.tls_fault is TlsFault.WRONG_NAME
            for tls in (
                Tls(verify=False),
                Tls(ca_file=files.cert),
                Tls(ca_file=files.cert, server_name="localhost"),
                ssl.create_default_context(cafile=str(files.cert)),
            ):
                async with connect(url, tls=tls) as connection:
                    assert connection.protocol.tls_version in ("TLSv1.2", "TLSv1.3")

    run(work())


def test_a_certificate_that_is_out_of_date(run: Run, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, days_from_now=(-9, -1))

    async def work() -> None:
        async with serving(tls=_server_context(files.cert, files.key)) as server:
            with pytest.raises(Unreachable, match="is not accepted") as raised:
                await connect(server.url(scheme="rtmps"), tls=Tls(ca_file=files.cert))
            assert raised.value.tls_fault is TlsFault.OUT_OF_DATE

    run(work())


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("answer", [b"\x03" + bytes(1536), b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_tls_where_the_server_speaks_none(answer: bytes, close: bool, run: Run) -> None:
    async def work() -> None:
        async with answering_with(answer, close=close) as port:
            with pytest.raises((Unreachable, Timeout)) as raised:
                await connect(f"rtmps://127.0.0.1:{port}/live", timeout_s=1)
            if answer or close:
                assert isinstance(raised.value, Unreachable)
                assert raised.value.tls_fault is TlsFault.NO_TLS

    run(work())


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"none\.pem: No such file"):
        Tls(ca_file=tmp_path / "none.pem").context()
    (tmp_path / "bad.pem").write_text("not a certificate")
    with pytest.raises(EnvironmentFault, match=r"bad\.pem"):
        Tls(ca_file=tmp_path / "bad.pem").context()


def _server_context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.fspath(cert), os.fspath(key))
    return context


def _at_connect(script: Callable[[Peer, Event], None]) -> Callable[[Peer, Event], None]:
    """``script`` at connect, and the usual for everything else."""

    def scripted(peer: Peer, event: Event) -> None:
        if isinstance(event, events.ConnectRequested):
            script(peer, event)
        else:
            accept(peer, event)

    return scripted


async def _await(awaitable: Any) -> Any:
    return await awaitable
