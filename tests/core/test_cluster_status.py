"""What workers and routers say of the cluster: what is true of it on the wire."""

from __future__ import annotations

import pytest

from cluster.core.bus.cluster_status import (
    LOST,
    StreamFacts,
    WorkerStatus,
    are_facts,
    are_streams,
    are_workers,
    fitting,
    node_of,
    summed,
)
from cluster.core.bus.control import ClusterStatus


def test_a_nodes_name_may_hold_slashes() -> None:
    assert node_of("host/1a2b/0/17") == "host/1a2b"
    assert node_of("rack/host/1a2b/1/17") == "rack/host/1a2b"


@pytest.mark.parametrize(
    ("check", "row"),
    [
        (are_facts, ["live/a", 3, "avc1 mp4a", 2_500_000]),
        (are_workers, ["host/0/17", False, 40, {"connections": 3, "share": 0.5}]),
        (are_streams, ["live/a", 9, "host/0/17", 5000, "avc1", 0, {"host": 2}]),
    ],
)
def test_rows_are_whole_and_each_field_is_of_its_kind(check, row) -> None:
    assert check([])
    assert check([row, row])
    assert not check(row)
    assert not check([row[:-1]])
    assert not check([tuple(row)])
    for place, good in enumerate(row):
        for bad in (None, -1, [], b"bytes", 1.5 if type(good) is int else object()):
            assert not check([[*row[:place], bad, *row[place + 1 :]]]), (place, bad)


def test_numbers_by_name_only() -> None:
    assert not are_workers([["w", True, 0, {1: 2}]])
    assert not are_workers([["w", True, 0, {"load": "high"}]])


def test_a_report_has_as_many_rows_as_fit() -> None:
    rows = [StreamFacts("é", 1, "avc1", 5), StreamFacts("bb", 1, "avc1", 5), StreamFacts("", 1, "", 5)]
    each = 2 + 4 + 32
    assert fitting(rows, 2 * each + 32) == rows
    assert fitting(rows, 2 * each + 31) == rows[:2]
    assert fitting(rows, each) == rows[:1]
    assert fitting([], 0) == []


def test_the_reports_of_workers_are_one_of_their_node() -> None:
    origin, played, played_too = (
        StreamFacts("live/a", 1, "avc1 mp4a", 5_000), StreamFacts("live/a", 2, "", 0),
        StreamFacts("live/a", 4, "", 0),
    )  # fmt: skip
    alone = StreamFacts("live/b", 3, "", 0)
    whole = StreamFacts("live/a", 7, "avc1 mp4a", 5_000)
    assert summed([[played, alone], [origin], [played_too]]) == [whole, alone]
    assert summed([[origin], [played, played_too]]) == [whole]
    assert summed([[played], [origin._replace(codecs="")]]) == [StreamFacts("live/a", 3, "", 5_000)]
    assert summed([[], []]) == summed([]) == []


def test_a_status_may_get_more_workers() -> None:
    here, lost = WorkerStatus("a/1/0/1", False, 0, {}), WorkerStatus("b/1/0/1", False, 9_000, {LOST: 1})
    status = ClusterStatus([here], [])
    assert status.with_workers([]) is status
    assert status.with_workers([lost]) == ClusterStatus([here, lost], [])
