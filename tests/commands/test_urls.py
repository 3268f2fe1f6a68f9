"""Addresses of streams on the command line."""

from __future__ import annotations

import click
import pytest

from cluster.commands.urls import parsed_url, stream_url
from cluster.core.keys import NO_STREAM
from cluster.core.rtmp.url import RtmpUrl

COMMAND = click.Command("play")
CTX, PARAM = click.Context(COMMAND), click.Argument(["url"])


@pytest.mark.parametrize("read", [parsed_url, stream_url])
def test_an_address_is_read_and_none_stays_none(read) -> None:
    assert read(CTX, PARAM, "rtmp://host/live/a") == RtmpUrl.parse("rtmp://host/live/a")
    assert read(CTX, PARAM, None) is None
    with pytest.raises(click.BadParameter):
        read(CTX, PARAM, "http://host/live/a")


def test_only_one_of_them_takes_an_address_without_a_stream() -> None:
    assert parsed_url(CTX, PARAM, "rtmp://host/") == RtmpUrl.parse("rtmp://host/")
    with pytest.raises(click.BadParameter, match=NO_STREAM):
        stream_url(CTX, PARAM, "rtmp://host/")
