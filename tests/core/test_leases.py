"""Leases: which of two origins of one key stands."""

from __future__ import annotations

import pytest

from cluster.core.bus.leases import Holder, Lease


@pytest.mark.parametrize(
    ("mine", "other", "stands"),
    [
        (("w1", 8), ("w2", 7), True),
        (("w1", 7), ("w2", 8), False),
        (("w2", 7), ("w1", 7), True),  # neither knew of the other: by name, so that all agree
        (("w1", 7), ("w1", 7), False),
    ],
)
def test_the_higher_epoch_stands(mine: tuple[str, int], other: tuple[str, int], stands: bool) -> None:
    lease = Lease("live/a", *mine)
    assert lease.beats(Lease("live/a", *other)) is stands
    assert Holder(lease).lease == lease
