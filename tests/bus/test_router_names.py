"""Looking up the names of routers: what fails, and what holds meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from cluster.bus import router_names
from cluster.bus.router_names import RouterNames
from cluster.core.bus.endpoints import endpoints

NAME = "tcp://routers.test:1936"


def test_a_name_that_stands_for_routers_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its routers answer or do not: that the name server is away is nothing that is wrong with them."""
    known: list[str] = []

    async def addresses_of(host: str) -> list[str]:
        if not known:
            raise OSError("not found")
        return known

    monkeypatch.setattr(router_names, "addresses_of", addresses_of)
    resolved: list[set[str]] = []
    names = RouterNames([endpoints(NAME)], resolved.append)
    asyncio.run(names.resolve())
    assert names.failed == {NAME: "not found"}
    known.append("10.0.0.5")
    asyncio.run(names.resolve())
    known.clear()
    asyncio.run(names.resolve())
    assert names.failed == {}
    assert resolved == [set(), {"tcp://10.0.0.5:1936"}, {"tcp://10.0.0.5:1936"}]


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_what_can_be_no_name_fails_as_one_that_nobody_knows(host: str) -> None:
    names = RouterNames([endpoints(f"tcp://{host}:1936")], lambda found: None)
    asyncio.run(names.resolve())
    assert list(names.failed) == [f"tcp://{host}:1936"]
