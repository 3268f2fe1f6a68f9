"""What nobody asked for is not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("cluster.edge.node.worker", ("httptools", "wsproto", "cluster.edge.http")),
        (
            "cluster.edge.http.sessions",
            ("wsproto", "cluster.core.media.fmp4", "cluster.core.media.hls"),
        ),
    ],
)
def test_what_is_imported(imported: str, absent: tuple[str, ...]) -> None:
    program = f"import {imported}, sys; print(*[each for each in {absent!r} if each in sys.modules])"
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == ""
