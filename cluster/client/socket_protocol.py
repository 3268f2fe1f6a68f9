"""One socket and the session on it: moves bytes and time between them, and knows when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

from cluster.client.errors import ConnectionClosed
from cluster.client.read_gate import ReadGate
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.events import Event

#: How long our last words may take to leave, after which the connection is cut.
CLOSE_TIMEOUT_S = 2.0

#: Senders wait while more than this is unsent: some frames, so that the socket never runs dry.
WRITE_BUFFER_BYTES = 256 * 1024

#: Answers of ours to a server that asks (pings above all) and does not read: more closes it.
MAX_UNSENT_ANSWER_BYTES = 256 * 1024

_TICK_S = 1.0
#: What an event or message costs beside the bytes it came in, so that empty ones are bounded too.
_ITEM_BYTES = 128

#: What to do with an event or a message, which stands for so many received bytes.
Deliver: TypeAlias = Callable[[Event | Message, int], None]


class Tap(Protocol):
    """Told of all bytes of a connection as they pass, behind TLS."""

    def sent(self, data: bytes) -> None: ...
    def received(self, data: bytes) -> None: ...


class SocketProtocol(asyncio.Protocol):
    """Feeds a ``ClientSession``. ``ended`` is set once the socket is gone, ``closed`` says why.

    The first reason counts, and a socket is never left open for longer than CLOSE_TIMEOUT_S after it. The
    session's clock is time.monotonic, which is finer than that of some loops.
    """

    def __init__(
        self,
        session: ClientSession,
        *,
        limits: Limits,
        queue_bytes: int,
        deliver: Deliver,
        on_closed: Callable[[ConnectionClosed], None],
        tap: Tap | None = None,
    ) -> None:
        self.session = session
        self.closed: ConnectionClosed | None = None
        self.ended = asyncio.Event()
        #: The last error the server told of the connection as a whole.
        self.last_words = ""
        self.gate = ReadGate(
            queue_bytes, limits.max_message_bytes, pause=self._pause_reading, resume=self._resume_reading
        )
        self._limits = limits
        self._deliver = deliver
        self._on_closed = on_closed
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._uncharged_bytes = 0
        self._unsent_answer_bytes = 0
        self._unyielded_bytes = 0
        self._last_received = self._last_ping = time.monotonic()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._writable.set()
        self._last_received = self._last_ping = time.monotonic()
        self._schedule_tick()
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self.closed is not None:
            return
        self._last_received = time.monotonic()
        self._uncharged_bytes += len(data)
        if self._tap is not None:
            self._tap.received(data)
        try:
            received = self.session.receive(data, self._last_received)
        except PeerViolation as violation:
            self.close(ConnectionClosed(violation.reason, violation.detail))
            return
        for item in received:
            cost_bytes, self._uncharged_bytes = self._uncharged_bytes + _ITEM_BYTES, 0
            self._deliver(item, cost_bytes)
            if self.closed is not None:
                return
        self._flush_answers()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._unsent_answer_bytes = 0
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers:
            timer.cancel()
        after = f" after {self.last_words}" if self.last_words else ""
        if exc is None:
            self._note_closed(ConnectionClosed(CloseReason.PEER_CLOSED, f"the server closed it{after}"))
        else:
            seen = str(exc) or type(exc).__name__
            self._note_closed(ConnectionClosed(CloseReason.PEER_RESET, f"{seen}{after}"))
        self._writable.set()  # whoever waits to send learns that it is over
        self.ended.set()

    # Called by the connection.

    @property
    def tls_version(self) -> str | None:
        """The TLS version in use; None if the connection is not encrypted."""
        socket = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return None if socket is None else str(socket.version())

    def flush(self) -> None:
        """Hand the socket everything the session wants sent."""
        data = self.session.outgoing()
        if data and self._transport is not None and not self._transport.is_closing():
            self._unyielded_bytes += len(data)
            self._write(self._transport, data)

    async def writable(self) -> None:
        """Wait until the socket takes more. ConnectionClosed if it never will.

        A fast sender lets others run too, each time it has filled a buffer's worth.
        """
        if self._unyielded_bytes >= WRITE_BUFFER_BYTES:
            self._unyielded_bytes = 0
            await asyncio.sleep(0)
        await self._writable.wait()
        self.check_open()

    def check_open(self) -> None:
        """ConnectionClosed, as often as it is asked, if it is."""
        if self.closed is not None:
            raise ConnectionClosed(self.closed.reason, self.closed.detail)

    def close(self, closed: ConnectionClosed) -> None:
        """End it for this reason; what is to be sent goes out first, within CLOSE_TIMEOUT_S."""
        if self.closed is not None:
            return
        self._note_closed(closed)
        self.flush()
        if self._transport is None:
            self.ended.set()
            return
        self._transport.close()
        self._timers.append(self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort))

    async def wait_ended(self) -> None:
        """Wait until the socket is gone, at most CLOSE_TIMEOUT_S; a cancelled wait cuts it at once."""
        try:
            await self.ended.wait()
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut the connection at once, unless it is gone."""
        if self._transport is not None and not self.ended.is_set():
            self._transport.abort()

    def ping(self) -> None:
        """Ask for a pong, which gives the round-trip time."""
        self._last_ping = time.monotonic()
        self.session.ping(self._last_ping)
        self.flush()

    def _note_closed(self, closed: ConnectionClosed) -> None:
        if self.closed is None:
            self.closed = closed
            self._on_closed(closed)

    def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        if self._tap is not None:
            self._tap.sent(data)
        transport.write(data)

    def _flush_answers(self) -> None:
        """Send what the session answers by itself, unless the server lets it pile up."""
        data = self.session.outgoing()
        if not data or self._transport is None:
            return
        self._write(self._transport, data)
        if not self._writable.is_set():
            self._unsent_answer_bytes += len(data)
            if self._unsent_answer_bytes > MAX_UNSENT_ANSWER_BYTES:
                detail = "the server does not read the answers it asks for"
                self.close(ConnectionClosed(CloseReason.SLOW_PEER, detail))

    # Time.

    def _schedule_tick(self) -> None:
        self._timers[:] = [self._loop.call_later(_TICK_S, self._tick)]

    def _tick(self) -> None:
        if self.closed is not None:
            return
        now = time.monotonic()
        try:
            self.session.tick(now)
            self._keep_alive(now)
        except PeerViolation as violation:
            self.close(ConnectionClosed(violation.reason, violation.detail))
            return
        self._schedule_tick()
        self._flush_answers()

    def _keep_alive(self, now: float) -> None:
        """Find a server that is gone without a word. One that never answered a ping is left alone."""
        if now - self._last_ping < self._limits.ping_interval_s:
            return
        silent_s = now - self._last_received
        answers = self.session.rtt_ms is not None and not self.gate.paused
        if answers and silent_s >= self._limits.ping_timeout_s:
            raise PeerViolation(CloseReason.PING_TIMEOUT, f"nothing received for {silent_s:.0f} s")
        self.ping()

    # Reading.

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._last_received = time.monotonic()
            self._transport.resume_reading()
