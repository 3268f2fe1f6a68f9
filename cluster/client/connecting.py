"""Opening a connection: the socket, TLS, the handshake, connect, redirects and credentials."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import ssl
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Literal

from cluster.client.connection import Connection
from cluster.client.errors import (
    CLOSED_HERE,
    ConnectionClosed,
    ConnectRejected,
    HandshakeFailed,
    TlsFault,
    Unreachable,
)
from cluster.client.read_gate import DEFAULT_QUEUE_BYTES
from cluster.client.socket_protocol import Tap
from cluster.client.sockets import connected_socket
from cluster.client.targets import resolve
from cluster.client.waiting import within
from cluster.core.amf.values import AmfValue
from cluster.core.limits import Limits
from cluster.core.rtmp.adobe_auth import authenticated
from cluster.core.rtmp.capabilities import RELAY, Capabilities, CapsEx
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.url import RtmpUrl, UrlError
from cluster.net.tls_client import Tls
from cluster.process.words import reason_of

if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_TIMEOUT_S = 10.0

#: Redirects followed for one connect; a balancer needs one, more are a loop.
MAX_REDIRECTS = 5
#: Adobe's dialogue rejects twice: once to be told the user, once to give the challenge.
_MAX_AUTHENTICATION_STEPS = 2

#: What OpenSSL's numbers for a certificate that is refused mean (x509_vfy.h).
_CERTIFICATE_FAULTS = {
    **dict.fromkeys((18, 19, 20, 21), TlsFault.UNTRUSTED),
    **dict.fromkeys((62, 63, 64), TlsFault.WRONG_NAME),
    **dict.fromkeys((9, 10), TlsFault.OUT_OF_DATE),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """How to connect. Each field is a keyword of ``connect``."""

    #: For connecting as a whole, and for each answer of the server later, in seconds.
    timeout_s: float = DEFAULT_TIMEOUT_S
    #: How to check the server of an rtmps address; a context of one's own is used as it is.
    tls: Tls | ssl.SSLContext = Tls()  # noqa: RUF009
    #: Call ourselves an encoder: some servers let nobody else publish.
    publisher: bool = False
    #: Say that a ReconnectRequest will be obeyed (Enhanced RTMP v2); ``reconnecting`` does.
    reconnect: bool = False
    #: The Enhanced RTMP capabilities to declare; ``Capabilities(fourcc_list=("hvc1",))`` for one codec.
    capabilities: Capabilities = RELAY
    #: 3 lets the server send AMF3.
    object_encoding: Literal[0, 3] = 0
    #: "simple" leaves the signed handshake out.
    handshake: Literal["auto", "simple"] = "auto"
    flash_ver: str | None = None
    swf_url: str | None = None
    page_url: str | None = None
    #: Further arguments of the connect command.
    args: tuple[AmfValue, ...] = ()
    #: What the server may cost us.
    limits: Limits = Limits()  # noqa: RUF009
    #: Received bytes that may wait for consumers before reading pauses.
    queue_bytes: int = DEFAULT_QUEUE_BYTES
    #: Called with the address of each connection, for what is told of all bytes that pass on it.
    tap: Callable[[str], Tap] | None = None

    @property
    def declared(self) -> Capabilities:
        """The capabilities with or without Reconnect."""
        caps_ex = self.capabilities.caps_ex & ~CapsEx.RECONNECT
        if self.reconnect:
            caps_ex |= CapsEx.RECONNECT
        return dataclasses.replace(self.capabilities, caps_ex=int(caps_ex))


class Connecting:
    """What ``connect`` returns: to be awaited, or entered with ``async with``."""

    def __init__(self, url: RtmpUrl, options: ConnectOptions) -> None:
        self._url = url
        self._options = options
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._connect()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._connection is not None
        await self._connection.close()

    async def _connect(self) -> Connection:
        what = f"connect to {self._url.host}:{self._url.port}"
        return await within(self._options.timeout_s, what, _follow(self._url, self._options))


def connect(url: str | RtmpUrl, **options: Any) -> Connecting:
    """Connect to the app of ``url``: ``async with connect("rtmp://host/app/name") as connection:``.

    ``options`` are the fields of ``ConnectOptions``. Raises UrlError at once; when awaited or entered
    Unreachable, ConnectRejected, ConnectionClosed or Timeout. Redirects (code 302) are followed, and user
    and password of the URL are given to servers that ask for them.
    """
    parsed = RtmpUrl.parse(url) if isinstance(url, str) else url
    return Connecting(parsed, ConnectOptions(**options))


async def _follow(url: RtmpUrl, options: ConnectOptions) -> Connection:
    """Connect, going where the server sends us."""
    redirects = steps = 0
    target = url
    while True:
        try:
            connection = await _open(target, options)
        except ConnectRejected as rejected:
            answer = authenticated(url, rejected.description, os.urandom(4).hex())
            if rejected.redirect and redirects < MAX_REDIRECTS:
                redirects, steps = redirects + 1, 0
                url = target = _redirected(url, rejected)
            elif answer is not None and steps < _MAX_AUTHENTICATION_STEPS:
                steps += 1
                target = answer
            else:
                raise
        else:
            connection.url = url  # without the response that stands in the app
            return connection


def _redirected(url: RtmpUrl, rejected: ConnectRejected) -> RtmpUrl:
    try:
        return resolve(url, rejected.redirect)
    except UrlError:
        raise rejected from None


async def _open(url: RtmpUrl, options: ConnectOptions) -> Connection:
    """One socket, up to the answer to connect; it does not outlive a failure."""
    session = ClientSession(
        limits=options.limits,
        entropy=os.urandom(ENTROPY_BYTES),
        now=time.monotonic(),
        handshake=options.handshake,
    )
    session.start(
        url,
        publisher=options.publisher,
        flash_ver=options.flash_ver,
        swf_url=options.swf_url,
        page_url=options.page_url,
        object_encoding=options.object_encoding,
        declared=options.declared,
        args=options.args,
    )
    connection = Connection(
        session,
        url,
        limits=options.limits,
        timeout_s=options.timeout_s,
        queue_bytes=options.queue_bytes,
        tap=None if options.tap is None else options.tap(f"{url.host}:{url.port}"),
    )
    await _open_socket(connection, url, options)
    try:
        await connection.wait_connected()
    except BaseException as error:
        connection.protocol.close(ConnectionClosed(CLOSED_HERE, "not connected"))
        connection.protocol.abort()
        if isinstance(error, ConnectionClosed) and not connection.handshake_kind:
            raise HandshakeFailed(error.reason, error.detail) from None
        raise
    return connection


async def _open_socket(connection: Connection, url: RtmpUrl, options: ConnectOptions) -> None:
    loop = asyncio.get_running_loop()
    encrypted: dict[str, Any] = {}
    if url.tls:
        tls = options.tls
        encrypted["ssl"] = tls.context() if isinstance(tls, Tls) else tls
        encrypted["server_hostname"] = (tls.server_name if isinstance(tls, Tls) else None) or url.host
    where = f"{url.host}:{url.port}"
    is_encrypting = False
    try:
        connected = await connected_socket(url.host, url.port)
        is_encrypting = url.tls
        try:
            await loop.create_connection(lambda: connection.protocol, sock=connected, **encrypted)
        except BaseException:
            connected.close()
            raise
    except ssl.SSLCertVerificationError as error:
        detail = f"the certificate of {where} is not accepted: {error.verify_message.rstrip('.')}"
        raise Unreachable(detail, _CERTIFICATE_FAULTS.get(error.verify_code, TlsFault.REFUSED)) from None
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS with {where}: {error.reason or error}", TlsFault.NO_TLS) from None
    except (OSError, UnicodeError) as error:
        if is_encrypting:  # it hung up on our first words
            raise Unreachable(f"no TLS with {where}: {reason_of(error)}", TlsFault.NO_TLS) from None
        raise Unreachable(f"cannot connect to {where}: {reason_of(error)}") from None
