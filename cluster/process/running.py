"""What runs on this host: each edge and router leaves a note of itself where its user's commands find it.

The place is private: a directory of the user's own that nobody else may enter. A note is a small JSON file,
locked for as long as its process lives, so that one of a process that was killed counts for nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

#: Of the place, and what the names of places of one user begin with.
NAME = "rtmp-cluster"

#: A larger file is no note.
_LARGEST_NOTE = 64 * 1024

#: Where systemd makes the directories of services (RuntimeDirectory=); root alone may write there.
_SERVICES = Path("/run")

#: Where each user's session has a directory, and a user's own services have theirs.
_SESSIONS = Path("/run/user")


@dataclass(frozen=True, slots=True)
class Note:
    """One running command: "edge" or "router". ``routers`` are those of its cluster, ``own_router`` is that
    of a node, beside them or alone; ``cluster_key`` is the file that goes with ``routers``. ``http``: where
    it serves HTTP. ``api``: where its API is, "" if it has none; ``api_token`` is the file
    that goes with it."""

    command: str
    pid: int
    routers: Sequence[str]
    own_router: str | None
    cluster_key: str | None
    http: Sequence[str] = ()
    api: str = ""
    api_token: str | None = None


def service_place(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The directory that systemd has made for this service, if this is one (RuntimeDirectory=)."""
    service = Path(environment.get("RUNTIME_DIRECTORY", "").partition(":")[0])
    return service if service.name.startswith(NAME) else None


def place(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this process leaves its note."""
    service = service_place(environment)
    if service is not None:
        return service
    session = Path(environment.get("XDG_RUNTIME_DIR", "") or "/nowhere")
    with contextlib.suppress(OSError):  # su and sudo hand on what is not there, or not theirs
        if session.stat().st_uid == os.getuid():
            return session / NAME
    return _shared_place(Path(tempfile.gettempdir()))


def places(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where notes of this user may be, whatever the environment of whoever left them; for root, those of
    the services too, and for others those of their own services."""
    uid = os.getuid()
    session = _SESSIONS / str(uid)
    found = [
        place(environment), session / NAME, _shared_place(Path(tempfile.gettempdir())),
        _shared_place(Path("/tmp")),
    ]  # fmt: skip
    found += sorted((_SERVICES if uid == 0 else session).glob(f"{NAME}*"))
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def noted(note: Note, where: Path | None = None) -> Iterator[None]:
    """Leave ``note`` while the body runs. If that cannot be, a line says so, and the command runs on."""
    where = place() if where is None else where
    path = note_path(note, where)
    with contextlib.ExitStack() as stack:
        try:
            _make_private(where)
            stack.enter_context(_left(note, path))
        except OSError as error:
            logger.warning(
                "rtmp-cluster status will not find this process by itself: %(place)s: %(why)s",
                {"place": str(where), "why": error.strerror or str(error)}, extra={"event": "not_noted"},
            )  # fmt: skip
        yield


@contextlib.contextmanager
def _left(note: Note, path: Path) -> Iterator[None]:
    """``note`` in ``path``, locked, while the body runs; OSError if it cannot be."""
    unfinished = path.with_suffix(".new")  # nobody may find it before it is locked
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _write_all(fd, json.dumps(asdict(note)).encode())
            unfinished.replace(path)
        except OSError:  # a full disk, say
            unfinished.unlink(missing_ok=True)
            raise
        try:
            yield
        finally:
            for left in (path, beside(path)):
                with contextlib.suppress(OSError):
                    left.unlink()
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def found(where: Sequence[Path] | None = None) -> list[Note]:
    """The notes of what runs, in the order of their names. Notes of the dead are taken away."""
    notes: dict[Path, Note] = {}
    for directory in places() if where is None else where:
        with contextlib.suppress(OSError):
            if not _is_private(directory):
                continue
            for path in sorted(directory.glob("*-*.json")):
                note = _read(path)
                if note is not None:
                    notes.setdefault(path.resolve(), note)
    return list(notes.values())


def note_path(note: Note, where: Path) -> Path:
    """Where ``note`` is in that place."""
    return where / f"{note.command}-{note.pid}.json"


def beside(path: Path) -> Path:
    """What a process may leave beside its note, for as long as that is there."""
    return path.with_suffix(".policy")


def _read(path: Path) -> Note | None:
    """The note in ``path``, if its process lives. Root reads what others have left: it may be anything."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nobody is waited for at a pipe
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(_LARGEST_NOTE)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parsed(json.loads(data))
            for stale in (path, beside(path)):
                stale.unlink(missing_ok=True)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    return None


def _parsed(said: Mapping[str, Any]) -> Note:
    own, key = said["own_router"], said["cluster_key"]
    return Note(
        str(said["command"]), int(said["pid"]), tuple(map(str, said["routers"])),
        None if own is None else str(own), None if key is None else str(key),
        # None in a note of an older version.
        tuple(map(str, said.get("http", ()))), str(said.get("api", "")),
        None if said.get("api_token") is None else str(said["api_token"]),
    )  # fmt: skip


def _make_private(directory: Path) -> None:
    """OSError if it cannot be made, or somebody else has to do with it."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if not _is_private(directory):
        raise PermissionError(0, "it belongs to another user, or others may enter it")


def _is_private(directory: Path) -> bool:
    """Ours, and closed to others. What systemd has made for a service, only root can have had made."""
    known = directory.lstat()
    if stat.S_ISLNK(known.st_mode) and directory.parent == _SERVICES:
        known = directory.stat()  # to /run/private, with DynamicUser=yes
    is_ours = known.st_uid == os.getuid() or (os.getuid() == 0 and directory.parent == _SERVICES)
    return stat.S_ISDIR(known.st_mode) and is_ours and not known.st_mode & 0o077


def _shared_place(temporary: Path) -> Path:
    """A user's place in a directory that all users have."""
    return temporary / f"{NAME}-{os.getuid()}"
