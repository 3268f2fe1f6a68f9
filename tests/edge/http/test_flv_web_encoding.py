"""A stream log as FLV for browsers: what mpegts.js 1.8 takes, whatever the publisher sends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.classify import flags_of
from cluster.core.media.flv import FlvReader, encode_header
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.metadata import READ_METADATA_BYTES, encode_metadata, read_metadata
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Buffer, Message, MessageType
from cluster.edge.http.flv_web_encoding import FlvWebEncoding
from support.media_clips import make_flv, messages_of, packets_of
from support.media_examples import EXAMPLES, MALFORMED, Example

AUDIO, VIDEO, DATA = 8, 9, 18
AVC_HEADER = bytes.fromhex("1700000000 0164000b ffe1 0000")
AAC_HEADER = bytes.fromhex("af001190")
KEY = bytes.fromhex("1701000000 00000002 6588")
INTER = bytes.fromhex("2701000021 00000002 4188")
AAC = bytes.fromhex("af01 21100456")
HEVC_RECORD = bytes.fromhex("01 01 60000000 900000000000 1E F000FCFDF8F800000F00")
AV1_RECORD = bytes.fromhex("81 08 0C 00")
FLAC_HEADER = bytes.fromhex("664C6143") + bytes(34)


def file_of(
    messages: list[Message], *, audio: str | None = "mp4a", video: str | None = "avc1"
) -> bytes:
    """What a player gets that was there from the beginning."""
    log, encoding = StreamLog(), FlvWebEncoding()
    entries = [entry for message in messages if (entry := log.append(message)) is not None]
    parts = encoding.begin(log.headers(), audio=audio, video=video) + encoding.greeting()
    return joined(parts + [buffer for entry in entries for buffer in encoding.entry(entry)])


def joined(buffers: list[Buffer]) -> bytes:
    return b"".join(buffers)


def sent(message: Message) -> list[bytes]:
    """The payloads that come of one message."""
    type_id, payload = message.type_id, message.payload
    entry = LogEntry(type_id, 0, payload, flags_of(type_id, payload), 0, 0)
    return [bytes(each.payload) for each in read(FlvWebEncoding().entry(entry))]


def read(tags: list[Buffer]) -> list[Message]:
    return FlvReader(max_tag_bytes=0xFFFFFF).feed(encode_header(audio=True, video=True) + joined(tags))


def is_taken(message: Message) -> bool:
    """Whether mpegts.js's demuxer (1.8, flv-demuxer.js) reads it and goes on."""
    payload = message.payload
    if message.type_id == DATA:
        return True
    if message.type_id == VIDEO and payload[0] & 0x80:
        four_cc, packet_type = bytes(payload[1:5]), payload[0] & 15
        return packet_type in (0, 1, 2, 3) and four_cc in (b"hvc1", b"av01")
    if message.type_id == VIDEO:
        return payload[0] & 15 in (7, 12) and payload[1] in (0, 1, 2)
    if payload[0] >> 4 == 9:
        return payload[0] & 15 in (0, 1) and bytes(payload[1:5]) in (b"Opus", b"fLaC")
    return payload[0] >> 4 in (2, 3, 10)


@pytest.mark.parametrize("codec", ["avc1", "hvc1", "av01"])
def test_video_of_real_encoders(codec: str) -> None:
    flv = make_flv(codec)
    made = file_of(messages_of(flv), audio=None)
    assert made[:5] == b"FLV\1\1"
    assert all(map(is_taken, messages_of(made)))
    assert packets_of(made) == packets_of(flv)


@pytest.mark.parametrize("codec", ["mp4a", "Opus", ".mp3", "fLaC"])
def test_audio_of_real_encoders(codec: str) -> None:
    flv = make_flv(None, codec)
    made = file_of(messages_of(flv), video=None)
    assert made[:5] == b"FLV\1\4"
    assert all(map(is_taken, messages_of(made)))
    assert packets_of(made) == packets_of(flv)


@pytest.mark.parametrize(("video", "audio"), [("vp09", None), (None, "ac-3"), (None, "ec-3")])
def test_codecs_that_end_playback_are_left_out(video: str | None, audio: str | None) -> None:
    """And the file's header does not name what does not come."""
    made = file_of(messages_of(make_flv(video, audio)), audio=audio, video=video)
    assert made[:5] == b"FLV\1\0"
    assert [message.type_id for message in messages_of(made)] == [DATA]


def enhanced(first: int, four_cc: str, packet_type: int, body: bytes, layout: str) -> bytes:
    """``first``: 0x90 for a key frame or audio, 0xA0 for an inter frame."""
    name, multitrack = four_cc.encode(), 5 if four_cc in ("mp4a", "Opus", "fLaC", ".mp3") else 6
    size = len(body).to_bytes(3, "big")
    return {
        "plain": bytes((first | packet_type,)) + name + body,
        "ModEx": bytes((first | 7, 2, 0, 0, 1, packet_type)) + name + body,
        "one track": bytes((first | multitrack, packet_type)) + name + b"\0" + body,
        "two tracks": bytes((first | multitrack, 0x10 | packet_type)) + name
        + b"\1" + size + bytes(len(body)) + b"\0" + size + body,
        "two codecs": bytes((first | multitrack, 0x20 | packet_type)) + name + b"\0" + size + body
        + b"ac-3\1\0\0\1\1",
    }[layout]  # fmt: skip


LAYOUTS = ("plain", "ModEx", "one track", "two tracks", "two codecs")
CTS, UNIT = b"\0\0\x21", bytes.fromhex("00000002 4188")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("four_cc", "first", "packet_type", "body", "wanted"),
    [
        ("avc1", 0x90, 0, AVC_HEADER[5:], AVC_HEADER),
        ("avc1", 0x90, 1, CTS + UNIT, b"\x17\1" + CTS + UNIT),
        ("avc1", 0xA0, 1, CTS + UNIT, b"\x27\1" + CTS + UNIT),
        ("avc1", 0xB0, 3, UNIT, b"\x37\1\0\0\0" + UNIT),
        ("avc1", 0xA0, 1, b"\xff\xff\xd8" + UNIT, b"\x27\1\xff\xff\xd8" + UNIT),
        ("hvc1", 0x90, 0, HEVC_RECORD, b"\x90hvc1" + HEVC_RECORD),
        ("hvc1", 0xA0, 3, UNIT, b"\xa1hvc1\0\0\0" + UNIT),
        ("hvc1", 0x90, 1, CTS + UNIT, b"\x91hvc1" + CTS + UNIT),
        ("av01", 0x90, 0, AV1_RECORD, b"\x90av01" + AV1_RECORD),
        ("av01", 0xA0, 1, b"\x32\1\0", b"\xa1av01\x32\1\0"),
        ("av01", 0x80, 1, b"\x0a\1\0", b"\x91av01\x0a\1\0"),  # a key frame by its sequence header alone
        ("mp4a", 0x90, 0, b"\x11\x90", AAC_HEADER),
        ("mp4a", 0x90, 1, AAC[2:], AAC),
        (".mp3", 0x90, 1, b"\xff\xfb\x90\x64", b"\x2f\xff\xfb\x90\x64"),
        ("Opus", 0x90, 0, b"OpusHead" + bytes(11), b"\x90OpusOpusHead" + bytes(11)),
        ("Opus", 0x90, 1, b"\xf8\0", b"\x91Opus\xf8\0"),
        ("fLaC", 0x90, 0, FLAC_HEADER, b"\x90fLaC" + FLAC_HEADER),
    ],
)  # fmt: skip
def test_enhanced(
    four_cc: str, first: int, packet_type: int, body: bytes, wanted: bytes, layout: str
) -> None:
    """Track 0, in the form that most players take."""
    type_id = AUDIO if four_cc in ("mp4a", "Opus", "fLaC", ".mp3") else VIDEO
    assert sent(Message(type_id, 0, enhanced(first, four_cc, packet_type, body, layout))) == [wanted]


@pytest.mark.parametrize(
    ("type_id", "payload", "wanted"),
    [
        (VIDEO, AVC_HEADER, AVC_HEADER),
        (VIDEO, b"\x27" + AVC_HEADER[1:], AVC_HEADER),
        (VIDEO, KEY, KEY),
        (VIDEO, INTER, INTER),
        (VIDEO, b"\x47" + KEY[1:], KEY),
        (VIDEO, b"\x07" + KEY[1:], KEY),
        (VIDEO, b"\x1c\0\0\0\0" + HEVC_RECORD, b"\x90hvc1" + HEVC_RECORD),
        (VIDEO, b"\x2c\1\0\0\x21" + UNIT, b"\xa1hvc1\0\0\x21" + UNIT),
        (VIDEO, b"\x1d\0\0\0\0" + AV1_RECORD, b"\x90av01" + AV1_RECORD),
        (AUDIO, AAC_HEADER, AAC_HEADER),
        (AUDIO, b"\xae\1\x21", b"\xaf\1\x21"),
        (AUDIO, b"\x2f\xff\xfb\x90\x64", b"\x2f\xff\xfb\x90\x64"),
        (AUDIO, b"\x3e\0\1", b"\x3e\0\1"),
        (DATA, b"\x02\0\x0aonTextData\x05", b"\x02\0\x0aonTextData\x05"),
        (DATA, b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x05", b"\x02\0\x0aonMetaData\x05"),
    ],
)
def test_legacy(type_id: int, payload: bytes, wanted: bytes) -> None:
    assert sent(Message(type_id, 0, payload)) == [wanted]


@pytest.mark.parametrize(
    ("type_id", "payload"),
    [
        (VIDEO, "1702000000"),
        (VIDEO, "5701"),
        (VIDEO, "12000084"),
        (VIDEO, "1701000000"),
        (VIDEO, "90 61763031"),
        (VIDEO, "95 61763031 80048100"),
        (VIDEO, "84 68766331 02 0009 636F6C6F72496E666F 06"),
        (VIDEO, "92 68766331"),
        (VIDEO, "96 01 61766331 02 000000 00000001 65"),
        (AUDIO, "92 4F707573"),
        (AUDIO, "90 4F707573"),
        (AUDIO, "90 2E6D7033"),
        (AUDIO, "94 4F707573 01 02 00000003"),
        (AUDIO, "B2 0011"),
        (AUDIO, "7E 0011"),
        (AUDIO, ""),
        (15, "00"),
        (DATA, ""),
        (MessageType.MARK, "00" * 26),
    ],
)  # fmt: skip
def test_what_is_left_out(type_id: int, payload: str) -> None:
    assert sent(Message(type_id, 0, bytes.fromhex(payload))) == []


def test_a_tag_too_large() -> None:
    assert sent(Message(VIDEO, 0, KEY + bytes(0xFFFFFF - len(KEY)))) != []
    assert sent(Message(VIDEO, 0, KEY + bytes(0xFFFFFF - len(KEY) + 1))) == []


# ---- what goes first -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audio", "video", "flags"),
    [
        ("mp4a", "avc1", 5), ("mp4a", None, 4), (None, "hvc1", 1), (None, None, 0),
        ("alaw", "avc1", 1), ("", "avc1", 1), ("Opus", "vp09", 4),
    ],
)  # fmt: skip
def test_the_header_of_the_file(audio: str | None, video: str | None, flags: int) -> None:
    """Of codecs that are left out it says nothing."""
    (header,) = FlvWebEncoding().begin([], audio=audio, video=video)
    assert header == b"FLV\1" + bytes((flags, 0, 0, 0, 9, 0, 0, 0, 0))


def test_metadata_names_no_medium_that_does_not_come() -> None:
    """mpegts.js goes by it rather than by the file's header, and waits."""
    members: dict[str, Any] = {
        "hasVideo": True,
        "hasAudio": True,
        "width": 640.0,
        "audiocodecid": 10.0,
        "title": "x",
    }
    metadata = LogEntry(DATA, 0, encode_metadata(members), 4 | 64, 0, 0)
    encoding = FlvWebEncoding()
    for media, left in (
        (("mp4a", "avc1"), members),
        ((None, "avc1"), {"hasVideo": True, "width": 640.0, "title": "x"}),
        (("mp4a", None), {"hasAudio": True, "audiocodecid": 10.0, "title": "x"}),
        ((None, "avc1"), {"hasVideo": True, "width": 640.0, "title": "x"}),
    ):
        encoding.begin([metadata], audio=media[0], video=media[1])
        for _ in range(2):
            (message,) = FlvReader().feed(
                b"FLV\1\5\0\0\0\x09\0\0\0\0" + joined(encoding.headers([metadata]))
            )
            assert read_metadata(DATA, message.payload) == left


def metadata_of_bytes(size: int) -> bytes:
    members: dict[str, Any] = {"hasAudio": True, "x": ""}
    members["x"] = "x" * (size - len(encode_metadata(members)))
    return encode_metadata(members)


@pytest.mark.parametrize(
    ("payload", "passes"),
    [
        (b"\x02\0\x0aonMetaData\x08\0\0\0\1\0\1a\0\1", True),  # cut in a number
        (metadata_of_bytes(READ_METADATA_BYTES), False),
        (metadata_of_bytes(READ_METADATA_BYTES + 1), True),
    ],
    ids=["cut", "long", "too long"],
)
def test_metadata_that_is_not_read_passes(payload: bytes, passes: bool) -> None:
    metadata = LogEntry(DATA, 0, payload, 4 | 64, 0, 0)
    encoding = FlvWebEncoding()
    encoding.begin([metadata], audio=None, video="avc1")
    assert (payload in joined(encoding.headers([metadata]))) is passes


def test_headers_in_front_of_a_joiner() -> None:
    log = StreamLog()
    for message in (
        Message(DATA, 0, encode_metadata({"width": 640.0})), Message(VIDEO, 0, AVC_HEADER),
        Message(AUDIO, 0, AAC_HEADER), Message(VIDEO, 0, b"\x84hvc1\x02\0\1a\x06"),
        Message(VIDEO, 7000, KEY),
    ):  # fmt: skip
        log.append(message)
    encoding = FlvWebEncoding()
    start = log.start_of_join()
    frames = [buffer for entry in log.read(start, log.next_seq) for buffer in encoding.entry(entry)]
    begins = encoding.begin(log.headers(), audio="mp4a", video="avc1")
    made = joined(begins + encoding.headers(log.headers_for(start)) + frames)
    assert [(m.type_id, m.timestamp) for m in messages_of(made)] == [
        (DATA, 0),
        (VIDEO, 0),
        (AUDIO, 0),
        (VIDEO, 0),
    ]


# ---- times, and sharing --------------------------------------------------------------------------


def test_times_count_from_the_first_frame() -> None:
    """Also where mpegts.js would read a negative one; what is earlier stands at the beginning."""
    late = (1 << 31) - 20
    stamps = [late, late + 40, late - 500, late + 3_600_000, late + (1 << 31) - 1, late + (1 << 31)]
    encoding = FlvWebEncoding()
    entries = [
        LogEntry(VIDEO, 5, AVC_HEADER, 17, 0, 0),
        *(LogEntry(VIDEO, ms, KEY, 9, 0, 0) for ms in stamps),
    ]
    made = [buffer for entry in entries for buffer in encoding.entry(entry)]
    assert [message.timestamp for message in read(made)] == [0, 0, 40, 0, 3_600_000, (1 << 31) - 1, 0]


def test_bytes_are_made_once_and_payloads_not_copied() -> None:
    entry = LogEntry(VIDEO, 0, KEY, 9, 0, 0)
    encoding, other = FlvWebEncoding(), FlvWebEncoding()
    buffers = encoding.entry(entry)
    assert encoding.is_shared
    assert encoding.entry(entry) is buffers
    assert other.entry(entry) is not buffers
    assert entry.encoded == {encoding: buffers, other: other.entry(entry)}
    body = buffers[2]
    assert isinstance(body, memoryview)
    assert body.obj is KEY


# ---- anything ------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [pytest.param(e, id=e.name) for e in (*EXAMPLES, *MALFORMED)])
def test_whatever_comes_mpegts_js_takes_what_goes(example: Example) -> None:
    for cut in range(len(example.payload) + 1):
        for payload in sent(Message(example.type_id, 0, example.payload[:cut])):
            assert is_taken(Message(example.type_id, 0, payload))


@given(st.sampled_from((AUDIO, VIDEO, DATA, 15, 254)), st.binary(max_size=40))
def test_no_bytes_raise(type_id: int, payload: bytes) -> None:
    for made in sent(Message(type_id, 0, payload)):
        assert is_taken(Message(type_id, 0, made))
