"""Every codec, however it is wrapped, through a stream log: a joiner finds its headers and its keyframe."""

from __future__ import annotations

import pytest

from cluster.core.media.describe import MediaKind, describe
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Message

AUDIO, VIDEO = 8, 9
VIDEO_CODECS = {
    "avc1": "01640028", "hvc1": "01010000", "vvc1": "FF0065", "av01": "8100 0C00", "vp09": "0100000000",
    "vp08": "0100000000",
}  # fmt: skip
WITH_CTS = ("avc1", "hvc1", "vvc1")
AUDIO_CODECS = {
    "mp4a": "1190", "Opus": "4F70757348656164", "fLaC": "664C6143 80000022",
    "ac-3": "", "ec-3": "", ".mp3": "",
}  # fmt: skip
#: Multitrack layouts: none, OneTrack of track 1, ManyTracks of two, ManyTracksManyCodecs of two.
LAYOUTS = ("plain", "one_track", "many_tracks", "many_codecs", "behind_mod_ex")


def wrapped(first: int, four_cc: str, packet_type: int, body: bytes, layout: str, multitrack: int) -> bytes:
    """A message by Enhanced RTMP v2; ``first`` is the high nibble of its first byte."""
    name = four_cc.encode()
    size = len(body).to_bytes(3, "big")
    if layout == "plain":
        return bytes([first << 4 | packet_type]) + name + body
    if layout == "behind_mod_ex":
        return bytes([first << 4 | 7, 2, 0, 0x0F, 0xA0, packet_type]) + name + body
    head = bytes([first << 4 | multitrack])
    if layout == "one_track":
        return head + bytes([packet_type]) + name + b"\x00" + body
    if layout == "many_tracks":
        return head + bytes([0x10 | packet_type]) + name + b"\x00" + size + body + b"\x01" + size + body
    return head + bytes([0x20 | packet_type]) + b"".join(
        name + bytes([track]) + size + body for track in (0, 1)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_video(codec: str, layout: str) -> None:
    cts = b"\x00\x00\x21" if codec in WITH_CTS else b""
    header = wrapped(9, codec, 0, bytes.fromhex(VIDEO_CODECS[codec]), layout, 6)
    metadata = wrapped(8, codec, 4, b"\x02\x00\x09colorInfo\x06", layout, 6)
    key = wrapped(9, codec, 1, cts + b"\x00\x00\x00\x02\x26\x01", layout, 6)
    inter = wrapped(10, codec, 3, b"\x00\x00\x00\x02\x02\x01", layout, 6)
    end = wrapped(10, codec, 2, b"", layout, 6)
    log = StreamLog()
    for payload in (inter, metadata, header, key, inter, end):
        log.append(Message(VIDEO, 1000, payload))
    assert log.dropped_before_keyframe == 1
    assert [entry.payload for entry in log.headers()] == [metadata, header]
    assert log.start_of_join() == 2
    assert [entry.payload for entry in log.read(2, 5)] == [key, inter, end]
    info = describe(VIDEO, key)
    assert (info.codec, info.kind) == (codec, MediaKind.FRAMES)
    assert info.cts_ms == (0x21 if cts else 0)
    assert len(info.tracks) == (2 if layout.startswith("many") else 1)
    assert info.nano_offset_ns == (4000 if layout == "behind_mod_ex" else 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("codec", AUDIO_CODECS)
def test_audio(codec: str, layout: str) -> None:
    header = wrapped(9, codec, 0, bytes.fromhex(AUDIO_CODECS[codec]), layout, 5)
    config = wrapped(9, codec, 4, b"\x01\x02\x00\x00\x00\x03", layout, 5)
    frame = wrapped(9, codec, 1, b"\xf8\xff", layout, 5)
    log = StreamLog()
    for payload in (config, header, frame, frame):
        log.append(Message(AUDIO, 1000, payload))
    assert [entry.payload for entry in log.headers()] == [header, config]
    assert log.start_of_join() == log.next_seq, "audio alone is joined at its live end"
    info = describe(AUDIO, frame)
    assert (info.codec, info.kind) == (codec, MediaKind.FRAMES)
    assert len(info.tracks) == (2 if layout.startswith("many") else 1)


@pytest.mark.parametrize(
    ("codec_id", "codec"), [(7, "avc1"), (12, "hvc1"), (13, "av01"), (2, "h263"), (4, "vp6")]
)
def test_legacy_video(codec_id: int, codec: str) -> None:
    log = StreamLog()
    header = bytes([0x10 | codec_id, 0, 0, 0, 0, 1])
    key = bytes([0x10 | codec_id, 1, 0, 0, 0, 0, 0, 0, 1, 0x65])
    has_header = codec_id in (7, 12, 13)
    for payload in [header, key] if has_header else [key]:
        log.append(Message(VIDEO, 0, payload))
    assert [entry.payload for entry in log.headers()] == ([header] if has_header else [])
    assert log.start_of_join() == len(log.headers())
    assert describe(VIDEO, key).codec == codec


def test_tracks_keep_headers_of_their_own() -> None:
    """A new header of one track leaves those of the others, and wraps may differ between them."""
    log = StreamLog()
    first = wrapped(9, "avc1", 0, b"\x01\x64", "plain", 6)
    second = bytes.fromhex("96 00 61766331 01 0142")
    both = wrapped(9, "avc1", 0, b"\x01\x4d", "many_tracks", 6)
    for payload in (first, second, both, second + b"\x00"):
        log.append(Message(VIDEO, 0, payload))
    assert [entry.payload for entry in log.headers()] == [first, both, second + b"\x00"]
