"""Event loops for the tests of the client role, and a real edge for those that need one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from support.cluster_process import Edge
from support.ffmpeg import Packets, hashes_of_file, make_clip

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

TEST_TIMEOUT_S = 60.0
CLIP_S = 3


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run[Any]]:
    """Runs a coroutine on either loop; the test fails if the loop was told of an unhandled error."""
    unhandled: list[dict[str, Any]] = []

    async def bounded(work: Coroutine[Any, Any, T]) -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with asyncio.timeout(TEST_TIMEOUT_S):
            return await work

    factory = uvloop.new_event_loop if request.param == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda work: runner.run(bounded(work))
    assert not unhandled


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One edge of two workers for all tests; streams must have names of their own."""
    edge = Edge(
        ["--workers", "2", "--publish-grace", "1", "--play-wait", "10"],
        tmp_path_factory.mktemp("edge") / "edge.log",
    )
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of H.264 with B-frames and AAC as FFmpeg writes FLV."""
    path = tmp_path_factory.mktemp("clip") / "short.flv"
    make_clip(path, seconds=CLIP_S)
    return path


@pytest.fixture(scope="session")
def short_source(short_clip: Path) -> Packets:
    """The packets of the short clip."""
    return hashes_of_file(short_clip, short_clip.with_name("short-source"))
