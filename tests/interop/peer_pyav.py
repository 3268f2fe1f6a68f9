"""The FFmpeg that PyAV bundles: newer than the system's, with Enhanced RTMP and several tracks."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

from workbench import CLIP_S, Hashes, Job, Workbench, hashes_of, python_tool

_TOOL = python_tool("pyav_peer.py")


def version() -> str | None:
    try:
        av = importlib.import_module("av")
    except ImportError:
        return None
    return f"FFmpeg {av.ffmpeg_version_info} in PyAV {av.__version__}"


def publish(bench: Workbench, url: str) -> Job:
    return bench.spawn("pyav-publish", [*_TOOL, "publish", str(bench.clip), url])


def play(bench: Workbench, url: str) -> Path:
    output = bench.path("pyav.hashes")
    bench.spawn("pyav-play", [*_TOOL, "play", url, str(output)])
    return output


def hashes_file(clip: Path) -> Path:
    """The clip's packets by this FFmpeg, which reads what the system's may not."""
    output = clip.with_suffix(".hashes")
    subprocess.run([*_TOOL, "hash", str(clip), str(output)], check=True, timeout=60)
    return output


def make_hevc_clip(directory: Path, clip: Path) -> Path:
    return _make(directory / "hevc.flv", "make-hevc", str(CLIP_S))


def make_multitrack_clip(directory: Path, clip: Path) -> Path:
    return _make(directory / "multitrack.flv", "make-multitrack", str(clip))


def _make(output: Path, *command: str) -> Path:
    subprocess.run([*_TOOL, *command, str(output)], check=True, timeout=60)
    return output


def probe(file: Path) -> Hashes:
    """The packets of a file by this FFmpeg."""
    return hashes_of(hashes_file(file))
