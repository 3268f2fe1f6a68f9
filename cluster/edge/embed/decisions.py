"""Asks the handler of an embedding program, and carries out what it decides.

The plain edge has no handler and none of this. A decision may take its time: meanwhile the session
holds what the peer sends, and a peer that takes its request back is not answered any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.edge.embed.handler import DEFAULT_CODES, Reject, ServerHandler
from cluster.edge.rtmp.connection import Connection

logger = logging.getLogger(__name__)

GoOn: TypeAlias = Callable[[], None]
_Question: TypeAlias = Coroutine[Any, Any, Reject | None]
_Request: TypeAlias = events.ConnectRequested | events.PublishRequested | events.PlayRequested

#: The connection itself, among the message stream ids (0 is one) that requests are filed under.
_WHOLE_CONNECTION = -1


class CallError(Exception):
    """A peer answered a call with ``_error``, left, or did not answer in time."""


class Decisions:
    """One handler's say in the sessions of one worker."""

    def __init__(
        self, handler: ServerHandler, loop: asyncio.AbstractEventLoop, turn: Callable[[], None]
    ) -> None:
        self._handler = handler
        self._loop = loop
        self._turn = turn  # refreshes the worker's time before a decision is carried out
        self._open: dict[tuple[Connection, int], asyncio.Task[None]] = {}
        self._keys: dict[tuple[Connection, int], str] = {}
        self._calls: dict[tuple[Connection, float], asyncio.Future[tuple[AmfValue, ...]]] = {}
        self._heard: dict[type, Callable[[Connection, Any], None]] = {
            events.StreamCreated: lambda peer, event: handler.on_stream_created(peer, event.stream_id),
            events.StreamClosed: lambda peer, event: handler.on_stream_closed(peer, event.stream_id),
            events.PublishEnded: self._taken_back,
            events.PlayEnded: self._taken_back,
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

    # ---- questions ---------------------------------------------------------------------------

    def connect(self, connection: Connection, request: events.ConnectRequested, go_on: GoOn) -> None:
        question = self._handler.on_connect(connection, request)
        self._ask(connection, _WHOLE_CONNECTION, request, question, go_on)

    def publish(
        self, connection: Connection, key: str, request: events.PublishRequested, go_on: GoOn
    ) -> None:
        self._keys[connection, request.stream_id] = key
        question = self._handler.on_publish(connection, key, request)
        self._ask(connection, request.stream_id, request, question, go_on)

    def play(self, connection: Connection, key: str, request: events.PlayRequested, go_on: GoOn) -> None:
        self._keys[connection, request.stream_id] = key
        question = self._handler.on_play(connection, key, request)
        self._ask(connection, request.stream_id, request, question, go_on)

    def _ask(
        self, connection: Connection, stream_id: int, request: _Request, question: _Question, go_on: GoOn
    ) -> None:
        place = connection, stream_id
        self._cancel(place)
        task = self._open[place] = self._loop.create_task(
            self._carry_out(connection, request, question, go_on)
        )
        task.add_done_callback(lambda done: self._done(place, done))

    async def _carry_out(
        self, connection: Connection, request: _Request, question: _Question, go_on: GoOn
    ) -> None:
        try:
            rejection = await question
        except Exception:
            logger.exception("the handler failed; the peer is rejected", extra={"peer": connection.peer})
            rejection = Reject("the server cannot decide now")
        self._turn()
        if connection.close_reason is not None:
            return
        if rejection is None:
            go_on()
        else:
            self._reject(connection, request, rejection)

    def _reject(self, connection: Connection, request: _Request, rejection: Reject) -> None:
        session = connection.session
        code = rejection.code or DEFAULT_CODES[type(request)]
        if isinstance(request, events.ConnectRequested):
            session.reject_connect(code, rejection.description, rejection.redirect)
            reason = CloseReason.CONNECT_REJECTED
        elif isinstance(request, events.PublishRequested):
            session.reject_publish(request.stream_id, code, rejection.description)
            reason = CloseReason.PUBLISH_REFUSED
        else:
            session.reject_play(request.stream_id, code, rejection.description)
            reason = CloseReason.PLAY_REFUSED
        connection.end(reason, rejection.description)

    # ---- what is heard -----------------------------------------------------------------------

    def heard(self, connection: Connection, event: object) -> None:
        """An event of a session, after the worker has acted on it."""
        hear = self._heard.get(type(event))
        if hear is not None:
            hear(connection, event)

    def message(self, key: str, message: Message) -> None:
        """A message of a publisher of this worker."""
        self._handler.on_message(key, message)

    def publishing(self, connection: Connection, key: str, started: bool) -> None:
        """A publish was granted, or has ended."""
        (self._handler.on_publish_started if started else self._handler.on_publish_ended)(connection, key)

    def playing(self, connection: Connection, key: str, started: bool) -> None:
        """A player was let in, or has left."""
        (self._handler.on_play_started if started else self._handler.on_play_ended)(connection, key)

    def ended(self, connection: Connection, reason: CloseReason) -> None:
        """The connection is over: nothing asked for it is answered any more."""
        for place in [place for place in self._open if place[0] is connection]:
            self._cancel(place)
        for place in [place for place in self._keys if place[0] is connection]:
            del self._keys[place]
        for call in [call for call in self._calls if call[0] is connection]:
            self._calls.pop(call).set_exception(CallError(f"the peer has left: {reason}"))
        self._handler.on_closed(connection, reason)

    def _key(self, connection: Connection, event: Any) -> str:
        return self._keys.get((connection, event.stream_id), "")

    def _taken_back(self, connection: Connection, event: Any) -> None:
        self._cancel((connection, event.stream_id))

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

    # ---- tasks -------------------------------------------------------------------------------

    async def close(self) -> None:
        """Cancel what is still being decided."""
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, place: tuple[Connection, int]) -> None:
        task = self._open.pop(place, None)
        if task is not None:
            task.cancel()

    def _done(self, place: tuple[Connection, int], task: asyncio.Task[None]) -> None:
        if self._open.get(place) is task:
            del self._open[place]
        if not task.cancelled() and task.exception() is not None:
            logger.error("a decision could not be carried out", exc_info=task.exception())
