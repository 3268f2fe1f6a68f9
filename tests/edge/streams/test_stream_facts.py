"""What a worker reports of its streams: rates, codecs, players."""

from __future__ import annotations

import itertools

import pytest
from stream_support import FakeOwner, join

from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.control import Report
from cluster.core.bus.control_coding import decode, encode
from cluster.core.media.stream_log import LogLimits
from cluster.core.message import Message, MessageType
from cluster.edge.streams.facts import FactsReporter
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.stream import Stream

AVC_HEADER = bytes.fromhex("17 00 000000 0164001F")
AAC_HEADER = bytes.fromhex("AF 00 1190")
HEVC_HEADER = bytes.fromhex("90 68766331 0101")


@pytest.fixture
def stream() -> Stream:
    made = Stream("live/a", FakeOwner(), LogLimits(), SlowRule(skip_ms=5000, close_s=30))
    made.begin(1, is_local=True)
    return made


def _video(payload: bytes) -> Message:
    return Message(MessageType.VIDEO, 0, payload, 1)


def test_a_rate_is_that_since_the_report_before(stream: Stream) -> None:
    facts = FactsReporter()
    assert facts.report([stream], 10.0) == [StreamFacts("live/a", 0, "", 0)]
    stream.append(Message(MessageType.AUDIO, 0, b"\xaf\x01" + bytes(998), 1))
    assert facts.report([stream], 12.0) == [StreamFacts("live/a", 0, "", 4000)]


def test_a_stream_that_was_forgotten_and_is_published_anew_has_no_rate_below_nothing(
    stream: Stream,
) -> None:
    """A publisher without players that connects again: routers take no report with such a number."""
    facts = FactsReporter()
    stream.append(Message(MessageType.AUDIO, 0, b"\xaf\x01" + bytes(998), 1))
    facts.report([stream], 10.0)
    anew = Stream("live/a", stream._owner, LogLimits(), SlowRule(skip_ms=5000, close_s=30))
    anew.begin(2, is_local=True)
    report = facts.report([anew], 12.0)
    assert report == [StreamFacts("live/a", 0, "", 0)]
    assert decode([bytes(part) for part in encode(Report(report))]) == Report(report)


def test_codecs_are_read_from_the_headers_and_again_when_those_change(stream: Stream) -> None:
    facts = FactsReporter()
    seconds = itertools.count(1)

    def codecs() -> str:
        return facts.report([stream], float(next(seconds)))[0].codecs

    stream.append(_video(AVC_HEADER))
    assert codecs() == codecs() == "avc1"
    stream.append(Message(MessageType.AUDIO, 0, AAC_HEADER, 1))
    assert codecs() == "avc1 mp4a"
    stream.append(_video(HEVC_HEADER))
    assert codecs() == "hvc1 mp4a"


def test_a_stream_from_elsewhere_is_reported_for_its_players_alone(stream: Stream) -> None:
    stream.begin(2, is_local=False)
    facts = FactsReporter()
    assert facts.report([stream], 1.0) == []
    join(stream)
    assert facts.report([stream], 2.0) == [StreamFacts("live/a", 1, "", 0)]


def test_a_stream_that_is_only_waited_for_is_not_reported(stream: Stream) -> None:
    join(stream)
    stream.end()
    assert FactsReporter().report([stream], 1.0) == []
