"""The envelope: round trips, and every way in which frames can be none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.bus.envelope import TOPIC_BYTES, Envelope, EnvelopeError, decode, encode, topic
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


@settings(deadline=None, max_examples=150)
@given(envelopes)
def test_round_trip(envelope: Envelope) -> None:
    assert decode(encode(envelope)) == envelope


def test_the_layout() -> None:
    assert encode(EXAMPLE) == (
        topic("live/a")
        + b"\6" b"\0\0\0\0\0\0\0\7" b"\0\0\1\0\0\0\0\0" b"\0\6" b"\0\10" b"\0\0\0\3"
        b"live/a" b"node/0/1"
        b"\11" b"\0\0\0\2\0\0\0\0" b"\0\0\0\5"
        b"\10" b"\0\0\0\0\0\0\0\5" b"\0\0\0\0"
        b"\10" b"\0\0\0\0\0\0\0\6" b"\0\0\0\2"
        b"video" b"au"
    )  # fmt: skip


def test_payloads_of_any_kind_are_taken_and_bytes_come_out() -> None:
    payloads: list[bytes | memoryview] = [memoryview(b"-ab-")[1:3], b"c"]
    sent = Envelope("k", 1, 2, "s", [Message(9, 3, payload) for payload in payloads])
    assert [message.payload for message in decode(encode(sent)).messages] == [b"ab", b"c"]
    assert all(type(message.payload) is bytes for message in decode(encode(sent)).messages)


@settings(deadline=None, max_examples=100)
@given(peer_keys, peer_keys)
def test_no_topic_is_the_beginning_of_another(one: str, other: str) -> None:
    assert len(topic(one)) == len(topic(other)) == TOPIC_BYTES
    assert (topic(one) == topic(other)) == (one == other)


def test_a_key_that_cannot_be_a_topic() -> None:
    with pytest.raises(MisuseError):
        topic("live/\ud800")


def test_an_envelope_is_of_the_key_in_it_whatever_its_topic() -> None:
    """If two keys had one topic, who subscribes to one gets both, and can tell them apart."""
    sent = topic("live/a") + encode(Envelope("live/b", 1, 2, "s", []))[TOPIC_BYTES:]
    assert decode(sent).key == "live/b"


OUT_OF_RANGE = [
    Envelope("k", BIG + 1, 0, "s", []),
    Envelope("k", 0, BIG + 1, "s", []),
    Envelope("k", 0, 0, "s" * 2**16, []),
    Envelope("k" * 2**16, 0, 0, "s", []),
    Envelope("k", 0, 0, "s", [Message(9, BIG + 1, b"x")]),
    Envelope("k", 0, 0, "s", [Message(256, 0, b"x")]),
    Envelope("k", 0, 0, "s", [Message(-1, 0, b"x")]),
]
NEGATIVE = [
    Envelope("k", -1, 0, "s", []),
    Envelope("k", 0, -1, "s", []),
    Envelope("k", 0, 0, "s", [Message(9, -1, b"x")]),
]


@pytest.mark.parametrize("envelope", OUT_OF_RANGE)
def test_what_does_not_fit_is_our_mistake(envelope: Envelope) -> None:
    with pytest.raises(MisuseError):
        encode(envelope)


@pytest.mark.parametrize("envelope", NEGATIVE)
def test_negative_numbers_are_refused(envelope: Envelope) -> None:
    with pytest.raises(EnvelopeError):
        decode(encode(envelope))


def test_the_largest_numbers_fit() -> None:
    largest = Envelope("k", BIG, BIG, "s" * (2**16 - 1), [Message(255, BIG, b"x")])
    assert decode(encode(largest)) == largest


def test_another_version_says_what_to_do() -> None:
    frame = encode(EXAMPLE)
    with pytest.raises(EnvelopeError, match="version 5 is not 6: upgrade"):
        decode(frame[:TOPIC_BYTES] + b"\5" + frame[TOPIC_BYTES + 1 :])


@pytest.mark.parametrize("data", [b"", b"\0", b"live/a", b"live/a\0", b"live/a\0header"])
def test_bytes_that_are_no_envelope(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(data)


@pytest.mark.parametrize("sizes", [(5, 4), (6, 3), (2**32 - 1, 2), (1, 2**32 - 1), (0, 0)])
def test_sizes_that_do_not_add_up_to_the_payloads(sizes: tuple[int, int]) -> None:
    sent = encode(Envelope("k", 1, 2, "s", [Message(9, 3, b"video"), Message(8, 3, b"aud")]))
    described = b"".join(b"%c" % kind + bytes(7) + b"\3" + size.to_bytes(4)
                         for kind, size in zip((9, 8), sizes, strict=True))  # fmt: skip
    with pytest.raises(EnvelopeError):
        decode(sent[: -len(described) - 8] + described + b"videoaud")


def test_every_cut_is_refused_and_every_byte_too_many() -> None:
    whole = encode(EXAMPLE)
    for end in range(len(whole)):
        with pytest.raises(EnvelopeError):
            decode(whole[:end])
    with pytest.raises(EnvelopeError):
        decode(whole + b"\0")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=90))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(data)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(encode(EXAMPLE)) - 1), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(offset: int, value: int) -> None:
    changed = bytearray(encode(EXAMPLE))
    changed[offset] = value
    try:
        decode(bytes(changed))
    except EnvelopeError:
        pass
