"""A stream log as fragmented MP4 without end: real encoders' streams, and streams that change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import Mark, encode_mark
from cluster.core.media.metadata import READ_METADATA_BYTES, encode_metadata
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Buffer, Message, MessageType
from cluster.edge.http.mp4_encoding import START_MS, Mp4Encoding
from support.media_clips import make_flv, messages_of, packets_of
from support.media_examples import EXAMPLES, MALFORMED

AUDIO, VIDEO, DATA, MARK = 8, 9, 18, int(MessageType.MARK)
AVC_HEADER = bytes.fromhex("1700000000 0164000b ffe1 0000")
OTHER_AVC_HEADER = bytes.fromhex("1700000000 0142001e ffe1 0000")
AAC_HEADER = bytes.fromhex("af001190")
OTHER_AAC_HEADER = bytes.fromhex("af001210")
KEY = bytes.fromhex("1701000000 00000002 6588")
INTER = bytes.fromhex("2701000000 00000002 4188")
AAC = bytes.fromhex("af01 21100456")
MP3 = bytes.fromhex("2f fffb9064") + bytes(60)
HALF_MS = 0.0006


@pytest.fixture(scope="module")
def clip() -> bytes:
    return make_flv("avc1", "mp4a")


class Stream:
    """A log, one encoding of it, and what a player of it gets that is there from the beginning."""

    def __init__(self, *messages: Message, audio: str | None = None) -> None:
        self.audio = audio  # what is known to come of it
        self.log = StreamLog()
        self.encoding = Mp4Encoding()
        self.feed(*messages)

    def feed(self, *messages: Message) -> None:
        for message in messages:
            self.log.append(message)

    def join(self) -> bytes:
        """The bytes of a player that joins now, in the order in which a reader makes them."""
        start = self.log.start_of_join()
        encoding = self.encoding
        begins = encoding.begin(self.log.headers(), audio=self.audio, video=None)
        entries = self.encode(start)
        self.seq = self.log.next_seq
        return joined(begins, encoding.greeting(), encoding.headers(self.log.headers_for(start)), entries)

    def more(self, *messages: Message) -> bytes:
        """What comes with these for a player that has had everything before."""
        self.feed(*messages)
        start, self.seq = self.seq, self.log.next_seq
        return joined(self.encode(start))

    def encode(self, start: int) -> list[Buffer]:
        entries = self.log.read(start, self.log.next_seq)
        return [buffer for entry in entries for buffer in self.encoding.entry(entry)]


def joined(*lists: list[Buffer]) -> bytes:
    return b"".join(buffer for buffers in lists for buffer in buffers)


def boxes(data: bytes) -> list[str]:
    """The names of the outermost boxes."""
    names = []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert 8 <= size <= len(data)
        names.append(data[4:8].decode())
        data = data[size:]
    return names


def video(ms: int, payload: bytes = INTER) -> Message:
    return Message(VIDEO, ms, payload)


def audio(ms: int, payload: bytes = AAC) -> Message:
    return Message(AUDIO, ms, payload)


INIT, FRAGMENT = ["ftyp", "moov"], ["moof", "mdat"]


def test_a_clip(clip: bytes) -> None:
    """The packets of the source; audio counted in samples, to the sample."""
    made = Stream(*messages_of(clip)).join()
    # It was joined at its second keyframe, after one second.
    source, packets = packets_of(clip), packets_of(made, "mp4")
    start = source["video"][25].dts
    for kind in ("video", "audio"):
        wanted = [packet for packet in source[kind] if packet.dts >= start]
        assert [packet.data for packet in packets[kind]] == [packet.data for packet in wanted]
        assert [packet.is_key for packet in packets[kind]] == [packet.is_key for packet in wanted]
        shift = START_MS / 1000 - float(start)
        for before, after in zip(wanted, packets[kind], strict=True):
            tolerance = HALF_MS if kind == "video" else 2 * HALF_MS
            assert abs(float(before.dts) + shift - after.dts) < tolerance
            assert abs(float(before.pts) + shift - after.pts) < tolerance
    steps = {b.dts - a.dts for a, b in zip(packets["audio"], packets["audio"][1:], strict=False)}
    assert [step * 44100 for step in steps] == [1024]


def test_it_has_what_a_player_asks_first(clip: bytes) -> None:
    stream = Stream(*messages_of(clip))
    data = stream.join()
    assert boxes(data)[:4] == INIT + FRAGMENT
    assert set(boxes(data)[2:]) == set(FRAGMENT)
    assert stream.encoding.is_shared


def test_bytes_are_made_once(clip: bytes) -> None:
    stream = Stream(*messages_of(clip))
    first = stream.join()
    assert stream.join() == first
    (entry,) = stream.log.read(stream.seq - 1, stream.seq)
    assert stream.encoding.entry(entry) is stream.encoding.entry(entry)
    assert entry.encoded == {stream.encoding: stream.encoding.entry(entry)}
    other = Mp4Encoding()
    assert other.entry(entry) is not stream.encoding.entry(entry)


def test_video_alone() -> None:
    stream = Stream(video(0, AVC_HEADER), video(0, KEY))
    made = stream.join()
    assert boxes(made) == INIT + FRAGMENT
    assert list(packets_of(made, "mp4")) == ["video"]
    assert boxes(stream.more(video(40), video(80))) == FRAGMENT * 2


def test_audio_alone() -> None:
    stream = Stream(audio(0, AAC_HEADER))
    assert boxes(stream.join()) == INIT
    made = stream.more(audio(0), audio(21), audio(43))
    assert boxes(made) == FRAGMENT * 3
    assert list(packets_of(stream.join() + made, "mp4")) == ["audio"]


def test_audio_that_begins_later() -> None:
    """A new init segment says so, before the next frame."""
    stream = Stream(video(0, AVC_HEADER), video(0, KEY))
    stream.join()
    assert boxes(stream.more(video(40), audio(60, AAC_HEADER))) == FRAGMENT
    made = stream.more(audio(60), audio(81))
    assert boxes(made) == INIT + FRAGMENT * 2
    assert list(packets_of(made, "mp4")) == ["video", "audio"]
    assert boxes(stream.join()) == INIT + FRAGMENT * 2 + INIT + FRAGMENT * 2


def test_headers_that_come_with_the_first_frames() -> None:
    """A player that waited for the publisher has no headers sent in front."""
    stream = Stream()
    assert stream.join() == b""
    made = stream.more(
        Message(DATA, 0, encode_metadata({"framerate": 25.0})), video(0, AVC_HEADER), audio(0, AAC_HEADER),
        video(0, KEY), audio(0),
    )  # fmt: skip
    assert boxes(made) == INIT + FRAGMENT * 2
    assert {kind: len(packets) for kind, packets in packets_of(made, "mp4").items()} == {
        "video": 1,
        "audio": 1,
    }


def test_metadata_too_long_to_be_read() -> None:
    """The keyframe index of a recording: what it says of the frame rate is seen anyway."""
    for more, duration in ((0, 2250), (1, 3600)):
        members: dict[str, Any] = {"framerate": 40.0, "x": ""}
        members["x"] = "x" * (READ_METADATA_BYTES - len(encode_metadata(members)) + more)
        stream = Stream(Message(DATA, 0, encode_metadata(members)), video(0, AVC_HEADER), video(0, KEY))
        assert durations(stream.join()) == [duration]


def test_headers_are_read_once() -> None:
    """For all players that join with the same ones."""
    metadata = Message(DATA, 0, encode_metadata({"width": 640.0, "height": 360.0}))
    stream = Stream(metadata, video(0, b"\x90av01\x81\x08\x0c\0"), video(0, b"\x91av01\x0a\1\0"))
    made = stream.join()
    with mock.patch("cluster.edge.http.mp4_encoding.tracks_of") as tracks_of:
        assert stream.join() == made
        assert not tracks_of.called
    other = stream.more(Message(DATA, 40, encode_metadata({"width": 320.0, "height": 180.0})))
    assert other == b""
    assert (320).to_bytes(2, "big") + (180).to_bytes(2, "big") in stream.join()


def test_a_header_that_comes_again_is_not_sent_again() -> None:
    """To a browser it would mean that the next frame is a keyframe."""
    stream = Stream(video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY))
    stream.join()
    stream.more(video(0, AVC_HEADER), audio(0, AAC_HEADER), audio(0))
    assert (
        boxes(stream.more(audio(21, AAC_HEADER), audio(21), video(40, AVC_HEADER), video(40)))
        == FRAGMENT * 2
    )


@pytest.mark.parametrize(
    ("header", "frame", "configuration"),
    [
        (video(100, OTHER_AVC_HEADER), video(100, KEY), b"avcC" + OTHER_AVC_HEADER[5:]),
        (audio(100, OTHER_AAC_HEADER), audio(100), b"\x05\x80\x80\x80\x02" + OTHER_AAC_HEADER[2:]),
    ],
)
def test_a_codec_that_changes(header: Message, frame: Message, configuration: bytes) -> None:
    stream = Stream(video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY), audio(0))
    stream.join()
    assert boxes(stream.more(video(40), header)) == FRAGMENT
    made = stream.more(frame)
    assert boxes(made) == INIT + FRAGMENT
    assert packets_of(made, "mp4")[{VIDEO: "video", AUDIO: "audio"}[frame.type_id]][0].data
    assert configuration in made


def test_a_change_since_the_keyframe_that_the_first_player_joins_at() -> None:
    stream = Stream(
        video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY), audio(20, OTHER_AAC_HEADER), audio(20),
    )  # fmt: skip
    made = stream.join()
    assert boxes(made) == INIT + FRAGMENT + INIT + FRAGMENT
    assert packets_of(made[made.rindex(b"ftyp") - 4 :], "mp4")["audio"][0].data == AAC[2:]


def test_another_publisher_without_audio() -> None:
    stream = Stream(video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY), audio(0))
    stream.join()
    stream.log.restart(100)
    stream.more(video(0, AVC_HEADER), video(0, KEY))
    made = stream.join()
    assert list(packets_of(made, "mp4")) == ["video"]
    assert boxes(stream.more(audio(40, AAC_HEADER), audio(40))) == INIT + FRAGMENT


def test_audio_that_stops_is_not_announced_any_more() -> None:
    """Browsers wait for what is announced. The origin says at a segment's beginning that audio has gone."""
    stream = Stream(video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY), audio(0))
    stream.join()
    silent = encode_mark(Mark(7, 1, 0, True, False, has_audio=False))
    made = stream.more(Message(MARK, 0, silent), video(9000, KEY), Message(MARK, 0, silent), video(9040))
    assert boxes(made) == INIT + FRAGMENT * 2
    assert (made.count(b"vide"), made.count(b"soun")) == (1, 0)
    made = stream.more(audio(9100, AAC_HEADER), audio(9100))
    assert boxes(made) == INIT + FRAGMENT
    assert (made.count(b"vide"), made.count(b"soun")) == (1, 1)


@pytest.mark.parametrize("payload", [b"", b"\x02" + bytes(21)])
def test_a_mark_of_another_version_changes_nothing(payload: bytes) -> None:
    stream = Stream(video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY), audio(0))
    stream.join()
    assert boxes(stream.more(Message(MARK, 0, payload), video(40))) == FRAGMENT


def test_a_codec_without_header() -> None:
    """MP3's first frame tells, as early as the first player's init segment, and later ones' too."""
    stream = Stream(video(0, AVC_HEADER), video(0, KEY), audio(0, MP3), audio=".mp3")
    for _ in range(2):
        made = stream.join()
        assert boxes(made) == INIT + FRAGMENT * 2
        assert packets_of(made, "mp4")["audio"][0].data == MP3[1:]
    assert boxes(stream.more(audio(26, MP3), audio(52, MP3))) == FRAGMENT * 2
    other = MP3[:3] + b"\x94" + MP3[4:]
    mono = bytes.fromhex("2f fffb94c4") + bytes(60)
    assert other != mono
    assert boxes(stream.more(audio(78, mono), audio(102, mono))) == INIT + FRAGMENT * 2


def test_a_codec_without_header_alone() -> None:
    """Every player is told of it, whether there is a header of something else or none."""
    for others in ([], [Message(DATA, 0, encode_metadata({"width": 1.0}))]):
        stream = Stream(*others, audio(0, MP3), audio=".mp3")
        stream.join()
        assert boxes(stream.more(audio(26, MP3))) == INIT + FRAGMENT
        assert boxes(stream.join() + stream.more(audio(52, MP3))) == INIT + FRAGMENT


def test_another_publisher_without_the_codec_without_header() -> None:
    stream = Stream(video(0, AVC_HEADER), video(0, KEY), audio(0, MP3), audio=".mp3")
    assert stream.join().count(b"trak") == 2
    stream.log.restart(0)
    stream.feed(video(0, AVC_HEADER), video(0, KEY))
    stream.audio = None
    assert stream.join().count(b"trak") == 1


def test_a_codec_without_header_that_begins_later() -> None:
    stream = Stream(video(0, AVC_HEADER), video(0, KEY))
    stream.join()
    assert boxes(stream.more(audio(20, MP3), audio(46, MP3))) == INIT + FRAGMENT * 2


def test_what_is_left_out() -> None:
    stream = Stream(video(0, AVC_HEADER), audio(0, AAC_HEADER), video(0, KEY))
    stream.join()
    left_out = [
        Message(VIDEO, 20, bytes.fromhex("1702000000")),  # an end of sequence
        Message(VIDEO, 20, bytes.fromhex("12000084")),  # H.263
        Message(AUDIO, 20, bytes.fromhex("B20011")),  # Speex
        Message(AUDIO, 20, b""),
        Message(AUDIO, 20, bytes.fromhex("9561 6D703461 01 2110")),  # another track
        Message(AUDIO, 20, bytes.fromhex("914F707573F8")),  # Opus without its header
        Message(AUDIO, 20, bytes.fromhex("2F00112233")),  # no MP3
        Message(DATA, 20, b"\x02\0\x0aonTextData\x05"),
        Message(MessageType.MARK, 20, bytes(26)),
    ]
    assert stream.more(*left_out) == b""
    assert boxes(stream.more(video(40))) == FRAGMENT


# ---- times ---------------------------------------------------------------------------------------


def times(stream: Stream, kind: str, scale: int, *messages: Message) -> list[tuple[int, int]]:
    """Decoding and presentation time of what comes with ``messages``, in the track's timescale."""
    made = stream.join() + stream.more(*messages)
    return [(int(packet.dts * scale), int(packet.pts * scale)) for packet in packets_of(made, "mp4")[kind]]


def test_times_count_from_the_first_frame() -> None:
    """However late the stream is, and also for what is a little earlier."""
    late = 1 << 31
    stream = Stream(video(late, AVC_HEADER), audio(late, AAC_HEADER), video(late, KEY))
    began = times(stream, "video", 90_000)
    assert began == [(90 * START_MS, 90 * START_MS)]
    (early,) = times(stream, "audio", 48_000, audio(late - 300))
    assert early[0] == 48 * (START_MS - 300)


def test_no_time_is_negative() -> None:
    """The frame of one medium may be stamped long before the other's."""
    stream = Stream(video(5000, AVC_HEADER), audio(5000, AAC_HEADER), video(5000, KEY))
    early = LogEntry(AUDIO, -3_000_000, AAC, 2, 0, 0)
    stream.join()
    assert b"tfdt\1\0\0\0" + bytes(8) in joined(stream.encoding.entry(early))


def test_a_composition_time_before_the_first_frame() -> None:
    payload = bytes.fromhex("1701 FFFFD8 00000002 6588")
    stream = Stream(video(0, AVC_HEADER), video(0, payload))
    assert (-3600).to_bytes(4, "big", signed=True) in stream.join()


def durations(data: bytes) -> list[int]:
    """Of the only sample of each fragment."""
    return [int.from_bytes(part[12:16], "big") for part in data.split(b"trun")[1:]]


@pytest.mark.parametrize(
    ("rate", "stamps", "wanted"),
    [
        (None, [0, 40, 80], [3600, 3600, 3600]),
        (None, [0, 33, 67, 100], [3600, 2970, 3060, 2970]),
        (30.0, [0, 33, 67, 100], [3000, 3000, 3000, 3000]),
        (30.0, [0, 100, 200], [3000, 9000, 9000]),
        (1000.0, [0, 20, 40], [3600, 1800, 1800]),
        (0.0, [0, 20], [3600, 1800]),
        (50.0, [0, 20, 20, 5000], [1800, 1800, 1800, 1800]),
    ],
)
def test_how_long_a_frame_is_shown(rate: float | None, stamps: list[int], wanted: list[int]) -> None:
    members = {} if rate is None else {"framerate": rate}
    stream = Stream(Message(DATA, 0, encode_metadata(members)), video(0, AVC_HEADER), video(stamps[0], KEY))
    assert durations(stream.join() + stream.more(*map(video, stamps[1:]))) == wanted


def test_audio_is_counted_as_long_as_its_stamps_agree() -> None:
    stream = Stream(audio(0, AAC_HEADER))
    stream.join()
    frame = 1024
    stamps = [0, 21, 43, 64, 70, 70, 128, 149]
    made = stream.join() + stream.more(*map(audio, stamps))
    found = [int(packet.dts * 48_000) - 48 * START_MS for packet in packets_of(made, "mp4")["audio"]]
    assert found == [frame * index for index in range(8)]
    assert durations(made) == [frame] * 8
    made = stream.join() + stream.more(audio(400), audio(421))
    found = [int(packet.dts * 48_000) - 48 * START_MS for packet in packets_of(made, "mp4")["audio"]]
    assert found[-2:] == [48 * 400, 48 * 400 + frame]


def test_audio_whose_stamps_fall_behind_never_goes_back() -> None:
    """Stamped by a clock that is 4 % slower than that of the sound."""
    stream = Stream(audio(0, AAC_HEADER))
    stream.join()
    stamps = [int(index * 1024 / 50) for index in range(600)]
    made = stream.join() + stream.more(*map(audio, stamps))
    found = [int(packet.dts * 48_000) - 48 * START_MS for packet in packets_of(made, "mp4")["audio"]]
    assert all(after > before for before, after in pairwise(found))
    assert max(abs(at - 48 * stamp) for at, stamp in zip(found, stamps, strict=True)) <= 48 * 125
    steps = [after - before for before, after in pairwise(found)]
    assert set(steps) == {1024, 1}
    assert 15 < steps.count(1) < 25


def test_audio_whose_frames_tell_nothing() -> None:
    """An AAC object type of which no frame size is known here."""
    stream = Stream(audio(0, bytes.fromhex("af00 f94090")), audio(0))
    assert durations(stream.join() + stream.more(audio(20))) == [1024]


# ---- anything ------------------------------------------------------------------------------------

KNOWN = [
    video(0, AVC_HEADER), video(0, OTHER_AVC_HEADER), audio(0, AAC_HEADER), audio(0, OTHER_AAC_HEADER),
    video(0, KEY), video(0), audio(0), audio(0, MP3),
    *(Message(example.type_id, 0, example.payload) for example in (*EXAMPLES, *MALFORMED)),
]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(KNOWN), st.integers(-5000, 5000)), max_size=30), st.integers(0, 30)
)
def test_whatever_comes_boxes_go(messages: list[tuple[Message, int]], joined_after: int) -> None:
    """And none before an init segment."""
    stream = Stream()
    made, ms = b"", 10_000
    for index, (message, step_ms) in enumerate(messages):
        ms = max(0, ms + step_ms)
        if index == joined_after:
            made += stream.join()
        stream.feed(message._replace(timestamp=ms))
        if index >= joined_after:
            made += stream.more()
    names = boxes(made)
    assert set(names) <= {*INIT, *FRAGMENT}
    assert names[:2] in ([], INIT)
