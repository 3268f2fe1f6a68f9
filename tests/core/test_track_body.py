"""The body of track 0 is where the full parse of a message finds it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.classify import enhanced_header, flags_of
from cluster.core.media.describe import MediaKind, describe
from cluster.core.media.ex_header import MPEG2TS_SEQUENCE_START
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.track_body import track_body
from support.media_examples import EMPTY, EXAMPLES, MALFORMED, Example

AUDIO, VIDEO = 8, 9
NAMED = [*EMPTY, *EXAMPLES, *MALFORMED]


def expected(type_id: int, payload: bytes) -> tuple[str, int, int, int] | None:
    info = describe(type_id, payload)
    header = enhanced_header(type_id, payload)
    if header is not None and header.packet_type == MPEG2TS_SEQUENCE_START:
        return None  # its header is laid out for MPEG-2 TS
    if info.kind not in (MediaKind.FRAMES, MediaKind.SEQUENCE_HEADER):
        return None
    for track in info.tracks:
        if track.track_id == 0 and track.codec is not None:
            return track.codec, track.body_start, track.body_end, track.cts_ms
    return None


def assert_as_described(type_id: int, payload: bytes) -> None:
    found = track_body(LogEntry(type_id, 0, payload, flags_of(type_id, payload), 0, 0))
    assert found == expected(type_id, payload)


@pytest.mark.parametrize("example", [pytest.param(each, id=each.name) for each in NAMED])
def test_named_messages_cut_anywhere(example: Example) -> None:
    for cut in range(len(example.payload) + 1):
        assert_as_described(example.type_id, example.payload[:cut])


@given(st.sampled_from((AUDIO, VIDEO)), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=20))
def test_any_message(type_id: int, first: int, second: int, rest: bytes) -> None:
    assert_as_described(type_id, bytes((first, second)) + rest)


@pytest.mark.parametrize("packet_type", range(16))
def test_packet_types_that_one_medium_has_and_the_other_has_not(packet_type: int) -> None:
    assert_as_described(AUDIO, bytes((0x90 | packet_type,)) + b"Opus" + b"body")
    assert_as_described(VIDEO, bytes((0x90 | packet_type,)) + b"hvc1" + b"body body")


@pytest.mark.parametrize("type_id", [15, 18, 20, 254])
def test_other_types(type_id: int) -> None:
    payload = b"\x02\0\x0aonMetaData"
    assert track_body(LogEntry(type_id, 0, payload, flags_of(type_id, payload), 0, 0)) is None
