"""The link of a server that stands alone: no routers, so every publish is granted here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from cluster.core.bus.control import BUSY, Granted, Refused
from cluster.core.bus.epochs import EpochBook
from cluster.core.bus.packing import MessageLike


class Contestant(Protocol):
    """The part of a worker that knows whether the present publisher of a stream gives it up."""

    def contest(self, key: str, replace: bool) -> bool: ...


class LocalLink:
    """The uplink of streams that are alone: there is nobody else who could publish or play."""

    def __init__(self, handler: Contestant) -> None:
        self._handler = handler
        self._epochs = EpochBook()

    async def request_publish(self, key: str, *, replace: bool) -> Granted | Refused:
        if not self._handler.contest(key, replace):
            return Refused(key, BUSY, 0)
        return Granted(key, self._epochs.next(key, time.time_ns() // 1_000_000), 0)

    def unpublish(self, key: str, epoch: int) -> None: ...

    def wanted(self, key: str) -> bool:
        return False

    def publish(
        self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike], *, more: bool = False,
        waited_s: float | None = None,
    ) -> None: ...  # fmt: skip

    def watch(self, key: str) -> None: ...

    def unwatch(self, key: str) -> None: ...

    def request_snapshot(self, key: str) -> None: ...
