"""Where requests to publish or play are asked about, and what follows a no: a line, a count, a wait."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from cluster.edge.peers.access import Access, Allow, Deny, Judge, Later, Refused, Verdict
from cluster.edge.streams.counters import Counters
from cluster.process.stranger_lines import StrangerLines, host_of

logger = logging.getLogger(__name__)

#: Who has shown something wrong is told so after a while, drawn from between these: a guess a second or so
#: for each connection. A drawn time tells nothing about how far the check came.
REFUSED_AFTER_S: Final = (1.0, 3.0)
#: So many wait for that at once. Further ones are told at once, so that guesses never fill the memory.
MAX_HELD_REFUSALS: Final = 1_000

#: These may be guesses, and others ask without end.
_GUESSES: Final = frozenset((Refused.BAD_CREDENTIALS, Refused.HOOK_REFUSED))

_NOBODY: Final = Deny("the server cannot decide now; try again later", why=Refused.HOOK_FAILED)


class AccessControl:
    """Asks the judge of one worker. ``judge``: None lets everybody in, at once.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float]) -> None:
        self.judge: Judge | None = None
        self._counters = counters
        self._held = 0
        self._lines = StrangerLines(logger, "access denied", clock, event="denials_summed")

    @staticmethod
    def time() -> float:
        """Seconds since 1970, as verdicts tell ends."""
        return time.time()

    def tick(self) -> None:
        """Once a second: sums in the log."""
        self._lines.tick()

    def decide(self, access: Access, facts: Mapping[str, object]) -> Verdict | Awaitable[Verdict]:
        """The answer to ``access``, or what to wait for. ``facts`` say in the log who asks."""
        if self.judge is None:
            return Allow()
        try:
            answer = self.judge.judge(access)
        except Exception:
            logger.exception("nobody could decide", extra={"event": "verdict_failed", **facts})
            answer = _NOBODY
        if isinstance(answer, Allow):
            return answer
        if isinstance(answer, Deny) and not self._waits(answer):
            self.denied(access, answer.why, facts)
            return answer
        return Later(partial(self._decide_late, access, answer, facts))

    async def _decide_late(
        self, access: Access, answer: Deny | Awaitable[Verdict], facts: Mapping[str, object]
    ) -> Verdict:
        try:
            verdict = answer if isinstance(answer, Deny) else await answer
        except Exception:
            logger.exception("nobody could decide", extra={"event": "verdict_failed", **facts})
            verdict = _NOBODY
        if isinstance(verdict, Deny):
            self.denied(access, verdict.why, facts)
            if self._waits(verdict):
                await self.hold()
        return verdict

    def _waits(self, denied: Deny) -> bool:
        return denied.why in _GUESSES and self._held < MAX_HELD_REFUSALS

    async def hold(self) -> None:
        """Let whoever guesses wait, if not too many do."""
        if self._held >= MAX_HELD_REFUSALS:
            return
        self._held += 1
        try:
            await asyncio.sleep(random.uniform(*REFUSED_AFTER_S))
        finally:
            self._held -= 1

    def denied(self, access: Access, why: Refused, facts: Mapping[str, object]) -> None:
        """Count a refusal and log it, in a line whose beginning programs read (deploy/fail2ban)."""
        denials = self._counters.access_denied
        denials[why] = denials.get(why, 0) + 1
        level = logging.WARNING if why in _GUESSES else logging.INFO
        host = host_of(access.peer)
        if self._lines.admit(level, why, host):
            fields = {"host": host, "reason": why.value, "action": access.action, "stream": access.key}
            extra = {"event": "access_denied", **facts}
            message = "access denied to %(host)s: %(reason)s (%(action)s %(stream)s)"
            logger.log(level, message, fields, extra=extra)
