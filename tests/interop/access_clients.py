"""How programs of others are given credentials: the command line of each, for every way that it knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peer_ffmpeg
import peer_gstreamer
from peer_gstreamer import REMUX
from workbench import first_line

from support.access_attempts import Form, Target
from support.access_kinds import HttpWay, RtmpWay, Shown

_FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
#: Into a file that says at once that something has come.
_FFMPEG_FILE = ["-c", "copy", "-flush_packets", "1", "-f", "flv"]
_TRUSTING = "tls-validation-flags=0"


@dataclass(frozen=True)
class Stream:
    """A stream of an edge, and what is shown for it. ``clip`` is published, ``output`` is played into."""

    target: Target
    key: str
    way: RtmpWay | HttpWay | None
    shown: Shown
    tls: bool
    clip: Path
    output: Path
    form: Form = "flv"

    @property
    def scheme(self) -> str:
        return "rtmps" if self.tls else "rtmp"

    @property
    def port(self) -> int:
        return self.target.edge.tls_port if self.tls else self.target.edge.port

    @property
    def app(self) -> str:
        app = self.key.rpartition("/")[0]
        return f"{app}?{self.shown.items}" if self.way == "app" and self.shown.items else app

    @property
    def name(self) -> str:
        name = self.key.rpartition("/")[2]
        return f"{name}?{self.shown.items}" if self.way == "name" and self.shown.items else name

    @property
    def login(self) -> tuple[str, str] | None:
        return self.shown.login if self.way in ("dialogue", "Basic") else None

    @property
    def tc_url(self) -> str:
        query = f"?{self.shown.items}" if self.way == "tcUrl" and self.shown.items else ""
        return f"{self.scheme}://127.0.0.1:{self.port}/{self.app}{query}"

    @property
    def rtmp_url(self) -> str:
        """With user and password in front of the host, for those who take them from there."""
        at = "{}:{}@".format(*self.login) if self.login else ""
        return f"{self.scheme}://{at}127.0.0.1:{self.port}/{self.app}/{self.name}"

    @property
    def http_url(self) -> str:
        query = self.shown.items if self.way == "query" else ""
        return self.target.http(self.key, self.form, tls=self.tls, query=query)

    @property
    def bearer(self) -> str:
        return f"Authorization: Bearer {self.shown.token}" if self.way == "Bearer" else ""


Command = Callable[[Stream], list[str]]


@dataclass(frozen=True)
class Client:
    """``rtmp_ways`` and ``http_ways``: those that it knows. ``has_tls``: it speaks RTMPS, trusting us."""

    name: str
    version: Callable[[], str | None]
    publish: Command | None = None
    play: Command | None = None
    get: Command | None = None
    rtmp_ways: tuple[RtmpWay, ...] = ()
    http_ways: tuple[HttpWay, ...] = ()
    forms: tuple[Form, ...] = ("flv",)
    has_tls: bool = True


def _ffmpeg_rtmp(stream: Stream) -> list[str]:
    """What comes before or behind its options of RTMP: the address."""
    if stream.login:
        return [stream.rtmp_url]
    return [stream.tc_url]


def _ffmpeg_options(stream: Stream) -> list[str]:
    if stream.login:
        return []
    return ["-rtmp_app", stream.app, "-rtmp_playpath", stream.name, "-rtmp_tcurl", stream.tc_url]


def _ffmpeg_publish(stream: Stream) -> list[str]:
    sent = [*_FFMPEG, "-re", "-stream_loop", "-1", "-i", str(stream.clip), "-c", "copy", "-f", "flv"]
    return [*sent, *_ffmpeg_options(stream), *_ffmpeg_rtmp(stream)]


def _ffmpeg_play(stream: Stream) -> list[str]:
    options = _ffmpeg_options(stream)
    return [*_FFMPEG, *options, "-i", *_ffmpeg_rtmp(stream), *_FFMPEG_FILE, str(stream.output)]


def _ffmpeg_get(stream: Stream) -> list[str]:
    url = stream.http_url
    if stream.login:
        url = url.replace("://", "://{}:{}@".format(*stream.login))
    headers = ["-headers", f"{stream.bearer}\r\n"] if stream.bearer else []
    return [*_FFMPEG, *headers, "-i", url, *_FFMPEG_FILE, str(stream.output)]


def _rtmp2(stream: Stream) -> list[str]:
    login = [f"username={stream.login[0]}", f"password={stream.login[1]}"] if stream.login else []
    where = [f"scheme={stream.scheme}", "host=127.0.0.1", f"port={stream.port}"]
    return [*where, f"application={stream.app}", f"stream={stream.name}", _TRUSTING, *login]


def _gstreamer(*pipeline: str) -> list[str]:
    return ["gst-launch-1.0", "-q", "-e", *pipeline]


def _rtmp2_publish(stream: Stream) -> list[str]:
    return _gstreamer(
        "filesrc", f"location={stream.clip}", "!", *REMUX, "!", "rtmp2sink", *_rtmp2(stream), "sync=true"
    )


def _rtmp2_play(stream: Stream) -> list[str]:
    return _gstreamer("rtmp2src", *_rtmp2(stream), "!", *_file_sink(stream))


def _file_sink(stream: Stream) -> list[str]:
    return ["filesink", f"location={stream.output}", "buffer-mode=unbuffered"]


def _soup(stream: Stream) -> list[str]:
    login = [f"user-id={stream.login[0]}", f"user-pw={stream.login[1]}"] if stream.login else []
    source = ["souphttpsrc", f"location={stream.http_url}", "ssl-strict=false", *login]
    return _gstreamer(*source, "!", *_file_sink(stream))


def _librtmp(stream: Stream) -> str:
    return f"{stream.tc_url} app={stream.app} playpath={stream.name} tcUrl={stream.tc_url} live=1"


def _librtmp_publish(stream: Stream) -> list[str]:
    sink = ["rtmpsink", f"location={_librtmp(stream)}", "sync=true"]
    return _gstreamer("filesrc", f"location={stream.clip}", "!", *REMUX, "!", *sink)


def _rtmpdump_play(stream: Stream) -> list[str]:
    return [
        "rtmpdump", "-q", "-v", "-r", stream.tc_url, "-a", stream.app, "-y", stream.name,
        "-t", stream.tc_url, "-o", str(stream.output),
    ]  # fmt: skip


def _curl_get(stream: Stream) -> list[str]:
    login = ["-u", "{}:{}".format(*stream.login)] if stream.login else []
    headers = ["-H", stream.bearer] if stream.bearer else []
    return ["curl", "-sSkN", "--fail", *login, *headers, "-o", str(stream.output), stream.http_url]


def _rtmpdump_version() -> str | None:
    found = shutil.which("rtmpdump") and first_line(["rtmpdump", "--help"])
    return "rtmpdump" if found else None


CLIENTS = (
    Client(
        "FFmpeg", peer_ffmpeg.version, _ffmpeg_publish, _ffmpeg_play, _ffmpeg_get,
        ("name", "app", "tcUrl", "dialogue"), ("query", "Basic", "Bearer"), ("flv", "mp4", "m3u8"),
    ),
    Client(
        "GStreamer rtmp2", peer_gstreamer.rtmp2_version, _rtmp2_publish, _rtmp2_play, _soup,
        ("name", "app", "dialogue"), ("query", "Basic"),
    ),
    Client(
        "librtmp", peer_gstreamer.librtmp_version, _librtmp_publish,
        # Not "dialogue": Debian's ends within it, "free(): invalid next size". OBS has a copy of its own.
        rtmp_ways=("name", "app", "tcUrl"), has_tls=False,
    ),
    Client(
        "rtmpdump", _rtmpdump_version, play=_rtmpdump_play, rtmp_ways=("name", "app", "tcUrl"),
        has_tls=False,
    ),
    Client(
        "curl", lambda: first_line(["curl", "--version"]), get=_curl_get,
        http_ways=("query", "Basic", "Bearer"),
    ),
)  # fmt: skip
