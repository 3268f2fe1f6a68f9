from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api_cluster import ApiCluster
from support.ffmpeg import Ffmpegs, make_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s of H.264 with B-frames and AAC."""
    path = tmp_path_factory.mktemp("api-clip") / "clip.flv"
    make_clip(path, seconds=4)
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiCluster]:
    """Two routers and three nodes, each with an API."""
    running = ApiCluster(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def ffmpegs(tmp_path: Path) -> Iterator[Ffmpegs]:
    running = Ffmpegs(tmp_path)
    yield running
    running.end()
