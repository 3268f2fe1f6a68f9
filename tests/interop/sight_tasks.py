"""What people type, as data: the commands whose view of ours is compared with their view of nginx-rtmp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sight import LEAST_SHARE, LEAST_SHARE_OF_BYTES
from workbench import python_tool

#: The last two: both for a moment, and then one alone, as of a camera that was switched off.
MediaKind = Literal["both", "audio", "video", "audio, video gone", "video, audio gone"]

_FFMPEG = ["ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-y", "-loglevel", "repeat+level+info"]
_TOOL = python_tool("sight_peer.py")
#: Media that a command takes before it ends by itself.
_TAKE = ["-t", "3"]
#: A relay begins with what it has looked at, 5 s at once, and goes on until others have looked at it.
_RELAY_TAKE = ["-t", "12"]
#: GStreamer's sources count buffers: messages of RTMP (some 3 s of audio and video), or blocks of 4 KiB.
_MESSAGES = {"audio": 120, "video": 75}
_BLOCKS = {"audio": 4, "video": 16}
_QUEUE = ["!", "queue", "!"]


@dataclass(frozen=True, slots=True)
class Stream:
    """What is published, and whether with ``onMetaData``."""

    media: MediaKind
    metadata: bool

    @property
    def name(self) -> str:
        return self.media + ("" if self.metadata else " without metadata")

    @property
    def lasting(self) -> list[str]:
        """What it has in the end."""
        first = self.media.partition(",")[0]
        return ["video", "audio"] if first == "both" else [first]

    def publish_options(self) -> list[str]:
        """FFmpeg is not to hold one medium back for another that does not come."""
        without = {"audio": ["-vn"], "video": ["-an"]}.get(self.media, [])
        metadata = [] if self.metadata else ["-flvflags", "no_metadata"]
        return [*without, "-c", "copy", "-max_interleave_delta", "1", *metadata]


@dataclass(frozen=True, slots=True)
class Task:
    """``command``: from the stream, its URL and the URL of another name at the same server. ``output``: the
    file that it writes, in the directory where it runs. ``reports``: how it tells what it sees: FFmpeg by
    its log, ffprobe and our tools by JSON on stdout, GStreamer not at all."""

    label: str
    command: Callable[[Stream, str, str], list[str]]
    output: str | None = None
    reports: Literal["log", "json", "nothing"] = "log"
    needs_video: bool = False
    least_share: float = LEAST_SHARE

    def fits(self, stream: Stream) -> bool:
        return "video" in stream.lasting or not self.needs_video


def _ffmpeg(*options: str, needs_video: bool = False) -> Task:
    """The last option is the file."""
    return Task(
        f"ffmpeg -i URL {' '.join(options)}",
        lambda stream, url, other: [*_FFMPEG, "-i", url, *options],
        output=options[-1], needs_video=needs_video,
    )  # fmt: skip


def _ffprobe(url: str) -> list[str]:
    return ["ffprobe", "-v", "warning", "-show_entries", "stream=codec_type,codec_name", "-of", "json", url]


def _gst_demuxed(stream: Stream, url: str, other: str) -> list[str]:
    messages = sum(_MESSAGES[kind] for kind in stream.lasting)
    source = ["rtmp2src", f"location={url}", f"num-buffers={messages}"]
    parsers = {"video": "h264parse", "audio": "aacparse"}
    branches = [
        part for kind in stream.lasting for part in (f"d.{kind}", *_QUEUE, parsers[kind], "!", "m.")
    ]
    mux = ["matroskamux", "name=m", "!", "filesink", "location=gst.mkv"]
    return ["gst-launch-1.0", "-q", "-e", *source, "!", "flvdemux", "name=d", *branches, *mux]


def _gst_raw(stream: Stream, url: str, other: str) -> list[str]:
    blocks = sum(_BLOCKS[kind] for kind in stream.lasting)
    source = ["rtmpsrc", f"location={url} live=1", f"num-buffers={blocks}"]
    return ["gst-launch-1.0", "-q", "-e", *source, "!", "filesink", "location=gst.flv"]


TASKS = [
    Task("ffprobe URL", lambda stream, url, other: _ffprobe(url), reports="json"),
    _ffmpeg(*_TAKE, "-c", "copy", "out.mkv"),
    _ffmpeg(*_TAKE, "-c", "copy", "out.mp4"),
    _ffmpeg(*_TAKE, "-c", "copy", "out.ts"),
    _ffmpeg(*_TAKE, "-c", "copy", "out.flv"),
    _ffmpeg(*_TAKE, "-c", "copy", "-f", "hls", "out.m3u8"),
    _ffmpeg(*_TAKE, "-map", "0", "-c", "copy", "out.mkv"),
    _ffmpeg(*_TAKE, "-map", "0", "-c", "copy", "out.mp4"),
    _ffmpeg(*_TAKE, "-map", "0", "-c", "copy", "out.flv"),
    _ffmpeg(*_TAKE, "-preset", "ultrafast", "out.mkv"),
    _ffmpeg(*_TAKE, "-preset", "ultrafast", "out.mp4"),
    _ffmpeg("-frames:v", "1", "out.jpg", needs_video=True),
    Task(
        "ffmpeg -i URL -c copy -f flv OTHER",
        lambda stream, url, other: [*_FFMPEG, "-i", url, *_RELAY_TAKE, "-c", "copy", "-f", "flv", other],
    ),
    Task("ffprobe OTHER", lambda stream, url, other: _ffprobe(other), reports="json"),
    Task("PyAV, av.open", lambda stream, url, other: [*_TOOL, "pyav", url], reports="json"),
    Task(
        "OpenCV, VideoCapture", lambda stream, url, other: [*_TOOL, "opencv", url],
        reports="json", needs_video=True,
    ),
    Task("GStreamer, rtmp2src to mkv", _gst_demuxed, output="gst.mkv", reports="nothing"),
    Task(
        "GStreamer, rtmpsrc to flv", _gst_raw, output="gst.flv", reports="nothing",
        least_share=LEAST_SHARE_OF_BYTES,
    ),
]  # fmt: skip
