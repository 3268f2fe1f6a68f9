"""The policy that a worker goes by: who may, how much, who is told. Another takes its place in two steps.

First the new one is prepared, which may fail and changes nothing. Once every worker of the node has
prepared it, it is put in force: for what comes next. Sessions that go on are not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from cluster.core.errors import MisuseError

if TYPE_CHECKING:
    from cluster.edge.admission.policy import Policy

#: Given a policy, makes what a part of the worker needs of it; what it returns puts that in force.
Maker: TypeAlias = "Callable[[Policy | None], Callable[[], None]]"


def parse_policy(tables: Mapping[str, Any]) -> Policy | None:
    """The policy that the tables say; None, without an import, if they say nothing."""
    if not tables:
        return None
    from cluster.edge.admission import policy

    parsed = policy.parse(tables, publish_key(tables))
    if not parsed.is_open:
        # What will decide by it is imported here too. That takes a quarter of a second, and here sessions
        # that go on need not wait for it.
        from cluster.edge.admission import judge  # noqa: F401

        if parsed.hooks.publish or parsed.hooks.play:
            from cluster.edge.admission.hooks import asker  # noqa: F401
    return parsed


def publish_key(tables: Mapping[str, Any]) -> str | None:
    """The option that is a rule as well, among the tables: it changes as they do."""
    key = tables.get("access", {}).get("publish_key")
    return None if key is None else str(key)


class PolicyInForce:
    """``policy`` is what is in force now; None if nobody has said who may do what.

    ``tables``: of the configuration, with what was in files. PolicyFaults if they are wrong.
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        parse: Callable[[Mapping[str, Any]], Policy | None] = parse_policy,
    ) -> None:
        #: Of what tables say; from any thread, for many rules take a while. PolicyFaults if they are wrong.
        self.parse = parse
        self.policy = parse(tables)
        self._makers: list[Maker] = []
        #: What puts a prepared policy in force, step by step; None if none is prepared.
        self._steps: list[Callable[[], None]] | None = None
        self._generation = 0

    def on_change(self, changed: Callable[[Policy | None], None]) -> None:
        """Call ``changed`` with each policy that comes in force from now on. It must not fail."""
        self.on_prepare(lambda policy: partial(changed, policy))

    def on_prepare(self, make: Maker) -> None:
        """Let ``make`` have a part in preparing: what can fail of a change is done there."""
        self._makers.append(make)

    def prepare(self, generation: int, policy: Policy | None) -> None:
        """Make all that the policy of this number needs, and change nothing yet. What it raises is what
        speaks against that policy; one that was prepared before is forgotten in any case."""
        self._steps = None
        steps = [make(policy) for make in self._makers]
        self._steps = [partial(self._set, policy), *steps]
        self._generation = generation

    def commit(self, generation: int) -> None:
        """Put it in force. MisuseError if not this one is prepared."""
        steps = self._steps
        if steps is None or generation != self._generation:
            raise MisuseError(f"policy {generation} is not prepared")
        self._steps = None
        for step in steps:
            step()

    def abort(self, generation: int) -> None:
        """Forget it, if it is prepared."""
        if generation == self._generation:
            self._steps = None

    def _set(self, policy: Policy | None) -> None:
        self.policy = policy
