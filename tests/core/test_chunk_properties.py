"""Chunks of any shape: what is written is read, however it is cut; noise only violates."""

import struct

from chunk_support import chunk, extended_bytes, read_pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.chunk_writer import ChunkWriter, encode_shared

SETTINGS = settings(deadline=None, max_examples=150)
ROOMY = Limits(max_partial_bytes=1 << 30)

chunk_stream_ids = st.sampled_from([2, 3, 4, 6, 63, 64, 68, 319, 320, 1000, 65599])
timestamps = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 200),
    st.sampled_from([0xFFFFFE, 0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
)
# Bytes that look like headers and extended timestamps are likelier than chance would make them.
payloads = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda piece, times: piece * times,
        st.sampled_from([b"\xc6", b"\xc4", b"\x06\xff\xff\xff", b"\x00\x01\x02", b"\xc6\x01\x00\x00\x00"]),
        st.integers(0, 300),
    ),
)
# Types 1 and 2 act on the reader, so they come from elsewhere.
messages = st.builds(
    Message, st.sampled_from([3, 8, 9, 18, 20, 22, 255]), timestamps, payloads, st.integers(0, 3)
)
chunk_sizes = st.one_of(st.integers(1, 9), st.sampled_from([64, 127, 128, 129, 4096, 65536]))


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    step = draw(st.sampled_from([0, 1, 2, 3, 17, 18, 19, 130]))
    if step:
        return [data[i : i + step] for i in range(0, len(data), step)]
    at = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@SETTINGS
@given(st.data())
def test_written_messages_are_read_however_cut(data: st.DataObject) -> None:
    writer = ChunkWriter()
    expected: list[Message] = []
    wire = b""
    for message in data.draw(st.lists(messages, max_size=12)):
        if data.draw(st.booleans()):
            announcement = Message(1, 0, struct.pack(">I", data.draw(chunk_sizes)))
            wire += writer.encode(announcement, 2)
            expected.append(announcement)
        wire += writer.encode(message, data.draw(chunk_stream_ids))
        expected.append(message)
    assert read_pieces(data.draw(cuts(wire)), ROOMY) == (expected, None)


@SETTINGS
@given(st.data(), chunk_sizes, st.lists(st.tuples(messages, chunk_stream_ids), max_size=12))
def test_shared_messages_are_read_from_any_message_on(
    data: st.DataObject, chunk_size: int, sent: list[tuple[Message, int]]
) -> None:
    first = data.draw(st.integers(0, len(sent)))
    announcement = Message(1, 0, struct.pack(">I", chunk_size))
    wire = ChunkWriter().encode(announcement, 2)
    for message, csid in sent[first:]:
        wire += b"".join(encode_shared(message, csid, chunk_size))
    expected = [announcement, *(message for message, _ in sent[first:])]
    assert read_pieces(data.draw(cuts(wire)), ROOMY) == (expected, None)


class Sender:
    """A chunk stream of a peer that uses every liberty of the format; what its reader must conclude."""

    def __init__(self, csid: int) -> None:
        self.csid = csid
        self.opened = False
        self.timestamp = self.delta = self.type_id = self.msid = self.length = 0
        self.extended = b""
        #: Payload of the present message that is not sent, and all of it; None between messages.
        self.rest = b""
        self.payload: bytes | None = None

    def start(self, draw: st.DrawFn, fmt: int, chunk_size: int) -> bytes:
        new = draw(messages)
        if fmt < 2:
            self.type_id, self.length = new.type_id, len(new.payload)
        if fmt == 0:
            self.msid = new.stream_id
        if fmt < 3:
            self.delta, self.extended = new.timestamp, extended_bytes(new.timestamp)
        self.timestamp = self.delta if fmt == 0 else (self.timestamp + self.delta) % 2**32
        self.payload = self.rest = (new.payload + bytes(self.length))[: self.length]
        self.opened = True
        return self.go_on(draw, fmt, chunk_size)

    def go_on(self, draw: st.DrawFn, fmt: int, chunk_size: int) -> bytes:
        piece, self.rest = self.rest[:chunk_size], self.rest[chunk_size:]
        extended = self.extended
        # An old sender leaves it out of format 3; payload that begins differently shows that.
        if fmt == 3 and piece and extended and piece[0] != extended[0] and draw(st.booleans()):
            extended = b""
        header = {"field": self.delta, "length": self.length, "type_id": self.type_id, "msid": self.msid}
        return chunk(fmt, self.csid, piece, extended=extended, **header)

    def finished(self) -> list[Message]:
        if self.rest or self.payload is None:
            return []
        message = Message(self.type_id, self.timestamp, self.payload, self.msid)
        self.payload = None
        return [message]


@SETTINGS
@given(st.data())
def test_interleaved_chunks_of_any_format_follow_the_state_machine(data: st.DataObject) -> None:
    """Each step starts, goes on with, abandons or aborts a message, or changes the chunk size."""
    draw = data.draw
    not_control = chunk_stream_ids.filter(lambda csid: csid != 2)
    ids = draw(st.lists(not_control, min_size=1, max_size=3, unique=True))
    senders = [Sender(csid) for csid in ids]
    controller = ChunkWriter()
    wire, expected, discarded = b"", [], 0
    for _ in range(draw(st.integers(0, 30))):
        sender = draw(st.sampled_from(senders))
        step = draw(st.sampled_from(["chunk"] * 6 + ["abandon", "abort", "size"]))
        if step in ("abort", "size"):
            value = sender.csid if step == "abort" else draw(chunk_sizes)
            control = Message(2 if step == "abort" else 1, 0, struct.pack(">I", value))
            wire += controller.encode(control, 2)
            expected.append(control)
            if step == "abort":
                sender.payload = None
        elif sender.payload is None or step == "abandon":
            discarded += sender.payload is not None
            formats = [0, 1] if not sender.opened else [0, 1, 2, 3] if sender.payload is None else [0, 1, 2]
            wire += sender.start(draw, draw(st.sampled_from(formats)), controller.chunk_size)
            expected += sender.finished()
        else:
            wire += sender.go_on(draw, 3, controller.chunk_size)
            expected += sender.finished()
    assert read_pieces(draw(cuts(wire)), ROOMY) == (expected, None)
    reader = ChunkReader(ROOMY)
    reader.feed(wire)
    assert reader.discarded_partials == discarded
    held = [len(sender.payload) - len(sender.rest) for sender in senders if sender.payload is not None]
    assert reader.partial_bytes == sum(held)


@SETTINGS
@given(st.binary(max_size=600), st.data())
def test_noise_gives_the_same_messages_and_violation_however_cut(noise: bytes, data: st.DataObject) -> None:
    assert read_pieces(data.draw(cuts(noise)), ROOMY) == read_pieces([noise], ROOMY)


@SETTINGS
@given(st.data())
def test_broken_chunks_give_the_same_messages_and_violation_however_cut(data: st.DataObject) -> None:
    """Headers that are well formed, and payloads that are not what they announce."""
    part = st.tuples(chunk_stream_ids, st.integers(0, 3), payloads, timestamps)
    parts = data.draw(st.lists(part, max_size=30))
    length = data.draw(st.integers(0, 300))
    wire = b"".join(
        chunk(fmt, csid, payload, field=time, length=length, type_id=1 + time % 9)
        for csid, fmt, payload, time in parts
    )
    assert read_pieces(data.draw(cuts(wire)), ROOMY) == read_pieces([wire], ROOMY)


@SETTINGS
@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 400))
def test_what_is_held_stays_within_the_limit_and_what_was_fed(noise: list[bytes], limit: int) -> None:
    reader = ChunkReader(Limits(max_partial_bytes=limit))
    reader.feed(chunk(0, 4, b"", length=0xFFFF))
    fed = 0
    for piece in noise:
        try:
            reader.feed(piece)
        except PeerViolation:
            return
        fed += len(piece)
        assert reader.partial_bytes <= min(limit, fed)
