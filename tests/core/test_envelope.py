"""The envelope: round trips, and every way in which frames can be none."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.bus.envelope import Envelope, EnvelopeError, decode, encode, key_of, topic
from cluster.core.errors import MisuseError
from cluster.core.message import Message

BIG = 2**63 - 1

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
#: As keys come from RTMP peers: any bytes but NUL, decoded with surrogateescape.
peer_keys = st.binary().map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
numbers = st.integers(0, BIG)
one_message = st.builds(Message, st.integers(0, 255), numbers, st.binary(max_size=40), st.just(0))
messages = st.lists(one_message, max_size=5)
envelopes = st.builds(Envelope, keys | peer_keys, numbers, numbers, st.text(max_size=20), messages)

SENT = [Message(9, 2**33, b"video"), Message(8, 5, b""), Message(8, 6, b"au")]
EXAMPLE = Envelope("live/a", 7, 2**40, "node/0/1", SENT)


def frames_of(envelope: Envelope) -> list[bytes]:
    return [bytes(frame) for frame in encode(envelope)]


@settings(deadline=None, max_examples=150)
@given(envelopes)
def test_round_trip(envelope: Envelope) -> None:
    assert decode(frames_of(envelope)) == envelope


def test_a_single_payload_is_not_copied() -> None:
    payload = bytes(100)
    assert encode(Envelope("k", 1, 2, "s", [Message(9, 3, payload)]))[2] is payload
    frames = frames_of(Envelope("k", 1, 2, "s", [Message(9, 3, payload)]))
    assert decode(frames).messages[0].payload is frames[2]


def test_payloads_are_views_of_the_body() -> None:
    frames = frames_of(EXAMPLE)
    for message in decode(frames).messages:
        assert isinstance(message.payload, memoryview)
        assert message.payload.obj is frames[2]


@settings(deadline=None, max_examples=100)
@given(peer_keys)
def test_topic_and_key(key: str) -> None:
    assert key_of(topic(key)) == key


@settings(deadline=None, max_examples=100)
@given(peer_keys, peer_keys)
def test_no_topic_is_the_beginning_of_another(one: str, other: str) -> None:
    assert topic(one + other).startswith(topic(one)) == (other == "")


@pytest.mark.parametrize("key", ["live/\0a", "\0", "live/\ud800"])
def test_a_key_that_cannot_be_a_topic(key: str) -> None:
    with pytest.raises(MisuseError):
        topic(key)


@pytest.mark.parametrize("data", [b"", b"live/a", b"live\0a\0", b"\0\0", b"live/a\0x"])
def test_bytes_that_are_no_topic(data: bytes) -> None:
    assert key_of(data) is None


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_that_do_not_fit_are_our_mistake_or_refused(number: int) -> None:
    with pytest.raises((MisuseError, EnvelopeError)):
        decode(frames_of(Envelope("k", number, 0, "s", [])))


def test_the_largest_numbers_fit_and_one_more_does_not() -> None:
    assert decode(frames_of(Envelope("k", BIG, BIG, "s", [Message(255, BIG, b"x")]))).epoch == BIG
    for envelope in (
        Envelope("k", BIG + 1, 0, "s", []),
        Envelope("k", 0, BIG + 1, "s", []),
        Envelope("k", 0, 0, "s", [Message(9, BIG + 1, b"x")]),
        Envelope("k", 0, 0, "s", [Message(256, 0, b"x")]),
    ):
        with pytest.raises(EnvelopeError):
            decode(frames_of(envelope))


@pytest.mark.parametrize(
    "header",
    [
        [],
        [1],
        [1, 2, 3],
        [2, 7, 0, "s"],
        [True, 7, 0, "s"],
        ["1", 7, 0, "s"],
        [1, "7", 0, "s"],
        [1, True, 0, "s"],
        [1, 7, 1.5, "s"],
        [1, 7, -1, "s"],
        [1, 7, 0, b"s"],
        [1, 7, 0, None],
        [1, 7, 0, "s", 9],
        [1, 7, 0, "s", 9, 1],
        [1, 7, 0, "s", 9, 1, 3],
        [1, 7, 0, "s", 9, 1, 5],
        [1, 7, 0, "s", 9, 1, -4],
        [1, 7, 0, "s", 9, 1, "4"],
        [1, 7, 0, "s", "9", 1, 4],
        [1, 7, 0, "s", 9, -1, 4],
        [1, 7, 0, "s", 9, 1, 4, 9, 1, 1],
        [1, 7, 0, "s", 9, 1, 2, 9, 1, 1],
        [1, 7, 0, "s", 9, 1, 2**62, 9, 1, 2**62],
        [1, 7, 0, "s", 9, 1, 2, 9, 1, None],
        {"version": 1},
        7,
        "header",
    ],
)
def test_headers_that_are_none(header: object) -> None:
    with pytest.raises(EnvelopeError):
        decode([b"live/a\0", msgpack.packb(header), b"body"])


@pytest.mark.parametrize(
    "header",
    [
        b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\x91" * 5_000, b"\xd4\xff\0",
        b"\x81\x90\x01",
    ],
)  # fmt: skip
def test_bytes_that_are_no_header(header: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode([b"live/a\0", header, b"body"])


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_another_number_of_frames(count: int) -> None:
    with pytest.raises(EnvelopeError):
        decode([*frames_of(EXAMPLE), b"more"][:count])


def test_every_cut_of_every_frame_is_refused() -> None:
    whole = frames_of(EXAMPLE)
    for index, frame in enumerate(whole):
        for end in range(len(frame)):
            cut = [*whole]
            cut[index] = frame[:end]
            with pytest.raises(EnvelopeError):
                decode(cut)
        longer = [*whole]
        longer[index] = frame + b"\0"
        with pytest.raises(EnvelopeError):
            decode(longer)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_garbage_raises_nothing_else(frames: list[bytes]) -> None:
    with pytest.raises(EnvelopeError):
        decode(frames)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2), st.integers(0, 30), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(frame: int, offset: int, value: int) -> None:
    changed = frames_of(EXAMPLE)
    data = bytearray(changed[frame])
    data[offset % len(data)] = value
    changed[frame] = bytes(data)
    try:
        decode(changed)
    except EnvelopeError:
        pass
