"""Playing: messages and events in order, the end and its reasons, control, and a slow consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.client import CallError, Connection, ConnectionClosed, Playback, PlayFailed, connect
from cluster.client.read_gate import ReadGate
from cluster.core.amf import amf0
from cluster.core.errors import CloseReason, MisuseError
from cluster.core.limits import Limits
from cluster.core.media.classify import data_handler_name
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.events import Event, StatusReceived
from support.scripted_server import (
    AUDIO_HEADER,
    SEQUENCE_HEADER,
    Peer,
    accept,
    audio_frame,
    key_frame,
    serving,
    until,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]
QUEUE_BYTES = 100_000


def test_messages_arrive_until_the_server_says_that_it_is_over(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.PlayRequested):
            peer.session.send(Message(MessageType.DATA_AMF0, 0, amf0.encode("onCue", 1), 1))
            peer.session.send(Message(MessageType.VIDEO, 0, SEQUENCE_HEADER, 1))
            peer.session.send(Message(MessageType.AUDIO, 2**32 - 1, AUDIO_HEADER, 1))
            peer.session.suspend_play(1)

    async def work() -> None:
        async with serving(script) as server, connect(server.url("live/cam?t=1")) as connection:
            async with await connection.play() as playback:
                got = [(m.type_id, m.timestamp, bytes(m.payload)) async for m in playback][1:]
                assert got == [
                    (18, 0, amf0.encode("onCue", 1.0)),
                    (9, 0, SEQUENCE_HEADER),
                    (8, 2**32 - 1, AUDIO_HEADER),
                ]  # fmt: skip
                assert [m async for m in playback] == []
                assert playback.status is not None
                assert playback.status.code == "NetStream.Play.Stop"
            (asked,) = server.peer.seen(events.PlayRequested)
            assert (asked.name, asked.query) == ("cam", "t=1")
            assert (asked.start, asked.duration, asked.reset) == (-2, -1, True)
            await until(lambda: server.peer.seen(events.StreamClosed), "deleteStream")

    run(work())


def test_items_have_the_events_between_the_messages(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.PlayRequested):
            peer.session.send(Message(MessageType.VIDEO, 0, SEQUENCE_HEADER, 1))
            peer.session.send_status(1, "warning", "NetStream.Play.InsufficientBW", "slow")
            peer.session.send_user_control(UserControlEvent.BUFFER_EMPTY, 1)
            peer.session.send(Message(MessageType.VIDEO, 1, key_frame(), 1))
            peer.session.suspend_play(1)

    async def work() -> None:
        async with (
            serving(script) as server,
            connect(server.url()) as connection,
            await connection.play() as playback,
        ):
            seen: list[object] = []
            async for item in playback.items():
                if isinstance(item, Message):
                    seen.append(item.timestamp)
                elif isinstance(item, StatusReceived):
                    seen.append(item.code.removeprefix("NetStream.Play."))
                elif isinstance(item, events.StreamEventReceived):
                    seen.append(UserControlEvent(item.event).name)
            middle = len(seen) - 1 - seen[::-1].index(0)
            assert "Start" in seen[:middle]
            assert seen[middle : middle + 4] == [0, "InsufficientBW", "BUFFER_EMPTY", 1]
            assert seen[-1] == "UnpublishNotify"

    run(work())


def test_start_duration_and_reset_are_asked_for(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url("live")) as connection,
            await connection.play("a", start=10, duration=5, reset=False),
        ):
            (asked,) = server.peer.seen(events.PlayRequested)
            assert (asked.start, asked.duration, asked.reset) == (10, 5, False)

    run(work())


def test_a_stream_that_is_not_there(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PlayRequested):
            peer.session.reject_play(event.stream_id, "NetStream.Play.StreamNotFound", "no cam")
            peer.close()
        else:
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            with pytest.raises(PlayFailed) as caught:
                await connection.play()
            assert caught.value.code == "NetStream.Play.StreamNotFound"
            assert caught.value.description == "no cam"

    run(work())


def test_what_came_before_a_failure_is_still_iterated_over(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.PlayRequested):
            peer.session.send(Message(MessageType.VIDEO, 3, key_frame(), 1))
            if event.name == "failing":
                peer.session.send_status(1, "error", "NetStream.Failed", "kicked")
            peer.close()

    async def work() -> None:
        async with serving(script) as server:
            for name, error in (("failing", PlayFailed), ("lost", ConnectionClosed)):
                async with connect(server.url(f"live/{name}")) as connection:
                    playback = await _started(connection)
                    await connection.wait_closed()
                    assert (await anext(playback)).timestamp == 3
                    for _ in range(2):
                        with pytest.raises(error):
                            await anext(playback)

    run(work())


def test_media_before_the_start_counts_as_the_start(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PlayRequested):
            peer.session.send(Message(MessageType.VIDEO, 3, key_frame(), event.stream_id))
        else:
            accept(peer, event)

    async def work() -> None:
        async with (
            serving(script) as server,
            connect(server.url()) as connection,
            await connection.play() as playback,
        ):
            assert (await anext(playback)).timestamp == 3

    run(work())


def test_pause_resume_and_seek_return_what_the_server_says(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url()) as connection,
            await _started(connection) as playback,
        ):
            assert (await playback.pause(10)).code == "NetStream.Pause.Notify"
            assert (await playback.resume(10)).code == "NetStream.Unpause.Notify"
            with pytest.raises(PlayFailed, match="Seek"):
                await playback.seek(1000)
            server.peer.video(9, key_frame())  # a refused seek ends nothing
            assert (await anext(playback)).timestamp == 9
            await playback.receive_audio(False)
            await playback.receive_video(False)
            await until(lambda: server.peer.seen(events.VideoEnabled), "receiveVideo")
            assert server.peer.seen(events.PauseChanged)[0].at_ms == 10
            assert server.peer.seen(events.AudioEnabled) == [events.AudioEnabled(1, False)]

    run(work())


def test_a_pause_the_server_cannot_confirm_any_more(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            async with await _started(connection) as playback:
                server.peer.reading.clear()
                pausing = asyncio.ensure_future(playback.pause())
                await asyncio.sleep(0)
                server.peer.writer.transport.abort()
                with pytest.raises(ConnectionClosed):
                    await pausing
            with pytest.raises(ConnectionClosed):
                await playback.pause()

    run(work())


def test_a_slow_consumer_stops_the_reading_and_misses_nothing(run: Run) -> None:
    frames = 400
    frame = key_frame(0, 5000)

    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url(), queue_bytes=QUEUE_BYTES) as connection,
            await _started(connection) as playback,
        ):
            for number in range(frames):
                server.peer.video(number, frame)
            gate = connection.protocol.gate
            await until(lambda: gate.paused, "reading to pause")
            most = gate.queued_bytes
            assert QUEUE_BYTES <= most < QUEUE_BYTES + 300_000
            stamps = []
            async for message in playback:
                stamps.append(message.timestamp)
                most = max(most, gate.queued_bytes)
                if len(stamps) == frames:
                    break
            assert stamps == list(range(frames))
            assert most < QUEUE_BYTES + 300_000
            assert gate.queued_bytes == 0
            assert not gate.paused

    run(work())


def test_an_answer_behind_a_full_queue_still_comes(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.ConnectRequested):
            peer.session.methods = frozenset(("status",))
        elif isinstance(event, events.CommandReceived):
            peer.session.reply(event.command, "fine")

    async def work() -> None:
        options: dict[str, Any] = {"queue_bytes": QUEUE_BYTES, "limits": Limits(max_message_bytes=100_000)}
        async with (
            serving(script) as server,
            connect(server.url(), **options) as connection,
            await _started(connection) as playback,
        ):
            for number in range(60):
                server.peer.video(number, key_frame(number, 2000))
            await until(lambda: connection.protocol.gate.paused, "reading to pause")
            assert await connection.call("status") == "fine"
            assert connection.protocol.gate.paused
            assert [(await anext(playback)).timestamp for _ in range(60)] == list(range(60))

    run(work())


def test_a_playback_that_is_left_holds_nothing_up(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url("live"), queue_bytes=QUEUE_BYTES) as connection:
            async with await _started(connection, "a"):
                for number in range(100):
                    server.peer.video(number, key_frame(number, 5000))
                await until(lambda: connection.protocol.gate.paused, "reading to pause")
            assert connection.protocol.gate.queued_bytes == 0
            async with await _started(connection, "b") as playback:
                server.peer.send(MessageType.AUDIO, 7, audio_frame(), playback.stream_id)
                assert (await anext(playback)).timestamp == 7

    run(work())


def test_two_playbacks_on_one_connection(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url("live")) as connection,
            await _started(connection, "a") as a,
            await _started(connection, "b") as b,
        ):
            server.peer.send(MessageType.AUDIO, 1, audio_frame(), a.stream_id)
            server.peer.send(MessageType.AUDIO, 2, audio_frame(), b.stream_id)
            assert [(await anext(b)).timestamp, (await anext(a)).timestamp] == [2, 1]

    run(work())


def test_one_consumer_at_a_time(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url()) as connection,
            await _started(connection) as playback,
        ):
            first = asyncio.ensure_future(_next(playback))
            await asyncio.sleep(0)
            with pytest.raises(MisuseError, match="another task"):
                await anext(playback)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            server.peer.video(1, key_frame())
            assert (await anext(playback)).timestamp == 1

    run(work())


def test_closing_elsewhere_ends_the_iteration(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            playback = await _started(connection)
            waiting = asyncio.ensure_future(_next(playback))
            await asyncio.sleep(0)
            await playback.close()
            with pytest.raises(StopAsyncIteration):
                await waiting
            assert connection.closed is None
            assert not connection.session.streams
            other = await _started(connection, "b")
            await connection.close()
            with pytest.raises(StopAsyncIteration):
                await anext(other)
            assert connection.closed is not None
            assert connection.closed.reason != CloseReason.PEER_CLOSED

    run(work())


def test_calls_the_server_does_not_know_fail(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            with pytest.raises(CallError):
                await connection.call("noSuchThing")

    run(work())


@pytest.mark.parametrize("awaiting", [False, True])
def test_the_gate_at_its_bound_and_one_below(awaiting: bool) -> None:
    said: list[str] = []
    gate = ReadGate(100, 10, pause=lambda: said.append("pause"), resume=lambda: said.append("resume"))
    if not awaiting:
        gate.add(99)
        assert said == []
        gate.add(1)
        assert said == ["pause"]
        gate.remove(49)
        assert said == ["pause"]
        gate.remove(1)
        assert said == ["pause", "resume"]
        return
    gate.add(105)
    with gate.awaiting():
        assert said == ["pause", "resume"]
        gate.add(104)
        assert not gate.paused
        gate.add(1)
        assert gate.paused
        gate.remove(1)
        assert not gate.paused
    assert gate.paused


async def _started(connection: Connection, name: str | None = None) -> Playback:
    """A playback behind the first data message, which every player is sent."""
    playback = await connection.play(name)
    assert data_handler_name((await anext(playback)).payload) == "|RtmpSampleAccess"
    return playback


async def _next(playback: Any) -> Any:
    return await anext(playback)


def test_a_servers_ping_is_answered_by_players_and_publishers(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url()) as connection,
            await connection.play(),
            await connection.publish("other"),
        ):
            peer = server.peer
            assert peer.session.rtt_ms is None
            peer.session.ping(asyncio.get_running_loop().time())
            peer.flush()
            await until(lambda: peer.session.rtt_ms is not None, "a pong")

    run(work())
