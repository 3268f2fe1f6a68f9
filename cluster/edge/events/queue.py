"""The queue of events that wait to be delivered, in a file of SQLite: it survives its process.

Beside the events it keeps what must not be forgotten either: how far the numbers of each stream are, what
each worker has told so far, and which sessions are open, so that their end is owed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cluster.core.errors import EnvironmentFault

#: Streams whose numbers are remembered, the latest; those of another begin at 1 again. Anybody who may
#: play makes up as many streams as he likes.
MAX_KEYS_NUMBERED = 100_000
_FORGET_EVERY = 1_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    row INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS numbers (
    used INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL, key TEXT NOT NULL,
    last INTEGER NOT NULL,
    UNIQUE (instance, key));
CREATE TABLE IF NOT EXISTS workers (
    worker TEXT PRIMARY KEY, instance TEXT NOT NULL, last INTEGER NOT NULL, ended INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    worker TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, began TEXT NOT NULL,
    PRIMARY KEY (worker, number));
"""


class Waiting(NamedTuple):
    """An event in the queue. ``at``: when it happened, in seconds since 1970."""

    id: str
    at: float
    body: bytes


class WorkerState(NamedTuple):
    """What is known of a worker: the number of its last event, and up to which of its events the sessions
    that they began have been ended for it."""

    instance: str
    last: int
    ended: int


class EventQueue:
    """The file at ``path``; EnvironmentFault if it cannot be used, or another process uses it.

    Changes are kept by ``commit``. ``is_durable``: they are to survive the host too.
    """

    def __init__(self, path: Path, *, is_durable: bool) -> None:
        try:
            # SQLite would make it for others to read, who keep it open when they may not open it any more.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            self._database = database = sqlite3.connect(path, timeout=2.0, isolation_level="DEFERRED")
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'NORMAL' if is_durable else 'OFF'}")
            database.executescript(_SCHEMA)
            # The lock is taken with the first write.
            database.execute("DELETE FROM events WHERE row < 0")
            database.commit()
        except (sqlite3.Error, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise EnvironmentFault(f"cannot use {path} as the queue of events: {why}") from error
        self._numbered = 0
        self._last_row = self._kept_row = max((row for row, _ in self.rows()), default=0)

    def close(self) -> None:
        self._database.commit()
        self._database.close()

    def commit(self) -> None:
        """Keep what has changed."""
        self._database.commit()
        self._kept_row = self._last_row

    def is_kept(self, row: int) -> bool:
        """The event would be there if the process were killed now."""
        return row <= self._kept_row

    # ---- events ------------------------------------------------------------------------------

    def add(self, key: str, event: Waiting) -> int:
        """Append an event; its row."""
        text = "INSERT INTO events (key, id, at, body) VALUES (?, ?, ?, ?)"
        row = self._database.execute(text, (key, *event)).lastrowid
        assert row is not None
        self._last_row = row
        return row

    def event(self, row: int) -> Waiting:
        found = self._database.execute("SELECT id, at, body FROM events WHERE row = ?", (row,))
        return Waiting(*found.fetchone())

    def remove(self, row: int) -> None:
        self._database.execute("DELETE FROM events WHERE row = ?", (row,))

    def clear(self) -> None:
        """Remove every event."""
        self._database.execute("DELETE FROM events")

    def rows(self, limit: int = -1) -> list[tuple[int, str]]:
        """Row and stream key of what waits, oldest first."""
        return self._database.execute(
            "SELECT row, key FROM events ORDER BY row LIMIT ?", (limit,)
        ).fetchall()

    def next_number(self, instance: str, key: str, skipped: int = 0) -> int:
        """The number of the next event of ``key``, after ``skipped`` that nobody will see."""
        found = self._database.execute(
            "SELECT last FROM numbers WHERE instance = ? AND key = ?", (instance, key)
        ).fetchone()
        number: int = (found[0] if found else 0) + skipped + 1
        self._database.execute(
            "INSERT OR REPLACE INTO numbers (instance, key, last) VALUES (?, ?, ?)", (instance, key, number)
        )
        self._numbered += 1
        if self._numbered % _FORGET_EVERY == 0:
            self._database.execute(
                "DELETE FROM numbers WHERE used <= "
                "(SELECT used FROM numbers ORDER BY used DESC LIMIT 1 OFFSET ?)", (MAX_KEYS_NUMBERED,)
            )  # fmt: skip
        return number

    # ---- workers -----------------------------------------------------------------------------

    def worker(self, worker: str) -> WorkerState | None:
        found = self._database.execute(
            "SELECT instance, last, ended FROM workers WHERE worker = ?", (worker,)
        ).fetchone()
        return WorkerState(*found) if found else None

    def workers(self) -> dict[str, WorkerState]:
        found = self._database.execute("SELECT worker, instance, last, ended FROM workers")
        return {worker: WorkerState(*state) for worker, *state in found}

    def keep_worker(self, worker: str, state: WorkerState) -> None:
        self._database.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)", (worker, *state))

    def forget_worker(self, worker: str) -> None:
        self._database.execute("DELETE FROM workers WHERE worker = ?", (worker,))

    def open_session(self, worker: str, number: int, key: str, began: Mapping[str, Any]) -> None:
        text = json.dumps(began, separators=(",", ":"))
        self._database.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", (worker, number, key, text)
        )

    def close_session(self, worker: str, number: int) -> None:
        self._database.execute("DELETE FROM sessions WHERE worker = ? AND number = ?", (worker, number))

    def sessions(self, worker: str) -> list[tuple[int, str, dict[str, Any]]]:
        """Number, stream key and begin of the sessions of a worker that are open, oldest first."""
        found = self._database.execute(
            "SELECT number, key, began FROM sessions WHERE worker = ? ORDER BY number", (worker,)
        )
        return [(number, key, json.loads(began)) for number, key, began in found]
