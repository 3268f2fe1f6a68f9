"""Which event loop our processes run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """For ``asyncio.Runner``: makes uvloop's loops. None, for asyncio's own, where uvloop is missing."""
    try:
        import uvloop
    except ImportError:  # not built for this platform; asyncio's own loop serves, slower
        return None
    return uvloop.new_event_loop
