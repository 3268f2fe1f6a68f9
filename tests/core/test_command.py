"""Command messages: types 20 and 17, and what real peers leave out of them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.amf import amf0
from cluster.core.errors import AmfError, CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import arguments, status
from cluster.core.rtmp import command as commands
from cluster.core.rtmp.command import MAX_SALVAGED_VALUES, Command

LIMITS = Limits()
CREATE_STREAM = Command("createStream", 4.0)


def decode(payload: bytes, type_id: int = MessageType.COMMAND_AMF0) -> Command:
    return commands.decode(Message(type_id, 0, payload, 7), LIMITS)


@pytest.mark.parametrize(
    "made",
    [
        CREATE_STREAM,
        Command("connect", 1.0, {"app": "live"}, ("user", 5.0)),
        Command("publish", 5.0, None, ("cam?token=1", "live"), 1),
        Command("publish", 5.0, None, ("cam", "live"), 1, amf3=True),
        Command("half", 0.5, None, (None, True, [1.0, "a"])),
    ],
)
def test_a_command_comes_back(made: Command) -> None:
    assert commands.decode(commands.encode(made), LIMITS) == made


def test_the_bytes_of_create_stream() -> None:
    payload = "02 000C 63726561746553747265616D 00 4010000000000000 05"
    assert commands.encode(CREATE_STREAM).payload == bytes.fromhex(payload)


def test_the_reconnect_request_of_the_specification() -> None:
    body = (
        "02 0008 6F6E537461747573 00 0000000000000000 05 03 0004 636F6465 02 0026"
        "4E6574436F6E6E656374696F6E2E436F6E6E6563742E5265636F6E6E65637452657175657374"
        "0005 6C6576656C 02 0006 737461747573 0005 746355726C 02 0005 2F6C697665 000009"
    )
    read = decode(bytes.fromhex(body))
    assert read.name == "onStatus"
    assert read.arg(0) == {
        "code": status.Code.CONNECT_RECONNECT_REQUEST,
        "level": "status",
        "tcUrl": "/live",
    }
    assert read.stream_id == 7


class TestType17:
    PAYLOAD = amf0.encode("publish", 5.0, None, "cam")

    def test_with_its_leading_format_byte(self) -> None:
        read = decode(b"\x00" + self.PAYLOAD, MessageType.COMMAND_AMF3)
        assert (read.name, read.args, read.amf3) == ("publish", ("cam",), True)

    def test_without_it(self) -> None:
        assert decode(self.PAYLOAD, MessageType.COMMAND_AMF3).args == ("cam",)

    def test_is_written_with_it(self) -> None:
        message = commands.encode(Command("publish", 5.0, None, ("cam",), 1, amf3=True))
        assert message.type_id == MessageType.COMMAND_AMF3
        assert message.payload == b"\x00" + self.PAYLOAD

    def test_an_amf3_value_behind_its_marker(self) -> None:
        payload = b"\x00" + amf0.encode("f", 1.0, None) + b"\x11\x04\x05" + amf0.encode("x")
        assert decode(payload, MessageType.COMMAND_AMF3).args == (5, "x")


class TestWhatPeersLeaveOut:
    def test_the_transaction_id(self) -> None:
        assert decode(amf0.encode("close")) == Command("close", 0.0, stream_id=7)

    @pytest.mark.parametrize("value", [None, True, "1", [1.0]])
    def test_a_transaction_id_that_is_no_number_asks_for_no_answer(self, value: Any) -> None:
        assert decode(amf0.encode("f", value)).transaction_id == 0.0

    def test_the_command_object(self) -> None:
        read = decode(amf0.encode("f", 2.0))
        assert read.command_object is None
        assert read.arg(0) is None

    def test_garbage_behind_the_values_is_dropped(self) -> None:
        whole = amf0.encode("releaseStream", 2.0, None, "cam")
        assert decode(whole + b"\x02\xff\xff").args == ("cam",)
        assert decode(whole + b"\x99").args == ("cam",)

    def test_every_cut_of_a_command_reads_or_is_refused_by_name(self) -> None:
        whole = amf0.encode("play", 2.0, None, "cam", -2.0)
        for end in range(len(whole)):
            if end < 7:
                with pytest.raises(PeerViolation) as caught:
                    decode(whole[:end])
                assert caught.value.reason is CloseReason.BAD_COMMAND
            else:
                assert decode(whole[:end]).name == "play"

    def test_a_connect_whose_object_is_cut_is_a_violation(self) -> None:
        whole = amf0.encode("connect", 1.0, {"app": "live", "tcUrl": "rtmp://h/live"})
        head = len(amf0.encode("connect", 1.0))
        first = len(amf0.encode("connect", 1.0, {"app": "live"})) - 3
        for end in range(head + 1, len(whole) - 2):
            if end in (head + 1, first, len(whole) - 3):  # only the object's terminator is missing
                assert decode(whole[:end]).command_object in (
                    {}, {"app": "live"}, {"app": "live", "tcUrl": "rtmp://h/live"},
                )  # fmt: skip
                continue
            with pytest.raises(AmfError):
                decode(whole[:end])

    def test_a_connect_with_garbage_behind_its_object_reads(self) -> None:
        whole = amf0.encode("connect", 1.0, {"app": "live"})
        assert decode(whole + b"\x02\xff").command_object == {"app": "live"}


class TestWhatIsNoCommand:
    @pytest.mark.parametrize(
        "payload", [b"", b"\x00", b"\x05", amf0.encode(1.0, "connect"), b"\x02\x00\x09abc"]
    )
    def test_no_name(self, payload: bytes) -> None:
        with pytest.raises(PeerViolation) as caught:
            decode(payload)
        assert caught.value.reason is CloseReason.BAD_COMMAND

    def test_only_so_many_values_are_salvaged(self) -> None:
        nulls = b"\x05" * (MAX_SALVAGED_VALUES + 20)
        read = decode(amf0.encode("f", 1.0, None) + nulls + b"\xff")
        assert len(read.args) == MAX_SALVAGED_VALUES - 3

    def test_more_values_than_the_limit(self) -> None:
        payload = amf0.encode("f", 1.0, None) + b"\x05" * LIMITS.max_amf_values
        assert len(decode(payload).args) < MAX_SALVAGED_VALUES


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=300, deadline=None)
def test_decode_raises_nothing_but_violations(payload: bytes, amf3: bool) -> None:
    type_id = MessageType.COMMAND_AMF3 if amf3 else MessageType.COMMAND_AMF0
    for head in (b"", amf0.encode("connect", 1.0), amf0.encode("play", 1.0, None)):
        with contextlib.suppress(PeerViolation):
            decode(head + payload, type_id)


class TestArguments:
    @pytest.mark.parametrize(
        ("value", "start_s"),
        [
            (None, -2.0),
            (-2.0, -2.0),
            (-2000.0, -2.0),
            (-1.0, -1.0),
            (-1000.0, -1.0),
            (-5.0, -2.0),
            (0.0, 0.0),
            (12.5, 12.5),
            ("x", -2.0),
            (math.nan, -2.0),
            (math.inf, -2.0),
            (True, -2.0),
        ],
    )
    def test_play_start(self, value: Any, start_s: float) -> None:
        assert arguments.play_start_s(value) == start_s

    @pytest.mark.parametrize(
        ("value", "duration_s"),
        [(None, -1.0), (-1.0, -1.0), (-1000.0, -1.0), (0.0, -1.0), (3.0, 3.0), (math.nan, -1.0)],
    )
    def test_play_duration(self, value: Any, duration_s: float) -> None:
        assert arguments.play_duration_s(value) == duration_s

    @pytest.mark.parametrize(
        ("value", "reset"),
        [(None, True), (True, True), (False, False), (0.0, False), (1.0, True), (3.0, True)],
    )
    def test_play_reset(self, value: Any, reset: bool) -> None:
        assert arguments.play_reset(value) is reset

    @pytest.mark.parametrize(
        ("value", "parts"),
        [
            ("cam", ("cam", "")),
            ("cam?a=1?b", ("cam", "a=1?b")),
            ("?a", ("", "a")),
            (None, ("", "")),
            (5.0, None),
            (False, None),
            ("rtmps://u:p@h:1936/live/cam?a=1", ("rtmps://h:1936/live/cam", "a=1")),
            ("x" * arguments.MAX_NAME_CHARACTERS, ("x" * arguments.MAX_NAME_CHARACTERS, "")),
            ("x" * (arguments.MAX_NAME_CHARACTERS + 1), None),
        ],
    )
    def test_stream_name(self, value: Any, parts: tuple[str, str] | None) -> None:
        assert arguments.stream_name(value) == parts

    @pytest.mark.parametrize(
        ("value", "stream_id"),
        [(0.0, 0), (1.0, 1), (3, 3), (-1.0, -1), (-9.0, -1)]
        + [(nothing, -1) for nothing in (math.nan, math.inf, None, "1", True)],
    )
    def test_stream_id(self, value: Any, stream_id: int) -> None:
        assert arguments.stream_id(value) == stream_id
