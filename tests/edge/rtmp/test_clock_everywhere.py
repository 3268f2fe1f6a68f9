"""One clock, wherever it is looked at: messages stamped by another clock move no medium for anybody.

The same stream is seen by a player that was there already, by one that joins, by a player of another
worker, by a client that goes over connections, and in an FLV file.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.client.flv_sink import FlvSink
from cluster.client.rejoin import Rejoin
from cluster.core.amf import amf0
from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from support.house import AAC_HEADER, AVC_HEADER, INTER, KEY, House, Peer, audio, bring, stepped_loop, video

STREAM = "live/a"
ORIGIN = "test-node/0/1"
AUDIO, VIDEO, DATA, AGGREGATE = 8, 9, 18, 22
METADATA = amf0.encode("onMetaData", {"width": 1.0})
AWAY_S = 3.0

#: By name: message type and payload.
ODDITIES = {
    "data": (DATA, amf0.encode("onTextData", {"text": "a"})),
    "cue point": (DATA, amf0.encode("onCuePoint", {"name": "a"})),
    "empty audio": (AUDIO, b""),
    "empty video": (VIDEO, b""),
    "metadata": (DATA, METADATA),
    "audio header": (AUDIO, AAC_HEADER),
    "video header": (VIDEO, AVC_HEADER),
}
STAMPS = {"stamped 0": 0, "far ahead": 700_000, "far behind": 20_000}
SKEWS_MS = (500, 1500, 5000, 60_000)


class Worlds:
    """A publisher's worker and another that plays its stream over the bus, and who watches."""

    def __init__(self, origin: House, other: House) -> None:
        self.origin, self.other = origin, other
        self.epoch = 0
        self.sent: list[Message] = []
        origin.link.wanted_keys.add(STREAM)
        self.already = origin.player()
        self.elsewhere = other.player()
        self.joiner: Peer | None = None
        self.publisher = self._publish()

    def _publish(self) -> Peer:
        publisher = self.origin.publisher()
        self.epoch += 1
        self.other.streams.remote.stream_up(STREAM, self.epoch, ORIGIN)
        self.origin.send(publisher, Message(VIDEO, 0, AVC_HEADER, 1), Message(AUDIO, 0, AAC_HEADER, 1))
        self._carry()
        return publisher

    def send(self, *messages: Message) -> None:
        """Publish, and let the bus carry what comes of it."""
        self.sent += messages
        self.origin.send(self.publisher, *messages)
        self._carry()

    def _carry(self) -> None:
        carried, self.origin.link.published = self.origin.link.published, []
        remote = self.other.streams.remote
        for envelope in carried:
            bring(remote, envelope)
        if self.other.link.count("request_snapshot", STREAM):
            self.other.link.calls.clear()
            snapshot = self.origin.streams.remote.snapshot_requested(STREAM)
            assert snapshot is not None
            remote.snapshot_received(dataclasses.replace(snapshot, origin=ORIGIN))
        self.other.settle()

    def join(self) -> None:
        self.joiner = self.origin.player()

    def return_after(self, seconds: float) -> None:
        """The publisher leaves without a word and comes back."""
        self.origin.advance(0)
        self.other.advance(0)
        self.origin.leave(self.publisher)
        self.other.streams.remote.stream_down(STREAM, self.epoch)
        self.origin.advance(seconds)
        self.other.advance(seconds)
        self.publisher = self._publish()

    def seen(self, tmp_path: Path) -> dict[str, list[Message]]:
        """What each watcher got, by name."""
        assert self.joiner is not None
        views = {
            "already": self.already.media, "elsewhere": self.elsewhere.media, "joiner": self.joiner.media,
        }  # fmt: skip
        rejoin = Rejoin()
        placed = [rejoin.place(message) for message in self.already.media]
        views["client"] = [message for message in placed if message is not None]
        with FlvSink(tmp_path / "a.flv") as sink:
            for message in self.already.media:
                sink.write(message)
        views["file"] = FlvReader().feed((tmp_path / "a.flv").read_bytes())
        return views


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    with stepped_loop() as loop, stepped_loop() as other_loop:
        houses = House(loop), House(other_loop)
        yield Worlds(*houses)
        for house in houses:
            house.close()


def frames(first_ms: int, count: int, *, skew_ms: int = 0) -> list[Message]:
    """Video, a keyframe each ten, and audio ``skew_ms`` ahead of it; each frame tells its number."""
    made = []
    for number in range(count):
        at = first_ms + 40 * number
        mark = (first_ms + number).to_bytes(4, "big")
        head = KEY if number % 10 == 0 else INTER
        made.append(Message(VIDEO, at, head + mark, 1))
        made.append(Message(AUDIO, at + skew_ms, b"\xaf\x01" + mark, 1))
    return made


def shifts(sent: list[Message], got: list[Message]) -> dict[int, list[int]]:
    """By medium, how far each frame stands from its stamp, in order of arrival."""
    stamps = {bytes(message.payload): message.timestamp for message in sent}
    moved: dict[int, list[int]] = {AUDIO: [], VIDEO: []}
    for message in got:
        if is_coded(message):
            moved[message.type_id].append(message.timestamp - stamps[bytes(message.payload)])
    return moved


def assert_nothing_goes_back(got: list[Message]) -> None:
    for medium in (AUDIO, VIDEO):
        times = [m.timestamp for m in got if m.type_id == medium and is_coded(m)]
        assert times == sorted(times)


def aggregate(stamp: int, parts: list[Message]) -> Message:
    body = io.BytesIO()
    for type_id, at, payload, _ in parts:
        body.write(bytes((type_id,)) + len(payload).to_bytes(3, "big"))
        body.write((at & 0xFFFFFF).to_bytes(3, "big") + bytes((at >> 24,)) + bytes(3) + payload)
        body.write((11 + len(payload)).to_bytes(4, "big"))
    return Message(AGGREGATE, stamp, body.getvalue(), 1)


@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_in_mid_stream(worlds: Worlds, tmp_path: Path, oddity: tuple[int, bytes], stamp: int) -> None:
    odd = Message(oddity[0], stamp, oddity[1], 1)
    worlds.send(*frames(100_000, 20), odd)
    worlds.join()
    worlds.send(*frames(100_800, 15), odd, *frames(101_400, 5), odd)
    for name, got in worlds.seen(tmp_path).items():
        moved = shifts(worlds.sent, got)
        assert {*moved[AUDIO], *moved[VIDEO]} == {-100_000 if name == "file" else 0}, name
        assert_nothing_goes_back(got)
        assert len(moved[VIDEO]) == (30 if name == "joiner" else 40), name
        for message in got:
            flags = flags_of(message.type_id, message.payload)
            if flags & MediaFlags.METADATA:
                assert message.timestamp == 0
            elif flags & MediaFlags.DATA and message.payload == odd.payload:
                assert 0 <= message.timestamp - (0 if name == "file" else 100_000) <= 2600
    assert odd.payload in [bytes(m.payload) for m in worlds.elsewhere.media]


@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_first_after_a_return(
    worlds: Worlds, tmp_path: Path, oddity: tuple[int, bytes], stamp: int
) -> None:
    odd = Message(oddity[0], stamp, oddity[1], 1)
    before = frames(100_000, 20)
    worlds.send(*before)
    worlds.return_after(AWAY_S)
    worlds.send(odd, *frames(100_800, 15))  # its clock went on while it was away, by less than the time
    worlds.join()
    worlds.send(*frames(101_400, 5))
    for name, got in worlds.seen(tmp_path).items():
        moved = shifts(worlds.sent, got)
        base = -100_000 if name == "file" else 0
        new = {AWAY_S * 1000 - 40 + base}
        if name == "joiner":
            assert {*moved[AUDIO], *moved[VIDEO]} == new
            continue
        assert {*moved[AUDIO][:20], *moved[VIDEO][:20]} == {base}, name
        assert {*moved[AUDIO][20:], *moved[VIDEO][20:]} == new, name
        assert_nothing_goes_back(got)


@pytest.mark.parametrize("stamp", [0, 20_000], ids=["stamped 0", "far behind"])
def test_a_stray_aggregate(worlds: Worlds, tmp_path: Path, stamp: int) -> None:
    """Its parts stand right behind what there was; what follows is where it was."""
    parts = frames(0, 3)
    worlds.send(*frames(100_000, 20))
    worlds.join()
    worlds.send(aggregate(stamp, parts), *frames(100_800, 20))
    worlds.sent += parts
    for name, got in worlds.seen(tmp_path).items():
        moved = shifts(worlds.sent, got)
        assert {*moved[AUDIO][-16:], *moved[VIDEO][-16:]} == {-100_000 if name == "file" else 0}, name
        assert_nothing_goes_back(got)


@pytest.mark.parametrize("skew_ms", [*SKEWS_MS, *(-skew for skew in SKEWS_MS)])
def test_audio_and_video_apart(worlds: Worlds, tmp_path: Path, skew_ms: int) -> None:
    first_ms = 100_000
    worlds.send(*frames(first_ms, 20, skew_ms=skew_ms))
    worlds.join()
    worlds.send(*frames(first_ms + 800, 10, skew_ms=skew_ms))
    base = -min(first_ms, first_ms + skew_ms)
    for name, got in worlds.seen(tmp_path).items():
        moved = shifts(worlds.sent, got)
        assert {*moved[AUDIO], *moved[VIDEO]} == {base if name == "file" else 0}, name
        assert len(moved[VIDEO]) == (20 if name == "joiner" else 30), name
    worlds.return_after(AWAY_S)
    worlds.send(*frames(first_ms, 10, skew_ms=skew_ms))
    for name, got in worlds.seen(tmp_path).items():
        assert_nothing_goes_back(got)
        assert all(len({*moved[-10:]}) == 1 for moved in shifts(worlds.sent, got).values()), name


def test_metadata_and_headers_of_a_joiner(worlds: Worlds) -> None:
    """What FFmpeg makes a track of subtitles of: onMetaData that is not stamped 0."""
    worlds.send(Message(DATA, 100_000, METADATA, 1), *frames(100_000, 20, skew_ms=-60_000))
    worlds.join()
    worlds.send(Message(DATA, 100_800, METADATA, 1))
    assert worlds.joiner is not None
    for peer in (worlds.already, worlds.joiner, worlds.elsewhere):
        assert {m.timestamp for m in peer.media if m.payload == METADATA} == {0}
    headers = [m for m in worlds.joiner.media if m.payload in (AVC_HEADER, AAC_HEADER)]
    assert [m.timestamp for m in headers] == [100_400, 40_400]


def test_the_helpers_tell_a_shift() -> None:
    sent = [video(5, KEY), audio(7)]
    got = [m._replace(timestamp=m.timestamp + 3) for m in sent]
    assert shifts(sent, got) == {VIDEO: [3], AUDIO: [3]}
