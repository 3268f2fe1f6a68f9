"""Shared object messages: worked bytes, every cut, round trips, noise."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_support import LIMITS, connected, connected_client, handshaken, with_stream

from cluster.core.amf.values import AmfDate, EcmaArray
from cluster.core.errors import AmfError, CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.events import SharedObjectReceived
from cluster.core.rtmp.shared_object import (
    MAX_EVENTS,
    MAX_MESSAGE_BYTES,
    SharedEvent,
    SharedObjectMessage,
    decode,
    encode,
)
from cluster.core.rtmp.shared_object import SharedEventType as T

HEAD = bytes.fromhex("0004 63686174 00000007 00000000 00000000")
USE = bytes.fromhex("01 00000000")


def amf0(body: bytes) -> Message:
    return Message(MessageType.SHARED_OBJECT_AMF0, 0, body)


def amf3(body: bytes) -> Message:
    return Message(MessageType.SHARED_OBJECT_AMF3, 0, body)


EXAMPLES = [
    ("nothing", "", ()),
    ("use", "01 00000000", (SharedEvent(T.USE),)),
    ("release", "02 00000000", (SharedEvent(T.RELEASE),)),
    (
        "request change",
        "03 0000000C 0001 6E 00 3FF0000000000000",
        (SharedEvent(T.REQUEST_CHANGE, "n", (1.0,)),),
    ),
    (
        "change of two",
        "04 00000009 0001 61 05 0001 62 01 01",
        (SharedEvent(T.CHANGE, "a", (None,)), SharedEvent(T.CHANGE, "b", (True,))),
    ),
    ("success", "05 00000003 0001 6E", (SharedEvent(T.SUCCESS, "n"),)),
    (
        "send message",
        "06 0000000D 02 0001 6D 00 4000000000000000",
        (SharedEvent(T.SEND_MESSAGE, "m", (2.0,)),),
    ),
    ("status", "07 0000000A 0001 63 0005 6572726F72", (SharedEvent(T.STATUS, "c", ("error",)),)),
    ("clear", "08 00000000", (SharedEvent(T.CLEAR),)),
    ("remove", "09 00000003 0001 6E", (SharedEvent(T.REMOVE, "n"),)),
    ("request remove", "0A 00000003 0001 6E", (SharedEvent(T.REQUEST_REMOVE, "n"),)),
    ("use success, clear", "0B 00000000 08 00000000", (SharedEvent(T.USE_SUCCESS), SharedEvent(T.CLEAR))),
    ("unknown", "63 00000003 010203 01 00000000", (SharedEvent(99), SharedEvent(T.USE))),
]


@pytest.mark.parametrize(("text", "events"), [each[1:] for each in EXAMPLES], ids=[e[0] for e in EXAMPLES])
class TestExamples:
    def test_read(self, text: str, events: tuple[SharedEvent, ...]) -> None:
        body = HEAD + bytes.fromhex(text)
        assert decode(amf0(body), LIMITS) == SharedObjectMessage("chat", 7, False, events)
        assert decode(amf3(b"\x00" + body), LIMITS) == SharedObjectMessage("chat", 7, False, events, True)

    def test_every_cut(self, text: str, events: tuple[SharedEvent, ...]) -> None:
        """A cut between two events is a shorter message; any other is refused."""
        body = HEAD + bytes.fromhex(text)
        for cut in range(len(body)):
            try:
                shorter = decode(amf0(body[:cut]), LIMITS)
            except PeerViolation:
                continue
            assert shorter.events == events[: len(shorter.events)]
            assert len(shorter.events) < len(events)

    def test_written_and_read(self, text: str, events: tuple[SharedEvent, ...]) -> None:
        for amf3_type in (False, True):
            shared = SharedObjectMessage("chat", 7, True, events, amf3_type)
            assert decode(encode(shared), LIMITS) == shared


def test_the_bytes_of_a_use() -> None:
    shared = SharedObjectMessage("chat", 7, True, (SharedEvent(T.USE),), True)
    assert encode(shared) == amf3(bytes.fromhex("00 0004 63686174 00000007 00000002 00000000 01 00000000"))


class TestAmf3:
    def test_values_behind_the_switch_marker(self) -> None:
        body = HEAD + bytes.fromhex("03 00000006 0001 6E 11 04 05")
        assert decode(amf3(b"\x00" + body), LIMITS).events == (SharedEvent(T.REQUEST_CHANGE, "n", (5,)),)

    def test_values_in_amf3_throughout(self) -> None:
        body = HEAD + bytes.fromhex("03 00000005 0001 6E 04 05 06 00000005 06 03 6D 04 07")
        assert decode(amf3(b"\x03" + body), LIMITS).events == (
            SharedEvent(T.REQUEST_CHANGE, "n", (5,)),
            SharedEvent(T.SEND_MESSAGE, "m", (7,)),
        )

    @pytest.mark.parametrize("body", [b"", b"\x01" + HEAD, b"\x11" + HEAD])
    def test_other_formats_are_refused(self, body: bytes) -> None:
        with pytest.raises(PeerViolation) as caught:
            decode(amf3(body), LIMITS)
        assert caught.value.reason is CloseReason.BAD_COMMAND


class TestRefused:
    @pytest.mark.parametrize(
        "event",
        [
            "06 00000000", "06 00000001 05", "01 00000001", "03 00000002 0001", "05 00000002 0001",
            "05 00000000",
        ],
    )
    def test_events_cut_short_or_without_a_name(self, event: str) -> None:
        with pytest.raises(PeerViolation) as caught:
            decode(amf0(HEAD + bytes.fromhex(event)), LIMITS)
        assert caught.value.reason is CloseReason.BAD_COMMAND

    def test_a_value_that_is_none(self) -> None:
        with pytest.raises(AmfError):
            decode(amf0(HEAD + bytes.fromhex("03 00000004 0001 6E 04")), LIMITS)

    def test_events_at_the_limit_and_one_past(self) -> None:
        assert len(decode(amf0(HEAD + USE * MAX_EVENTS), LIMITS).events) == MAX_EVENTS
        with pytest.raises(PeerViolation):
            decode(amf0(HEAD + USE * (MAX_EVENTS + 1)), LIMITS)

    def test_bytes_at_the_limit_and_one_past(self) -> None:
        unknown = bytes([99]) + (MAX_MESSAGE_BYTES - len(HEAD) - 5).to_bytes(4, "big")
        body = (HEAD + unknown).ljust(MAX_MESSAGE_BYTES, b"x")
        assert len(decode(amf0(body), LIMITS).events) == 1
        with pytest.raises(PeerViolation) as caught:
            decode(amf0(body + b"x"), LIMITS)
        assert caught.value.reason is CloseReason.BAD_COMMAND

    def test_a_name_that_does_not_fit_is_misuse(self) -> None:
        encode(SharedObjectMessage("n" * 0xFFFF))
        for name in ("n" * 0x10000, "\ud800"):
            with pytest.raises(MisuseError):
                encode(SharedObjectMessage(name))


class TestSessions:
    SHARED = SharedObjectMessage("chat", 7, False, (SharedEvent(T.USE),))

    @pytest.mark.parametrize("amf3_type", [False, True])
    def test_both_roles_send_and_receive(self, amf3_type: bool) -> None:
        shared = dataclasses.replace(self.SHARED, amf3=amf3_type)
        for session, peer in (connected(), connected_client()):
            assert peer.send(encode(shared)) == [SharedObjectReceived(shared)]
            session.send_shared_object(shared)
            assert peer.output() == [encode(shared)]

    def test_what_cannot_be_read_is_ignored(self) -> None:
        server, peer = connected()
        assert peer.send(amf0(b"x")) == []
        assert server.ignored_messages == 1

    def test_before_the_answer_to_connect_they_wait(self) -> None:
        peer = handshaken()
        peer.command("connect", 1.0, {"app": "live"})
        assert peer.send(encode(self.SHARED)) == []
        peer.session.accept_connect()  # type: ignore[attr-defined]
        assert peer.session.receive(b"", 0.0) == [SharedObjectReceived(self.SHARED)]

    def test_a_session_in_use_is_not_idle(self) -> None:
        server, _ = with_stream()
        server.in_use = True
        server.tick(59.0)
        server.tick(118.0)
        server.in_use = False
        with pytest.raises(PeerViolation) as caught:
            server.tick(118.0 + LIMITS.idle_timeout_s)
        assert caught.value.reason is CloseReason.IDLE_TIMEOUT


VALUES = st.sampled_from(
    [None, True, 1.5, "text", {"a": 1.0}, EcmaArray({"b": "c"}), [1.0, None], AmfDate(5.0)]
)
NAMES = st.text(max_size=12)
EVENTS = st.one_of(
    st.builds(SharedEvent, st.sampled_from([T.USE, T.RELEASE, T.CLEAR, T.USE_SUCCESS])),
    st.builds(SharedEvent, st.sampled_from([T.REQUEST_CHANGE, T.CHANGE]), NAMES, st.tuples(VALUES)),
    st.builds(SharedEvent, st.sampled_from([T.SUCCESS, T.REMOVE, T.REQUEST_REMOVE]), NAMES),
    st.builds(SharedEvent, st.just(T.SEND_MESSAGE), NAMES, st.lists(VALUES, max_size=3).map(tuple)),
    st.builds(SharedEvent, st.just(T.STATUS), NAMES, st.tuples(NAMES)),
)


@settings(deadline=None, max_examples=100)
@given(
    st.builds(
        SharedObjectMessage, NAMES, st.integers(0, 0xFFFFFFFF), st.booleans(),
        st.lists(EVENTS, max_size=5).map(tuple), st.booleans(),
    )
)  # fmt: skip
def test_whatever_is_written_is_read(shared: SharedObjectMessage) -> None:
    assert decode(encode(shared), LIMITS) == shared


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.sampled_from([amf0, amf3]), st.booleans())
def test_noise_only_violates(noise: bytes, make: type, with_head: bool) -> None:
    try:
        decode(make(HEAD + noise if with_head else noise), LIMITS)
    except PeerViolation:
        return
