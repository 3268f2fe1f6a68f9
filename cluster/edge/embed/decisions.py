"""The handler of an embedding program, in the words that a worker's parts use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.edge.embed.handler import Reject, ServerHandler
from cluster.edge.peers.access import Allow, Deny, Verdict
from cluster.edge.rtmp.connection import Connection
from cluster.edge.rtmp.player import Player
from cluster.edge.rtmp.publisher import RtmpPublisher
from cluster.edge.streams.events import StreamEvents
from cluster.edge.streams.interfaces import Publisher
from cluster.edge.streams.reader import Reader


class CallError(Exception):
    """A peer answered a call with ``_error``, left, or did not answer in time."""


class Decisions(StreamEvents):
    """One handler as the admission, the observer of sessions and a listener to streams of one worker."""

    wants_messages = True

    def __init__(self, handler: ServerHandler, loop: asyncio.AbstractEventLoop) -> None:
        self._handler = handler
        self._loop = loop
        self._keys: dict[tuple[Connection, int], str] = {}
        self._calls: dict[tuple[Connection, float], asyncio.Future[tuple[AmfValue, ...]]] = {}
        self._heard: dict[type, Callable[[Connection, Any], None]] = {
            events.StreamCreated: lambda peer, event: handler.on_stream_created(peer, event.stream_id),
            events.StreamClosed: lambda peer, event: handler.on_stream_closed(peer, event.stream_id),
            events.AudioEnabled: lambda peer, event: handler.on_receive_audio(
                peer, self._key(peer, event), event.on
            ),
            events.VideoEnabled: lambda peer, event: handler.on_receive_video(
                peer, self._key(peer, event), event.on
            ),
            events.PauseChanged: lambda peer, event: handler.on_pause(
                peer, self._key(peer, event), event.paused
            ),
            events.CommandReceived: lambda peer, event: handler.on_command(peer, event.command),
            events.CallSucceeded: self._call_succeeded,
            events.CallFailed: self._call_failed,
        }

    # ---- admission ---------------------------------------------------------------------------

    async def connect(self, connection: Connection, request: events.ConnectRequested) -> Verdict:
        return _verdict(await self._handler.on_connect(connection, request))

    async def publish(self, connection: Connection, key: str, request: events.PublishRequested) -> Verdict:
        self._keys[connection, request.stream_id] = key
        return _verdict(await self._handler.on_publish(connection, key, request))

    async def play(self, connection: Connection, key: str, request: events.PlayRequested) -> Verdict:
        self._keys[connection, request.stream_id] = key
        return _verdict(await self._handler.on_play(connection, key, request))

    # ---- what is heard -----------------------------------------------------------------------

    def heard(self, connection: Connection, event: object) -> None:
        """An event of a session, after the worker has acted on it."""
        hear = self._heard.get(type(event))
        if hear is not None:
            hear(connection, event)

    def message(self, key: str, message: Message) -> None:
        """A message of a publisher of this worker."""
        self._handler.on_message(key, message)

    def publish_started(self, key: str, publisher: Publisher) -> None:
        if isinstance(publisher, RtmpPublisher):
            self._handler.on_publish_started(publisher.connection, key)

    def publish_ended(self, key: str, publisher: Publisher) -> None:
        if isinstance(publisher, RtmpPublisher):
            self._handler.on_publish_ended(publisher.connection, key)

    def play_started(self, key: str, reader: Reader) -> None:
        if isinstance(reader.sink, Player):
            self._handler.on_play_started(reader.sink.connection, key)

    def play_ended(self, key: str, reader: Reader) -> None:
        if isinstance(reader.sink, Player):
            self._handler.on_play_ended(reader.sink.connection, key)

    def ended(self, connection: Connection, reason: CloseReason) -> None:
        """The connection is over: nothing asked for it is answered any more."""
        for place in [place for place in self._keys if place[0] is connection]:
            del self._keys[place]
        for call in [call for call in self._calls if call[0] is connection]:
            self._calls.pop(call).set_exception(CallError(f"the peer has left: {reason}"))
        self._handler.on_closed(connection, reason)

    def _key(self, connection: Connection, event: Any) -> str:
        return self._keys.get((connection, event.stream_id), "")

    # ---- calls to peers ----------------------------------------------------------------------

    async def call(
        self, connection: Connection, name: str, args: tuple[AmfValue, ...], timeout_s: float
    ) -> tuple[AmfValue, ...]:
        """Call the peer; what its ``_result`` carries behind the command object."""
        transaction_id = connection.session.call(name, *args)
        answer = self._calls[connection, transaction_id] = self._loop.create_future()
        connection.write_control()
        try:
            async with asyncio.timeout(timeout_s):
                values: tuple[AmfValue, ...] = await answer
                return values
        except TimeoutError:
            raise CallError(f"{name}: no answer within {timeout_s:g} s") from None
        finally:
            self._calls.pop((connection, transaction_id), None)

    def _call_succeeded(self, connection: Connection, event: events.CallSucceeded) -> None:
        answer = self._calls.pop((connection, event.transaction_id), None)
        if answer is not None and not answer.done():
            answer.set_result(event.values[1:])

    def _call_failed(self, connection: Connection, event: events.CallFailed) -> None:
        answer = self._calls.pop((connection, event.transaction_id), None)
        if answer is not None and not answer.done():
            answer.set_exception(CallError(f"{event.code}: {event.description}"))


def _verdict(rejection: Reject | None) -> Verdict:
    return Allow() if rejection is None else Deny(rejection.description, rejection.code, rejection.redirect)
