"""The keeper for hosts without systemd, with a small service that does as it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
KEEPER = ROOT / "deploy" / "ansible" / "roles" / "rtmp_cluster" / "files" / "keeper.py"

#: Ends as FILE/end says, which may come later; tells of every start, and of SIGTERM.
_SERVICE = """
    import os, signal, sys, time
    from pathlib import Path
    from cluster.process.notify import Notifier

    def told(number, frame):
        global terms
        terms += 1
        print("SIGTERM", flush=True)
        notifier.stopping("ending", within_s=float(os.environ.get("DRAIN", "0")))

    directory, terms = Path(sys.argv[1]), 0
    notifier = Notifier.taken_from(os.environ)
    signal.signal(signal.SIGTERM, told)
    print("started", os.getpid(), os.environ.get("WORD"), flush=True)
    if os.environ.get("NEVER"):
        sys.exit(int(os.environ["NEVER"]))
    notifier.ready("ready")
    while not (directory / "end").exists():
        if terms >= int(os.environ.get("TERMS", "1")):
            sys.exit(0)
        time.sleep(0.02)
    code = int((directory / "end").read_text())
    (directory / "end").unlink()
    sys.exit(code)
"""


class Kept:
    """One service under the keeper, with its files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        (directory / "service.py").write_text(textwrap.dedent(_SERVICE))
        (directory / "env").write_text("# options\nWORD=two words\n")

    def does(self, action: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with (self.directory / "env").open("a") as environment:
            environment.writelines(f"{name}={value}\n" for name, value in variables.items())
            environment.write(f"PYTHONPATH={ROOT}\n")
        command = [
            sys.executable, str(KEEPER), action, "--state", str(self.state),
            "--environment", str(self.directory / "env"), *options,
            "--", sys.executable, str(self.directory / "service.py"), str(self.directory),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def log(self) -> list[str]:
        return (self.state / "log").read_text().splitlines()

    def started(self) -> list[int]:
        return [int(line.split()[1]) for line in self.log() if line.startswith("started ")]

    def keeper(self) -> int:
        return int((self.state / "pid").read_text())


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    for pid in kept.started() if (kept.state / "log").exists() else ():
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    if (kept.state / "pid").exists() and psutil.pid_exists(kept.keeper()):
        os.kill(kept.keeper(), signal.SIGKILL)


def test_start_waits_until_it_is_ready_and_stop_until_it_has_ended(kept: Kept) -> None:
    assert kept.does("status").returncode == 3
    assert kept.does("start").returncode == 0
    assert kept.log() == [f"started {kept.started()[0]} two words"]
    assert kept.does("status").returncode == 0
    assert kept.does("stop").returncode == 0
    assert not psutil.pid_exists(kept.started()[0])
    assert kept.log()[1:] == ["SIGTERM"]
    assert kept.does("status").returncode == 3
    assert [path.name for path in kept.state.iterdir()] == ["log"]


def test_both_do_nothing_where_there_is_nothing_to_do(kept: Kept) -> None:
    assert kept.does("stop").returncode == 0
    kept.does("start")
    again = kept.does("start")
    assert (again.returncode, "is running already" in again.stderr) == (0, True)
    assert len(kept.started()) == 1
    assert kept.does("stop").returncode == 0


def test_what_does_not_become_ready_has_failed_and_says_why(kept: Kept) -> None:
    done = kept.does("start", NEVER="4")
    assert done.returncode == 1
    assert "did not become ready" in done.stderr
    assert "started" in done.stderr, "the end of the log"
    assert len(kept.started()) == 1
    assert kept.does("status").returncode == 3


@pytest.mark.parametrize(
    ("code", "options", "starts"),
    [
        ("1", (), 2), ("3", (), 2), ("2", (), 1), ("0", (), 1),
        ("0", ("--always",), 2), ("2", ("--always",), 1),
    ],
)  # fmt: skip
def test_a_service_that_fails_later_is_started_again(
    kept: Kept, code: str, options: tuple[str, ...], starts: int, eventually: Any
) -> None:
    """A router also if somebody has terminated it; nothing is, with a wrong option."""
    kept.does("start", *options)
    (kept.directory / "ending").write_text(code)
    (kept.directory / "ending").rename(kept.directory / "end")
    if starts == 1:
        eventually(lambda: not (kept.state / "pid").exists(), "the keeper has ended")
    else:
        again = "it is ready again"
        eventually(lambda: len(kept.started()) == 2 and (kept.state / "ready").exists(), again)
        assert kept.does("stop").returncode == 0
    assert len(kept.started()) == starts


def test_a_drain_may_last_as_long_as_it_has_announced_and_then_it_is_asked_again(kept: Kept) -> None:
    kept.does("start", DRAIN="0.5", TERMS="2")
    assert kept.does("stop").returncode == 0
    assert kept.log()[1:] == ["SIGTERM", "keeper: it has not ended in time", "SIGTERM"]


def test_the_service_does_not_outlive_its_keeper(kept: Kept, eventually: Any) -> None:
    kept.does("start")
    os.kill(kept.keeper(), signal.SIGKILL)
    eventually(lambda: "SIGTERM" in kept.log(), "the service is asked to end")
    eventually(lambda: not psutil.pid_exists(kept.started()[0]), "the service has ended")
    assert kept.does("status").returncode == 3
