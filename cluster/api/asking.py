"""The routers that are asked, from an event loop: what they know, and, through them, any worker.

None of them is waited for longer than the caller says. One that cannot be reached is known at once; one
that hangs costs that time.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from typing import NamedTuple

import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.reach import EVENTS, Reach, Reached
from cluster.bus.sockets import uplink_socket
from cluster.bus.zmq_reader import ZmqReader
from cluster.core.bus import bounds, control, control_coding
from cluster.core.bus.control import ControlMessage
from cluster.core.bus.control_coding import ControlError
from cluster.core.bus.endpoints import Endpoints

#: A router that was just begun to be connected to is given so long to be there.
_CONNECT_S = 0.5
_TRY_EVERY_S = 0.02


class RouterAnswer(NamedTuple):
    """What one router has said; ``status`` is None if nothing, and ``why`` says why not."""

    router: str
    status: control.ClusterStatus | None
    after_ms: float
    why: str = ""


class AskedRouter:
    """One router. ``is_own``: a way to it that other hosts do not have, so that it is told of to nobody."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], router: Endpoints, key: ClusterKey | None,
        *, is_own: bool = False,
    ) -> None:  # fmt: skip
        self.name = router.base
        self.is_own = is_own
        self._loop = asyncio.get_running_loop()
        self._context = context
        self._router = router
        self._key = None if router.is_local else key
        self._request_ids = itertools.count(1)
        self._status_waiting: list[asyncio.Future[control.ClusterStatus | None]] = []
        self._answers: dict[int, asyncio.Future[control.Answer]] = {}
        self._open()

    def _open(self) -> None:
        self._opened_at = self._loop.time()
        self._is_open = True
        self._reached = Reached(self._key is not None)
        dealer = uplink_socket(
            self._context, zmq.DEALER, bounds.CONTROL_HIGH_WATER_MARK, self._router.control, self._key
        )
        dealer.routing_id = f"api-{secrets.token_hex(8)}".encode()
        monitor = dealer.get_monitor_socket(EVENTS)
        dealer.connect(self._router.control)
        self._dealer = dealer
        self._reader = ZmqReader(self._loop, dealer, dealer.recv_multipart, self._received)
        self._monitor_reader = ZmqReader(
            self._loop, monitor, monitor.recv_multipart, self._connection_event
        )

    def close(self) -> None:
        """Whoever waits has no answer: nothing is cancelled, for others share what is fetched here."""
        self._is_open = False
        self._dealer.disable_monitor()
        self._monitor_reader.close()
        self._reader.close()
        statuses, self._status_waiting = self._status_waiting, []
        for status in statuses:
            if not status.done():
                status.set_result(None)
        for request_id, answer in self._answers.items():
            if not answer.done():
                answer.set_result(control.Answer(request_id, b"", is_known=False))

    async def status(self, timeout_s: float) -> RouterAnswer:
        """What it knows."""
        began_at = self._loop.time()
        if self._reached.reach.is_refusal and began_at - self._opened_at > bounds.REFUSED_RETRY_S:
            self.close()  # libzmq may have given it up
            self._open()
        waiting: asyncio.Future[control.ClusterStatus | None] = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                if not await self._send_soon(control.StatusRequest()):
                    return RouterAnswer(self.name, None, 0.0, self._reached.reach.why)
                self._status_waiting.append(waiting)
                status = await waiting
        except TimeoutError:
            status = None
        if status is None:
            return RouterAnswer(self.name, None, 0.0, self._reached.reach.why)
        return RouterAnswer(self.name, status, (self._loop.time() - began_at) * 1000)

    async def ask(self, worker_id: str, text: bytes) -> control.Answer:
        """The answer of a worker; to be cancelled when nobody waits any more."""
        request_id = next(self._request_ids)
        if not self._is_open:  # it was known to whoever asks when it was still there
            return control.Answer(request_id, b"", is_known=False)
        answer: asyncio.Future[control.Answer] = self._loop.create_future()
        self._answers[request_id] = answer
        try:
            self.send(control.Question(worker_id, request_id, text))
            return await answer
        finally:
            del self._answers[request_id]

    def send(self, message: ControlMessage) -> bool:
        """False if it cannot be reached now."""
        if not self._is_open:
            return False
        try:
            self._dealer.send_multipart(control_coding.encode(message), zmq.DONTWAIT)
        except zmq.Again:
            return False
        self._reader.service_soon()
        return True

    async def _send_soon(self, message: ControlMessage) -> bool:
        while not self.send(message):
            if self._loop.time() - self._opened_at > _CONNECT_S:
                return False
            await asyncio.sleep(_TRY_EVERY_S)
        return True

    def _connection_event(self, frames: list[bytes]) -> None:
        event = parse_monitor_message(frames)
        self._reached.event(event["event"], event["value"], self._loop.time())

    def _received(self, frames: list[bytes]) -> None:
        try:
            message = control_coding.decode(frames)
        except ControlError:
            return
        if isinstance(message, control.ClusterStatus):
            waiting, self._status_waiting = self._status_waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(message)
        elif isinstance(message, control.Answer):
            answer = self._answers.get(message.request_id)
            if answer is not None and not answer.done():
                answer.set_result(message)

    @property
    def reach(self) -> Reach:
        return self._reached.reach


async def ask_through(
    routers: Sequence[AskedRouter], worker_id: str, text: bytes, timeout_s: float
) -> bytes | None:
    """The answer of a worker, through the first of these routers, or, if that takes half of the time,
    through the others too; None if there is none in time."""
    loop = asyncio.get_running_loop()
    until, asked = loop.time() + timeout_s, set[asyncio.Task[control.Answer]]()
    try:
        waiting = list(routers)
        while waiting or asked:
            if waiting:
                asked.add(loop.create_task(waiting.pop(0).ask(worker_id, text)))
            left_s = until - loop.time()
            if left_s <= 0:
                return None
            wait_s = min(left_s, timeout_s / 2) if waiting else left_s
            done, asked = await asyncio.wait(
                asked, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                answer = each.result()
                if answer.is_known:
                    return answer.text
        return None
    finally:
        for each in asked:
            each.cancel()
