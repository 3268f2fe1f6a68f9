"""Publishing and playing over a server's failures, restarts and requests to go elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.client.backoff import Backoff
from cluster.client.connecting import ConnectOptions
from cluster.client.reconnecting_playback import ReconnectingPlayback
from cluster.client.reconnecting_publication import ReconnectingPublication
from cluster.client.redial import Redial
from cluster.core.rtmp.url import RtmpUrl


class Reconnecting:
    """What ``reconnecting`` returns: says what to do on each connection. Nothing happens before that."""

    def __init__(
        self,
        url: RtmpUrl,
        backoff: Backoff,
        options: ConnectOptions,
        told: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._url = url
        self._backoff = backoff
        self._options = options
        self._told = told

    def publish(self, name: str | None = None, publish_type: str = "live") -> ReconnectingPublication:
        """Publish ``name`` (None: the stream of the URL); to be entered with ``async with``."""
        return ReconnectingPublication(self._redial(), name, publish_type)

    def play(self, name: str | None = None, *, start: float = -2) -> ReconnectingPlayback:
        """Play ``name`` (None: the stream of the URL); to be entered with ``async with``."""
        return ReconnectingPlayback(self._redial(), name, start)

    def _redial(self) -> Redial:
        return Redial(self._url, self._backoff, self._options, self._told)


def reconnecting(
    url: str | RtmpUrl,
    *,
    backoff: Backoff | None = None,
    told: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Reconnecting:
    """``async with reconnecting(url).publish() as publication:``, or ``.play()``.

    ``told`` is given a line of text when a connection is lost, for each attempt that fails, when there is
    a connection again, and when the server asks us to go elsewhere. ``options`` are those of ``connect``.
    The server is told that a ReconnectRequest will be obeyed.
    """
    parsed = RtmpUrl.parse(url) if isinstance(url, str) else url
    return Reconnecting(parsed, backoff or Backoff(), ConnectOptions(**options), told)
