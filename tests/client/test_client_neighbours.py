"""Servers of other makes, as they answer on the wire: our client publishes to them and plays from them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.client import connect
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.status import Code, Level
from support.scripted_server import SEQUENCE_HEADER, Peer, accept, key_frame, serving, until

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def on_message_stream_0(peer: Peer, event: Event) -> None:
    """As xiu does: statuses and media on message stream 0, whatever createStream has answered."""
    session = peer.session
    if isinstance(event, events.ConnectRequested):
        session.accept_connect()
    elif isinstance(event, events.PublishRequested):
        session.send_status(0, Level.STATUS, Code.PUBLISH_START, "publish start")
    elif isinstance(event, events.PlayRequested):
        for code in (Code.PLAY_RESET, Code.PLAY_START, "NetStream.Data.Start", Code.PLAY_PUBLISH_NOTIFY):
            session.send_status(0, Level.STATUS, code, "play")
        session.send(Message(MessageType.VIDEO, 0, SEQUENCE_HEADER, 0))
        session.send(Message(MessageType.VIDEO, 40, key_frame(), 0))
        session.send_status(0, Level.STATUS, Code.PLAY_STOP, "over")


@pytest.mark.parametrize("path", ["live/cam", "cam", "a/b/c?key=1"])
def test_a_server_that_has_everything_on_message_stream_0(run: Run, path: str) -> None:
    async def work() -> None:
        async with serving(on_message_stream_0) as server, connect(server.url(path)) as connection:
            async with await connection.publish() as publication:
                await publication.send_video(key_frame())
            async with await connection.play() as playback:
                got = [(each.timestamp, bytes(each.payload)) async for each in playback]
            assert got == [(0, SEQUENCE_HEADER), (40, key_frame())]

    run(work())


def test_a_server_that_has_one_name_for_all_of_the_path(run: Run) -> None:
    """As MediaMTX does: it joins app and name, so an empty name is as good as any."""
    async def work() -> None:
        async with serving() as server:
            async with connect(server.url("cam")) as connection, await connection.publish():
                pass
            await until(lambda: server.peer.seen(events.PublishRequested), "publish")
            (asked,) = server.peer.seen(events.PublishRequested)
            assert (server.peer.session.app, asked.name) == ("cam", "")

    run(work())


def test_a_server_that_goes_on_after_the_end(run: Run) -> None:
    """As we do: a playback is over at the end all the same, and what comes then harms nothing."""
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.PlayRequested):
            peer.session.suspend_play(event.stream_id)
            peer.session.resume_play(event.stream_id)
            peer.session.send(Message(MessageType.VIDEO, 0, SEQUENCE_HEADER, event.stream_id))

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            for _ in range(2):
                async with await connection.play() as playback:
                    got = [each.type_id async for each in playback]
                    assert MessageType.VIDEO not in got

    run(work())
