"""Addresses of streams on the command line."""

from __future__ import annotations

import click

from cluster.core.keys import NO_STREAM
from cluster.core.rtmp.url import RtmpUrl, UrlError


def parsed_url(ctx: click.Context, param: click.Parameter, text: str | None) -> RtmpUrl | None:
    """A click callback: the address, None if none was given, or a usage error that says what is wrong."""
    if text is None:
        return None
    try:
        return RtmpUrl.parse(text)
    except UrlError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def stream_url(ctx: click.Context, param: click.Parameter, text: str | None) -> RtmpUrl | None:
    """A click callback for an address that has to name a stream."""
    url = parsed_url(ctx, param, text)
    if url is not None and not url.key:
        raise click.BadParameter(NO_STREAM, ctx, param)
    return url
