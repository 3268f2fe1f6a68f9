"""Calls both ways: answers that are awaited here, and methods that the server calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from cluster.client.errors import CallError, RtmpError
from cluster.client.waiting import raise_or_return
from cluster.core.amf.values import AmfValue
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.status import Code

#: What a future of ours is given: an error as a value, so that one nobody waits for makes no noise.
Answer: TypeAlias = Event | RtmpError

#: What answers a call of the server's: its arguments in, the result out.
Method: TypeAlias = Callable[..., AmfValue]


def settle(future: asyncio.Future[Answer], answer: Answer) -> None:
    """Give a future its answer, unless it has one or nobody waits."""
    if not future.done():
        future.set_result(answer)


class Answers:
    """What waits for answers, by transaction. ``unclaimed`` is told of those that come too late."""

    def __init__(self, *, send: Callable[[], None], unclaimed: Callable[[Answer], None]) -> None:
        self._send = send
        self._unclaimed = unclaimed
        self._waiting: dict[float, asyncio.Future[Answer]] = {}

    async def wait(self, transaction_id: float) -> Event:
        """The answer to a call that stands in the session, not yet sent; its error is raised."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[transaction_id] = answer
        self._send()
        try:
            return raise_or_return(await answer)
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                self._unclaimed(answer.result())
            raise
        finally:
            self._waiting.pop(transaction_id, None)

    def settle(self, transaction_id: float, answer: Answer) -> None:
        """An answer came."""
        waiting = self._waiting.pop(transaction_id, None)
        if waiting is None or waiting.done():
            self._unclaimed(answer)
        else:
            waiting.set_result(answer)

    def fail(self, error: RtmpError) -> None:
        """No answer will come any more."""
        for waiting in self._waiting.values():
            settle(waiting, error)


class Methods:
    """What the server may call."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._methods: dict[str, Method] = {}

    def add(self, name: str, method: Method) -> None:
        """Answer calls of ``name`` from now on."""
        self._methods[name] = method
        self._session.methods = frozenset(self._methods)

    def call(self, command: Command) -> None:
        """Answer one call. What the server sends must not end us, so no error of a method goes on."""
        try:
            self._session.reply(command, self._methods[command.name](*command.args))
        except CallError as error:
            self._session.reply_error(command, error.code, error.description)
        except Exception as error:
            self._session.reply_error(command, Code.CALL_FAILED, type(error).__name__)
            context = {"message": f"the method {command.name!r} failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
