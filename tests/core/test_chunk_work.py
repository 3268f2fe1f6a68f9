"""What reading costs is counted in chunks, and bounded in one go without changing what is read."""

from __future__ import annotations

import itertools

import pytest
from chunk_support import chunk, control
from session_support import AAC, KEYFRAME, publishing

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import command
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import CommandReceived
from cluster.core.rtmp.session import AMF_BYTES_PER_WORK, COMMAND_WORK

AUDIO, VIDEO = bytes(range(40)), bytes(range(100, 140))


def tiny_chunks() -> bytes:
    """Two messages in chunks of one byte that take turns, then one whose chunks follow each other."""
    out = control(1, 1) + chunk(0, 4, AUDIO[:1], length=len(AUDIO), type_id=8)
    out += chunk(0, 6, VIDEO[:1], length=len(VIDEO))
    for audio, video in zip(AUDIO[1:], VIDEO[1:], strict=True):
        out += chunk(3, 4, bytes([audio])) + chunk(3, 6, bytes([video]))
    out += chunk(0, 6, VIDEO[:1], field=5, length=len(VIDEO))
    return out + b"".join(chunk(3, 6, bytes([byte])) for byte in VIDEO[1:])


TINY = tiny_chunks()
READ = [
    Message(1, 0, bytes([0, 0, 0, 1]), 0), Message(8, 0, AUDIO, 1), Message(9, 0, VIDEO, 1),
    Message(9, 5, VIDEO, 1),
]  # fmt: skip


def read_on(reader: ChunkReader, data: bytes) -> list[Message]:
    """All of ``data``, in as many goes as it takes."""
    buffer = bytearray(data)
    messages = reader.feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))  # nothing may be left that is read from there
    while reader.unread:
        messages += reader.feed(reader.unread)
    return messages


@pytest.mark.parametrize("at_once", [1, 2, 3, 10, 84, 85, 86, 1000])
def test_in_several_goes_the_same_is_read_however_it_is_cut(at_once: int) -> None:
    limits = Limits(max_work_at_once=at_once)
    assert read_on(ChunkReader(limits), TINY) == READ
    for cut in range(len(TINY) + 1):
        reader = ChunkReader(limits)
        assert read_on(reader, TINY[:cut]) + read_on(reader, TINY[cut:]) == READ
    reader = ChunkReader(limits)
    assert list(itertools.chain(*(read_on(reader, bytes([byte])) for byte in TINY))) == READ


def test_what_is_one_chunk_too_many_is_left_unread() -> None:
    interleaved = control(1, 1) + chunk(0, 4, b"a", length=2, type_id=8) + chunk(0, 6, b"v", length=2)
    last = chunk(3, 6, b"v")
    data = interleaved + chunk(3, 4, b"a") + last
    exact, one_short = (ChunkReader(Limits(max_work_at_once=count)) for count in (5, 4))
    assert len(exact.feed(data)) == 3
    assert exact.unread == b""
    assert len(one_short.feed(data)) == 2
    assert one_short.unread == last
    assert one_short.feed(b"") == [], "nothing is read out of turn"
    assert one_short.unread == last
    assert one_short.feed(one_short.unread) == [Message(9, 0, b"vv", 1)]
    assert one_short.unread == b""


def test_chunks_that_are_looked_at_by_themselves_count_and_runs_do_not() -> None:
    def work(data: bytes) -> int:
        reader = ChunkReader(Limits())
        reader.feed(data)
        return reader.work

    run = chunk(0, 6, b"v", length=200) + chunk(3, 6, b"v") * 199
    turns = chunk(0, 4, b"a", length=100) + chunk(0, 6, b"v", length=100)
    turns += (chunk(3, 4, b"a") + chunk(3, 6, b"v")) * 99
    assert work(control(1, 1) + run) < 12
    assert 200 <= work(control(1, 1) + turns) < 220
    messages = chunk(0, 4, b"a", type_id=8) + chunk(3, 4, b"a") * 99
    assert 400 <= work(messages) < 405
    assert work(chunk(0, 6, bytes(128), length=100_000) + chunk(3, 6, bytes(128)) * 700) < 20


def test_a_violation_behind_what_was_read_in_an_earlier_go() -> None:
    reader = ChunkReader(Limits(max_work_at_once=1))
    assert len(reader.feed(chunk(0, 4, b"a", type_id=8) + chunk(3, 9, b"x"))) == 1
    reader.check()
    with pytest.raises(PeerViolation) as caught:
        reader.feed(reader.unread)
    assert caught.value.reason is CloseReason.BAD_CHUNK
    with pytest.raises(PeerViolation):
        reader.check()


def test_a_session_counts_what_it_is_given_again_once() -> None:
    session, _ = publishing(Limits(max_work_at_once=2))
    before, work = session.bytes_received, session.work
    writer = ChunkWriter()
    media = [Message(9, 0, KEYFRAME, 1), Message(8, 5, AAC, 1), Message(8, 9, AAC, 1)]
    data = b"".join(writer.encode(message, 4 + message.type_id % 2) for message in media)
    received = session.receive(data, 1.0)
    assert session.unread
    assert session.receive(b"", 1.0) == []
    while session.unread:
        received += session.receive(session.unread, 1.0)
    assert received == media
    assert session.bytes_received - before == len(data)
    assert session.work - work >= 4 * len(media)


def test_each_part_of_an_aggregate_is_a_message() -> None:
    server, peer = publishing()
    before = server.work
    parts = 1000
    received = peer.send(Message(22, 0, (b"\x08" + bytes(14)) * parts, 1))
    assert len(received) == parts
    assert server.work - before >= 4 * parts


def test_commands_beyond_the_work_of_one_go_come_with_the_next_in_order() -> None:
    session, _ = publishing(Limits(max_work_at_once=3 * (COMMAND_WORK + 1)))
    writer = ChunkWriter()
    calls = [command.encode(Command(f"call{number}", 0.0, None)) for number in range(10)]
    sent = [*calls[:8], Message(9, 0, KEYFRAME, 1), *calls[8:]]
    data = b"".join(writer.encode(message, 3) for message in sent)
    before = session.side_work
    received = session.receive(data, 1.0)
    assert len(received) == 3
    assert session.has_unread
    goes = 1
    while session.has_unread:
        received += session.receive(session.unread, 1.0)
        goes += 1
    assert goes == 4
    shown = [each.command.name if isinstance(each, CommandReceived) else "media" for each in received]
    assert shown == [*(f"call{number}" for number in range(8)), "media", "call8", "call9"]
    size = sum(len(each.payload) for each in calls) // AMF_BYTES_PER_WORK
    assert 10 * COMMAND_WORK <= session.side_work - before <= 10 * COMMAND_WORK + size
    assert session.work >= session.side_work


def test_the_bytes_of_messages_that_do_not_end_are_known() -> None:
    session, _ = publishing(Limits())
    data = ChunkWriter().encode(Message(9, 0, KEYFRAME + bytes(1_000), 1), 6)
    assert session.unfinished_bytes == 0
    session.receive(data[:100], 1.0)
    assert session.unfinished_bytes == 100 - 12
    session.receive(data[100:], 1.0)
    assert session.unfinished_bytes == 0


def test_what_a_message_lacks_is_known_to_whoever_waits_for_it() -> None:
    session, _ = publishing(Limits())
    data = ChunkWriter().encode(Message(9, 0, KEYFRAME, 1), 6)  # one chunk
    assert session.lacking_bytes == 0
    session.receive(data[:-5], 1.0)
    assert session.lacking_bytes == 5
    session.receive(data[-5:], 1.0)
    assert session.lacking_bytes == 0


def test_media_are_no_side_work_and_never_wait_for_it() -> None:
    session, _ = publishing(Limits(max_work_at_once=1_000))
    before = session.side_work
    writer = ChunkWriter()
    media = [Message(9, 40 * number, KEYFRAME, 1) for number in range(200)]
    received = session.receive(b"".join(writer.encode(each, 6) for each in media), 1.0)
    assert received == media
    assert session.side_work == before
