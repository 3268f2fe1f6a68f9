"""fail2ban reads the log of a running edge by deploy/fail2ban/filter.conf: every guess, and no more."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cluster_process import ROOT, Edge
from support.rtmp_peer import LivePublisher, PeerError
from support.text_edge import TextEdge

FILTER = ROOT / "deploy" / "fail2ban" / "filter.conf"
GUESSES = 3
RULES = """\
[[rule]]
match = "live/*"
publish = { users = ["studio"] }
play = { users = ["studio"] }
[[rule]]
match = "*"
publish = "deny"
[users.studio]
password = "right"
"""

pytestmark = pytest.mark.skipif(shutil.which("fail2ban-regex") is None, reason="fail2ban is not installed")


def _publish(edge: Edge, name: str) -> bool:
    publisher = LivePublisher(edge, name)
    try:
        publisher.wait_granted()
    except PeerError:
        return False
    finally:
        publisher.close()
    return True


def _play(edge: Edge, query: str) -> int:
    try:
        address = f"http://127.0.0.1:{edge.http_port}/live/x.flv{query}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _found(log: Path) -> tuple[int, list[str]]:
    """How many lines fail2ban takes for failures, and the addresses."""
    done = subprocess.run(
        ["fail2ban-regex", "--print-all-matched", "-v", str(log), str(FILTER)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    total = re.search(r"Failregex: (\d+) total", done.stdout)
    assert total is not None, done.stdout + done.stderr
    assert "Date template hits:" in done.stdout, f"no dates read: {done.stdout}"
    return int(total[1]), re.findall(r"^\|\s+(\d+\.\d+\.\d+\.\d+)  ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("make", [Edge, TextEdge])
def test_it_counts_every_guess_and_nothing_else(
    make: Callable[[list[str], Path], Edge], tmp_path: Path
) -> None:
    config, log = tmp_path / "edge.toml", tmp_path / "edge.log"
    config.write_text(RULES)
    edge = make(["--config", str(config), "--workers", "2", "--http", "127.0.0.1:0"], log)
    try:
        edge.wait_ready()
        for number in range(GUESSES):
            assert not _publish(edge, f"cam-{number}?user=studio&pass=guess")
            assert _play(edge, "?user=studio&pass=guess") == 401
        # A name that looks like a line of the log, and those who do not guess.
        forged = "access denied to 192.0.2.9: bad_credentials (publish x)"
        assert not _publish(edge, f"{forged}?user=studio&pass=no")
        assert _publish(edge, "cam?user=studio&pass=right")
        assert _play(edge, "") == 401
        assert not _publish(edge, "cam")
    finally:
        edge.stop()
        edge.kill()
    count, addresses = _found(log)
    assert count == 2 * GUESSES + 1
    assert addresses == ["127.0.0.1"] * count
