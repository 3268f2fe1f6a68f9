"""Which event loop a process gets."""

from __future__ import annotations

import sys

import pytest
import uvloop

from cluster.process.event_loop import loop_factory


def test_it_is_uvloops() -> None:
    assert loop_factory() is uvloop.new_event_loop


def test_it_is_asyncios_own_where_uvloop_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
