"""Streams that are not two even tracks, as real encoders send them: made, published and played by FFmpeg.

Each clip's packets, as FFmpeg reads them from the file, are what players are compared with.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.ffmpeg import FRAMES_PER_SECOND, FfmpegProcess, Packet, Packets, read_hashes
from support.polling import wait_until

GOP_FRAMES = FRAMES_PER_SECOND
#: The camera's clip: video until then, and again from then on.
CAMERA_OFF_S, CAMERA_BACK_S, CAMERA_CLIP_S = 2, 15, 18
FRAMES_BEFORE_CAMERA_OFF = CAMERA_OFF_S * FRAMES_PER_SECOND
#: FFmpeg hands on what it gets at once, in the order in which it gets it, instead of sorting by the stamps.
_AS_IT_COMES = ["-max_interleave_delta", "1"]


def make_even_clip(path: Path, seconds: int) -> None:
    _encode(path, seconds, [], [f"keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0"])


def make_camera_off_clip(path: Path) -> None:
    """The video has a hole, after which it goes on with a keyframe; the audio has none."""
    between = f"between(n,{FRAMES_BEFORE_CAMERA_OFF},{CAMERA_BACK_S * FRAMES_PER_SECOND - 1})"
    options = [
        "-filter:v", f"select='not({between})'", "-fps_mode", "passthrough",
        "-force_key_frames", str(CAMERA_BACK_S),
    ]  # fmt: skip
    _encode(path, CAMERA_CLIP_S, options, [f"keyint={GOP_FRAMES}:min-keyint=1:scenecut=0"])


def make_intra_refresh_clip(path: Path, seconds: int) -> None:
    """One keyframe ever: the picture is renewed column by column."""
    _encode(path, seconds, [], ["intra-refresh=1:keyint=1000"])


def _encode(path: Path, seconds: int, options: list[str], x264: list[str]) -> None:
    command = [
        "ffmpeg", "-v", "error", "-nostdin", "-y",
        "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={FRAMES_PER_SECOND}:duration={seconds}",
        "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={seconds}",
        *options, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-b:v", "300k",
        "-bf", "0", "-x264-params", *x264, "-c:a", "aac", "-b:a", "64k", *_AS_IT_COMES, "-f", "flv",
        str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=60)


def keyframes_of(clip: Path) -> list[int]:
    """Which packets of the video are marked as keyframes."""
    command = [
        "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0",
        str(clip),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return [number for number, flags in enumerate(done.stdout.split()) if flags.startswith("K")]


class UnevenPublisher(FfmpegProcess):
    """Publishes a clip in real time. ``ahead``: one medium's stamps are so much higher than in the clip,
    while its packets leave at their time."""

    def __init__(self, clip: Path, url: str, log: Path, ahead: tuple[str, int] | None = None) -> None:
        moved = [f"-bsf:{ahead[0][0]}", f"setts=ts=TS+{ahead[1]}"] if ahead else []
        super().__init__(
            ["-re", "-i", str(clip), "-c", "copy", *moved, *_AS_IT_COMES, "-f", "flv", url], log
        )


class UnevenPlayer:
    """Two FFmpegs, one for each medium, so that neither waits for the other. Each writes a hash for each
    packet at once, also before a keyframe.

    The one for audio looks at the stream for half a second first; the one for video as long as it needs for
    a picture, 5 s at most, and loses nothing of what comes meanwhile.
    """

    def __init__(self, url: str, output: Path) -> None:
        self._output = output
        self._processes = [
            FfmpegProcess([*look, "-i", url, *_hashes(kind, output)], output.with_suffix(f".{kind}.log"))
            for kind, look in (("video", []), ("audio", ["-analyzeduration", "500000"]))
        ]

    def end(self) -> None:
        for process in self._processes:
            process.end()

    def log_text(self) -> str:
        return "".join(process.log_text() for process in self._processes)

    def packets(self) -> Packets:
        return read_hashes(self._output)

    def wait_for_last(self, source: Packets, timeout_s: float) -> Packets:
        """What it got, once the last packets of the source are there."""

        def complete() -> bool:
            got = self.packets()
            ends = ((got.video, source.video), (got.audio, source.audio))
            return all(mine and mine[-1].digest == whole[-1].digest for mine, whole in ends)

        try:
            wait_until(complete, "the last packets of the source", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.counts(source)}: {self.log_text()}") from None
        return self.packets()

    def counts(self, source: Packets) -> str:
        got = self.packets()
        return (
            f"it has {len(got.video)} of {len(source.video)} video"
            f" and {len(got.audio)} of {len(source.audio)} audio packets"
        )


def _hashes(kind: str, output: Path) -> list[str]:
    return [
        "-map", f"0:{kind[0]}:0", "-c", "copy", "-copyinkf", "-copyts", "-flush_packets", "1",
        "-f", "framehash", "-hash", "md5", str(output.with_suffix(f".{kind}")),
    ]  # fmt: skip


def assert_same_packets(got: list[Packet], source: list[Packet], what: str, *, late: bool) -> int:
    """``got`` is the source, or its end if ``late``: complete, in order, nothing twice, and by one constant
    later or earlier. The constant."""
    end = source[-len(got) :]
    assert [packet.digest for packet in got] == [packet.digest for packet in end], f"{what}: other packets"
    assert late == (len(got) < len(source)), f"{what}: {len(got)} of {len(source)} packets"
    offsets = sorted({have.dts - sent.dts for have, sent in zip(got, end, strict=True)})
    assert len(offsets) == 1, f"{what}: the stamps moved against the source by {offsets[:8]}"
    return offsets[0]
