"""The control messages: each one round trip, and nothing but ControlError from anything else."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.bus import control, control_coding
from cluster.core.bus.bounds import MAX_CONTROL_BYTES, MAX_SNAPSHOT_BYTES, MAX_SNAPSHOT_MESSAGES
from cluster.core.bus.cluster_status import StreamFacts, StreamStatus, WorkerStatus
from cluster.core.bus.control import ControlMessage
from cluster.core.bus.control_coding import ControlError
from cluster.core.bus.identity import MAX_INSTANCE_BYTES, MAX_NODE_BYTES, WorkerIdentity
from cluster.core.bus.packing import VERSION
from cluster.core.errors import MisuseError
from cluster.core.keys import MAX_KEY_BYTES
from cluster.core.message import Message

HEADERS = [Message(18, 0, b"metadata"), Message(9, 0, b"sequence header")]
LOG = [Message(9, 2**33, b"keyframe"), Message(8, 2**33 + 5, b"")]

EXAMPLES: list[ControlMessage] = [
    control.Hello("node", "1a2b", 3, 9, True, {"cpu": 0.5}, [("live/a", 7), ("live/b", 8)], ["c"]),
    control.Hello("node", "1a2b", 0, 0, False, {}, [], []),
    control.Hello("node", "1a2b", 0, 0, False, {}, [], [], 2),
    control.HelloPart([("live/a", 7)], ["c"]),
    control.Heartbeat({"players": 4}, True, 12),
    control.TimedHeartbeat({"players": 4}, True, 12, 1, 2**62, 3),
    control.Goodbye(),
    control.Publish("live/a", True, 5),
    control.Announce("live/a", 2**50),
    control.Unpublish("live/a", 7),
    control.Watch("live/\udc80"),
    control.Unwatch(""),
    control.ContestReply("live/a", 5, False),
    control.Welcome(),
    control.HelloWanted(),
    control.Granted("live/a", 7, 5),
    control.Refused("live/a", control.BUSY, 5),
    control.Contested("live/a", 5),
    control.StreamUp("live/a", 7, "node/1a2b/3/9"),
    control.StreamDown("live/a", 7),
    control.Contest("live/a", False, 5),
    control.Revoked("live/a", 7),
    control.SnapshotRequest("live/a", 5, "node/1a2b/3/9"),
    control.NoStream("live/a", 5, "node/1a2b/3/9"),
    control.Snapshot("live/a", 7, 100, HEADERS, LOG, "node/1a2b/3/9", 5, "node/1a2b/4/9"),
    control.Snapshot("live/a", 7, 0, HEADERS, []),
    control.Snapshot("live/a", 7, 0, [], []),
    control.Snapshot("live/a", 7, 1, [], LOG[:1]),
    control.Report([StreamFacts("live/a", 3, "avc1 mp4a", 2_500_000), StreamFacts("live/b", 0, "", 0)]),
    control.NodeReport("rack/node/1a2b", [StreamFacts("live/a", 3, "avc1 mp4a", 2_500_000)]),
    control.NodeReport("node/1a2b", []),
    control.StatusRequest(),
    control.ClusterStatus(
        [WorkerStatus("node/1a2b/3/9", True, 12, {"connections": 4})],
        [StreamStatus("live/a", 7, "node/1a2b/3/9", 1_000, "avc1", 2_500_000, {"node/1a2b": 3, "b/1": 1})],
    ),
    control.ClusterStatus([], []),
    control.NameShared("node", ["1a2b", "3c4d"]),
    control.Question("node/1a2b/3/9", 5, b"{}", "somebody"),
    control.Answer(5, b"{}", "somebody"),
    control.Answer(5, b"", "somebody", is_known=False),
    control.CloseKey("live/a", 60),
]


#: Of a kind that no field is.
WRONG = (None, -1, 2**63, 1.5, b"bytes", {"a": []}, {1: 2}, [1], [[1, 2]], [["k", "e"]], [["k", 1, 2]])


def frames_of(message: ControlMessage) -> list[bytes]:
    return [bytes(frame) for frame in control_coding.encode(message)]


def test_every_message_has_an_example() -> None:
    assert {type(example) for example in EXAMPLES} == set(get_args(ControlMessage))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_round_trip(message: ControlMessage) -> None:
    assert control_coding.decode(frames_of(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_cut_and_every_addition_is_refused(message: ControlMessage) -> None:
    whole = frames_of(message)
    for index, frame in enumerate(whole):
        for end in range(len(frame)):
            with pytest.raises(ControlError):
                control_coding.decode([*whole[:index], frame[:end], *whole[index + 1 :]])
        with pytest.raises(ControlError):
            control_coding.decode([*whole[:index], frame + b"\0", *whole[index + 1 :]])
    for frames in ([], whole[:-1], [*whole, b""]):
        with pytest.raises(ControlError):
            control_coding.decode(frames)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_field_of_another_kind_is_refused(message: ControlMessage) -> None:
    head, *body = frames_of(message)
    fields = msgpack.unpackb(head, unicode_errors="surrogateescape")
    for index in range(2, len(fields)):
        for wrong in WRONG:
            if type(wrong) is type(fields[index]) is bytes:
                continue
            changed: list[Any] = [*fields]
            changed[index] = wrong
            with pytest.raises(ControlError):
                control_coding.decode([msgpack.packb(changed, unicode_errors="surrogateescape"), *body])
    with pytest.raises(ControlError):
        control_coding.decode([msgpack.packb([*fields, 1], unicode_errors="surrogateescape"), *body])


@pytest.mark.parametrize(
    "header",
    [
        [], [VERSION], [VERSION, None], [VERSION, "4"], [VERSION, 0], [VERSION, 99], [VERSION, True],
        [VERSION - 1, 3], [VERSION + 1, 3], 3,
    ],
)  # fmt: skip
def test_headers_that_are_none(header: object) -> None:
    with pytest.raises(ControlError):
        control_coding.decode([msgpack.packb(header)])


def test_a_key_holds_no_nul_and_is_bounded() -> None:
    longest = "é" * (MAX_KEY_BYTES // 2)
    assert control_coding.decode(frames_of(control.Watch(longest))) == control.Watch(longest)
    for key in (longest + "x", "live/\0a"):
        with pytest.raises(ControlError):
            control_coding.decode(frames_of(control.Watch(key)))


def test_a_snapshot_has_as_many_numbers_as_messages() -> None:
    with pytest.raises(ControlError):
        control_coding.decode(frames_of(control.Snapshot("k", 7, 1, HEADERS, LOG)))
    assert control.Snapshot("k", 7, 2, HEADERS, LOG).first_seq == 0


def test_a_snapshot_of_fewer_messages_than_headers_is_refused() -> None:
    head, *rest = frames_of(control.Snapshot("k", 7, 100, HEADERS, []))
    fields = msgpack.unpackb(head)
    assert fields[8] == 2
    fields[8] = 3
    with pytest.raises(ControlError):
        control_coding.decode([msgpack.packb(fields), *rest])


def test_the_messages_of_a_snapshot_are_bounded() -> None:
    def frames(count: int) -> list[bytes]:
        return frames_of(control.Snapshot("k", 7, count, HEADERS, [Message(8, 0, b"")] * (count - 2)))

    at_the_limit = control_coding.decode(frames(MAX_SNAPSHOT_MESSAGES))
    assert isinstance(at_the_limit, control.Snapshot)
    assert len(at_the_limit.messages) == MAX_SNAPSHOT_MESSAGES - 2
    with pytest.raises(ControlError, match="a snapshot of 2 headers and 65535 messages"):
        control_coding.decode(frames(MAX_SNAPSHOT_MESSAGES + 1))


def test_what_is_kept_of_a_snapshot_does_not_keep_the_rest() -> None:
    snapshot = control_coding.decode(frames_of(control.Snapshot("k", 7, 100, HEADERS, LOG)))
    assert isinstance(snapshot, control.Snapshot)
    assert all(type(message.payload) is bytes for message in (*snapshot.headers, *snapshot.messages))


def test_a_router_reads_no_more_of_a_snapshot_than_its_first_frame() -> None:
    head, table, body = frames_of(control.Snapshot("k", 7, 100, HEADERS, LOG, "from", 5, "to"))
    for rest in ((table, body), (b"not", b"read")):
        sealed = control_coding.decode_sealed(head, rest)
        size_bytes = len(head) + len(rest[0]) + len(rest[1])
        assert sealed == control.SealedSnapshot("k", "from", 5, "to", (head, *rest), size_bytes)
    for frames in ((), (table,), (table, body, b"")):
        with pytest.raises(ControlError):
            control_coding.decode_sealed(head, frames)
    message = control_coding.decode_sealed(frames_of(control.Watch("live/a"))[0], ())
    assert message == control.Watch("live/a")
    with pytest.raises(ControlError):
        control_coding.decode_sealed(frames_of(message)[0], (b"",))


def test_the_bytes_of_a_control_message_that_a_router_reads_are_bounded() -> None:
    load = {"x" * (MAX_CONTROL_BYTES - 20): 1.0}
    (head,) = frames_of(control.Heartbeat(load, False, 1))
    assert len(head) == MAX_CONTROL_BYTES
    assert control_coding.decode_sealed(head, ()) == control.Heartbeat(load, False, 1)
    (head,) = frames_of(control.Heartbeat(load, False, 200))
    assert len(head) == MAX_CONTROL_BYTES + 1
    with pytest.raises(ControlError, match="a control message of 1048577 bytes"):
        control_coding.decode_sealed(head, ())


def test_the_bytes_of_a_snapshot_that_a_router_passes_on_are_bounded() -> None:
    head = frames_of(control.Snapshot("k", 7, 0, [], []))[0]
    room = MAX_SNAPSHOT_BYTES - len(head)
    assert isinstance(control_coding.decode_sealed(head, (range(room), b"")), control.SealedSnapshot)
    with pytest.raises(ControlError, match="bytes in 3 frames"):
        control_coding.decode_sealed(head, (range(room), b"1"))


def test_an_identity() -> None:
    identity = WorkerIdentity("edge-1", "1a2b", 2, 17)
    assert identity.worker_id == "edge-1/1a2b/2/17"
    assert identity.place == ("edge-1", "1a2b", 2)
    longest = WorkerIdentity("n" * MAX_NODE_BYTES, "i" * MAX_INSTANCE_BYTES, 2**16, 2**63 - 1)
    assert len(longest.worker_id) <= 255  # what a routing id may have
    no_names = [(node, "i") for node in ("", "n" * (MAX_NODE_BYTES + 1), "a\0")]
    no_instances = [("n", instance) for instance in ("", "i" * (MAX_INSTANCE_BYTES + 1), "a/b", "é", "\0")]
    for node, instance in no_names + no_instances:
        with pytest.raises(MisuseError):
            WorkerIdentity(node, instance, 0, 0)
        with pytest.raises(ControlError):
            control_coding.decode(frames_of(control.Hello(node, instance, 0, 0, False, {}, [], [])))


def test_the_id_of_a_node_that_reports() -> None:
    for node in ("n/i", "rack/n/1a2b", f"{'n' * MAX_NODE_BYTES}/{'i' * MAX_INSTANCE_BYTES}"):
        report = control.NodeReport(node, [])
        assert control_coding.decode(frames_of(report)) == report
    longer = (f"{'n' * (MAX_NODE_BYTES + 1)}/i", f"n/{'i' * (MAX_INSTANCE_BYTES + 1)}")
    for node in ("", "n", "n/", "/i", "n/é", "n/a b", "\0/i", *longer):
        with pytest.raises(ControlError):
            control_coding.decode(frames_of(control.NodeReport(node, [])))


def test_what_msgpack_does_not_know_is_our_mistake() -> None:
    with pytest.raises(MisuseError):
        control_coding.encode(control.Watch(object()))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=3))
def test_garbage_raises_nothing_else(frames: list[bytes]) -> None:
    with pytest.raises(ControlError):
        control_coding.decode(frames)


msgpack_values = st.recursive(
    st.sampled_from([None, True, False])
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 40), st.lists(msgpack_values, max_size=8), st.lists(st.binary(), max_size=1))
def test_any_fields_raise_nothing_else(tag: int, values: list[Any], body: list[bytes]) -> None:
    try:
        head = msgpack.packb([VERSION, tag, *values])
    except (UnicodeEncodeError, OverflowError):
        return
    try:
        control_coding.decode([head, *body])
    except ControlError:
        pass


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(EXAMPLES), st.integers(0, 60), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(message: ControlMessage, offset: int, value: int) -> None:
    head, *body = frames_of(message)
    data = bytearray(head)
    data[offset % len(data)] = value
    try:
        control_coding.decode([bytes(data), *body])
    except ControlError:
        pass
