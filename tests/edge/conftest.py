"""No test here may leave a ZeroMQ socket open."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.routers import ANY_PORT
from support.sockets import no_socket_left_open

__all__ = ["no_socket_left_open"]


@pytest.fixture(params=["tcp", "ipc"])
def bind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a router is to be bound."""
    return ANY_PORT if request.param == "tcp" else f"ipc://{tmp_path}/r"
