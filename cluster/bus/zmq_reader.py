"""Reads a ZeroMQ socket from the event loop.

A ZeroMQ file descriptor is edge-triggered and stands for everything that happens to a socket, not only
for messages: reconnects and repeated subscriptions are carried out in the application's thread when the
socket is serviced. So it is read until it is empty at every wake-up, once more after anything was sent
on it (a send may swallow the wake-up), and from a timer of its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

import zmq

from cluster.net.wake_ups import WakeUps

#: Messages read before the loop gets to do something else, and for how long: one of them may carry a
#: thousand messages of a stream.
MAX_MESSAGES_PER_TURN = 64
TURN_S = 0.005

#: Plain ints: an enum member costs a call each time it is used.
_DONTWAIT = int(zmq.DONTWAIT)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)

_T = TypeVar("_T")


class ZmqReader(Generic[_T]):
    """Calls ``on_message`` with each message that ``receive``, a method of ``socket``, returns."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        receive: Callable[[int], _T],
        on_message: Callable[[_T], None],
    ) -> None:
        self._loop = loop
        self._receive = receive
        self._socket = socket
        self._on_message = on_message
        self._scheduled = False
        self._closed = False
        self._wake_ups = WakeUps(loop, int(socket.getsockopt(zmq.FD)), self.service)
        self.service_soon()

    def service_soon(self) -> None:
        """Look at the socket once more in the next turn of the loop; call this after each send."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Mostly there is nothing, and to be told so by what ``receive`` raises takes twice as long."""
        self._scheduled = False
        if not self._closed and int(self._socket.getsockopt(_EVENTS)) & _POLLIN:
            self.service()

    def service(self) -> int:
        """Read what there is, the rest of a long queue in the next turn; how many messages that was."""
        receive = self._receive
        until = monotonic() + TURN_S
        for count in range(MAX_MESSAGES_PER_TURN):
            if self._closed:
                return count
            if monotonic() >= until:
                self.service_soon()
                return count
            try:
                message = receive(_DONTWAIT)
            except zmq.Again:
                return count
            try:
                self._on_message(message)
            except BaseException:
                # The wake-up is used up: what is still queued must not wait for another message.
                self.service_soon()
                raise
        self.service_soon()
        return MAX_MESSAGES_PER_TURN

    def close(self) -> None:
        """Stop reading and close the socket."""
        self._closed = True
        self._wake_ups.close()
        self._socket.close()
