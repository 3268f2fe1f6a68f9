"""FFmpeg as publisher and player, and the packets it saw as hashes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from support.polling import wait_until

GOP_FRAMES = 50
FRAMES_PER_SECOND = 25
CLIP_S = 8
_QUIET = ["ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", "-y"]


class Packet(NamedTuple):
    """A packet's decoding time in its stream's time base, and the hash of its payload."""

    dts: int
    digest: str


@dataclass(frozen=True, slots=True)
class Packets:
    """What of one clip went through, per elementary stream, in order."""

    video: list[Packet]
    audio: list[Packet]


def make_clip(path: Path, *, seconds: int = CLIP_S, profile: str = "high") -> None:
    """H.264 (B-frames in profile high) and AAC from FFmpeg's own test sources; a keyframe every 2 s."""
    subprocess.run(
        [
            *_QUIET,
            "-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FRAMES_PER_SECOND}:duration={seconds}",
            "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={seconds}",
            "-c:v", "libx264", "-preset", "veryfast", "-profile:v", profile, "-pix_fmt", "yuv420p",
            "-g", str(GOP_FRAMES), "-keyint_min", str(GOP_FRAMES), "-sc_threshold", "0", "-b:v", "800k",
            "-c:a", "aac", "-b:a", "96k", "-f", "flv", str(path),
        ],
        check=True, timeout=60,
    )  # fmt: skip


def hashes_of_file(clip: Path, output: Path) -> Packets:
    """The packets of a file; ``output`` is where FFmpeg may write."""
    subprocess.run([*_QUIET, "-i", str(clip), *hash_outputs(output)], check=True, timeout=60)
    return read_hashes(output)


def hash_outputs(output: Path) -> list[str]:
    """Write a hash for each packet at once. A file per stream: in one, FFmpeg would hold packets back
    to interleave them."""
    return [
        argument
        for kind in ("video", "audio")
        for argument in (
            "-map", f"0:{kind[0]}:0", "-c", "copy", "-copyts", "-flush_packets", "1",
            "-f", "framehash", "-hash", "md5", str(output.with_suffix(f".{kind}")),
        )
    ]  # fmt: skip


def read_hashes(output: Path) -> Packets:
    """What is in the two files so far."""
    return Packets(_read(output.with_suffix(".video")), _read(output.with_suffix(".audio")))


def _read(path: Path) -> list[Packet]:
    """The whole lines of a framehash file: ``stream, dts, pts, duration, size, hash``, and after these what
    else FFmpeg attached to the packet, such as headers that came again."""
    packets: list[Packet] = []
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if not line.startswith("#") and line.endswith("\n"):
            _stream, dts, _pts, _duration, _size, digest = (part.strip() for part in line.split(",")[:6])
            packets.append(Packet(int(dts), digest))
    return packets


class FfmpegProcess:
    """One FFmpeg child; ended by its process id."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*_QUIET, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> int:
        return self._process.wait(timeout_s)

    def end(self) -> None:
        """Kill it: asked politely, FFmpeg waits for the packet it is reading."""
        if self.running:
            self._process.kill()
        self._process.wait()

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")


class Publisher(FfmpegProcess):
    """Publishes a clip in real time, once or in a loop."""

    def __init__(self, clip: Path, url: str, log: Path, *, loop: bool = False) -> None:
        again = ["-stream_loop", "-1"] if loop else []
        super().__init__(["-re", *again, "-i", str(clip), "-c", "copy", "-f", "flv", url], log)


class Player(FfmpegProcess):
    """Plays a stream and writes a hash for each packet at once."""

    def __init__(self, url: str, output: Path, log: Path) -> None:
        self._output = output
        super().__init__(["-i", url, *hash_outputs(output)], log)

    def packets(self) -> Packets:
        return read_hashes(self._output)

    def wait_for_last(self, source: Packets, timeout_s: float) -> Packets:
        """What it got, once the last packets of the source are there."""

        def complete() -> Packets | None:
            got = self.packets()
            ends = [(got.video, source.video), (got.audio, source.audio)]
            return got if all(g and g[-1].digest == s[-1].digest for g, s in ends) else None

        try:
            return wait_until(complete, "the last packets of the source", timeout_s)
        except AssertionError as error:
            got = self.packets()
            raise AssertionError(
                f"{error}; it has {len(got.video)} of {len(source.video)} video and "
                f"{len(got.audio)} of {len(source.audio)} audio packets: {self.log_text()}"
            ) from None


class Ffmpegs:
    """Starts FFmpeg publishers and players with files in the test's own directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[Publisher | Player] = []

    def publish(self, clip: Path, url: str, *, loop: bool = False) -> Publisher:
        publisher = Publisher(clip, url, self._path("publisher.log"), loop=loop)
        self._started.append(publisher)
        return publisher

    def play(self, url: str) -> Player:
        player = Player(url, self._path("player"), self._path("player.log"))
        self._started.append(player)
        return player

    def end(self) -> None:
        for process in self._started:
            process.end()

    def _path(self, name: str) -> Path:
        return self._directory / f"{len(self._started)}-{name}"
