"""The cluster key: made once, read only where nobody else can, and never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from zmq.utils import z85

from cluster.bus import cluster_key
from cluster.bus.cluster_key import KEY_FILE, ClusterKey, KeyFault
from cluster.commands.main import run
from cluster.process.exit_codes import ExitCode


def test_a_new_key_is_the_owners_alone_and_can_be_loaded(tmp_path: Path) -> None:
    path = cluster_key.generate(tmp_path / "new" / "directory")
    assert path.name == KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    cluster_key.load(path)
    other = cluster_key.generate(tmp_path)
    assert other.read_text() != path.read_text()


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    before = cluster_key.generate(tmp_path).read_text()
    with pytest.raises(KeyFault, match="exists"):
        cluster_key.generate(tmp_path)
    assert (tmp_path / KEY_FILE).read_text() == before


def test_the_same_secret_is_the_same_key_everywhere() -> None:
    """A changed derivation would lock out nodes of another version."""
    key = ClusterKey(bytes(range(32)))
    assert key._router[0] == b"9iB6>X7n.p@WMo=PIcHW]0xlPmR&*@is392hu0Rd"
    assert key._worker[0] == b"F$ES/wbc-l7@#hzU^v+xVi.mu]]6uO/BMa8/#y]p"


def test_who_is_admitted() -> None:
    key, other = ClusterKey(bytes(32)), ClusterKey(bytes(31) + b"\1")
    assert key.admits(z85.decode(key._worker[0]))
    for public in (key._router[0], other._worker[0], other._router[0]):
        assert not key.admits(z85.decode(public))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_modes_that_will_do(tmp_path: Path, mode: int) -> None:
    path = cluster_key.generate(tmp_path)
    path.chmod(mode)
    cluster_key.load(path)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o601, 0o666])
def test_modes_that_let_others_at_it(tmp_path: Path, mode: int) -> None:
    path = cluster_key.generate(tmp_path)
    path.chmod(mode)
    with pytest.raises(KeyFault, match="chmod 600"):
        cluster_key.load(path)


@pytest.mark.parametrize(
    "text", ["", "secret", "rtmp-cluster-key-1:", "rtmp-cluster-key-2:" + "0" * 64, "0" * 64,
             "rtmp-cluster-key-1:" + "g" * 64, "rtmp-cluster-key-1:" + "0" * 63, "\xff" * 80],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(KeyFault, match="not a key") as caught:
        cluster_key.load(path)
    assert not text or text not in str(caught.value)


def test_a_file_that_is_not_there_or_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(KeyFault, match="cluster key"):
            cluster_key.load(path)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keygen", str(tmp_path)]) == ExitCode.OK
    shown = capsys.readouterr().out
    secret = (tmp_path / KEY_FILE).read_text().strip().partition(":")[2]
    assert KEY_FILE in shown
    assert secret not in shown
    assert run(["keygen", str(tmp_path)]) == ExitCode.ENVIRONMENT
    os.chmod(tmp_path / KEY_FILE, 0o644)
    for command in (["edge"], ["router", "--bind", "tcp://127.0.0.1:0"], ["status"]):
        assert run([*command, "--cluster-key", str(tmp_path / KEY_FILE)]) == ExitCode.ENVIRONMENT
    error = capsys.readouterr().err
    assert error.count("chmod 600") == 3
    assert secret not in error
