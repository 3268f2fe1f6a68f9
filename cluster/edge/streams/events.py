"""What happened to the streams of this worker, told to whoever listens, after the fact."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cluster.core.message import Message
from cluster.edge.streams.interfaces import Publisher
from cluster.edge.streams.reader import Reader

logger = logging.getLogger(__name__)

Tap = Callable[[Message], None]


class StreamEvents:
    """One listener; called from the event loop, so that it must not block. What it raises is logged."""

    #: Whether ``message`` is to be called. A publisher is read at full pace for it.
    wants_messages = False

    def publish_started(self, key: str, publisher: Publisher) -> None:
        """``publisher`` was granted ``key``; its messages follow."""

    def publish_ended(self, key: str, publisher: Publisher) -> None:
        """``publisher`` stopped, left, or was replaced."""

    def play_started(self, key: str, reader: Reader) -> None:
        """``reader`` was let in; it may still wait for a publisher."""

    def play_ended(self, key: str, reader: Reader) -> None:
        """``reader`` stopped or left."""

    def message(self, key: str, message: Message) -> None:
        """A message of a publisher of this worker."""


class Listeners:
    """Any number of listeners. One that raises harms neither the others nor the stream."""

    def __init__(self) -> None:
        self._all: list[StreamEvents] = []

    def add(self, listener: StreamEvents) -> None:
        self._all.append(listener)

    def publish_started(self, key: str, publisher: Publisher) -> None:
        for listener in self._all:
            _guarded(listener.publish_started, key, publisher)

    def publish_ended(self, key: str, publisher: Publisher) -> None:
        for listener in self._all:
            _guarded(listener.publish_ended, key, publisher)

    def play_started(self, key: str, reader: Reader) -> None:
        for listener in self._all:
            _guarded(listener.play_started, key, reader)

    def play_ended(self, key: str, reader: Reader) -> None:
        for listener in self._all:
            _guarded(listener.play_ended, key, reader)

    def tap(self, key: str) -> Tap | None:
        """What is to be given each message of ``key``; None if nobody wants any."""
        wanting = [listener.message for listener in self._all if listener.wants_messages]
        if not wanting:
            return None

        def tell(message: Message) -> None:
            for hear in wanting:
                _guarded(hear, key, message)

        return tell


def _guarded(call: Callable[..., None], *args: object) -> None:
    try:
        call(*args)
    except Exception:
        logger.exception("a listener failed", extra={"event": "listener_failed"})
