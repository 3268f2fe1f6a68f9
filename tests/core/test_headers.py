"""The headers of a stream: the latest of each kind and track, in the order of a join, within bounds."""

from __future__ import annotations

import pytest

from cluster.core.amf import amf0
from cluster.core.media.headers import MAX_HEADER_BYTES, MAX_HEADERS, MAX_METADATA_BYTES, Headers
from cluster.core.message import Message, MessageType

VIDEO, AUDIO, DATA = MessageType.VIDEO, MessageType.AUDIO, MessageType.DATA_AMF0
VIDEO_HEADER = Message(VIDEO, 0, b"\x17\x00\0\0\0config")
EMPTY_VIDEO_HEADER = Message(VIDEO, 0, b"\x17\x00\0\0\0")
AUDIO_HEADER = Message(AUDIO, 0, b"\xaf\x00\x12\x10")
METADATA = Message(DATA, 0, amf0.encode("onMetaData", {"a": 1}))
FRAME = Message(VIDEO, 0, b"\x17\x01\0\0\0frame")


def of_track(track: int, body: bytes = b"body") -> Message:
    """A Multitrack sequence header for this track alone."""
    return Message(VIDEO, 0, b"\x96\x00hvc1" + bytes((track,)) + body)


def remembered(*messages: Message) -> Headers[Message]:
    headers: Headers[Message] = Headers()
    for message in messages:
        headers.remember(message)
    return headers


def test_they_stand_in_the_order_of_a_join_whatever_came_first() -> None:
    assert remembered(AUDIO_HEADER, FRAME, VIDEO_HEADER, METADATA).in_order() == [
        METADATA, VIDEO_HEADER, AUDIO_HEADER
    ]  # fmt: skip


def test_what_no_joiner_needs_is_not_remembered() -> None:
    assert Headers().remember(FRAME) is None


def test_a_header_is_told_apart_from_a_first_one_a_repeat_and_another() -> None:
    headers: Headers[Message] = Headers()
    other = VIDEO_HEADER._replace(payload=VIDEO_HEADER.payload + b"!")
    told = [headers.remember(message) for message in (VIDEO_HEADER, VIDEO_HEADER, other)]
    assert [(each.before, each.is_latest, each.is_new) for each in told if each is not None] == [
        (None, True, True), (VIDEO_HEADER, True, False), (VIDEO_HEADER, True, True)
    ]  # fmt: skip
    assert headers.in_order() == [other]


@pytest.mark.parametrize("known", [VIDEO_HEADER, EMPTY_VIDEO_HEADER])
def test_an_empty_header_replaces_none(known: Message) -> None:
    headers = remembered(known)
    told = headers.remember(EMPTY_VIDEO_HEADER._replace(timestamp=9))
    assert told is not None
    assert (told.before, told.is_latest, told.is_new) == (known, False, False)
    assert headers.in_order() == [known]


def test_an_empty_header_is_replaced() -> None:
    assert remembered(EMPTY_VIDEO_HEADER, VIDEO_HEADER).in_order() == [VIDEO_HEADER]


def test_of_two_of_equal_rank_the_newer_is_last() -> None:
    first, second = of_track(1), of_track(2)
    assert remembered(first, second).in_order() == [first, second]
    assert remembered(first, second, first).in_order() == [second, first]


def test_one_header_too_many_replaces_the_oldest() -> None:
    many = [of_track(track) for track in range(MAX_HEADERS + 1)]
    assert remembered(*many[:-1]).in_order() == many[:-1]
    assert remembered(*many).in_order() == many[1:]
    assert remembered(*many[:-1], many[0], many[-1]).in_order() == [*many[2:-1], many[0], many[-1]]


@pytest.mark.parametrize(
    ("header", "most"), [(VIDEO_HEADER, MAX_HEADER_BYTES), (METADATA, MAX_METADATA_BYTES)]
)
def test_a_header_of_the_largest_size_is_kept_and_a_larger_one_is_not(header: Message, most: int) -> None:
    largest = header._replace(payload=bytes(header.payload).ljust(most, b"\0"))
    headers = remembered(largest)
    assert headers.remember(header._replace(payload=largest.payload + b"\0")) is None
    assert headers.in_order() == [largest]


def test_one_may_stand_in_the_place_of_the_latest() -> None:
    headers: Headers[Message] = Headers()
    told = headers.remember(VIDEO_HEADER)
    assert told is not None
    older = VIDEO_HEADER._replace(payload=VIDEO_HEADER.payload + b"older")
    assert headers.in_order({told.key: older}) == [older]
    assert headers.in_order() == [VIDEO_HEADER]


def test_metadata_can_be_forgotten_alone_or_with_all() -> None:
    headers = remembered(METADATA, VIDEO_HEADER)
    headers.forget_data()
    assert headers.in_order() == [VIDEO_HEADER]
    headers.clear()
    assert headers.in_order() == []
