"""The streams published at a worker: how it becomes their origin, and how it ceases to be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.core.bus import control
from cluster.core.bus.bounds import CONTEST_TIMEOUT_S, GRANT_TIMEOUT_S
from cluster.core.bus.control import BUSY, DRAINING, ControlMessage, Granted, Refused
from cluster.core.bus.epochs import EpochBook
from cluster.edge.link.interfaces import LinkHandler
from cluster.edge.link.peer import RouterPeer
from cluster.edge.link.routers import LinkRouters


@dataclass(slots=True)
class _Request:
    """A publish that waits for an answer; not sent yet while ``router`` finds none that lives."""

    message: control.Publish
    router: Callable[[], RouterPeer | None]
    answer: asyncio.Future[Granted | Refused]
    timeout: asyncio.Timeout
    is_sent: bool = False


class LinkOrigins:
    """``epochs``: the streams published here. ``on_changed`` is called after one was added or removed, and
    told whether others wait for it."""

    def __init__(
        self, handler: LinkHandler, routers: LinkRouters, on_changed: Callable[[str, bool], None]
    ) -> None:
        self.epochs: dict[str, int] = {}
        self.draining = False
        self._handler = handler
        self._routers = routers
        self._on_changed = on_changed
        self._book = EpochBook()
        self._requests: dict[int, _Request] = {}
        self._last_request_id = 0

    async def request(self, key: str, replace: bool) -> Granted | Refused:
        """Become the origin of ``key``, by the grant of a router of the cluster; if none answers in time,
        or has for a while, by that of the node's own; and if that does not either, by our own."""
        if self.draining:
            return Refused(key, DRAINING, 0)
        answer = None
        if self._routers.may_answer(asyncio.get_running_loop().time()):
            answer = await self._ask(key, replace, lambda: self._routers.first(key))
        if answer is None and self._routers.live_own() is not None:
            answer = await self._ask(key, replace, self._routers.live_own)
        return answer or self._grant_locally(key, replace)

    async def _ask(
        self, key: str, replace: bool, router: Callable[[], RouterPeer | None]
    ) -> Granted | Refused | None:
        """The answer of ``router``, or of another that it finds later; None if there was none in time."""
        self._last_request_id += 1
        message = control.Publish(key, replace, self._last_request_id)
        answer: asyncio.Future[Granted | Refused] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(GRANT_TIMEOUT_S) as timeout:
                request = _Request(message, router, answer, timeout)
                self._requests[message.request_id] = request
                self._send(request)
                return await answer
        except TimeoutError:
            return _come(answer)  # in the very turn in which the time was up
        except asyncio.CancelledError:
            if isinstance(granted := _come(answer), Granted):
                self.unpublish(key, granted.epoch)
            raise
        finally:
            self._requests.pop(message.request_id, None)

    def unpublish(self, key: str, epoch: int) -> None:
        """The publisher of ``epoch`` is gone."""
        if self.epochs.get(key) == epoch:
            del self.epochs[key]
            self._tell_all(control.Unpublish(key, epoch))
            self._on_changed(key, False)

    def peers_changed(self) -> None:
        """A router lives that did not before: requests that waited for one go out."""
        for request in self._requests.values():
            if not request.is_sent:
                self._send(request)

    def source_seen(self, key: str, epoch: int) -> None:
        """Another worker's epoch, so that a local grant is higher."""
        self._book.note(key, epoch)

    def close(self) -> None:
        """Refuse the requests that still wait: nobody will answer any more."""
        self.draining = True
        for request_id, request in self._requests.items():
            if not request.answer.done():
                request.answer.set_result(Refused(request.message.key, DRAINING, request_id))

    # ---- what routers say ------------------------------------------------------------------------

    def granted(self, peer: RouterPeer, message: Granted) -> None:
        request = self._requests.get(message.request_id)
        if request is None or request.answer.done():
            self._granted_late(peer, message)
            return
        self._replace(message)
        request.answer.set_result(message)

    def refused(self, message: Refused) -> None:
        request = self._requests.get(message.request_id)
        if request is not None and not request.answer.done():
            request.answer.set_result(message)

    def contested(self, message: control.Contested) -> None:
        """The router lives and asks the present origin: that may take longer than it may be silent."""
        request = self._requests.get(message.request_id)
        if request is not None and not request.answer.done():
            now = asyncio.get_running_loop().time()
            request.timeout.reschedule(now + CONTEST_TIMEOUT_S + GRANT_TIMEOUT_S)

    def contest(self, peer: RouterPeer, message: control.Contest) -> None:
        key = message.key
        epoch = self.epochs.get(key)
        yielded = epoch is None or self._handler.contest(key, message.replace)
        peer.send(control.ContestReply(key, message.request_id, yielded))
        if yielded and epoch is not None:
            self.unpublish(key, epoch)

    def revoked(self, message: control.Revoked) -> None:
        if self.epochs.get(message.key) == message.epoch:
            self._lose(message.key, message.epoch)

    # ---- grants ----------------------------------------------------------------------------------

    def _send(self, request: _Request) -> None:
        peer = request.router()
        if peer is not None:
            request.is_sent = peer.send(request.message)

    def _grant_locally(self, key: str, replace: bool) -> Granted | Refused:
        """No router answers, and no session may depend on one."""
        epoch = self.epochs.get(key)
        if epoch is not None:
            if not self._handler.contest(key, replace):
                return Refused(key, BUSY, 0)
            self.unpublish(key, epoch)
        granted = Granted(key, self._book.next(key, time.time_ns() // 1_000_000), 0)
        self._replace(granted)
        return granted

    def _granted_late(self, peer: RouterPeer, message: Granted) -> None:
        """The router answers a request that has been given up, or granted here meanwhile."""
        epoch = self.epochs.get(message.key)
        if epoch is not None and epoch > message.epoch:
            peer.send(control.Announce(message.key, epoch))
            return
        peer.send(control.Unpublish(message.key, message.epoch))
        if epoch is not None:
            self._lose(message.key, epoch)  # watchers have heard of the higher one

    def _replace(self, granted: Granted) -> None:
        key, epoch = granted.key, granted.epoch
        old = self.epochs.get(key)
        self._book.note(key, epoch)
        self.epochs[key] = epoch
        # The granting router is told as well: a Hello may have crossed with its grant.
        self._tell_all(control.Announce(key, epoch))
        self._on_changed(key, granted.watched)
        if old is not None:
            self._handler.revoked(key, old)

    def _lose(self, key: str, epoch: int) -> None:
        del self.epochs[key]
        self._on_changed(key, False)
        self._handler.revoked(key, epoch)

    def _tell_all(self, message: ControlMessage) -> None:
        for peer in self._routers.all():
            peer.send(message)


def _come(answer: asyncio.Future[Granted | Refused]) -> Granted | Refused | None:
    """The answer, if there is one: a wait that was ended cancelled what it waited for."""
    return answer.result() if answer.done() and not answer.cancelled() else None
