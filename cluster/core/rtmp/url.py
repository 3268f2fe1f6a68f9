"""RTMP URLs: ``rtmp[s]://[user[:password]@]host[:port]/app/stream``, each part with its own query."""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote, unquote

from cluster.core.errors import ClusterError
from cluster.core.keys import joined, split_path, split_query

DEFAULT_PORTS: Final = {"rtmp": 1935, "rtmps": 443}

_REFUSED = {
    "rtmpt": "tunnelling over HTTP is not supported; use rtmp or rtmps",
    "rtmpts": "tunnelling over HTTPS is not supported; use rtmps",
    "rtmpe": "Adobe's encryption protects nothing and is not supported; use rtmps",
    "rtmpte": "Adobe's encryption protects nothing and is not supported; use rtmps",
    "rtmfp": "RTMFP is another protocol, over UDP; use rtmp or rtmps",
}


class UrlError(ClusterError, ValueError):
    """This text is not a URL that can be connected to. The message never repeats credentials."""


@dataclass(frozen=True, slots=True)
class RtmpUrl:
    """A parsed URL. ``str`` shows it without the password, and so does ``repr``.

    ``host`` of an IPv6 address has no brackets. ``app`` and ``stream`` include their own ``?query``, as
    the protocol carries them; either may be empty. ``key`` is the stream key that they mean together.
    """

    scheme: str
    host: str
    port: int
    app: str
    stream: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, *, app: str | None = None) -> Self:
        """Split ``text``; UrlError says what is wrong with it.

        ``split_path`` says where the app ends. Peers that split elsewhere give ``app``, with which the
        path then must begin.
        """
        scheme, separator, rest = text.partition("://")
        scheme = scheme.lower()
        if not separator:
            raise UrlError("no '://' in it: expected rtmp://host/app/stream")
        if scheme in _REFUSED:
            raise UrlError(f"{scheme}: {_REFUSED[scheme]}")
        if scheme not in DEFAULT_PORTS:
            raise UrlError("the scheme is neither rtmp nor rtmps: expected rtmp://host/app/stream")
        if any(character < " " or character == "\x7f" for character in rest):
            raise UrlError("it holds control characters")
        if any("\ud800" <= character <= "\udfff" for character in rest):
            raise UrlError("it is not UTF-8")  # a command line's bytes, which no URL can be made of again
        authority, slash, path = rest.partition("/")
        if not slash:
            raise UrlError("no '/' after the host, so no app: expected rtmp://host/app/stream")
        user, password, address = _split_credentials(authority)
        host, port = _split_address(address, DEFAULT_PORTS[scheme])
        app_name, stream = split_path(path) if app is None else _split_after(path, app)
        return cls(scheme, host, port, app_name, stream, user, password)

    @property
    def key(self) -> str:
        """What the URL means to a server that joins app and stream; "" if it names no stream."""
        return joined(self.app, self.stream)

    def with_suffix(self, suffix: str) -> Self:
        """The URL of another stream: ``suffix`` behind the stream, or behind the app if that is all."""
        is_named = bool(split_query(self.stream)[0])
        name, mark, query = (self.stream if is_named else self.app).partition("?")
        renamed = f"{name}{suffix}{mark}{query}"
        if is_named:
            return dataclasses.replace(self, stream=renamed)
        return dataclasses.replace(self, app=renamed)

    def without_queries(self) -> Self:
        """The URL without what may be a secret in its path."""
        return dataclasses.replace(self, app=split_query(self.app)[0], stream=split_query(self.stream)[0])

    @property
    def tls(self) -> bool:
        """Whether the connection is to be encrypted."""
        return self.scheme == "rtmps"

    @property
    def tc_url(self) -> str:
        """What ``connect`` sends as tcUrl: no stream, no credentials (RTMP 1.0, 7.2.1.1)."""
        return f"{self.scheme}://{self._address}/{self.app}"

    def __str__(self) -> str:
        credentials = ""
        if self.user is not None:
            hidden = "" if self.password is None else ":***"
            credentials = f"{quote(self.user, safe='')}{hidden}@"
        path = f"{self.app}/{self.stream}" if self.stream or "/" in self.app else self.app
        return f"{self.scheme}://{credentials}{self._address}/{path}"

    @property
    def _address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def _split_credentials(authority: str) -> tuple[str | None, str | None, str]:
    # At the last '@': passwords are often pasted without escapes.
    credentials, separator, address = authority.rpartition("@")
    if not separator:
        return None, None, address
    user, colon, password = credentials.partition(":")
    return unquote(user), unquote(password) if colon else None, address


def _split_address(address: str, default_port: int) -> tuple[str, int]:
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UrlError("an IPv6 address is written [address] or [address]:port")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise UrlError("what stands in brackets is not an IPv6 address") from None
        return host, _port(rest[1:]) if rest else default_port
    host, colon, port = address.partition(":")
    if not host:
        raise UrlError("the host is empty")
    if ":" in port:
        raise UrlError("more than one ':' in the host; an IPv6 address stands in brackets")
    if any(character.isspace() or character in "[]?#\\" for character in host):
        raise UrlError("the host holds characters that no host name has")
    return host, _port(port) if colon else default_port


def _port(text: str) -> int:
    # The text is not repeated: an unescaped '/' in a password makes part of it look like a port.
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise UrlError("the port is not a number from 1 to 65535")


def _split_after(path: str, app: str) -> tuple[str, str]:
    """App and stream of a path whose app is known; its query, if any, comes from the path."""
    app = app.strip("/")
    rest = path.removeprefix(app)
    if not path.startswith(app) or (rest and app and rest[0] not in "/?"):
        raise UrlError(f"the path does not begin with the app {app!r}")
    if rest.startswith("?"):
        query, _, stream = rest.partition("/")
        return app + query, stream
    return app, rest.removeprefix("/")
