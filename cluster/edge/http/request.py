"""Requests as ``httptools`` parses them, within bounds; what is wrong with one, by its status.

Only requests without a body are taken. Of a connection's bytes nothing is kept but the head that has begun.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import httptools

from cluster.core.errors import ClusterError
from cluster.core.message import Buffer

#: A request line with an address longer than this is no player's. Stream keys have 1 KiB at most.
MAX_TARGET_BYTES = 8 * 1024
#: All header fields of a request: cookies of a site that this server stands beside, above all.
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
#: The name of a method, the version, and what stands between: for a head that does not end.
_MAX_HEAD_BYTES = MAX_TARGET_BYTES + MAX_HEADER_BYTES + 1024

#: Of the fields these are needed, and no more of each: requests that wait for their turn take memory.
_KEPT = frozenset(
    (
        b"host", b"origin", b"user-agent", b"accept-encoding", b"upgrade", b"sec-websocket-key",
        b"sec-websocket-version",
    )
)  # fmt: skip
_KEPT_BYTES = 256
#: A token signed with RSA has some 2,000 characters.
MAX_AUTHORIZATION_BYTES = 4 * 1024
_AUTHORIZATION = b"authorization"
_LONG_AUTHORIZATION = f"Authorization has more than {MAX_AUTHORIZATION_BYTES} bytes"
_TWO_AUTHORIZATIONS = "the request has two Authorization fields"
_BODY = frozenset((b"content-length", b"transfer-encoding"))

METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_VERSIONS = frozenset(("1.0", "1.1"))


class BadRequest(ClusterError):
    """A request that is answered with ``status`` and ``text``; the connection ends then."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Request(NamedTuple):
    """One request. ``path`` is decoded and begins with a slash, or is ``*``. ``headers``: those that matter
    here, with names in lower case. ``stays``: the connection is for further requests."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    stays: bool
    upgrades: bool

    @property
    def wants_websocket(self) -> bool:
        return self.upgrades and self.headers.get(b"upgrade", b"").lower() == b"websocket"

    @property
    def size(self) -> int:
        """The bytes of what may be long."""
        return len(self.path) + len(self.query) + len(self.headers.get(_AUTHORIZATION, b""))

    def authorization(self) -> str:
        """The field of that name, "" if there is none. It is forgotten: it is a secret, and it is long."""
        return self.headers.pop(_AUTHORIZATION, b"").decode("latin-1")

    @property
    def takes_gzip(self) -> bool:
        """The answer may be compressed (RFC 9110, section 12.5.3)."""
        for each in self.headers.get(b"accept-encoding", b"").split(b","):
            coding, _, weight = each.partition(b";")
            if coding.strip().lower() == b"gzip":
                return weight.strip().lower().removeprefix(b"q=").strip(b"0.") != b"" or not weight
        return False

    @property
    def wants_body(self) -> bool:
        """The answer is to have one, if there is any."""
        return self.method != "HEAD"


class RequestReader:
    """Bytes in, requests out. ``fault``: why nothing more is read, once the requests before it are done.

    ``rest``: what came behind a request to upgrade. To be closed, or it would be a circle.
    """

    def __init__(self) -> None:
        self.fault: BadRequest | None = None
        self.rest = b""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._requests: list[Request] = []
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._has_body = False
        self._header_bytes = 0
        self._header_count = 0
        self._fed_bytes = 0  # since the last head that was whole
        self._has_upgraded = False

    @property
    def unfinished_bytes(self) -> int:
        """Of the head of a request that is there in part."""
        return self._fed_bytes

    def close(self) -> None:
        """Read nothing more."""
        self._parser = None

    def feed(self, data: Buffer) -> list[Request]:
        """The requests that ``data`` completes."""
        if self.fault is not None or self._parser is None:
            return []
        self._fed_bytes += len(data)
        if self._has_upgraded:
            self.rest += data
        else:
            self._parse(data)
        if self._fed_bytes > _MAX_HEAD_BYTES and self.fault is None:
            self.fault = BadRequest(431, f"the header fields have more than {MAX_HEADER_BYTES} bytes")
        requests, self._requests = self._requests, []
        return requests

    def _parse(self, data: Buffer) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = bytes(data[upgrade.args[0] :])
            self._has_upgraded = True
            self._fed_bytes = 0
        except httptools.HttpParserError as error:
            self.fault = self.fault or _fault_of(error)

    # ---- called by the parser ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._fed_bytes = self._fed_bytes or 1  # of bytes that came with the end of another request
        self._target = b""
        self._headers = {}
        self._has_body = False
        self._header_bytes = self._header_count = 0

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > MAX_TARGET_BYTES:
            raise self._refuse(414, f"the address has more than {MAX_TARGET_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._header_bytes += len(name) + len(value) + 4  # with ": " and the end of the line
        if self._header_bytes > MAX_HEADER_BYTES:
            raise self._refuse(431, f"the header fields have more than {MAX_HEADER_BYTES} bytes")
        if self._header_count > MAX_HEADERS:
            raise self._refuse(431, f"there are more than {MAX_HEADERS} header fields")
        name = name.lower()
        if name in _KEPT:
            if name == b"host" and name in self._headers:  # RFC 9112, section 3.2
                raise self._refuse(400, "the request has two Host fields")
            self._headers[name] = value[:_KEPT_BYTES]
        elif name == _AUTHORIZATION:
            if len(value) > MAX_AUTHORIZATION_BYTES:
                raise self._refuse(431, _LONG_AUTHORIZATION)
            if name in self._headers:  # somebody in between may have looked at the other one
                raise self._refuse(400, _TWO_AUTHORIZATIONS)
            self._headers[name] = value
        elif name in _BODY and value.strip(b"0"):
            self._has_body = True

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        assert parser is not None  # it is calling
        self._fed_bytes = 0
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise self._refuse(505, f"HTTP {version} is not spoken here: use HTTP/1.1")
        method = parser.get_method()
        if method not in METHODS:
            raise self._refuse(405, "only GET, HEAD and OPTIONS are answered here")
        if self._has_body:
            raise self._refuse(413, "a request here has no body")
        if version == "1.1" and b"host" not in headers:
            raise self._refuse(400, "the request has no Host field")
        try:
            path, query = _parted(self._target)
        except BadRequest as bad:
            raise self._refuse(bad.status, bad.text) from None
        upgrades = parser.should_upgrade()
        stays = version == "1.1" and parser.should_keep_alive() and not upgrades
        self._requests.append(Request(method.decode(), path, query, headers, stays, upgrades))

    def _refuse(self, status: int, text: str) -> BadRequest:
        """What to raise. It is not what is kept: its traceback leads back here, which would be a circle."""
        self.fault = BadRequest(status, text)
        return BadRequest(status, text)


def _parted(target: bytes) -> tuple[str, str]:
    """The path of ``target``, decoded, and its query."""
    if not target.startswith(b"/"):
        scheme, found, rest = target.partition(b"://")
        if target == b"*":
            return "*", ""
        if not found or scheme.lower() not in (b"http", b"https"):
            raise BadRequest(400, "the address is neither a path nor a whole address of http")
        target = b"/" + rest.partition(b"/")[2]
    path, _, query = target.partition(b"#")[0].partition(b"?")
    try:
        return (unquote_to_bytes(path) if b"%" in path else path).decode(), query.decode()
    except UnicodeDecodeError:
        raise BadRequest(400, "the address is not UTF-8") from None


def request_of(fields: Iterable[tuple[bytes, bytes]], *, has_body: bool) -> Request:
    """The request that ``fields`` of HTTP/2 make (RFC 9113, section 8.3.1); BadRequest if it is not served.

    They are well-formed, have names in lower case, and no more bytes than may be.
    """
    method = target = b""
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        if name == b":method":
            method = value
        elif name == b":path":
            target = value
        elif name == b":authority":
            headers[b"host"] = value[:_KEPT_BYTES]
        elif name in _KEPT:
            headers.setdefault(name, value[:_KEPT_BYTES])
        elif name == _AUTHORIZATION:
            if len(value) > MAX_AUTHORIZATION_BYTES:
                raise BadRequest(431, _LONG_AUTHORIZATION)
            if name in headers:
                raise BadRequest(400, _TWO_AUTHORIZATIONS)
            headers[name] = value
    if method not in METHODS:
        raise BadRequest(405, "only GET, HEAD and OPTIONS are answered here")
    if has_body:
        raise BadRequest(413, "a request here has no body")
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(414, f"the address has more than {MAX_TARGET_BYTES} bytes")
    path, query = _parted(target)
    return Request(method.decode(), path, query, headers, stays=True, upgrades=False)


def _fault_of(error: httptools.HttpParserError) -> BadRequest:
    """What ``httptools`` refuses by itself."""
    why = str(error)
    if "HTTP version" in why or "PRI" in why:
        return BadRequest(505, f"{why}: use HTTP/1.1")
    return BadRequest(400, why)
