"""Audio that waits for the next frame: with whom, for how long, and when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from cluster.edge.streams.audio_hold import LATE_SHARE, LEARN_S, LEAST_QUIET_BYTES
from cluster.edge.streams.flv_encoding import FLV
from support.house import AAC_HEADER, AVC_HEADER, KEY, SteppedLoop, audio, stepped_loop, video
from support.streams import RULES, FakePublisher, FakeSink, make_streams

HOLD_S = RULES.audio_hold_s
LONGEST_S = HOLD_S * (1 + LATE_SHARE)
#: A wait of a little more than that, whatever floats make of it.
OVER_S = LONGEST_S + 0.001
#: What TCP sends at once over Ethernet.
SEGMENT_BYTES = 1_460


class Scene:
    """A publisher with audio and video, and a player that notes what it is sent."""

    def __init__(self, loop: SteppedLoop, hold_s: float = HOLD_S) -> None:
        self.loop = loop
        self.streams, self.link = make_streams(loop, replace(RULES, audio_hold_s=hold_s))
        self.sink, self.publisher = FakeSink(), FakePublisher()
        self.reader = self.streams.play("live/a", self.sink, FLV)
        loop.run_until_complete(self.streams.publishing.request("live/a", self.publisher))
        self.feed(Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER), video(0, KEY, size=9000))
        self._tags = FlvReader()
        self.new()

    def feed(self, *messages: Message, after_s: float = 0.0) -> None:
        """What comes together, in one turn."""
        if after_s:
            self.loop.advance(after_s)
        self.streams.turn.begin()
        for message in messages:
            self.publisher.feed.append(message)
        self.streams.turn.end()

    def new(self) -> list[int]:
        """The timestamps of what the player has been sent since."""
        data, self.sink.taken = self.sink.taken, b""
        return [message.timestamp for message in self._tags.feed(data)]

    def ride(self) -> None:
        """Frames come often enough: from here on audio waits."""
        self.feed(video(20, size=9000), after_s=0.02)
        self.new()


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


@pytest.fixture
def scene(loop: SteppedLoop) -> Scene:
    return Scene(loop)


def test_audio_goes_out_with_the_next_frame_in_the_order_in_which_it_came(scene: Scene) -> None:
    scene.ride()
    scene.feed(audio(23), after_s=0.003)
    scene.feed(audio(46), after_s=0.01)
    assert scene.new() == []
    scene.feed(video(60), after_s=0.01)
    assert scene.new() == [23, 46, 60]


def test_before_the_second_frame_audio_does_not_wait(scene: Scene) -> None:
    scene.feed(audio(23), after_s=0.003)
    assert scene.new() == [23]


@pytest.mark.parametrize(("after_s", "waits"), [(LONGEST_S, True), (OVER_S, False)])
def test_audio_waits_only_for_frames_that_come_often(scene: Scene, after_s: float, waits: bool) -> None:
    scene.feed(video(60), after_s=after_s)
    scene.new()
    scene.feed(audio(61))
    assert scene.new() == ([] if waits else [61])


def test_audio_goes_alone_once_the_frame_is_late_and_then_waits_no_more(scene: Scene) -> None:
    scene.ride()
    scene.feed(audio(23), after_s=0.003)
    scene.loop.advance(LONGEST_S - 0.004)
    assert scene.new() == []
    scene.loop.advance(0.002)
    assert scene.new() == [23]
    scene.feed(audio(90))
    assert scene.new() == [90]


def test_it_waits_again_once_frames_come_often_again(scene: Scene) -> None:
    scene.ride()
    scene.loop.advance(1.0)
    scene.feed(video(1000))
    scene.feed(video(1020), after_s=0.02)
    scene.new()
    scene.feed(audio(1021))
    assert scene.new() == []


def test_no_audio_waits_without_a_hold(loop: SteppedLoop) -> None:
    scene = Scene(loop, hold_s=0.0)
    scene.ride()
    scene.feed(audio(23))
    assert scene.new() == [23]
    assert scene.publisher.feed.append == scene.streams.by_key["live/a"].append


def test_with_a_player_without_video_audio_does_not_wait(scene: Scene) -> None:
    scene.ride()
    listener = scene.streams.play("live/a", FakeSink(), FLV)
    listener.want(video=False)
    scene.feed(audio(23), after_s=0.001)
    assert scene.new() == []  # until it is looked at
    scene.feed(video(60), after_s=0.02)
    scene.loop.advance(0.035)
    scene.new()
    scene.feed(audio(61))
    assert scene.new() == [61]
    listener.leave()
    scene.feed(video(80), after_s=0.01)
    scene.new()
    scene.feed(audio(81))
    assert scene.new() == []


def test_the_last_audio_goes_out_when_the_publisher_leaves(scene: Scene) -> None:
    scene.ride()
    scene.feed(audio(23), after_s=0.003)
    scene.publisher.feed.end()
    assert scene.new() == [23]


def test_another_publisher_finds_nothing_left_of_the_one_before(scene: Scene) -> None:
    scene.ride()
    scene.feed(audio(23), after_s=0.003)
    first = scene.publisher
    scene.publisher = FakePublisher()
    scene.loop.run_until_complete(scene.streams.publishing.request("live/a", scene.publisher))
    assert scene.new() == [23]
    scene.feed(audio(0))
    assert len(scene.new()) == 1
    first.feed.end()  # too late: without effect
    assert scene.streams.publishing.feed("live/a") is scene.publisher.feed


def test_the_bus_is_given_both_in_one_envelope(scene: Scene) -> None:
    stream = scene.streams.by_key["live/a"]
    stream.set_wanted(True)
    scene.ride()
    scene.link.published.clear()
    scene.feed(audio(23), after_s=0.003)
    scene.feed(video(40), after_s=0.01)
    [envelope] = scene.link.published
    assert [message.timestamp for message in envelope.messages] == [23, 40]


def test_a_joiner_misses_nothing_that_waits(scene: Scene) -> None:
    scene.ride()
    scene.feed(audio(23), after_s=0.003)
    late = FakeSink()
    scene.streams.play("live/a", late, FLV)
    scene.feed(video(40), after_s=0.01)
    assert [message.timestamp for message in FlvReader().feed(late.taken)][-4:] == [0, 20, 23, 40]


def test_streams_that_ride_are_looked_at_by_one_timer(loop: SteppedLoop) -> None:
    scene = Scene(loop)
    publishers = [FakePublisher() for _ in range(5)]
    for number, publisher in enumerate(publishers):
        scene.streams.play(f"live/{number}", FakeSink(), FLV)
        loop.run_until_complete(scene.streams.publishing.request(f"live/{number}", publisher))
    for ms in (0, 20):
        loop.advance(0.02)
        scene.streams.turn.begin()
        for publisher in publishers:
            publisher.feed.append(video(ms, KEY))
        scene.streams.turn.end()
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert len(timers) == 1
    loop.advance(LONGEST_S)
    loop.advance(LONGEST_S)
    assert not [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


def test_what_fails_in_a_look_is_reported_and_ends_no_looks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[object] = []
    scene.loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    scene.ride()

    def fail() -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    scene.feed(video(60), after_s=LONGEST_S - 0.01)
    scene.feed(audio(61))
    scene.new()
    monkeypatch.setattr(scene.streams.turn, "look_back", fail)
    scene.loop.advance(0.02)  # the first frame would be late now; the second is not
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert scene.new() == []
    scene.loop.advance(LONGEST_S)
    assert scene.new() == [61]


# ---- what a publisher's socket need not wake the worker for ----------------------------------


def frames_for(scene: Scene, seconds: float, size: int) -> None:
    for _ in range(round(seconds / 0.02)):
        scene.feed(video(0, size=size), after_s=0.02)


def test_what_is_smaller_than_any_frame_may_wait_once_that_is_known(scene: Scene) -> None:
    frames_for(scene, LEARN_S + HOLD_S, 3000)
    assert scene.publisher.waits_for == []
    frames_for(scene, LEARN_S + HOLD_S, 2000)
    smallest = 2000 + len(KEY)
    assert scene.publisher.waits_for[-1] == smallest
    frames_for(scene, 3 * (LEARN_S + HOLD_S), 2500)
    assert scene.publisher.waits_for[-1] == 2500 + len(KEY)


def test_a_smaller_frame_lowers_it_at_once(scene: Scene) -> None:
    frames_for(scene, 2 * (LEARN_S + HOLD_S), 2000)
    scene.feed(video(0, size=1600), after_s=0.02)
    assert scene.publisher.waits_for[-1] == 1600 + len(KEY)


@pytest.mark.parametrize(
    ("size", "waits"),
    [(LEAST_QUIET_BYTES, True), (LEAST_QUIET_BYTES - 1, False), (SEGMENT_BYTES, False)],
)
def test_frames_as_small_as_audio_or_a_segment_make_nothing_wait(
    scene: Scene, size: int, waits: bool
) -> None:
    frames_for(scene, 2 * (LEARN_S + HOLD_S), size - len(KEY))
    assert bool(scene.publisher.waits_for and scene.publisher.waits_for[-1]) == waits


def test_nothing_waits_any_more_when_the_frames_cease(scene: Scene) -> None:
    frames_for(scene, 2 * (LEARN_S + HOLD_S), 2000)
    scene.loop.advance(2 * LONGEST_S)
    assert scene.publisher.waits_for[-1] == 0


def test_nothing_waits_any_more_when_the_publisher_leaves(scene: Scene) -> None:
    frames_for(scene, 2 * (LEARN_S + HOLD_S), 2000)
    scene.publisher.feed.end()
    assert scene.publisher.waits_for[-1] == 0

