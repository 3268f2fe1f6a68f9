"""What kind of file begins so."""

from __future__ import annotations

import pytest

from cluster.core.media.containers import LONGEST_BYTES, container_of
from cluster.core.media.flv import encode_header


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"\x00\x00\x00\x20ftypisom", "MP4"),
        (b"\x00\x00\x00\x08wide", "QuickTime"),
        (b"\x1aE\xdf\xa3\x01", "Matroska or WebM"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "AVI"),
        (b"OggS\x00", "Ogg"),
        (b"\x00\x00\x01\xba", "MPEG program stream"),
        (b"\x00\x00\x00\x01\x67", "a bare video stream"),
        (b"#EXTM3U\n", "an HLS playlist"),
        ((b"G" + bytes(187)) * 3, "MPEG-TS"),
        ((b"G" + bytes(187)) * 2 + b"x", ""),
        (b"Good morning", ""),
        (b"not a film", ""),
        (b"", ""),
        (encode_header(audio=True, video=True), ""),
    ],
)
def test_kinds(beginning: bytes, kind: str) -> None:
    assert container_of(beginning) == kind
    assert container_of(beginning[:LONGEST_BYTES]) == kind
