"""What the headers of a stream say of it is read once, and given back with them."""

from __future__ import annotations

import weakref

import pytest
from stream_support import FakeOwner

from cluster.core.media.stream_log import LogLimits
from cluster.core.message import Message, MessageType
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.stream import Stream

AVC_HEADER = bytes.fromhex("17 00 000000 0164001F")
AAC_HEADER = bytes.fromhex("AF 00 1190")
OTHER_AAC_HEADER = bytes.fromhex("AF 00 1210")


@pytest.fixture
def stream() -> Stream:
    made = Stream("live/a", FakeOwner(), LogLimits(), SlowRule(skip_ms=5000, close_s=30))
    made.begin(1, is_local=True)
    for type_id, header in ((MessageType.VIDEO, AVC_HEADER), (MessageType.AUDIO, AAC_HEADER)):
        made.append(Message(type_id, 0, header, 1))
    return made


def test_it_stays_while_the_headers_say_the_same(stream: Stream) -> None:
    description = stream.description()
    assert description.codecs == "avc1 mp4a"
    assert stream.description() is description
    stream.append(Message(MessageType.VIDEO, 40, bytes(AVC_HEADER), 1))
    assert stream.description() is description


@pytest.mark.parametrize(
    ("message", "codecs"),
    [
        (Message(MessageType.AUDIO, 0, OTHER_AAC_HEADER, 1), "avc1 mp4a"),
        (Message(MessageType.VIDEO, 0, bytes.fromhex("90 68766331 0101"), 1), "hvc1 mp4a"),
        (Message(MessageType.DATA_AMF0, 0, b"\x02\x00\x0aonMetaData\x08\0\0\0\0\0\0\x09", 1), "avc1 mp4a"),
    ],
)
def test_other_headers_make_another(stream: Stream, message: Message, codecs: str) -> None:
    description = stream.description()
    stream.append(message)
    assert stream.description() is not description
    assert stream.description().codecs == codecs
    assert stream.description().headers == stream.log.headers()


def test_another_publisher_makes_another(stream: Stream) -> None:
    description = stream.description()
    stream.begin(2, is_local=True)
    assert stream.description() is not description
    assert stream.description().codecs == ""


@pytest.mark.parametrize("over", [Stream.end, Stream.retire])
def test_it_is_given_back_when_the_stream_is_over(stream: Stream, over: object) -> None:
    kept = weakref.ref(stream.description())
    assert kept() is not None
    over(stream)  # type: ignore[operator]
    assert kept() is None
