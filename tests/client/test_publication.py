"""Publishing: the dialogue, what goes out, what the server may say, and back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.client import CallError, ConnectionClosed, PublishRefused, Timeout, connect
from cluster.client.socket_protocol import WRITE_BUFFER_BYTES
from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import CloseReason, MisuseError
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import Event
from support.scripted_server import (
    AUDIO_HEADER,
    SEQUENCE_HEADER,
    Peer,
    accept,
    inter_frame,
    key_frame,
    read_by_the_server,
    serving,
    until,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_what_is_sent_arrives_in_order_and_the_end_is_told(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url("live/cam?token=x")) as connection:
            async with await connection.publish(publish_type="record") as publication:
                assert publication.status is not None
                assert publication.status.code == "NetStream.Publish.Start"
                await publication.send_video(SEQUENCE_HEADER, 0)
                await publication.send_audio(AUDIO_HEADER, 0)
                await publication.send_video(key_frame(), 5)
                await publication.send(Message(MessageType.VIDEO, 2**32 + 7, inter_frame(), 99))
            await until(lambda: server.peer.seen(events.StreamClosed), "deleteStream")
            (asked,) = server.peer.seen(events.PublishRequested)
            assert (asked.name, asked.query, asked.publish_type) == ("cam", "token=x", "record")
            got = [(m.type_id, m.timestamp, bytes(m.payload)) for m in server.peer.messages]
            assert got == [
                (9, 0, SEQUENCE_HEADER), (8, 0, AUDIO_HEADER), (9, 5, key_frame()), (9, 7, inter_frame()),
            ]  # fmt: skip
            assert connection.closed is None  # only the publish is over
            with pytest.raises(ConnectionClosed, match="the publication of 'cam"):
                await publication.send_audio(b"\xaf\x01")

    run(work())


def test_metadata_is_an_ecma_array_behind_set_data_frame(run: Run) -> None:
    wire: list[bytes] = []

    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            async with await connection.publish() as publication:
                send = connection.wire.send

                def watched(message: Message) -> None:
                    wire.append(bytes(message.payload))
                    send(message)

                connection.wire.send = watched  # type: ignore[method-assign]
                await publication.send_metadata({"width": 640})
                await publication.send_data("onCue", 1, "two")
                onward = amf0.encode("onMetaData", EcmaArray({"width": 640}))
                await publication.send(Message(MessageType.DATA_AMF0, 0, onward))
            await until(lambda: len(server.peer.messages) == 3, "three data messages")
            metadata = amf0.encode("onMetaData", EcmaArray({"width": 640.0}))
            assert wire[0] == wire[2] == amf0.encode("@setDataFrame") + metadata
            assert bytes(server.peer.messages[0].payload) == metadata
            assert amf0.decode_all(server.peer.messages[1].payload) == ["onCue", 1.0, "two"]

    run(work())


def test_without_a_timestamp_the_streams_clock_stamps(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            async with await connection.publish() as publication:
                await publication.send_audio(AUDIO_HEADER)
                await publication.send_video(key_frame(), 5000)
                await publication.send_video(inter_frame())
                await asyncio.sleep(0.03)
                await publication.send_video(inter_frame(), 3000)
                await publication.send_video(inter_frame())
            await until(lambda: len(server.peer.messages) == 5, "all messages")
            stamps = [message.timestamp for message in server.peer.messages]
            assert stamps[0] == 0
            assert stamps[2] == 5000  # never behind what was sent
            assert stamps[4] >= 5000

    run(work())


def test_the_clock_counts_milliseconds(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            async with await connection.publish() as publication:
                await publication.send_audio(AUDIO_HEADER)
                await asyncio.sleep(0.05)
                await publication.send_audio(AUDIO_HEADER)
            await until(lambda: len(server.peer.messages) == 2, "all messages")
            first, second = (message.timestamp for message in server.peer.messages)
            assert first == 0
            assert 45 <= second < 20_000

    run(work())


@pytest.mark.parametrize("level", ["error", "status"])
@pytest.mark.parametrize("code", ["NetStream.Publish.BadName", "NetStream.Publish.Denied"])
def test_a_refused_publish_says_why(run: Run, code: str, level: str) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PublishRequested):
            peer.session.send_status(event.stream_id, level, code, "not you")
        else:
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            with pytest.raises(PublishRefused) as caught:
                await connection.publish()
            assert (caught.value.code, caught.value.description) == (code, "not you")
            await until(lambda: server.peer.seen(events.StreamClosed), "the stream to be given back")
            assert connection.closed is None

    run(work())


def test_a_refusal_and_a_close_at_once_are_the_refusal(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.PublishRequested):
            peer.session.reject_publish(event.stream_id, "NetStream.Publish.BadName", "taken")
            peer.close()
        else:
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            with pytest.raises(PublishRefused, match="taken"):
                await connection.publish()

    run(work())


def test_a_server_that_gives_no_message_stream(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if isinstance(event, events.StreamCreated):
            peer.session.unsent.clear()
            refusal = {"level": "error", "code": "NetConnection.Call.Failed", "description": "full"}
            transaction = 4.0  # after connect, releaseStream and FCPublish
            peer.session._send(Command("_error", transaction, None, (refusal,)))
        else:
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            with pytest.raises(CallError, match="full"):
                await connection.publish()

    run(work())


def test_a_publish_that_is_not_answered(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if not isinstance(event, events.PublishRequested):
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server, connect(f"{server.url()}?key=secret") as connection:
            with pytest.raises(Timeout, match=r"publish of 'cam': no answer within 0\.05 s"):
                await connection.publish(timeout_s=0.05)
            await until(lambda: server.peer.seen(events.StreamClosed), "the stream to be given back")

    run(work())


def test_a_cancelled_publish_gives_its_message_stream_back(run: Run) -> None:
    def script(peer: Peer, event: Event) -> None:
        if not isinstance(event, events.PublishRequested):
            accept(peer, event)

    async def work() -> None:
        async with serving(script) as server, connect(server.url()) as connection:
            publishing = asyncio.ensure_future(connection.publish())
            await until(lambda: server.peer.seen(events.PublishRequested), "the server to hear of it")
            publishing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await publishing
            await until(lambda: server.peer.seen(events.StreamClosed), "the stream to be given back")

    run(work())


def test_a_server_that_ends_the_publish_later(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            publication = await connection.publish()
            server.peer.session.end_publish(1, "NetStream.Publish.BadName", "another one came")
            server.peer.flush()
            await until(lambda: publication.status and publication.status.level == "error", "the news")
            for _ in range(2):
                with pytest.raises(PublishRefused, match="another one came"):
                    await publication.send_audio(AUDIO_HEADER)

    run(work())


def test_a_connection_that_goes_ends_the_publish(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            publication = await connection.publish()
            await read_by_the_server(connection)
            server.peer.close()
            await connection.wait_closed()
            with pytest.raises(ConnectionClosed) as caught:
                await publication.send_audio(AUDIO_HEADER)
            assert caught.value.reason == CloseReason.PEER_CLOSED
            await publication.close()

    run(work())


def test_a_producer_waits_for_a_server_that_does_not_read(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            publication = await connection.publish()
            server.peer.reading.clear()
            sent = 0

            async def produce() -> None:
                nonlocal sent
                for number in range(1000):
                    await publication.send_video(key_frame(number, 60_000), number)
                    sent += 1

            producing = asyncio.ensure_future(produce())
            await until(lambda: not connection.protocol._writable.is_set(), "the socket to be full")
            stuck_at = sent
            transport = connection.protocol._transport
            assert transport is not None
            assert transport.get_write_buffer_size() < WRITE_BUFFER_BYTES + 70_000
            for _ in range(20):
                await asyncio.sleep(0)
            assert sent == stuck_at < 1000
            server.peer.reading.set()
            await producing
            await until(lambda: len(server.peer.messages) == 1000, "everything to arrive")
            assert [m.timestamp for m in server.peer.messages] == list(range(1000))

    run(work())


def test_a_producer_that_waits_learns_of_the_end(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url()) as connection:
            publication = await connection.publish()
            server.peer.reading.clear()

            async def produce() -> None:
                while True:
                    await publication.send_video(key_frame(0, 60_000), 0)

            producing = asyncio.ensure_future(produce())
            await until(lambda: not connection.protocol._writable.is_set(), "the socket to be full")
            server.peer.writer.transport.abort()
            with pytest.raises(ConnectionClosed):
                await producing

    run(work())


def test_misuse_is_named(run: Run) -> None:
    async def work() -> None:
        async with serving() as server, connect(server.url("")) as connection:
            with pytest.raises(MisuseError, match="no stream name"):
                await connection.publish()
            async with await connection.publish("cam") as publication:
                with pytest.raises(MisuseError, match="neither audio, video nor data"):
                    await publication.send(Message(MessageType.COMMAND_AMF0, 0, b""))
                with pytest.raises(MisuseError):
                    await publication.send_video(bytes(1 << 24))

    run(work())


def test_several_publications_on_one_connection(run: Run) -> None:
    async def work() -> None:
        async with (
            serving() as server,
            connect(server.url("live")) as connection,
            await connection.publish("a") as a,
            await connection.publish("b") as b,
        ):
            assert a.stream_id != b.stream_id
            await a.send_audio(AUDIO_HEADER, 1)
            await b.send_audio(AUDIO_HEADER, 2)
            await until(lambda: len(server.peer.messages) == 2, "both")
            assert [m.stream_id for m in server.peer.messages] == [a.stream_id, b.stream_id]

    run(work())
