"""Where a server sends us: the address in a redirect (code 302) or in a ReconnectRequest."""

from __future__ import annotations

import dataclasses

from cluster.core.keys import split_query
from cluster.core.rtmp.url import RtmpUrl, UrlError


def resolve(current: RtmpUrl, tc_url: str) -> RtmpUrl:
    """The address ``tc_url`` means to a connection to ``current``; the stream and the credentials stay.

    Absolute, or relative to the present tcUrl as "//host/app" or "/app"; "" is the same address
    (Enhanced RTMP v2, reconnect request). Some servers append the stream's name. UrlError if it cannot
    be read, or is not encrypted though the present one is: nobody may take us out of TLS.
    """
    if not tc_url:
        return current
    if tc_url.startswith("//"):
        tc_url = f"{current.scheme}:{tc_url}"
    elif tc_url.startswith("/"):
        own = dataclasses.replace(current, app="").tc_url
        tc_url = own.rstrip("/") + tc_url
    parsed = RtmpUrl.parse(tc_url)
    if current.tls and not parsed.tls:
        raise UrlError("it leads from an encrypted connection to one that is not")
    return dataclasses.replace(
        parsed,
        app=_app(parsed, current),
        stream=current.stream,
        user=current.user,
        password=current.password,
    )


def _app(parsed: RtmpUrl, current: RtmpUrl) -> str:
    """All of the path is the app, but for a stream name that is ours."""
    if not parsed.stream or not parsed.app:
        return parsed.app or parsed.stream
    own, _ = split_query(current.stream)
    name, mark, query = f"/{parsed.stream}".partition("?")
    if own and name.endswith(f"/{own}"):
        return parsed.app + name.removesuffix(f"/{own}")
    return f"{parsed.app}{name}{mark}{query}"
