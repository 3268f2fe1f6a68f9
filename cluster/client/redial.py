"""One connection after another to the same server, or to where it sends us."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from cluster.client.backoff import Attempts, Backoff
from cluster.client.connecting import Connecting, ConnectOptions
from cluster.client.connection import Connection
from cluster.client.errors import RtmpError
from cluster.core.rtmp.url import RtmpUrl


class Redial:
    """Connects, and after a loss waits and connects again. ``connections`` counts those that came about.

    ``told`` is given a line for each loss, each return, and each request to go elsewhere.
    """

    def __init__(
        self, url: RtmpUrl, backoff: Backoff, options: ConnectOptions, told: Callable[[str], None]
    ) -> None:
        self.connections = 0
        self._url = url
        self._options = dataclasses.replace(options, reconnect=True)
        self._attempts = Attempts(backoff)
        self._target = url
        self._since: float | None = None
        self._told = told
        self._lost_at: float | None = None

    @property
    def timeout_s(self) -> float:
        """How long an answer may take."""
        return self._options.timeout_s

    async def connect(self) -> Connection:
        """One attempt, at the present target; the next is at the first address if it fails."""
        target, self._target = self._target, self._url
        connection = await Connecting(target, self._options)
        self._target = target
        self.connected()
        return connection

    def go_to(self, url: RtmpUrl) -> None:
        """Connect there next: the server asks us to."""
        self._target = url
        self._told(f"the server asks us to go to {url.host}:{url.port}")

    def connected(self) -> None:
        """A connection holds from now on."""
        self.connections += 1
        self._since = asyncio.get_running_loop().time()
        if self._lost_at is not None:
            self._told(f"connected again after {self._since - self._lost_at:.1f} s")
            self._lost_at = None

    async def pause(self, lost: RtmpError) -> None:
        """Wait until another attempt is due; raises ``lost`` if there shall be none."""
        now = asyncio.get_running_loop().time()
        held_s = 0.0 if self._since is None else now - self._since
        self._since = None
        pause_s = self._attempts.pause_s(held_s)
        if pause_s is None:
            raise lost.with_traceback(None)
        if self._lost_at is None:
            self._lost_at = now
        self._told(f"{lost}; trying again in {pause_s:.1f} s")
        await asyncio.sleep(pause_s)
