"""Why a connection ended whose socket failed."""

from __future__ import annotations

import errno

from cluster.core.errors import CloseReason, lost_by


def test_a_host_that_is_gone_is_no_reset() -> None:
    assert lost_by(OSError(errno.ETIMEDOUT, "timed out")) is CloseReason.PEER_LOST
    assert lost_by(ConnectionResetError()) is CloseReason.PEER_RESET
    assert lost_by(OSError(errno.EPIPE, "broken")) is CloseReason.PEER_RESET
