"""10,000 sessions of one worker, or its streams, are listed without holding up its media."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time

import pytest

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.questions import (
    MAX_PAGE_STREAMS,
    AskSessions,
    AskStreams,
    SessionPage,
    StreamRows,
    decode_answer,
    encode_question,
)
from cluster.core.message import Message
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.inquiries import Inquiries
from cluster.edge.node.serving import Serving
from cluster.edge.streams.counters import Counters
from cluster.net.listener import bound_socket
from support.house import AAC_HEADER, AVC_HEADER, INTER, KEY, video
from support.sockets import on_uvloop, until
from support.streams import FakeLink, FakePublisher

SESSIONS = 10_000
#: What a media turn may lose to one page, of CPU time: others run here too.
LONGEST_S = 0.002

#: Opens so many connections, and keeps them until its stdin ends.
_CLIENTS = """
import socket, sys
open_ = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
sys.stdin.read()
"""


STREAMS = 400


class NoRouters:
    def router_troubles(self) -> dict[str, str | None]:
        return {}


class NoUplink:
    """Nobody else plays or publishes."""

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: False


@pytest.mark.alone
def test_no_page_of_many_sessions_takes_longer_than_a_turn_has() -> None:
    async def scene() -> None:
        config = EdgeConfig(
            max_connections=2 * SESSIONS, max_half_open=4 * SESSIONS, handshake_timeout_s=600.0, workers=1
        )
        identity = WorkerIdentity("n", "0a", 0, 1)
        serving = Serving(config, Counters(), lambda _: NoUplink(), identity)  # type: ignore[arg-type]
        bound = bound_socket("127.0.0.1", 0)
        serving.listen(bound)
        port = str(bound.getsockname()[1])
        command = [sys.executable, "-c", _CLIENTS, port, str(SESSIONS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as clients:  # noqa: ASYNC220
            try:
                await until(lambda: serving.connections == SESSIONS, f"{SESSIONS} connections", 60)
                inquiries = Inquiries(serving, identity, NoRouters(), lambda _: None)
                await list_all(inquiries)  # once, to warm up
                # Each listing may be interrupted by something else on the machine.
                took = min([await list_all(inquiries) for _ in range(3)], key=max)
            finally:
                clients.communicate()
                await serving.close()
        print(
            f"{len(took)} pages of {SESSIONS} sessions: median {statistics.median(took) * 1e3:.2f} ms, "
            f"longest {max(took) * 1e3:.2f} ms"
        )
        assert max(took) < LONGEST_S

    on_uvloop(scene())


async def list_all(inquiries: Inquiries) -> list[float]:
    """How long each page took, for as many as there are."""
    took: list[float] = []
    found = after = 0
    while True:
        text = encode_question(AskSessions(after=after))
        began_at = time.thread_time()
        said = inquiries.answer(text)
        took.append(time.thread_time() - began_at)
        page = decode_answer(said)
        assert isinstance(page, SessionPage)
        found += len(page.rows)
        if page.after is None:
            assert found == SESSIONS
            return took
        after = page.after
        await asyncio.sleep(0)


@pytest.mark.alone
def test_no_page_of_many_streams_takes_longer_than_a_turn_has() -> None:
    async def scene() -> None:
        identity = WorkerIdentity("n", "0a", 0, 1)
        serving = Serving(EdgeConfig(workers=1), Counters(), lambda _: FakeLink(), identity)  # type: ignore[arg-type]
        keys = [f"live/{number:03}" for number in range(STREAMS)]
        for key in keys:
            publisher = FakePublisher()
            await serving.streams.publishing.request(key, publisher)
            publisher.feed.append(Message(9, 0, AVC_HEADER, 1))
            publisher.feed.append(Message(8, 0, AAC_HEADER, 1))
            for number in range(100):
                publisher.feed.append(video(40 * number, KEY if number == 0 else INTER))
        inquiries = Inquiries(serving, identity, NoRouters(), lambda _: None)
        first = list_streams(inquiries, keys)  # every header is read
        took = min([list_streams(inquiries, keys) for _ in range(3)], key=max)
        print(
            f"{len(first)}, then {len(took)} pages of {STREAMS} streams: "
            f"median {statistics.median(took) * 1e3:.2f} ms, longest {max(took) * 1e3:.2f} ms"
        )
        assert len(took) < len(first)
        assert max(took) < LONGEST_S
        await serving.close()

    on_uvloop(scene())


def list_streams(inquiries: Inquiries, keys: list[str]) -> list[float]:
    """How long each page took."""
    took: list[float] = []
    while keys:
        text = encode_question(AskStreams(tuple(keys[:MAX_PAGE_STREAMS])))
        began_at = time.thread_time()
        said = inquiries.answer(text)
        took.append(time.thread_time() - began_at)
        page = decode_answer(said)
        assert isinstance(page, StreamRows)
        assert [row.key for row in page.rows] == keys[: page.looked_at]
        keys = keys[page.looked_at :]
    return took
