"""A router's lines about the nodes that it has links to."""

from __future__ import annotations

import logging

import pytest

from cluster.process.stranger_lines import LINES_PER_SECOND
from cluster.router.members import LEFT, SILENT, MemberLines


@pytest.fixture
def members(caplog: pytest.LogCaptureFixture) -> MemberLines:
    caplog.set_level(logging.INFO)
    return MemberLines(lambda: 100.0)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.__dict__["event"], record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_a_node_comes_and_leaves(members: MemberLines, caplog: pytest.LogCaptureFixture) -> None:
    for worker in ("a/1a/0/1", "a/1a/1/1"):
        members.came(worker)
    members.tick()
    assert events(caplog) == [("node_linked", "node a (instance 1a) is linked")]
    members.went("a/1a/0/1", SILENT)
    members.came("a/1a/0/2")
    members.tick()
    assert events(caplog) == [], "a worker that is started again"
    for worker in ("a/1a/0/2", "a/1a/1/1"):
        members.went(worker, LEFT)
        members.tick()
    assert events(caplog) == [("node_left", f"node a (instance 1a) {LEFT}")]


def test_a_node_that_dies_is_lost_and_may_come_again(
    members: MemberLines, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        members.came("a/1a/0/1")
        members.tick()
        members.went("a/1a/0/1", SILENT)
        members.tick()
    assert [event for event, _ in events(caplog)] == ["node_linked", "node_lost"] * 2


def test_one_that_was_not_told_of_is_not_missed(
    members: MemberLines, caplog: pytest.LogCaptureFixture
) -> None:
    members.came("a/1a/0/1")
    members.went("a/1a/0/1", SILENT)
    members.tick()
    assert events(caplog) == []


def test_whoever_makes_up_names_fills_no_log(
    members: MemberLines, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_000):
        members.came(f"n{number}/1a/0/1")
    members.tick()
    for number in range(1_000):
        members.went(f"n{number}/1a/0/1", SILENT)
    members.tick()
    assert len(events(caplog)) == LINES_PER_SECOND
    assert not members._nodes
