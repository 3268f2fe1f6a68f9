"""A player of low-latency HLS: the same as any other, but for its many requests."""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.load.hls_dialogue import HlsDialogue
from cluster.load.peer import CLOSED, RESET, Common, State
from cluster.load.player import Player


class HlsPlayer(Player):
    """It reads every answer, as there is no other way to find the next. Unless it is ``sampled``, it looks
    into parts only until it has seen a keyframe.
    """

    __slots__ = ()
    _dialogue: HlsDialogue

    def __init__(
        self, common: Common, converse: Callable[[], HlsDialogue], *, sampled: bool, retry_until_ns: int = 0
    ) -> None:
        super().__init__(
            common, converse, sampled=sampled, by_timer=False, slow_bytes_per_s=0, media_starts_ns=None,
            retry_until_ns=retry_until_ns,
        )  # fmt: skip

    # Several connections, one after another.

    def close(self, reason: str | None) -> None:
        if reason in (CLOSED, RESET) and self._sock is not None and self._dialogue.interrupted(reason):
            self._drop_connection()
            self.state = State.FLOWING if self._joined_ns else State.TALKING
            self._go_on()
            return
        if self._joined_ns and self.state is not State.CLOSED:
            self.state = State.FLOWING  # it had media, whatever it was doing now
        super().close(reason)

    def _drop_connection(self) -> None:
        if self._sock is not None:
            self._common.loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._backlog = b""

    def _go_on(self) -> None:
        """Say what there is to say: later, or at another connection, if that is needed first."""
        dialogue = self._dialogue
        for each in dialogue.failures:
            self._common.tally.failed_requests[each] += 1
        dialogue.failures.clear()
        if dialogue.pause_ns:
            self._common.loop.call_at(time.monotonic_ns() + dialogue.pause_ns, self._resume)
        elif dialogue.at_end:
            self._drop_connection()
            dialogue.connected()
            self.state = State.CONNECTING
            self.connect()
        else:
            self.send(dialogue.outgoing())

    def _resume(self, due_ns: int, now_ns: int) -> None:
        dialogue = self._dialogue
        if self.state in (State.TALKING, State.FLOWING) and dialogue.pause_ns:
            dialogue.resume()
            self._go_on()

    def _talk(self) -> None:
        super()._talk()
        if self._joined_ns and self.state is State.TALKING:
            self.state = State.FLOWING

    # Answers.

    def _hear(self, now_ns: int) -> None:
        """Bytes may be a playlist that has nothing new."""

    def _take(self, data: bytes) -> None:
        dialogue, sock = self._dialogue, self._sock
        answered, media_bytes = dialogue.answered, dialogue.media_bytes
        super()._take(data)
        self._common.tally.requests += dialogue.answered - answered
        if dialogue.media_bytes > media_bytes and self._joined_ns:
            super()._hear(self._read_ns)
        if self._sock is sock is not None and dialogue.answered > answered:
            self._go_on()

    def _stop_parsing(self) -> None:
        self._dialogue.decodes = False
