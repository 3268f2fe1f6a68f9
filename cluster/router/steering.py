"""Keeping the proxy's queues within their bytes, while it runs in a thread of its own without Python.

libzmq's proxy says on request how many messages and bytes it has moved. Once these prove small enough,
it is interrupted for a moment and its sockets get a higher high-water mark.
"""

from __future__ import annotations

import struct

import zmq

from cluster.core.bus.high_water import HighWater

#: How often the proxy is asked, until it has the highest mark.
ASK_EVERY_S = 2.0

#: A number in each; the first two are messages and bytes received from the publishing side.
_STATISTICS_FRAMES = 8
_NUMBER = struct.Struct("=Q")

_ENDPOINT = "inproc://proxy-steering"


class Steering:
    """``run`` and ``leave`` are for the proxy's thread, ``tick`` and ``close`` for another one.

    ``resumed``: how often the proxy has given up by itself and was begun anew.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._steered = context.socket(zmq.PAIR)
        self._steers = context.socket(zmq.PAIR)
        self._steered.bind(_ENDPOINT)
        self._steers.connect(_ENDPOINT)
        self._high_water = HighWater()
        self._seen = (0, 0)
        self._next_at = 0.0
        self.resumed = 0

    @property
    def mark(self) -> int:
        """Envelopes that may queue at the router for each connection."""
        return self._high_water.mark

    def run(self, publish: zmq.Socket[bytes], subscribe: zmq.Socket[bytes]) -> None:
        """Move messages until the context ends (zmq.ContextTerminated)."""
        while True:
            try:
                zmq.proxy_steerable(publish, subscribe, None, self._steered)
            except zmq.Again:
                # A socket was said to be readable, and what was there was nothing that a peer may send:
                # libzmq takes it away, and its proxy ends. No message was under way.
                self.resumed += 1
            publish.rcvhwm = subscribe.sndhwm = self.mark

    def leave(self) -> None:
        self._steered.close(0)

    def tick(self, now: float) -> None:
        """Read the last answer and ask again, if it is time and there is anything left to find out."""
        if now < self._next_at or self._high_water.is_highest:
            return
        self._next_at = now + ASK_EVERY_S
        try:
            while True:
                self._answered(self._steers.recv_multipart(zmq.DONTWAIT))
        except zmq.Again:
            self._steers.send(b"STATISTICS", zmq.DONTWAIT)

    def close(self) -> None:
        self._steers.close(0)

    def _answered(self, frames: list[bytes]) -> None:
        if len(frames) != _STATISTICS_FRAMES:
            return  # the answer to TERMINATE
        (messages,), (size_bytes,) = map(_NUMBER.unpack, frames[:2])
        before, before_bytes = self._seen if messages >= self._seen[0] else (0, 0)  # it was begun anew
        self._seen = messages, size_bytes
        if self._high_water.note(size_bytes - before_bytes, messages - before):
            self._steers.send(b"TERMINATE", zmq.DONTWAIT)
            self._seen = (0, 0)  # its next run counts from nothing
