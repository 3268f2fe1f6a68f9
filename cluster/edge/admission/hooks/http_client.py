"""Questions over HTTP, bounded in time and size. aiohttp is imported with the first of them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cluster.edge.admission.hooks.questions import Reply
from cluster.process.words import reason_of

if TYPE_CHECKING:
    import ssl

    import aiohttp

#: Connections that were open since an earlier question may have ended meanwhile: so often others are tried.
_MOST_ATTEMPTS = 3


class NoReply(Exception):
    """Nothing came back. The text is for the log, and has nothing of the address but its host."""


class HttpClient:
    """One pool of connections. Whoever asks bounds how many do it at once.

    Certificates are checked with the system's authorities (``SSL_CERT_FILE``). No other variable of the
    environment counts: a proxy would see credentials. Redirects are not followed, cookies not kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False

    async def send(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        """The reply; of its body what ``most_bytes`` allows. NoReply says why there is none."""
        try:
            session = await self._opened()
            for _ in range(_MOST_ATTEMPTS):
                reply = await self._attempt(session, method, address, headers, body)
                if reply is not None:
                    return reply
        except NoReply:
            raise
        except Exception as error:
            raise NoReply(_why(error)) from None
        raise NoReply("it hangs up before it answers")

    async def close(self) -> None:
        """Close all connections, and open no others."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(
        self, session: aiohttp.ClientSession, method: str, address: str,
        headers: Mapping[str, str], body: bytes | None,
    ) -> Reply | None:  # fmt: skip
        """None: a connection of an earlier question ended before anything came back over it."""
        import aiohttp

        use = SimpleNamespace(is_old=False)
        try:
            response = await session.request(
                method, address, data=body, headers=headers, allow_redirects=False, trace_request_ctx=use
            )
        except (aiohttp.ClientConnectionError, ConnectionError):
            if use.is_old:
                return None
            raise
        async with response:
            content = await self._read(response)
            is_whole = len(content) <= self._most_bytes
            if not is_whole:
                response.close()
            location = response.headers.get("Location", "")
            return Reply(response.status, content[: self._most_bytes], is_whole, location)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > self._most_bytes:
                break
        return bytes(content)

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            async with self._opening:  # for all who ask meanwhile
                if self._session is None:
                    # In a thread: it takes a tenth of a second, and media is to go on meanwhile.
                    context = await asyncio.to_thread(_prepare)
                    if self._is_closed:
                        raise NoReply("other settings are in force by now")
                    self._session = _new_session(context)
        return self._session


def _prepare() -> ssl.SSLContext:
    """Import what asking needs, and read the authorities that are trusted."""
    import ssl

    importlib.import_module("aiohttp")
    return ssl.create_default_context()


def _new_session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    import aiohttp

    trace = aiohttp.TraceConfig()

    async def reused(session: aiohttp.ClientSession, context: Any, params: object) -> None:
        context.trace_request_ctx.is_old = True

    trace.on_connection_reuseconn.append(reused)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        # What is compressed could become any size.
        headers={"User-Agent": "rtmp-cluster", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
        trace_configs=[trace],
    )


def _why(error: Exception) -> str:
    """In words of ours: those of aiohttp may repeat the address."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not good: {getattr(error.certificate_error, 'verify_message', '')}"
        case aiohttp.ClientSSLError():
            return "it does not speak TLS as it should"
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be resolved"
        case aiohttp.ClientConnectorError():
            return f"it cannot be connected to: {reason_of(error.os_error)}"
        case aiohttp.ClientPayloadError():
            return "it hangs up in the middle of its answer"
        case aiohttp.ClientConnectionError() | ConnectionError():
            return "it hangs up before it answers"
        case aiohttp.ClientResponseError() | aiohttp.http_exceptions.HttpProcessingError():
            return "what comes back is not HTTP"
    return f"it cannot be asked ({type(error).__name__})"
