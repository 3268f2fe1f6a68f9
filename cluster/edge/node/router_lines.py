"""What a node says of its links to the routers of the cluster: a line for the node, not for each worker.

Each worker tells with its beats what is wrong with each router. A router that is not reached, or is lost,
is told of within two seconds and every half minute while that lasts; then, that it answers again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

#: How often a router that does not answer is told of.
TELL_EVERY_S = 30.0

#: How long the line about the loss of a router waits for the workers that have not noticed yet.
_GATHER_S = 0.5


@dataclass(slots=True)
class _Router:
    """What the workers, by slot, say of one router: see ``Link.router_troubles``."""

    troubles: dict[int, str | None] = field(default_factory=dict)
    #: It has answered every worker at some time.
    was_whole: bool = False
    down_since: float | None = None
    told_at: float | None = None

    @property
    def is_known(self) -> bool:
        return bool(self.troubles) and None not in self.troubles.values()

    @property
    def answers(self) -> bool:
        """Every worker that has something to say of it."""
        return any(why == "" for why in self.troubles.values()) and not self.whys

    @property
    def whys(self) -> list[str]:
        """What is wrong, at each of the workers that find something wrong."""
        return [why for why in self.troubles.values() if why]


class RouterLines:
    """The lines of one node; ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._routers: dict[str, _Router] = {}
        self._heard: set[int] = set()

    def hear(self, slot: int, troubles: Mapping[str, str | None]) -> None:
        """The worker in ``slot`` has said this of each of the routers."""
        self._heard.add(slot)
        for name, why in troubles.items():
            self._routers.setdefault(name, _Router()).troubles[slot] = why
        for name in self._routers.keys() - troubles.keys():  # a name stands for other routers now
            self._forget(slot, name)

    def ended(self, slot: int) -> None:
        """The worker in ``slot`` is gone."""
        self._heard.discard(slot)
        for name in list(self._routers):
            self._routers[name].troubles.pop(slot, None)

    def _forget(self, slot: int, name: str) -> None:
        self._routers[name].troubles.pop(slot, None)
        if not self._routers[name].troubles:
            del self._routers[name]

    def are_known(self, workers: int) -> bool:
        """Each of so many workers has said of every router whether it answers."""
        return len(self._heard) == workers and all(each.is_known for each in self._routers.values())

    def counts(self) -> tuple[int, int]:
        """How many of the routers answer, and how many there are."""
        return sum(router.answers for router in self._routers.values()), len(self._routers)

    def tick(self) -> None:
        """Say what is to be said; call this after what was heard, and twice a second."""
        now = self._clock()
        for name, router in self._routers.items():
            if router.whys:
                self._is_down(name, router, now)
            elif router.is_known:
                self._is_up(name, router, now)

    def _is_down(self, name: str, router: _Router, now: float) -> None:
        if router.down_since is None:
            router.down_since = now
        everywhere = len(router.whys) == len(router.troubles)
        if router.told_at is None:
            if not everywhere and now - router.down_since < _GATHER_S:
                return
        elif now - router.told_at < TELL_EVERY_S:
            return
        again = router.told_at is not None
        router.told_at = now
        fields = {"router": name, "why": router.whys[0], "after_s": round(now - router.down_since, 1)}
        fields |= {"workers": len(router.whys), "of": len(router.troubles)}
        text = "router %(router)s is lost: %(why)s" if router.was_whole else (
            "router %(router)s is not reached: %(why)s"
        )  # fmt: skip
        text += "" if everywhere else " (so say %(workers)d of %(of)d workers)"
        text += "; for %(after_s).0f s now" if again else ""
        event = "router_lost" if router.was_whole else "router_unreached"
        logger.warning(text, fields, extra={"event": event})

    def _is_up(self, name: str, router: _Router, now: float) -> None:
        down_since, told_at = router.down_since, router.told_at
        router.down_since = router.told_at = None
        if told_at is not None and down_since is not None:
            fields = {"router": name, "after_s": round(now - down_since, 1)}
            again = "again " if router.was_whole else ""
            logger.info(
                f"router %(router)s answers {again}after %(after_s).1f s", fields,
                extra={"event": "router_back" if router.was_whole else "router_reached"},
            )  # fmt: skip
        elif not router.was_whole:
            logger.info("router %(router)s answers", {"router": name}, extra={"event": "router_reached"})
        router.was_whole = True
