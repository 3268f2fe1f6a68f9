"""Snapshots: asking the origin of a stream for one, and answering as the origin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from cluster.core.bus import control
from cluster.core.bus.bounds import (
    MAX_SNAPSHOT_MESSAGES,
    SNAPSHOT_HOLD_S,
    SNAPSHOT_INTERVAL_S,
    SNAPSHOT_RETRY_S,
)
from cluster.edge.link.interfaces import LinkCounters, LinkHandler
from cluster.edge.link.output import LinkOutput
from cluster.edge.link.peer import RouterPeer


class SnapshotRequests:
    """Asks until it is answered: a request may be lost with a router, an origin not yet announced."""

    def __init__(self, feed: Callable[[str], RouterPeer | None]) -> None:
        self._feed = feed
        self._due: dict[str, float] = {}  # open requests, and when each is to be asked (again)
        self._asked_at: dict[str, float] = {}
        self._last_request_id = 0

    def __bool__(self) -> bool:
        """Whether any request is open."""
        return bool(self._due)

    def request(self, key: str, now: float) -> None:
        if key in self._due:
            return
        asked_at = self._asked_at.get(key)
        if asked_at is None or now - asked_at >= SNAPSHOT_INTERVAL_S:
            self._ask(key, now)
        else:
            self._due[key] = asked_at + SNAPSHOT_INTERVAL_S

    def answered(self, key: str) -> None:
        self._due.pop(key, None)

    def forget(self, key: str) -> None:
        """What was asked is of no use any more; the next request goes out at once."""
        self._due.pop(key, None)
        self._asked_at.pop(key, None)

    def tick(self, now: float) -> None:
        for key, due in list(self._due.items()):
            if now >= due:
                self._ask(key, now)

    def _ask(self, key: str, now: float) -> None:
        self._asked_at[key] = now
        self._due[key] = now + SNAPSHOT_RETRY_S
        peer = self._feed(key)
        if peer is not None:
            self._last_request_id += 1
            peer.send(control.SnapshotRequest(key, self._last_request_id))


@dataclass(frozen=True, slots=True)
class _Held:
    peer: RouterPeer
    request: control.SnapshotRequest
    timer: asyncio.TimerHandle


class SnapshotAnswers:
    """Answers for the streams published here. ``origins``: the keys we were granted.

    An answer is held back until the asking worker's subscription has arrived (it travels beside the
    request, over other sockets): then every message after the snapshot reaches that worker.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: LinkHandler,
        worker_id: str,
        output: LinkOutput,
        origins: Container[str],
        counters: LinkCounters,
    ) -> None:
        self._origins = origins
        self._counters = counters
        self._loop = loop
        self._handler = handler
        self._worker_id = worker_id
        self._output = output
        self._held: dict[str, dict[str, _Held]] = {}

    def requested(self, peer: RouterPeer, request: control.SnapshotRequest) -> None:
        if self._output.is_subscribed(request.key):
            self._answer(peer, request)
            return
        held = self._held.setdefault(request.key, {})
        previous = held.get(request.requester)
        if previous is not None:
            previous.timer.cancel()
        timer = self._loop.call_later(SNAPSHOT_HOLD_S, self._release, request.key)
        held[request.requester] = _Held(peer, request, timer)

    def demand_seen(self, key: str) -> None:
        if key in self._held:
            self._release(key)

    def close(self) -> None:
        for held in self._held.values():
            for entry in held.values():
                entry.timer.cancel()
        self._held.clear()

    def _release(self, key: str) -> None:
        for entry in self._held.pop(key, {}).values():
            entry.timer.cancel()
            self._answer(entry.peer, entry.request)

    def _answer(
        self, peer: RouterPeer, request: control.SnapshotRequest, *, is_last_try: bool = False
    ) -> None:
        snapshot = self._handler.snapshot_requested(request.key)
        if snapshot is None and request.key in self._origins and not is_last_try:
            # Read together with the grant: its publisher begins in the loop's next turn, and whoever asks
            # would ask again only after SNAPSHOT_RETRY_S.
            self._loop.call_soon(self._try_again, peer, request)
            return
        if snapshot is None:
            peer.send(control.NoStream(request.key, request.request_id, request.requester))
            return
        answer = replace(
            self._output.with_early(snapshot),
            origin=self._worker_id, request_id=request.request_id, requester=request.requester,
        )  # fmt: skip
        if len(answer.headers) + len(answer.messages) > MAX_SNAPSHOT_MESSAGES:
            answer = replace(answer, messages=[])  # it begins with what comes next
        if peer.send(answer):
            self._counters.snapshots_sent += 1

    def _try_again(self, peer: RouterPeer, request: control.SnapshotRequest) -> None:
        if peer.is_live:  # else it may be closed, too
            self._answer(peer, request, is_last_try=True)
