"""The histograms of a node over all incarnations of its workers, and its numbers of single streams."""

from __future__ import annotations

import json

from prometheus_client.samples import Sample

from cluster.core.histogram import BOUNDS_S
from cluster.core.top_streams import StreamNumbers, TopStreams
from cluster.edge.node.metrics import NodeNumbers
from cluster.edge.node.status_pipe import TOP_STREAMS
from cluster.edge.streams.counters import Counters


def counted(*seconds: float, hop: str = "bus") -> Counters:
    counters = Counters()
    for each in seconds:
        counters.join_seconds.note(each)
        counters.hop_delay_seconds[hop].note(each)
    return counters


def samples(numbers: NodeNumbers, name: str) -> list[Sample]:
    [family] = [each for each in numbers.collect() if each.name == f"rtmp_cluster_{name}"]
    return family.samples


def value(numbers: NodeNumbers, name: str, suffix: str, **labels: str) -> float:
    full = f"rtmp_cluster_{name}_{suffix}"
    [found] = [each for each in samples(numbers, name) if each.name == full and each.labels == labels]
    return found.value


def test_buckets_hold_all_up_to_their_bound_and_count_and_sum_follow() -> None:
    numbers = NodeNumbers(1)
    numbers.beat(0, counted(0.002, 0.02, 99.0).as_dict())
    found = {
        each.labels["le"]: each.value
        for each in samples(numbers, "join_seconds") if each.name.endswith("_bucket")
    }  # fmt: skip
    assert list(found) == [*map(str, BOUNDS_S), "+Inf"]
    assert (found["0.001"], found["0.0025"], found["0.025"], found["+Inf"]) == (0, 1, 2, 3)
    assert value(numbers, "join_seconds", "count", worker="0") == 3
    assert round(value(numbers, "join_seconds", "sum", worker="0"), 3) == 99.022


def test_what_a_worker_has_counted_stays_when_another_takes_its_place() -> None:
    numbers = NodeNumbers(2)
    numbers.beat(0, counted(0.02, 0.02).as_dict())
    numbers.ended(0)
    numbers.beat(0, counted(0.02, hop="origin").as_dict())
    assert value(numbers, "join_seconds", "count", worker="0") == 3
    assert value(numbers, "hop_delay_seconds", "count", worker="0", hop="bus") == 2
    assert value(numbers, "hop_delay_seconds", "count", worker="0", hop="origin") == 1
    assert value(numbers, "join_seconds", "count", worker="1") == 0


def test_a_beat_is_a_copy() -> None:
    counters = counted(0.02)
    beat = counters.as_dict()
    counters.join_seconds.note(0.02)
    counters.hop_delay_seconds["bus"].note(0.02)
    assert sum(beat["join_seconds"][1:]) == sum(beat["hop_delay_seconds"]["bus"][1:]) == 1


# ---- single streams --------------------------------------------------------------------------


def test_streams_of_all_workers_are_told_of_together() -> None:
    numbers = NodeNumbers(2)
    rows = [StreamNumbers("live/a", 2, 100.0, 0.25), StreamNumbers("live/b", 1, 0.0)]
    for slot, players in enumerate((5, 6)):
        top = TopStreams(rows, 1, players, 3.0)
        numbers.beat(slot, json.loads(json.dumps(Counters().as_dict() | {TOP_STREAMS: top})))
    numbers.beat(0, Counters().as_dict())  # not every beat tells of streams
    assert told(numbers, "stream_players") == {"live/a": 4, "live/b": 2, "": 11}
    assert told(numbers, "stream_bytes_per_second") == {"live/a": 200, "live/b": 0, "": 6}
    assert told(numbers, "stream_delay_seconds") == {"live/a": 0.25}
    assert [each.value for each in samples(numbers, "streams_unlisted")] == [2]
    numbers.ended(0)
    assert told(numbers, "stream_players") == {"live/a": 2, "live/b": 1, "": 6}


def test_keys_that_look_alike_are_one_series() -> None:
    numbers = NodeNumbers(1)
    rows = [StreamNumbers("live/\udcff", 2, 0.0), StreamNumbers("live/\udcfe", 1, 0.0)]
    numbers.beat(0, Counters().as_dict() | {TOP_STREAMS: TopStreams(rows)})
    assert told(numbers, "stream_players") == {"live/\ufffd": 3, "": 0}


def told(numbers: NodeNumbers, name: str) -> dict[str, float]:
    return {each.labels["stream"]: each.value for each in samples(numbers, name)}
