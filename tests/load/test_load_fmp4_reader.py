"""Fragmented MP4 read back: what others write, cut anywhere, and what is none."""

from __future__ import annotations

import io

import av
import pytest
from live_http import AUDIO, FRAMES_PER_S, VIDEO, box, fragment, full, init_section, stamped, u32
from test_load_media import flv_of

from cluster.core.media.classify import MediaFlags, flags_of
from cluster.core.message import Message
from cluster.load import fmp4_reader
from cluster.load.fault import ServerFault
from cluster.load.fmp4_reader import Fmp4Reader
from cluster.load.media import StreamShape

NUMBERS = (14, 15, 16)
FRAMES = [(kind, number, stamped(kind, number, 7)) for number in NUMBERS for kind in (VIDEO, AUDIO)]
STREAM = init_section() + fragment(FRAMES) + b"\x00\x00\x00\x0cfreeabcd" + fragment(FRAMES[:2])


def read(*pieces: bytes) -> list[Message]:
    reader = Fmp4Reader()
    return [message for piece in pieces for message in reader.feed(piece)]


def test_samples_become_the_messages_that_they_were() -> None:
    got = read(STREAM)
    wanted = [each for kind in (VIDEO, AUDIO) for each in FRAMES if each[0] == kind] + FRAMES[:2]
    assert [(each.type_id, each.payload) for each in got] == [(kind, body) for kind, _, body in wanted]
    assert [each.timestamp for each in got[:3]] == [each * 1000 // FRAMES_PER_S for each in NUMBERS]
    keyframes = [bool(flags_of(each.type_id, each.payload) & MediaFlags.KEYFRAME) for each in got[:3]]
    assert keyframes == [False, True, False]


def test_it_may_be_cut_anywhere() -> None:
    whole = read(STREAM)
    assert read(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == whole
    for at in range(0, len(STREAM), 7):
        assert read(STREAM[:at], STREAM[at:]) == whole


def test_what_ffmpeg_writes() -> None:
    """Default durations, sizes and flags, flags of the first sample, several samples in a run."""
    sent = [each for each in StreamShape(gop_s=0.5).messages() if each[1] == VIDEO]
    sent += [(offset_ns + 500_000_000, type_id, payload) for offset_ns, type_id, payload in sent]
    output = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
    with (
        av.open(io.BytesIO(flv_of(sent)), "r", format="flv") as source,
        av.open(output, "w", format="mp4", options=options) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    got = read(output.getvalue())
    assert [each.payload for each in got] == [payload for _, _, payload in sent]
    for each, (offset_ns, _, _) in zip(got, sent, strict=True):
        assert each.timestamp == pytest.approx(offset_ns / 1e6, abs=1)


def track(*boxes: bytes, handler: bytes = b"vide", scale: int = 1000) -> bytes:
    media = box(b"mdia", full(b"mdhd", 0, u32(0, 0, scale, 0)), full(b"hdlr", 0, u32(0), handler))
    return box(b"moov", box(b"trak", full(b"tkhd", 3, u32(0, 0, 1)), media), box(b"mvex"), *boxes)


def moof(*run: bytes, number: int = 1) -> bytes:
    return box(b"moof", box(b"traf", full(b"tfhd", 0, u32(number)), full(b"trun", 0x201, *run)))


DATA = box(b"mdat", b"abcd")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"HTTP/1.1", id="a size that no box has"),
        pytest.param(u32(7) + b"moov", id="smaller than its own header"),
        pytest.param(u32(1) + b"mdat" + u32(1, 0), id="64 bits of size"),
        pytest.param(box(b"moov"), id="no mvex"),
        pytest.param(track(scale=0), id="no timescale"),
        pytest.param(track() + box(b"moof", box(b"traf")), id="no tfhd"),
        pytest.param(track() + moof(u32(1, 0, 4), number=2) + DATA, id="an unknown track"),
        pytest.param(track() + moof(u32(1, 0)) + DATA, id="a run that ends too early"),
        pytest.param(track() + moof(u32(1, 0, 4)) + DATA, id="a sample in front of the data"),
        pytest.param(track() + moof(u32(1, 60, 5)) + DATA, id="a sample that goes beyond the data"),
        pytest.param(
            track() + box(b"moof", box(b"traf", full(b"tfhd", 0, u32(1)), full(b"trun", 0, u32(1 << 31)))),
            id="more samples than there can be",
        ),
    ],
)  # fmt: skip
def test_what_is_no_fragmented_mp4(stream: bytes) -> None:
    with pytest.raises(ServerFault, match="no fragmented MP4"):
        read(stream)


def test_the_last_place_that_a_sample_may_have() -> None:
    head = moof(u32(1, 0, 4))
    (got,) = read(track() + moof(u32(1, len(head) + 8, 4)) + DATA)
    assert got.payload == b"\x17\x01\0\0\0abcd"


def test_other_media_is_left_out() -> None:
    head = moof(u32(1, 0, 4))
    assert read(track(handler=b"text") + moof(u32(1, len(head) + 8, 4)) + DATA) == []


def test_a_box_is_not_kept_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmp4_reader, "MAX_BOX_BYTES", 100)
    assert read(box(b"mdat", bytes(92))) == []
    with pytest.raises(ServerFault, match="a box of 101 bytes"):
        read(u32(101) + b"mdat")
