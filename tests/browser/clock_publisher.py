"""Publishes the clock's picture and a tone in real time, until it is ended.

python clock_publisher.py URL [--video h264|hevc|vp9|av1] [--audio aac|opus|ac3|none] [--seconds 600]
"""

from __future__ import annotations

import argparse
import math
import time
from array import array
from fractions import Fraction

import av
import clock_picture
from clock_picture import FPS

GOP = 25
SAMPLE_RATE, TONE_HZ = 48000, 1000
#: Audio is made so much ahead, so that no picture waits for it to be interleaved.
AUDIO_AHEAD_S = 0.06

VIDEO = {
    "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "profile": "main", "crf": "23"}),
    "hevc": ("libx265", {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "1M"}),
    "av1": ("libsvtav1", {"preset": "12", "crf": "40", "svtav1-params": "pred-struct=1"}),
}
AUDIO = {"aac": ("aac", {}), "opus": ("libopus", {}), "ac3": ("ac3", {})}

_PERIOD = SAMPLE_RATE // TONE_HZ
_TONE = array("f", (0.1 * math.sin(2 * math.pi * at / _PERIOD) for at in range(_PERIOD)))


class Publisher:
    """One stream to one address."""

    def __init__(self, url: str, video: str, audio: str) -> None:
        self._container = av.open(url, "w", format="flv", options={"flush_packets": "1"})
        codec, codec_options = VIDEO[video]
        self._video = self._container.add_stream(codec, rate=FPS, options=codec_options)
        self._video.width, self._video.height = clock_picture.WIDTH, clock_picture.HEIGHT
        self._video.pix_fmt = "yuv420p"
        self._video.gop_size = GOP
        self._video.max_b_frames = 0
        self._video.bit_rate = 0  # as the options say
        self._audio = None
        if audio != "none":
            codec, codec_options = AUDIO[audio]
            self._audio = self._container.add_stream(codec, rate=SAMPLE_RATE, options=codec_options)
            self._audio.layout = "mono"
            self._audio.bit_rate = 64_000
        self._samples = 0

    def run(self, seconds: float) -> None:
        began = time.monotonic()
        for number in range(int(seconds * FPS)):
            due = began + number / FPS
            time.sleep(max(0.0, due - time.monotonic()))
            self._send_audio_until(number / FPS + AUDIO_AHEAD_S)
            self._container.mux(self._video.encode(self._picture(number)))
        for stream in self._container.streams:
            self._container.mux(stream.encode())
        self._container.close()

    def _picture(self, number: int) -> av.VideoFrame:
        frame = av.VideoFrame(clock_picture.WIDTH, clock_picture.HEIGHT, "yuv420p")
        now_ms = time.time_ns() // 1_000_000
        for plane, data in zip(frame.planes, clock_picture.planes(now_ms), strict=True):
            plane.update(data)
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        return frame

    def _send_audio_until(self, media_s: float) -> None:
        while self._audio is not None and self._samples < media_s * SAMPLE_RATE:
            count = self._audio.codec_context.frame_size or 1024
            start = self._samples % _PERIOD
            tone = (_TONE * (count // _PERIOD + 2))[start : start + count]
            frame = av.AudioFrame("flt", "mono", count)
            frame.planes[0].update(tone.tobytes())
            frame.sample_rate = SAMPLE_RATE
            frame.pts, frame.time_base = self._samples, Fraction(1, SAMPLE_RATE)
            self._samples += count
            self._container.mux(self._audio.encode(frame))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--video", default="h264", choices=VIDEO)
    parser.add_argument("--audio", default="aac", choices=[*AUDIO, "none"])
    parser.add_argument("--seconds", type=float, default=600)
    given = parser.parse_args()
    Publisher(given.url, given.video, given.audio).run(given.seconds)


if __name__ == "__main__":
    main()
