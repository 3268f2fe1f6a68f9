"""A connection that stands: calls both ways, events, shared objects, its bounds and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.client import (
    CallError,
    Connection,
    ConnectionClosed,
    SharedObjectRefused,
    Timeout,
    connect,
)
from cluster.client import socket_protocol as shell
from cluster.client.inbox import EventQueue
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, MisuseError
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage
from support.scripted_server import Peer, accept, read_by_the_server, serving, until

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_call_returns_what_the_server_answers(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.CommandReceived) and event.command.name == "add":
            a, b = event.command.args
            assert isinstance(a, float)
            assert isinstance(b, float)
            peer.session.reply(event.command, a + b)
        elif isinstance(event, events.CommandReceived) and event.command.name == "nothing":
            peer.session.reply(event.command)
        elif isinstance(event, events.ConnectRequested):
            peer.session.methods = frozenset(("add", "nothing"))

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            assert await connection.call("add", 2, 3) == 5
            sums = await asyncio.gather(*(connection.call("add", n, 1) for n in range(20)))
            assert sums == [n + 1 for n in range(20)]
            assert await connection.call("nothing") is None

    run(work())


def test_a_call_that_fails_says_why(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if isinstance(event, events.ConnectRequested):
            peer.session.methods = frozenset(("fail", "silent"))
        elif isinstance(event, events.CommandReceived) and event.command.name == "fail":
            peer.session.reply_error(event.command, "NetConnection.Call.Failed", "not today")

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            with pytest.raises(CallError) as caught:
                await connection.call("fail")
            assert caught.value.code == "NetConnection.Call.Failed"
            assert caught.value.description == "not today"
            with pytest.raises(Timeout, match=r"call of 'silent': no answer within 0\.02 s"):
                await connection.call("silent", timeout_s=0.02)
            with pytest.raises(MisuseError):
                await connection.call("fail", object())

    run(work())


def test_the_server_calls_us(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            connection.answer("greet", lambda name: f"hello {name}")

            def refuse(*_: AmfValue) -> AmfValue:
                raise CallError("App.No", "never")

            connection.answer("refuse", refuse)
            session = server.peer.session
            for name, args in (("greet", ("ann",)), ("refuse", ()), ("unknown", ())):
                session.call(name, *args)
            server.peer.flush()
            peer = server.peer
            await until(lambda: len(peer.seen(events.CallFailed)) == 2, "two refusals")
            assert peer.seen(events.CallSucceeded)[0].values == (None, "hello ann")
            refused = {(event.code, event.description) for event in peer.seen(events.CallFailed)}
            assert refused == {("App.No", "never"), ("NetConnection.Call.Failed", "No such method.")}

    run(work())


def test_a_method_that_breaks_is_answered_and_told_to_the_loop() -> None:
    told: list[dict[str, Any]] = []

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with serving() as server, connect(server.url()) as connection:
            connection.answer("greet", lambda name: f"hello {name}")
            server.peer.session.call("greet", 1, 2, 3)
            server.peer.flush()
            await until(lambda: server.peer.seen(events.CallFailed), "a refusal")
            assert connection.closed is None

    asyncio.run(work())
    assert isinstance(told[0]["exception"], TypeError)


def test_events_that_belong_to_no_stream(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            session = server.peer.session
            session.send_command("onBWDone")
            session.send_status(0, "status", "NetConnection.Custom", "hello")
            session.send_user_control(UserControlEvent.STREAM_DRY, 9)
            server.peer.flush()
            got = []
            async for event in connection.events:
                got.append(event)
                if isinstance(event, events.StreamEventReceived) and event.stream_id == 9:
                    break
            commands = [event.command.name for event in got if isinstance(event, events.CommandReceived)]
            codes = [event.code for event in got if isinstance(event, events.StatusReceived)]
            assert commands == ["onBWDone"]
            assert codes == ["NetConnection.Custom"]

    run(work())


def test_events_end_with_the_connection_by_its_reason(run: Run) -> None:
    async def work() -> None:
        async with serving() as server:
            async with connect(server.url()) as connection:
                await read_by_the_server(connection)
                server.peer.session.send_status(0, "error", "NetConnection.Connect.AppShutdown", "bye")
                server.peer.close()
                with pytest.raises(ConnectionClosed) as caught:
                    async for _ in connection.events:
                        pass
                assert caught.value.reason == CloseReason.PEER_CLOSED
                assert "AppShutdown: bye" in caught.value.detail
                assert (await connection.wait_closed()).reason == CloseReason.PEER_CLOSED
            async with connect(server.url()) as connection:
                await connection.close()
                assert [event async for event in connection.events if False] == []

    run(work())


def test_unread_events_are_bounded_by_their_bytes() -> None:
    async def work() -> None:
        queue: EventQueue[int] = EventQueue(100)
        for number in range(10):
            queue.put(number, 30)
        assert queue.dropped == 7
        assert [await queue.get() for _ in range(3)] == [7, 8, 9]
        queue.put(1, 1000)  # larger than the bound, and still the only one
        queue.put(2, 1)
        assert (queue.dropped, await queue.get()) == (8, 2)

    asyncio.run(work())


def test_a_reconnect_request_says_where_to(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url(), reconnect=True) as connection:
            assert connection.reconnect_url is None
            assert server.peer.session.request_reconnect("//other:1999/app")
            server.peer.flush()
            await until(lambda: connection.reconnect_url, "the request")
            assert connection.reconnect_url is not None
            assert str(connection.reconnect_url) == "rtmp://other:1999/app/cam"
            server.peer.session.request_reconnect("ftp://other/app")
            server.peer.flush()
            await until(lambda: len(connection.events) >= 2, "the second request")
            assert str(connection.reconnect_url) == "rtmp://other:1999/app/cam"  # not to be used: ignored

    run(work())


def test_a_ping_gives_the_round_trip_time(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            assert connection.rtt_ms is None
            await connection.ping()
            await until(lambda: connection.rtt_ms is not None, "the pong")
            assert connection.rtt_ms is not None
            assert 0 <= connection.rtt_ms < 20_000

    run(work())


def test_a_server_that_fell_silent_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_TICK_S", 0.01)
    limits = Limits(ping_interval_s=0.02, ping_timeout_s=0.1)

    async def work() -> None:
        async with serving() as server, connect(server.url(), limits=limits) as connection:
            await until(lambda: connection.rtt_ms is not None, "the first pong")
            server.peer.reading.clear()
            assert (await connection.wait_closed()).reason == CloseReason.PING_TIMEOUT

    run(work())


def test_a_server_that_never_answered_a_ping_is_left_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "_TICK_S", 0.01)
    limits = Limits(ping_interval_s=0.02, ping_timeout_s=0.04)

    async def work() -> None:
        async with serving() as server, connect(server.url(), limits=limits) as connection:
            server.peer.reading.clear()
            protocol = connection.protocol
            await until(lambda: protocol._last_ping > protocol._last_received + 0.2, "pings")
            assert connection.closed is None

    run(work())


def test_the_server_asks_us_to_close(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            server.peer.session.send_command("close")
            server.peer.flush()
            closed = await connection.wait_closed()
            assert closed.reason == CloseReason.PEER_CLOSED
            assert "asked for it" in closed.detail
            with pytest.raises(ConnectionClosed, match="asked for it"):
                await connection.call("late")

    run(work())


def test_a_violation_closes_with_its_reason(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            server.peer.writer.write(b"\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00")
            assert (await connection.wait_closed()).reason == CloseReason.BAD_CHUNK_SIZE

    run(work())


def test_answers_that_are_not_read_close_the_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "MAX_UNSENT_ANSWER_BYTES", 2000)

    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            server.peer.reading.clear()
            connection.protocol.pause_writing()  # as the transport does when its buffer is full
            for _ in range(200):
                server.peer.session.send_user_control(UserControlEvent.PING_REQUEST, 1)
            server.peer.flush()
            closed = await connection.wait_closed()
            assert closed.reason == CloseReason.SLOW_PEER

    run(work())


def test_leaving_takes_no_longer_than_the_bound(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "CLOSE_TIMEOUT_S", 0.1)

    async def work() -> None:
        async with serving() as server:
            began = asyncio.get_running_loop().time()
            async with connect(server.url()) as connection, await connection.publish() as publication:
                server.peer.reading.clear()
                _fill(connection, publication.stream_id)
            assert asyncio.get_running_loop().time() - began < 20
            assert connection.protocol.ended.is_set()

    run(work())


def test_a_cancelled_close_cuts_the_connection(run: Run) -> None:
    async def work() -> None:
        async with serving() as server:
            connection = await connect(server.url())
            publication = await connection.publish()
            server.peer.reading.clear()
            _fill(connection, publication.stream_id)
            closing = asyncio.ensure_future(connection.close())
            await until(lambda: connection.closed is not None, "the close to begin")
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await until(connection.protocol.ended.is_set, "the socket to be gone", timeout_s=1)

    run(work())


def test_a_body_that_raises_closes_the_connection(run: Run) -> None:
    async def work() -> None:
        async with serving() as server:
            with pytest.raises(ZeroDivisionError):
                async with connect(server.url()):
                    raise ZeroDivisionError
            await until(server.peer.gone.is_set, "the server to see the end")

    run(work())


def test_a_message_stream_that_came_too_late_is_given_back(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            await read_by_the_server(connection)
            server.peer.reading.clear()
            await connection.send_command("ignored")  # the read that is under way
            await until(lambda: server.peer.seen(events.CommandReceived), "the server to stop reading")
            with pytest.raises(Timeout, match="publish of 'cam'"):
                await connection.publish(timeout_s=0.03)
            server.peer.reading.set()
            await until(lambda: server.peer.seen(events.StreamClosed), "deleteStream")
            assert not connection.session.streams

    run(work())


def test_shared_objects(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        accept(peer, event)
        if not isinstance(event, events.SharedObjectReceived):
            return
        (asked,) = event.shared.events
        answers: dict[int, tuple[SharedEvent, ...]] = {
            SharedEventType.USE: (
                SharedEvent(SharedEventType.USE_SUCCESS), SharedEvent(SharedEventType.CLEAR),
                SharedEvent(SharedEventType.CHANGE, "colour", ("red",)),
            ),
            SharedEventType.REQUEST_CHANGE: (SharedEvent(SharedEventType.SUCCESS, asked.name),),
            SharedEventType.REQUEST_REMOVE: (SharedEvent(SharedEventType.REMOVE, asked.name),),
            SharedEventType.SEND_MESSAGE: (asked,),
        }  # fmt: skip
        if event.shared.name == "closed":
            status = SharedEvent(SharedEventType.STATUS, "SharedObject.NoReadAccess", ("error",))
            answers[SharedEventType.USE] = (status,)
        if asked.type_id in answers:
            message = SharedObjectMessage(event.shared.name, 7, False, answers[asked.type_id])
            peer.session.send_shared_object(message)

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            async with await connection.shared_object("room") as room:
                with pytest.raises(MisuseError, match="in use"):
                    await connection.shared_object("room")
                assert dict(room.data) == {"colour": "red"}
                assert room.version == 7
                await room.set("size", 3)
                await room.send("chat", "hi")
                await room.remove("colour")
                kinds = []
                async for event in room:
                    kinds.append(event.type_id)
                    if event.type_id == SharedEventType.REMOVE:
                        break
                assert kinds[-3:] == [
                    SharedEventType.SUCCESS, SharedEventType.SEND_MESSAGE, SharedEventType.REMOVE,
                ]  # fmt: skip
                assert dict(room.data) == {"size": 3}
            with pytest.raises(ConnectionClosed, match="released"):
                await room.set("size", 4)
            with pytest.raises(SharedObjectRefused, match="NoReadAccess"):
                await connection.shared_object("closed")
            last = server.peer.seen(events.SharedObjectReceived)
            await until(lambda: last, "messages")
            async with await connection.shared_object("room") as room:
                server.peer.close()
                with pytest.raises(ConnectionClosed):
                    async for _ in room:
                        pass

    run(work())


def _fill(connection: Connection, stream_id: int) -> None:
    """More than the kernel takes for a peer that does not read."""
    for _ in range(400):
        connection.wire.send(Message(MessageType.VIDEO, 0, b"\x27\x01" + bytes(60_000), stream_id))
