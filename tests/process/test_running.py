"""The notes of what runs on a host: private, and those of the dead count for nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.process import running
from cluster.process.running import Note, found, noted, place, places

NOTE = Note("edge", os.getpid(), ("tcp://r1:1936",), "ipc:///x/r", "/etc/cluster.key", ("http://[::]:8080",))

#: Leaves a note and dies without taking it away.
_DIES = """
import os, sys
from pathlib import Path
from cluster.process.running import Note, noted
with noted(Note("edge", os.getpid(), (), "ipc:///x/r", None), Path(sys.argv[1])):
    os._exit(9)
"""


def test_a_note_is_there_while_its_process_runs(tmp_path: Path) -> None:
    where = tmp_path / "place"
    with noted(NOTE, where):
        assert (where.stat().st_mode & 0o777, len(list(where.iterdir()))) == (0o700, 1)
        look = "import sys; from pathlib import Path; from cluster.process.running import found\n"
        look += "print(found([Path(sys.argv[1])]))"
        shown = subprocess.check_output([sys.executable, "-c", look, str(where)], text=True)
        assert shown.strip() == repr([NOTE])
        assert found([where]) == [NOTE]
    assert found([where]) == []
    assert list(where.iterdir()) == []


def test_that_of_a_process_that_was_killed_is_taken_away(tmp_path: Path) -> None:
    where = tmp_path / "place"
    subprocess.run([sys.executable, "-c", _DIES, str(where)], check=False)
    assert len(list(where.iterdir())) == 1
    assert found([where]) == []
    assert list(where.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_place_that_others_may_enter_is_not_used(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    where = tmp_path / "place"
    where.mkdir()
    where.chmod(mode)
    with noted(NOTE, where):
        assert list(where.iterdir()) == []
    assert [record.__dict__["event"] for record in caplog.records] == ["not_noted"]
    (where / "edge-1.json").write_text("{}")
    assert found([where]) == []


def test_neither_is_one_of_another_user_or_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "place"
    with noted(NOTE, where):
        link = tmp_path / "link"
        link.symlink_to(where)
        assert found([link]) == []
        monkeypatch.setattr(os, "getuid", lambda: 4_242)
        assert found([where]) == []


def test_what_is_no_note_is_no_fault(tmp_path: Path) -> None:
    where = tmp_path / "place"
    with noted(NOTE, where):
        note = next(where.iterdir())
        endless = note.read_text().replace(f'"pid": {os.getpid()}', '"pid": Infinity')
        for text in ("", "[]", "{}", '{"command": 1}', "\0", "[" * 60_000, endless):
            note.write_text(text)
            assert found([where]) == []


def test_nobody_is_waited_for_at_a_pipe(tmp_path: Path) -> None:
    """As a service that somebody has taken over could leave one for root."""
    tmp_path.chmod(0o700)
    os.mkfifo(tmp_path / "edge-1.json")
    look = "import sys; from pathlib import Path; from cluster.process.running import found\n"
    look += "print(found([Path(sys.argv[1])]))"
    shown = subprocess.check_output([sys.executable, "-c", look, str(tmp_path)], text=True, timeout=10)
    assert shown.strip() == "[]"


@pytest.mark.parametrize("call", ["write", "replace"])
def test_where_a_note_cannot_be_written_the_command_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    def fails(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where = tmp_path / "place"
    monkeypatch.setattr(*((os, call) if call == "write" else (Path, call)), fails)
    with noted(NOTE, where):
        assert list(where.iterdir()) == []
    assert [record.__dict__["event"] for record in caplog.records] == ["not_noted"]
    assert "No space left on device" in caplog.text


def test_where_it_is(tmp_path: Path) -> None:
    session = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert place(session) == tmp_path / "rtmp-cluster"
    assert place({"XDG_RUNTIME_DIR": str(tmp_path / "gone")}) == place({})
    assert place({"RUNTIME_DIRECTORY": "/run/rtmp-cluster-edge"}) == Path("/run/rtmp-cluster-edge")
    assert place({"RUNTIME_DIRECTORY": "/run/another"}).name == f"rtmp-cluster-{os.getuid()}"
    assert place({}).name == f"rtmp-cluster-{os.getuid()}"
    assert place({}) in places(session), "whoever left it had no session"


def test_the_session_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_242)
    assert place({"XDG_RUNTIME_DIR": str(tmp_path)}).name == "rtmp-cluster-4242"


def test_root_sees_the_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private").mkdir()
    service = tmp_path / "private" / "rtmp-cluster-edge"
    (tmp_path / "rtmp-cluster-edge").symlink_to(service)
    with noted(NOTE, service):
        monkeypatch.setattr(running, "_SERVICES", tmp_path)
        for uid, notes in ((0, [NOTE]), (4_242, [])):
            monkeypatch.setattr(os, "getuid", lambda uid=uid: uid)
            seen = [each for each in places({}) if each.parent == tmp_path]
            assert found(seen) == notes


def test_a_user_sees_the_services_of_the_own_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SESSIONS", tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 4_242)
    service = tmp_path / "4242" / "rtmp-cluster-edge"
    service.mkdir(parents=True)
    assert service in places({})
