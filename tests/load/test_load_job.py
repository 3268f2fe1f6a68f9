"""A plan: what is refused, and how it is dealt to processes and streams."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from load_support import plan

from cluster.core.rtmp.url import RtmpUrl
from cluster.load import job
from cluster.load.job import LoadPlan, PlanError, Schedule, ServerAddress, jobs
from cluster.load.tally import Role

SERVER = ServerAddress(2, ("127.0.0.1", 1935))
OTHER = ServerAddress(2, ("127.0.0.1", 1936))


def dealt(wanted: LoadPlan) -> list[job.PlayerJob]:
    return [player for part in jobs(wanted, SERVER, SERVER) for player in part.players]


@pytest.mark.parametrize(
    ("publishers", "players", "processes", "sample", "slow_share"),
    [
        (50, 2000, 4, 50, 0.1), (1, 7, 3, 50, 0.0), (3, 1, 1, 1, 1.0), (0, 100, 2, 1000, 0.5),
        (2, 0, 2, 1, 0.1),
    ],
)  # fmt: skip
def test_everybody_is_dealt_once_and_evenly(
    publishers: int, players: int, processes: int, sample: int, slow_share: float
) -> None:
    wanted = plan(
        publishers=publishers, players=players, processes=processes, sample=sample, slow_share=slow_share
    )
    parts = jobs(wanted, SERVER, OTHER)
    assert all((part.publish_to, part.play_from) == (SERVER, OTHER) for part in parts)
    assert sorted(index for part in parts for index in part.publishers) == list(range(publishers))
    sizes = [len(part.publishers) + len(part.players) for part in parts]
    assert sum(sizes) == publishers + players
    assert max(sizes) - min(sizes) <= 1
    found = dealt(wanted)
    streams = Counter(player.stream for player in found)
    assert not streams or max(streams.values()) - min(streams.values()) <= 1
    slow = [player for player in found if player.role is Role.SLOW_PLAYER]
    assert len(slow) == round(players * slow_share)
    assert not any(player.sampled for player in slow)
    sampled = [player for player in found if player.sampled]
    others = players - len(slow)
    assert len(sampled) == max(-(-others // sample), min(job.MIN_SAMPLED, others))
    assert all(0 <= player.joins_at < 1 for player in found)


def test_the_sampled_players_play_different_streams_in_all_processes() -> None:
    wanted = plan(publishers=50, players=2000, processes=4, sample=50)
    assert len({player.stream for player in dealt(wanted) if player.sampled}) > 30
    for part in jobs(wanted, SERVER, SERVER):
        assert sum(player.sampled for player in part.players) == 10


def test_streams_of_several_publishers_are_numbered_in_front_of_the_query() -> None:
    url = RtmpUrl.parse("rtmp://h/live/show?key=1")
    assert plan(url=url, publishers=2).publisher_url(1).stream == "show-1?key=1"
    assert plan(url=url, publishers=1).publisher_url(0).stream == "show?key=1"
    assert plan(url=url, publishers=0).player_url(0) == url


def test_players_play_the_same_numbers_elsewhere() -> None:
    elsewhere = plan(publishers=2, play_from=RtmpUrl.parse("rtmp://other:1/live/show?key=2"))
    assert elsewhere.publisher_url(1) == RtmpUrl.parse("rtmp://media.example/live/show-1")
    assert elsewhere.player_url(1) == RtmpUrl.parse("rtmp://other:1/live/show-1?key=2")
    assert plan(publishers=2).player_url(1) == plan(publishers=2).publisher_url(1)


def test_publishers_begin_spread_over_a_group() -> None:
    schedule = Schedule(media_ns=100, spread_ns=1000, join_ns=0, measure_ns=0)
    assert [schedule.publisher_starts_ns(index, 4) for index in range(4)] == [100, 350, 600, 850]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": RtmpUrl.parse("rtmp://h/?key=1")}, "names no stream"),
        ({"url": RtmpUrl.parse("rtmp://me:secret@h/live/x")}, "has a user"),
        ({"play_from": RtmpUrl.parse("rtmp://h/?key=1")}, "names no stream"),
        ({"play_from": RtmpUrl.parse("rtmp://h/live/x"), "publishers": 0}, "give the one address"),
        ({"play_from": RtmpUrl.parse("rtmp://h/live/x"), "players": 0}, "give the one address"),
        ({"publishers": 0, "players": 0}, "nothing to do"),
        ({"players": job.MAX_CONNECTIONS}, "more than 1000000 connections"),
        ({"publishers": 1, "players": 1, "processes": 3}, "more processes than connections"),
        ({"players": 1000, "processes": job.MAX_PROCESSES + 1}, "more processes"),
        ({"duration_s": job.MAX_RUN_S}, "longer than 4 hours"),
        ({"duration_s": 0}, "--duration: measure for longer"),
    ],
)
def test_loads_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says) as error:
        plan(**options)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
