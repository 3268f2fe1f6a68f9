"""Where the messages of a recording stand: from 0 on, however far apart its media are stamped."""

from __future__ import annotations

import pytest

from cluster.core.amf import amf0
from cluster.core.media.file_clock import MAX_HELD_MESSAGES, MAX_HELD_MS, FileClock
from cluster.core.message import Message, MessageType

SEQUENCE_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f"
AUDIO_HEADER = bytes.fromhex("af001190")


def key_frame(number: int = 0) -> bytes:
    return bytes.fromhex("1701000000") + number.to_bytes(4, "big")


def inter_frame(number: int = 0) -> bytes:
    return bytes.fromhex("2701000000") + number.to_bytes(4, "big")


def audio_frame(number: int = 0) -> bytes:
    return bytes.fromhex("af01") + number.to_bytes(4, "big")


VIDEO, AUDIO, DATA = MessageType.VIDEO, MessageType.AUDIO, MessageType.DATA_AMF0
CUE = amf0.encode("onCue", 1)
HEADERS = [Message(VIDEO, 0, SEQUENCE_HEADER), Message(AUDIO, 0, AUDIO_HEADER)]


def placed_by(clock: FileClock, *messages: Message) -> list[tuple[int, int]]:
    """Type and place of what comes out, in order."""
    return [(p.message.type_id, p.message.timestamp) for m in messages for p in clock.feed(m)]


@pytest.mark.parametrize("skew_ms", [0, 500, 1500, 60_000, -500, -1500, -60_000])
@pytest.mark.parametrize("first", [VIDEO, AUDIO])
def test_the_earliest_medium_begins_at_zero_whichever_comes_first(skew_ms: int, first: int) -> None:
    media = [
        message
        for at in range(100_000, 104_000, 40)
        for message in (Message(VIDEO, at, key_frame(at)), Message(AUDIO, at + skew_ms, audio_frame(at)))
    ]
    media = media if first == VIDEO else media[1:]
    clock = FileClock()
    placed = placed_by(clock, *HEADERS, *media)
    base = min(media[0].timestamp, media[1].timestamp)
    assert placed == [(VIDEO, 0), (AUDIO, 0)] + [(m.type_id, m.timestamp - base) for m in media]


def test_progress_is_media_time_whatever_the_skew() -> None:
    clock = FileClock()
    media = [Message(VIDEO, 0, key_frame(0)), Message(AUDIO, 60_000, audio_frame(0)),
             Message(VIDEO, 40, inter_frame(1)), Message(AUDIO, 60_040, audio_frame(1))]  # fmt: skip
    assert [p.progress_ms for m in HEADERS + media for p in clock.feed(m)] == [0, 0, 0, 0, 40, 40]


def test_a_medium_that_may_come_is_waited_for_within_the_bounds() -> None:
    clock = FileClock()
    assert placed_by(clock, *HEADERS, Message(VIDEO, 5000, key_frame(1))) == []
    assert placed_by(clock, Message(VIDEO, 5000 + MAX_HELD_MS - 1, inter_frame(2))) == []
    one_more = Message(VIDEO, 5000 + MAX_HELD_MS, inter_frame(3))
    assert [at for _, at in placed_by(clock, one_more)] == [0, 0, 0, MAX_HELD_MS - 1, MAX_HELD_MS]
    clock = FileClock()
    held = HEADERS + [Message(VIDEO, 5, inter_frame(n)) for n in range(MAX_HELD_MESSAGES - 3)]
    assert placed_by(clock, *held) == []
    assert len(placed_by(clock, Message(VIDEO, 5, inter_frame(0)))) == MAX_HELD_MESSAGES


def test_many_messages_before_the_first_frame_do_not_move_it() -> None:
    clock = FileClock()
    cues = [Message(DATA, 3_600_000, CUE)] * (MAX_HELD_MESSAGES + 5)
    assert placed_by(clock, *cues) == [(DATA, 0)] * MAX_HELD_MESSAGES
    media = [Message(VIDEO, 3_600_000, key_frame(1)), Message(AUDIO, 3_600_010, audio_frame(1))]
    assert placed_by(clock, *media) == [(DATA, 0)] * 5 + [(VIDEO, 0), (AUDIO, 10)]


def test_a_medium_whose_header_comes_late_is_waited_for() -> None:
    clock = FileClock()
    audio = [Message(AUDIO, 60_000, AUDIO_HEADER), Message(AUDIO, 60_000, audio_frame(1))]
    video = [Message(VIDEO, 20, SEQUENCE_HEADER), Message(VIDEO, 20, key_frame(1))]
    assert [at for _, at in placed_by(clock, *audio, *video)] == [0, 59_980, 0, 0]


def test_a_stream_that_ends_early_is_not_lost() -> None:
    clock = FileClock()
    assert placed_by(clock, *HEADERS, Message(VIDEO, 5000, key_frame(1))) == []
    assert [p.message.timestamp for p in clock.flush()] == [0, 0, 0]
    assert clock.flush() == []
    empty = FileClock()
    placed_by(empty, *HEADERS)
    assert [p.message.timestamp for p in empty.flush()] == [0, 0]


def test_data_follows_the_media_around_it() -> None:
    clock = FileClock()
    messages = [
        Message(DATA, 12345, CUE),
        Message(VIDEO, 90_000, key_frame()), Message(VIDEO, 91_000, inter_frame()),
        Message(DATA, 90_900, CUE), Message(DATA, 91_500, CUE),
        Message(DATA, 0, CUE),  # stamped by another clock
        Message(VIDEO, 0, SEQUENCE_HEADER), Message(VIDEO, 91_040, inter_frame()),
    ]  # fmt: skip
    assert [at for _, at in placed_by(clock, *messages)] == [0, 0, 1000, 900, 1500, 1500, 1000, 1040]


def test_a_medium_that_comes_when_the_bounds_are_reached_stands_at_zero_at_the_least() -> None:
    clock = FileClock()
    placed_by(clock, *(Message(VIDEO, 5000 + at, key_frame(1)) for at in range(0, MAX_HELD_MS + 40, 40)))
    assert placed_by(clock, Message(AUDIO, 4000, audio_frame(1))) == [(AUDIO, 0)]
