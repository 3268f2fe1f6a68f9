"""The queue's file: what is in it survives, it is one process's own, and its numbers are bounded."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from events_support import new_queue

from cluster.core.errors import EnvironmentFault
from cluster.edge.events import queue as queue_module
from cluster.edge.events.queue import EventQueue, Waiting, WorkerState


def event(name: str) -> Waiting:
    return Waiting(name, 1.5, b"{}")


def test_what_is_kept_survives_and_what_is_removed_does_not(tmp_path: Path) -> None:
    queue = new_queue(tmp_path)
    rows = [queue.add("live/a", event(name)) for name in ("one", "two", "three")]
    queue.remove(rows[1])
    queue.keep_worker("w", WorkerState("i", 7, 3))
    queue.open_session("w", 5, "live/a", {"type": "play.started"})
    queue.open_session("w", 6, "live/b", {"type": "play.started"})
    queue.close_session("w", 5)
    assert queue.next_number("i", "live/a") == 1
    queue.close()

    queue = new_queue(tmp_path)
    assert queue.rows() == [(rows[0], "live/a"), (rows[2], "live/a")]
    assert queue.event(rows[2]) == event("three")
    assert queue.workers() == {"w": WorkerState("i", 7, 3)}
    assert queue.sessions("w") == [(6, "live/b", {"type": "play.started"})]
    assert queue.next_number("i", "live/a", skipped=2) == 4
    queue.close()


def test_numbers_are_those_of_an_instance_and_a_key(tmp_path: Path) -> None:
    queue = new_queue(tmp_path)
    assert [queue.next_number("i", key) for key in ("a", "a", "b")] == [1, 2, 1]
    assert queue.next_number("j", "a") == 1
    queue.close()


def test_keys_that_were_used_long_ago_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_KEYS_NUMBERED", 2)
    monkeypatch.setattr(queue_module, "_FORGET_EVERY", 4)
    queue = new_queue(tmp_path)
    for key in ("a", "b", "a", "c"):  # forgets b
        queue.next_number("i", key)
    assert [queue.next_number("i", key) for key in ("a", "b", "c")] == [3, 1, 2]
    queue.close()


def test_a_file_that_another_process_has_is_refused(tmp_path: Path) -> None:
    queue = new_queue(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"cannot use .*queue as the queue of events: .*locked"):
        new_queue(tmp_path)
    queue.close()


def test_a_file_that_is_no_queue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queue").write_bytes(b"x" * 4096)
    with pytest.raises(EnvironmentFault, match="not a database"):
        new_queue(tmp_path)
    with pytest.raises(EnvironmentFault, match="events: No such file"):
        EventQueue(tmp_path / "nowhere" / "queue", is_durable=True)


def test_the_file_is_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first moment: who has opened it then reads all that comes."""
    modes, connect = [], sqlite3.connect

    def connected(path: Path, **options: Any) -> sqlite3.Connection:
        modes.append(path.stat().st_mode & 0o777)
        return connect(path, **options)

    monkeypatch.setattr(sqlite3, "connect", connected)
    queue = new_queue(tmp_path)
    queue.add("live/a", event("one"))
    queue.commit()
    modes += [each.stat().st_mode & 0o777 for each in tmp_path.iterdir()]
    assert len(modes) > 2
    assert set(modes) == {0o600}
    queue.close()
