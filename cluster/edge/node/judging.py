"""Puts the policy that is in force to work in a worker: who decides, whom they ask, and the limits of keys.

Without rules nothing of it is imported, and nobody is asked about anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from cluster.edge.node.policy_in_force import PolicyInForce
from cluster.edge.node.serving import Serving
from cluster.edge.streams.counters import Counters

if TYPE_CHECKING:
    from cluster.edge.admission.hooks.asker import HookAsker
    from cluster.edge.admission.hooks.jwks import JwksKeys
    from cluster.edge.admission.judge import RuleJudge
    from cluster.edge.admission.policy import Policy


class _Parts(NamedTuple):
    """What decides by one policy."""

    judge: RuleJudge | None = None
    asker: HookAsker | None = None
    keys: JwksKeys | None = None


class _Counts(NamedTuple):
    """What has been asked: see ``HookCounts``."""

    answers: Mapping[str, int] = MappingProxyType({})
    waited_s: float = 0.0
    cached: int = 0

    def and_of(self, asker: HookAsker) -> _Counts:
        counts = asker.counts
        answers = Counter(self.answers)
        answers.update(counts.answers)
        return _Counts(answers, self.waited_s + counts.waited_s, self.cached + counts.cached)


class Judging:
    """Follows ``in_force``. ``secret``: what all workers of the node sign with."""

    def __init__(
        self, in_force: PolicyInForce, serving: Serving, counters: Counters, secret: bytes
    ) -> None:
        self._serving = serving
        self._counters = counters
        self._secret = secret
        self._parts = _Parts()
        #: Those who count, also one that has its last questions open.
        self._askers: list[HookAsker] = []
        #: What those have counted who are closed.
        self._past = _Counts()
        self._closing: set[asyncio.Task[None]] = set()
        in_force.on_prepare(self._prepare)
        self._prepare(in_force.policy)()

    def count(self) -> None:
        """Tell the counters what has been asked so far."""
        counters, total = self._counters, self._past
        for asker in self._askers:
            total = total.and_of(asker)
        counters.hook_answers = dict(total.answers)
        counters.hook_wait_seconds = total.waited_s
        counters.hook_answers_cached = total.cached
        counters.hook_waiting = sum(each.counts.asking + each.counts.waiting for each in self._askers)

    async def close(self) -> None:
        """Ask nobody any more."""
        self._retire(self._parts)
        await asyncio.gather(*self._closing)

    def _prepare(self, policy: Policy | None) -> Callable[[], None]:
        """Make what decides by ``policy``; what is returned puts it to work."""
        parts = _Parts() if policy is None or policy.is_open else self._made(policy)
        return partial(self._use, policy, parts)

    def _made(self, policy: Policy) -> _Parts:
        from cluster.edge.admission.judge import RuleJudge

        asker: HookAsker | None = None
        keys: JwksKeys | None = None
        if policy.hooks.publish or policy.hooks.play:
            from cluster.edge.admission.hooks.asker import HookAsker

            asker = HookAsker(policy.hooks)
        if policy.jwt is not None and policy.jwt.jwks:
            from cluster.edge.admission.hooks.jwks import JwksKeys

            # Keys that were fetched go on to count: who cannot be reached now takes none away.
            kept, address = self._parts.keys, policy.jwt.jwks
            keys = kept if kept is not None and kept.address == address else JwksKeys(address)
        return _Parts(RuleJudge(policy, self._secret, asker, keys), asker, keys)

    def _use(self, policy: Policy | None, parts: _Parts) -> None:
        before, self._parts = self._parts, parts
        if parts.asker is not None:
            self._askers.append(parts.asker)
        self._serving.use_judge(parts.judge)
        self._serving.key_limits.replace(() if policy is None else policy.limits)
        if parts.keys is not None and parts.keys is before.keys:
            parts.keys.look_again()
            before = before._replace(keys=None)
        self._retire(before)

    def _retire(self, parts: _Parts) -> None:
        """Close them, once those are answered who have asked."""
        if parts.asker is not None or parts.keys is not None:
            closing = asyncio.get_running_loop().create_task(self._close(parts))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _close(self, parts: _Parts) -> None:
        if parts.asker is not None:
            await parts.asker.close()
            self._askers.remove(parts.asker)
            self._past = self._past.and_of(parts.asker)
        if parts.keys is not None:
            await parts.keys.close()
