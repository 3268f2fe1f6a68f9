"""FFmpeg as people run it: a publisher and players that come back whenever their connection ends."""

from __future__ import annotations

import datetime
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

_QUIET = ("ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", "-y")
_COME_BACK_AFTER_S = 0.3


def make_clip(path: Path) -> None:
    """10 s of H.264 and AAC with a keyframe each second."""
    subprocess.run(
        [
            *_QUIET,
            "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=10",
            "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=10",
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "300k",
            "-c:a", "aac", "-b:a", "64k", "-f", "flv", str(path),
        ],
        check=True, timeout=60,
    )  # fmt: skip


def video_hashes(source: str, output: Path) -> list[str]:
    """The arguments that copy the video of ``source`` into one line per packet."""
    return ["-i", source, "-map", "0:v:0", "-c", "copy", "-flush_packets", "1",
            "-f", "framehash", "-hash", "md5", str(output)]  # fmt: skip


def read_hashes(output: Path) -> list[str]:
    """The hash of each packet so far."""
    lines = output.read_text().splitlines(keepends=True) if output.exists() else []
    whole = [line for line in lines if not line.startswith("#") and line.endswith("\n")]
    return [line.rpartition(",")[2].strip() for line in whole]


def source_hashes(clip: Path) -> list[str]:
    output = clip.with_suffix(".hashes")
    subprocess.run([*_QUIET, *video_hashes(str(clip), output)], check=True, timeout=60)
    return read_hashes(output)


@dataclass(slots=True)
class Session:
    """One connection of a lasting peer: when it began and ended (UTC), and the packets a player got."""

    began: datetime.datetime
    output: Path
    ended: datetime.datetime | None = None

    def packets(self) -> list[str]:
        return read_hashes(self.output)


class Lasting:
    """Runs FFmpeg in the operator's namespace again and again until ``close``."""

    def __init__(self, prefix: list[str], directory: Path, *, url: str, clip: Path | None = None) -> None:
        """Plays ``url``; with ``clip`` it publishes that there instead, in a loop."""
        self._prefix = prefix
        self._directory = directory
        self._url = url
        self._clip = clip
        self.sessions: list[Session] = []
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()
        (directory / "log").touch()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            session = Session(_now(), self._directory / f"{len(self.sessions)}.hashes")
            if self._clip is None:
                arguments = video_hashes(self._url, session.output)
            else:
                arguments = ["-re", "-stream_loop", "-1", "-i", str(self._clip), "-c", "copy",
                             "-f", "flv", self._url]  # fmt: skip
            self.sessions.append(session)
            with (self._directory / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*self._prefix, *_QUIET, *arguments], stdout=log, stderr=log
                )
            if self._closing.is_set():
                self._process.kill()
            self._process.wait()
            session.ended = _now()
            self._closing.wait(_COME_BACK_AFTER_S)

    def served(self) -> list[Session]:
        """The sessions that media came through."""
        return [session for session in self.sessions if session.packets()]

    def log_text(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    def close(self) -> None:
        self._closing.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
