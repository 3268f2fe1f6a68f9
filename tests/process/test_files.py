"""Whether a file can be written, before there is anything to write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cluster.core.errors import EnvironmentFault
from cluster.process.files import check_writable


def test_new_files_old_files_and_devices_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("precious")
    for path in (tmp_path / "old", tmp_path / "new", Path("/dev/null"), Path("new-here")):
        check_writable(path)
    assert (tmp_path / "old").read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_a_folder_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="it is a folder; name a file in it"):
        check_writable(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"there is no folder .*/nowhere; make it first"):
        check_writable(tmp_path / "nowhere" / "file")


def test_what_is_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may do anything
    with pytest.raises(EnvironmentFault, match="permission denied"):
        check_writable(tmp_path / "file")


def test_a_folder_that_we_may_not_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, **more: object) -> os.stat_result:
        if Path(str(path)) == tmp_path / "file":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(path, **more)  # type: ignore[call-overload, no-any-return]

    stat = os.stat
    monkeypatch.setattr(os, "stat", denied)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(EnvironmentFault, match="permission denied"):
        check_writable(tmp_path / "file")
