"""Strangers on the port: attacks on a real edge, with no right but to connect, and what they cost.

    python -m tests.strangers                     every attack, at full length
    python -m tests.strangers --short             what a continuous integration runs
    python -m tests.strangers --only waiting-keys --seconds 20

Each attack meets a fresh edge of two workers, with a healthy stream in each. A row says what the attack did
to memory, CPU, the healthy streams and new honest peers, and whether that stays within ``bounds.py``.
"""

import sys
from pathlib import Path

_TESTS = str(Path(__file__).resolve().parents[1])
if _TESTS not in sys.path:  # for ``support``, which pytest finds by itself
    sys.path.insert(0, _TESTS)
