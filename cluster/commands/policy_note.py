"""What an edge that runs goes by, for ``check --against running``: a file beside its note (``running``).

There are no secrets in it. Of each there is a keyed hash, which tells whether another file has the same.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.commands.declared import FILE_OPTIONS
from cluster.edge.node.policy_source import PolicyFound
from cluster.process import running
from cluster.process.options import ConfigError
from cluster.process.running import Note

logger = logging.getLogger(__name__)

_SALT_BYTES = 16
#: Far more than the rules of any edge.
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Running:
    """``tables`` are sealed with ``salt``; ``options`` as TOML writes them, by field: those of the file."""

    salt: bytes
    tables: Mapping[str, Any]
    options: Mapping[str, str]


def leave(note: Note, options: Mapping[str, str], found: PolicyFound) -> None:
    """Write it, in place of what was there. If that cannot be, a line says so, and the edge runs on."""
    from cluster.edge.admission.policy_words import sealed

    note_path = running.note_path(note, running.place())
    if not note_path.exists():  # the place is not ours alone, which a line has told
        return
    path = running.beside(note_path)
    salt = secrets.token_bytes(_SALT_BYTES)
    said = {"salt": salt.hex(), "tables": sealed(found.tables, salt), "options": dict(options)}
    unfinished = path.with_suffix(".new-policy")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(unfinished, flags, 0o600), "w") as file:
            json.dump(said, file)
        unfinished.replace(path)
    except OSError as error:
        logger.warning(
            "check --against running will not know what this edge goes by: %(place)s: %(why)s",
            {"place": str(path), "why": error.strerror or str(error)}, extra={"event": "not_noted"},
        )  # fmt: skip


def of_running() -> Running:
    """What the one edge of this host that the user may ask goes by. ConfigError if it is not one."""
    edges = [
        (note, running.beside(running.note_path(note, place)))
        for place in running.places()
        for note in running.found([place])
        if note.command == "edge"
    ]
    pids = sorted({note.pid for note, _ in edges})
    if len(pids) != 1:
        what = f"{len(pids)} edges run here ({', '.join(map(str, pids))})" if pids else "no edge runs here"
        raise ConfigError(f"--against running: {what}: name a file")
    try:
        said = json.loads(_text(edges[0][1]))
        return Running(bytes.fromhex(said["salt"]), dict(said["tables"]), dict(said["options"]))
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(f"--against running: the edge {pids[0]} has no --config") from None


def _text(path: Path) -> str:
    """Root reads what others have left: it may be anything."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no file")
        return file.read(_MAX_BYTES).decode()


def shown_options(values: Mapping[str, Any]) -> dict[str, str]:
    """Options of a file as TOML writes them, but for the secret one, which is a rule."""
    from cluster.process.config_file import to_toml

    return {
        name: to_toml(FILE_OPTIONS[name], value)
        for name, value in values.items()
        if not FILE_OPTIONS[name].is_secret
    }
