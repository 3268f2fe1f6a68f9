"""The edge and the router as child processes, clips made by FFmpeg, and peers that end with the test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster_process import ClusterProcess, Edge, StartEdge, StartRouter, free_router_address
from support.ffmpeg import Ffmpegs, Packets, hashes_of_file, make_clip
from support.rtmp_peer import Peers


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 s of H.264 (high profile, B-frames) and AAC as an FLV file."""
    assert shutil.which("ffmpeg"), "these tests need FFmpeg (Debian: apt-get install ffmpeg)"
    path = tmp_path_factory.mktemp("clip") / "clip.flv"
    make_clip(path)
    return path


@pytest.fixture(scope="session")
def source(clip: Path) -> Packets:
    """The packets of the clip."""
    return hashes_of_file(clip, clip.with_name("source"))


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[StartEdge]:
    """Starts edges (arguments as on the command line); each must end with exit code 0 on SIGTERM."""
    started: list[Edge] = []

    def start(*arguments: str) -> Edge:
        edge = Edge(list(arguments), tmp_path / f"edge-{len(started)}.log")
        started.append(edge)
        edge.wait_ready()
        return edge

    try:
        yield start
        for edge in started:
            assert edge.stop() == 0, f"exit code of the edge; its log:\n{edge.log_text()}"
            assert "Traceback" not in edge.log_text(), f"a traceback in the log:\n{edge.log_text()}"
    finally:
        for edge in started:
            edge.kill()


@pytest.fixture
def start_router(tmp_path: Path) -> Iterator[StartRouter]:
    """Starts routers, each as a command of its own on free ports; gives the address for ``--router``."""
    started: list[ClusterProcess] = []

    def start() -> str:
        address = free_router_address()
        router = ClusterProcess(["router", "--bind", address], tmp_path / f"router-{len(started)}.log")
        started.append(router)
        router.wait_ready()
        return address

    try:
        yield start
        for router in started:
            assert router.stop() == 0, f"exit code of the router; its log:\n{router.log_text()}"
    finally:
        for router in started:
            router.kill()


@pytest.fixture
def ffmpegs(tmp_path: Path) -> Iterator[Ffmpegs]:
    """FFmpeg children; all are ended with the test."""
    ffmpegs = Ffmpegs(tmp_path)
    try:
        yield ffmpegs
    finally:
        ffmpegs.end()


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Light publishers and players; all are closed with the test."""
    peers = Peers()
    try:
        yield peers
    finally:
        peers.close()
