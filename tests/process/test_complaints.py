"""Warnings that a peer could repeat without end take a line now and then."""

from __future__ import annotations

import logging

import pytest

from cluster.process.complaints import COMPLAIN_EVERY_S, Complaints


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


def test_those_of_different_kinds_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    for event in ("one", "other"):
        Complaints(logging.getLogger("bus"), event).warn(event)
    assert caplog.messages == ["one", "other"]
