"""PyAV or OpenCV as people use them, as a program: tells the streams as ffprobe does, on stdout.

    sight_peer.py pyav URL       sight_peer.py opencv URL

Complaints go to stderr. Exit code 1: it could not be opened, or gave no media.
"""

from __future__ import annotations

import json
import os
import sys

_FRAMES = 75
_WARNING = "24"


def with_pyav(url: str) -> bool:
    import av

    av.logging.restore_default_callback()
    av.logging.set_level(av.logging.WARNING)
    with av.open(url) as container:
        streams = [
            {"codec_type": stream.type, "codec_name": stream.codec_context and stream.codec_context.name}
            for stream in container.streams
        ]
        print(json.dumps({"streams": streams}))
        packets = (packet for packet in container.demux() if packet.size)
        return sum(1 for _ in zip(range(_FRAMES), packets, strict=False)) == _FRAMES


def with_opencv(url: str) -> bool:
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = _WARNING
    import cv2

    capture = cv2.VideoCapture(url)
    if not capture.isOpened():
        return False
    size = [int(capture.get(what)) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    print(json.dumps({"streams": [{"codec_type": "video", "codec_name": f"{size[0]}x{size[1]}"}]}))
    return all(capture.read()[0] for _ in range(_FRAMES))


if __name__ == "__main__":
    sys.exit(0 if {"pyav": with_pyav, "opencv": with_opencv}[sys.argv[1]](sys.argv[2]) else 1)
