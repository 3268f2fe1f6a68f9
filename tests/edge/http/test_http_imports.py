"""What nobody asked for is not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_worker_imports_http_when_it_is_to_serve_it() -> None:
    """All of it then: what is imported later would hold up media."""
    media = "cluster.core.media"
    absent = ("httptools", "wsproto", "cluster.edge.http", f"{media}.fmp4", f"{media}.hls")
    program = (
        "import sys, cluster.edge.node.worker\n"
        f"print(*[each for each in {absent!r} if each in sys.modules])\n"
        "import cluster.edge.http.sessions\n"
        f"print(*[each for each in {absent!r} if each not in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "\n\n"


def test_what_answers_an_operator_is_imported_where_one_may_ask() -> None:
    program = (
        "import sys, cluster.edge.node.worker\n"
        "print(*[each for each in sys.modules if each.startswith(('aiohttp', 'cluster.api'))])\n"
        "print('cluster.edge.node.inquiries' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "\nFalse\n"


def test_http_2_is_imported_with_tls_alone() -> None:
    absent = ("h2", "hpack", "hyperframe")
    program = (
        "import sys, cluster.edge.http.sessions\n"
        f"print(*[each for each in {absent!r} if each in sys.modules])\n"
        "cluster.edge.http.sessions.HttpSessions.prepare_tls(None)\n"
        f"print(*[each for each in {absent!r} if each not in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "\n\n"
