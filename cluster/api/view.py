"""The cluster as one of its processes sees it, from the bus alone: the same from each of them.

All of it lives on the event loop that it was started on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import zmq

from cluster.api.asking import AskedRouter
from cluster.api.details import Details
from cluster.api.events import Events
from cluster.api.fresh import Fresh
from cluster.api.round import Known, RollCall, ask_routers, call_roll
from cluster.api.sources import Sources
from cluster.api.texts import Texts
from cluster.bus.router_names import RouterNames
from cluster.core.bus.endpoints import EndpointError, endpoints

logger = logging.getLogger(__name__)

#: How often the cluster is looked at without anybody asking, for the list of events.
WATCH_EVERY_S = 2.0
#: Routers that are asked, at most: who has no key of the cluster could name any number of them.
MAX_ROUTERS = 64

T = TypeVar("T")


class ClusterView:
    """Asks the routers and, through them, the workers; answers are shared by all who ask at once."""

    def __init__(self, sources: Sources) -> None:
        self.events = Events()
        self.details = Details()
        self.texts = Texts()
        self._sources = sources
        self._routers: dict[str, AskedRouter] = {}
        self._fresh: Fresh[Any] = Fresh()
        #: The latest, by the address of what it is about, which it holds.
        self._rolls: Fresh[RollCall] = Fresh(max_kept=1)
        self._looked_at = -WATCH_EVERY_S
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect to the routers, whether or not they are there."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        found = [endpoints(each) for each in dict.fromkeys(self._sources.routers)]
        self._fixed = {each.base for each in found if not each.is_name}
        names = [each for each in found if each.is_name]
        self._named: set[str] = set()
        if self._sources.own is not None:
            self._open(self._sources.own, is_own=True)
        for base in sorted(self._fixed):
            self._open(base)
        loop = asyncio.get_running_loop()
        if names:
            resolver = RouterNames(names, self._resolved)
            await resolver.resolve()
            self._tasks.append(loop.create_task(resolver.run()))
        self._tasks.append(loop.create_task(self._watch()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in (self._fresh, self._rolls):
            await each.close()
        for router in self._routers.values():
            router.close()
        await asyncio.get_running_loop().run_in_executor(None, self._context.term)

    # ---- asking ------------------------------------------------------------------------------

    async def known(self) -> Known:
        """What the routers know."""
        return await self.shared("known", self._ask_routers)

    async def roll_call(self) -> RollCall:
        """Which workers answer, and what they say of themselves."""
        known = await self.known()
        # Shared for as long as that is fresh, and no longer: it would be older than it may be otherwise.
        return await self._rolls.get(id(known), lambda: self._call_roll(known))

    async def shared(self, question: object, fetch: Callable[[], Awaitable[T]]) -> T:
        """What ``fetch`` brings, or has brought a moment ago to another who asked ``question``."""
        answer: T = await self._fresh.get(question, fetch)
        return answer

    def forget(self) -> None:
        """Something was changed: what was fetched before is not shown any more."""
        self._fresh.forget()
        self._rolls.forget()
        self.details.forget()

    @property
    def routers(self) -> list[AskedRouter]:
        """All of them, also the one that is not told of."""
        return list(self._routers.values())

    async def _ask_routers(self) -> Known:
        self._looked_at = asyncio.get_running_loop().time()
        own_knows_all = self._sources.learns or not self._sources.routers
        known = await ask_routers(list(self._routers.values()), own_knows_all=own_knows_all)
        self.events.look(known)
        return known

    async def _call_roll(self, known: Known) -> RollCall:
        roll = await call_roll(known)
        if self._sources.learns and roll.summaries:
            self._named = set(sorted(roll.routers_named)[:MAX_ROUTERS])
            self._use(self._named)
        return roll

    async def _watch(self) -> None:
        """Look at the cluster if nobody else does. Workers are only asked to learn of routers: there may be
        a thousand, and as many who watch."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                if self._sources.learns:
                    await self.roll_call()
                elif loop.time() - self._looked_at >= WATCH_EVERY_S / 2:
                    await self.known()
            except Exception:
                logger.exception("the cluster could not be looked at", extra={"event": "api_failed"})
            await asyncio.sleep(WATCH_EVERY_S)

    # ---- routers come and go -----------------------------------------------------------------

    def _resolved(self, found: set[str]) -> None:
        self._named = found
        self._use(found | self._fixed)

    def _use(self, wanted: set[str]) -> None:
        for base in wanted - self._routers.keys():
            self._open(base)
        own = self._sources.own
        if own in self._routers and self._sources.learns:
            self._routers[own].is_own = own not in wanted  # the nodes may call it the same
        for base in self._routers.keys() - wanted:
            if not self._routers[base].is_own:
                self._routers.pop(base).close()

    def _open(self, base: str, *, is_own: bool = False) -> None:
        with contextlib.suppress(EndpointError):  # of a node that says what it likes
            router = AskedRouter(self._context, endpoints(base), self._sources.key, is_own=is_own)
            self._routers[base] = router
