"""The server embedded in a program: what its handler decides and hears, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.core.rtmp.status import Code
from cluster.edge.embed.server import CallError, Reject, Server, ServerHandler
from cluster.edge.node.config import EdgeConfig
from support.cluster_process import PACKAGES, ROOT
from support.house import AAC_HEADER, AVC_HEADER, KEY, audio, video
from support.sockets import on_asyncio, on_uvloop, until
from support.tcp_peer import TcpPeer
from support.wire_peer import WirePeer

HEADERS = (Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1))


class Recorder(ServerHandler):
    """Hears everything; decides what ``answers`` says, by the name of the question."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}
        self.peers: list[Any] = []

    async def _answer(self, question: str) -> Reject | None:
        answer = self.answers.get(question)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return None
        return answer

    async def on_connect(self, peer, request):
        self.peers.append(peer)
        self.heard.append(("connect", request.app))
        return await self._answer("connect")

    async def on_publish(self, peer, key, request):
        self.heard.append(("publish", key, request.query))
        return await self._answer("publish")

    async def on_play(self, peer, key, request):
        self.heard.append(("play", key))
        return await self._answer("play")

    def on_stream_created(self, peer, stream_id):
        self.heard.append(("created", stream_id))

    def on_stream_closed(self, peer, stream_id):
        self.heard.append(("stream closed", stream_id))

    def on_publish_started(self, peer, key):
        self.heard.append(("publish started", key))

    def on_publish_ended(self, peer, key):
        self.heard.append(("publish ended", key))

    def on_play_started(self, peer, key):
        self.heard.append(("play started", key))

    def on_play_ended(self, peer, key):
        self.heard.append(("play ended", key))

    def on_message(self, key, message):
        self.heard.append(("message", key, message.type_id, message.timestamp))

    def on_receive_audio(self, peer, key, on):
        self.heard.append(("receive audio", key, on))

    def on_receive_video(self, peer, key, on):
        self.heard.append(("receive video", key, on))

    def on_pause(self, peer, key, paused):
        self.heard.append(("pause", key, paused))

    def on_command(self, peer, command):
        self.heard.append(("command", command.name))

    def on_closed(self, peer, reason):
        self.heard.append(("closed", reason.value))


class Scene:
    def __init__(self, server: Server, handler: Recorder, stack: contextlib.AsyncExitStack) -> None:
        self.server = server
        self.handler = handler
        self._stack = stack

    async def peer(self) -> TcpPeer:
        host, _, port = self.server.addresses[0].rpartition(":")
        peer = TcpPeer(*await asyncio.open_connection(host, int(port)))
        self._stack.push_async_callback(peer.close)
        await peer.until_connected()
        return peer

    async def heard(self, *what: Any) -> None:
        await until(lambda: what in self.handler.heard, f"{what} to be heard")


@contextlib.asynccontextmanager
async def scene(**answers: Any) -> AsyncIterator[Scene]:
    handler = Recorder()
    handler.answers.update(answers)
    async with (
        Server(handler, "127.0.0.1:0", EdgeConfig(publish_grace_s=0.1)) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        yield Scene(server, handler, stack)


@pytest.mark.parametrize("on_loop", [on_asyncio, on_uvloop])
def test_everything_a_program_hears_of_a_publisher_and_a_player(on_loop) -> None:
    async def play_it() -> None:
        async with scene() as here:
            publisher, player = await here.peer(), await here.peer()
            await publisher.publish("cam?key=1")
            await player.play("cam")
            publisher.send(*HEADERS, video(0, KEY), audio(10))
            await until(lambda: len(player.media) == 4, "the media to arrive")
            player.session.receive_audio(1, False)
            player.session.pause(1, True, 0)
            player.session.call("hello", 1.0)
            player.flush()
            await here.heard("command", "hello")
            await publisher.close()
            await here.heard("publish ended", "live/cam")
            await player.close()
            await here.heard("play ended", "live/cam")
            await until(
                lambda: sum(what[0] == "closed" for what in here.handler.heard) == 2, "both to be closed"
            )
            heard = here.handler.heard
            for what in (
                ("connect", "live"), ("created", 1), ("publish", "live/cam", "key=1"),
                ("publish started", "live/cam"), ("play", "live/cam"), ("play started", "live/cam"),
                ("message", "live/cam", 9, 0), ("message", "live/cam", 8, 10),
                ("receive audio", "live/cam", False), ("pause", "live/cam", True),
            ):  # fmt: skip
                assert what in heard
            asked, started = ("publish", "live/cam", "key=1"), ("publish started", "live/cam")
            assert heard.index(asked) < heard.index(started)

    on_loop(play_it())


class Eager(WirePeer):
    """Says all it wants on message stream 0 at once, and waits for no answer."""

    def on_connected_socket(self) -> None:
        super().on_connected_socket()
        self.command("publish", 2.0, self.name, "live")

    def on_result(self, transaction_id: float) -> None:
        pass


def test_a_publish_on_message_stream_0_behind_connect_is_decided_for_itself() -> None:
    async def play_it() -> None:
        async with scene() as here:
            host, _, port = here.server.addresses[0].rpartition(":")
            peer = Eager(socket.create_connection((host, int(port)), timeout=30), "live", "cam?key=1")
            await until(lambda: not peer.pump() and peer.codes, "the publish to be granted")
            assert peer.codes == [Code.PUBLISH_START]
            peer.command("deleteStream", 0.0, 0.0)
            await until(lambda: not peer.pump() and ("stream closed", 0) in here.handler.heard, "its end")
            peer.close()
            heard = [what for what in here.handler.heard if what[0] != "closed"]
            assert heard == [
                ("connect", "live"), ("created", 0), ("publish", "live/cam", "key=1"),
                ("publish started", "live/cam"), ("publish ended", "live/cam"), ("stream closed", 0),
            ]  # fmt: skip

    on_asyncio(play_it())


@pytest.mark.parametrize(
    ("question", "code", "reason"),
    [
        ("publish", Code.PUBLISH_DENIED, "publish_refused"),
        ("play", Code.PLAY_FAILED, "play_refused"),
    ],
)
@pytest.mark.parametrize("answer", [Reject("not today"), ValueError("a bug of the program")])
def test_a_rejection_or_a_failing_decision_is_told_and_closes(question, code, reason, answer) -> None:
    async def reject() -> None:
        async with scene(**{question: answer}) as here:
            peer = await here.peer()
            (peer.session.publish if question == "publish" else peer.session.play)("cam")
            peer.flush()
            await peer.until_closed()
            assert code in peer.codes
            await here.heard("closed", reason)
            assert here.server.counters.closes == {reason: 1}

    on_asyncio(reject())


def test_a_rejected_connect_carries_the_programs_words_and_redirect() -> None:
    async def reject() -> None:
        answer = Reject("full", Code.CONNECT_REJECTED, redirect="rtmp://elsewhere/live")
        async with scene(connect=answer) as here:
            peer = await here.peer()
            await peer.until_closed()
            (failed,) = [each for each in peer.received if isinstance(each, events.ConnectFailed)]
            assert (failed.code, failed.description) == (Code.CONNECT_REJECTED, "full")
            assert failed.redirect == "rtmp://elsewhere/live"
            await here.heard("closed", "connect_rejected")

    on_asyncio(reject())


def test_what_is_sent_during_a_slow_decision_is_kept_in_order() -> None:
    async def wait() -> None:
        decided = asyncio.Event()
        async with scene(publish=decided) as here:
            publisher, player = await here.peer(), await here.peer()
            await player.play("cam")
            publisher.session.publish("cam")
            publisher.flush()
            await here.heard("publish", "live/cam", "")
            publisher.send(*HEADERS, video(0, KEY), video(33))
            decided.set()
            await until(lambda: len(player.media) == 4, "what was held to arrive")
            assert [stamp for _, stamp, _ in player.media] == [0, 0, 0, 33]

    on_asyncio(wait())


def test_a_request_taken_back_is_not_answered() -> None:
    async def take_back() -> None:
        decided = asyncio.Event()
        async with scene(publish=decided) as here:
            peer = await here.peer()
            peer.session.publish("first")
            peer.flush()
            await here.heard("publish", "live/first", "")
            peer.session.delete_stream(1)
            peer.flush()
            await here.heard("stream closed", 1)
            decided.set()
            await peer.publish("second")
            assert ("publish started", "live/first") not in here.handler.heard
            assert ("publish started", "live/second") in here.handler.heard

    on_asyncio(take_back())


def test_calls_to_a_peer_and_their_ends() -> None:
    async def call() -> None:
        async with scene() as here:
            peer = await here.peer()
            (server_side,) = here.handler.peers
            server_side.call("onNews", "text")
            await until(
                lambda: any(
                    isinstance(each, events.CommandReceived) and each.command.name == "onNews"
                    for each in peer.received
                ),
                "the command to arrive",
            )
            assert await here.server.call(server_side, "_onbwcheck") == (None,)
            with pytest.raises(CallError, match="No such method"):
                await here.server.call(server_side, "add", 1.0)
            peer.stop_reading()
            with pytest.raises(CallError, match="no answer within"):
                await here.server.call(server_side, "late", timeout_s=0.05)
            leaving = asyncio.ensure_future(here.server.call(server_side, "later", timeout_s=5))
            await peer.close()
            with pytest.raises(CallError, match="left"):
                await leaving

    on_asyncio(call())


def test_closing_the_server_tells_its_peers_and_frees_the_port() -> None:
    async def close() -> None:
        async with scene() as here:
            peer = await here.peer()
            address = here.server.addresses[0]
            await here.server.close()
            await peer.until_closed()
            assert Code.CONNECT_APP_SHUTDOWN in peer.codes
            async with Server(bind=address) as again:
                assert again.addresses == [address]

    on_asyncio(close())


def test_the_example_runs_as_written(tmp_path, eventually) -> None:
    output = tmp_path / "output"
    with output.open("w") as writing:
        example = subprocess.Popen(
            [sys.executable, "examples/embedded_server.py", "127.0.0.1:0"],
            cwd=ROOT, env={"PYTHONPATH": str(PACKAGES)}, stdout=writing, stderr=writing,
        )  # fmt: skip

    async def publish(port: int) -> None:
        refused = TcpPeer(*await asyncio.open_connection("127.0.0.1", port))
        await refused.until_connected()
        refused.session.publish("cam?key=wrong")
        refused.flush()
        await refused.until_closed()
        assert Code.PUBLISH_DENIED in refused.codes
        welcome = TcpPeer(*await asyncio.open_connection("127.0.0.1", port))
        await welcome.until_connected()
        await welcome.publish("cam?key=secret")
        welcome.send(*HEADERS)
        await welcome.close()
        await refused.close()

    try:
        eventually(lambda: "ready on 127.0.0.1:" in output.read_text(), "the example to be ready")
        on_asyncio(publish(int(output.read_text().split()[2].rpartition(":")[2])))
        eventually(lambda: "live/cam: 2 messages" in output.read_text(), "the publisher to be heard")
        assert "left: publish_refused" in output.read_text()
    finally:
        example.send_signal(signal.SIGINT)
        try:
            example.wait(timeout=30)
        finally:
            example.kill()
            example.wait()
    assert example.returncode == 0
