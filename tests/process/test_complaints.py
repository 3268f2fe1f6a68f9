"""Warnings that a peer could repeat without end take a line now and then."""

from __future__ import annotations

import logging

import pytest

from cluster.process.complaints import COMPLAIN_EVERY_S, MAX_PEERS, Complaints


def test_one_line_in_a_while_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = 5.0
    complaints = Complaints(logging.getLogger("bus"), "malformed", lambda: now)
    for number in range(1000):
        complaints.warn(f"bad {number}")
    now += COMPLAIN_EVERY_S - 0.1
    complaints.warn("still bad")
    now += 0.1
    complaints.warn("bad again")
    complaints.warn("and again")
    now += COMPLAIN_EVERY_S
    complaints.warn("the last")
    assert caplog.messages == [
        "bad 0",
        "bad again (and 1000 like it since the last line)",
        "the last (and 1 like it since the last line)",
    ]
    assert {record.event for record in caplog.records} == {"malformed"}  # type: ignore[attr-defined]


def test_a_line_may_have_further_fields_that_are_asked_for_when_it_is_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[int] = []

    def facts() -> dict[str, object]:
        asked.append(1)
        return {"id": "a-0.1-7"}

    complaints = Complaints(logging.getLogger("test"), "paced")
    for _ in range(3):
        complaints.warn("too much", facts)
    (record,) = caplog.records
    assert vars(record)["id"] == "a-0.1-7"
    assert asked == [1]


def test_those_of_different_kinds_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    for event in ("one", "other"):
        Complaints(logging.getLogger("bus"), event).warn(event)
    assert caplog.messages == ["one", "other"]


def test_those_about_different_peers_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    now = 5.0
    complaints = Complaints(logging.getLogger("bus"), "refused", lambda: now)
    for peer in ("a", "b", "a", "a"):
        complaints.warn_about(peer, "refused %(peer)s", {"peer": peer})
    now += COMPLAIN_EVERY_S
    for peer in ("a", "b"):
        complaints.warn_about(peer, "refused %(peer)s", {"peer": peer})
    assert caplog.messages == [
        "refused a",
        "refused b",
        "refused a (and 2 like it since the last line)",
        "refused b",
    ]
    assert [record.args for record in caplog.records] == [{"peer": "a"}, {"peer": "b"}] * 2


def test_whether_a_line_is_due_can_be_asked_without_making_it_so() -> None:
    now = 5.0
    complaints = Complaints(logging.getLogger("bus"), "refused", lambda: now)
    assert complaints.is_due("a")
    complaints.warn_about("a", "refused %(peer)s", {"peer": "a"})
    assert not complaints.is_due("a")
    assert complaints.is_due("b")
    now += COMPLAIN_EVERY_S
    assert complaints.is_due("a")


def test_so_many_peers_are_told_apart_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logging.getLogger("bus"), "refused", lambda: 5.0)
    for number in (*range(MAX_PEERS), 0):
        complaints.warn_about(f"{number}", "refused %(peer)s", {"peer": number})
    assert len(caplog.messages) == len(complaints._peers._last) == MAX_PEERS
    complaints.warn_about("another", "refused %(peer)s", {"peer": "another"})
    assert len(complaints._peers._last) == 1
    complaints.warn_about("0", "again %(peer)s", {"peer": "0"})
    assert caplog.messages[MAX_PEERS:] == ["refused another", "again 0"]


def test_what_a_peer_says_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    Complaints(logging.getLogger("bus"), "malformed").warn("100 %(of) %s")
    assert caplog.messages == ["100 %(of) %s"]
