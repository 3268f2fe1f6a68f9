"""Programs that only play: rtmpdump, and mpv without a screen or speakers."""

from __future__ import annotations

from pathlib import Path

from workbench import Workbench, first_line


def rtmpdump_version() -> str | None:
    line = first_line(["rtmpdump", "--help"])
    return line if line and line.lower().startswith("rtmpdump") else None


def rtmpdump_play(bench: Workbench, url: str) -> Path:
    output = bench.path("rtmpdump.flv")
    bench.spawn("rtmpdump", ["rtmpdump", "--live", "--rtmp", url, "--flv", str(output)])
    return output


def mpv_version() -> str | None:
    line = first_line(["mpv", "--version"])
    return line.split(" Copyright")[0] if line and line.startswith("mpv") else None


def mpv_play(bench: Workbench, url: str) -> Path:
    """It decodes and renders to nowhere, and records the packets it got."""
    output = bench.path("mpv.mkv")
    bench.spawn("mpv", [
        "mpv", "--no-config", "--ao=null", "--vo=null", "--no-terminal", f"--stream-record={output}", url
    ])  # fmt: skip
    return output
