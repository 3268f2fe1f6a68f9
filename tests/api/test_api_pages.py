"""Lists put together of what workers give: in order, nothing twice, and nobody left out without a word."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.api import mediamtx, sessions, streams
from cluster.api.details import Details
from cluster.api.mediamtx import MediaMtx
from cluster.api.resources import Track
from cluster.api.round import Known
from cluster.api.sessions import Page, Place, session_page
from cluster.api.streams import matching, streams_of
from cluster.api.texts import Texts, stream_texts
from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus
from cluster.core.bus.json_text import write
from cluster.core.bus.questions import (
    MAX_PAGE_STREAMS,
    MAX_TRACKS_CHARACTERS,
    AskSessions,
    AskStreams,
    SessionPage,
    SessionRow,
    StreamRow,
    StreamRows,
    TrackRow,
    encode_tracks,
)

A, B, C = "a/ia/0/1", "b/ib/0/1", "c/ic/0/1"


@dataclass(slots=True)
class Workers(Known):
    """Workers that have sessions with these numbers, and give so many at once; ``silent`` ones none, and
    those that are ``slow`` no second page."""

    numbers: dict[str, list[int]] = field(default_factory=dict)
    at_once: int = 2
    silent: str = ""
    slow: str = ""
    tracks: str = ""
    asked: list[Any] = field(default_factory=list)

    async def ask(self, worker_id: str, question: Any, timeout_s: float) -> Any:
        self.asked.append((worker_id, question))
        if worker_id == self.silent:
            return None
        if isinstance(question, AskStreams):
            keys = question.keys[: self.at_once]
            rows = tuple(
                StreamRow(key, 1, True, tracks=self.tracks, fps=25.0, players={"rtmp": 1}) for key in keys
            )
            return StreamRows(rows, len(keys))
        assert isinstance(question, AskSessions)
        if worker_id == self.slow and question.after:
            return None
        behind = [number for number in self.numbers[worker_id] if number > question.after]
        given = behind[: min(self.at_once, question.limit)]
        page = tuple(
            SessionRow(number, "player", "rtmp", "k", "p", "", state="", age_ms=0) for number in given
        )
        return SessionPage(page, given[-1] if len(behind) > len(given) else None)


def listed(workers: Workers, limit: int, after: Place = ("", 0)) -> Page:
    return asyncio.run(session_page(workers, [A, B, C], AskSessions(limit=limit), after))


def numbers(page: Page) -> list[tuple[str, int]]:
    return [(each.node, int(each.session.rpartition("-")[2])) for each in page.sessions]


EVERYONE = [("a", 1), ("a", 2), ("a", 5), ("c", 1), ("c", 2), ("c", 3), ("c", 4)]


def workers(**options: Any) -> Workers:
    return Workers([], numbers={A: [1, 2, 5], B: [], C: [1, 2, 3, 4]}, **options)


@pytest.mark.parametrize("limit", range(1, 9))
@pytest.mark.parametrize("at_once", [1, 2, 3, 10])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_pages_of_any_size_have_all_in_order(
    limit: int, at_once: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_AT_ONCE", batch)
    found: list[tuple[str, int]] = []
    place: Place | None = ("", 0)
    for _ in range(20):
        assert place is not None
        page = listed(workers(at_once=at_once), limit, place)
        assert len(page.sessions) <= limit
        found += numbers(page)
        place = page.place
        if place is None:
            break
    assert found == EVERYONE


def test_who_does_not_answer_is_left_out_and_named() -> None:
    page = listed(workers(silent=A), 100)
    assert numbers(page) == EVERYONE[3:]
    assert (page.place, page.unanswered) == (None, [A])


def test_who_does_not_answer_is_named_before_the_list_has_come_to_it() -> None:
    """So whoever turns the pages at once waits for it but once."""
    page = listed(workers(silent=C), 2)
    assert (numbers(page), page.unanswered) == (EVERYONE[:2], [C])


def test_who_does_not_answer_holds_up_one_page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediamtx, "MAX_ITEMS_PER_PAGE", 1)
    known = workers(silent=C, at_once=1)
    known.via = {each: [] for each in (A, B, C)}
    for each in known.via:
        known.workers[each] = WorkerStatus(each, False, 0, {})

    async def answer() -> Known:
        return known

    view: Any = SimpleNamespace(known=answer)
    handlers: Any = None
    request: Any = SimpleNamespace(query={"itemsPerPage": "1"})
    said = asyncio.run(MediaMtx(view, handlers)._connections(request))
    assert (said["itemCount"], len(said["items"])) == (3, 1)
    assert [worker_id for worker_id, _ in known.asked].count(C) == 1


def test_who_answers_too_late_is_gone_on_with_on_the_next_page() -> None:
    page = listed(workers(slow=A), 100)
    assert numbers(page) == EVERYONE[:2]
    assert (page.place, page.unanswered) == ((A, 2), [])


def test_a_worker_that_is_gone_does_not_stop_the_list() -> None:
    page = asyncio.run(session_page(workers(), [A, C], AskSessions(limit=100), (B, 7)))
    assert numbers(page) == EVERYONE[3:]


# ---- streams -------------------------------------------------------------------------------------


def with_streams(count: int, **options: Any) -> Workers:
    made = Workers([], **options)
    for worker_id in (A, B):
        made.workers[worker_id] = WorkerStatus(worker_id, False, 0, {})
    for number in range(count):
        key = f"live/{number:03}"
        made.streams[key] = StreamStatus(key, 1, A, 0, "avc1", 0, {"b/ib": 1})
    return made


def test_streams_are_asked_for_in_questions_that_are_not_too_long() -> None:
    known = with_streams(500, at_once=7)
    keys = matching(known, "", "")
    found, unanswered = asyncio.run(streams_of(known, keys, Details()))
    assert [each.key for each in found] == keys
    assert unanswered == []
    assert max(len(question.keys) for _, question in known.asked) == MAX_PAGE_STREAMS
    assert all(
        [(by.node, by.kind, by.count) for by in each.players_by] == [("a", "rtmp", 1), ("b", "rtmp", 1)]
        for each in found
    )


def test_what_a_silent_worker_knows_is_missing_and_said_to_be() -> None:
    known = with_streams(2, at_once=10, silent=A)
    found, unanswered = asyncio.run(streams_of(known, matching(known, "", ""), Details()))
    assert unanswered == [A]
    assert [(each.session, each.tracks, each.codecs) for each in found] == [("", [], "avc1")] * 2
    # That of its players which the routers know is told.
    known.silent = B
    found, unanswered = asyncio.run(streams_of(known, ["live/000"], Details()))
    assert [(by.node, by.kind, by.count) for by in found[0].players_by] == [("a", "rtmp", 1), ("b", "", 1)]


def test_tracks_are_shown_as_their_origin_has_them() -> None:
    video = TrackRow(0, "video", "avc1", "avc1.64", 640, 360)
    audio = TrackRow(0, "audio", "mp4a", sample_rate=3)
    known = with_streams(2, at_once=10, tracks=encode_tracks((video, audio)))
    found, _ = asyncio.run(streams_of(known, matching(known, "", ""), Details()))
    shown = [
        Track(0, "video", "avc1", "avc1.64", 640, 360, 25.0), Track(0, "audio", "mp4a", sample_rate=3)
    ]  # fmt: skip
    assert [each.tracks for each in found] == [shown, shown]


def test_what_was_said_is_good_for_some_seconds() -> None:
    known = with_streams(3, at_once=10)
    keys = matching(known, "", "")

    async def look(details: Details) -> int:
        """How many questions it takes to see all."""
        known.asked.clear()
        found, unanswered = await streams_of(known, keys, details)
        assert ([each.key for each in found], unanswered) == (keys, [])
        assert [each.players for each in found] == [2] * 3
        return len(known.asked)

    async def main() -> None:
        details = Details()
        assert [await look(details) for _ in range(3)] == [2, 0, 0]
        details.forget()
        assert await look(details) == 2
        assert [await look(Details(good_s=0.0)) for _ in range(2)] == [2, 2]

    asyncio.run(main())


@pytest.mark.parametrize(
    "change", [{"epoch": 2}, {"origin": B}, {"codecs": "hvc1"}, {"players": {"b/ib": 2}}]
)
def test_a_stream_that_changes_is_asked_about_at_once(change: dict[str, Any]) -> None:
    known = with_streams(2, at_once=10)
    details = Details()

    async def main() -> None:
        await streams_of(known, ["live/000", "live/001"], details)
        known.asked.clear()
        for key in known.streams:
            known.streams[key] = known.streams[key]._replace(age_ms=7, bits_per_second=8)
        known.streams["live/001"] = known.streams["live/001"]._replace(**change)
        [first, _], _ = await streams_of(known, ["live/000", "live/001"], details)
        assert (first.age_ms, first.bits_per_second) == (7, 8)
        assert {question.keys for _, question in known.asked} == {("live/001",)}

    asyncio.run(main())


def test_who_has_not_said_all_is_asked_again() -> None:
    known = with_streams(1, at_once=10, silent=A)

    async def main() -> None:
        details = Details()
        await streams_of(known, ["live/000"], details)
        assert len(details) == 0
        known.silent = B
        await streams_of(known, ["live/000"], details)
        assert len(details) == 0
        known.silent = ""
        await streams_of(known, ["live/000"], details)
        assert len(details) == 1

    asyncio.run(main())


def test_what_was_said_of_a_stream_is_forgotten_with_it() -> None:
    known = with_streams(3, at_once=10)

    async def main() -> None:
        details = Details()
        await streams_of(known, matching(known, "", ""), details)
        assert len(details) == 3
        del known.streams["live/001"]
        await streams_of(known, ["live/000"], details)
        assert len(details) == 2

    asyncio.run(main())


@pytest.mark.parametrize("text", ["no JSON", "[{}]", "[]" + " " * MAX_TRACKS_CHARACTERS])
def test_tracks_that_make_no_sense_are_not_shown(text: str) -> None:
    known = with_streams(1, at_once=10, tracks=text)
    [stream], unanswered = asyncio.run(streams_of(known, ["live/000"], Details()))
    assert (stream.tracks, unanswered) == ([], [])


@pytest.mark.parametrize(
    ("key", "node", "found"),
    [("", "", 3), ("live/*", "", 3), ("live/00*", "", 3), ("live/001", "", 1), ("live", "", 0),
     ("*", "a", 3), ("", "ia", 3), ("", "a/ia", 3), ("", "b", 0), ("live/001", "b", 0)],
)  # fmt: skip
def test_filters_of_streams(key: str, node: str, found: int) -> None:
    assert len(matching(with_streams(3), key, node)) == found


def test_the_longest_keys_fit_into_questions() -> None:
    keys = ["\udce9" * 1_000, "\udce9" * 1_001, "x"]
    assert [len(part) for part in streams._parts(keys)] == [1, 2]
    known = with_streams(0, at_once=10)
    for key in keys:
        known.streams[key] = StreamStatus(key, 1, A, 0, "", 0, {})
    found, _ = asyncio.run(streams_of(known, keys, Details()))
    assert len(found) == 3


def test_streams_in_words_say_what_there_is_to_say() -> None:
    video = TrackRow(0, "video", "avc1", "avc1.64", 640, 360)
    known = with_streams(3, at_once=10, tracks=encode_tracks((video,)))
    keys = matching(known, "", "")
    details, texts = Details(), Texts()

    async def look() -> None:
        """In words, and as values: from the same details, and with none."""
        said, unanswered = await stream_texts(known, keys, details, texts)
        for others in (details, Details()):
            found, _ = await streams_of(known, keys, others)
            assert [json.loads(each) for each in said] == [json.loads(write(each)) for each in found]
        assert unanswered == ([] if not known.silent else [known.silent])

    async def main() -> None:
        await look()
        known.streams[keys[0]] = known.streams[keys[0]]._replace(age_ms=7, bits_per_second=8)
        known.streams[keys[1]] = known.streams[keys[1]]._replace(players={"b/ib": 5, "c/ic": 1})
        await look()
        known.streams[keys[1]] = known.streams[keys[1]]._replace(epoch=2, codecs="hvc1")
        del known.streams[keys.pop()]
        await look()
        details.forget()
        known.silent = A
        await look()
        known.silent = ""
        await look()

    asyncio.run(main())


def test_words_are_made_once_for_as_long_as_they_are_the_same() -> None:
    """What is counted on each time, and what is not said by any worker, is told anew."""
    status = StreamStatus("live/a", 1, A, 5, "avc1", 6, {})
    row, texts = StreamRow("live/a", 1, True, received_bytes=100, keyframe_interval_ms=7), Texts()
    rows = {A: row}
    first = texts.of(status, rows)
    for changed in (
        {"received_bytes": 200}, {"keyframe_interval_ms": 8}, {"agent": "new"}, {"peer": "1.2.3.4:5"},
    ):  # fmt: skip
        said = json.loads(texts.of(status, {A: replace(row, **changed)}))
        assert said == json.loads(first) | changed
        assert texts.of(status, rows) == first
    assert json.loads(texts.of(status, {A: replace(row, players={"flv": 3})}))["players"] == 3
    assert texts.of(status._replace(epoch=2), {}) != first
