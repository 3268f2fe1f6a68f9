"""The streams of one worker, on a loop that a test steps through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.edge.streams.streams import Streams
from support.house import SteppedLoop
from support.streams import make_streams


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    loop = SteppedLoop()
    yield loop
    loop.close()


@pytest.fixture
def streams(loop: SteppedLoop) -> Streams:
    return make_streams(loop)[0]
