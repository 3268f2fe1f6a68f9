"""GStreamer: its own elements (rtmp2) and the older ones over librtmp."""

from __future__ import annotations

import shutil
from pathlib import Path

from workbench import Job, Workbench, first_line

#: The clip as a stream of FLV.
REMUX = [
    "flvdemux", "name=d", "d.video", "!", "queue", "!", "m.video", "d.audio", "!", "queue", "!", "m.audio",
    "flvmux", "name=m", "streamable=true",
]  # fmt: skip


def rtmp2_version() -> str | None:
    return _version("rtmp2sink")


def librtmp_version() -> str | None:
    return _version("rtmpsink")


def rtmp2_publish(bench: Workbench, url: str) -> Job:
    return _publish(bench, ["rtmp2sink", f"location={url}", *_TRUSTING, "sync=true"])


def rtmp2_play(bench: Workbench, url: str) -> Path:
    return _play(bench, ["rtmp2src", f"location={url}", *_TRUSTING])


def librtmp_publish(bench: Workbench, url: str) -> Job:
    return _publish(bench, ["rtmpsink", f"location={url} live=1", "sync=true"])


def librtmp_play(bench: Workbench, url: str) -> Path:
    return _play(bench, ["rtmpsrc", f"location={url} live=1"])


#: The test's certificate is its own authority.
_TRUSTING = ["tls-validation-flags=0"]


def http_version() -> str | None:
    """None if one of the elements is missing."""
    return min(_version(each) or "" for each in ("souphttpsrc", "hlsdemux", "matroskamux")) or None


def http_play(bench: Workbench, url: str) -> Path:
    """What its demuxer of that form makes of it, as Matroska."""
    output = bench.path("gst.mkv")
    demuxer, pads = _DEMUXERS[url.rpartition(".")[2]]
    streams = [
        part
        for pad, parser in zip(pads, ("h264parse", "aacparse"), strict=True)
        for part in (pad, "!", "queue", "!", parser, "!", "m.")
    ]
    bench.spawn("gst-play", [
        "gst-launch-1.0", "-e", "souphttpsrc", f"location={url}", f"timeout={_HTTP_TIMEOUT_S}", "!",
        *demuxer, *streams, "matroskamux", "name=m", "!",
        "filesink", f"location={output}", "buffer-mode=unbuffered",
    ])  # fmt: skip
    return output


#: How each form is taken apart.
_DEMUXERS = {
    "flv": (["flvdemux", "name=d"], ("d.video", "d.audio")),
    "mp4": (["qtdemux", "name=d"], ("d.video_0", "d.audio_0")),
    "m3u8": (["hlsdemux", "!", "qtdemux", "name=d"], ("d.video_0", "d.audio_0")),
}
_HTTP_TIMEOUT_S = 60


def _version(element: str) -> str | None:
    """gst-inspect fails on an element whose plugin is not installed, or that cannot be loaded."""
    if shutil.which("gst-launch-1.0") is None or not (
        first_line(["gst-inspect-1.0", element]) or ""
    ).startswith("Factory Details"):
        return None
    return first_line(["gst-launch-1.0", "--version"])


def _publish(bench: Workbench, sink: list[str]) -> Job:
    source = ["filesrc", f"location={bench.clip}", "!", *REMUX, "!", *sink]
    return bench.spawn("gst-publish", ["gst-launch-1.0", "-e", *source])


def _play(bench: Workbench, source: list[str]) -> Path:
    output = bench.path("gst.flv")
    sink = ["filesink", f"location={output}", "buffer-mode=unbuffered"]
    bench.spawn("gst-play", ["gst-launch-1.0", "-e", *source, "!", *sink])
    return output
