"""HLS of a worker: what is answered at once, what waits, for how long, and what all of it may take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urljoin

import pytest

from cluster.core.media.hls import HlsMuxer
from cluster.core.message import Message
from cluster.edge.http import hls_service
from cluster.edge.http.answer import Answer, Waiting
from cluster.edge.http.hls_request import fields_of
from cluster.edge.http.hls_service import FORGOTTEN_S, HlsService
from support.hls_checker import Parsed, parse
from support.house import AAC_HEADER, INTER, KEY, House, SteppedLoop, audio, stepped_loop, video

STREAM = "live/a"
AVC_HEADER = bytes.fromhex(
    "17000000000164001fffe1001b6764001facd9405005bb011000000300100000030320f183196001000668ebe3cb22c0"
)
TARGET_S = 4
LIST = "media.m3u8"


class Worker:
    """A worker's streams and its HLS. ``answers``: of each request, in order of asking."""

    def __init__(self, loop: SteppedLoop, max_bytes: int = 1 << 30) -> None:
        self.house = House(loop)
        self.loop = loop
        self.hls = HlsService(self.house.streams, max_bytes)
        self.ms = 0
        self.publisher: Any = None

    @property
    def counters(self) -> Any:
        return self.house.counters

    def publish(self, name: str = "a") -> None:
        self.publisher = self.house.publisher(name)
        self.ms = 0
        self.house.send(self.publisher, Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1))

    def play(self, seconds: float, size: int = 100) -> None:
        """The publisher sends so much: a keyframe every 2 s."""
        for _ in range(round(seconds * 25)):
            head = KEY if self.ms % 2000 == 0 else INTER
            self.house.send(self.publisher, video(self.ms, head, size), audio(self.ms + 1))
            self.ms += 40

    def ask(self, name: str = "", key: str = STREAM, **query: int | str) -> Asked:
        told = {f"_HLS_{field}": str(value) for field, value in query.items()}
        return self.ask_at(name, key, **told)

    def ask_at(self, name: str, key: str = STREAM, **query: str) -> Asked:
        asked = Asked()
        asked.waiting = self.hls.answer(key, name, query, asked.answers.append)
        return asked

    def listed(self, **query: str) -> Parsed:
        return parse(self.ask(LIST, **query).text)

    def advance(self, seconds: float) -> None:
        self.house.advance(seconds)
        self.hls.tick()
        self.loop.turn()


class Asked:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.waiting: Waiting | None = None

    @property
    def answer(self) -> Answer:
        [answer] = self.answers
        return answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def text(self) -> str:
        assert self.status == 200
        return b"".join(self.answer.body).decode()


@pytest.fixture
def worker() -> Iterator[Worker]:
    with stepped_loop() as loop:
        made = Worker(loop)
        yield made
        made.hls.close()
        made.house.close()


@pytest.fixture
def live(worker: Worker) -> Worker:
    """A stream that somebody has asked for, and of which there are two segments, and parts of the third."""
    worker.publish()
    first = worker.ask()
    worker.play(4.9)
    assert first.status == 200
    return worker


def test_the_first_request_waits_for_a_whole_segment(worker: Worker) -> None:
    worker.publish()
    worker.play(0.5)
    master, media = worker.ask(), worker.ask(LIST)
    worker.play(1.5)
    assert not master.answers
    worker.play(0.1)
    assert "#EXT-X-STREAM-INF" in master.text
    assert master.text.endswith("a/media.m3u8\n")
    assert len(parse(media.text).segments) == 1


def test_a_stream_that_is_not_published_yet_is_waited_for_and_then_404(worker: Worker) -> None:
    early = worker.ask()
    wait_s = worker.house.streams.rules.play_wait_s
    worker.advance(wait_s - 1)
    assert not early.answers
    late = worker.ask()
    worker.advance(1.1)
    assert early.status == 404
    assert not late.answers
    worker.publish()
    worker.play(2.1)
    assert late.status == 200


def test_what_a_list_names_can_be_fetched(live: Worker) -> None:
    listed = live.listed()
    assert len(listed.segments) == 2
    for segment in listed.segments:
        whole = live.ask(segment.uri)
        parts = [live.ask(uri).answer for uri, *_ in segment.parts]
        assert b"".join(whole.answer.body) == b"".join(each.body[0] for each in parts)
        init = live.ask(segment.init).answer
        assert (init.status, init.content_type) == (200, "video/mp4")
        assert whole.answer.cache_control == init.cache_control == "public, max-age=3600"
    assert live.ask(LIST).answer.cache_control == "no-cache"
    assert live.ask().answer.cache_control == "public, max-age=30"
    assert live.ask().answer.content_type == "application/vnd.apple.mpegurl"


def test_all_who_wait_for_a_part_are_answered_with_the_same_bytes_in_one_turn(live: Worker) -> None:
    listed = live.listed()
    assert listed.partial is not None
    number, part = listed.partial.number, len(listed.partial.parts)
    lists = [live.ask(LIST, msn=number, part=part) for _ in range(3)]
    hints = [live.ask(listed.hint) for _ in range(3)]
    assert live.hls.waiting == 6
    live.play(0.04)
    assert not any(each.answers for each in (*lists, *hints))
    live.play(0.2)
    assert len({id(each.answer) for each in lists}) == 1
    assert len({id(each.answer) for each in hints}) == 1
    again = parse(lists[0].text)
    assert again.partial is not None
    assert len(again.partial.parts) == part + 1
    assert live.hls.waiting == 0
    assert lists[0].answer.cache_control == "public, max-age=24"


def test_a_reload_may_wait_for_a_segment_and_for_the_one_after(live: Worker) -> None:
    number = live.listed().segments[-1].number + 1
    this, following = live.ask(LIST, msn=number), live.ask(LIST, msn=number + 1, part=0)
    live.play(1.2)
    assert parse(this.text).segments[-1].number == number
    assert not following.answers
    live.play(0.3)
    assert following.status == 200


@pytest.mark.parametrize(
    ("name", "query"),
    [
        (LIST, {"part": 1}), (LIST, {"msn": "x"}), (LIST, {"msn": -1}), (LIST, {"msn": 1, "part": "1.5"}),
        (LIST, {"msn": "9" * 30}), ("x.m4s", {}), ("1.2.3.m4s", {}), (".m4s", {}), ("1..m4s", {}),
        ("x.ts", {}), ("².m4s", {}),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_400(live: Worker, name: str, query: dict[str, Any]) -> None:
    assert live.ask(name, **query).status == 400


def test_what_is_too_far_ahead_is_400_and_what_is_behind_is_answered_at_once(live: Worker) -> None:
    last = live.listed().segments[-1].number
    assert live.ask(LIST, msn=last + 4).status == 400
    assert live.ask(LIST, msn=last + 3).waiting is not None
    assert live.ask(LIST, msn=last - 1, part=2).status == 200
    assert live.ask(LIST, msn=0).status == 200


def test_updates_are_asked_for(live: Worker) -> None:
    live.play(40)
    assert live.listed().skipped == 0
    assert live.listed(skip="YES").skipped > 0
    assert live.listed(skip="v2").skipped > 0
    assert live.listed(skip="no").skipped == 0


def test_what_does_not_come_is_503_after_three_target_durations(live: Worker) -> None:
    asked = live.ask(LIST, msn=live.listed().segments[-1].number + 1)
    live.advance(3 * TARGET_S - 0.5)
    assert not asked.answers
    live.advance(0.6)
    assert asked.status == 503
    assert asked.answer.cache_control == "no-store"


def test_who_asks_for_what_this_worker_never_had_is_sent_on_for_a_while(live: Worker) -> None:
    gone = live.listed().media_sequence - 1
    for name in (f"{gone}.m4s", f"{gone}.0.m4s"):
        asked = live.ask_at(name)
        for count in range(1, 7):  # whoever connects again may reach a worker that has it
            assert asked.status == 307
            assert asked.answer.closes
            assert asked.answer.location == f"{name}?again={count}"
            asked = live.ask_at(name, again=str(count))
        for again in (asked, live.ask_at(name, again="99"), live.ask_at(name, again="x")):
            assert again.status == 503
            assert again.answer.closes
    for _ in range(7):
        live.advance(10)
        live.play(10)
        live.ask()
    assert live.ask(f"{gone}.m4s").status == 404


def test_a_publisher_that_leaves_and_returns_goes_on(live: Worker) -> None:
    asked = live.ask(LIST, msn=live.listed().segments[-1].number + 1)
    live.house.leave(live.publisher)
    assert not live.listed().is_over
    live.advance(3)
    assert not asked.answers
    live.publish()
    live.play(0.3)
    listed = parse(asked.text)
    assert listed.partial is not None
    assert listed.partial.is_discontinuous


def test_the_list_ends_when_the_publisher_does_not_return(live: Worker) -> None:
    number = live.listed().segments[-1].number + 1
    early = live.ask(LIST, msn=number)
    live.advance(3 * TARGET_S - 1)
    live.house.leave(live.publisher)
    live.advance(live.house.streams.rules.publish_grace_s - 1)
    assert early.status == 503
    assert not live.listed().is_over
    asked = live.ask(LIST, msn=number)
    live.advance(1.1)
    assert parse(asked.text).is_over
    assert live.listed().is_over
    fresh = live.ask()  # who comes now waits for the next
    assert not fresh.answers
    live.publish()
    live.play(2.1)
    assert fresh.status == 200
    assert not live.listed().is_over


def test_one_that_goes_is_not_answered(live: Worker) -> None:
    asked = live.ask(LIST, msn=live.listed().segments[-1].number + 1)
    assert asked.waiting is not None
    asked.waiting.cancel()
    asked.waiting.cancel()
    live.play(2)
    assert not asked.answers
    assert live.hls.waiting == 0


def test_one_that_goes_while_another_is_answered_is_not_answered(live: Worker) -> None:
    number = live.listed().segments[-1].number + 1
    second = Asked()

    def then(answer: Answer) -> None:
        assert second.waiting is not None
        second.waiting.cancel()

    assert live.hls.answer(STREAM, LIST, {"_HLS_msn": str(number)}, then) is not None
    second.waiting = live.hls.answer(STREAM, LIST, {"_HLS_msn": str(number)}, second.answers.append)
    live.play(2)
    assert not second.answers


def test_a_stream_is_forgotten_when_nobody_asks(live: Worker) -> None:
    live.advance(FORGOTTEN_S - 1)
    assert live.counters.hls_streams == 1
    assert live.counters.hls_bytes > 0
    live.advance(2)
    assert live.counters.hls_streams == 0
    assert live.counters.hls_bytes == 0


def test_a_stream_that_nobody_publishes_is_forgotten_with_its_last_request(worker: Worker) -> None:
    asked = worker.ask()
    worker.advance(0.1)
    assert worker.counters.hls_streams == 1
    assert asked.waiting is not None
    asked.waiting.cancel()
    worker.advance(0.1)
    assert worker.counters.hls_streams == 0


def test_streams_and_waiting_requests_are_bounded(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls_service, "MAX_HLS_STREAMS", 2)
    monkeypatch.setattr(hls_service, "MAX_HLS_WAITING", 3)
    worker.publish("x")
    worker.publish("y")
    worker.ask(key="live/x")
    worker.ask(key="live/y")
    assert worker.ask(key="live/z").status == 503
    assert worker.ask(key="live/x").waiting is not None
    assert worker.ask(key="live/y").status == 503
    assert worker.hls.waiting == 3


@pytest.mark.parametrize("name", ["a b", "#a", "mp4:a", "100%25", "é", 'a"b'])
def test_the_multivariant_list_names_the_other_one_whatever_the_stream_is_called(
    worker: Worker, name: str
) -> None:
    worker.publish(name)
    asked = worker.ask(key=f"live/{name}")
    worker.play(3)
    named = urljoin("http://h/live/x.m3u8", asked.text.splitlines()[-1])
    assert unquote(named) == f"http://h/live/{name}/{LIST}"


def test_who_asks_for_keys_that_nobody_publishes_shuts_nobody_out(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hls_service, "MAX_HLS_STREAMS", 2)
    worker.publish("x")
    worker.ask(key="live/x")
    first, last = worker.ask(key="live/y"), worker.ask(key="live/z")
    worker.loop.turn()
    assert first.status == 503
    assert not last.answers
    assert worker.hls.waiting == 2


def test_who_is_refused_and_asks_again_is_answered_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that were sent ahead come the moment that the one before them is answered."""
    monkeypatch.setattr(hls_service, "MAX_HLS_STREAMS", 1)
    again: list[Answer] = []

    def ask_again(_: Answer) -> None:
        worker.hls.answer("live/x", "", {}, again.append)

    worker.hls.answer("live/x", "", {}, ask_again)
    worker.ask(key="live/y")
    worker.loop.turn()
    worker.ask(key="live/z")
    worker.loop.turn()
    worker.loop.turn()
    assert [each.status for each in again] == [503]
    assert worker.hls.waiting == 1


def test_memory_is_bounded_and_the_largest_gives_first() -> None:
    with stepped_loop() as loop:
        worker = Worker(loop, max_bytes=300_000)
        worker.publish("b")
        worker.ask(key="live/b")
        worker.play(6)
        small = worker.house.streams.by_key["live/b"]
        worker.publish()
        worker.ask()
        worker.play(30, size=1500)
        worker.hls.tick()
        assert worker.counters.hls_bytes <= 300_000
        assert worker.counters.hls_segments_dropped > 0
        assert small.is_heard
        assert len(parse(worker.ask(LIST, key="live/b").text).segments) == 2
        worker.play(6, size=10_000)  # one segment is more than all may take
        assert worker.hls.held <= 300_000
        worker.hls.close()
        worker.house.close()


def test_video_that_is_held_back_is_told_once(live: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(HlsMuxer, "miss", lambda _muxer: told.append(True))
    live.play(0.2)
    assert not told
    live.house.streams.by_key[STREAM].log.dropped_before_keyframe += 2
    live.play(0.2)
    assert len(told) == 1


def test_what_ends_hls_of_a_stream_harms_nobody_else(live: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    player = live.house.player("a")
    asked = live.ask(LIST, msn=live.listed().segments[-1].number + 1)
    with monkeypatch.context() as patched:
        patched.setattr(HlsMuxer, "feed", None)  # raises when it is called
        live.play(1)
        before = len(player.media)
        live.play(1)
    assert len(player.media) > before
    assert not live.publisher.closed
    assert asked.status == live.ask(LIST).status == live.ask().status == 503
    live.advance(1)
    assert (live.counters.hls_waiting, live.counters.hls_bytes) == (0, 0)
    live.house.leave(live.publisher)
    live.publish()
    live.play(5)
    assert live.listed().segments


def test_two_workers_answer_alike() -> None:
    from cluster.core.bus.control import Snapshot

    with stepped_loop() as here_loop, stepped_loop() as there_loop:
        here, there = Worker(here_loop), Worker(there_loop)
        here.house.link.wanted_keys.add(STREAM)
        here.ask()
        there.ask()
        here.publish()
        here.play(20)
        envelopes = here.house.link.published
        remote = there.house.streams.remote
        remote.stream_up(STREAM, envelopes[0].epoch, envelopes[0].sender_id)
        remote.snapshot_received(
            Snapshot(STREAM, envelopes[0].epoch, envelopes[0].first_seq, [], [], envelopes[0].sender_id)
        )
        for envelope in envelopes:
            remote.envelope_received(envelope)
            there.house.settle()
        assert here.ask(LIST).text == there.ask(LIST).text
        assert here.ask().text == there.ask().text
        for segment in here.listed().segments:
            for name in (segment.uri, segment.init, *(uri for uri, *_ in segment.parts)):
                assert list(here.ask(name).answer.body) == list(there.ask(name).answer.body)
        for worker in (here, there):
            worker.hls.close()
            worker.house.close()


def test_so_many_fields_of_a_query_are_read() -> None:
    """A viewer may ask a hundred times a second, with a query of eight thousand characters."""
    query = "_HLS_msn=7&" + "&".join(["%1=%2"] * 1_000) + "&_HLS_part=1"
    assert fields_of(query) == {"_HLS_msn": "7", "%1": "%2"}
