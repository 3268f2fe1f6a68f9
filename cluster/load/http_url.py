"""Addresses of streams that are played over HTTP: their suffix says as what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from urllib.parse import quote, urlsplit

from cluster.core.rtmp.url import UrlError

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Form(StrEnum):
    """As what a stream is played; the suffix of its address."""

    FLV = ".flv"
    MP4 = ".mp4"
    HLS = ".m3u8"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A parsed address. ``path`` is without the suffix, percent-encoded; ``query`` without its mark."""

    scheme: str
    host: str
    port: int
    path: str
    form: Form
    query: str = ""
    #: As RTMP addresses have one. Players do not log in.
    user: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split ``text``; UrlError says what is wrong with it, and never repeats a secret."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise UrlError("it is no HTTP address: expected http://host:port/app/stream.flv") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise UrlError("it is no HTTP address: expected http://host:port/app/stream.flv")
        # urlsplit drops line ends; what is sent must not hold any other control character either.
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        form = next((each for each in Form if path.endswith(each)), None)
        if form is None:
            raise UrlError("its path ends in none of .flv, .mp4 and .m3u8, which say how to play it")
        if parts.scheme in ("ws", "wss") and form is not Form.FLV:
            raise UrlError("over WebSocket only .flv is played")
        return cls(
            parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme],
            path.removesuffix(form), form, query, parts.username,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """The stream's name; "" if there is none."""
        return self.path.strip("/")

    @property
    def tls(self) -> bool:
        """Whether the connection is to be encrypted."""
        return self.scheme in ("https", "wss")

    @property
    def web_socket(self) -> bool:
        return self.scheme in ("ws", "wss")

    @property
    def target(self) -> str:
        """What a request asks for (RFC 9112, 3.2.1)."""
        return f"{self.path}{self.form}{'?' if self.query else ''}{self.query}"

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def with_suffix(self, suffix: str) -> Self:
        """The address of another stream: ``suffix`` behind its name."""
        return dataclasses.replace(self, path=f"{self.path}{suffix}")

    def without_queries(self) -> Self:
        """The address without what may be a secret in it."""
        return dataclasses.replace(self, query="", user=None)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"
