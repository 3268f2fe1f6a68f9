"""A result: processes added up, the window cut out, and what is wrong with it said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from load_support import MS, SECOND_NS, plan, report, result

from cluster.load.histogram import Histogram
from cluster.load.result import NOTHING_LEFT, LoadResult
from cluster.load.summary import facts
from cluster.load.tally import Report, Role, Standing


def test_the_window_of_all_processes() -> None:
    shown = result().as_dict()
    assert shown["window_s"] == 3
    assert shown["publishers"] == {"asked": 2, "publishing": 2}
    assert shown["players"]["playing"] == 20
    assert shown["sent"] == {"bytes": 6000, "bits_per_s": 16_000}
    assert shown["received"]["bytes"] == 60_000
    assert shown["delivered"] == 1
    assert shown["delay_ms"]["count"] == 60
    assert shown["delay_ms"]["p50"] == pytest.approx(2, rel=0.02)
    assert shown["join_ms"]["max"] == 7  # although before the window
    assert shown["generator"]["cpu_shares"] == [0.1, 0.1]
    assert shown["complaints"] == []


def test_video_and_audio_have_their_own_delays() -> None:
    made = result()
    shown = made.as_dict()
    assert (shown["video_delay_ms"]["count"], shown["audio_delay_ms"]["count"]) == (12, 48)
    for second in made.seconds.values():
        second.tally.audio_delay = Histogram()
    made.seconds[0].tally.video_delay.record(30 * MS)
    shown = made.as_dict()
    assert shown["video_delay_ms"] == shown["delay_ms"]
    assert shown["video_delay_ms"]["max"] == 30
    assert "audio_delay_ms" not in shown


def test_the_server_in_the_window() -> None:
    server = result(pids=(17,)).as_dict()["server"]
    assert (server["pids"], server["processes"]) == ([17], 2)
    assert server["cpu_s"] == pytest.approx(1.5)
    assert server["cpu_ms_per_player_s"] == pytest.approx(25)
    assert server["cpu_ms_per_publisher_s"] == pytest.approx(250)
    assert (server["rss_bytes_max"], server["pss_bytes"]) == (50 << 20, 40 << 20)


def test_the_timeline_has_every_second() -> None:
    rows = result().as_dict()["timeline"]
    assert [row["ends_s"] for row in rows] == [0, 1, 2, 3]
    assert all(row["server_cpu_share"] == pytest.approx(0.5) for row in rows)
    assert all((row["playing"], row["publishing"]) == (20, 2) for row in rows)


def test_a_rest_reported_late_belongs_to_its_second() -> None:
    made = result()
    rest = report(2, elapsed_ns=SECOND_NS // 10)
    made.add(0, Report(2, rest.at_ns, rest.tally, Standing(publishing=1, playing=9), idle=False))
    assert made.window_s == pytest.approx(3.1)
    assert made.seconds[2].standing.playing == 19


def test_a_process_that_ends_later_than_the_others_does_not_change_how_many_there_were() -> None:
    made = result()
    made.add(0, report(3, elapsed_ns=SECOND_NS // 5))
    shown = made.as_dict()
    assert (shown["publishers"]["publishing"], shown["players"]["playing"]) == (2, 20)


def test_a_run_that_ended_early_shows_what_it_has() -> None:
    made = LoadResult(plan())
    empty = made.as_dict()
    assert empty["delay_ms"]["p50"] is None
    made.add(0, report(-2))
    made.ended_early = NOTHING_LEFT
    shown = made.as_dict()
    assert shown["delay_ms"]["count"] == 10
    assert shown["ended_early"] == NOTHING_LEFT
    assert any("before measuring began" in text for text in shown["complaints"])
    json.dumps([empty, shown], allow_nan=False)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cpu_ns": 9 * SECOND_NS // 10}, "the generator was the bottleneck: process 0 used 90% of a core"),
        ({"received_bytes": 100}, "players got only 1.0% of the stream"),
        ({"frames_lost": 3}, "missed 9 frames, and got 0 out of order"),
        ({"frames_out_of_order": 1}, "missed 0 frames, and got 3 out of order"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], says: str) -> None:
    made = LoadResult(plan())
    for second in range(3):
        made.add(0, report(second, **fields))
    assert any(says in text for text in made.complaints), made.complaints


def with_joining(*joining: int) -> LoadResult:
    """Two processes; so many players of each were without media at the end of each second."""
    made = LoadResult(plan(processes=2))
    for second, count in enumerate(joining):
        for process in range(2):
            told = report(second)
            standing = Standing(publishing=1, playing=10 - count, joining=count)
            made.add(process, Report(second, told.at_ns, told.tally, standing, idle=False))
    return made


def test_players_that_joined_late_are_not_said_to_have_got_nothing() -> None:
    made = with_joining(9, 9, 0)
    assert made.as_dict()["players"]["joining"] == pytest.approx(12)
    assert not any("got no media" in text for text in made.complaints)
    assert not made.something_failed


def test_players_that_never_had_media_are() -> None:
    made = with_joining(0, 1, 2)
    assert "4 players got no media: is the stream published?" in made.complaints
    assert made.something_failed
    made.ended_early = "it was interrupted"
    assert not made.something_failed


@pytest.mark.parametrize(
    ("role", "fails"), [(Role.PLAYER, True), (Role.PUBLISHER, True), (Role.SLOW_PLAYER, False)]
)
def test_what_counts_as_failed(role: Role, fails: bool) -> None:
    made = result()
    assert not made.something_failed
    made.seconds[1].tally.ended[role, "closed by the server"] += 1
    assert made.something_failed is fails
    made.before.refused[role, "no"] += 1
    assert made.something_failed


def test_a_late_generator_is_said() -> None:
    made = result()
    for _ in range(1000):
        made.seconds[0].tally.late.record(30 * MS)
    assert any("the generator was late by 30" in text for text in made.complaints)


def test_reasons_are_counted_by_role() -> None:
    made = result()
    made.before.refused[Role.PUBLISHER, "key in use"] += 1
    made.seconds[1].tally.ended[Role.PLAYER, "closed by the server"] += 2
    shown = made.as_dict()
    assert shown["refused"] == {"publisher": {"key in use": 1}}
    assert shown["disconnected"] == {"player": {"closed by the server": 2}}
    assert shown["complaints"] == [
        "1 publisher failed: key in use", "2 players lost: closed by the server",
    ]  # fmt: skip


def test_a_key_in_the_url_is_not_shown() -> None:
    made = LoadResult(plan(url=plan().url.parse("rtmp://h/live/show?key=secret")))
    assert "secret" not in json.dumps(made.as_dict())


def test_requests_are_shown_where_there_are_any() -> None:
    made = result(pids=(1,))
    assert "requests" not in made.as_dict()
    assert made.as_dict()["server"]["cpu_us_per_request"] is None
    assert not any(name == "requests" for name, _ in facts(made.as_dict()))
    for second in (-1, 0, 1, 2):
        made.seconds[second].tally.requests += 10_000
    made.seconds[-1].tally.failed_requests["a part: HTTP 404"] += 1
    shown = made.as_dict()
    assert shown["requests"] == {
        "answered": 30_000, "per_s": pytest.approx(10_000), "failed": {"a part: HTTP 404": 1},
    }  # fmt: skip
    assert shown["server"]["cpu_us_per_request"] == pytest.approx(1.5e6 / 30_000)
    assert dict(facts(shown))["requests"] == "10,000 a second, 1 failed in all"
    assert ", 50 us a request; " in dict(facts(shown))["server"]
    assert shown["complaints"] == ["1 request failed: a part: HTTP 404"]
    assert made.something_failed
