"""Protocol control and user control messages: bytes, both ways."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import control
from cluster.core.rtmp.acknowledgement import MIN_WINDOW_BYTES, NEVER, Acknowledger
from cluster.core.rtmp.chunk_writer import ChunkStreamId, ChunkWriter
from cluster.core.rtmp.control import PeerBandwidthLimit, SetPeerBandwidth, UserControlEvent


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (control.set_chunk_size(4096), "02 000000 000004 01 00000000 00001000"),
        (control.window_ack_size(2_500_000), "02 000000 000004 05 00000000 002625A0"),
        (
            control.set_peer_bandwidth(2_500_000, PeerBandwidthLimit.DYNAMIC),
            "02 000000 000005 06 00000000 002625A0 02",
        ),
        (control.stream_begin(1), "02 000000 000006 04 00000000 0000 00000001"),
        (control.ping_request(0x1234), "02 000000 000006 04 00000000 0006 00001234"),
        (control.ping_response(0x1234), "02 000000 000006 04 00000000 0007 00001234"),
        (control.acknowledgement(0x1_0000_0005), "02 000000 000004 03 00000000 00000005"),
        (control.abort(6), "02 000000 000004 02 00000000 00000006"),
    ],
)
def test_the_worked_examples(message: Message, wire: str) -> None:
    assert ChunkWriter().encode(message, ChunkStreamId.CONTROL) == bytes.fromhex(wire)


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (control.stream_eof(2), "0001 00000002"),
        (control.user_control(UserControlEvent.STREAM_DRY, 2), "0002 00000002"),
        (control.set_buffer_length(1, 3000), "0003 00000001 00000BB8"),
        (control.user_control(UserControlEvent.STREAM_IS_RECORDED, 2), "0004 00000002"),
        (control.swf_verify_request(), "001A 01"),
        (control.swf_verify_response(5, b"\xaa" * 32), "001B 01 01 00000005 00000005" + "AA" * 32),
        (control.user_control(UserControlEvent.BUFFER_EMPTY, 2), "001F 00000002"),
        (control.user_control(UserControlEvent.BUFFER_READY, 2), "0020 00000002"),
    ],
)
def test_fault_16_user_control_events_carry_their_data(message: Message, payload: str) -> None:
    assert message.type_id == MessageType.USER_CONTROL
    assert message.stream_id == 0
    assert bytes(message.payload) == bytes.fromhex(payload)
    event = control.read_user_control(message)
    assert event.event in list(UserControlEvent)
    assert event.body == bytes.fromhex(payload)[2:]


def test_set_buffer_length_reads_back() -> None:
    event = control.read_user_control(control.set_buffer_length(7, 300))
    assert (event.event, event.values) == (UserControlEvent.SET_BUFFER_LENGTH, (7, 300))


@pytest.mark.parametrize("body", ["", "00", "000000"])
def test_a_known_event_without_its_data_is_no_violation(body: str) -> None:
    event = control.read_user_control(Message(4, 0, bytes.fromhex("0000" + body)))
    assert event.values == ()


def test_an_unknown_event_is_read_and_a_long_one_is_not_copied_whole() -> None:
    event = control.read_user_control(Message(4, 0, b"\x77\x77" + bytes(100_000)))
    assert event.event == 0x7777
    assert len(event.body) == 42


@pytest.mark.parametrize("size", [0, 1])
def test_a_user_control_message_without_an_event(size: int) -> None:
    with pytest.raises(PeerViolation) as caught:
        control.read_user_control(Message(4, 0, bytes(size)))
    assert caught.value.reason is CloseReason.BAD_CONTROL


@pytest.mark.parametrize("type_id", [2, 3, 5])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_value_of_less_than_four_bytes(type_id: int, size: int) -> None:
    with pytest.raises(PeerViolation) as caught:
        control.read_u32(Message(type_id, 0, bytes(size)))
    assert caught.value.reason is CloseReason.BAD_CONTROL


@pytest.mark.parametrize(("type_id", "needed"), [(2, 4), (3, 4), (4, 2), (5, 4), (6, 4)])
def test_what_is_too_short_to_say_anything(type_id: int, needed: int) -> None:
    for size in range(8):
        assert control.is_short(Message(type_id, 0, bytes(size))) is (size < needed)


def test_bytes_behind_a_value_are_ignored() -> None:
    assert control.read_u32(Message(5, 0, bytes.fromhex("00001000 FF"))) == 4096


@pytest.mark.parametrize("chunk_size", [0, 0x80000000])
def test_our_own_chunk_size_is_checked(chunk_size: int) -> None:
    with pytest.raises(MisuseError):
        control.set_chunk_size(chunk_size)


@pytest.mark.parametrize("chunk_size", [1, 0x7FFFFFFF])
def test_our_own_chunk_size_at_its_bounds(chunk_size: int) -> None:
    assert control.read_u32(control.set_chunk_size(chunk_size)) == chunk_size


def test_a_swf_digest_of_the_wrong_length_is_ours_to_avoid() -> None:
    with pytest.raises(MisuseError):
        control.swf_verify_response(1, b"short")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("00001000 00", SetPeerBandwidth(4096, PeerBandwidthLimit.HARD)),
        ("00001000 01", SetPeerBandwidth(4096, PeerBandwidthLimit.SOFT)),
        ("00001000 02", SetPeerBandwidth(4096, PeerBandwidthLimit.DYNAMIC)),
        ("00001000 09", SetPeerBandwidth(4096, PeerBandwidthLimit.DYNAMIC)),
        ("00001000", SetPeerBandwidth(4096, PeerBandwidthLimit.HARD)),
    ],
)
def test_set_peer_bandwidth_reads(payload: str, expected: SetPeerBandwidth) -> None:
    assert control.read_set_peer_bandwidth(Message(6, 0, bytes.fromhex(payload))) == expected


@given(st.binary(max_size=64), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_readers_raise_nothing_but_violations(payload: bytes, type_id: int) -> None:
    message = Message(type_id, 0, payload)
    for read in (control.read_u32, control.read_set_peer_bandwidth, control.read_user_control):
        with contextlib.suppress(PeerViolation):
            read(message)


class TestAcknowledgements:
    def test_no_window_no_duty(self) -> None:
        assert Acknowledger().due_at == NEVER

    def test_half_a_window_is_due(self) -> None:
        acks = Acknowledger()
        acks.set_window(10_000)
        assert acks.due_at == 5_000
        acks.acknowledge(5_400)
        assert acks.due_at == 10_400

    def test_a_window_of_zero_ends_the_duty(self) -> None:
        acks = Acknowledger()
        acks.set_window(10_000)
        acks.set_window(0)
        assert acks.due_at == NEVER

    @pytest.mark.parametrize(
        ("window", "due_at"),
        [
            (1, MIN_WINDOW_BYTES // 2),
            (MIN_WINDOW_BYTES, MIN_WINDOW_BYTES // 2),
            (MIN_WINDOW_BYTES + 2, 2049),
        ],
    )
    def test_fault_13_tiny_windows_make_no_storm(self, window: int, due_at: int) -> None:
        acks = Acknowledger()
        acks.set_window(window)
        assert acks.due_at == due_at

    def test_fault_13_the_counter_passes_two_to_the_32(self) -> None:
        acks = Acknowledger()
        acks.set_window(1_000_000)
        received = (1 << 32) + 17
        assert control.read_u32(control.acknowledgement(acks.acknowledge(received))) == 17
        assert acks.due_at == received + 500_000

    def test_received_values_compare_modulo_two_to_the_32(self) -> None:
        acks = Acknowledger()
        assert acks.peer_acknowledged is None
        acks.peer_acknowledgement(0xFFFFFF00)
        acks.peer_acknowledgement(0x00000100)
        assert acks.peer_acknowledged == 0x1_0000_0100

    def test_a_count_that_jumps_back_is_ignored(self) -> None:
        acks = Acknowledger()
        acks.peer_acknowledgement(0x00F00000)
        acks.peer_acknowledgement(0x00000100)
        assert acks.peer_acknowledged == 0x00F00000


class TestPeerBandwidth:
    """Fault 14: the value counts, and is answered when it changes the window."""

    @staticmethod
    def announced(sent_window: int, *requests: tuple[int, PeerBandwidthLimit]) -> list[int | None]:
        acks = Acknowledger()
        acks.sent_window = sent_window
        answers: list[int | None] = []
        for request in requests:
            window = acks.peer_bandwidth(SetPeerBandwidth(*request))
            acks.sent_window = acks.sent_window if window is None else window
            answers.append(window)
        return answers

    def test_fault_14_hard_sets_the_window(self) -> None:
        assert self.announced(1000, (9000, PeerBandwidthLimit.HARD)) == [9000]

    def test_fault_14_an_unchanged_window_is_not_announced_again(self) -> None:
        assert self.announced(1000, (1000, PeerBandwidthLimit.HARD)) == [None]

    def test_fault_14_soft_only_lowers(self) -> None:
        soft = PeerBandwidthLimit.SOFT
        assert self.announced(1000, (9000, soft), (400, soft), (700, soft)) == [None, 400, None]

    def test_fault_14_soft_before_any_window_sets_it(self) -> None:
        assert self.announced(0, (9000, PeerBandwidthLimit.SOFT)) == [9000]

    def test_fault_14_dynamic_is_hard_after_hard_and_nothing_else(self) -> None:
        hard, soft, dynamic = PeerBandwidthLimit.HARD, PeerBandwidthLimit.SOFT, PeerBandwidthLimit.DYNAMIC
        assert self.announced(1000, (5000, dynamic)) == [None]
        assert self.announced(1000, (2000, hard), (5000, dynamic), (6000, dynamic)) == [2000, 5000, 6000]
        assert self.announced(1000, (500, soft), (5000, dynamic)) == [500, None]
