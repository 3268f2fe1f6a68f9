"""Addresses of streams that are played over HTTP."""

from __future__ import annotations

import pytest
from load_support import plan

from cluster.core.rtmp.url import RtmpUrl, UrlError
from cluster.load.http_url import Form, HttpUrl
from cluster.load.job import PlanError


@pytest.mark.parametrize(
    ("text", "authority", "target", "form"),
    [
        ("http://h/live/s.flv", "h", "/live/s.flv", Form.FLV),
        ("https://h:8443/live/s.mp4?key=1", "h:8443", "/live/s.mp4?key=1", Form.MP4),
        ("wss://h:443/live/s.flv", "h", "/live/s.flv", Form.FLV),
        ("HTTP://[::1]:8080/s.m3u8", "[::1]:8080", "/s.m3u8", Form.HLS),
        ("http://h/live/a b\N{SNOWMAN}%20.flv", "h", "/live/a%20b%E2%98%83%20.flv", Form.FLV),
    ],
)
def test_what_is_asked_for(text: str, authority: str, target: str, form: Form) -> None:
    url = HttpUrl.parse(text)
    assert (url.authority, url.target, url.form) == (authority, target, form)
    assert url.tls is (text.partition("://")[0].lower() in ("https", "wss"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://h/live/s", "none of .flv, .mp4 and .m3u8"),
        ("http:///live/s.flv", "no HTTP address"),
        ("ftp://h/live/s.flv", "no HTTP address"),
        ("http://h:99999/live/s.flv", "no HTTP address"),
        ("http://[::1/live/s.flv", "no HTTP address"),
        ("ws://h/live/s.mp4", "over WebSocket only .flv"),
    ],
)
def test_what_is_none(text: str, says: str) -> None:
    with pytest.raises(UrlError, match=says):
        HttpUrl.parse(text)


def test_the_number_of_a_stream_stands_behind_its_name() -> None:
    url = HttpUrl.parse("http://u:secret@h:8080/live/s.m3u8?token=secret")
    assert str(url.with_suffix("-3").without_queries()) == "http://h:8080/live/s-3.m3u8"
    assert url.with_suffix("-3").target == "/live/s-3.m3u8?token=secret"
    wanted = plan(publishers=2, play_from=HttpUrl.parse("ws://h/live/s.flv"))
    assert str(wanted.publisher_url(1)) == "rtmp://media.example/live/show-1"
    assert str(wanted.player_url(1)) == "ws://h/live/s-1.flv"


def test_loads_that_http_does_not_know() -> None:
    flv, hls = HttpUrl.parse("http://h/s.flv"), HttpUrl.parse("http://h/s.m3u8")
    assert plan(url=flv, publishers=0).player_url(0) == flv
    with pytest.raises(PlanError, match="publishers publish over RTMP"):
        plan(url=flv)
    with pytest.raises(PlanError, match="load does not log in"):
        plan(url=HttpUrl.parse("http://me@h/s.flv"), publishers=0)
    assert plan(play_from=flv, slow_share=0.5).slow_players == 10
    with pytest.raises(PlanError, match="--slow-share"):
        plan(url=RtmpUrl.parse("rtmp://h/live/s"), play_from=hls, slow_share=0.5)
