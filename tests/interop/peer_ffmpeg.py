"""The system's FFmpeg: native RTMP, RTMPS by its own TLS library."""

from __future__ import annotations

from pathlib import Path

from workbench import Job, Workbench, first_line

from support.ffmpeg import hash_outputs

_QUIET = ["ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", "-y"]


def version() -> str | None:
    line = first_line(["ffmpeg", "-version"])
    return line.split(" Copyright")[0] if line and line.startswith("ffmpeg version") else None


def publish(bench: Workbench, url: str) -> Job:
    return bench.spawn(
        "ffmpeg-publish", [*_QUIET, "-re", "-i", str(bench.clip), "-c", "copy", "-f", "flv", url]
    )


def play(bench: Workbench, url: str) -> Path:
    """Into hashes at once: a container would be cut off at the end with what FFmpeg holds to interleave."""
    output = bench.path("ffmpeg.framehash")
    bench.spawn("ffmpeg-play", [*_QUIET, "-i", url, *hash_outputs(output)])
    return output
