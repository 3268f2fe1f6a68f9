"""High-water marks are set where sockets are made, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "cluster"


def test_no_mark_is_changed_in_use() -> None:
    """libzmq 4.3.5 crashes if a connection of the socket has been lost at that moment."""
    sets = re.compile(r"hwm\b.*=[^=]|set_hwm|setsockopt.*HWM")
    found = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if sets.search(p.read_text())}
    assert found == {"bus/sockets.py"}
