"""Asks the operator's program who may publish and play. It holds up nobody but those who ask.

Each question has the whole of its time limit, its turn included. So a program that hangs makes each of
those who ask wait that long and no longer. Failures are logged, once in a while, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from cluster.core.webhooks import signed_headers
from cluster.edge.admission.credentials import Unclear
from cluster.edge.admission.hooks import counts as outcomes
from cluster.edge.admission.hooks.answer_cache import AnswerCache
from cluster.edge.admission.hooks.counts import HookCounts
from cluster.edge.admission.hooks.dialects import WORDS
from cluster.edge.admission.hooks.http_client import HttpClient, NoReply
from cluster.edge.admission.hooks.masking import host_of_address, shown_answer, shown_reason
from cluster.edge.admission.hooks.questions import BadReply, Question, Reply, Written, shown_by
from cluster.edge.admission.hooks.settings import HookSettings
from cluster.edge.admission.hooks.turns import TooManyWait, Turns
from cluster.edge.peers.access import Access, Allow, Deny, Refused, Verdict
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)

#: Of an answer: one with every field is well below a thousand bytes, an error page is not of interest.
MAX_ANSWER_BYTES = 65_536

_NO_ANSWER = Deny("whoever decides cannot be asked now; try again", why=Refused.HOOK_FAILED)


class Unanswered(Exception):
    """There is no answer. The text is for the log."""

    def __init__(self, text: str, outcome: str = outcomes.FAILED) -> None:
        super().__init__(text)
        self.outcome = outcome


class HookAsker:
    """Asks by HTTP, in the words of the dialect that is set."""

    def __init__(self, settings: HookSettings, *, wall_clock: Callable[[], float] = time.time) -> None:
        self.counts = HookCounts()
        self._settings = settings
        self._addresses = {"publish": settings.publish, "play": settings.play}
        self._words = WORDS[settings.dialect]
        self._client = HttpClient(MAX_ANSWER_BYTES)
        self._turns = {action: Turns(self.counts) for action in self._addresses}
        self._cache = AnswerCache()
        self._wall_clock = wall_clock
        self._complaints = Complaints(logger, "hook_failed")
        self._open = 0
        self._all_answered = asyncio.Event()

    async def ask(self, access: Access, *, user: str, fail_open: bool, cache_s: float) -> Verdict:
        """The answer. When none can be had: yes if ``fail_open``, else no."""
        place = self._cache.place(access, user) if cache_s > 0 else b""
        known = self._cache.get(place, time.monotonic()) if place else None
        if known is not None:
            self.counts.cached += 1
            return known
        self._open += 1
        try:
            verdict = await self._asked(access, user)
        except Unanswered as error:
            self.counts.answers[error.outcome] += 1
            self._complain(access, str(error), fail_open)
            return Allow(user=user) if fail_open else _NO_ANSWER
        except Unclear as unclear:
            return Deny(str(unclear), why=Refused.BAD_CREDENTIALS)
        finally:
            self._open -= 1
            if not self._open:
                self._all_answered.set()
        allowed = isinstance(verdict, Allow)
        self.counts.answers[outcomes.ALLOWED if allowed else outcomes.REFUSED] += 1
        if place:
            self._cache.put(place, verdict, time.monotonic() + self._kept_s(verdict, cache_s))
        return verdict

    async def close(self) -> None:
        """Ask nobody any more, once those are answered that have asked."""
        while self._open:
            self._all_answered.clear()
            await self._all_answered.wait()
        await self._client.close()

    # ---- one question ------------------------------------------------------------------------

    async def _asked(self, access: Access, user: str) -> Verdict:
        address = self._addresses[access.action]
        if not address:
            raise Unanswered(f"{access.action} in [hooks] is not set")
        question = Question(access, user or access.proven_user, shown_by(access))
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._turns[access.action].turn():
                written = self._words.write(question)
                reply = await self._client.send("POST", address, self._headers(written), written.body)
        except TooManyWait:
            raise Unanswered("too many wait for its answers already", outcomes.FULL) from None
        except NoReply as error:
            self._note_wait(began_at)
            raise Unanswered(str(error)) from None
        except TimeoutError:
            self._note_wait(began_at)
            raise Unanswered(f"no answer within {self._settings.timeout_s:g} s") from None
        self._note_wait(began_at)
        return self._read(question, reply, address, user)

    def _read(self, question: Question, reply: Reply, address: str, user: str) -> Verdict:
        try:
            verdict = self._words.read(question, reply)
        except BadReply as error:
            said = shown_answer(reply.body, question, address) if self._is_due(question.access) else ""
            raise Unanswered(f"{error} (status {reply.status}): {said or 'it is empty'}") from None
        if isinstance(verdict, Deny):
            return replace(verdict, text=shown_reason(verdict.text, question, address))
        return replace(verdict, user=user)

    def _headers(self, written: Written) -> dict[str, str]:
        if not self._settings.secrets:
            return dict(written.headers)
        webhook_id = f"msg_{secrets.token_hex(16)}"
        signed = signed_headers(self._settings.secrets, webhook_id, self._wall_clock(), written.body)
        return {**written.headers, **signed}

    def _kept_s(self, verdict: Verdict, cache_s: float) -> float:
        if isinstance(verdict, Allow) and verdict.ends_at is not None:
            return min(cache_s, verdict.ends_at - self._wall_clock())
        return cache_s

    def _note_wait(self, began_at: float) -> None:
        self.counts.waited_s += time.monotonic() - began_at

    # ---- what is said of failures ------------------------------------------------------------

    def _is_due(self, access: Access) -> bool:
        return self._complaints.is_due(access.action)

    def _complain(self, access: Access, why: str, fail_open: bool) -> None:
        self._complaints.warn_about(
            access.action,
            "the hook for %(action)s at %(host)s does not decide: %(why)s; who asks is %(done)s",
            {
                "action": access.action, "host": host_of_address(self._addresses[access.action]),
                "why": why, "done": "let in" if fail_open else "refused",
            },
        )  # fmt: skip
