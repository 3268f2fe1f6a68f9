"""The table of playback over HTTP as data: which peer, with which media, in which forms, and why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import peer_ffmpeg
import peer_gstreamer
import peer_players
import peer_pyav
from matrix import H264_AAC, HEVC_OPUS, Media
from workbench import Hashes, Workbench, hashes_of

Form = Literal["flv", "mp4", "m3u8"]
FORMS: tuple[Form, ...] = ("flv", "mp4", "m3u8")


class OwnLoss(NamedTuple):
    """``place``: among the audio of the source, of a packet that the peer drops; why it is its doing."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class HttpRow:
    """One peer that plays one kind of media. ``probe``: opens a segment with its init segment in front, and
    gives its packets. ``why_not``: for each form that is left out."""

    peer: str
    media: Media
    packages: str
    version: Callable[[], str | None]
    play: Callable[[Workbench, str], Path]
    probe: Callable[[Path], Hashes] | None = None
    why_not: dict[Form, str] = field(default_factory=dict)
    own_losses: dict[Form, OwnLoss] = field(default_factory=dict)
    hashes: Callable[[Path], Hashes] = hashes_of


_NO_ENHANCED = "Enhanced RTMP in FLV needs FFmpeg 6.1, and Opus in it 8.0"

HTTP_ROWS = [
    HttpRow(
        "FFmpeg", H264_AAC, "ffmpeg", peer_ffmpeg.version, peer_ffmpeg.play, probe=peer_ffmpeg.probe
    ),
    HttpRow(
        "FFmpeg", HEVC_OPUS, "ffmpeg", peer_ffmpeg.version, peer_ffmpeg.play, probe=peer_ffmpeg.probe,
        why_not={"flv": _NO_ENHANCED},
    ),
    HttpRow(
        "FFmpeg in PyAV", H264_AAC, "av (PyPI)", peer_pyav.version, peer_pyav.play, probe=peer_pyav.probe
    ),
    HttpRow(
        "FFmpeg in PyAV", HEVC_OPUS, "av (PyPI)", peer_pyav.version, peer_pyav.play, probe=peer_pyav.probe
    ),
    HttpRow(
        "GStreamer souphttpsrc, hlsdemux", H264_AAC,
        "gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad",
        peer_gstreamer.http_version, peer_gstreamer.http_play,
        own_losses={
            "flv": OwnLoss(0, "all but the first audio frame: its flvdemux drops it, of a file as well"),
            "mp4": OwnLoss(
                -1,
                "all but the last audio frame: its qtdemux drops it if no box follows, of a file as well",
            ),
        },
    ),
    HttpRow("mpv", H264_AAC, "mpv", peer_players.mpv_version, peer_players.mpv_play),
    HttpRow(
        "VLC", H264_AAC, "vlc-bin vlc-plugin-base", peer_players.vlc_version, peer_players.vlc_play,
        hashes=peer_players.vlc_hashes,
    ),
]  # fmt: skip
