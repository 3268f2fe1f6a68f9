"""The system's FFmpeg: native RTMP, RTMPS by its own TLS library."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from workbench import Hashes, Job, Workbench, first_line

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


def probe(file: Path) -> Hashes:
    """What ffprobe says of the packets of a file that it must open without a word of warning."""
    done = subprocess.run(
        ["ffprobe", "-loglevel", "warning", "-show_packets", "-show_data_hash", "md5", "-of", "json",
         "-show_entries", "packet=codec_type,data_hash", str(file)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert not done.stderr, f"{file.name}: {done.stderr}"
    found: Hashes = {}
    for packet in json.loads(done.stdout)["packets"]:
        digest = packet["data_hash"].removeprefix("MD5:").lower()
        found.setdefault(f"{packet['codec_type']}0", []).append(digest)
    return found
