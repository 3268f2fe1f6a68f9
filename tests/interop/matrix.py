"""The interop table as data: which peer, with which media, does what, and why not where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import peer_ffmpeg
import peer_gstreamer
import peer_nginx
import peer_node_media_server
import peer_players
import peer_pyav
from workbench import Hashes, Job, Workbench, hashes_of

Direction = Literal["publish", "play"]
Scheme = Literal["rtmp", "rtmps"]
Worker = Literal["same", "other"]

#: The columns, in the order they are shown: the peer publishes and FFmpeg plays on that worker, or FFmpeg
#: publishes and the peer plays on that worker.
COLUMNS: list[tuple[Direction, Scheme, Worker]] = [
    (direction, scheme, worker)
    for direction in ("publish", "play")
    for scheme in ("rtmp", "rtmps")
    for worker in ("same", "other")
]


@dataclass(frozen=True, slots=True)
class Media:
    """What is streamed. ``make``: from the H.264 and AAC clip, None for that clip itself.

    ``reference``: the FFmpeg at the other end, and the one that tells the packets of the source.
    """

    name: str
    make: Callable[[Path, Path], Path] | None
    reference: Literal["system", "pyav"]


H264_AAC = Media("H.264, AAC", None, "system")
HEVC_OPUS = Media("HEVC, Opus (Enhanced RTMP)", peer_pyav.make_hevc_clip, "pyav")
MULTITRACK = Media("2 × H.264, 2 × AAC (multitrack)", peer_pyav.make_multitrack_clip, "pyav")


@dataclass(frozen=True, slots=True)
class Row:
    """One peer with one kind of media.

    ``version``: None if it is not installed, and ``packages`` then says what to install. ``publish`` and
    ``play`` are None where the peer cannot; ``why_not`` gives the reason for each direction and each
    scheme that is left out. ``may_begin_late``: directions in which the peer by its own doing misses what
    comes before it is connected, and why; it must then begin on a keyframe and miss nothing after it.
    ``hashes``: of a file that the peer wrote, if it wrote packets in a form of its own, and of the clip.
    """

    peer: str
    media: Media
    packages: str
    version: Callable[[], str | None]
    publish: Callable[[Workbench, str], Job] | None = None
    play: Callable[[Workbench, str], Path] | None = None
    why_not: dict[Direction | Scheme, str] = field(default_factory=dict)
    may_begin_late: dict[Direction, str] = field(default_factory=dict)
    hashes: Callable[[Path], Hashes] = hashes_of

    def reason_against(self, direction: Direction, scheme: Scheme) -> str | None:
        """Why this cell cannot be; None if it can."""
        return self.why_not.get(direction) or self.why_not.get(scheme)


_GSTREAMER = (
    "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
    " glib-networking"
)

ROWS = [
    Row(
        "FFmpeg", H264_AAC, "ffmpeg", peer_ffmpeg.version,
        publish=peer_ffmpeg.publish, play=peer_ffmpeg.play,
    ),
    Row(
        "FFmpeg in PyAV", H264_AAC, "av (PyPI)", peer_pyav.version,
        publish=peer_pyav.publish, play=peer_pyav.play,
    ),
    Row(
        "FFmpeg in PyAV", HEVC_OPUS, "av (PyPI)", peer_pyav.version,
        publish=peer_pyav.publish, play=peer_pyav.play,
    ),
    Row(
        "FFmpeg in PyAV", MULTITRACK, "av (PyPI)", peer_pyav.version,
        publish=peer_pyav.publish, play=peer_pyav.play,
    ),
    Row(
        "GStreamer rtmp2sink, rtmp2src", H264_AAC, _GSTREAMER, peer_gstreamer.rtmp2_version,
        publish=peer_gstreamer.rtmp2_publish, play=peer_gstreamer.rtmp2_play,
    ),
    Row(
        "GStreamer rtmpsink, rtmpsrc (librtmp)", H264_AAC, _GSTREAMER, peer_gstreamer.librtmp_version,
        publish=peer_gstreamer.librtmp_publish, play=peer_gstreamer.librtmp_play,
    ),
    Row(
        "rtmpdump (librtmp)", H264_AAC, "rtmpdump", peer_players.rtmpdump_version,
        play=peer_players.rtmpdump_play,
        why_not={"publish": "rtmpdump only plays; librtmp publishes in the row above"},
    ),
    Row(
        "mpv", H264_AAC, "mpv", peer_players.mpv_version,
        play=peer_players.mpv_play, why_not={"publish": "a player"},
    ),
    Row(
        "VLC", H264_AAC, "vlc-bin vlc-plugin-base", peer_players.vlc_version,
        play=peer_players.vlc_play, why_not={"publish": "a player"}, hashes=peer_players.vlc_hashes,
    ),
    Row(
        "nginx-rtmp, push and pull", H264_AAC, "nginx libnginx-mod-rtmp", peer_nginx.version,
        publish=peer_nginx.publish, play=peer_nginx.play,
        why_not={"rtmps": "its module speaks no TLS"},
        may_begin_late={"publish": "it connects to us once its own publisher sends, and keeps nothing"},
    ),
    Row(
        "node-media-server, push and pull", H264_AAC, "node-media-server (npm)",
        peer_node_media_server.version,
        publish=peer_node_media_server.publish, play=peer_node_media_server.play,
        why_not={"rtmps": "its relay takes rtmp:// only"},
    ),
]  # fmt: skip
