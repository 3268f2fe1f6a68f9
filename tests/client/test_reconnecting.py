"""Publishing and playing over lost connections, refusals, and requests to go elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.client import Backoff, ConnectionClosed, PlayFailed, PublishRefused, Unreachable, reconnecting
from cluster.client.reconnecting_playback import ReconnectingPlayback
from cluster.client.reconnecting_publication import ReconnectingPublication
from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.media.classify import data_handler_name
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.events import Event
from support.scripted_server import (
    AUDIO_HEADER,
    SEQUENCE_HEADER,
    Peer,
    ScriptedServer,
    accept,
    audio_frame,
    inter_frame,
    key_frame,
    serving,
    until,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]
QUICK = Backoff(first_s=0.01, max_s=0.05)


def test_a_playback_goes_on_with_what_is_new(run: Run) -> None:
    frames = [(0, key_frame(0)), (40, inter_frame(1)), (80, inter_frame(2)), (120, inter_frame(3))]

    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.PlayRequested):
            first = len(server.peers) == 1
            peer.session.send(Message(MessageType.VIDEO, 0, SEQUENCE_HEADER, 1))
            for at, payload in frames[:3] if first else frames:
                peer.session.send(Message(MessageType.VIDEO, at, payload, 1))
            if first:
                peer.flush()
            else:
                peer.session.end_play(1)

    server: ScriptedServer

    async def work() -> None:
        nonlocal server
        async with serving(script) as server, reconnecting(server.url(), backoff=QUICK).play() as playback:
            got = []
            async for message in playback:
                if message.type_id == MessageType.VIDEO:
                    got.append((message.timestamp, bytes(message.payload)))
                if len(got) == 4 and len(server.peers) == 1:
                    server.peer.close()
            assert got == [(0, SEQUENCE_HEADER), *frames]
            assert playback.reconnects == 1
            asked = server.peer.seen(events.ConnectRequested)
            assert asked[0].capabilities.can_reconnect

    run(work())


def test_a_stream_that_comes_later_is_waited_for(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PlayRequested) and 1 < len(server.peers) < 4:
            peer.session.reject_play(event.stream_id, "NetStream.Play.StreamNotFound", "later")
            peer.close()
        else:
            accept(peer, event)
            if isinstance(event, events.PlayRequested):
                peer.session.send(Message(MessageType.VIDEO, 9, key_frame(len(server.peers)), 1))
                if len(server.peers) == 1:
                    peer.close()

    server: ScriptedServer

    async def work() -> None:
        nonlocal server
        async with serving(script) as server, reconnecting(server.url(), backoff=QUICK).play() as playback:
            got = [await _video(playback), await _video(playback)]
            assert [bytes(m.payload) for m in got] == [key_frame(1), key_frame(4)]
            assert got[1].timestamp > got[0].timestamp  # the same on the wire: it began anew
            assert playback.reconnects == 3

    run(work())


def test_the_first_attempt_says_what_is_wrong(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PlayRequested):
            peer.session.reject_play(event.stream_id, "NetStream.Play.StreamNotFound", "none")
        elif isinstance(event, events.PublishRequested):
            peer.session.reject_publish(event.stream_id, "NetStream.Publish.BadName", "taken")
        else:
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server:
            again = reconnecting(server.url(), backoff=QUICK)
            with pytest.raises(PlayFailed, match="none"):
                await again.play().__aenter__()
            with pytest.raises(PublishRefused, match="taken"):
                await again.publish().__aenter__()
            await until(lambda: all(peer.gone.is_set() for peer in server.peers), "both sockets' end")
            assert len(server.peers) == 2
        with pytest.raises(Unreachable):
            await again.play().__aenter__()

    run(work())


def test_losses_failures_and_returns_are_told(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PlayRequested) and len(server.peers) == 2:
            peer.session.reject_play(event.stream_id, "NetStream.Play.StreamNotFound", "later")
        else:
            accept(peer, event)
            if isinstance(event, events.PlayRequested):
                peer.session.send(Message(MessageType.VIDEO, 9, key_frame(len(server.peers)), 1))
                if len(server.peers) == 1:
                    peer.close()

    server: ScriptedServer
    told: list[str] = []

    async def work() -> None:
        nonlocal server
        async with serving(script) as server:
            again = reconnecting(server.url(), backoff=QUICK, told=told.append)
            async with again.play() as playback:
                await _video(playback)
                await _video(playback)

    run(work())
    lost, back, refused, back_again = told
    assert lost.startswith("the connection is closed (peer_closed): ")
    assert lost.endswith("; trying again in 0.0 s")
    assert back.startswith("connected again after 0.")
    assert "later; trying again in 0." in refused
    assert back_again.startswith("connected again after 0.")


def test_attempts_run_out_with_the_last_error(run: Run) -> None:
    backoff = Backoff(first_s=0.01, max_s=0.01, attempts=3)

    async def work() -> None:
        async with serving() as server:
            playing, publishing = (
                await reconnecting(server.url(), backoff=backoff).play().__aenter__(),
                await reconnecting(server.url(), backoff=backoff).publish().__aenter__(),
            )
        with pytest.raises(Unreachable):
            await _iterate(playing)
        with pytest.raises(StopAsyncIteration):
            await anext(playing)
        with pytest.raises(Unreachable):
            await _keep_sending(publishing)
        await playing.__aexit__(None, None, None)
        await publishing.__aexit__(None, None, None)

    run(work())


def test_a_player_moves_when_it_is_asked_to(run: Run) -> None:
    told: list[str] = []

    async def work() -> None:
        async with (
            serving() as old,
            serving() as new,
            reconnecting(old.url(), backoff=QUICK, told=told.append).play() as playback,
        ):
            old.peer.video(0, SEQUENCE_HEADER)
            old.peer.video(0, key_frame(0))
            old.peer.video(40, inter_frame(1))
            for payload in (SEQUENCE_HEADER, key_frame(0), inter_frame(1)):
                assert bytes((await _video(playback)).payload) == payload
            old.peer.session.request_reconnect(f"rtmp://127.0.0.1:{new.port}/live")
            old.peer.video(80, inter_frame(2))
            assert bytes((await _video(playback)).payload) == inter_frame(2)
            await until(lambda: new.peers and new.peer.seen(events.PlayRequested), "the new play")
            assert old.peer.seen(events.StreamClosed) == []  # served until the other one plays
            new.peer.video(0, SEQUENCE_HEADER)
            for number in range(3):
                new.peer.video(40 * number, key_frame(0) if number == 0 else inter_frame(number))
            new.peer.video(120, inter_frame(3))
            old.peer.video(100, inter_frame(99))
            await until(lambda: playback._playback and playback._playback.waiting, "it to arrive")
            assert bytes((await _video(playback)).payload) == inter_frame(99)
            assert bytes((await _video(playback)).payload) == inter_frame(3)
            await until(old.peer.gone.is_set, "the old server to be left")
            assert playback.reconnects == 1
            assert told == [f"the server asks us to go to 127.0.0.1:{new.port}"]

    run(work())


def test_a_player_sent_to_where_nobody_is_stays(run: Run) -> None:
    async def work() -> None:
        async with serving() as gone:
            nowhere = f"rtmp://127.0.0.1:{gone.port}/live"
        async with (
            serving() as old,
            reconnecting(old.url(), backoff=QUICK).play() as playback,
        ):
            old.peer.session.request_reconnect(nowhere)
            for number in range(10):
                old.peer.video(40 * number, inter_frame(number))
                assert bytes((await _video(playback)).payload) == inter_frame(number)
                await asyncio.sleep(0.002)
            waiting = asyncio.ensure_future(_video(playback))
            old.peer.close()
            await until(lambda: len(old.peers) == 2, "the first address again")
            await until(lambda: old.peer.seen(events.PlayRequested), "another play")
            old.peer.video(400, inter_frame(10))
            assert bytes((await waiting).payload) == inter_frame(10)

    run(work())


def test_a_publication_resumes_with_headers_at_a_keyframe(run: Run) -> None:
    metadata = amf0.encode("onMetaData", EcmaArray({"width": 2.0}))

    async def work() -> None:
        async with serving() as server, reconnecting(server.url(), backoff=QUICK).publish() as publication:
            await publication.send_metadata({"width": 2}, 0)
            await publication.send_video(SEQUENCE_HEADER, 0)
            await publication.send_audio(AUDIO_HEADER, 0)
            await publication.send_video(key_frame(0), 0)
            await until(lambda: len(server.peer.messages) == 4, "the first messages")
            server.peer.writer.transport.abort()
            number = 0
            while publication.reconnects == 0 or not publication.connected:
                number += 1
                await publication.send_video(inter_frame(number), number)
                await asyncio.sleep(0.002)
            assert publication.dropped > 0
            await publication.send_video(inter_frame(1000), 1000)  # no decoder could begin with it
            await publication.send_audio(audio_frame(1), 1000)
            await publication.send_video(key_frame(1001), 1001)
            await publication.send_video(inter_frame(1002), 1002)
            await until(lambda: len(server.peer.messages) == 5, "the publish to go on")
            got = [(m.type_id, m.timestamp, bytes(m.payload)) for m in server.peer.messages]
            assert got == [
                (18, 1001, metadata), (9, 1001, SEQUENCE_HEADER), (8, 1001, AUDIO_HEADER),
                (9, 1001, key_frame(1001)), (9, 1002, inter_frame(1002)),
            ]  # fmt: skip
            assert server.peer.seen(events.ConnectRequested)[0].flash_ver

    run(work())


def test_audio_alone_resumes_anywhere(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, reconnecting(server.url(), backoff=QUICK).publish() as publication:
            await publication.send_audio(AUDIO_HEADER, 0)
            server.peer.writer.transport.abort()
            while publication.reconnects == 0 or not publication.connected:
                await publication.send_audio(audio_frame(0), 0)
                await asyncio.sleep(0.002)
            await publication.send_audio(audio_frame(1), 20)
            await until(lambda: len(server.peer.messages) >= 2, "the publish to go on")
            assert bytes(server.peer.messages[0].payload) == AUDIO_HEADER

    run(work())


def test_a_refused_publish_is_tried_again(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PublishRequested) and 1 < len(server.peers) < 4:
            peer.session.reject_publish(event.stream_id, "NetStream.Publish.BadName", "still held")
            peer.close()
        else:
            accept(peer, event)

    server: ScriptedServer

    async def work() -> None:
        nonlocal server
        async with (
            serving(script) as server,
            reconnecting(server.url(), backoff=QUICK).publish() as publication,
        ):
            server.peer.writer.transport.abort()
            while publication.reconnects < 3 or not publication.connected:
                await publication.send_video(key_frame(0), 0)
                await asyncio.sleep(0.002)
            await publication.send_video(key_frame(1), 40)
            await until(lambda: server.peer.messages, "the publish to go on")

    run(work())


def test_a_publisher_moves_at_a_keyframe(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as old,
            serving() as new,
            reconnecting(old.url(), backoff=QUICK).publish() as publication,
        ):
            await publication.send_video(SEQUENCE_HEADER, 0)
            await publication.send_video(key_frame(0), 0)
            old.peer.session.request_reconnect(f"rtmp://127.0.0.1:{new.port}/live")
            old.peer.flush()
            first = publication._publication
            assert first is not None
            await until(lambda: first.connection.reconnect_url, "the request")
            await publication.send_video(key_frame(1), 40)
            await until(lambda: new.peers, "the new connection")
            await until(lambda: publication._move is None or publication._move.done(), "it to be let in")
            await publication.send_video(inter_frame(2), 80)
            await publication.send_video(key_frame(3), 120)
            await publication.send_video(inter_frame(4), 160)
            await until(lambda: len(new.peer.messages) == 3, "the publish to go on there")
            assert [bytes(m.payload) for m in new.peer.messages] == [
                SEQUENCE_HEADER, key_frame(3), inter_frame(4),
            ]  # fmt: skip
            assert [bytes(m.payload) for m in old.peer.messages][-1] == inter_frame(2)
            await until(old.peer.gone.is_set, "the old server to be left")
            assert publication.dropped == 0

    run(work())


def test_leaving_in_the_middle_of_an_attempt_leaves_nothing_behind(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if len(server.peers) == 1:
            accept(peer, event)

    server: ScriptedServer

    async def work() -> None:
        nonlocal server
        async with serving(script) as server:
            again = reconnecting(server.url(), backoff=QUICK)
            async with again.publish() as publication:
                server.peer.writer.transport.abort()
                while len(server.peers) == 1:
                    await publication.send_audio(audio_frame())
                    await asyncio.sleep(0.002)
            await until(lambda: all(peer.gone.is_set() for peer in server.peers), "all sockets' end")
        async with serving(script) as server:
            async with reconnecting(server.url(), backoff=QUICK).play() as playback:
                server.peer.writer.transport.abort()
                iterating = asyncio.ensure_future(_iterate(playback))
                await until(lambda: len(server.peers) > 1, "another attempt")
                iterating.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await iterating
            await until(lambda: all(peer.gone.is_set() for peer in server.peers), "all sockets' end")

    run(work())


def test_a_lost_connection_is_not_reported_twice(run: Run) -> None:
    async def work() -> None:
        backoff = Backoff(first_s=0.01, attempts=1)
        async with (
            serving() as server,
            reconnecting(server.url(), backoff=backoff).publish() as publication,
        ):
            server.peer.writer.transport.abort()
            with pytest.raises(ConnectionClosed):
                await _keep_sending(publication)
            assert len(server.peers) == 1

    run(work())


async def _keep_sending(publication: ReconnectingPublication) -> None:
    while True:
        await publication.send_audio(audio_frame())
        await asyncio.sleep(0.002)


async def _iterate(playback: ReconnectingPlayback) -> None:
    async for _ in playback:
        pass


async def _video(playback: ReconnectingPlayback) -> Message:
    """The next message that is not the data every player is sent first."""
    while True:
        message = await anext(playback)
        if data_handler_name(message.payload) != "|RtmpSampleAccess":
            return message
