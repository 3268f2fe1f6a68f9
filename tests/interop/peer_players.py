"""Programs that only play: rtmpdump, and mpv and VLC without a screen or speakers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from workbench import Hashes, Workbench, first_line


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


def vlc_version() -> str | None:
    line = first_line([*_not_root(), "cvlc", "--version"])
    return line if line and line.startswith("VLC version") else None


def vlc_play(bench: Workbench, url: str) -> Path:
    """Into a file for each elementary stream: its muxers of several drop what they hold at the end."""
    output = bench.path("vlc.mkv")
    files = (
        f"access-video=file,mux-video=ffmpeg{{mux=matroska}},dst-video={output},"
        f"access-audio=file,mux-audio=ffmpeg{{mux=adts}},dst-audio={output.with_suffix('.aac')}"
    )
    bench.spawn("vlc", [
        *_not_root(), "cvlc", "--no-color", "--no-media-library", "--play-and-exit",
        "--sout", f"#es{{{files}}}", url,
    ])  # fmt: skip
    return output


def vlc_hashes(file: Path) -> Hashes:
    """Of what it wrote, and of the clip to compare that with. VLC puts start codes and the parameter sets
    in front of keyframes, and headers in front of sound: all of that is left out, on both sides."""
    sound = file.with_suffix(".aac")
    return {
        "video0": _digests(file, "v", "h264_mp4toannexb,filter_units=remove_types=7|8|9"),
        "audio0": _digests(sound, "a", "aac_adtstoasc") if sound.exists() else _digests(file, "a", "null"),
    }


def _digests(file: Path, kind: str, bitstream_filter: str) -> list[str]:
    """The hash of each packet of one elementary stream; none if there is no such stream."""
    done = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-nostdin", "-i", str(file), "-map", f"0:{kind}:0", "-c", "copy",
         f"-bsf:{kind}", bitstream_filter, "-f", "framehash", "-hash", "md5", "-"],
        stdout=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = (line for line in done.stdout.splitlines() if not line.startswith("#"))
    return [line.split(",")[5].strip() for line in lines]


def _not_root() -> list[str]:
    """VLC refuses to run as root, so it is shown another user's number; the files stay ours."""
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
