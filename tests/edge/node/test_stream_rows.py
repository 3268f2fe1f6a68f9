"""What a worker tells of its streams: as they are now, though their headers are read once."""

from __future__ import annotations

import pytest

from cluster.core.amf import amf0
from cluster.core.bus import questions
from cluster.core.bus.questions import StreamRow, TrackRow, decode_tracks
from cluster.core.message import Message, MessageType
from cluster.edge.node import tracks
from cluster.edge.node.stream_rows import StreamRows
from cluster.edge.rtmp.encoding import encoding_for
from cluster.edge.streams.streams import Streams
from support.house import AAC_HEADER, AVC_HEADER, KEY, SteppedLoop, video
from support.streams import FakePublisher, FakeSink

NAME = "live/a"
HEVC_HEADER = bytes.fromhex("90 68766331 0101")
MP3_FRAME = bytes.fromhex("2f fffb9064") + bytes(413)


@pytest.fixture
def rows(streams: Streams) -> StreamRows:
    return StreamRows(streams)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages that tracks have been read of."""
    found: list[bytes] = []
    describe = tracks.describe

    def noted(type_id: int, payload: bytes) -> object:
        found.append(bytes(payload))
        return describe(type_id, payload)

    monkeypatch.setattr(tracks, "describe", noted)
    return found


def published(
    loop: SteppedLoop, streams: Streams, *messages: Message, number: int = 7
) -> FakePublisher:
    publisher = FakePublisher("10.0.0.7:50312")
    publisher.facts = {"id": f"0a-0.1-{number}", "peer": publisher.name, "agent": "FMLE"}
    loop.run_until_complete(streams.publishing.request(NAME, publisher))
    send(publisher, *messages)
    return publisher


def send(publisher: FakePublisher, *messages: Message) -> None:
    for message in messages:
        publisher.feed.append(message)


def headers() -> tuple[Message, ...]:
    return Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)


def frames(first_ms: int, step_ms: int, count: int = 20) -> list[Message]:
    return [video(first_ms, KEY), *(video(first_ms + step_ms * number) for number in range(1, count))]


def row_of(rows: StreamRows) -> StreamRow:
    row = rows.row(NAME)
    assert row is not None
    return row


def tracks_of(rows: StreamRows) -> tuple[TrackRow, ...]:
    return decode_tracks(row_of(rows).tracks)


def codecs(rows: StreamRows) -> list[tuple[str, str]]:
    return [(track.kind, track.codec) for track in tracks_of(rows)]


def test_what_a_row_says(loop: SteppedLoop, streams: Streams, rows: StreamRows) -> None:
    assert rows.row(NAME) is None
    published(loop, streams, *headers(), *frames(0, 40))
    row = row_of(rows)
    assert (row.key, row.epoch, row.is_origin, row.session) == (NAME, 1, True, 7)
    assert (row.peer, row.agent, row.fps, row.players) == ("10.0.0.7:50312", "FMLE", 25.0, {})
    assert row.received_bytes == streams.by_key[NAME].log.bytes_appended > 0
    assert codecs(rows) == [("video", "avc1"), ("audio", "mp4a")]
    assert tracks_of(rows)[1].sample_rate == 48_000


def test_headers_are_read_once(
    loop: SteppedLoop, streams: Streams, rows: StreamRows, read: list[bytes]
) -> None:
    publisher = published(loop, streams, *headers(), *frames(0, 40))
    for number in range(1, 5):
        assert codecs(rows) == [("video", "avc1"), ("audio", "mp4a")]
        send(publisher, *headers(), *frames(800 * number, 40, tracks._LOOK_EVERY))
    assert read == [AVC_HEADER, AAC_HEADER]


def test_headers_that_change_are_read_again(loop: SteppedLoop, streams: Streams, rows: StreamRows) -> None:
    publisher = published(loop, streams, *headers())
    assert codecs(rows) == [("video", "avc1"), ("audio", "mp4a")]
    send(publisher, Message(9, 0, HEVC_HEADER, 1))
    assert codecs(rows) == [("video", "hvc1"), ("audio", "mp4a")]
    assert row_of(rows).fps == 0.0
    values = {"framerate": 29.97}
    metadata = amf0.encode("onMetaData") + amf0.encode(values)
    send(publisher, Message(MessageType.DATA_AMF0, 0, metadata, 1))
    assert row_of(rows).fps == 29.97


def test_another_publisher_has_other_tracks(loop: SteppedLoop, streams: Streams, rows: StreamRows) -> None:
    first = published(loop, streams, *headers(), *frames(0, 40))
    assert (row_of(rows).session, row_of(rows).fps) == (7, 25.0)
    first.feed.end()
    row = row_of(rows)
    assert (row.is_origin, row.session, row.tracks, row.fps) == (False, 0, "", 0.0)
    published(loop, streams, Message(9, 0, HEVC_HEADER, 1), Message(8, 0, MP3_FRAME, 1), number=9)
    assert row_of(rows).session == 9
    assert codecs(rows) == [("video", "hvc1"), ("audio", ".mp3")]


def test_a_rate_is_that_of_the_publisher_of_now(
    loop: SteppedLoop, streams: Streams, rows: StreamRows
) -> None:
    """The log still has what the one before has sent: its players have not been sent all of it."""
    streams.play(NAME, FakeSink(), encoding_for(1))
    first = published(loop, streams, *headers(), *frames(0, 40))
    assert row_of(rows).fps == 25.0
    first.feed.end()
    second = published(loop, streams, *headers(), *frames(0, 20, 8), number=9)
    assert row_of(rows).fps == 0.0  # too few
    send(second, video(160))
    assert row_of(rows).fps == 50.0


def test_frames_are_looked_at_now_and_then(
    loop: SteppedLoop, streams: Streams, rows: StreamRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "_LOOK_EVERY", 300)
    streams.play(NAME, FakeSink(), encoding_for(1))  # so that the log keeps them
    publisher = published(loop, streams, *headers(), *frames(0, 40, 8))
    assert row_of(rows).fps == 0.0  # too few, so they are looked at each time
    send(publisher, video(320))
    assert row_of(rows).fps == 25.0
    send(publisher, *(video(320 + 20 * number) for number in range(1, 300)))
    assert row_of(rows).fps == 25.0
    send(publisher, video(320 + 20 * 300))
    assert row_of(rows).fps == 50.0


def test_a_medium_without_a_header_is_told_by_its_frames(
    loop: SteppedLoop, streams: Streams, rows: StreamRows
) -> None:
    publisher = published(loop, streams)
    assert tracks_of(rows) == ()
    send(publisher, Message(8, 0, MP3_FRAME, 1))
    assert tracks_of(rows) == (
        TrackRow(0, "audio", ".mp3", "mp4a.40.34", sample_rate=44_100, channels=2),
    )


def test_no_more_tracks_are_told_of_than_may_be(
    loop: SteppedLoop, streams: Streams, rows: StreamRows
) -> None:
    publisher = published(loop, streams)
    for number in range(questions.MAX_TRACKS + 1):
        header = bytes.fromhex("96 00 68766331") + bytes([number]) + b"\x01\x01"
        send(publisher, Message(9, 0, header, 1))
        wanted = list(range(number + 1))[: questions.MAX_TRACKS]
        assert [track.number for track in tracks_of(rows)] == wanted


def test_what_was_read_is_given_back_with_the_stream(
    loop: SteppedLoop, streams: Streams, rows: StreamRows
) -> None:
    publisher = published(loop, streams, *headers())
    rows.row(NAME)
    assert len(rows._origins) == 1
    send(publisher, Message(9, 0, HEVC_HEADER, 1))
    rows.row(NAME)
    assert len(rows._origins) == 1
    publisher.feed.end()
    assert len(rows._origins) == 0


def test_a_stream_from_elsewhere_is_told_of_without_tracks(streams: Streams, rows: StreamRows) -> None:
    streams.play(NAME, FakeSink(), encoding_for(1))
    stream = streams.by_key[NAME]
    stream.begin(5, is_local=False)
    for message in (*headers(), *frames(0, 40)):
        stream.append(message)
    row = row_of(rows)
    assert (row.epoch, row.is_origin, row.tracks, row.players) == (5, False, "", {"rtmp": 1})
    assert row.received_bytes == stream.log.bytes_appended
    assert len(rows._origins) == 0
