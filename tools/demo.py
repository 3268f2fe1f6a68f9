"""``make demo``: the edge, a looping test publisher, and a player that prints what it receives.

Ends with Ctrl-C, or by itself after DEMO_SECONDS, and takes all its children with it. The publisher and
the player are FFmpeg; without it there is nothing to show but how to install it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from types import FrameType

_READY_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0
_REPORT_EVERY_S = 1.0
_FFMPEG = ("ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error")

#: A picture that moves, a clock in it, and a tone: H.264 and AAC, a keyframe every two seconds.
_TEST_STREAM = (
    "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25",
    "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
    "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
    "-g", "50", "-b:v", "800k", "-c:a", "aac", "-b:a", "96k", "-f", "flv",
)  # fmt: skip


def main() -> int:
    if shutil.which("ffmpeg") is None:
        print("The demo needs FFmpeg to make a stream; install it (Debian: apt-get install ffmpeg).")
        return 1
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interrupt)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as children:
        edge = children.enter_context(
            _child(
                [sys.executable, "-m", "cluster", "edge", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0",
                 "--workers", "2", "--drain-timeout", "0", "--log-format", "json",
                 "--log-level", "warning"],
                stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        address, page = _ready_addresses(edge)
        url = f"rtmp://{address}/live/demo"
        print(f"The edge runs with 2 workers. Watch it: {page}/live/demo in a browser, or ffplay {url}")
        children.enter_context(_child([*_FFMPEG, *_TEST_STREAM, url]))
        player = children.enter_context(
            _child(
                [*_FFMPEG, "-i", url, "-c", "copy", "-flush_packets", "1", "-f", "framecrc", "pipe:1"],
                stdout=subprocess.PIPE,
            )
        )
        if seconds := os.environ.get("DEMO_SECONDS"):
            signal.setitimer(signal.ITIMER_REAL, float(seconds))
        _print_received(player)
        print("the player has ended")
        return 1
    return 0


@contextlib.contextmanager
def _child(command: list[str], **pipes: int) -> Iterator[subprocess.Popen[str]]:
    """A child process that ends with the body. In a group of its own: Ctrl-C comes to us alone."""
    process = subprocess.Popen(command, text=True, process_group=0, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready_addresses(edge: subprocess.Popen[str]) -> tuple[str, str]:
    """Where the edge accepts RTMP, and HTTP; its further warnings are passed on to stderr."""
    assert edge.stderr is not None
    for line in edge.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "ready":
            threading.Thread(target=_pass_on, args=(edge,), daemon=True).start()
            return str(event["addresses"][0]), str(event["http_addresses"][0])
        sys.stderr.write(line)
    raise SystemExit("the edge did not start")


def _pass_on(edge: subprocess.Popen[str]) -> None:
    assert edge.stderr is not None
    for line in edge.stderr:
        sys.stderr.write(line)


def _print_received(player: subprocess.Popen[str]) -> None:
    """A line a second from the player's packets, which FFmpeg lists one a line:
    stream, dts, pts, duration, size, checksum, and F=… for one that is no keyframe."""
    assert player.stdout is not None
    began = reported = 0.0
    media: dict[str, str] = {}
    packets: dict[str, int] = defaultdict(int)
    size_bytes = keyframes = 0
    for line in player.stdout:
        if line.startswith("#media_type"):
            stream, _, kind = line.removeprefix("#media_type").partition(":")
            media[stream.strip()] = kind.strip()
        if line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(",")]
        kind = media.get(fields[0], fields[0])
        packets[kind] += 1
        size_bytes += int(fields[4])
        keyframes += kind == "video" and not any(field.startswith("F=") for field in fields)
        now = time.monotonic()
        if not began:
            began = reported = now
        if now - reported >= _REPORT_EVERY_S:
            shown = ", ".join(f"{count} {kind}" for kind, count in sorted(packets.items(), reverse=True))
            rate = size_bytes * 8 / 1000 / (now - reported)
            seconds = f"{now - began:5.1f} s"
            print(f"{seconds}   packets: {shown} ({keyframes} keyframes)   {rate:.0f} kbit/s", flush=True)
            reported, size_bytes, keyframes = now, 0, 0
            packets.clear()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
