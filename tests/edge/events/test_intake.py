"""What workers tell becomes events once, with a number; ends that they cannot tell any more are owed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from events_support import Outbox, new_queue

from cluster.edge.events.intake import Intake
from cluster.edge.events.lines import Told
from cluster.edge.events.queue import EventQueue

WORKER, AT = "ab12-0.1", 1_700_000_000.25


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[EventQueue]:
    made = new_queue(tmp_path)
    yield made
    made.close()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def intake(queue: EventQueue, outbox: Outbox) -> Intake:
    made = Intake(queue, outbox, "ab12", clock=lambda: AT + 60)
    made.greet(WORKER, "ab12")
    return made


def published(number: int, key: str = "live/a", skipped: int = 0) -> Told:
    return Told(number, "stream.published", AT, key, {"session": f"s{number}"}, opens=True, skipped=skipped)


def unpublished(number: int, of: int, key: str = "live/a") -> Told:
    return Told(number, "stream.unpublished", AT, key, {"session": f"s{of}"}, closes=of)


def test_an_event_has_an_id_a_moment_and_a_number(intake: Intake, outbox: Outbox) -> None:
    intake.take(WORKER, published(1))
    assert outbox.events == [("evt_ab12-0.1-1", {
        "type": "stream.published", "timestamp": "2023-11-14T22:13:20.250Z",
        "data": {"key": "live/a", "session": "s1", "instance": "ab12", "sequence": 1},
    })]  # fmt: skip
    assert intake.last(WORKER) == 1


def test_what_is_told_again_is_an_event_once(intake: Intake, outbox: Outbox) -> None:
    for _ in range(2):
        intake.take(WORKER, published(1))
        intake.take(WORKER, unpublished(2, of=1))
    assert outbox.shown() == [("stream.published", "live/a", 1), ("stream.unpublished", "live/a", 2)]


def test_events_that_were_lost_leave_a_gap_in_their_stream_alone(intake: Intake, outbox: Outbox) -> None:
    intake.take(WORKER, published(1))
    intake.take(WORKER, published(5, skipped=3))
    intake.take(WORKER, published(6, "live/b"))
    assert [number for _, _, number in outbox.shown()] == [1, 5, 1]


def test_the_ends_of_a_worker_that_is_gone_are_owed(intake: Intake, outbox: Outbox) -> None:
    intake.take(WORKER, published(1))
    intake.take(WORKER, Told(2, "play.started", AT, "live/b", {"session": "s2"}, opens=True))
    intake.take(WORKER, published(3, "live/c"))
    intake.take(WORKER, unpublished(4, of=3, key="live/c"))
    del outbox.events[:]
    for _ in range(2):
        intake.worker_lost(WORKER)
    assert outbox.shown() == [("stream.unpublished", "live/a", 2), ("play.stopped", "live/b", 2)]
    id, body = outbox.events[0]
    assert id == "evt_ab12-0.1-1-end"
    expected = {"session": "s1", "reason": "worker_lost", "seconds": 60}
    assert expected.items() <= body["data"].items()


def test_a_worker_that_was_thought_to_be_gone_tells_no_end_twice(intake: Intake, outbox: Outbox) -> None:
    intake.take(WORKER, published(1))
    intake.worker_lost(WORKER)
    intake.greet(WORKER, "ab12")
    intake.still_open(WORKER, [1])
    intake.take(WORKER, published(2, "live/b"))
    intake.take(WORKER, unpublished(3, of=1))
    intake.take(WORKER, unpublished(4, of=2, key="live/b"))
    assert outbox.shown() == [
        ("stream.published", "live/a", 1), ("stream.unpublished", "live/a", 2),
        ("stream.published", "live/b", 1), ("stream.unpublished", "live/b", 2),
    ]  # fmt: skip


def test_a_session_whose_end_was_lost_is_ended(intake: Intake, outbox: Outbox) -> None:
    intake.take(WORKER, published(1))
    intake.take(WORKER, published(2, "live/b"))
    intake.still_open(WORKER, [2])
    [*_, (_, body)] = outbox.events
    assert (body["type"], body["data"]["key"], body["data"]["reason"]) == (
        "stream.unpublished", "live/a", "events_lost",
    )  # fmt: skip


def test_what_another_instance_left_open_is_ended_with_its_own_numbers(
    queue: EventQueue, intake: Intake, outbox: Outbox
) -> None:
    intake.take(WORKER, published(1))
    later = Intake(queue, outbox, "cd34")
    assert later.unheard() == []
    [*_, (id, body)] = outbox.events
    assert id == "evt_ab12-0.1-1-end"
    assert (body["data"]["instance"], body["data"]["sequence"]) == ("ab12", 2)


def test_a_process_that_was_started_again_knows_who_has_not_come_back(
    queue: EventQueue, intake: Intake, outbox: Outbox
) -> None:
    intake.take(WORKER, published(1))
    again = Intake(queue, outbox, "ab12")
    assert again.unheard() == [WORKER]
    assert len(outbox.events) == 1
