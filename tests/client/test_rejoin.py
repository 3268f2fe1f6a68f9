"""Several connections as one stream, and the clock and headers below it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.client import rejoin as module
from cluster.client.rejoin import Rejoin
from cluster.core.message import Message, MessageType
from support.scripted_server import AUDIO_HEADER, SEQUENCE_HEADER, audio_frame, inter_frame, key_frame

VIDEO, AUDIO = MessageType.VIDEO, MessageType.AUDIO
HEADERS = [Message(VIDEO, 0, SEQUENCE_HEADER), Message(AUDIO, 0, AUDIO_HEADER)]


def stream(frames: int, *, first_ms: int = 0, gop: int = 5) -> list[Message]:
    """Video at 25 frames a second, each followed by audio that is a little behind it."""
    messages = []
    for number in range(frames):
        at = first_ms + 40 * number
        payload = key_frame(number) if number % gop == 0 else inter_frame(number)
        messages += [Message(VIDEO, at, payload), Message(AUDIO, max(at - 15, 0), audio_frame(number))]
    return messages


def pass_on(rejoin: Rejoin, messages: list[Message]) -> list[Message]:
    return [placed for message in messages if (placed := rejoin.place(message)) is not None]


def test_one_connection_passes_through_unchanged() -> None:
    messages = HEADERS + stream(20, first_ms=7_000)
    assert pass_on(Rejoin(), messages) == messages


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), min_size=1, max_size=4),
    st.integers(0, 2**32),
)
def test_cut_anywhere_and_joined_at_the_latest_keyframe_nothing_is_twice(
    cuts: list[tuple[int, int]], first_ms: int
) -> None:
    whole = [m._replace(timestamp=m.timestamp % 2**32) for m in stream(150, first_ms=first_ms)]
    rejoin, got, at = Rejoin(), [], 0
    for length, away in cuts:
        keyframes = [i for i in range(at + 1) if whole[i].payload[:1] == b"\x17"]
        joined = HEADERS + whole[keyframes[-1] : at + length]
        got += [m for m in pass_on(rejoin, joined) if m.payload not in (SEQUENCE_HEADER, AUDIO_HEADER)]
        at = min(at + length + away, len(whole) - 1)
        rejoin.reconnected(away)
    payloads = [bytes(m.payload) for m in got]
    assert len(payloads) == len(set(payloads))
    order = [next(i for i, m in enumerate(whole) if m.payload == payload) for payload in payloads]
    assert order == sorted(order)
    video = [m.timestamp for m in got if m.type_id == VIDEO]
    assert video == sorted(video)


def test_a_gap_on_the_same_clock_stays_as_long_as_it_was() -> None:
    rejoin = Rejoin()
    messages = stream(100)
    pass_on(rejoin, messages[:20])
    rejoin.reconnected(1000)
    assert pass_on(rejoin, messages[100:110]) == messages[100:110]


def test_a_publisher_that_started_anew_stands_behind_what_was_seen() -> None:
    rejoin = Rejoin()
    pass_on(rejoin, stream(100, first_ms=1000))
    rejoin.reconnected(250)
    again = [m._replace(payload=bytes(m.payload) + b"!") for m in stream(5)]
    latest = 1000 + 99 * 40
    assert [m.timestamp for m in pass_on(rejoin, again) if m.type_id == VIDEO] == [
        latest + 250 + 40 * n for n in range(5)
    ]


def test_headers_that_are_known_do_not_come_again() -> None:
    rejoin = Rejoin()
    pass_on(rejoin, HEADERS + stream(5))
    rejoin.reconnected(1)
    other = Message(VIDEO, 0, SEQUENCE_HEADER[:-1] + b"\x99")
    got = pass_on(rejoin, [*HEADERS, other, *stream(6)])
    assert [bytes(m.payload) for m in got] == [bytes(other.payload), key_frame(5), audio_frame(5)]
    assert got[0].timestamp == 160  # a header has no time of its own


def test_an_empty_header_behind_a_whole_one_does_not_come() -> None:
    rejoin = Rejoin()
    empty = Message(VIDEO, 0, SEQUENCE_HEADER[:5])
    assert pass_on(rejoin, [empty, *HEADERS, empty]) == [empty, *HEADERS]


def test_what_is_remembered_is_bounded() -> None:
    rejoin = Rejoin()
    for number in range(module.MAX_REMEMBERED + 10):
        rejoin.place(Message(AUDIO, number, audio_frame(number)))
    assert len(rejoin._marks) == len(rejoin._order) == module.MAX_REMEMBERED
    rejoin.reconnected(5)
    assert rejoin.place(Message(AUDIO, 10, audio_frame(10))) is None
    rejoin.reconnected(5)
    assert rejoin.place(Message(AUDIO, 9, audio_frame(9))) is not None
