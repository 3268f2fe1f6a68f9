"""One attempt to tell the receiver of an event, and what it answered."""

from __future__ import annotations

import email.utils
import html
import math
import ssl
import time
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import aiohttp

from cluster import __version__
from cluster.core.webhooks import signed_headers
from cluster.edge.events.queue import Waiting
from cluster.edge.events.start import Receiver

#: Standard Webhooks: 15 to 30 s.
TIMEOUT_S = 15.0
#: A receiver that asks us to come back later is not believed beyond this.
MAX_RETRY_AFTER_S = 3_600.0
#: Of an answer that is no: what is read, and what the log shows.
_READ_BYTES = 4_096
_SHOWN_CHARACTERS = 200
#: What is shorter is none, and stands in every text.
_SHORTEST_SECRET = 3
_GONE = 410


class Outcome(Enum):
    """What has become of an attempt."""

    DELIVERED = auto()
    FAILED = auto()
    #: The receiver wants no events any more.
    GONE = auto()


class Attempt(NamedTuple):
    """``why`` it failed, for the log; ``retry_after_s``: how long the receiver wants to be left alone."""

    outcome: Outcome
    why: str = ""
    retry_after_s: float = 0.0


class HttpReceiver:
    """Asks by HTTP, with ``connections`` at most. To be made on the running loop."""

    def __init__(self, receiver: Receiver, connections: int, timeout_s: float = TIMEOUT_S) -> None:
        self._receiver = receiver
        self._session = aiohttp.ClientSession(
            # Its own context: aiohttp's knows the authorities of when it was imported.
            connector=aiohttp.TCPConnector(limit=connections, ssl=ssl.create_default_context()),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            # What is compressed could become any size.
            headers={
                "User-Agent": f"rtmp-cluster/{__version__}", "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    async def tell(self, event: Waiting) -> Attempt:
        """Try once. What it raises is not of the network."""
        headers = signed_headers(self._receiver.secrets, event.id, time.time(), event.body)
        try:
            async with self._session.post(
                self._receiver.url, data=event.body, headers=headers, allow_redirects=False
            ) as answer:
                if 200 <= answer.status < 300:
                    return Attempt(Outcome.DELIVERED)
                shown = _shown(await answer.content.read(_READ_BYTES), self._receiver.url)
                why = f"status {answer.status}{': ' if shown else ''}{shown}"
                if answer.status == _GONE:
                    return Attempt(Outcome.GONE, why)
                pause_s = _retry_after_s(answer.headers.get("Retry-After", ""))
                return Attempt(Outcome.FAILED, why, pause_s)
        except TimeoutError:
            return Attempt(Outcome.FAILED, f"no answer within {self._session.timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that can be none
            return Attempt(Outcome.FAILED, _spelled(error))


def _shown(body: bytes, url: str) -> str:
    """The beginning of an answer: many an error page repeats the address, which may have a secret in it."""
    text, parts = body.decode(errors="replace"), urlsplit(url)
    items = [item.partition("=")[2] for item in parts.query.split("&")]
    for secret in (parts.query, parts.password or "", *items):
        for form in (secret, unquote(secret), html.escape(secret)):
            text = text.replace(form, "***") if len(form) >= _SHORTEST_SECRET else text
    return text[:_SHOWN_CHARACTERS]


def _spelled(error: Exception) -> str:
    """What went wrong, without the address: it may have a secret in its query."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = error.certificate_error
        return f"its certificate is not good: {getattr(why, 'verify_message', type(why).__name__)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _retry_after_s(text: str) -> float:
    """Seconds from now: RFC 9110, section 10.2.3."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S) if math.isfinite(seconds) else 0.0
