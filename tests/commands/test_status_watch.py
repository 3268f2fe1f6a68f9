"""``rtmp-cluster status --watch`` without a terminal: what a screen holds, and names that come and go.

How it looks in one is in ``tests/system/test_status_terminal.py``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from cluster.commands import status, status_watch
from cluster.commands.main import run
from cluster.commands.status import Target
from cluster.commands.status_table import Answer
from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.endpoints import Endpoints, endpoints
from cluster.core.errors import EnvironmentFault
from cluster.process.exit_codes import ExitCode

STREAMS = [StreamStatus(f"live/{n}", 1, "a/0/1", 0, "avc1", 0, {"a": n}) for n in range(20)]
ANSWERS = [
    Answer("tcp://r1:1936", ClusterStatus([WorkerStatus("a/0/1", True, 20, {})], STREAMS), 1.2),
    Answer("tcp://r2:1936", None, 0.0),
]


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    """The command takes SIGTERM for itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_screen_holds_what_fits_and_says_what_does_not() -> None:
    whole = status_watch.screenful(ANSWERS, 100).plain.split("\n")
    assert whole[0].endswith("  routers 1 of 2, nodes 1, streams 20, players 190, in 0bit/s, out 0bit/s")
    assert max(map(len, whole)) <= 100
    assert len([line for line in whole if line.startswith("live/")]) == len(STREAMS)
    assert status_watch.screenful(ANSWERS, len(whole)).plain.split("\n")[1:] == whole[1:]
    cut = status_watch.screenful(ANSWERS, len(whole) - 1).plain.split("\n")
    assert cut[1:] == [*whole[1:-2], "… and 2 more lines: make the terminal higher"]


def test_what_needs_a_look_stands_out() -> None:
    text = status_watch.screenful(ANSWERS, 50)
    coloured = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert coloured["no answer"] == "bold red"
    assert coloured["drain"] == "bold yellow"
    assert "ok" not in coloured


def test_a_name_that_nobody_knows_at_first_is_an_error() -> None:
    assert run(["status", "--watch", "--router", "tcp://name.invalid:1936"]) == ExitCode.ENVIRONMENT


def test_while_names_cannot_be_looked_up_the_routers_known_before_are_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    found = iter([[endpoints("tcp://10.0.0.1:1936")], None, [endpoints("tcp://10.0.0.2:1936")]])

    def resolved(routers: list[str]) -> list[Endpoints]:
        known = next(found)
        if known is None:
            raise EnvironmentFault("tcp://r:1936: Temporary failure in name resolution")
        return known

    def ask(targets: list[Target]) -> list[Answer]:
        asked.append([target.router.base for target in targets])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [Answer(target.router.base, None, 0.0) for target in targets]

    monkeypatch.setattr(status, "resolved", resolved)
    monkeypatch.setattr(status_watch, "ask", ask)
    monkeypatch.setattr(status_watch, "WATCH_EVERY_S", 0.0)
    assert run(["status", "--watch", "--router", "tcp://r:1936"]) == ExitCode.OK
    assert asked == [["tcp://10.0.0.1:1936"], ["tcp://10.0.0.1:1936"], ["tcp://10.0.0.2:1936"]]
    assert capsys.readouterr().out.count("no answer") == 2
